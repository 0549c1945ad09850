//! What hosted protocols need: registrations that hold, keys that sign tokens, and whose people are which users.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use domain::audit::{Entry, Event};
use domain::challenge::Method;
use domain::protocol::{
    self, ApiClient, CibaClient, Cloud, EntraClient, KeycloakRealm, MAX_DIRECTORIES, MAX_URIS,
    OidcClient, Protocol, TokenAlgorithm,
};
use ports::{
    Change, DirectoryError, NewTokenKey, Replay, ReplayKey, StoreError, TokenKey, UserRef,
};
use statement::{IntegrationId, TenantId, Timestamp, UserId};

use crate::{Actor, App, Call, Error, NewIntegration};

/// How long a token key is published before it signs: relying parties fetch keys once a day, and Microsoft asks
/// for two.
pub const KEY_LEAD: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Largest key set of a client, in bytes.
const MAX_JWKS: usize = 8 * 1024;
/// Longest subject of a link, in bytes.
const MAX_SUBJECT: usize = 256;
/// What is kept with something that was used.
const USED: u16 = 200;

/// Checks what an integration registers for its protocol.
pub(crate) fn check(new: &NewIntegration) -> Result<(), Error> {
    match &new.protocol {
        Protocol::Api(client) => check_api(client),
        Protocol::Oidc(client) => {
            if new.verifies_first_factor {
                let why = "a browser alone can name anybody: push or sign the requests of users whose first \
                           factor was checked";
                return Err(Error::invalid("verifies_first_factor", why));
            }
            check_oidc(client)
        }
        Protocol::Entra(client) => check_entra(client),
        Protocol::Ciba(_) | Protocol::KeycloakCiba(_) if !new.methods.has(Method::Push) => {
            Err(Error::invalid("methods", "push: whoever asks so can take nothing else"))
        }
        Protocol::Ciba(client) => check_ciba(client),
        Protocol::KeycloakCiba(realm) => check_keycloak(realm),
    }
}

fn check_api(client: &ApiClient) -> Result<(), Error> {
    if client.return_urls.len() > MAX_URIS {
        return Err(Error::invalid("return_urls", format!("at most {MAX_URIS}")));
    }
    for url in &client.return_urls {
        protocol::check_return_uri(url)
            .map_err(|error| Error::invalid("return_urls", error.to_string()))?;
    }
    Ok(())
}

/// Where this server will post to by itself. Which addresses it really leads to is looked at each time.
fn check_outgoing(field: &'static str, url: &str, allow_private: bool) -> Result<(), Error> {
    protocol::check_return_uri(url).map_err(|error| Error::invalid(field, error.to_string()))?;
    if url.starts_with("http://") && !allow_private {
        let why = "must be https; plain http only to this machine, where that is allowed";
        return Err(Error::invalid(field, why));
    }
    Ok(())
}

fn check_ciba(client: &CibaClient) -> Result<(), Error> {
    if let Some(url) = &client.notification_url {
        check_outgoing("notification_url", url, client.allow_private)?;
    }
    client.jwks.as_deref().map_or(Ok(()), check_jwks)
}

fn check_keycloak(realm: &KeycloakRealm) -> Result<(), Error> {
    check_outgoing("callback_url", &realm.callback_url, realm.allow_private)?;
    if realm.keys_url().is_none() {
        let why = "must end in /ext/ciba/auth/callback: the realm's keys are looked for beside it";
        return Err(Error::invalid("callback_url", why));
    }
    // only compared, never sent to
    protocol::check_return_uri(&realm.issuer)
        .map_err(|error| Error::invalid("issuer", error.to_string()))
}

fn check_oidc(client: &OidcClient) -> Result<(), Error> {
    if client.redirect_uris.is_empty() || client.redirect_uris.len() > MAX_URIS {
        return Err(Error::invalid("redirect_uris", format!("between 1 and {MAX_URIS}")));
    }
    for uri in &client.redirect_uris {
        protocol::check_return_uri(uri)
            .map_err(|error| Error::invalid("redirect_uris", error.to_string()))?;
    }
    client.jwks.as_deref().map_or(Ok(()), check_jwks)
}

