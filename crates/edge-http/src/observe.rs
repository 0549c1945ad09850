//! What is said of every request: one line in the log, two metrics. Never a path, query or id: the route's
//! template stands for them. docs/metrics.md lists the names.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use metrics::{SharedString, Unit, counter, describe_counter, describe_histogram, histogram};

use crate::to_its_end;

const REQUESTS: &str = "countersign_http_requests_total";
const SECONDS: &str = "countersign_http_request_seconds";
const CREATED: &str = "countersign_challenges_created_total";
const REDEEMED: &str = "countersign_challenges_redeemed_total";

/// Tells the recorder what the names mean.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "REST requests by route, method and status");
    describe_histogram!(SECONDS, Unit::Seconds, "How long they took, by route");
    describe_counter!(CREATED, "New challenges, decoys among them");
    describe_counter!(REDEEMED, "Approvals that became a receipt");
}

pub(crate) fn created() {
    counter!(CREATED).increment(1);
}

pub(crate) fn redeemed() {
    counter!(REDEEMED).increment(1);
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a request took is for the log and the metrics alone: no rule reads it"
)]
/// Lets a request come to its end, and tells of it.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = name(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route: Arc<str> = route.map_or("unknown", MatchedPath::as_str).into();
    let response = to_its_end(request, next).await;
    let took = start.elapsed();
    let status = response.status().as_u16();
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // the request's id is in the span that the front opened; the metrics and the audit tell of those that went well
    if status >= 400 {
        tracing::info!(method, route = &*route, status, ms, "request");
    } else {
        tracing::debug!(method, route = &*route, status, ms, "request");
    }
    let label = SharedString::from_shared(Arc::clone(&route));
    counter!(REQUESTS, "route" => label, "method" => method, "status" => status.to_string())
        .increment(1);
    histogram!(SECONDS, "route" => SharedString::from_shared(route)).record(took);
    response
}

/// A closed set: a caller could otherwise make a time series per request.
fn name(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_documented() {
        let docs = include_str!("../../../docs/metrics.md");
        for metric in [REQUESTS, SECONDS, CREATED, REDEEMED] {
            assert!(docs.contains(&format!("| `{metric}` |")), "{metric}");
        }
    }
}
