//! What monitoring reads: `/livez`, `/readyz`, `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;

/// Upper bounds in seconds of what durations are counted in: from a map lookup to the longest long poll.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0,
];
/// How often samples are folded into buckets while nobody reads them: bounds what they take.
const UPKEEP: Duration = Duration::from_secs(5);

/// Whether work should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Yes.
    Ready,
    /// It works, but something behind it does not. What, in a word.
    Degraded(&'static str),
    /// No: it can't decide anything. Why, in a word.
    Down(&'static str),
    /// No: it is stopping.
    Draining,
}

/// Tells how it stands; asked for each `/readyz`.
pub type Ask = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// Starts counting, once for the process, and keeps it bounded. To be called in a runtime.
///
/// # Errors
/// If another recorder counts already.
pub fn count() -> Result<PrometheusHandle, BuildError> {
    static COUNTING: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = counting.as_ref() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .install_recorder()?;
    tokio::spawn({
        let handle = handle.clone();
        async move {
            let mut interval = tokio::time::interval(UPKEEP);
            loop {
                interval.tick().await;
                handle.run_upkeep();
            }
        }
    });
    Ok(counting.insert(handle).clone())
}

/// The routes for `admin.listen`.
pub fn router(metrics: PrometheusHandle, ask: Ask) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(ask))
        .route("/metrics", get(render).with_state(metrics))
}

async fn ready(State(ask): State<Ask>) -> impl IntoResponse {
    let (status, state, why) = match ask() {
        Readiness::Ready => (StatusCode::OK, "ready", None),
        // still the right place for a sign-in: elsewhere would be no better
        Readiness::Degraded(why) => (StatusCode::OK, "degraded", Some(why)),
        Readiness::Down(why) => (StatusCode::SERVICE_UNAVAILABLE, "down", Some(why)),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining", None),
    };
    (status, axum::Json(json!({ "state": state, "why": why })))
}

async fn render(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    // the text format's version: https://prometheus.io/docs/instrumenting/exposition_formats/
    let text = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, text)], metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, readiness: Readiness) -> (u16, String) {
        let router = router(count().unwrap(), Arc::new(move || readiness));
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_is_told() {
        for (readiness, status, state) in [
            (Readiness::Ready, 200, "ready"),
            (Readiness::Degraded("disk"), 200, "degraded"),
            (Readiness::Down("store"), 503, "down"),
            (Readiness::Draining, 503, "draining"),
        ] {
            let (got, body) = ask("/readyz", readiness).await;
            assert_eq!(got, status);
            assert!(body.contains(&format!("\"state\":\"{state}\"")), "{body}");
            assert_eq!(ask("/livez", readiness).await.0, 200);
        }
    }

    #[tokio::test]
    async fn what_is_counted_is_shown() {
        let _ = count().unwrap();
        metrics::counter!("countersign_test_total", "kind" => "a").increment(2);
        metrics::histogram!("countersign_test_seconds").record(0.003);
        let (_, text) = ask("/metrics", Readiness::Ready).await;
        assert!(text.contains("countersign_test_total{kind=\"a\"} 2"), "{text}");
        assert!(text.contains("countersign_test_seconds_bucket{le=\"0.005\"} 1"), "{text}");
    }
}
