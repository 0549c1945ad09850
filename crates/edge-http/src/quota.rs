//! An integration's quota on its way: counted where its key is known, told with every reply.

use std::sync::{Arc, OnceLock};

use app::{Call, Caller};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http_limits::{Code, Problem, Quota, Standing};

/// Where the reply of one request finds what was counted.
#[derive(Clone, Default)]
struct Counted(Arc<OnceLock<Standing>>);

/// Counts a request of `caller`.
pub(crate) fn count(
    quota: Option<&Quota>,
    parts: &Parts,
    caller: &Caller,
    call: &Call,
) -> Result<(), Problem> {
    let Some(quota) = quota else { return Ok(()) };
    let now = call.now.millis().saturating_mul(1000);
    let standing = quota.count(*caller.integration().id.as_bytes(), now);
    if let Some(Counted(told)) = parts.extensions.get() {
        // each request is counted once
        let _ = told.set(standing);
    }
    match standing.refused {
        Some(wait) => Err(Problem::new(Code::TooManyRequests).retry_after(wait)),
        None => Ok(()),
    }
}

/// Tells callers where they stand, refused or not.
pub(crate) async fn tell(
    State(quota): State<Option<Arc<Quota>>>,
    mut request: Request,
    next: Next,
) -> Response {
    if quota.is_none() {
        return next.run(request).await;
    }
    let counted = Counted::default();
    request.extensions_mut().insert(counted.clone());
    let mut response = next.run(request).await;
    if let Some(standing) = counted.0.get() {
        standing.tell(response.headers_mut());
    }
    response
}
