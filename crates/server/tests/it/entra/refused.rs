//! The negative matrix: each row wrong in one thing, each answer exact, nobody asked.

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use super::directory::{APP, Directory, TENANT};
use crate::oidc::client::now_s;

#[tokio::test]
async fn a_foreign_client_or_address_ends_on_a_page() {
    let directory = Directory::linked("entra-page").await;
    let answers = directory.answers();
    let shop = directory.world.server.admin(&["integration", "show", "shop"]).await.unwrap();
    let shop = shop["integration"].as_str().unwrap().to_owned();
    let base = directory.fake.url().to_owned();
    let rows = [
        ("client_id", String::new()),
        ("client_id", "int_nobody".to_owned()),
        ("client_id", shop),
        ("client_id", directory.client.to_uppercase()),
        ("redirect_uri", String::new()),
        ("redirect_uri", format!("{answers}/")),
        ("redirect_uri", format!("{answers}?x=1")),
        ("redirect_uri", format!("{answers}#x")),
        ("redirect_uri", format!("{base}/common/federation/ExternalAuthProvider")),
        ("redirect_uri", format!("{base}/common/federation")),
        ("redirect_uri", answers.replace("http://", "https://")),
        ("redirect_uri", format!("{base}.evil.example/common/federation/externalauthprovider")),
        (
            "redirect_uri",
            "https://login.microsoftonline.com/common/federation/externalauthprovider".to_owned(),
        ),
        ("redirect_uri", "https://evil.example/".to_owned()),
    ];
    for (name, value) in rows {
        let fields = directory.fields(&[(name, &value)]);
        let page = directory.post(&mut directory.browser(), &fields).await;
        assert_eq!(page.reply.status, 400, "{name}={value}");
        assert!(page.form().is_none() && page.location().is_none(), "{name}={value}");
    }
    let mut fields = directory.fields(&[]);
    fields.push(("redirect_uri".to_owned(), answers));
    let page = directory.post(&mut directory.browser(), &fields).await;
    assert!(page.reply.status == 400 && page.form().is_none());
    let json = http::Request::builder().method("POST").header("content-type", "application/json");
    let reply = directory.world.rest.raw(json, "/entra/authorize", "{}".into()).await;
    assert_eq!(reply.status, 415);
    let large = directory.fields(&[("claims", &"x".repeat(70_000))]);
    let page = directory.post(&mut directory.browser(), &large).await;
    assert!(page.reply.status == 413 && page.form().is_none());
    assert_eq!(directory.created().await, 0);
}