fn check_jwks(jwks: &str) -> Result<(), Error> {
    let keys = serde_json::from_str::<serde_json::Value>(jwks).ok();
    let keys = keys.as_ref().and_then(|set| set["keys"].as_array());
    // a shared secret or a private key has no business here
    let public = |key: &serde_json::Value| {
        matches!(key["kty"].as_str(), Some("RSA" | "EC" | "OKP")) && key["d"].is_null()
    };
    let good = keys.is_some_and(|keys| !keys.is_empty() && keys.iter().all(public));
    if jwks.len() > MAX_JWKS || !good {
        let why = "must be a JSON Web Key Set of public keys, at most 8 KiB";
        return Err(Error::invalid("jwks", why));
    }
    Ok(())
}

fn check_entra(client: &EntraClient) -> Result<(), Error> {
    if client.directories.is_empty() || client.directories.len() > MAX_DIRECTORIES {
        return Err(Error::invalid("tenant_ids", format!("between 1 and {MAX_DIRECTORIES}")));
    }
    if !client.directories.iter().all(|id| protocol::is_guid(id)) {
        return Err(Error::invalid("tenant_ids", "each must be a GUID in lower case"));
    }
    let audiences = std::iter::once(&client.app_id).chain(&client.other_audience);
    for audience in audiences {
        if audience.is_empty()
            || audience.len() > 128
            || !audience.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(Error::invalid("app_id", "must be what Entra calls the application"));
        }
    }
    match (client.cloud, &client.fake) {
        (Cloud::Fake, Some(authority)) => {
            let local = authority.starts_with("http://") && !authority.ends_with('/');
            let good = local && protocol::check_return_uri(authority).is_ok();
            if !good {
                return Err(Error::invalid("fake", "must be an http address on this machine"));
            }
            Ok(())
        }
        (Cloud::Fake, None) => Err(Error::invalid("fake", "is needed for this cloud")),
        (_, Some(_)) => Err(Error::invalid("fake", "is for the cloud `fake` alone")),
        (_, None) => Ok(()),
    }
}

impl App {
    /// Draws the token keys that a protocol needs and that aren't there yet.
    pub(crate) async fn demand_token_keys(
        &self,
        call: &Call,
        protocol: &Protocol,
    ) -> Result<(), Error> {
        match protocol {
            Protocol::Api(_) | Protocol::KeycloakCiba(_) => Ok(()),
            Protocol::Oidc(_) | Protocol::Entra(_) | Protocol::Ciba(_) => {
                self.ensure_token_keys(call).await
            }
        }
    }

