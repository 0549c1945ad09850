//! The relying party: the REST API over kept-alive connections.

mod line;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue, RETRY_AFTER, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::rest::Problem;

use crate::failure::Cut;
use crate::reach::Reach;
use line::{Lines, Reply};

/// Most bytes of a reply: the largest, a receipt, takes about one KiB.
const MAX_REPLY: usize = 64 * 1024;
/// How long a reply may take that doesn't wait for anybody.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take: less than a reply, so that a machine that is gone is told from a slow server.
const CONNECT_WITHIN: Duration = Duration::from_secs(9);
/// How often it is looked whether the server is gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Shorter than the server keeps silent connections (30 s), so that no request meets one that it is closing.
const KEEP_IDLE: Duration = Duration::from_secs(20);

/// Why a call didn't bring what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the server can't be reached: {0}")]
    Unreachable(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the server didn't answer in time")]
    Timeout,
    #[error("the server answered {status} {code}{detail}")]
    Refused { status: StatusCode, code: String, detail: String },
    #[error("the server's reply can't be read")]
    Reply,
}

impl CallError {
    /// Whether the server says that it has no time, and when to come back.
    pub(crate) fn is_overload(&self) -> bool {
        matches!(self, Self::Refused { status, code, .. }
            if *status == StatusCode::SERVICE_UNAVAILABLE && code == "unavailable")
    }

    /// Its name among the errors of a report.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Unreachable(_) => "unreachable".to_owned(),
            Self::Broken(_) => "connection_broke".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Refused { status, code, .. } => format!("{}_{code}", status.as_u16()),
            Self::Reply => "bad_reply".to_owned(),
        }
    }
}

/// A body that says nothing.
#[derive(Serialize)]
pub(crate) struct Nothing;

/// One integration's way to the API. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    /// The way to a plain server; pages, and whatever goes through TLS, take the other one.
    lines: Option<Arc<Lines>>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    key: HeaderValue,
    /// Whom a server of ours is vouched for by, as DER.
    roots: Arc<[Vec<u8>]>,
    reach: Arc<Reach>,
}

impl Api {
    /// `base` is `http://A:P`, or `https://A:P` of a server that `roots` vouch for. `None` if the key can't be part
    /// of a header, or a root is none.
    pub(crate) fn new(base: &str, key: &str, roots: &[Vec<u8>]) -> Option<Self> {
        let lines = Lines::new(base, key).map(Arc::new);
        let mut key = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
        key.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_IDLE)
            .build(connector);
        let (base, roots, reach) = (base.to_owned(), roots.into(), Arc::default());
        Some(Self { lines, client, base, key, roots, reach })
    }

    /// Whom the server is vouched for by, if not by a public authority.
    pub(crate) fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }

    /// Whether it is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let uri = self.base.parse::<Uri>().ok();
        uri.is_some_and(|uri| matches!(uri.host(), Some("127.0.0.1" | "localhost")))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.reach.gone().is_some()
    }

    /// Resolves once the server is gone.
    pub(crate) async fn gone(&self) -> Cut {
        loop {
            if let Some(down) = self.reach.gone() {
                return Cut::gone(&self.base, down);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        patience: Duration,
    ) -> Result<T, CallError> {
        self.call(Method::GET, path, None::<&Nothing>, patience).await
    }

    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, CallError> {
        self.call(method, path, body, PATIENCE).await
    }

    /// A page, as a browser asks for it: without the key, with what cookies it has.
    pub(crate) async fn page_within(
        &self,
        method: Method,
        url: &str,
        cookie: Option<&str>,
        patience: Duration,
    ) -> Result<PageReply, CallError> {
        let uri: Uri = url.parse().map_err(|_| CallError::Reply)?;
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header("sec-fetch-site", "same-origin");
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = request.body(Full::new(Bytes::new())).map_err(|_| CallError::Reply)?;
        let asked = async {
            let response = self.respond(request).await?;
            let status = response.status();
            let cookies = response.headers().get_all(SET_COOKIE).iter().filter_map(|set| {
                let pair = set.to_str().ok()?.split(';').next()?;
                Some(pair.to_owned())
            });
            let cookies = cookies.collect::<Vec<_>>().join("; ");
            let text = String::from_utf8_lossy(&read(response).await?).into_owned();
            if status.is_success() {
                return Ok(PageReply { status, cookies, text });
            }
            Err(CallError::Refused { status, code: "page".to_owned(), detail: String::new() })
        };
        tokio::time::timeout(patience, asked).await.unwrap_or(Err(CallError::Timeout))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        patience: Duration,
    ) -> Result<T, CallError> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|_| CallError::Reply)?;
        let body = body.unwrap_or_default();
        let asked = async {
            match &self.lines {
                Some(lines) => {
                    let replied = lines.ask(&method, path, &body).await;
                    self.reach.note(&replied);
                    replied
                }
                None => self.exchange(&method, path, body).await,
            }
        };
        let replied = tokio::time::timeout(patience, asked).await;
        understand(replied.map_err(|_| CallError::Timeout)??)
    }

    async fn respond(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, CallError> {
        let responded = self.client.request(request).await.map_err(|error| {
            let text = explain(&error);
            if error.is_connect() { CallError::Unreachable(text) } else { CallError::Broken(text) }
        });
        self.reach.note(&responded);
        responded
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Reply, CallError> {
        let uri = format!("{}{path}", self.base);
        let uri: Uri = uri.parse().map_err(|_| CallError::Reply)?;
        let mut request =
            Request::builder().method(method).uri(uri).header(AUTHORIZATION, self.key.clone());
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body.into())).map_err(|_| CallError::Reply)?;
        let response = self.respond(request).await?;
        let status = response.status();
        let says_when = response.headers().contains_key(RETRY_AFTER);
        let body = read(response).await?.to_vec();
        Ok(Reply { status, says_when, body })
    }
}

/// What a reply brings, or how it refuses.
fn understand<T: DeserializeOwned>(reply: Reply) -> Result<T, CallError> {
    let Reply { status, says_when, body } = reply;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| CallError::Reply);
    }
    let problem = serde_json::from_slice::<Problem>(&body).ok();
    let (code, detail) = problem.map_or_else(
        || ("not_a_problem".to_owned(), String::new()),
        |problem| {
            (problem.code, problem.detail.map(|text| format!(": {text}")).unwrap_or_default())
        },
    );
    if status == StatusCode::SERVICE_UNAVAILABLE && !says_when {
        let code = format!("{code}_without_retry_after");
        return Err(CallError::Refused { status, code, detail });
    }
    Err(CallError::Refused { status, code, detail })
}

fn tls(roots: &[Vec<u8>]) -> Option<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(CertificateDer::from(root.clone())).ok()?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().ok()?;
    Some(config.with_root_certificates(store).with_no_client_auth())
}

/// What a browser gets.
pub(crate) struct PageReply {
    pub(crate) status: StatusCode,
    /// As they are sent back.
    pub(crate) cookies: String,
    pub(crate) text: String,
}

async fn read(response: Response<Incoming>) -> Result<Bytes, CallError> {
    let body = Limited::new(response.into_body(), MAX_REPLY).collect().await;
    Ok(body.map_err(|error| CallError::Broken(error.to_string()))?.to_bytes())
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Api({}, redacted)", self.base)
    }
}

/// The innermost reason; the outer ones say no more than that something failed.
fn explain(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
