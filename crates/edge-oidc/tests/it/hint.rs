//! Entra's form and its hint.

use std::cell::Cell;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::changes::{Change, Form, changed, changes, corpus, is_plain, one, runner, text};
use crate::words::words;
use crate::world::{
    APP, AUTHORITY, CONSUMERS, CONSUMERS_KID, DIRECTORY, Goes, KID, OBJECT, World, sign,
};

const CORPUS: &str = include_str!("corpus/entra.txt");
const HINTS: &str = include_str!("corpus/hint.txt");
const PATH: &str = "/entra/authorize";
const ANSWERS: &str = "http://127.0.0.1:1/common/federation/externalauthprovider";
/// What means something in the form or in the hint.
const WORDS: &[&str] = words![
    "client-request-id",
    "Id_token",
    "openid profile",
    "http://127.0.0.1:1/common/federation/externalauthprovider/",
    "https://127.0.0.1:1/common/federation/externalauthprovider",
    "7",
    "null",
    "{\"id_token\":{\"acr\":{\"values\":[\"inherence\"]}}}",
    "{\"id_token\":{\"amr\":{\"values\":[\"otp\"]}}}",
    ".",
    "..",
    "=",
    // of the hint
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "tid",
    "oid",
    "ver",
    "alg",
    "kid",
    "crit",
    "typ",
    "jwk",
    "jku",
    "x5c",
    "none",
    "HS256",
    "RS256",
    "PS256",
    "ES256",
    "RS512",
    "k1",
    "k2",
    "1.0",
    "2.0",
    "{tenantid}",
    "9188040d-6c67-4c5b-b112-36a304b66dad",
    "11111111-2222-4333-8444-555555555555",
    "66666666-7777-4888-9999-000000000000",
    "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE",
    "http://127.0.0.1:1/11111111-2222-4333-8444-555555555555/v2.0/",
    "https://login.microsoftonline.com/common/v2.0",
];

/// What is done to a hint.
#[derive(Clone, Debug)]
enum Forge {
    /// A member of the header (`true`) or of the claims.
    Member(bool, String, Value),
    Gone(bool, String),
    Signed(By),
    /// The text of the whole.
    Text(Vec<Change>),
}

/// By what it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    TheKey,
    AnotherKey,
    /// One that is published for the tokens of private accounts alone.
    ConsumersKey,
    /// The published key, taken for a shared secret.
    PublicKey,
    Nothing,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        // about the time of the tests, in seconds
        (1_798_761_600_i64 - 2_000..1_798_761_600 + 2_000).prop_map(Value::from),
        text(WORDS).prop_map(Value::String),
        text(WORDS).prop_map(|text| json!([text, APP])),
        text(WORDS).prop_map(|text| json!({ text: {} })),
    ]
}

fn name() -> impl Strategy<Value = String> {
    let members = &[
        "iss", "sub", "aud", "exp", "iat", "nbf", "tid", "oid", "ver", "alg", "kid", "crit", "typ",
    ];
    prop_oneof![5 => select(&members[..]).prop_map(str::to_owned), 1 => text(WORDS)]
}

fn forge() -> impl Strategy<Value = Forge> {
    let by =
        select(&[By::TheKey, By::AnotherKey, By::ConsumersKey, By::PublicKey, By::Nothing][..]);
    prop_oneof![
        6 => (any::<bool>(), name(), value()).prop_map(|(head, name, value)| Forge::Member(head, name, value)),
        2 => (any::<bool>(), name()).prop_map(|(head, name)| Forge::Gone(head, name)),
        1 => by.prop_map(Forge::Signed),
        1 => changes(WORDS).prop_map(Forge::Text),
    ]
}

struct Bench {
    world: World,
    other: KeyPair,
    count: Cell<u32>,
}

