//! Keycloak's channel, with a stand-in for the realm: its keys, the tokens that it makes, its callback.

use authenticator_native::{AnswerOutcome, Choice, Decision};
use serde_json::{Value, json};
use server::demo::phone::Phone;

use super::listener::Listener;
use crate::oidc::client::{USER, forged, jwks, now_s, refused};
use crate::rest::Reply;
use crate::world::World;

const CALLBACK: &str = "/realms/staff/protocol/openid-connect/ext/ciba/auth/callback";

struct Realm {
    world: World,
    phone: Phone,
    listener: Listener,
    key: Vec<u8>,
    channel: String,
    issuer: String,
}

impl Realm {
    async fn new(name: &str) -> Self {
        let world = World::new(name).await;
        let phone = Phone::connect(world.enrolled(USER).await).await.unwrap();
        let key = statement::SigningKey::generate_p256_pkcs8().unwrap();
        let listener = Listener::new(&jwks(&key)).await;
        let issuer = format!("{}/realms/staff", listener.url);
        let command = ["integration", "create", "--name", "staff", "--kind", "keycloak_ciba"];
        let realm = ["--issuer", &issuer, "--allow-private"];
        let made = world.server.admin(&[&command[..], &realm].concat()).await.unwrap();
        assert!(made["client_secret"].is_null() && made["warning"].is_string());
        let channel = made["channel_url"].as_str().unwrap().to_owned();
        let channel = channel.strip_prefix(&world.server.url).unwrap().to_owned();
        Self { world, phone, listener, key, channel, issuer }
    }

    /// A token as Keycloak makes one for each request, with some claims changed or (null) left out.
    fn token(&self, changed: Value) -> String {
        let mut claims = json!({
            "iss": self.issuer, "aud": self.issuer, "exp": now_s() + 120, "typ": "Bearer",
            "jti": format!("{}-{changed}", now_s()), "sub": "some-id", "azp": "cash-desk",
        });
        let Value::Object(changed) = changed else { panic!("an object") };
        for (name, value) in changed {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(&name)),
                value => claims[name] = value,
            }
        }
        self.sign(&claims, jsonwebtoken::Algorithm::ES256)
    }

    fn sign(&self, claims: &Value, algorithm: jsonwebtoken::Algorithm) -> String {
        let mut header = jsonwebtoken::Header::new(algorithm);
        header.kid = Some("1".to_owned());
        let key = jsonwebtoken::EncodingKey::from_ec_der(&self.key);
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }

    async fn post(&self, token: &str, body: &Value) -> Reply {
        self.world.rest.send(token, "POST", &self.channel, body).await
    }

    async fn created(&self) -> Vec<Value> {
        let mut events = self.world.events(&self.world.own_key).await;
        events.retain(|event| event["type"] == "challenge_created");
        events
    }
}

fn asked(number: &str) -> Value {
    json!({
        "login_hint": USER, "scope": "openid profile", "is_consent_required": false,
        "binding_message": number, "acr_values": "", "later": {"more": 1},
    })
}

#[tokio::test]
async fn the_number_that_its_client_shows_is_typed_and_the_realm_is_told() {
    let mut realm = Realm::new("keycloak").await;
    for (nth, end, status) in
        [(1, "approve", "SUCCEED"), (2, "mismatch", "UNAUTHORIZED"), (3, "deny", "UNAUTHORIZED")]
    {
        let number = format!("90210{nth}");
        let token = realm.token(json!({"jti": format!("{nth}")}));
        let reply = realm.post(&token, &asked(&number)).await;
        assert_eq!((reply.status, reply.body.len()), (201, 0), "{reply:?}");
        let card = realm.phone.prompt().await.unwrap();
        assert!(card.alert && card.digits == 6);
        assert!(!format!("{card:?}").contains(&number), "no number reaches a device");
        let details: Vec<_> = card.details.iter().map(|d| (&*d.label, &*d.value)).collect();
        assert_eq!(details, [("Client", "cash-desk")]);
        let choice = match end {
            "approve" => Choice::approve(&number),
            "mismatch" => Choice::approve("000000"),
            _ => Choice::Deny,
        };
        let outcome = realm.phone.answer(card.challenge, choice).await.unwrap();
        assert!(matches!(outcome, AnswerOutcome::Settled(_)));
        let told = realm.listener.next().await;
        assert_eq!(told.path, CALLBACK);
        assert_eq!(told.authorization, format!("Bearer {token}"));
        assert_eq!(told.body, json!({"status": status}));
        // its token asks once
        refused(&realm.post(&token, &asked(&number)).await, 401, "invalid_token");
        let why = realm.world.home.run(&["why", &card.challenge.to_string()]).await;
        let why = String::from_utf8(why.stdout).unwrap();
        assert!(why.contains("The number was chosen by the client."), "{why}");
    }
    let created = realm.created().await;
    assert_eq!(created.len(), 3);
    assert!(created.iter().all(|event| event["cause"] == "number_by_client"));
    assert!(realm.listener.is_quiet());
}

