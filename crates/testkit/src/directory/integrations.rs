//! Tenants, integrations and their keys.

use std::time::Duration;

use domain::audit::Event;
use domain::directory::{ApiKey, Tenant};
use domain::protocol::{OidcClient, Protocol, TokenAlgorithm};
use ports::{Change, DirectoryError, KeyOwner};
use statement::{IntegrationId, TenantId};

use crate::backend::World;

const RACERS: usize = 16;

impl World {
    async fn owner(&self, key: &ApiKey) -> Option<KeyOwner> {
        let found = self.backend.directory.key_owner(key.hash).await;
        found.expect("reads").map(|owner| (*owner).clone())
    }

    async fn keys(&self) -> Vec<ApiKey> {
        let keys = self.backend.directory.keys(self.fixture.integration.id);
        keys.await.expect("reads")
    }

    fn own_key(&mut self) -> ApiKey {
        let integration = self.fixture.integration.clone();
        self.fixture.api_key(&integration)
    }

    async fn new_key(&mut self) -> ApiKey {
        let key = self.own_key();
        self.apply(Change::CreateKey(key.clone()), Event::KeyCreated).await;
        key
    }
}

pub(super) async fn the_default_tenant_exists_and_others_follow_in_order(mut world: World) {
    let own = world.fixture.tenant.clone();
    world.backend.clock.advance(Duration::from_secs(1));
    let next = world.new_tenant().await;
    let all = world.backend.directory.tenants().await.expect("reads");
    assert_eq!(all[0].name, "default");
    assert_eq!(all[1..], [own, next]);
}

pub(super) async fn a_tenant_s_name_is_its_own(mut world: World) {
    let twin =
        Tenant { id: TenantId::from_bytes(world.fixture.bytes()), ..world.fixture.tenant.clone() };
    let refusal = world.refused(Change::CreateTenant(twin)).await;
    assert_eq!(refusal, DirectoryError::NameTaken);
    let all = world.backend.directory.tenants().await.expect("reads");
    assert_eq!(all.len(), 2);
}

pub(super) async fn an_integration_comes_back_as_it_went(mut world: World) {
    let directory = world.directory();
    let found = directory.integration(world.fixture.integration.id).await;
    assert_eq!(found.expect("reads").as_deref(), Some(&world.fixture.integration));
    let unknown = IntegrationId::from_bytes(world.fixture.bytes());
    assert_eq!(directory.integration(unknown).await, Ok(None));

    let mut second = world.fixture.integration();
    second.verifies_first_factor = true;
    second.protocol = Protocol::Oidc(OidcClient {
        redirect_uris: vec!["https://rp.example/cb?a=1".to_owned()],
        jwks: Some("{\"keys\":[]}".to_owned()),
        id_token: TokenAlgorithm::Es256,
    });
    second.reveal_users = true;
    second.scopes = domain::directory::Scope::ALL.to_vec();
    second.purposes = domain::challenge::Purpose::ALL.to_vec();
    second.methods = domain::challenge::Methods::PUSH;
    let key = world.fixture.api_key(&second);
    let change = Change::CreateIntegration(second.clone(), key.clone());
    world.apply(change, Event::IntegrationCreated).await;
    let owner = world.owner(&key).await.expect("is known");
    assert_eq!((&owner.integration, &owner.key), (&second, &key));
    let listed = directory.integrations(world.fixture.tenant.id).await;
    assert_eq!(listed, Ok(vec![world.fixture.integration.clone(), second]));
    let other = world.new_tenant().await;
    assert_eq!(directory.integrations(other.id).await, Ok(Vec::new()));
}

pub(super) async fn an_integration_s_name_is_free_in_another_tenant(mut world: World) {
    let other = world.new_tenant().await;
    let mut twin = world.fixture.integration();
    twin.name.clone_from(&world.fixture.integration.name);
    let key = world.fixture.api_key(&twin);
    let refusal = world.refused(Change::CreateIntegration(twin.clone(), key.clone())).await;
    assert_eq!(refusal, DirectoryError::NameTaken);
    assert!(world.owner(&key).await.is_none(), "its key isn't there");
    assert_eq!(world.backend.directory.integration(twin.id).await, Ok(None));

    twin.tenant = other.id;
    let change = Change::CreateIntegration(twin.clone(), key.clone());
    world.apply(change, Event::IntegrationCreated).await;
    let owner = world.owner(&key).await.expect("is known");
    assert_eq!(owner.integration, twin);
}

pub(super) async fn two_keys_may_live_at_once(mut world: World) {
    let mut second = world.own_key();
    second.expires = Some(world.backend.clock.now().plus(Duration::from_secs(10)));
    world.apply(Change::CreateKey(second.clone()), Event::KeyCreated).await;
    let third = world.own_key();
    let refusal = world.refused(Change::CreateKey(third.clone())).await;
    assert_eq!(refusal, DirectoryError::Limit);
    assert!(world.owner(&third).await.is_none());

    // one that has ended makes room: by time, or by revocation
    world.backend.clock.advance(Duration::from_secs(10));
    world.apply(Change::CreateKey(third.clone()), Event::KeyCreated).await;
    let fourth = world.own_key();
    let refusal = world.refused(Change::CreateKey(fourth.clone())).await;
    assert_eq!(refusal, DirectoryError::Limit);
    let now = world.backend.clock.now();
    let revoke = Change::RevokeKey(world.fixture.integration.id, third.hint.clone(), now);
    world.apply(revoke, Event::KeyRevoked).await;
    world.apply(Change::CreateKey(fourth.clone()), Event::KeyCreated).await;
    let hashes: Vec<_> = world.keys().await.iter().map(|key| key.hash).collect();
    for key in [&second, &third, &fourth] {
        assert!(hashes.contains(&key.hash), "dead ones are listed too");
    }
    assert_eq!(hashes.len(), 4);

    let stranger = world.fixture.integration();
    let key = world.fixture.api_key(&stranger);
    let refusal = world.refused(Change::CreateKey(key)).await;
    assert_eq!(refusal, DirectoryError::NotFound);
}

pub(super) async fn racing_keys_stop_at_two(mut world: World) {
    let changes: Vec<_> = (0..RACERS).map(|_| Change::CreateKey(world.own_key())).collect();
    let made = world.race_changes(changes, &DirectoryError::Limit).await;
    assert_eq!(made, 1, "one was there before");
}

pub(super) async fn a_dead_key_is_still_known(mut world: World) {
    let key = world.new_key().await;
    let now = world.backend.clock.now();
    assert!(world.owner(&key).await.expect("known").key.is_live(now));
    let integration = world.fixture.integration.id;
    let revoke = Change::RevokeKey(integration, key.hint.clone(), now);
    world.apply(revoke.clone(), Event::KeyRevoked).await;
    let owner = world.owner(&key).await.expect("is known");
    assert_eq!(owner.key.revoked, Some(now), "seen at once");

    // twice, by a hint that nobody has, by another integration's name
    let elsewhere = Change::RevokeKey(world.fixture.integration().id, key.hint.clone(), now);
    let unknown = Change::RevokeKey(integration, "csk_nothing".to_owned(), now);
    for change in [revoke, elsewhere, unknown] {
        let refusal = world.refused(change).await;
        assert_eq!(refusal, DirectoryError::NotFound);
    }
}

pub(super) async fn an_unknown_key_is_nobody_s(mut world: World) {
    let key = world.own_key();
    assert!(world.owner(&key).await.is_none());
    // and is somebody's once it is made
    world.apply(Change::CreateKey(key.clone()), Event::KeyCreated).await;
    assert!(world.owner(&key).await.is_some());
}
