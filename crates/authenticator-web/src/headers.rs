//! What keeps others out of the page.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::HeaderValue;
use http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use statement::ServerUrl;

/// No sensor but the camera, which scans numbers, and the clipboard, when a person pastes one.
const PERMISSIONS: &str = "camera=(self), clipboard-read=(self), clipboard-write=(self), \
                           geolocation=(), microphone=(), payment=(), usb=(), \
                           display-capture=()";

/// The page may load itself and talk to its server, and to nobody else. Scripts come from files only, and none
/// may turn text into script: the one Trusted Types policy lets the service worker's address through.
fn policy(server: &ServerUrl) -> String {
    let socket = server.websocket("");
    // CSP's grammar of hosts knows no IPv6 address: then any host of this scheme, on a server that only this
    // machine reaches
    let socket = match socket.split_once("://") {
        Some((scheme, rest)) if rest.starts_with('[') => format!("{scheme}:"),
        _ => socket,
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' {socket}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types countersign"
    )
}

/// Puts the headers on everything that `router` answers, refusals too.
pub(crate) fn guarded(router: Router, server: &ServerUrl) -> Router {
    let policy = HeaderValue::from_str(&policy(server))
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
    router.layer(from_fn_with_state(Arc::new(policy), guard))
}

async fn guard(State(policy): State<Arc<HeaderValue>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::clone(&policy));
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
