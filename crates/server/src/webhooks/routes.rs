//! What operators can do with webhooks.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use edge_http::Operator;
use http_limits::{Code, Json, Problem};
use serde_json::{Value, json};

use super::worker::Worker;

type Workers = Arc<[Arc<Worker>]>;

pub(super) fn router(workers: Vec<Arc<Worker>>) -> Router {
    Router::new()
        .route("/webhooks", get(list))
        .route("/webhooks/{name}", get(show))
        .route("/webhooks/{name}/test", post(test))
        .route("/webhooks/{name}/enable", post(enable))
        .with_state(Workers::from(workers))
}

fn find(workers: &Workers, name: &str) -> Result<Arc<Worker>, Problem> {
    let found = workers.iter().find(|worker| worker.endpoint().name == name);
    found.cloned().ok_or_else(|| {
        Problem::new(Code::NotFound).detail("no webhook of that name is in the configuration")
    })
}

async fn list(State(workers): State<Workers>) -> Json<Value> {
    let all: Vec<Value> = workers.iter().map(|worker| worker.status()).collect();
    Json(json!({ "data": all, "next_cursor": null }))
}

async fn show(
    State(workers): State<Workers>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(find(&workers, &name)?.status()))
}

async fn test(
    State(workers): State<Workers>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    match find(&workers, &name)?.test().await {
        Ok(status) => Ok(Json(json!({ "name": name, "status": status.as_u16() }))),
        Err(failure) => Err(Problem::new(Code::Unavailable).detail(failure.to_string())),
    }
}

async fn enable(
    State(workers): State<Workers>,
    axum::Extension(Operator { uid }): axum::Extension<Operator>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let worker = find(&workers, &name)?;
    worker.enable().await;
    tracing::info!(uid, webhook = name, "a webhook was enabled");
    Ok(Json(worker.status()))
}