#[tokio::test]
async fn without_a_number_of_the_right_length_nobody_is_asked() {
    let realm = Realm::new("keycloak-number").await;
    for bad in [
        "",
        "12345",
        "1234567",
        "12345a",
        "12 345",
        " 123456",
        "123456 ",
        "-12345",
        "１２３４５６",
        "pay 123456",
    ] {
        let token = realm.token(json!({"jti": bad}));
        refused(&realm.post(&token, &asked(bad)).await, 400, "invalid_binding_message");
    }
    let mut body = asked("");
    body["binding_message"] = Value::Null;
    refused(&realm.post(&realm.token(json!({})), &body).await, 400, "invalid_binding_message");
    body.as_object_mut().unwrap().remove("binding_message");
    let reply = realm.post(&realm.token(json!({})), &body).await;
    refused(&reply, 400, "invalid_binding_message");
    for (name, value) in [("login_hint", json!(null)), ("login_hint", json!("a\u{202e}b"))] {
        let mut body = asked("123456");
        body[name] = value;
        refused(&realm.post(&realm.token(json!({})), &body).await, 400, "invalid_request");
    }
    assert!(realm.created().await.is_empty());
}

#[tokio::test]
async fn a_token_that_is_not_the_realms_for_this_asks_nobody() {
    let mut realm = Realm::new("keycloak-token").await;
    let now = now_s();
    let mut bad: Vec<String> = [
        json!({"iss": "https://other.example/realms/staff"}),
        json!({"aud": "account"}),
        json!({"aud": null}),
        json!({"typ": "ID"}),
        json!({"typ": null}),
        json!({"exp": now - 1}),
        json!({"exp": now + 3600}),
        json!({"exp": null}),
        json!({"jti": null}),
    ]
    .into_iter()
    .map(|row| realm.token(row))
    .collect();
    bad.extend(["", "x", "x.y.z"].map(str::to_owned));
    let stranger = statement::SigningKey::generate_p256_pkcs8().unwrap();
    let own = std::mem::replace(&mut realm.key, stranger);
    bad.push(realm.token(json!({})));
    realm.key = own;
    let good = json!({
        "iss": realm.issuer, "aud": realm.issuer, "exp": now + 120, "typ": "Bearer", "jti": "forged",
    });
    bad.extend(forged(&realm.key, "", &good).into_iter().map(|(_, token)| token));
    for token in &bad {
        refused(&realm.post(token, &asked("123456")).await, 401, "invalid_token");
    }
    let good = realm.token(json!({}));
    let shop = realm.world.server.admin(&["integration", "show", "shop"]).await.unwrap();
    let shop = format!("/keycloak/{}/ciba", shop["integration"].as_str().unwrap());
    for path in ["/keycloak/int_nobody/ciba", &shop] {
        let reply = realm.world.rest.send(&good, "POST", path, &asked("123456")).await;
        refused(&reply, 401, "invalid_token");
    }
    assert!(realm.created().await.is_empty());
    assert_eq!(realm.post(&good, &asked("123456")).await.status, 201);
}

#[tokio::test]
async fn two_requests_of_one_number_are_never_typed_for_each_other() {
    let mut realm = Realm::new("keycloak-twice").await;
    let first = realm.post(&realm.token(json!({"jti": "1"})), &asked("123456")).await;
    let second = realm.post(&realm.token(json!({"jti": "2"})), &asked("123456")).await;
    assert_eq!((first.status, second.status), (201, 201));
    let modes: Vec<Value> =
        realm.created().await.into_iter().map(|event| event["mode"].clone()).collect();
    assert_eq!(modes, [json!("ring"), json!("decoy")]);
    let causes: Vec<Value> =
        realm.created().await.into_iter().map(|event| event["cause"].clone()).collect();
    assert_eq!(causes, [json!("number_by_client"), json!("number_taken")]);
    let card = realm.phone.prompt().await.unwrap();
    let outcome = realm.phone.answer(card.challenge, Choice::approve("123456")).await.unwrap();
    assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
    assert_eq!(realm.listener.next().await.body["status"], "SUCCEED");
}
