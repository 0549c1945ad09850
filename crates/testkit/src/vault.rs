//! What every [`Vault`] must do.

mod token_keys;

use std::collections::HashSet;
use std::sync::Arc;

use domain::receipt;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use ports::{MacKey, SealFor, Vault};
use statement::{FactorId, SignedChallenge, TicketId};

use crate::rules::{race, rules, within};
use crate::{Backend, Fixture};

/// Runs the suite.
///
/// # Panics
/// At the first rule that is broken.
pub async fn vault_suite(make: impl AsyncFn() -> Backend) {
    rules!(
        async |seed| VaultWorld { backend: make().await, fixture: Fixture::new(seed) };
        what_is_sealed_opens_for_the_same_purpose_alone,
        a_changed_sealed_value_does_not_open,
        sealing_twice_gives_two_values,
        each_mac_has_a_key_of_its_own,
        the_identity_certifies_the_challenge_keys,
        a_signed_challenge_verifies_with_its_certified_key,
        a_receipt_verifies_against_the_published_keys,
        the_key_set_holds_nothing_private,
        keys_are_apart,
        token_keys::a_token_key_is_published_before_it_signs_and_after,
        token_keys::a_token_verifies_against_the_published_keys,
        token_keys::a_token_key_that_was_changed_is_not_taken_in,
        stretching_depends_on_secret_and_salt,
        racing_stretches_all_end,
    );
}

struct VaultWorld {
    backend: Backend,
    fixture: Fixture,
}

impl VaultWorld {
    fn vault(&self) -> &dyn Vault {
        &*self.backend.vault
    }

    /// Purposes that differ in one thing each.
    fn purposes(&mut self) -> Vec<SealFor> {
        let (first, second) = (self.fixture.tenant.id, self.fixture.user().tenant);
        assert_eq!(first, second);
        let other_tenant = statement::TenantId::from_bytes(self.fixture.bytes());
        let [challenge, other_challenge] = [(); 2].map(|()| self.fixture.challenge().id);
        let ticket: [u8; 16] = self.fixture.bytes();
        let (user, other_user) = (self.fixture.user.id, self.fixture.user().id);
        let factor: [u8; 16] = self.fixture.bytes();
        vec![
            SealFor::Number(first, challenge),
            SealFor::Number(first, other_challenge),
            SealFor::Number(other_tenant, challenge),
            SealFor::TicketNumber(first, TicketId::from_bytes(ticket)),
            SealFor::TicketNumber(other_tenant, TicketId::from_bytes(ticket)),
            SealFor::Totp(first, user, FactorId::from_bytes(factor)),
            SealFor::Totp(first, other_user, FactorId::from_bytes(factor)),
            SealFor::Totp(other_tenant, user, FactorId::from_bytes(factor)),
            SealFor::Totp(first, user, FactorId::from_bytes(self.fixture.bytes())),
        ]
    }
}

async fn what_is_sealed_opens_for_the_same_purpose_alone(mut world: VaultWorld) {
    let purposes = world.purposes();
    for (n, purpose) in purposes.iter().enumerate() {
        let plain = [b"042137".as_slice(), &[0xff; 20], b""][n % 3];
        let sealed = world.vault().seal(*purpose, plain);
        assert!(!sealed.windows(6).any(|part| plain.starts_with(part)));
        for other in &purposes {
            let opened = world.vault().open(*other, &sealed);
            if other == purpose {
                let opened = opened.expect("opens");
                assert_eq!(opened.as_slice(), plain);
            } else {
                assert!(opened.is_err(), "{purpose:?} opened for {other:?}");
            }
        }
    }
}

async fn a_changed_sealed_value_does_not_open(mut world: VaultWorld) {
    let purpose = world.purposes()[0];
    let sealed = world.vault().seal(purpose, b"042137");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let opened = world.vault().open(purpose, &changed);
        assert!(opened.is_err(), "byte {at}");
        let cut = world.vault().open(purpose, &sealed[..at]);
        assert!(cut.is_err(), "cut off at {at}");
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert!(world.vault().open(purpose, &longer).is_err());
}

async fn sealing_twice_gives_two_values(mut world: VaultWorld) {
    let purpose = world.purposes()[0];
    let sealed: HashSet<_> = (0..64).map(|_| world.vault().seal(purpose, b"042137")).collect();
    assert_eq!(sealed.len(), 64);
}

async fn each_mac_has_a_key_of_its_own(world: VaultWorld) {
    let vault = world.vault();
    let keys = [
        MacKey::DeviceCookie,
        MacKey::Shard,
        MacKey::UnknownUser,
        MacKey::Place,
        MacKey::Return,
        MacKey::UserCode,
    ];
    let macs: HashSet<_> = keys.map(|key| vault.mac(key, &[b"bytes"])).into();
    assert_eq!(macs.len(), keys.len());
    let whole = vault.mac(MacKey::Shard, &[b"bytes"]);
    assert_eq!(vault.mac(MacKey::Shard, &[b"by", b"", b"tes"]), whole);
    assert_ne!(vault.mac(MacKey::Shard, &[b"byte"]), whole);
}

