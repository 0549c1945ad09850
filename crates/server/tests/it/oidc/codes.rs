//! The code flow: what a good request comes to, and that a code works once.

use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::client::{Party, REDIRECT, USER, VERIFIER, now_s, refused};

#[tokio::test]
async fn a_pushed_request_rings_and_comes_to_an_id_token() {
    let mut party = Party::new("oidc-code").await;
    let began = now_s();
    let form = party.signs_in(&[("max_age", "0")]).await;
    assert_eq!((form.method.as_str(), form.action.as_str()), ("get", "https://rp.example/cb"));
    assert_eq!(form.fields["app"], "1", "the address' own query goes along");
    assert_eq!(form.fields["state"], "a state&?");
    assert_eq!(form.fields["iss"], party.issuer());
    let reply = party.exchange(&form.fields["code"]).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.headers["cache-control"], "no-store");
    assert!(reply.headers["content-type"].to_str().unwrap().starts_with("application/json"));
    let tokens = reply.json();
    assert_eq!(tokens["token_type"], "Bearer");
    assert!(tokens["refresh_token"].is_null() && tokens["expires_in"] == 300);
    let claims = party.verified(tokens["id_token"].as_str().unwrap(), Algorithm::RS256).await;
    assert_eq!(claims["nonce"], "a nonce");
    assert_eq!(claims["amr"], json!(["swk", "pop", "user"]));
    assert_eq!(claims["acr"], "urn:countersign:acr:number-match");
    assert_eq!(claims["preferred_username"], USER);
    let at = claims["auth_time"].as_u64().unwrap();
    assert!((began..=now_s()).contains(&at));
    assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() == 300);

    let access = tokens["access_token"].as_str().unwrap();
    let info = party.userinfo(access).await;
    assert_eq!((info.status, &info.json()["sub"]), (200, &claims["sub"]));
    assert_eq!(info.headers["content-type"], "application/json");
    assert_eq!(party.userinfo("nothing").await.status, 401);

    // a second use ends what the first one got
    refused(&party.exchange(&form.fields["code"]).await, 400, "invalid_grant");
    let info = party.userinfo(access).await;
    assert_eq!(info.status, 401);
    assert!(info.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));
}

#[tokio::test]
async fn the_form_can_be_posted_and_the_token_signed_with_es256() {
    let mut party = Party::with("oidc-es256", &["--id-token-alg", "ES256"]).await;
    let form = party.signs_in(&[("response_mode", "form_post")]).await;
    assert_eq!((form.method.as_str(), form.action.as_str()), ("post", REDIRECT));
    let tokens = party.exchange(&form.fields["code"]).await.json();
    party.verified(tokens["id_token"].as_str().unwrap(), Algorithm::ES256).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_thirty_exchanges_at_once_one_wins() {
    let mut party = Party::new("oidc-race").await;
    let form = party.signs_in(&[]).await;
    let (party, code) = (Arc::new(party), form.fields["code"].clone());
    let tries = (0..30).map(|_| {
        let (party, code) = (Arc::clone(&party), code.clone());
        tokio::spawn(async move { party.exchange(&code).await })
    });
    let mut won = 0;
    for reply in tries.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        if reply.status == 200 {
            won += 1;
        } else {
            refused(&reply, 400, "invalid_grant");
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_code_is_for_one_client_one_address_and_one_verifier() {
    let mut party = Party::new("oidc-bound").await;
    for (name, value) in [
        ("code_verifier", "another-verifier-of-forty-three-characters-at-least"),
        ("code_verifier", "short"),
        ("redirect_uri", "https://rp.example/cb"),
    ] {
        let form = party.signs_in(&[]).await;
        let code = &form.fields["code"];
        refused(&party.exchange_with(code, &[(name, value)]).await, 400, "invalid_grant");
        refused(&party.exchange(code).await, 400, "invalid_grant");
    }
    let form = party.signs_in(&[]).await;
    let code = &form.fields["code"];
    let other =
        ["integration", "create", "--name", "x", "--kind", "oidc", "--redirect-uri", REDIRECT];
    let other = party.world.server.admin(&other).await.unwrap();
    let text = |name: &str| other[name].as_str().unwrap().to_owned();
    let own = (party.id.clone(), party.secret.clone());
    (party.id, party.secret) = (text("client_id"), text("client_secret"));
    refused(&party.exchange(code).await, 400, "invalid_grant");
    (party.id, party.secret) = own;
    assert_eq!(party.exchange(code).await.status, 200, "a stranger's try changes nothing");
}

#[tokio::test]
async fn every_wrong_exchange_has_its_error() {
    let party = Party::new("oidc-token").await;
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("grant_type", "")], "invalid_request"),
        (&[("grant_type", "refresh_token")], "unsupported_grant_type"),
        (&[("grant_type", "password")], "unsupported_grant_type"),
        (&[("grant_type", "client_credentials")], "unsupported_grant_type"),
        (&[("code", "")], "invalid_request"),
        (&[("code", "nothing")], "invalid_grant"),
        (&[("redirect_uri", "")], "invalid_request"),
        (&[("code_verifier", "")], "invalid_request"),
        (&[("client_id", "int_other")], "invalid_request"),
    ];
    for (changed, error) in rows {
        let reply = party.exchange_with(&"A".repeat(43), changed).await;
        refused(&reply, 400, error);
    }
    let twice = [("grant_type", "authorization_code"), ("grant_type", "authorization_code")];
    refused(&party.post("/oidc/token", &twice, true).await, 400, "invalid_request");
    let reply = party.post("/oidc/token", &[("grant_type", "authorization_code")], false).await;
    refused(&reply, 401, "invalid_client");
    assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "));
    let json = http::Request::builder().method("POST").header("content-type", "application/json");
    let reply = party.world.rest.raw(json, "/oidc/token", "{}".into()).await;
    refused(&reply, 400, "invalid_request");
}

