//! The hint: who Entra says has come. Everything in it is checked but its `exp`.

use domain::protocol::{EntraClient, is_guid};
use jsonwebtoken::Algorithm;
use statement::Timestamp;

use super::keys::Keys;
use crate::jwt::{self, Claims};

/// How old a hint may be: a person who was sent here arrives at once, but clocks differ.
const MAX_AGE_S: f64 = 10.0 * 60.0;
/// How far ahead Entra's clock may be.
const AHEAD_S: f64 = 5.0 * 60.0;
/// Longest subject that is echoed.
const MAX_SUB: usize = 256;

/// Why a hint isn't believed, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadHint {
    /// It, or something about it, is wrong.
    Wrong(&'static str),
    /// It can't be judged: Entra's keys aren't to be had.
    Unknown(String),
}

/// A hint that holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hint {
    /// The directory.
    pub(super) tid: String,
    /// The person, within the directory.
    pub(super) oid: String,
    /// The person, for this application: echoed, and never used to find anybody.
    pub(super) sub: String,
    /// What Entra shows them; not used to find anybody either.
    pub(super) called: String,
    /// When it was issued, in seconds.
    pub(super) iat: f64,
}

impl Hint {
    /// Checks a hint for an integration. Order matters: what is cheap and can't be forged first, and no key is
    /// fetched for a directory that isn't registered.
    pub(super) async fn read(
        keys: &Keys,
        client: &EntraClient,
        now: Timestamp,
        token: &str,
    ) -> Result<Self, BadHint> {
        let wrong = BadHint::Wrong;
        let header =
            jsonwebtoken::decode_header(token).map_err(|_| wrong("the hint isn't a JWT"))?;
        if header.alg != Algorithm::RS256 || header.crit.is_some() {
            return Err(wrong("the hint isn't signed with RS256"));
        }
        let kid = header.kid.as_deref().ok_or(wrong("the hint names no key"))?;
        let said: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token)
            .map_err(|_| wrong("the hint has no claims"))?;
        let tid = jwt::text(&said, "tid").filter(|tid| is_guid(tid));
        let tid = tid.ok_or(wrong("tid isn't a GUID"))?;
        if !client.directories.iter().any(|one| one == tid) {
            return Err(wrong("tid is no directory of this integration"));
        }
        let authority = client.authority();
        let issuer = format!("{authority}/{tid}/v2.0");
        if jwt::text(&said, "iss") != Some(issuer.as_str()) {
            return Err(wrong("iss isn't the directory's in this cloud"));
        }
        let known = keys.of(now, authority, &issuer, kid).await;
        let known = known.map_err(|error| BadHint::Unknown(error.0))?;
        let fits = known.iter().filter(|key| key.is_for(&issuer, tid));
        let fits: Vec<_> = fits.map(|key| key.jwk.clone()).collect();
        let claims = jwt::verify(token, &fits, &[Algorithm::RS256])
            .map_err(|_| wrong("no key of this issuer verifies the hint"))?;
        Self::checked(client, now, &claims, tid)
    }

    fn checked(
        client: &EntraClient,
        now: Timestamp,
        claims: &Claims,
        tid: &str,
    ) -> Result<Self, BadHint> {
        let wrong = BadHint::Wrong;
        let audience = jwt::text(claims, "aud").ok_or(wrong("aud isn't one text"))?;
        let other = client.other_audience.as_deref();
        match audience {
            // Microsoft's pages contradict each other: what a real directory writes is worth knowing
            _ if audience == client.app_id => tracing::debug!("a hint is made out to app_id"),
            _ if Some(audience) == other => tracing::debug!("a hint is made out to other_audience"),
            _ => {
                // the directory's signature holds, so it is no text of just anybody's
                tracing::info!(audience, "a hint is made out to another application");
                return Err(wrong("aud isn't the application"));
            }
        }
        if jwt::text(claims, "ver").is_some_and(|ver| ver != "2.0") {
            return Err(wrong("ver isn't 2.0"));
        }
        let now = now.seconds() as f64;
        let iat = jwt::time(claims, "iat").ok_or(wrong("iat isn't a time"))?;
        if !(now - MAX_AGE_S..=now + AHEAD_S).contains(&iat) {
            return Err(wrong("iat isn't now"));
        }
        let begun = match claims.get("nbf") {
            None => true,
            Some(nbf) => nbf.as_f64().is_some_and(|nbf| nbf <= now + AHEAD_S),
        };
        if !begun {
            return Err(wrong("nbf isn't a time that has come"));
        }
        let oid = jwt::text(claims, "oid").filter(|oid| is_guid(oid));
        let oid = oid.ok_or(wrong("oid isn't a GUID"))?;
        let sub = jwt::text(claims, "sub").filter(|sub| (1..=MAX_SUB).contains(&sub.len()));
        let sub = sub.ok_or(wrong("sub is missing, or too long"))?;
        let shown = jwt::text(claims, "preferred_username").unwrap_or_default();
        Ok(Self {
            tid: tid.to_owned(),
            oid: oid.to_owned(),
            sub: sub.to_owned(),
            called: domain::directory::name(shown).unwrap_or_default(),
            iat,
        })
    }

    /// Under which subject the person is linked to a user: directory and object never change, nor go to somebody
    /// else.
    pub(super) fn subject(&self) -> String {
        format!("{}:{}", self.tid, self.oid)
    }
}
