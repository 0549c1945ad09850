//! Entra's keys over time: fetched, refreshed, survived.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use ports::BoxFuture;
use serde_json::{Value, json};
use statement::Timestamp;

use super::Fetch;
use super::keys::Keys;

const AUTHORITY: &str = "https://login.example";
const TID: &str = "11111111-2222-4333-8444-555555555555";

/// What Entra publishes, and how often it was asked.
#[derive(Default)]
struct Published {
    documents: Mutex<HashMap<String, Value>>,
    asked: AtomicUsize,
    /// Answers wait for this, if it is locked.
    held: tokio::sync::Mutex<()>,
}

impl Published {
    fn put(&self, url: &str, document: Value) {
        self.documents.lock().unwrap().insert(url.to_owned(), document);
    }

    fn keys(&self, kids: &[&str]) {
        let key = |kid: &&str| {
            json!({"kty": "RSA", "use": "sig", "kid": kid, "n": "AQAB", "e": "AQAB",
                "issuer": format!("{AUTHORITY}/{{tenantid}}/v2.0")})
        };
        let mut keys: Vec<Value> = kids.iter().map(key).collect();
        // what isn't a key, or of a kind that nobody knows, spoils nothing
        keys.push(json!({"kty": "new"}));
        keys.push(json!("x"));
        self.put(&format!("{AUTHORITY}/{TID}/discovery/v2.0/keys"), json!({"keys": keys}));
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

impl Fetch for Published {
    fn get(&self, url: String) -> BoxFuture<'_, Result<Bytes, String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.documents.lock().unwrap().get(&url).cloned();
        Box::pin(async move {
            drop(self.held.lock().await);
            found.map(|value| value.to_string().into()).ok_or(url)
        })
    }
}

fn issuer() -> String {
    format!("{AUTHORITY}/{TID}/v2.0")
}

fn metadata(issuer: &str, jwks: &str) -> Value {
    json!({"issuer": issuer, "jwks_uri": jwks})
}

struct World {
    published: std::sync::Arc<Published>,
    keys: Keys,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let published = std::sync::Arc::new(Published::default());
        let keys = Keys::new(std::sync::Arc::clone(&published) as _);
        let jwks = format!("{AUTHORITY}/{TID}/discovery/v2.0/keys");
        let world = Self { published, keys, now: Timestamp::from_millis(1_800_000_000_000) };
        world.metadata(metadata(&issuer(), &jwks));
        world
    }

    fn metadata(&self, document: Value) {
        let url = format!("{}/.well-known/openid-configuration", issuer());
        self.published.put(&url, document);
    }

    fn vanish(&self) {
        self.published.documents.lock().unwrap().clear();
    }

    fn pass(&mut self, minutes: u64) {
        self.now = self.now.plus(Duration::from_secs(60 * minutes));
    }

    /// The ids of the keys that are known when `kid` is looked for.
    async fn known(&self, kid: &str) -> Result<Vec<String>, String> {
        let keys = self.keys.of(self.now, AUTHORITY, &issuer(), kid).await;
        let keys = keys.map_err(|error| error.0)?;
        let mut ids: Vec<String> =
            keys.iter().filter_map(|key| key.jwk.common.key_id.clone()).collect();
        ids.sort();
        Ok(ids)
    }
}

#[tokio::test]
async fn keys_are_fetched_once_and_anew_after_an_hour_or_for_an_unknown_one() {
    let mut world = World::new();
    world.published.keys(&["a"]);
    assert_eq!(world.known("a").await.unwrap(), ["a"]);
    assert_eq!(world.published.asked(), 2);
    world.pass(59);
    assert_eq!(world.known("a").await.unwrap(), ["a"]);
    assert_eq!(world.published.asked(), 0);
    world.published.keys(&["a", "b"]);
    assert_eq!(world.known("b").await.unwrap(), ["a", "b"]);
    assert_eq!(world.published.asked(), 2);
    // whatever ids come along, it is asked every five minutes at most
    for kid in ["c", "d", "e"] {
        assert_eq!(world.known(kid).await.unwrap(), ["a", "b"]);
    }
    assert_eq!(world.published.asked(), 0);
    world.pass(5);
    world.known("c").await.unwrap();
    assert_eq!(world.published.asked(), 2);
    world.pass(61);
    world.known("a").await.unwrap();
    assert_eq!(world.published.asked(), 2);
}

