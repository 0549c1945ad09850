//! What is in front of every router: who asks, under which id, and how a refusal leaves.

use std::future::ready;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::BoxError;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use tower::Service as _;

use crate::{Cidr, ClientAddr, Code, Problem, Shed};

/// In and out: the id under which a request is logged.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken from a caller.
const MAX_REQUEST_ID: usize = 64;

/// A request's id: the caller's, if it is 1-64 of `[A-Za-z0-9_-]`, else ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    pub(crate) fn from_header(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (1..=MAX_REQUEST_ID).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

tokio::task_local! {
    /// The request that a task is at work for. A span of tracing's would cost each request two per cent of a whole
    /// ceremony, to say what a line needs only where there is one.
    static REQUEST: RequestId;
}

/// The id of the request that is being worked for: every line of the log says it.
#[must_use]
pub fn request_id() -> Option<Arc<str>> {
    REQUEST.try_with(|id| Arc::clone(&id.0)).ok()
}

/// `work` of the request that is being worked for, to be done in a task of its own.
pub fn of_request<F: Future>(work: F) -> impl Future<Output = F::Output> {
    match REQUEST.try_with(RequestId::clone) {
        Ok(id) => Either::Left(REQUEST.scope(id, work)),
        Err(_) => Either::Right(work),
    }
}

/// Makes request ids: a counter behind a bijection that starts at a random place, so that they don't repeat
/// and don't tell how busy the server is. They are no secret.
#[derive(Clone, Debug)]
pub struct RequestIds(Arc<AtomicU64>);

impl RequestIds {
    /// `seed` is random, once for each run.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    fn next(&self) -> RequestId {
        // splitmix64: odd steps and its finaliser are both bijections on 64 bits
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        RequestId(format!("req_{:016x}", z ^ (z >> 31)).into())
    }
}

/// What the front needs to know.
#[derive(Clone, Debug)]
pub struct Front {
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Arc<[Cidr]>,
    /// Where request ids come from.
    pub ids: RequestIds,
    /// If set, any other `Host` is refused: a page on a foreign name that resolves to loopback (DNS
    /// rebinding) can't reach a server that only a local browser should. Names as in the header, with port.
    pub hosts: Option<Arc<[String]>>,
    /// What is refused when there is too much to do; nothing without it.
    pub shed: Option<Shed>,
}

impl Front {
    /// The id that a caller gave to its request, or else one of ours.
    fn id_of(&self, headers: &HeaderMap) -> RequestId {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        given.and_then(RequestId::from_header).unwrap_or_else(|| self.ids.next())
    }
}

/// Puts the front before `router`: request id, client address, problems with the request's id, also for what
/// libraries refuse and for panics; no sniffing, no caching and no referrer unless a route says otherwise;
/// and the page that problems point to.
pub fn front(router: Router, front: Front) -> Fronted {
    Fronted {
        router: router.route("/docs/problems", get(problems_page)),
        front: Some(Arc::new(front)),
    }
}

/// A router behind its front. The front isn't one of axum's layers: those are copied to each route and box what they
/// do anew for each request, which costs it some two microseconds for each layer.
#[derive(Clone, Debug)]
pub struct Fronted {
    router: Router,
    front: Option<Arc<Front>>,
}

impl Fronted {
    /// A router without a front, for listeners that only operators reach.
    #[must_use]
    pub const fn bare(router: Router) -> Self {
        Self { router, front: None }
    }

    /// Answers a request from `peer`, which goes into its extensions.
    pub fn answer<B, P>(
        &self,
        mut request: http::Request<B>,
        peer: &P,
    ) -> impl Future<Output = Response> + Send + use<B, P>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        P: Clone + Send + Sync + 'static,
    {
        // before anything is kept or boxed for it: under overload this is what most are told
        if let Some(refusal) = self.refusal(&request) {
            return Either::Left(ready(refusal));
        }
        request.extensions_mut().insert(peer.clone());
        let (request, Self { router, front }) = (request.map(Body::new), self.clone());
        Either::Right(async move {
            match &front {
                Some(front) => enter(front, router, request).await,
                None => route(router, request).await,
            }
        })
    }

    /// What a request is told that there is no time for.
    fn refusal<B>(&self, request: &http::Request<B>) -> Option<Response> {
        let front = self.front.as_deref()?;
        let shed = front.shed.as_ref()?;
        let refused = is_our_host(front, request.headers())
            && shed.refuses(request.method(), request.uri().path());
        refused.then(|| shed.refusal(&front.id_of(request.headers())))
    }
}

