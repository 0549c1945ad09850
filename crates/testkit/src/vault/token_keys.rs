//! Keys that sign tokens for relying parties: published, then signing, then gone.

use std::time::Duration;

use domain::protocol::TokenAlgorithm;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use statement::Timestamp;

use super::VaultWorld;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const BOTH: [TokenAlgorithm; 2] = TokenAlgorithm::ALL;

impl VaultWorld {
    /// Draws a key and takes it in: its id.
    async fn add(&self, algorithm: TokenAlgorithm, now: Timestamp, from: Timestamp) -> String {
        let known = self.ids(algorithm, now);
        let key = self.vault().draw_token_key(algorithm, now, from).await.expect("a key");
        assert_eq!((key.algorithm, key.created, key.signs_from), (algorithm, now, from));
        assert_eq!(self.ids(algorithm, now), known, "a key that was only drawn counts for nothing");
        for _ in 0..2 {
            self.vault().adopt_token_key(&key).expect("its own key");
        }
        let ids = self.ids(algorithm, now);
        assert_eq!(ids.len(), known.len() + 1);
        ids[0].clone()
    }

    /// The ids of the published keys, newest first.
    fn ids(&self, algorithm: TokenAlgorithm, now: Timestamp) -> Vec<String> {
        let set: Value =
            serde_json::from_str(&self.vault().token_jwks(&[algorithm], now)).expect("RFC 7517");
        let keys = set["keys"].as_array().expect("keys").iter();
        let ids: Vec<String> =
            keys.map(|key| key["kid"].as_str().expect("an id").to_owned()).collect();
        let listed = self.vault().token_keys(now);
        let listed = listed.iter().filter(|key| key.algorithm == algorithm);
        assert_eq!(listed.map(|key| key.kid.clone()).collect::<Vec<_>>(), ids);
        ids
    }

    fn signer(&self, algorithm: TokenAlgorithm, now: Timestamp) -> Option<String> {
        let token = self.vault().sign_token(algorithm, now, b"{}")?;
        jsonwebtoken::decode_header(token).expect("a header").kid
    }
}

pub(super) async fn a_token_key_is_published_before_it_signs_and_after(world: VaultWorld) {
    let now = world.backend.clock.now();
    for algorithm in BOTH {
        assert_eq!(world.signer(algorithm, now), None);
        let first = world.add(algorithm, now, now).await;
        assert_eq!(world.signer(algorithm, now), Some(first.clone()));
        let switch = now.plus(2 * DAY);
        let second = world.add(algorithm, now, switch).await;
        let before = switch.minus(Duration::from_millis(1));
        assert_eq!(world.ids(algorithm, before), [second.clone(), first.clone()]);
        assert_eq!(world.signer(algorithm, before), Some(first.clone()));
        assert_eq!(world.signer(algorithm, switch), Some(second.clone()));
        let gone = switch.plus(2 * DAY);
        let before = gone.minus(Duration::from_millis(1));
        assert_eq!(world.ids(algorithm, before), [second.clone(), first]);
        assert_eq!(world.ids(algorithm, gone), [second]);
    }
}

pub(super) async fn a_token_verifies_against_the_published_keys(world: VaultWorld) {
    let now = world.backend.clock.now();
    for algorithm in BOTH {
        world.add(algorithm, now, now).await;
    }
    let text = world.vault().token_jwks(&BOTH, now);
    for private in ["\"d\"", "\"p\"", "\"q\"", "\"dp\"", "\"k\""] {
        assert!(!text.contains(private), "{private}");
    }
    let set: JwkSet = serde_json::from_str(&text).expect("RFC 7517");
    for (algorithm, name) in BOTH.into_iter().zip([Algorithm::RS256, Algorithm::ES256]) {
        let claims = br#"{"sub":"usr_1","aud":"int_1"}"#;
        let token = world.vault().sign_token(algorithm, now, claims).expect("a key");
        let header = jsonwebtoken::decode_header(&token).expect("a header");
        assert_eq!((header.alg, header.typ.as_deref()), (name, Some("JWT")));
        let key = set.find(&header.kid.expect("an id")).expect("is published");
        assert!(key.common.x509_chain.as_ref().is_some_and(|chain| chain.len() == 1));
        let mut validation = Validation::new(name);
        validation.set_audience(&["int_1"]);
        validation.set_required_spec_claims(&["sub", "aud"]);
        let key = DecodingKey::from_jwk(key).expect("a key");
        let read = jsonwebtoken::decode::<Value>(&token, &key, &validation);
        assert_eq!(read.expect("verifies").claims["sub"], "usr_1");
        let (signed, _) = token.rsplit_once('.').expect("three parts");
        let other = world.vault().sign_token(algorithm, now, b"{}").expect("a key");
        let forged = format!("{signed}.{}", other.rsplit_once('.').expect("three parts").1);
        assert!(jsonwebtoken::decode::<Value>(&forged, &key, &validation).is_err());
    }
}

pub(super) async fn a_token_key_that_was_changed_is_not_taken_in(world: VaultWorld) {
    let now = world.backend.clock.now();
    let algorithm = TokenAlgorithm::Es256;
    let key = world.vault().draw_token_key(algorithm, now, now).await.expect("a key");
    let mut changed = key.clone();
    changed.sealed[20] ^= 1;
    let mut other_number = key.clone();
    other_number.number += 1;
    let mut other_kind = key;
    other_kind.algorithm = TokenAlgorithm::Rs256;
    for key in [changed, other_number, other_kind] {
        assert!(world.vault().adopt_token_key(&key).is_err(), "{key:?}");
    }
    assert_eq!(world.signer(algorithm, now), None);
}
