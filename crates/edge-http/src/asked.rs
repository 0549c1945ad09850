//! What is asked: a JSON body with the idempotency key it came under.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use http_limits::{Json, Problem, read_body};
use ports::ReplayKey;
use serde::de::DeserializeOwned;
use statement::{IntegrationId, sha256};

/// The header under whose value a request can be repeated.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest idempotency key, in characters.
const MAX_KEY: usize = 255;

/// A body and its idempotency key. A request without body and `Content-Type` asks with `{}`.
pub(crate) struct Asked<T> {
    pub(crate) body: T,
    key: Option<Key>,
}

struct Key {
    key: [u8; 32],
    request: [u8; 32],
}

impl<T> Asked<T> {
    /// The idempotency key among those of `integration`.
    pub(crate) fn replay_key(&self, integration: IntegrationId) -> Option<ReplayKey> {
        self.key.as_ref().map(|Key { key, request }| ReplayKey {
            integration,
            key: *key,
            request: *request,
        })
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let key = idempotency_key(&parts.headers)?.map(|key| sha256(&[key.as_bytes()]));
        let bytes = read_body(&parts.headers, body).await?;
        let key = key.map(|key| {
            let method = parts.method.as_str().as_bytes();
            let path = parts.uri.path().as_bytes();
            let request = sha256(&[method, b"\0", path, b"\0", &bytes]);
            Key { key, request }
        });
        if bytes.is_empty() && !parts.headers.contains_key(CONTENT_TYPE) {
            let Json(body) = Json::from_bytes(b"{}")?;
            return Ok(Self { body, key });
        }
        let request = Request::from_parts(parts, Body::from(bytes));
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self { body, key })
    }
}

/// A body that a request needs not have, whatever its `Content-Type` says: without one it asks with `{}`.
pub(crate) struct Perhaps<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Perhaps<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body).await?;
        let Json(body) = if bytes.is_empty() {
            Json::from_bytes(b"{}")?
        } else {
            Json::from_request(Request::from_parts(parts, Body::from(bytes)), state).await?
        };
        Ok(Self(body))
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (value, more) = (values.next(), values.next());
    let Some(value) = value else { return Ok(None) };
    let fits = |text: &&str| {
        (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    };
    match value.to_str().ok().filter(fits) {
        Some(key) if more.is_none() => Ok(Some(key)),
        _ => Err(Problem::invalid(
            "Idempotency-Key",
            "must be 1 to 255 visible ASCII characters, sent once",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(request: http::request::Builder, body: &str) -> Result<Asked<Body>, Problem> {
        let request = request.body(axum::body::Body::from(body.to_owned()));
        Asked::from_request(request.unwrap(), &()).await
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        reason: Option<String>,
    }

    #[tokio::test]
    async fn no_body_asks_with_an_empty_object() {
        let asked = ask(Request::post("/x"), "").await.map_err(|p| p.code());
        assert!(asked.unwrap().body.reason.is_none());
        let json = Request::post("/x").header(CONTENT_TYPE, "application/json");
        let refused = ask(json, "").await.err().unwrap();
        assert_eq!(refused.code().name(), "malformed_request");
        let refused = ask(Request::post("/x"), "{}").await.err().unwrap();
        assert_eq!(refused.code().name(), "unsupported_media_type");
    }

    #[tokio::test]
    async fn a_body_that_needs_not_be_there_may_be_announced() {
        for request in
            [Request::put("/x"), Request::put("/x").header(CONTENT_TYPE, "application/json")]
        {
            let request = request.body(axum::body::Body::empty()).unwrap();
            let perhaps = Perhaps::<Body>::from_request(request, &()).await;
            assert!(perhaps.map_err(|p| p.code()).unwrap().0.reason.is_none());
        }
    }

    #[tokio::test]
    async fn a_key_covers_method_path_and_body() {
        let key = async |path: &str, key: &str, body: &str| {
            let request = Request::post(path)
                .header(CONTENT_TYPE, "application/json")
                .header(IDEMPOTENCY_KEY, key);
            let asked = ask(request, body).await.map_err(|p| p.code()).unwrap();
            let key = asked.replay_key(IntegrationId::from_bytes([0; 16]));
            key.map(|key| (key.key, key.request)).unwrap()
        };
        let first = key("/x", "k", "{}").await;
        assert_eq!(key("/x", "k", "{}").await, first);
        let others = [key("/y", "k", "{}").await, key("/x", "k", "{} ").await];
        for other in others {
            assert_eq!(other.0, first.0);
            assert_ne!(other.1, first.1);
        }
        assert_ne!(key("/x", "l", "{}").await.0, first.0);
    }

    #[tokio::test]
    async fn a_bad_key_is_refused() {
        let long = "k".repeat(256);
        for bad in ["", "a b", "é", &long] {
            let request = Request::post("/x").header(IDEMPOTENCY_KEY, bad);
            let refused = ask(request, "").await.err().unwrap();
            assert_eq!(refused.code().name(), "invalid_request", "{bad}");
        }
        let twice = Request::post("/x").header(IDEMPOTENCY_KEY, "a").header(IDEMPOTENCY_KEY, "a");
        assert!(ask(twice, "").await.is_err());
    }
}
