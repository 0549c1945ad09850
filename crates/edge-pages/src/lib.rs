//! Hosted pages: the sign-in page with its number, and what a browser shows of an enrolment link.
//!
//! Everything works without scripts: a page that waits reloads itself by way of an address that answers when
//! something changes. The only script asks the same without reloading, leaves at once, and presses the button that leads back
//! to who asked.
//!
//! Architecture invariant: a number is written into one kind of response, to the browser that a sign-in is
//! bound to. It is in no address, header or log line; a sign-in's handle is in addresses of its own only.

mod assets;
mod browser;
mod demo;
mod dress;
mod fence;
mod language;
mod page;
mod qr;
mod sign_in;
mod visitor;

use std::sync::Arc;

use app::sign_ins::SignIns;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use statement::IntegrationId;
use tokio::sync::watch;

pub use dress::dress;

use crate::fence::Origin;

/// Largest form: a code of 64 characters takes a twentieth.
const MAX_FORM: usize = 4 * 1024;

/// What the pages stand on.
#[derive(Clone)]
pub struct Pages {
    /// The use cases.
    pub app: Arc<app::App>,
    /// Makes what each request is given: the time and randomness.
    pub call: Arc<dyn Fn() -> app::Call + Send + Sync>,
    /// The sign-ins of this process, whoever starts them.
    pub signins: Arc<SignIns>,
    /// If set, `/` offers to sign in for a trial.
    pub demo: Option<Demo>,
    /// Whether cookies are `Secure` and carry the `__Host-` prefix: always, but for plain http on loopback.
    pub secure_cookies: bool,
    /// Says when the server stops: nobody is kept waiting then.
    pub stopping: watch::Receiver<bool>,
}

/// For whom the trial page signs in.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The integration that asks.
    pub integration: IntegrationId,
    /// The name of the user who is asked.
    pub user: String,
}

/// The pages. They expect [`http_limits::front`] in front of them.
pub fn router(pages: Pages) -> Router {
    let origin = Origin::of(pages.app.public_url());
    let demo = pages.demo.is_some();
    let pages = Arc::new(pages);
    let mut router = Router::new()
        .route("/sign-in/{handle}", get(sign_in::show))
        .route("/sign-in/{handle}/wait", get(sign_in::wait))
        .route("/sign-in/{handle}/state", get(sign_in::state))
        .route("/sign-in/{handle}/code", get(sign_in::code_form).post(sign_in::submit_code))
        .route("/sign-in/{handle}/name", post(sign_in::name))
        .route("/sign-in/{handle}/cancel", post(sign_in::cancel))
        .route("/sign-in/{handle}/retry", post(sign_in::retry))
        .route("/sign-in/{handle}/leave", post(sign_in::leave))
        .route("/enrol", get(page::enrol))
        .route(assets::css_path(), get(assets::css))
        .route(assets::js_path(), get(assets::js))
        .route(assets::enrol_path(), get(assets::enrol_js));
    if demo {
        router = router.route("/", get(demo::home)).route("/sign-in", post(demo::start));
    }
    router
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .route_layer(from_fn_with_state(Arc::new(origin), fence::fence))
        .with_state(pages)
}