#[tokio::test]
async fn a_clients_secret_is_no_api_key_and_an_api_key_no_secret() {
    let mut party = Party::new("oidc-apart").await;
    let body = json!({"user": "name:alice", "context": {"browser_session": "x".repeat(22)}});
    let reply = party.world.rest.send(&party.secret, "POST", "/v1/challenges", &body).await;
    assert_eq!(reply.outcome(), "401 unauthenticated");
    let shop = party.world.server.admin(&["integration", "show", "shop"]).await.unwrap();
    let wrong = [
        (shop["integration"].as_str().unwrap().to_owned(), party.world.own_key.clone()),
        (party.id.clone(), party.world.own_key.clone()),
        (party.id.clone(), "csk_nothing".to_owned()),
        ("int_nobody".to_owned(), party.secret.clone()),
    ];
    for (id, secret) in wrong {
        (party.id, party.secret) = (id, secret);
        refused(&party.exchange("x").await, 401, "invalid_client");
    }
}

#[tokio::test]
async fn discovery_says_what_is_there() {
    let party = Party::new("oidc-discovery").await;
    let get = |path: &'static str| {
        let rest = party.world.rest.clone();
        async move { rest.send("", "GET", path, &Value::Null).await }
    };
    let reply = get("/.well-known/openid-configuration").await;
    let length: usize = reply.headers["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(length, reply.body.len());
    let document = reply.json();
    assert_eq!(document["issuer"], party.issuer());
    for (name, path) in [
        ("authorization_endpoint", "/oidc/authorize"),
        ("token_endpoint", "/oidc/token"),
        ("jwks_uri", "/oidc/jwks.json"),
        ("userinfo_endpoint", "/oidc/userinfo"),
        ("pushed_authorization_request_endpoint", "/oidc/par"),
    ] {
        assert_eq!(document[name], format!("{}{path}", party.issuer()));
    }
    let set = get("/oidc/jwks.json").await.json();
    let keys = set["keys"].as_array().unwrap();
    let algorithms: Vec<&str> = keys.iter().map(|key| key["alg"].as_str().unwrap()).collect();
    assert_eq!(algorithms, ["ES256", "RS256"]);
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key[private].is_null());
        }
        assert!(key["x5c"][0].is_string() && key["kid"].is_string() && key["use"] == "sig");
    }
    let _ = VERIFIER;
}

#[tokio::test]
async fn a_rotation_publishes_ahead_and_signs_later() {
    let mut party = Party::new("oidc-rotation").await;
    let keys = async |party: &Party, verb: &str| {
        let shown = party.world.server.admin(&["keys", verb]).await?;
        Ok::<_, server::demo::child::ChildError>(shown["token"].as_array().unwrap().clone())
    };
    let before = keys(&party, "list").await.unwrap();
    assert_eq!(before.len(), 2);
    assert!(before.iter().all(|key| key["signs"] == true));
    let after = keys(&party, "rotate").await.unwrap();
    assert_eq!(after.len(), 4);
    let signing: Vec<_> = after.iter().filter(|key| key["signs"] == true).collect();
    assert_eq!(signing.len(), 2);
    assert!(signing.iter().all(|key| key["number"] == 1 && key["published_until"].is_string()));
    let set = party.world.rest.send("", "GET", "/oidc/jwks.json", &Value::Null).await.json();
    assert_eq!(set["keys"].as_array().unwrap().len(), 4);
    let again = keys(&party, "rotate").await.unwrap_err().to_string();
    assert!(again.contains("the last rotation isn't over"), "{again}");
    let form = party.signs_in(&[]).await;
    let tokens = party.exchange(&form.fields["code"]).await.json();
    let token = tokens["id_token"].as_str().unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert!(signing.iter().any(|key| key["kid"] == header.kid.as_deref().unwrap()));
    party.verified(token, Algorithm::RS256).await;
}