#[tokio::test]
async fn a_wrong_parameter_is_told_as_access_denied() {
    let directory = Directory::linked("entra-params").await;
    let claims = |text: &str| text.to_owned();
    let rows = [
        ("response_type", claims("")),
        ("response_type", claims("code")),
        ("response_type", claims("id_token token")),
        ("response_mode", claims("")),
        ("response_mode", claims("query")),
        ("response_mode", claims("fragment")),
        ("scope", claims("")),
        ("scope", claims("profile")),
        ("id_token_hint", claims("")),
        ("claims", claims("[]")),
        ("claims", claims("7")),
        ("claims", claims("{")),
        ("claims", claims(r#"{"id_token":[]}"#)),
        ("claims", claims(r#"{"id_token":{"acr":{"values":["inherence"]}}}"#)),
        (
            "claims",
            claims(r#"{"id_token":{"acr":{"values":["knowledge","knowledgeorinherence"]}}}"#),
        ),
        ("claims", claims(r#"{"id_token":{"amr":{"values":["face","fido"]}}}"#)),
        ("claims", claims(r#"{"id_token":{"acr":{"values":[1]}}}"#)),
    ];
    for (name, value) in rows {
        let fields = directory.fields(&[(name, &value), ("state", "s")]);
        let page = directory.post(&mut directory.browser(), &fields).await;
        directory.is_told(&page.leads_back(), "access_denied", Some("s"));
    }
    // without a state none comes back
    let fields = directory.fields(&[("state", ""), ("response_type", "code")]);
    let page = directory.post(&mut directory.browser(), &fields).await;
    directory.is_told(&page.leads_back(), "access_denied", None);
    let mut twice = directory.fields(&[("state", "s")]);
    twice.push(("nonce".to_owned(), "x".to_owned()));
    let page = directory.post(&mut directory.browser(), &twice).await;
    directory.is_told(&page.leads_back(), "access_denied", Some("s"));
    // Microsoft's own page writes it so
    let fields = directory.fields(&[("response_type", "Id_token"), ("more", "x")]);
    directory.post(&mut directory.browser(), &fields).await.waits();
    assert_eq!(directory.created().await, 1);
}

#[tokio::test]
async fn a_wrong_hint_is_told_as_access_denied() {
    let directory = Directory::linked("entra-hint").await;
    let now = now_s();
    let base = directory.fake.url().to_owned();
    let other = "99999999-2222-4333-8444-555555555555";
    let consumers = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let rows = [
        json!({"iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0")}),
        json!({"iss": format!("{base}/{other}/v2.0")}),
        json!({"iss": format!("{base}/{TENANT}/v1.0")}),
        json!({"iss": format!("{base}/{TENANT}/v2.0/")}),
        json!({"iss": null}),
        json!({"tid": other}),
        json!({"tid": other, "iss": format!("{base}/{other}/v2.0")}),
        json!({"tid": consumers, "iss": format!("{base}/{consumers}/v2.0")}),
        json!({"tid": TENANT.replace('-', "")}),
        json!({"tid": "../x"}),
        json!({"tid": null}),
        json!({"tid": 7}),
        json!({"aud": "77777777-7777-4888-9999-000000000000"}),
        json!({"aud": directory.client}),
        json!({"aud": [APP]}),
        json!({"aud": null}),
        json!({"iat": now - 601 - 5}),
        json!({"iat": now + 301 + 60}),
        json!({"iat": null}),
        json!({"iat": "now"}),
        json!({"nbf": now + 301 + 60}),
        json!({"nbf": "now"}),
        json!({"oid": null}),
        json!({"oid": "alice"}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "x".repeat(300)}),
        json!({"ver": "1.0"}),
    ];
    let rows = rows.into_iter().map(|row| (row.to_string(), directory.hint(row)));
    let bad: Vec<(String, String)> = rows.chain(forged(&directory)).collect();
    for (what, hint) in bad {
        let fields = directory.fields(&[("id_token_hint", &hint), ("state", "s")]);
        let page = directory.post(&mut directory.browser(), &fields).await;
        assert!(page.form().is_some(), "{what}: {}", page.text);
        directory.is_told(&page.leads_back(), "access_denied", Some("s"));
    }
    assert_eq!(directory.created().await, 0);
    // what may be: a hint that has expired, that is some minutes old, without nbf
    for row in [
        json!({"exp": now - 3600}),
        json!({"iat": now - 590, "nbf": null}),
        json!({"iat": now + 200}),
    ] {
        let hint = directory.hint(row.clone());
        let fields = directory.fields(&[("id_token_hint", &hint)]);
        let page = directory.post(&mut directory.browser(), &fields).await;
        assert!(page.number().is_some(), "{row}: {}", page.text);
    }
}

/// Hints whose signature isn't what it should be, and what isn't a hint at all.
fn forged(directory: &Directory) -> Vec<(String, String)> {
    let good = directory.hint(json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let encode = |text: String| BASE64URL_NOPAD.encode(text.as_bytes());
    let kid = jsonwebtoken::decode_header(&good).unwrap().kid.unwrap();
    let bad = [
        ("no signature", format!("{signed}.")),
        (
            "alg none",
            format!("{}.{payload}.", encode(format!(r#"{{"alg":"none","kid":"{kid}"}}"#))),
        ),
        (
            "another alg",
            format!(
                "{}.{payload}.{signature}",
                encode(format!(r#"{{"alg":"PS256","kid":"{kid}"}}"#))
            ),
        ),
        (
            "unknown kid",
            format!("{}.{payload}.{signature}", encode(r#"{"alg":"RS256","kid":"x"}"#.to_owned())),
        ),
        ("no kid", format!("{}.{payload}.{signature}", encode(r#"{"alg":"RS256"}"#.to_owned()))),
        (
            "crit",
            format!(
                "{}.{payload}.{signature}",
                encode(format!(r#"{{"alg":"RS256","kid":"{kid}","crit":["x"]}}"#))
            ),
        ),
        ("swapped payload", {
            let other = directory.hint(json!({"sub": "somebody-else"}));
            format!("{header}.{}.{signature}", other.split('.').nth(1).unwrap())
        }),
        ("two parts", signed.to_owned()),
        ("nothing", "x".to_owned()),
        ("five parts", "a.b.c.d.e".to_owned()),
    ];
    let mut bad: Vec<(String, String)> =
        bad.into_iter().map(|(what, token)| (what.to_owned(), token)).collect();
    let secret = jsonwebtoken::EncodingKey::from_secret(kid.as_bytes());
    let mut hs256 = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    hs256.kid = Some(kid);
    let claims = directory.fake.claims();
    let hs256 = jsonwebtoken::encode(&hs256, &claims, &secret).unwrap();
    bad.push(("HS256".to_owned(), hs256));
    bad
}
