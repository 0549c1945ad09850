//! A relying party.

use std::collections::BTreeMap;

use authenticator_native::{AnswerOutcome, Choice, Decision};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use server::clock;
use server::demo::phone::Phone;
use statement::sha256;

use crate::browser::{Browser, Form, Page, encode};
use crate::rest::Reply;
use crate::world::World;

pub(crate) const REDIRECT: &str = "https://rp.example/cb?app=1";
pub(crate) const VERIFIER: &str = "a-verifier-of-forty-three-characters-at-least";
pub(crate) const USER: &str = "alice";

/// A server, a relying party of it, and a user with an authenticator.
pub(crate) struct Party {
    pub(crate) world: World,
    pub(crate) phone: Phone,
    pub(crate) id: String,
    pub(crate) secret: String,
    /// The client's own key: PKCS #8, P-256.
    pub(crate) key: Vec<u8>,
}

/// A key set with the public half of `pkcs8`.
pub(crate) fn jwks(pkcs8: &[u8]) -> Value {
    let key = statement::SigningKey::from_p256_pkcs8(pkcs8).unwrap();
    let (x, y) = key.public().as_bytes()[1..].split_at(32);
    let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
    json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "1", "use": "sig"}]})
}

impl Party {
    pub(crate) async fn new(name: &str) -> Self {
        Self::with(name, &[]).await
    }

    pub(crate) async fn with(name: &str, more: &[&str]) -> Self {
        let kind = ["--kind", "oidc", "--redirect-uri", REDIRECT];
        Self::registered(name, &[&kind, more].concat()).await
    }

    /// A relying party of any kind that has a secret and a key.
    pub(crate) async fn registered(name: &str, kind: &[&str]) -> Self {
        Self::of(World::new(name).await, kind).await
    }

    pub(crate) async fn of(world: World, kind: &[&str]) -> Self {
        let phone = Phone::connect(world.enrolled(USER).await).await.unwrap();
        let key = statement::SigningKey::generate_p256_pkcs8().unwrap();
        let file = world.home.data().join("client.jwks.json");
        std::fs::write(&file, jwks(&key).to_string()).unwrap();
        let file = file.to_str().unwrap();
        let mut command = vec!["integration", "create", "--name", "wiki", "--jwks", file];
        command.extend(kind);
        let made = world.server.admin(&command).await.unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));
        Self { world, phone, id, secret, key }
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.world.server.url
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.issuer())
    }

    pub(crate) fn challenge() -> String {
        BASE64URL_NOPAD.encode(&sha256(&[VERIFIER.as_bytes()]))
    }

    /// The parameters of a good request, with some changed, added, or (empty) left out.
    pub(crate) fn params(&self, changed: &[(&str, &str)]) -> Vec<(String, String)> {
        let challenge = Self::challenge();
        let mut params: BTreeMap<&str, &str> = [
            ("client_id", self.id.as_str()),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", "openid profile"),
            ("state", "a state&?"),
            ("nonce", "a nonce"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("login_hint", USER),
        ]
        .into();
        params.extend(changed.iter().copied());
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        params.into_iter().filter(|(_, value)| !value.is_empty()).map(owned).collect()
    }

    pub(crate) fn authorize(params: &[(String, String)]) -> String {
        let pairs: Vec<(&str, &str)> =
            params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        format!("/oidc/authorize?{}", encode(&pairs))
    }

    /// Sends a client's form; `None` sends no `Authorization`.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)], basic: bool) -> Reply {
        let mut request = http::Request::builder()
            .method("POST")
            .header("content-type", "application/x-www-form-urlencoded");
        if basic {
            let pair = format!("{}:{}", self.id, self.secret);
            request = request
                .header("authorization", format!("Basic {}", BASE64.encode(pair.as_bytes())));
        }
        self.world.rest.raw(request, path, encode(fields).into()).await
    }

    /// Pushes a request: where its browser is to go.
    pub(crate) async fn push(&self, changed: &[(&str, &str)]) -> String {
        let params = self.params(changed);
        let pairs: Vec<(&str, &str)> =
            params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let reply = self.post("/oidc/par", &pairs, true).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        let pushed = reply.json();
        let uri = pushed["request_uri"].as_str().unwrap();
        format!("/oidc/authorize?{}", encode(&[("client_id", &self.id), ("request_uri", uri)]))
    }

    /// Types the page's number into the phone that rings.
    pub(crate) async fn approve(&mut self, page: &Page) {
        let number = page.waits();
        let card = self.phone.prompt().await.unwrap();
        assert!(card.alert, "it rings");
        let outcome = self.phone.answer(card.challenge, Choice::approve(&number)).await.unwrap();
        assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
    }

    /// A whole sign-in by a pushed request: the form that leads back.
    pub(crate) async fn signs_in(&mut self, changed: &[(&str, &str)]) -> Form {
        let mut browser = self.browser();
        let page = browser.open(&self.push(changed).await).await;
        self.approve(&page).await;
        browser.open(&page.path).await.leads_back()
    }

    pub(crate) async fn exchange(&self, code: &str) -> Reply {
        self.exchange_with(code, &[]).await
    }

    pub(crate) async fn exchange_with(&self, code: &str, changed: &[(&str, &str)]) -> Reply {
        let mut fields: BTreeMap<&str, &str> = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ]
        .into();
        fields.extend(changed.iter().copied());
        let fields: Vec<(&str, &str)> =
            fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        self.post("/oidc/token", &fields, true).await
    }

    pub(crate) async fn userinfo(&self, access: &str) -> Reply {
        self.world.rest.send(access, "GET", "/oidc/userinfo", &Value::Null).await
    }

    /// The claims of an ID token that verifies against the published keys, as a library of somebody else reads it.
    pub(crate) async fn verified(&self, token: &str, algorithm: Algorithm) -> Value {
        let set = self.world.rest.send("", "GET", "/oidc/jwks.json", &Value::Null).await;
        let set: JwkSet = serde_json::from_slice(&set.body).unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.alg, algorithm);
        let key = set.find(header.kid.as_deref().unwrap()).expect("a published key");
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[&self.id]);
        validation.set_issuer(&[self.issuer()]);
        validation.set_required_spec_claims(&["exp", "iat", "iss", "aud", "sub"]);
        let key = DecodingKey::from_jwk(key).unwrap();
        jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims
    }

    /// JWTs that the client didn't sign.
    pub(crate) fn forged(&self, claims: &Value) -> Vec<(&'static str, String)> {
        forged(&self.key, &self.secret, claims)
    }

    /// A JWT that the client signs.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("1".to_owned());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.key)).unwrap()
    }
}

