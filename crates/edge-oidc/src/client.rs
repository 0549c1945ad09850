//! Clients: who they are, and how they prove it.

use std::sync::Arc;

use axum::http::HeaderMap;
use data_encoding::BASE64;
use domain::directory::Integration;
use domain::protocol::{CibaClient, Protocol, TokenAlgorithm};
use http::header::AUTHORIZATION;
use statement::{IntegrationId, sha256};

use crate::oauth::{Code, OAuthError};
use crate::params::Params;
use crate::{BACKCHANNEL, Oidc, PAR, TOKEN, jwt};

/// How a client can prove itself. The secret in a form isn't among them: forms end up in logs.
pub(crate) const METHODS: [&str; 2] = ["client_secret_basic", "private_key_jwt"];
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A relying party.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) integration: Arc<Integration>,
}

impl Client {
    fn of(integration: Arc<Integration>) -> Option<Self> {
        match &integration.protocol {
            Protocol::Oidc(_) | Protocol::Ciba(_) => Some(Self { integration }),
            Protocol::Api(_) | Protocol::Entra(_) | Protocol::KeycloakCiba(_) => None,
        }
    }

    /// What it registered, if it asks without a browser.
    pub(crate) fn ciba(&self) -> Option<&CibaClient> {
        match &self.integration.protocol {
            Protocol::Ciba(client) => Some(client),
            _ => None,
        }
    }

    /// With what its ID tokens are signed.
    pub(crate) fn id_token(&self) -> TokenAlgorithm {
        match &self.integration.protocol {
            Protocol::Oidc(client) => client.id_token,
            Protocol::Ciba(client) => client.id_token,
            _ => TokenAlgorithm::default(),
        }
    }

    pub(crate) fn id(&self) -> String {
        self.integration.id.to_string()
    }

    /// Whether browsers may be sent to `uri`, character by character.
    pub(crate) fn may_return_to(&self, uri: &str) -> bool {
        match &self.integration.protocol {
            Protocol::Oidc(client) => client.redirect_uris.iter().any(|one| one == uri),
            _ => false,
        }
    }

    pub(crate) fn keys(&self) -> Vec<jsonwebtoken::jwk::Jwk> {
        let set = match &self.integration.protocol {
            Protocol::Oidc(client) => client.jwks.as_deref(),
            Protocol::Ciba(client) => client.jwks.as_deref(),
            _ => None,
        };
        set.map(jwt::keys).unwrap_or_default()
    }
}

impl Oidc {
    /// The client that a browser names; nothing is proven.
    pub(crate) async fn client(&self, id: &str) -> Result<Option<Client>, OAuthError> {
        match self.0.app.client(id).await {
            Ok(integration) => Ok(Client::of(integration)),
            Err(app::Error::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The client that sends a request, proven by one method (RFC 6749 §2.3).
    pub(crate) async fn authenticated(
        &self,
        call: &mut app::Call,
        headers: &HeaderMap,
        params: &Params,
    ) -> Result<Client, OAuthError> {
        let basic = headers.get(AUTHORIZATION);
        let assertion = params.get("client_assertion");
        let client = match (basic, assertion) {
            (Some(_), Some(_)) => {
                return Err(OAuthError::invalid("one way to authenticate the client, not two"));
            }
            (Some(basic), None) => self.by_secret(call, basic).await?,
            (None, Some(assertion)) => self.by_assertion(call, params, assertion).await?,
            (None, None) => return Err(OAuthError::CLIENT),
        };
        match params.get("client_id") {
            Some(id) if id != client.id() => {
                Err(OAuthError::new(Code::InvalidRequest, "client_id isn't who authenticated"))
            }
            _ => Ok(client),
        }
    }

    async fn by_secret(
        &self,
        call: &app::Call,
        header: &http::HeaderValue,
    ) -> Result<Client, OAuthError> {
        let (id, secret) = basic(header).ok_or(OAuthError::CLIENT)?;
        let integration = self.0.app.authenticate_client(call, &id, &secret).await?;
        Client::of(integration).ok_or(OAuthError::CLIENT)
    }

    /// RFC 7523 §3: made out to us, by and about the client, for minutes, used once.
    async fn by_assertion(
        &self,
        call: &mut app::Call,
        params: &Params,
        assertion: &str,
    ) -> Result<Client, OAuthError> {
        if params.get("client_assertion_type") != Some(ASSERTION) {
            return Err(OAuthError::CLIENT);
        }
        // what it says of itself finds the keys; nothing else is believed before they verified it
        let said: jwt::Claims = jsonwebtoken::dangerous::insecure_decode_claims(assertion)
            .map_err(|_| OAuthError::CLIENT)?;
        let id = jwt::text(&said, "sub").ok_or(OAuthError::CLIENT)?;
        let client = self.client(id).await?.ok_or(OAuthError::CLIENT)?;
        let claims = jwt::verify(assertion, &client.keys(), &jwt::CLIENT_ALGORITHMS)
            .map_err(|_| OAuthError::CLIENT)?;
        let by_itself =
            jwt::text(&claims, "iss") == Some(id) && jwt::text(&claims, "sub") == Some(id);
        let (token, par, backchannel) = (self.url(TOKEN), self.url(PAR), self.url(BACKCHANNEL));
        let for_us = jwt::is_for(&claims, &[self.issuer(), &token, &par, &backchannel]);
        let jti = jwt::text(&claims, "jti").filter(|jti| !jti.is_empty());
        let good = by_itself && for_us && jwt::holds(&claims, call.now);
        match jti {
            Some(jti) if good && self.first_use(call, client.integration.id, jti).await? => {
                Ok(client)
            }
            _ => Err(OAuthError::CLIENT),
        }
    }

    /// Whether a client uses `once` for the first time.
    pub(crate) async fn first_use(
        &self,
        call: &mut app::Call,
        client: IntegrationId,
        once: &str,
    ) -> Result<bool, OAuthError> {
        let key = sha256(&[b"countersign/oidc-once/v1\0", once.as_bytes()]);
        Ok(self.0.app.is_first_use(call, client, key).await?)
    }
}

/// Client id and secret of a `Basic` header: each was form-encoded before (RFC 6749 §2.3.1).
fn basic(header: &http::HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim().as_bytes()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| -> Option<String> {
        let mut pairs = form_urlencoded::parse(text.as_bytes());
        let (value, _) = pairs.next()?;
        Some(value.into_owned())
    };
    Some((plain(id)?, plain(secret)?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn basic_is_read_as_rfc_6749_writes_it() {
        let header = |text: &str| {
            HeaderValue::from_str(&format!("Basic {}", BASE64.encode(text.as_bytes()))).unwrap()
        };
        let read = |text: &str| basic(&header(text));
        assert_eq!(read("int_1:csk_2"), Some(("int_1".to_owned(), "csk_2".to_owned())));
        assert_eq!(read("a%2Bb:c+d%3A"), Some(("a+b".to_owned(), "c d:".to_owned())));
        assert_eq!(read("nothing"), None);
        assert_eq!(basic(&HeaderValue::from_static("Bearer x")), None);
        assert_eq!(basic(&HeaderValue::from_static("Basic !")), None);
    }
}
