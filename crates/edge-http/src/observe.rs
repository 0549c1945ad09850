//! What is said of every request: one line in the log, two metrics. Never a path, query or id: the route's
//! template stands for them. docs/metrics.md lists the names.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

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

/// The metrics of each route, looked up once: to find one by its labels takes longer than to count.
#[derive(Default)]
pub(crate) struct Meters(RwLock<HashMap<String, Meter>>);

struct Meter {
    seconds: Histogram,
    /// By method and status: a handful.
    requests: Vec<(&'static str, u16, Counter)>,
}

impl Meter {
    fn note(&self, (method, status): (&str, u16), took: Duration) -> Option<()> {
        let same = |(m, s, _): &&(&str, u16, Counter)| *m == method && *s == status;
        let (.., requests) = self.requests.iter().find(same)?;
        requests.increment(1);
        self.seconds.record(took);
        Some(())
    }
}

impl Meters {
    fn note(&self, route: &str, answered: (&'static str, u16), took: Duration) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(route).and_then(|meter| meter.note(answered, took)).is_some() {
            return;
        }
        drop(known);
        let (method, status) = answered;
        let labels = [
            ("route", route.to_owned()),
            ("method", method.to_owned()),
            ("status", status.to_string()),
        ];
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let meter = known.entry(route.to_owned()).or_insert_with(|| {
            let seconds = histogram!(SECONDS, "route" => route.to_owned());
            Meter { seconds, requests: Vec::new() }
        });
        // twice, if somebody else was here meanwhile: both count the same
        meter.requests.push((method, status, counter!(REQUESTS, &labels)));
        meter.note(answered, took);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a request took is for the log and the metrics alone: no rule reads it"
)]
/// Lets a request come to its end, and tells of it.
pub(crate) async fn observe(
    State(meters): State<Arc<Meters>>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let method = name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = to_its_end(request, next).await;
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    let took = start.elapsed();
    let status = response.status().as_u16();
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // the request's id is in the span that the front opened; the metrics and the audit tell of those that went well
    if status >= 400 {
        tracing::info!(method, route, status, ms, "request");
    } else {
        tracing::debug!(method, route, status, ms, "request");
    }
    meters.note(route, (method, status), took);
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
