//! A small JSON client for the demo's own requests.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// The largest reply that is read.
const MAX_REPLY: usize = 1 << 20;

/// A reply: its status and, if it is one, its JSON.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body; null if it isn't JSON.
    pub body: Value,
}

impl Reply {
    /// A text member; empty if it isn't there.
    #[must_use]
    pub fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }

    /// `409 already_redeemed`, or `200`.
    #[must_use]
    pub fn outcome(&self) -> String {
        match self.text("code") {
            "" => self.status.to_string(),
            code => format!("{} {code}", self.status),
        }
    }
}

/// A client of one server with one API key.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    key: String,
}

impl Http {
    /// For the server at `base`.
    #[must_use]
    pub fn new(base: &str, key: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, base: base.to_owned(), key: key.to_owned() }
    }

    /// Sends a request and reads the reply.
    ///
    /// # Errors
    /// What went wrong on the way, in one line.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> Result<Reply, String> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let reply = self.client.request(request).await.map_err(|error| error.to_string())?;
        let status = reply.status().as_u16();
        let body = Limited::new(reply.into_body(), MAX_REPLY).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Reply { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }
}
