//! A refusal as the outside sees it (RFC 9457).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use crate::Code;
use crate::front::RequestId;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Where a problem's `type` points: a page that the server itself hands out, so that it resolves without
/// the internet.
const DOCS: &str = "/docs/problems";
/// How long to wait after `unavailable`: what overload lasts at least, and short enough for a sign-in to wait.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);

/// A refusal. Holds nothing that the caller may not read: causes go to the log.
#[derive(Clone, Debug)]
#[must_use]
pub struct Problem {
    code: Code,
    detail: Option<Cow<'static, str>>,
    field: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Shown<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// A refusal for `code`, with nothing to add.
    pub const fn new(code: Code) -> Self {
        Self { code, detail: None, field: None, retry_after: None }
    }

    /// A field that is missing, unknown or out of bounds. `detail` never repeats the value.
    pub fn invalid(
        field: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field: Some(field.into()), ..Self::new(Code::InvalidRequest).detail(detail) }
    }

    /// The server's own fault: the cause is logged, and only logged.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(Code::Internal)
    }

    /// More is asked for than gets done. Not logged: there are many where there is one, and metrics count them.
    pub const fn overloaded() -> Self {
        Self::new(Code::Unavailable).retry_after(RETRY_UNAVAILABLE)
    }

    /// A store that can't be reached: the cause is logged, and only logged.
    pub fn unavailable(cause: impl fmt::Display) -> Self {
        tracing::warn!(%cause, "request refused: unavailable");
        Self::new(Code::Unavailable).retry_after(RETRY_UNAVAILABLE)
    }

    /// With a sentence on this occurrence.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a time to wait, rounded up to seconds.
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The body and headers, with the id of the request that it answers.
    pub(crate) fn render(&self, id: Option<&RequestId>) -> (HeaderMap, Vec<u8>) {
        let shown = Shown {
            r#type: format!("{DOCS}#{}", self.code.name()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.name(),
            detail: self.detail.as_deref(),
            field: self.field.as_deref(),
            request_id: id.map(RequestId::as_str),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.code == Code::Unauthenticated {
            // RFC 9110 §11.6.1: a 401 names the scheme
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        let body = serde_json::to_vec(&shown).expect("strings and a number always serialise");
        (headers, body)
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (headers, body) = self.render(None);
        let mut response = (self.code.status(), headers, Body::from(body)).into_response();
        // the front renders it again with the request's id
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_as_rfc_9457_with_our_members() {
        let id = RequestId::from_header("abc-1").unwrap();
        let problem = Problem::invalid("context.browser_session", "must have 22 to 128 characters");
        let (headers, body) = problem.render(Some(&id));
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(headers[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(
            body,
            serde_json::json!({
                "type": "/docs/problems#invalid_request",
                "title": "A field is missing or invalid",
                "status": 422,
                "code": "invalid_request",
                "detail": "must have 22 to 128 characters",
                "field": "context.browser_session",
                "request_id": "abc-1",
            })
        );
    }

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        for (wait, shown) in [(0, "1"), (400, "1"), (1000, "1"), (1001, "2")] {
            let problem =
                Problem::new(Code::TooManyRequests).retry_after(Duration::from_millis(wait));
            assert_eq!(problem.render(None).0[RETRY_AFTER], shown);
        }
    }

    #[test]
    fn a_server_fault_carries_no_cause() {
        let (_, body) = Problem::internal("database at /secret/path is gone").render(None);
        assert!(!String::from_utf8(body).unwrap().contains("secret"));
    }
}
