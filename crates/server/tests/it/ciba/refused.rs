//! What is wrong with a request, and which error says so. Nobody rings, nothing is created.

use serde_json::{Value, json};

use super::client::{ASK, GRANT, fields};
use crate::oidc::client::{Party, now_s, refused};
use crate::oidc::refused::nobody_asked;

#[tokio::test]
async fn every_wrong_request_has_its_error() {
    let party = Party::ciba("ciba-refused", &[]).await;
    let (long, token) = ("x".repeat(21), "x".repeat(3000));
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("scope", "")], "invalid_request"),
        (&[("scope", "profile")], "invalid_scope"),
        (&[("scope", "openidx")], "invalid_scope"),
        (&[("login_hint", "")], "invalid_request"),
        (&[("id_token_hint", "x.y.z")], "invalid_request"),
        (&[("login_hint_token", "x.y.z")], "invalid_request"),
        (&[("login_hint", ""), ("id_token_hint", "x.y.z")], "invalid_request"),
        (&[("login_hint", ""), ("login_hint_token", "x.y.z")], "invalid_request"),
        (
            &[("login_hint", ""), ("id_token_hint", "x.y.z"), ("login_hint_token", "x.y.z")],
            "invalid_request",
        ),
        (&[("login_hint", "a\u{202e}b")], "invalid_request"),
        (&[("login_hint", "name:")], "invalid_request"),
        (&[("binding_message", &long)], "invalid_binding_message"),
        (&[("binding_message", " ")], "invalid_binding_message"),
        (&[("binding_message", "a\u{202e}b")], "invalid_binding_message"),
        (&[("binding_message", "a\nb")], "invalid_binding_message"),
        (&[("requested_expiry", "0")], "invalid_request"),
        (&[("requested_expiry", "-1")], "invalid_request"),
        (&[("requested_expiry", "1.5")], "invalid_request"),
        (&[("requested_expiry", "soon")], "invalid_request"),
        (&[("request", "x.y.z")], "invalid_request"),
        (&[("request_uri", "https://rp.example/request")], "invalid_request"),
        (&[("client_id", "int_other")], "invalid_request"),
        (&[("login_hint", &token)], "invalid_request"),
    ];
    for (changed, error) in rows {
        let reply = party.try_ask(changed).await;
        assert_eq!(reply.json()["error"], *error, "{changed:?}");
        refused(&reply, 400, error);
    }
    let twice = [("scope", "openid"), ("login_hint", "alice"), ("login_hint", "bob")];
    refused(&party.post(ASK, &twice, true).await, 400, "invalid_request");
    let json = http::Request::builder().method("POST").header("content-type", "application/json");
    refused(&party.world.rest.raw(json, ASK, "{}".into()).await, 400, "invalid_request");
    let reply = party.post(ASK, &fields(&[]), false).await;
    refused(&reply, 401, "invalid_client");
    assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "));
    let reply = party.post(ASK, &fields(&[("client_id", &party.id)]), false).await;
    refused(&reply, 401, "invalid_client");
    nobody_asked(&party).await;
}

#[tokio::test]
async fn whoever_is_no_client_of_ciba_asks_nobody() {
    let mut party = Party::new("ciba-kinds").await;
    refused(&party.try_ask(&[]).await, 400, "unauthorized_client");
    let shop = party.world.server.admin(&["integration", "show", "shop"]).await.unwrap();
    party.id = shop["integration"].as_str().unwrap().to_owned();
    party.secret = party.world.own_key.clone();
    refused(&party.try_ask(&[]).await, 401, "invalid_client");
    party.secret = "csk_wrong".to_owned();
    refused(&party.try_ask(&[]).await, 401, "invalid_client");
    nobody_asked(&party).await;
}

#[tokio::test]
async fn every_wrong_poll_has_its_error() {
    let party = Party::ciba("ciba-polls", &[]).await;
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[], "invalid_request"),
        (&[("grant_type", GRANT)], "invalid_request"),
        (&[("grant_type", GRANT), ("auth_req_id", "")], "invalid_request"),
        (&[("grant_type", GRANT), ("auth_req_id", "x")], "invalid_grant"),
        (&[("grant_type", "refresh_token")], "unsupported_grant_type"),
        (&[("grant_type", "authorization_code"), ("code", "x")], "unauthorized_client"),
    ];
    for (fields, error) in rows {
        refused(&party.post("/oidc/token", fields, true).await, 400, error);
    }
    let grant = [("grant_type", GRANT), ("auth_req_id", "x")];
    refused(&party.post("/oidc/token", &grant, false).await, 401, "invalid_client");
}

