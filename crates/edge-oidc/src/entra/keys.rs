//! Entra's keys: where they are, and for whose tokens each is.

use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;
use serde_json::Value;
use statement::Timestamp;

use super::Fetch;
use crate::published::{MAX_KEYS, Named, NoKeys, Published};

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

impl Named for EntraKey {
    fn kid(&self) -> Option<&str> {
        self.jwk.kid()
    }
}

/// The keys of each directory that is registered here.
pub(super) struct Keys {
    fetch: Arc<dyn Fetch>,
    published: Published<EntraKey>,
}

impl Keys {
    pub(super) fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self { fetch, published: Published::new() }
    }

    /// The keys of `issuer` at `authority`, with the one named `kid` if there is one.
    pub(super) async fn of(
        &self,
        now: Timestamp,
        authority: &str,
        issuer: &str,
        kid: &str,
    ) -> Result<Arc<[EntraKey]>, NoKeys> {
        let fetch = fetched(Arc::clone(&self.fetch), authority.to_owned(), issuer.to_owned());
        self.published.of(now, (issuer, authority), kid, fetch).await
    }
}

async fn fetched(
    fetch: Arc<dyn Fetch>,
    authority: String,
    issuer: String,
) -> Result<Arc<[EntraKey]>, String> {
    let metadata = json(&*fetch, format!("{issuer}/.well-known/openid-configuration")).await?;
    if metadata["issuer"].as_str() != Some(&issuer) {
        return Err("its metadata names another issuer".to_owned());
    }
    let uri = metadata["jwks_uri"].as_str().unwrap_or_default();
    // its own keys are at its own place: nobody can make us fetch from elsewhere
    if !uri.strip_prefix(&authority).is_some_and(|path| path.starts_with('/')) {
        return Err("its metadata names keys of another place".to_owned());
    }
    let set = json(&*fetch, uri.to_owned()).await?;
    let all = set["keys"].as_array().ok_or("its key set has no keys")?;
    let read = |key: &Value| {
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        jwk.kid()?;
        Some(EntraKey { jwk, issuer: key["issuer"].as_str().map(str::to_owned) })
    };
    let keys: Arc<[EntraKey]> = all.iter().take(MAX_KEYS).filter_map(read).collect();
    if keys.is_empty() {
        return Err("its key set has no usable key".to_owned());
    }
    Ok(keys)
}

async fn json(fetch: &dyn Fetch, url: String) -> Result<Value, String> {
    let body = fetch.get(url).await?;
    serde_json::from_slice(&body).map_err(|_| "it answered with something else".to_owned())
}