impl Bench {
    /// A hint of `claims`, with what is done to it. Each is its own, so that none is a replay.
    fn hint(&self, claims: &Value, forged: &[Forge]) -> String {
        let now = self.world.now_s();
        self.count.set(self.count.get() + 1);
        let mut head = json!({"alg": "RS256", "kid": KID, "typ": "JWT"});
        let mut claims = claims.clone();
        claims["iat"] = json!(now);
        claims["nbf"] = json!(now);
        claims["exp"] = json!(now - 1);
        claims["uti"] = json!(self.count.get());
        let (mut by, mut after) = (By::TheKey, Vec::new());
        for forge in forged {
            match forge {
                Forge::Member(true, name, value) => head[name.as_str()] = value.clone(),
                Forge::Member(false, name, value) => claims[name.as_str()] = value.clone(),
                Forge::Gone(true, name) => drop(head.as_object_mut().expect("one").remove(name)),
                Forge::Gone(false, name) => drop(claims.as_object_mut().expect("one").remove(name)),
                Forge::Signed(other) => by = *other,
                Forge::Text(changes) => after.extend(changes.iter().cloned()),
            }
        }
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&head), part(&claims));
        let signature = BASE64URL_NOPAD.encode(&self.signature(by, &signed));
        let whole = vec![(String::new(), format!("{signed}.{signature}"))];
        changed(&whole, &after).into_iter().next().unwrap_or_default().1
    }

    fn signature(&self, by: By, signed: &str) -> Vec<u8> {
        match by {
            By::TheKey => self.world.sign(signed),
            By::AnotherKey => sign(&self.other, signed),
            By::ConsumersKey => sign(&self.world.consumers, signed),
            By::PublicKey => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.world.key.public_key().as_ref());
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            By::Nothing => Vec::new(),
        }
    }

    /// Whether a hint is one of the directory's, made out to the application, of now.
    fn is_proof(&self, hint: &str) -> bool {
        let parts: Vec<&str> = hint.split('.').collect();
        let [head, claims, signature] = parts[..] else { return false };
        let object = |part: &str| -> Option<Value> {
            serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok()
        };
        let (Some(head), Some(claims)) = (object(head), object(claims)) else { return false };
        let Ok(signature) = BASE64URL_NOPAD.decode(signature.as_bytes()) else { return false };
        let key = self.world.key.public_key().as_ref();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
        let (signed, _) = hint.rsplit_once('.').expect("three parts");
        let now = self.world.now_s() as f64;
        let about_now = |name: &str, ago: f64| {
            claims[name].as_f64().is_some_and(|at| (now - ago..=now + 300.0).contains(&at))
        };
        key.verify(signed.as_bytes(), &signature).is_ok()
            && head["alg"] == "RS256"
            && head["kid"] == KID
            && head["crit"].is_null()
            && claims["tid"] == DIRECTORY
            && claims["iss"] == format!("{AUTHORITY}/{DIRECTORY}/v2.0")
            && claims["aud"] == APP
            && (!claims["ver"].is_string() || claims["ver"] == "2.0")
            && about_now("iat", 600.0)
            && (claims.get("nbf").is_none() || about_now("nbf", f64::INFINITY))
            && claims["oid"].as_str().is_some_and(domain::protocol::is_guid)
            && claims["sub"].as_str().is_some_and(|sub| (1..=256).contains(&sub.len()))
    }

    /// What must hold of a form that led to a sign-in.
    fn may_sign_in(&self, sent: &Form) {
        assert!(is_plain(sent), "a name is there twice: {sent:?}");
        let is =
            |name, value: &str| one(sent, name).is_some_and(|is| is.eq_ignore_ascii_case(value));
        assert!(is("response_type", "id_token") && is("response_mode", "form_post"), "{sent:?}");
        assert!(
            one(sent, "scope").is_some_and(|scope| scope.split(' ').any(|one| one == "openid"))
        );
        let claims: Value =
            serde_json::from_str(one(sent, "claims").unwrap_or("{}")).expect("JSON");
        assert!(claims.is_object() && !claims["id_token"].is_array(), "{claims}");
        let hint = one(sent, "id_token_hint").expect("a hint");
        assert!(self.is_proof(hint), "{hint}");
    }

    /// Whether it leads to a sign-in.
    async fn holds(&self, sent: &Form) -> bool {
        let response = self.world.post(PATH, sent, false).await;
        let goes = Goes::of(&response);
        if !matches!(goes, Goes::Nowhere) {
            assert_eq!(one(sent, "client_id"), Some(self.world.entra.as_str()), "{sent:?}");
            assert_eq!(one(sent, "redirect_uri"), Some(ANSWERS), "{sent:?}");
        }
        match goes {
            Goes::SignIn => self.may_sign_in(sent),
            Goes::By(action, fields) => {
                assert_eq!(action, ANSWERS);
                assert_eq!(one(&fields, "state"), one(sent, "state"));
                let error = one(&fields, "error").expect("an error");
                // every key is there to be had
                assert_eq!(error, "access_denied");
                assert!(fields.iter().all(|(name, _)| name == "error" || name == "state"));
            }
            Goes::To(url) => panic!("redirected to {url}"),
            Goes::Nowhere => {}
        }
        response.status() == 303
    }
}

impl Bench {
    async fn new() -> Self {
        let other = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        Self { world: World::new().await, other, count: Cell::new(0) }
    }

