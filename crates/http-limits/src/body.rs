//! What a request carries: bounded in size and time, read into types, refused as problems.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Path;
use tokio::time::timeout;

use crate::{Code, Problem};

/// Largest request body: a challenge with every field at its cap takes less than a tenth.
pub const MAX_BODY: usize = 64 * 1024;
/// How long a body may take: 64 KiB in ten seconds is slower than any network a sign-in works on.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Longest text about a field that is handed back.
const MAX_DETAIL: usize = 200;

/// Reads a whole body within [`MAX_BODY`] and [`BODY_DEADLINE`].
///
/// # Errors
/// `too_large`, `request_timeout`, or `malformed_request` if the sender broke off.
pub async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    read_body_within(headers, body, BODY_DEADLINE).await
}

async fn read_body_within(
    headers: &HeaderMap,
    body: Body,
    deadline: Duration,
) -> Result<Bytes, Problem> {
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let mut body = pin!(Limited::new(body, MAX_BODY).collect());
    // most bodies are here with their head: those wait for nothing, and take no timer, which is large
    let whole = match poll_fn(|cx| Poll::Ready(body.as_mut().poll(cx))).await {
        Poll::Ready(whole) => Ok(whole),
        Poll::Pending => Box::pin(timeout(deadline, body)).await,
    };
    match whole {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::MalformedRequest).detail("the body broke off")),
        Err(_) => {
            Err(Problem::new(Code::RequestTimeout).detail("the body must arrive within 10 seconds"))
        }
    }
}

fn too_large() -> Problem {
    Problem::new(Code::TooLarge).detail("a body must have at most 64 KiB")
}

/// A JSON body, in or out. What can't be read is `malformed_request`; what can but isn't a `T` is
/// `invalid_request` with the field's path. Request types carry `#[serde(deny_unknown_fields)]`: a mistyped
/// optional field would otherwise be a bound or a binding that silently isn't there.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> Json<T> {
    /// From the bytes of a body.
    ///
    /// # Errors
    /// `malformed_request` or `invalid_request`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Problem> {
        // to keep track of the path takes as long again: only for whoever has to be told where it went wrong
        if let Ok(value) = serde_json::from_slice(bytes) {
            return Ok(Self(value));
        }
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            if error.inner().is_data() {
                invalid(error.path(), &error.inner().to_string())
            } else {
                malformed(error.inner())
            }
        })?;
        json.end().map_err(|error| malformed(&error))?;
        Ok(Self(value))
    }
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::MalformedRequest).detail(format!(
        "the body is not JSON: line {}, column {}",
        error.line(),
        error.column()
    ))
}

/// `invalid_request` from serde's own words, less the value: it may be a secret.
fn invalid(path: &Path, message: &str) -> Problem {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let whole = match path.to_string() {
        path if path == "." => "body".to_owned(),
        path => path,
    };
    let value_shown = ["invalid type", "invalid value", "invalid length"]
        .iter()
        .any(|start| message.starts_with(start));
    let (field, detail) = if value_shown || message.starts_with("unknown variant") {
        let expected = message.rsplit_once(", expected ").map_or("", |(_, e)| e);
        (whole, format!("expected {expected}"))
    } else if let Some(name) = quoted(message, "missing field `") {
        (join(path, name), "is missing".to_owned())
    } else if message.starts_with("unknown field `") {
        (path.to_string(), "is not a field of this request".to_owned())
    } else {
        (whole, message.to_owned())
    };
    Problem::invalid(shorten(field), shorten(detail))
}

fn quoted<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    Some(message.strip_prefix(start)?.split_once('`')?.0)
}

fn join(path: &Path, name: &str) -> String {
    match path.to_string().as_str() {
        "." => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_DETAIL) {
        text.truncate(end);
    }
    text
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Code::UnsupportedMediaType)
                .detail("send Content-Type: application/json"));
        }
        let (parts, body) = request.into_parts();
        Self::from_bytes(&read_body(&parts.headers, body).await?)
    }
}