#[tokio::test]
async fn an_id_token_and_a_token_of_the_clients_own_name_the_user() {
    let mut party = Party::ciba("ciba-hints", &[]).await;
    let given = party.ask(&[]).await;
    party.types(&given).await;
    let tokens = party.poll(&given.id).await.json();
    let hint = tokens["id_token"].as_str().unwrap().to_owned();
    let given = party.ask(&[("login_hint", ""), ("id_token_hint", &hint)]).await;
    party.types(&given).await;
    assert_eq!(party.poll(&given.id).await.status, 200);

    let now = now_s();
    let token = |changed: Value| {
        let claims =
            json!({"iss": party.id, "aud": party.issuer(), "sub": "alice", "exp": now + 60});
        party.sign(&changed_in(claims, changed))
    };
    let good = token(json!({}));
    let rows = [
        (token(json!({"exp": now - 1})), "expired_login_hint_token"),
        (token(json!({"exp": null})), "invalid_request"),
        (token(json!({"iss": "int_other"})), "invalid_request"),
        (token(json!({"aud": "https://other.example"})), "invalid_request"),
        (token(json!({"sub": null})), "invalid_request"),
        (format!("{}A", token(json!({}))), "invalid_request"),
        (hint.clone(), "invalid_request"),
    ];
    let before = party.created().await.len();
    for (token, error) in &rows {
        let reply = party.try_ask(&[("login_hint", ""), ("login_hint_token", token)]).await;
        refused(&reply, 400, error);
    }
    // another client's ID token, and one that nobody signed
    let own = (party.id.clone(), party.secret.clone());
    let other = ["integration", "create", "--name", "other", "--kind", "ciba"];
    let other = party.world.server.admin(&other).await.unwrap();
    let text = |name: &str| other[name].as_str().unwrap().to_owned();
    (party.id, party.secret) = (text("client_id"), text("client_secret"));
    let foreign = party.try_ask(&[("login_hint", ""), ("id_token_hint", &hint)]).await;
    refused(&foreign, 400, "invalid_request");
    (party.id, party.secret) = own;
    assert_eq!(party.created().await.len(), before);
    let given = party.ask(&[("login_hint", ""), ("login_hint_token", &good)]).await;
    party.types(&given).await;
    assert_eq!(party.poll(&given.id).await.status, 200);
}

fn changed_in(mut claims: Value, changed: Value) -> Value {
    let Value::Object(changed) = changed else { return claims };
    for (name, value) in changed {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(&name)),
            value => claims[name] = value,
        }
    }
    claims
}

impl Party {
    fn ciba_object(&self, changed: Value) -> Value {
        let now = now_s();
        let claims = json!({
            "iss": self.id, "aud": self.issuer(), "exp": now + 60, "iat": now, "nbf": now,
            "jti": format!("{now}-{changed}"), "scope": "openid", "login_hint": "alice",
            "requested_expiry": 100, "binding_message": "1234",
        });
        changed_in(claims, changed)
    }
}

#[tokio::test]
async fn a_signed_request_is_used_once_and_stands_alone() {
    let mut party = Party::ciba("ciba-signed", &[]).await;
    let object = party.sign(&party.ciba_object(json!({})));
    let bare = [("request", object.as_str())];
    let beside: &[&[(&str, &str)]] = &[
        &[("login_hint", "alice")],
        &[("scope", "openid")],
        &[("binding_message", "x")],
        &[("anything", "x")],
    ];
    for more in beside {
        let reply = party.post(ASK, &[&bare, *more].concat(), true).await;
        refused(&reply, 400, "invalid_request");
    }
    nobody_asked(&party).await;
    let given = super::client::Given::of(&party.post(ASK, &bare, true).await);
    assert!((99..=100).contains(&given.expires_in));
    party.types(&given).await;
    assert_eq!(party.poll(&given.id).await.status, 200);
    refused(&party.post(ASK, &bare, true).await, 400, "invalid_request");
    // the same id in another one
    let again = party.ciba_object(json!({"jti": "once", "binding_message": "a"}));
    let given = party.post(ASK, &[("request", &party.sign(&again))], true).await;
    assert_eq!(given.status, 200);
    let again = party.ciba_object(json!({"jti": "once", "binding_message": "b"}));
    let reply = party.post(ASK, &[("request", &party.sign(&again))], true).await;
    refused(&reply, 400, "invalid_request");
}