    /// The forms of the corpus, and the claims of its hints; the first ones are good.
    fn corpus(&self) -> (Vec<Form>, Vec<Value>) {
        let forms = corpus(CORPUS, &[("{client}", &self.world.entra), ("{answers}", ANSWERS)]);
        let fill = |line: &str| {
            let parts = [
                ("{directory}", DIRECTORY),
                ("{authority}", AUTHORITY),
                ("{app}", APP),
                ("{object}", OBJECT),
            ];
            parts.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to))
        };
        let claims = |line: &str| serde_json::from_str(&fill(line)).expect("claims, as JSON");
        (forms, HINTS.lines().map(claims).collect())
    }

    /// A form with a hint in it.
    fn filled(&self, form: &Form, claims: &Value, forged: &[Forge]) -> Form {
        let hint = self.hint(claims, forged);
        let nonce = self.count.get().to_string();
        let fresh = |(name, value): &(String, String)| {
            (name.clone(), value.replace("{hint}", &hint).replace("{nonce}", &nonce))
        };
        form.iter().map(fresh).collect()
    }
}

#[tokio::test]
async fn no_key_but_the_directorys_own_makes_a_hint_and_none_is_a_secret() {
    let bench = Bench::new().await;
    let (forms, hints) = bench.corpus();
    let head = |name: &str, value: &str| Forge::Member(true, name.to_owned(), json!(value));
    let claim = |name: &str, value: String| Forge::Member(false, name.to_owned(), json!(value));
    let consumers = || vec![head("kid", CONSUMERS_KID), Forge::Signed(By::ConsumersKey)];
    let of_consumers =
        [claim("tid", CONSUMERS.to_owned()), claim("iss", format!("{AUTHORITY}/{CONSUMERS}/v2.0"))];
    let bad = [
        // a key for private accounts, on a hint of the directory; and on one of theirs
        consumers(),
        consumers().into_iter().chain(of_consumers.clone()).collect(),
        of_consumers.to_vec(),
        vec![Forge::Signed(By::ConsumersKey)],
        // the public key as a shared secret (RFC 8725 §2.1)
        vec![head("alg", "HS256"), Forge::Signed(By::PublicKey)],
        vec![Forge::Signed(By::PublicKey)],
        vec![head("alg", "none"), Forge::Signed(By::Nothing)],
    ];
    for forged in &bad {
        let form = bench.filled(&forms[0], &hints[0], forged);
        let response = bench.world.post(PATH, &form, false).await;
        let Goes::By(action, fields) = Goes::of(&response) else { panic!("{forged:?}") };
        assert_eq!((action.as_str(), one(&fields, "error")), (ANSWERS, Some("access_denied")));
        assert_eq!(one(&fields, "id_token"), None);
    }
    let good = bench.filled(&forms[0], &hints[0], &[]);
    assert!(bench.holds(&good).await, "the same without");
    assert_eq!(bench.world.created().await, 0);
}

#[test]
fn only_a_hint_of_the_directory_leads_to_a_sign_in() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bench = runtime.block_on(Bench::new());
    let (forms, hints) = bench.corpus();
    let signed_in = Cell::new(0);
    let tries = |form: &Form, claims: &Value, forged: &[Forge], changes: &[Change]| {
        let form = bench.filled(form, claims, forged);
        let leads = runtime.block_on(bench.holds(&changed(&form, changes)));
        signed_in.set(signed_in.get() + u32::from(leads));
        leads
    };
    assert!(tries(&forms[0], &hints[0], &[], &[]), "the first ones are good");
    for form in &forms {
        tries(form, &hints[0], &[], &[]);
    }
    for claims in &hints[1..] {
        assert!(!tries(&forms[0], claims, &[], &[]), "{claims}");
    }
    let forged = proptest::collection::vec(forge(), 0..3);
    let strategy = (any::<Index>(), any::<Index>(), forged, changes(WORDS), any::<bool>());
    let mut runner = runner(file!(), 2_000, 50_000);
    let tried = runner.run(&strategy, |(form, claims, forged, changes, both)| {
        // mostly one of both: where much is wrong, the first thing hides the rest
        let changes = if both || forged.is_empty() { changes } else { Vec::new() };
        let claims = if both { claims.get(&hints) } else { &hints[0] };
        tries(form.get(&forms), claims, &forged, &changes);
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(signed_in.get() > 20, "{}: too few are good enough to show anything", signed_in.get());
    println!("counted: {} of {} hints led to a sign-in", signed_in.get(), bench.count.get());
    assert_eq!(
        runtime.block_on(bench.world.created()),
        0,
        "nobody is asked before a page is opened"
    );
}
