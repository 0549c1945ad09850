//! Entra's keys: fetched, kept, refreshed, and survived when Entra can't be reached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use serde_json::Value;
use statement::Timestamp;

use super::Fetch;

/// After this long keys are fetched anew, when somebody comes.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// For this long keys are used without being fetched anew: Microsoft asks to fetch at least once a day.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// At most this often an issuer's keys are fetched, whatever key ids come along.
const PAUSE: Duration = Duration::from_secs(5 * 60);
/// Most keys of an issuer; Entra publishes about ten.
const MAX_KEYS: usize = 100;

/// A key, and for whose tokens it is.
#[derive(Clone)]
pub(super) struct EntraKey {
    pub(super) jwk: Jwk,
    /// An issuer, with `{tenantid}` where any directory is meant; absent in a directory's own set.
    issuer: Option<String>,
}

impl EntraKey {
    /// Whether it may sign for `issuer`, the directory `tid`'s.
    pub(super) fn is_for(&self, issuer: &str, tid: &str) -> bool {
        self.issuer.as_ref().is_none_or(|known| known.replace("{tenantid}", tid) == issuer)
    }
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoKeys(pub(super) String);

#[derive(Default)]
struct Entry {
    keys: Arc<[EntraKey]>,
    fetched: Option<Timestamp>,
    tried: Option<Timestamp>,
}

impl Entry {
    fn usable(&self, now: Timestamp) -> bool {
        self.fetched.is_some_and(|at| now.since(at) < STALE)
    }

    /// Whether to fetch: they are old, or lack the key that is needed; and the last try isn't just over.
    fn wants(&self, now: Timestamp, kid: &str, pause: Duration) -> bool {
        let fresh = self.fetched.is_some_and(|at| now.since(at) < FRESH);
        let has = self.keys.iter().any(|key| key.jwk.common.key_id.as_deref() == Some(kid));
        let paused = self.tried.is_some_and(|at| now.since(at) < pause);
        !(paused || (fresh && has))
    }
}

type Shared = Arc<tokio::sync::Mutex<Entry>>;

/// The keys of each directory that is registered here: nobody else's issuer is looked up.
pub(super) struct Keys {
    fetch: Arc<dyn Fetch>,
    entries: Mutex<HashMap<String, Shared>>,
}

impl Keys {
    pub(super) fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self { fetch, entries: Mutex::default() }
    }

    /// The keys of `issuer` at `authority`, with the one named `kid` if there is one.
    pub(super) async fn of(
        &self,
        now: Timestamp,
        authority: &str,
        issuer: &str,
        kid: &str,
    ) -> Result<Arc<[EntraKey]>, NoKeys> {
        let entry = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(entries.entry(issuer.to_owned()).or_default())
        };
        // whoever comes while it is fetched waits for that, and doesn't fetch again
        let mut entry = entry.lock().await;
        let mut failure = "Entra couldn't be reached a moment ago".to_owned();
        // a stand-in on this machine draws a new key at each start, and nobody floods it
        let pause = if authority.starts_with("http://") { Duration::ZERO } else { PAUSE };
        if entry.wants(now, kid, pause) {
            entry.tried = Some(now);
            match self.fetched(authority, issuer).await {
                Ok(keys) => {
                    entry.keys = keys;
                    entry.fetched = Some(now);
                }
                Err(error) => {
                    tracing::warn!(issuer, %error, "Entra's keys were not fetched");
                    failure = error;
                }
            }
        }
        if entry.usable(now) { Ok(Arc::clone(&entry.keys)) } else { Err(NoKeys(failure)) }
    }

    async fn fetched(&self, authority: &str, issuer: &str) -> Result<Arc<[EntraKey]>, String> {
        let metadata = self.json(format!("{issuer}/.well-known/openid-configuration")).await?;
        if metadata["issuer"].as_str() != Some(issuer) {
            return Err("its metadata names another issuer".to_owned());
        }
        let uri = metadata["jwks_uri"].as_str().unwrap_or_default();
        // its own keys are at its own place: nobody can make us fetch from elsewhere
        if !uri.strip_prefix(authority).is_some_and(|path| path.starts_with('/')) {
            return Err("its metadata names keys of another place".to_owned());
        }
        let set = self.json(uri.to_owned()).await?;
        let all = set["keys"].as_array().ok_or("its key set has no keys")?;
        let read = |key: &Value| {
            let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
            jwk.common.key_id.as_ref()?;
            Some(EntraKey { jwk, issuer: key["issuer"].as_str().map(str::to_owned) })
        };
        let keys: Arc<[EntraKey]> = all.iter().take(MAX_KEYS).filter_map(read).collect();
        if keys.is_empty() {
            return Err("its key set has no usable key".to_owned());
        }
        Ok(keys)
    }

    async fn json(&self, url: String) -> Result<Value, String> {
        let body = self.fetch.get(url).await?;
        serde_json::from_slice(&body).map_err(|_| "it answered with something else".to_owned())
    }
}