#[tokio::test]
async fn a_signed_request_that_does_not_hold_is_refused() {
    let party = Party::ciba("ciba-object", &[]).await;
    let now = now_s();
    let rows = [
        (json!({"iss": "int_other"}), "invalid_request"),
        (json!({"iss": null}), "invalid_request"),
        (json!({"aud": "https://other.example"}), "invalid_request"),
        (json!({"aud": null}), "invalid_request"),
        (json!({"exp": now - 1}), "invalid_request"),
        (json!({"exp": now + 3661}), "invalid_request"),
        (json!({"exp": null}), "invalid_request"),
        (json!({"exp": "soon"}), "invalid_request"),
        (json!({"nbf": now + 300}), "invalid_request"),
        (json!({"nbf": null}), "invalid_request"),
        (json!({"iat": now + 300}), "invalid_request"),
        (json!({"iat": null}), "invalid_request"),
        (json!({"jti": null}), "invalid_request"),
        (json!({"jti": ""}), "invalid_request"),
        (json!({"request": "x.y.z"}), "invalid_request"),
        (json!({"scope": ["openid"]}), "invalid_request"),
        (json!({"scope": null}), "invalid_request"),
        (json!({"scope": "profile"}), "invalid_scope"),
        (json!({"login_hint": null}), "invalid_request"),
        (json!({"id_token_hint": "x.y.z"}), "invalid_request"),
        (json!({"requested_expiry": 0}), "invalid_request"),
        (json!({"requested_expiry": "x"}), "invalid_request"),
        (json!({"binding_message": "x".repeat(30)}), "invalid_binding_message"),
    ];
    for (row, error) in rows {
        let object = party.sign(&party.ciba_object(row.clone()));
        let reply = party.post(ASK, &[("request", &object)], true).await;
        assert_eq!(reply.json()["error"], error, "{row}");
        refused(&reply, 400, error);
    }
    let good = party.ciba_object(json!({}));
    for (what, object) in party.forged(&good) {
        let reply = party.post(ASK, &[("request", &object)], true).await;
        assert_eq!(reply.status, 400, "{what}");
        refused(&reply, 400, "invalid_request");
    }
    nobody_asked(&party).await;
}

#[tokio::test]
async fn an_assertion_for_each_of_our_names_proves_the_client_once() {
    let party = Party::ciba("ciba-assertion", &[]).await;
    let now = now_s();
    let assertion = |aud: String, jti: &str| {
        party.sign(&json!({
            "iss": party.id, "sub": party.id, "aud": aud, "exp": now + 60, "iat": now, "jti": jti,
        }))
    };
    let send = async |assertion: &str| {
        let proof = [
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ];
        party.post(ASK, &[&fields(&[]), &proof[..]].concat(), false).await
    };
    let issuer = party.issuer();
    for other in
        ["https://other.example".to_owned(), format!("{issuer}/entra"), format!("{issuer}/")]
    {
        refused(&send(&assertion(other, "0")).await, 401, "invalid_client");
    }
    let claims = json!({
        "iss": party.id, "sub": party.id, "aud": issuer, "exp": now + 60, "iat": now, "jti": "0",
    });
    for (what, forged) in party.forged(&claims) {
        let reply = send(&forged).await;
        assert_eq!(reply.status, 401, "{what}");
        refused(&reply, 401, "invalid_client");
    }
    nobody_asked(&party).await;
    let names = [issuer.to_owned(), format!("{issuer}/oidc/token"), format!("{issuer}{ASK}")];
    for (nth, aud) in names.into_iter().enumerate() {
        let assertion = assertion(aud, &format!("jti {nth}"));
        assert_eq!(send(&assertion).await.status, 200);
        refused(&send(&assertion).await, 401, "invalid_client");
    }
}

#[tokio::test]
async fn what_is_taken_is_announced() {
    let party = Party::ciba("ciba-metadata", &[]).await;
    let metadata =
        party.world.rest.send("", "GET", "/.well-known/openid-configuration", &Value::Null);
    let metadata = metadata.await.json();
    let issuer = party.issuer();
    assert_eq!(metadata["backchannel_authentication_endpoint"], format!("{issuer}{ASK}"));
    assert_eq!(metadata["backchannel_token_delivery_modes_supported"], json!(["poll", "ping"]));
    assert_eq!(metadata["backchannel_user_code_parameter_supported"], true);
    let signing = &metadata["backchannel_authentication_request_signing_alg_values_supported"];
    assert_eq!(signing, &json!(["RS256", "PS256", "ES256", "EdDSA"]));
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(GRANT)));
}