/// Whether the body is declared as JSON: a form that a foreign page makes a browser send never is.
fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim())
        .is_some_and(|media| media.eq_ignore_ascii_case("application/json"))
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A query string, refused as `invalid_request` with the field.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let rejection = match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => return Ok(Self(value)),
            Err(rejection) => rejection,
        };
        let mut source = std::error::Error::source(&rejection);
        while let Some(error) = source {
            if let Some(error) =
                error.downcast_ref::<serde_path_to_error::Error<serde::de::value::Error>>()
            {
                return Err(invalid(error.path(), &error.inner().to_string()));
            }
            source = error.source();
        }
        Err(Problem::new(Code::MalformedRequest).detail("the query string can't be read"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read into")]
    struct Ask {
        user: String,
        context: Option<Context>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read into")]
    struct Context {
        browser_session: String,
        ttl_s: Option<u32>,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Push,
        Totp,
    }

    /// A sender who says nothing and doesn't hang up.
    struct Silent;

    impl axum::body::HttpBody for Silent {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    #[track_caller]
    fn check(body: &str, code: Code, field: Option<&str>) {
        let problem = Json::<Ask>::from_bytes(body.as_bytes()).unwrap_err();
        assert_eq!(problem.code(), code, "{problem:?}");
        let shown: serde_json::Value = serde_json::from_slice(&problem.render(None).1).unwrap();
        assert_eq!(shown["field"].as_str(), field, "{shown}");
        assert!(!shown.to_string().contains("123456"), "{shown}");
    }

    #[test]
    fn unreadable_is_malformed() {
        check("", Code::MalformedRequest, None);
        check("{\"user\":", Code::MalformedRequest, None);
        check("{\"user\":\"a\"} x", Code::MalformedRequest, None);
        check("user=123456", Code::MalformedRequest, None);
        check(&"[".repeat(10_000), Code::InvalidRequest, Some("[0]"));
    }

    #[test]
    fn a_wrong_field_is_named_and_its_value_is_not() {
        let invalid = |body, field| check(body, Code::InvalidRequest, Some(field));
        invalid(r"{}", "user");
        invalid(r#"{"user":123456}"#, "user");
        invalid(r#"{"user":"a","contxt":"123456"}"#, "contxt");
        invalid(r#"{"user":"a","context":{}}"#, "context.browser_session");
        invalid(
            r#"{"user":"a","context":{"browser_session":"b","ttl_s":"123456"}}"#,
            "context.ttl_s",
        );
        invalid(r#"{"user":"a","context":{"browser_session":"b","ttl_s":-1}}"#, "context.ttl_s");
        invalid(
            r#"{"user":"a","context":{"browser_session":"b","kind":"123456"}}"#,
            "context.kind",
        );
        invalid("[]", "body");
    }

    #[test]
    fn garbage_utf8_is_refused() {
        let body = b"{\"user\":\"\xff\xfe\"}";
        let problem = Json::<Ask>::from_bytes(body).unwrap_err();
        assert_eq!(problem.code(), Code::MalformedRequest);
    }

    #[test]
    fn only_json_is_json() {
        for (value, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("application/jsonx", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(is_json(&headers), json, "{value}");
        }
    }

    #[tokio::test]
    async fn a_large_body_is_refused_announced_or_not() {
        let body = vec![b' '; MAX_BODY + 1];
        let problem = read_body(&HeaderMap::new(), Body::from(body.clone())).await;
        assert_eq!(problem.unwrap_err().code(), Code::TooLarge);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, (MAX_BODY + 1).into());
        let problem = read_body(&headers, Body::empty()).await;
        assert_eq!(problem.unwrap_err().code(), Code::TooLarge);
        let fits = read_body(&HeaderMap::new(), Body::from(body[1..].to_vec())).await;
        assert_eq!(fits.unwrap().len(), MAX_BODY);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_times_out() {
        let body = Body::new(Silent);
        let problem = read_body_within(&HeaderMap::new(), body, Duration::from_millis(20)).await;
        assert_eq!(problem.unwrap_err().code(), Code::RequestTimeout);
    }

    #[tokio::test]
    async fn a_query_names_its_field() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only read into")]
        struct List {
            limit: Option<u16>,
        }
        for (uri, field) in [("/?limit=x", "limit"), ("/?limt=1", "limt")] {
            let (mut parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
            let problem = Query::<List>::from_request_parts(&mut parts, &()).await.unwrap_err();
            let shown: serde_json::Value = serde_json::from_slice(&problem.render(None).1).unwrap();
            assert_eq!(shown["field"], field, "{shown}");
        }
    }
}