/// JWTs of `claims` that no key of `key`'s owner signed, for whoever knows the owner's public half and `secret`.
pub(crate) fn forged(key: &[u8], secret: &str, claims: &Value) -> Vec<(&'static str, String)> {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let with_secret = |secret: &[u8]| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("1".to_owned());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let public = statement::SigningKey::from_p256_pkcs8(key).unwrap().public().clone();
    let stranger = statement::SigningKey::generate_p256_pkcs8().unwrap();
    let mut es256 = Header::new(Algorithm::ES256);
    es256.kid = Some("1".to_owned());
    let by_stranger =
        jsonwebtoken::encode(&es256, claims, &EncodingKey::from_ec_der(&stranger)).unwrap();
    let good = jsonwebtoken::encode(&es256, claims, &EncodingKey::from_ec_der(key)).unwrap();
    let signature = good.rsplit_once('.').unwrap().1;
    let renamed = |alg: &str| {
        let head = json!({"alg": alg, "kid": "1", "typ": "JWT"});
        format!("{}.{}.{signature}", part(&head), part(claims))
    };
    let none = format!("{}.{}.", part(&json!({"alg": "none", "kid": "1"})), part(claims));
    vec![
        ("none", none),
        ("none, with a signature", renamed("none")),
        ("HS256 with the secret", with_secret(secret.as_bytes())),
        ("HS256 with the public key", with_secret(public.as_bytes())),
        ("HS256 with the published key", with_secret(jwks(key)["keys"][0].to_string().as_bytes())),
        ("another key", by_stranger),
        ("RS256 in name", renamed("RS256")),
        ("ES384 in name", renamed("ES384")),
    ]
}

pub(crate) fn now_s() -> u64 {
    clock::now().seconds()
}

/// What an OAuth error says.
#[track_caller]
pub(crate) fn refused(reply: &Reply, status: u16, error: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    let body = reply.json();
    assert_eq!(body["error"], error, "{body}");
    assert!(body["error_description"].is_string() && body["code"].is_null(), "{body}");
    assert_eq!(reply.headers["cache-control"], "no-store");
}