#[tokio::test]
async fn the_last_good_keys_survive_an_outage_of_a_day_and_no_longer() {
    let mut world = World::new();
    world.published.keys(&["a"]);
    world.known("a").await.unwrap();
    world.vanish();
    for _ in 0..23 {
        world.pass(60);
        assert_eq!(world.known("a").await.unwrap(), ["a"]);
    }
    world.pass(60);
    assert!(world.known("a").await.is_err());
    // a failure isn't tried again at once
    world.published.asked();
    assert!(world.known("a").await.is_err());
    assert_eq!(world.published.asked(), 0);
}

#[tokio::test]
async fn what_another_issuer_or_place_publishes_is_not_taken() {
    let jwks = format!("{AUTHORITY}/{TID}/discovery/v2.0/keys");
    for document in [
        metadata("https://evil.example", &jwks),
        metadata(&format!("{}/", issuer()), &jwks),
        metadata(&issuer(), "https://evil.example/keys"),
        metadata(&issuer(), "https://login.example.evil.example/keys"),
        metadata(&issuer(), ""),
        json!([]),
    ] {
        let world = World::new();
        world.published.keys(&["a"]);
        world.metadata(document.clone());
        assert!(world.known("a").await.is_err(), "{document}");
    }
}

#[tokio::test]
async fn a_key_signs_for_its_own_issuer_alone() {
    let world = World::new();
    let consumers = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let key = |kid: &str, issuer: Value| json!({"kty": "RSA", "kid": kid, "n": "AQAB", "e": "AQAB", "issuer": issuer});
    let keys = json!({"keys": [
        key("any", json!(format!("{AUTHORITY}/{{tenantid}}/v2.0"))),
        key("own", Value::Null),
        key("consumers", json!(format!("{AUTHORITY}/{consumers}/v2.0"))),
    ]});
    world.published.put(&format!("{AUTHORITY}/{TID}/discovery/v2.0/keys"), keys);
    let all = world.keys.of(world.now, AUTHORITY, &issuer(), "any").await.unwrap();
    let fits: Vec<_> = all
        .iter()
        .filter(|key| key.is_for(&issuer(), TID))
        .filter_map(|key| key.jwk.common.key_id.as_deref())
        .collect();
    assert_eq!(fits, ["any", "own"]);
}

mod properties {
    use proptest::prelude::*;

    use crate::entra::asked::Asked;
    use crate::jwt;
    use crate::params::Params;

    proptest! {
        #[test]
        fn whatever_a_form_holds_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let params = Params::parse(&bytes);
            let _ = (params.get("a"), params.bad());
        }

        #[test]
        fn whatever_claims_hold_is_read_or_refused(text in "\\PC{0,200}", tail in "[\\[\\]{}\",:a-z]{0,60}") {
            let _ = Asked::read(Some(&text));
            let _ = Asked::read(Some(&format!("{{\"id_token\":{tail}}}")));
            prop_assert!(jwt::verify(&text, &[], &jwt::CLIENT_ALGORITHMS).is_err());
            prop_assert!(jwt::keys(&tail).is_empty());
        }
    }
}

/// Anybody could make the one try of five minutes, with a hint that needn't be signed, and hang up.
#[tokio::test]
async fn whoever_hangs_up_while_keys_are_fetched_keeps_nobody_from_them() {
    let world = World::new();
    world.published.keys(&["a"]);
    let held = world.published.held.lock().await;
    let issuer = issuer();
    let mut first = Box::pin(world.keys.of(world.now, AUTHORITY, &issuer, "x"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending(), "it is being fetched");
    drop((first, held));
    let keys = world.keys.of(world.now, AUTHORITY, &issuer, "a").await;
    assert_eq!(keys.map(|keys| keys.len()).ok(), Some(1));
    assert_eq!(world.published.asked(), 2, "once: the metadata and the keys");
}
