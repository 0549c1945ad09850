//! What is refused because more is asked for than gets done, and how.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method};

use crate::front::{REQUEST_ID, RequestId, harden};
use crate::{Code, Problem};

/// Whoever is refused comes back within so many seconds, spread evenly: not all at the same moment.
const RETRY_SPREAD_S: u8 = 3;
/// Stands for the request's id in what is rendered beforehand: no word of a problem's.
const ANY_ID: &str = "0_0";

/// Says whether a request is refused before anything is read or looked up for it, and how. Knows its method and path,
/// and nothing about whom it is for.
#[derive(Clone)]
pub struct Shed {
    refuses: Arc<Refuses>,
    /// The cheapest refusal: rendered once for each time to wait but for the request's id, and not logged, since there
    /// are many where there is one.
    refusals: Arc<[Rendered]>,
}

type Refuses = dyn Fn(&Method, &str) -> bool + Send + Sync;

impl Shed {
    /// `refuses` is asked for each request.
    pub fn new(refuses: impl Fn(&Method, &str) -> bool + Send + Sync + 'static) -> Self {
        let refusals = (1..=RETRY_SPREAD_S).map(|seconds| Rendered::new(seconds.into()));
        Self { refuses: Arc::new(refuses), refusals: refusals.collect() }
    }

    pub(crate) fn refuses(&self, method: &Method, path: &str) -> bool {
        (self.refuses)(method, path)
    }

    /// What the request with that id is told if it is refused.
    pub(crate) fn refusal(&self, id: &RequestId) -> Response {
        let id = id.as_str();
        let last = id.bytes().last().unwrap_or_default();
        let Rendered { headers, body: (before, after) } =
            &self.refusals[usize::from(last % RETRY_SPREAD_S)];
        let mut response = Response::new(Body::from([before, id, after].concat()));
        *response.status_mut() = Code::Unavailable.status();
        *response.headers_mut() = headers.clone();
        let value = HeaderValue::from_str(id).expect("an id is plain ASCII");
        response.headers_mut().insert(REQUEST_ID, value);
        response
    }
}

impl fmt::Debug for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shed")
    }
}

/// A refusal but for the request's id.
struct Rendered {
    headers: HeaderMap,
    /// The body, up to the id and from there on.
    body: (String, String),
}

impl Rendered {
    fn new(seconds: u64) -> Self {
        let problem = Problem::new(Code::Unavailable)
            .detail("more is asked for than gets done")
            .retry_after(Duration::from_secs(seconds));
        let any = RequestId::from_header(ANY_ID).expect("it is plain");
        let (mut headers, body) = problem.render(Some(&any));
        harden(&mut headers);
        // takes the id's place, so that a copy needn't grow
        headers.insert(REQUEST_ID, HeaderValue::from_static(ANY_ID));
        let body = String::from_utf8(body).expect("JSON is text");
        let (before, after) = body.split_once(ANY_ID).expect("the id is in it");
        Self { headers, body: (before.to_owned(), after.to_owned()) }
    }
}
