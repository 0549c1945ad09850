//! Errors as OAuth 2.0 and OpenID Connect write them.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

/// The codes that this provider answers with (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, OpenID Connect Core
/// §3.1.2.6, RFC 9101 §6.3, RFC 9126 §2.3, OpenID Connect Unmet Authentication Requirements, CIBA Core §11 and §13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    UnsupportedGrantType,
    UnsupportedResponseType,
    AccessDenied,
    ServerError,
    TemporarilyUnavailable,
    LoginRequired,
    UnmetAuthenticationRequirements,
    InvalidRequestObject,
    RequestUriNotSupported,
    RegistrationNotSupported,
    InvalidToken,
    UnauthorizedClient,
    ExpiredLoginHintToken,
    UnknownUserId,
    UserCodeMissing,
    UserCodeWrong,
    InvalidBindingMessage,
    AuthorizationPending,
    SlowDown,
    ExpiredToken,
    /// Told as [`Self::TemporarilyUnavailable`], with a status of its own (RFC 9126 §2.3, RFC 6585 §4).
    TooManyRequests,
}

impl Code {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable | Self::TooManyRequests => "temporarily_unavailable",
            Self::LoginRequired => "login_required",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidToken => "invalid_token",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::ExpiredLoginHintToken => "expired_login_hint_token",
            Self::UnknownUserId => "unknown_user_id",
            Self::UserCodeMissing => "missing_user_code",
            Self::UserCodeWrong => "invalid_user_code",
            Self::InvalidBindingMessage => "invalid_binding_message",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// An error with what it is about, for whoever writes the relying party. Never holds a value that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OAuthError {
    pub(crate) code: Code,
    pub(crate) about: &'static str,
    /// When to try again.
    after: Option<Duration>,
}

/// When to try again what only a moment stands in the way of.
const SOON: Duration = Duration::from_secs(2);

impl OAuthError {
    pub(crate) const fn new(code: Code, about: &'static str) -> Self {
        let after = if matches!(code, Code::TemporarilyUnavailable) { Some(SOON) } else { None };
        Self { code, about, after }
    }

    /// The client's quota is used up.
    pub(crate) const fn too_many(wait: Duration) -> Self {
        let about = "too many requests of this client: Retry-After says when to try again";
        Self { code: Code::TooManyRequests, about, after: Some(wait) }
    }

    pub(crate) const fn invalid(about: &'static str) -> Self {
        Self::new(Code::InvalidRequest, about)
    }

    /// The client didn't prove itself, however.
    pub(crate) const CLIENT: Self = Self::new(Code::InvalidClient, "client authentication failed");
    /// The grant isn't there, was used, or isn't this client's.
    pub(crate) const GRANT: Self =
        Self::new(Code::InvalidGrant, "the code is unknown, used, or made out to another request");
    /// The client isn't registered for this.
    pub(crate) const KIND: Self =
        Self::new(Code::UnauthorizedClient, "this client isn't registered for that");
    /// What only we can cause; the log says more.
    pub(crate) const OURS: Self = Self::new(Code::ServerError, "that went wrong here");
}

impl From<app::Error> for OAuthError {
    fn from(error: app::Error) -> Self {
        match error {
            app::Error::Store(cause) => {
                tracing::warn!(%cause, "request refused: unavailable");
                Self::new(Code::TemporarilyUnavailable, "try again in a few seconds")
            }
            app::Error::Unauthenticated | app::Error::NotFound => Self::CLIENT,
            error => {
                tracing::error!(%error, "request failed");
                Self::OURS
            }
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({"error": self.code.name(), "error_description": self.about});
        let mut response = (self.code.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        no_store(headers);
        let scheme = match self.code {
            Code::InvalidClient => Some("Basic realm=\"countersign\", charset=\"UTF-8\""),
            Code::InvalidToken => Some("Bearer realm=\"countersign\", error=\"invalid_token\""),
            _ => None,
        };
        if let Some(scheme) = scheme {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        if let Some(after) = self.after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What holds a token, or says that there is none, is kept nowhere (RFC 6749 §5.1).
pub(crate) fn no_store(headers: &mut http::HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
}
