//! A request that a client sends itself: to the token endpoint, to push, to ask without a browser.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use http_limits::{count_request, read_body};

use crate::Oidc;
use crate::authorize::is_form;
use crate::client::Client;
use crate::oauth::OAuthError;
use crate::params::Params;

/// A form whose sender has proven to be a client, counted against its quota.
pub(crate) struct ByClient {
    pub(crate) call: app::Call,
    pub(crate) client: Client,
    pub(crate) headers: HeaderMap,
    pub(crate) params: Params,
}

impl FromRequest<Oidc> for ByClient {
    type Rejection = OAuthError;

    async fn from_request(request: Request, oidc: &Oidc) -> Result<Self, OAuthError> {
        let (parts, body) = request.into_parts();
        let params = form(&parts.headers, body).await?;
        let mut call = oidc.call();
        let client = oidc.authenticated(&mut call, &parts.headers, &params).await?;
        let (whose, now) = (*client.integration.id.as_bytes(), call.now.millis());
        count_request(oidc.0.quota.as_deref(), &parts.extensions, whose, now)
            .map_err(OAuthError::too_many)?;
        Ok(Self { call, client, headers: parts.headers, params })
    }
}

async fn form(headers: &HeaderMap, body: Body) -> Result<Params, OAuthError> {
    if !is_form(headers) {
        return Err(OAuthError::invalid("the body must be application/x-www-form-urlencoded"));
    }
    let bytes = read_body(headers, body)
        .await
        .map_err(|_| OAuthError::invalid("the body is too large, or came too slowly"))?;
    let params = Params::parse(&bytes);
    match params.bad() {
        Some(bad) => Err(OAuthError::invalid(bad.words())),
        None => Ok(params),
    }
}
