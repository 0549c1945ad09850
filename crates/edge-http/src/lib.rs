//! The REST edge for integrations and the operators' edge.
//!
//! Architecture invariant: no decision is made here. A handler reads the request into types, calls one use
//! case, and shapes the reply; `error` maps every refusal, exhaustively.

mod admin;
mod asked;
mod auth;
mod challenges;
mod error;
#[cfg(test)]
mod event_schema;
mod events;
mod factors;
mod guard;
mod hosted;
mod idempotency;
mod observe;
mod openapi;
mod shapes;
mod shed;
mod users;

use std::ops::Deref;
use std::sync::Arc;

use app::sign_ins::SignIns;
use app::{App, Call};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_limits::{Problem, Quota, of_request, tell_quota};
use tokio::sync::watch;

pub use admin::{CheckpointFile, Operator, admin_router};
pub use openapi::openapi_json;
pub use shapes::event;
pub use shed::shed;

/// What the REST edge and the operators' edge stand on. Clones share it: axum makes some for each request.
#[derive(Clone)]
pub struct Rest(Arc<Shared>);

/// What [`Rest`] shares.
#[derive(Clone)]
pub struct Shared {
    app: Arc<App>,
    call: Arc<dyn Fn() -> Call + Send + Sync>,
    sign_ins: Arc<SignIns>,
    shutdown: watch::Receiver<bool>,
    in_progress: idempotency::InProgress,
    quota: Option<Arc<Quota>>,
}

impl Rest {
    /// `call` reads the clock and makes an rng, once for each request; challenges that want a hosted page get one in
    /// `sign_ins`; long polls end when `shutdown` turns true.
    #[must_use]
    pub fn new(
        app: Arc<App>,
        call: Arc<dyn Fn() -> Call + Send + Sync>,
        sign_ins: Arc<SignIns>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let in_progress = idempotency::InProgress::default();
        Self(Arc::new(Shared { app, call, sign_ins, shutdown, in_progress, quota: None }))
    }

    /// The same, where each integration may make only so many requests.
    #[must_use]
    pub fn with_quota(self, quota: Option<Arc<Quota>>) -> Self {
        Self(Arc::new(Shared { quota, ..Shared::clone(&self.0) }))
    }

    fn call(&self) -> Call {
        (self.call)()
    }
}

impl Deref for Rest {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The REST API, `/openapi.json` and `/.well-known/jwks.json`. To be put behind [`http_limits::front`].
pub fn rest_router(state: Rest) -> Router {
    observe::describe();
    let (mut router, _) = openapi::router().split_for_parts();
    if state.quota.is_some() {
        router = router.route_layer(from_fn(tell_quota));
    }
    let meters = Arc::<observe::Meters>::default();
    router.route_layer(from_fn_with_state(meters, observe::observe)).with_state(state)
}

/// Lets what may change something come to its end in a task of its own. A caller who hangs up between a write
/// and what follows from it must not keep devices and waiters from being told, a revoked socket open, or an
/// idempotency key free for a second try while the first is on its way to the disk.
pub(crate) async fn to_its_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(of_request(next.run(request))).await {
        Ok(response) => response,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Problem::unavailable(error).into_response(),
    }
}
