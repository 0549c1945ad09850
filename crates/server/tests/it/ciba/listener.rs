//! Somebody who is told things by HTTP, and publishes keys.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(20);

/// What somebody was told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

#[derive(Clone)]
struct Shared {
    keys: Arc<str>,
    script: Arc<Mutex<VecDeque<u16>>>,
    told: mpsc::UnboundedSender<Told>,
}

/// Answers posts with 204, but a script first, and any other request with its keys.
pub(crate) struct Listener {
    pub(crate) url: String,
    script: Arc<Mutex<VecDeque<u16>>>,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Listener {
    pub(crate) async fn new(keys: &Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, told) = mpsc::unbounded_channel();
        let script = Arc::<Mutex<VecDeque<u16>>>::default();
        let shared =
            Shared { keys: keys.to_string().into(), script: Arc::clone(&script), told: sender };
        let router = Router::new().fallback(take).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, script, told }
    }

    /// From now on it first answers so.
    pub(crate) fn then(&self, script: &[u16]) {
        self.script.lock().unwrap().extend(script);
    }

    pub(crate) async fn next(&mut self) -> Told {
        tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("told in time").unwrap()
    }

    /// Whether nothing more was told.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.told.try_recv().is_err()
    }
}

async fn take(
    State(shared): State<Shared>,
    method: http::Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method != http::Method::POST {
        return shared.keys.to_string().into_response();
    }
    assert_eq!(headers["content-type"], "application/json");
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    let body = serde_json::from_slice(&body).unwrap();
    drop(shared.told.send(Told { path: uri.path().to_owned(), authorization, body }));
    let status = shared.script.lock().unwrap().pop_front().unwrap_or(204);
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("location", "/elsewhere")], "a body that nobody reads").into_response()
}