    /// Draws the token keys that aren't there yet; they sign at once.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn ensure_token_keys(&self, call: &Call) -> Result<(), Error> {
        let _turn = self.drawing.lock().await;
        for algorithm in TokenAlgorithm::ALL {
            let mut keys = self.vault.token_keys(call.now).into_iter();
            if !keys.any(|key| key.algorithm == algorithm) {
                self.add_token_key(call, algorithm, call.now, None).await?;
            }
        }
        Ok(())
    }

    /// Publishes a successor of every token key; it signs after [`KEY_LEAD`].
    ///
    /// # Errors
    /// [`Error::Limit`] while the last rotation isn't over, [`Error::Store`].
    pub async fn rotate_token_keys(&self, call: &Call, actor: &Actor) -> Result<(), Error> {
        self.ensure_token_keys(call).await?;
        let _turn = self.drawing.lock().await;
        if self.vault.token_keys(call.now).iter().any(|key| key.signs_from > call.now) {
            return Err(Error::Limit("the last rotation isn't over: its keys don't sign yet"));
        }
        for algorithm in TokenAlgorithm::ALL {
            let from = call.now.plus(KEY_LEAD);
            self.add_token_key(call, algorithm, from, Some(actor)).await?;
        }
        Ok(())
    }

    async fn add_token_key(
        &self,
        call: &Call,
        algorithm: TokenAlgorithm,
        from: Timestamp,
        by: Option<&Actor>,
    ) -> Result<(), Error> {
        let key: NewTokenKey = self.vault.draw_token_key(algorithm, call.now, from).await?;
        let cause = format!("{} {}", algorithm.name(), key.number);
        let tenant = self.find_tenant(None).await?.id;
        let entry = Entry::new(tenant, Event::TokenKeyCreated)
            .with(|public| public.cause = Some(cause))
            .privately(|private| private.by = by.map(ToString::to_string));
        self.directory.apply(Change::AddTokenKey(key.clone()), vec![entry]).await?;
        self.vault.adopt_token_key(&key).map_err(|_| Error::NotFound)
    }

    /// The token keys that are published now.
    #[must_use]
    pub fn token_keys(&self, call: &Call) -> Vec<TokenKey> {
        self.vault.token_keys(call.now)
    }

    /// Marks something of an integration's as used, durably: a restart doesn't make it new. Of any number of callers
    /// the first one's `token` is kept, and all are told it. `key` names the thing, under a label of its kind.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn use_once(
        &self,
        integration: IntegrationId,
        key: [u8; 32],
        token: String,
    ) -> Result<String, Error> {
        let key = ReplayKey { integration, key, request: key };
        self.ledger.remember(key, USED, Some(token)).await?;
        match self.ledger.recall(key).await? {
            Some(Replay::Reply { body: Some(first), .. }) => Ok(first),
            _ => Err(StoreError::Unavailable("what was stored isn't there".into()).into()),
        }
    }

    /// Whether this is the first use of something: see [`App::use_once`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn is_first_use(
        &self,
        call: &mut Call,
        integration: IntegrationId,
        key: [u8; 32],
    ) -> Result<bool, Error> {
        let mine = BASE64URL_NOPAD.encode(&call.random::<16>());
        Ok(self.use_once(integration, key, mine.clone()).await? == mine)
    }

    /// The user whom a relying party's person is, if that was said.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn linked(
        &self,
        integration: IntegrationId,
        subject: &str,
    ) -> Result<Option<UserId>, Error> {
        Ok(self.directory.linked(integration, subject.to_owned()).await?)
    }

    /// All links of an integration, with the users' names.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn links(
        &self,
        tenant: TenantId,
        integration: IntegrationId,
    ) -> Result<Vec<(String, UserId, String)>, Error> {
        let mut links = Vec::new();
        for (subject, user) in self.directory.links(integration).await? {
            let record = self.directory.user(tenant, UserRef::Id(user)).await?;
            let name = record.map(|record| record.user.name.clone()).unwrap_or_default();
            links.push((subject, user, name));
        }
        Ok(links)
    }

    /// Says which user a relying party's person is.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::Store`].
    pub async fn link_user(
        &self,
        call: &Call,
        actor: &Actor,
        integration: (TenantId, IntegrationId),
        subject: &str,
        user: UserRef,
    ) -> Result<UserId, Error> {
        let printable = |byte: u8| byte.is_ascii_graphic();
        if subject.is_empty() || subject.len() > MAX_SUBJECT || !subject.bytes().all(printable) {
            return Err(Error::invalid("subject", "1 to 256 printable characters"));
        }
        let (tenant, integration) = integration;
        let user = self.user(tenant, user).await?.user.id;
        let entry = link_entry(tenant, Event::UserLinked, integration, user, actor);
        let change = Change::Link(integration, subject.to_owned(), user, call.now);
        self.directory.apply(change, vec![entry]).await?;
        Ok(user)
    }

    /// Ends a link.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn unlink_user(
        &self,
        actor: &Actor,
        integration: (TenantId, IntegrationId),
        subject: &str,
    ) -> Result<(), Error> {
        let (tenant, integration) = integration;
        let user = self.linked(integration, subject).await?.ok_or(Error::NotFound)?;
        let entry = link_entry(tenant, Event::UserUnlinked, integration, user, actor);
        let change = Change::Unlink(integration, subject.to_owned());
        match self.directory.apply(change, vec![entry]).await {
            Ok(()) | Err(DirectoryError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn link_entry(
    tenant: TenantId,
    event: Event,
    integration: IntegrationId,
    user: UserId,
    by: &Actor,
) -> Entry {
    Entry::new(tenant, event)
        .with(|public| {
            public.integration = Some(integration);
            public.user = Some(user);
        })
        .privately(|private| private.by = Some(by.to_string()))
}
