//! JWTs that others sign: a client's assertions and request objects, and ID tokens of ours that come back.

use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use statement::Timestamp;

/// With what clients may sign. None with a shared secret, none without a signature (RFC 8725 §3.1).
pub(crate) const CLIENT_ALGORITHMS: [Algorithm; 4] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
/// How long an assertion or request object may hold, from when it is used. It is remembered for longer, so that it
/// is used once.
pub(crate) const MAX_LIFE: Duration = Duration::from_secs(10 * 60);
/// How far clocks may be apart.
pub(crate) const SKEW_S: f64 = 60.0;

/// The claims of a JWT.
pub(crate) type Claims = Map<String, Value>;

/// A JWT that doesn't hold. Says no more on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadJwt;

/// Keys of a key set, read one by one: what is unknown in one doesn't make the others useless.
pub(crate) fn keys(set: &str) -> Vec<Jwk> {
    let set: Value = serde_json::from_str(set).unwrap_or_default();
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect()
}

/// Whether `key` may have signed under `header`.
fn fits(key: &Jwk, header: &Header) -> bool {
    let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    let named = header.kid.is_none() || key.common.key_id == header.kid;
    let family = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(header.alg, Algorithm::RS256 | Algorithm::PS256),
        AlgorithmParameters::EllipticCurve(_) => header.alg == Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(_) => header.alg == Algorithm::EdDSA,
        _ => false,
    };
    let said = key.common.key_algorithm;
    let agrees = said.is_none_or(|said| said.to_string() == format!("{:?}", header.alg));
    signs && named && family && agrees
}

/// The claims of `token`, if one of `keys` signed it with one of `algorithms`. Times and audiences are the caller's to
/// check.
pub(crate) fn verify(
    token: &str,
    keys: &[Jwk],
    algorithms: &[Algorithm],
) -> Result<Claims, BadJwt> {
    let header = decode_header(token).map_err(|_| BadJwt)?;
    if !algorithms.contains(&header.alg) || header.crit.is_some() {
        return Err(BadJwt);
    }
    let mut validation = Validation::new(header.alg);
    // by our own clock, which tests can move; see `Times`
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    keys.iter()
        .filter(|key| fits(key, &header))
        .filter_map(|key| DecodingKey::from_jwk(key).ok())
        .find_map(|key| decode::<Claims>(token, &key, &validation).ok())
        .map(|token| token.claims)
        .ok_or(BadJwt)
}

pub(crate) fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A time in seconds; fractions are allowed (RFC 7519 §2).
pub(crate) fn time(claims: &Claims, name: &str) -> Option<f64> {
    claims.get(name)?.as_f64()
}

/// Whether one of `audiences` is meant (RFC 7519 §4.1.3: one, or several).
pub(crate) fn is_for(claims: &Claims, audiences: &[&str]) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => audiences.contains(&one.as_str()),
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).any(|one| audiences.contains(&one))
        }
        _ => false,
    }
}

/// Whether a JWT holds now and for no longer than [`MAX_LIFE`].
pub(crate) fn holds(claims: &Claims, now: Timestamp) -> bool {
    let now = now.seconds() as f64;
    let Some(exp) = time(claims, "exp") else { return false };
    let begun = |name| match claims.get(name) {
        None => true,
        Some(_) => time(claims, name).is_some_and(|at| at <= now + SKEW_S),
    };
    exp > now && exp <= now + MAX_LIFE.as_secs_f64() && begun("nbf") && begun("iat")
}
