//! Requests to a server, with all of the replies: status, headers and bytes.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::socket::PATIENCE;

/// A client without a key of its own.
#[derive(Clone)]
pub(crate) struct Rest {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Rest {
    pub(crate) fn new(base: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, base: base.to_owned() }
    }

    /// Sends JSON, or nothing for null, under a key, or without one if it is empty.
    pub(crate) async fn send(&self, key: &str, method: &str, path: &str, body: &Value) -> Reply {
        self.send_with(key, method, path, body, &[]).await
    }

    pub(crate) async fn send_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = http::Request::builder().method(method);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut bytes = Bytes::new();
        if !body.is_null() {
            request = request.header("content-type", "application/json");
            bytes = body.to_string().into();
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.raw(request, path, bytes).await
    }

    pub(crate) async fn raw(
        &self,
        request: http::request::Builder,
        path: &str,
        body: Bytes,
    ) -> Reply {
        let request = request.uri(format!("{}{path}", self.base)).body(Full::new(body)).unwrap();
        let exchange = async {
            let (parts, body) = self.client.request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply { status: parts.status.as_u16(), headers: parts.headers, body }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("a reply in time")
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// `404 not_found`, or `200`.
    pub(crate) fn outcome(&self) -> String {
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(Value::Object(body)) if body.contains_key("code") && self.status >= 400 => {
                format!("{} {}", self.status, body["code"].as_str().unwrap())
            }
            _ => self.status.to_string(),
        }
    }

    /// The headers that say nothing of when and under which id.
    pub(crate) fn lasting_headers(&self) -> Vec<(String, String)> {
        let passing = ["date", "x-request-id"];
        let lasting = self.headers.iter().filter(|(name, _)| !passing.contains(&name.as_str()));
        lasting.map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect()
    }

    /// All of it but when and under which id.
    pub(crate) fn lasting(&self) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let id = self.headers["x-request-id"].to_str().unwrap();
        let body = String::from_utf8(self.body.to_vec()).unwrap().replace(id, "ID");
        (self.status, self.lasting_headers(), body.into_bytes())
    }
}
