//! Keys that somebody else publishes: fetched, kept, refreshed, and survived when they can't be reached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_limits::of_request;
use jsonwebtoken::jwk::Jwk;
use statement::Timestamp;

/// After this long keys are fetched anew, when somebody comes.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// For this long keys are used without being fetched anew: Microsoft asks to fetch at least once a day.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// At most this often an issuer's keys are fetched, whatever key ids come along.
const PAUSE: Duration = Duration::from_secs(5 * 60);
/// Most keys of an issuer; Entra publishes about ten.
pub(crate) const MAX_KEYS: usize = 100;

/// A key that has a name.
pub(crate) trait Named {
    /// Its `kid`.
    fn kid(&self) -> Option<&str>;
}

impl Named for Jwk {
    fn kid(&self) -> Option<&str> {
        self.common.key_id.as_deref()
    }
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoKeys(pub(crate) String);

struct Entry<K> {
    keys: Arc<[K]>,
    fetched: Option<Timestamp>,
    tried: Option<Timestamp>,
}

impl<K> Default for Entry<K> {
    fn default() -> Self {
        Self { keys: Arc::new([]), fetched: None, tried: None }
    }
}

impl<K: Named> Entry<K> {
    fn usable(&self, now: Timestamp) -> bool {
        self.fetched.is_some_and(|at| now.since(at) < STALE)
    }

    /// Those that may be used; if there are none, why.
    fn keys(&self, now: Timestamp, failure: &str) -> Result<Arc<[K]>, NoKeys> {
        match self.usable(now) {
            true => Ok(Arc::clone(&self.keys)),
            false => Err(NoKeys(failure.to_owned())),
        }
    }

    /// Whether to fetch: they are old, or lack the key that is needed; and the last try isn't just over.
    fn wants(&self, now: Timestamp, kid: &str, pause: Duration) -> bool {
        let fresh = self.fetched.is_some_and(|at| now.since(at) < FRESH);
        let has = self.keys.iter().any(|key| key.kid() == Some(kid));
        let paused = self.tried.is_some_and(|at| now.since(at) < pause);
        !(paused || (fresh && has))
    }
}

type Shared<K> = Arc<tokio::sync::Mutex<Entry<K>>>;

/// The keys of each issuer that is registered here: nobody else's is looked up.
pub(crate) struct Published<K>(Mutex<HashMap<String, Shared<K>>>);

impl<K: Named + Send + Sync + 'static> Published<K> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// The keys of `issuer`, with the one named `kid` if there is one; by `fetch` from `place` where they must be
    /// fetched.
    pub(crate) async fn of(
        &self,
        now: Timestamp,
        (issuer, place): (&str, &str),
        kid: &str,
        fetch: impl Future<Output = Result<Arc<[K]>, String>> + Send + 'static,
    ) -> Result<Arc<[K]>, NoKeys> {
        let entry = {
            let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(entries.entry(issuer.to_owned()).or_default())
        };
        // whoever comes while it is fetched waits for that, and doesn't fetch again
        let mut entry = entry.lock_owned().await;
        // a stand-in on this machine draws a new key at each start, and nobody floods it
        let pause = if place.starts_with("http://") { Duration::ZERO } else { PAUSE };
        if !entry.wants(now, kid, pause) {
            return entry.keys(now, "it couldn't be reached a moment ago");
        }
        entry.tried = Some(now);
        let issuer = issuer.to_owned();
        // in a task of its own: it counts as the one try, and whoever made it may hang up
        let fetched = tokio::spawn(of_request(async move {
            let error = match fetch.await {
                Ok(keys) => {
                    (entry.keys, entry.fetched) = (keys, Some(now));
                    String::new()
                }
                Err(error) => {
                    tracing::warn!(issuer, %error, "keys were not fetched");
                    error
                }
            };
            entry.keys(now, &error)
        }));
        fetched.await.unwrap_or_else(|error| Err(NoKeys(error.to_string())))
    }
}