async fn route(mut router: Router, request: Request) -> Response {
    // a router is always ready
    let Ok(response) = router.call(request).await;
    response
}

async fn problems_page() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], include_str!("../../../docs/problems.md"))
}

/// What every reply says unless a route says otherwise.
pub(crate) fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

async fn enter(front: &Front, router: Router, mut request: Request) -> Response {
    let id = front.id_of(request.headers());
    if !is_our_host(front, request.headers()) {
        return finish(Problem::new(Code::MisdirectedRequest).into_response(), &id);
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(ConnectInfo(peer)) = peer {
        let client = ClientAddr::from(peer.ip(), request.headers(), &front.trusted_proxies);
        request.extensions_mut().insert(client);
    }
    let work = REQUEST.scope(id.clone(), route(router, request));
    // panics leave as problems too; the hook has logged where, and what it said may hold a value
    let response = AssertUnwindSafe(work).catch_unwind().await;
    let panicked = |_| Problem::internal("a handler panicked").into_response();
    let response = response.unwrap_or_else(panicked);
    finish(response, &id)
}

fn is_our_host(front: &Front, headers: &HeaderMap) -> bool {
    front.hosts.as_ref().is_none_or(|hosts| {
        headers
            .get(HOST)
            .is_some_and(|host| hosts.iter().any(|ours| ours.as_bytes() == host.as_bytes()))
    })
}

/// Gives a problem its request's id, makes a problem of what a library refused in plain text, and names the
/// request.
fn finish(mut response: Response, id: &RequestId) -> Response {
    let problem =
        response.extensions_mut().remove::<Problem>().or_else(|| refused_by_library(&response));
    if let Some(problem) = problem {
        let (headers, body) = problem.render(Some(id));
        response.headers_mut().remove(CONTENT_LENGTH);
        // `extend` would keep what came before beside it
        for (name, value) in &headers {
            response.headers_mut().insert(name, value.clone());
        }
        *response.body_mut() = Body::from(body);
    }
    sign(response, id)
}

/// What every reply has.
fn sign(mut response: Response, id: &RequestId) -> Response {
    harden(response.headers_mut());
    let value = HeaderValue::from_str(id.as_str()).expect("an id is plain ASCII");
    response.headers_mut().insert(REQUEST_ID, value);
    response
}

fn refused_by_library(response: &Response) -> Option<Problem> {
    let plain = response
        .headers()
        .get(CONTENT_TYPE)
        .is_none_or(|value| value.as_bytes().starts_with(b"text/plain"));
    let code = Code::for_status(response.status())?;
    plain.then_some(Problem::new(code))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::routing::post;
    use http::{Method, StatusCode};
    use http_body_util::BodyExt;

    use super::*;
    use crate::{Json, PROBLEM_JSON};

    fn app(hosts: Option<&str>) -> Fronted {
        let router = Router::new()
            .route("/who", get(|ClientAddr(ip): ClientAddr| async move { ip.to_string() }))
            .route("/panic", get(panics))
            .route("/cached", get(|| async { ([(CACHE_CONTROL, "max-age=60")], "x") }))
            .route("/no", get(|| async { Problem::invalid("name", "is missing") }))
            .route("/page", get(|| async { (StatusCode::NOT_FOUND, axum::response::Html("gone")) }))
            .route("/json", post(|Json(n): Json<u8>| async move { Json(n) }));
        front(
            router,
            Front {
                trusted_proxies: ["10.0.0.0/8".parse().unwrap()].into(),
                ids: RequestIds::new(7),
                hosts: hosts.map(|host| [host.to_owned()].into()),
                shed: Some(Shed::new(|method, path| *method == Method::PUT && path == "/who")),
            },
        )
    }

    async fn panics() -> &'static str {
        panic!("secret-in-panic")
    }

    struct Got {
        status: StatusCode,
        headers: HeaderMap,
        text: String,
    }

    impl Got {
        fn json(&self) -> serde_json::Value {
            assert_eq!(self.headers[CONTENT_TYPE], PROBLEM_JSON, "{}", self.text);
            serde_json::from_str(&self.text).unwrap()
        }
    }

    async fn send(app: Fronted, request: http::request::Builder, body: &'static str) -> Got {
        let peer: SocketAddr = "10.0.0.1:5000".parse().unwrap();
        let request = request.body(Body::from(body)).unwrap();
        let (parts, body) = app.answer(request, &ConnectInfo(peer)).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Got {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    #[tokio::test]
    async fn the_request_id_is_in_header_and_problem() {
        let got = send(app(None), Request::get("/no").header("x-request-id", "abc_1-X"), "").await;
        assert_eq!(got.headers[REQUEST_ID], "abc_1-X");
        assert_eq!(got.json()["request_id"], "abc_1-X");
        assert_eq!(got.json()["field"], "name");
    }

    #[tokio::test]
    async fn a_foreign_request_id_is_replaced() {
        let long = "a".repeat(65);
        for bad in ["", "a b", "a\"b", "é", long.as_str()] {
            let got = send(app(None), Request::get("/no").header("x-request-id", bad), "").await;
            let id = got.headers[REQUEST_ID].to_str().unwrap();
            assert!(id.starts_with("req_"), "{bad}: {id}");
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let ids = RequestIds::new(0);
        let set: BTreeSet<String> = (0..10_000).map(|_| ids.next().as_str().to_owned()).collect();
        assert_eq!(set.len(), 10_000);
    }

    #[tokio::test]
    async fn the_client_is_found_behind_the_proxy() {
        let got =
            send(app(None), Request::get("/who").header("x-forwarded-for", "192.0.2.7"), "").await;
        assert_eq!(got.text, "192.0.2.7");
    }

    #[tokio::test]
    async fn what_axum_refuses_is_a_problem_too() {
        for (request, body, status, code) in [
            (Request::get("/nowhere"), "", 404, "not_found"),
            (Request::get("/json"), "", 405, "method_not_allowed"),
            (Request::post("/json"), "1", 415, "unsupported_media_type"),
            (Request::get("/panic"), "", 500, "internal"),
        ] {
            let got = send(app(None), request, body).await;
            assert_eq!((got.status.as_u16(), got.json()["code"].as_str()), (status, Some(code)));
            assert!(!got.text.contains("secret"));
            assert_eq!(got.headers["x-content-type-options"], "nosniff");
        }
        let got = send(app(None), Request::get("/json"), "").await;
        assert_eq!(got.headers["allow"], "POST");
    }

    #[tokio::test]
    async fn a_page_keeps_its_own_error() {
        let got = send(app(None), Request::get("/page"), "").await;
        assert_eq!(got.text, "gone");
    }

    #[tokio::test]
    async fn nothing_is_cached_unless_a_route_says_so() {
        let got = send(app(None), Request::get("/who"), "").await;
        assert_eq!(got.headers[CACHE_CONTROL], "no-store");
        let got = send(app(None), Request::get("/cached"), "").await;
        assert_eq!(got.headers[CACHE_CONTROL], "max-age=60");
    }

    #[tokio::test]
    async fn what_is_shed_is_refused_like_anything_else() {
        let mut waits = BTreeSet::new();
        for n in 0..9 {
            let asked = Request::put("/who").header("x-request-id", format!("r{n}"));
            let got = send(app(None), asked, "a body that nobody reads").await;
            let json = got.json();
            assert_eq!((got.status.as_u16(), json["code"].as_str()), (503, Some("unavailable")));
            assert_eq!(json["request_id"], format!("r{n}"));
            assert_eq!(got.headers[REQUEST_ID], format!("r{n}").as_str());
            assert_eq!(got.headers[CACHE_CONTROL], "no-store");
            waits.insert(got.headers["retry-after"].to_str().unwrap().to_owned());
        }
        assert_eq!(waits, BTreeSet::from(["1", "2", "3"].map(str::to_owned)));
        assert_eq!(send(app(None), Request::get("/who"), "").await.status, 200);
    }

    #[tokio::test]
    async fn a_foreign_host_is_refused() {
        let ours = || app(Some("127.0.0.1:8470"));
        let got = send(ours(), Request::get("/who").header(HOST, "127.0.0.1:8470"), "").await;
        assert_eq!(got.status, 200);
        for foreign in ["evil.example", "127.0.0.1", "127.0.0.1:8471"] {
            // what would be shed too: whoever came to the wrong place isn't told to come back
            for method in [Method::GET, Method::PUT] {
                let asked = Request::builder().method(method).uri("/who").header(HOST, foreign);
                let got = send(ours(), asked, "").await;
                assert_eq!(got.json()["code"], "misdirected_request");
            }
        }
        let got = send(ours(), Request::get("/who"), "").await;
        assert_eq!(got.status, 421);
    }

    #[tokio::test]
    async fn problems_point_to_a_page_that_is_there() {
        let got = send(app(None), Request::get("/no"), "").await;
        let target = got.json()["type"].as_str().unwrap().to_owned();
        let (path, anchor) = target.split_once('#').unwrap();
        let page = send(app(None), Request::get(path), "").await;
        assert!(page.text.contains(&format!("## {anchor}\n")));
    }
}
