//! Receipts, checked offline.

use std::collections::HashMap;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::Method;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{Countersign, Error};

/// The server's receipt keys, by name.
pub(crate) type Keys = HashMap<String, DecodingKey>;

/// What a receipt says.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of RFC 7519, OpenID Connect and docs/api.md")]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    pub name: String,
    pub jti: String,
    pub iat: u64,
    pub exp: u64,
    pub challenge: String,
    pub purpose: String,
    pub acr: String,
    pub amr: Vec<String>,
    pub auth_time: u64,
    pub bsh: String,
    pub phishing_resistant: bool,
}

impl Countersign {
    /// Checks a receipt offline: signature, issuer, audience, time, and that it is this browser session's. Keys are
    /// fetched once, and again when a receipt names one that isn't known.
    ///
    /// # Errors
    /// [`Error::Receipt`], [`Error::Unreachable`].
    pub async fn verify(&self, receipt: &str, session: &str) -> Result<Claims, Error> {
        let wrong = |error: jsonwebtoken::errors::Error| Error::Receipt(error.to_string());
        let header = jsonwebtoken::decode_header(receipt).map_err(wrong)?;
        if header.typ.as_deref() != Some("countersign-receipt+jwt") {
            return Err(Error::Receipt("it is another kind of token".to_owned()));
        }
        let key = self.key_of(&header.kid.unwrap_or_default()).await?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[&self.integration]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = 30;
        let decoded = jsonwebtoken::decode::<Claims>(receipt, &key, &validation).map_err(wrong)?;
        let bound = BASE64URL_NOPAD.encode(&Sha256::digest(session.as_bytes()));
        if !bool::from(decoded.claims.bsh.as_bytes().ct_eq(bound.as_bytes())) {
            return Err(Error::Receipt("it is another browser session's".to_owned()));
        }
        Ok(decoded.claims)
    }

    async fn key_of(&self, kid: &str) -> Result<DecodingKey, Error> {
        if let Some(key) = self.keys.read().await.get(kid) {
            return Ok(key.clone());
        }
        let listed: JwkSet = self.send(Method::GET, "/.well-known/jwks.json", None::<&()>).await?;
        let read = listed
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?)));
        let mut keys = self.keys.write().await;
        *keys = read.collect();
        let key = keys.get(kid).cloned();
        key.ok_or_else(|| Error::Receipt("signed by a key that the server doesn't list".to_owned()))
    }
}