async fn the_identity_certifies_the_challenge_keys(world: VaultWorld) {
    let vault = world.vault();
    let now = world.backend.clock.now();
    let numbers: Vec<_> = vault.certified().iter().map(|key| key.number).collect();
    assert!(!numbers.is_empty());
    assert!(numbers.is_sorted_by(|newer, older| newer > older));
    for certified in vault.certified() {
        let certificate = &certified.certificate;
        let verified = certificate.verify(vault.identity(), &certified.signature);
        assert_eq!(verified, Ok(()));
        assert!(certificate.not_before <= now && now < certificate.not_after);
    }
}

async fn a_signed_challenge_verifies_with_its_certified_key(mut world: VaultWorld) {
    let document = world.fixture.challenge().document.clone();
    let vault = world.vault();
    let (number, signature) = vault.sign_challenge(&document);
    assert_eq!(number, vault.certified()[0].number, "the newest");
    let key = &vault.certified()[0].certificate.key;
    assert_eq!(SignedChallenge(&document).verify(key, &signature), Ok(()));
    let mut changed = document;
    changed[0] ^= 1;
    assert!(SignedChallenge(&changed).verify(key, &signature).is_err());
}

/// A key set as relying parties read it.
fn key_set(vault: &dyn Vault) -> JwkSet {
    serde_json::from_str(&vault.receipt_jwks()).expect("RFC 7517")
}

async fn a_receipt_verifies_against_the_published_keys(world: VaultWorld) {
    let vault = world.vault();
    let now = world.backend.clock.now().seconds();
    let proof = domain::challenge::Proof::Totp(statement::FactorId::from_bytes([1; 16]));
    let claims = serde_json::json!({
        "iss": "https://mfa.example/receipt", "aud": "int_1", "sub": "usr_1",
        "iat": now, "exp": now + receipt::LIFE_S, "amr": receipt::amr(proof),
    });
    let text = serde_json::to_vec(&claims).expect("JSON");
    let jws = vault.sign_receipt(&text);

    let header = jsonwebtoken::decode_header(&jws).expect("a JWS header");
    assert_eq!(header.alg, Algorithm::ES256);
    assert_eq!(header.typ.as_deref(), Some("countersign-receipt+jwt"));
    let kid = header.kid.expect("names its key");
    let keys = key_set(vault);
    let jwk = keys.find(&kid).expect("the key is published");
    let key = DecodingKey::from_jwk(jwk).expect("a key");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["int_1"]);
    validation.validate_exp = false; // it stands on virtual time
    let read = jsonwebtoken::decode::<serde_json::Value>(&jws, &key, &validation);
    assert_eq!(read.expect("verifies").claims, claims, "as they were given");

    let (signed, _) = jws.rsplit_once('.').expect("three parts");
    let other = vault.sign_receipt(b"{}");
    let (_, signature) = other.rsplit_once('.').expect("three parts");
    let forged = format!("{signed}.{signature}");
    let read = jsonwebtoken::decode::<serde_json::Value>(&forged, &key, &validation);
    assert!(read.is_err(), "another receipt's signature");
}

async fn the_key_set_holds_nothing_private(world: VaultWorld) {
    let text = world.vault().receipt_jwks();
    let set: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let keys = set["keys"].as_array().expect("RFC 7517 §5");
    assert!(!keys.is_empty());
    for key in keys {
        assert_eq!(key["kty"], "EC");
        assert_eq!(key["crv"], "P-256");
        assert!(key.get("d").is_none(), "RFC 7518 §6.2.2: the private part");
    }
}

async fn keys_are_apart(world: VaultWorld) {
    let vault = world.vault();
    let challenge_keys = vault.certified().iter().map(|key| &key.certificate.key);
    let keys: Vec<_> = challenge_keys.chain([vault.identity(), vault.audit_key()]).collect();
    let different: HashSet<_> = keys.iter().map(|key| key.as_bytes()).collect();
    assert_eq!(different.len(), keys.len());
}

async fn stretched(vault: &dyn Vault, secret: &[u8], salt: u8) -> [u8; 32] {
    let secret = secret.to_vec().into();
    let stretched = vault.stretch(secret, [salt; domain::recovery::SALT_LEN]);
    stretched.await.expect("stretches")
}

async fn stretching_depends_on_secret_and_salt(world: VaultWorld) {
    let vault = world.vault();
    let first = stretched(vault, b"secret", 1).await;
    assert_eq!(stretched(vault, b"secret", 1).await, first);
    assert_ne!(stretched(vault, b"secret", 2).await, first);
    assert_ne!(stretched(vault, b"Secret", 1).await, first);
}

const RACERS: usize = 8;

async fn racing_stretches_all_end(world: VaultWorld) {
    let expected = stretched(world.vault(), b"secret", 1).await;
    let racing = race(RACERS, |_| {
        let vault = Arc::clone(&world.backend.vault);
        async move { stretched(&*vault, b"secret", 1).await }
    });
    assert_eq!(within("the race", racing).await, [expected; RACERS]);
}
