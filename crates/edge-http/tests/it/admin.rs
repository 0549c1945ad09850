//! The operators' edge: every verb, as `countersign admin` prints it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{NO_CHALLENGE, World, members, text};

#[tokio::test]
async fn tenants_are_made_listed_and_shown() {
    let world = World::new().await;
    let made = world.admin("POST", "/tenants", json!({ "name": "acme" })).await.ok(201);
    assert_eq!(members(&made), ["tenant"]);
    let listed = world.admin("GET", "/tenants", Value::Null).await.ok(200);
    let names: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|t| text(&t["name"])).collect();
    assert_eq!(names, ["default", "acme"]);
    for named in ["acme", text(&made["tenant"])] {
        let shown = world.admin("GET", &format!("/tenants/{named}"), Value::Null).await;
        assert_eq!(shown.ok(200)["tenant"], made["tenant"]);
    }
    let again = world.admin("POST", "/tenants", json!({ "name": "acme" })).await;
    again.refused(409, "name_taken");
    let unknown = world.admin("GET", "/users?tenant=nobody", Value::Null).await;
    unknown.refused(404, "not_found");
}

#[tokio::test]
async fn an_integration_has_what_it_was_registered_with() {
    let world = World::new().await;
    let new = json!({
        "name": "vpn", "kind": "api", "purposes": ["sign_in", "reset"], "methods": ["push", "totp"],
        "scopes": ["users:write", "challenges", "users:write"], "verifies_first_factor": true, "reveal_users": true,
    });
    let made = world.admin("POST", "/integrations", new).await.ok(201);
    assert_eq!(members(&made), ["api_key", "integration", "warning"]);
    assert!(text(&made["api_key"]).starts_with("csk_"));
    for named in ["vpn", text(&made["integration"])] {
        let shown =
            world.admin("GET", &format!("/integrations/{named}"), Value::Null).await.ok(200);
        let expected = json!({
            "integration": made["integration"], "name": "vpn", "kind": "api",
            "purposes": ["sign_in", "reset"],
            "methods": ["push", "totp"], "scopes": ["users:write", "challenges"],
            "verifies_first_factor": true, "reveal_users": true, "created_at": world.time(),
        });
        assert_eq!(shown, expected);
    }
    let plain = world.admin("POST", "/integrations", json!({ "name": "b" })).await.ok(201);
    assert_eq!(members(&plain), ["api_key", "integration"]);
    let shown = world.admin("GET", "/integrations/b", Value::Null).await.ok(200);
    assert_eq!(shown["scopes"], json!(["challenges"]));
    assert_eq!(shown["purposes"], json!([]));
    let listed = world.admin("GET", "/integrations", Value::Null).await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    let taken = world.admin("POST", "/integrations", json!({ "name": "vpn" })).await;
    taken.refused(409, "name_taken");
}

#[tokio::test]
async fn an_integration_that_can_not_be_is_refused_by_its_field() {
    let world = World::new().await;
    let with = |base: &Value, name: &str, value: Value| {
        let mut body = base.clone();
        body[name] = value;
        body
    };
    let oidc = json!({ "name": "c", "kind": "oidc", "redirect_uris": ["https://rp.example/"] });
    let entra = json!({
        "name": "c", "kind": "entra", "tenant_ids": ["11111111-2222-4333-8444-555555555555"],
        "app_id": "66666666-7777-4888-9999-000000000000",
    });
    for (body, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "name": "c", "kind": "ciba", "tenant_ids": ["x"] }), "kind"),
        (json!({ "name": "c", "kind": "ciba", "mode": "push" }), "mode"),
        (json!({ "name": "c", "kind": "ciba", "mode": "ping" }), "notification_url"),
        (json!({ "name": "c", "kind": "ciba", "methods": ["totp"] }), "methods"),
        (json!({ "name": "c", "kind": "keycloak_ciba" }), "callback_url"),
        (json!({ "name": "c", "user_code": true }), "kind"),
        (json!({ "name": "c", "kind": "soap" }), "kind"),
        (json!({ "name": "c", "redirect_uris": ["https://rp.example/"] }), "kind"),
        (json!({ "name": "c", "kind": "entra", "redirect_uris": ["https://rp.example/"] }), "kind"),
        (json!({ "name": "c", "kind": "oidc" }), "redirect_uris"),
        (
            json!({ "name": "c", "kind": "oidc", "redirect_uris": ["http://rp.example/"] }),
            "redirect_uris",
        ),
        (with(&oidc, "jwks", json!({ "keys": [] })), "jwks"),
        (with(&oidc, "jwks", json!({ "keys": [{ "kty": "oct", "k": "AQAB" }] })), "jwks"),
        (with(&oidc, "jwks", json!({ "keys": [{ "kty": "EC", "d": "AQAB" }] })), "jwks"),
        (with(&oidc, "id_token_alg", json!("HS256")), "id_token_alg"),
        (with(&oidc, "verifies_first_factor", json!(true)), "verifies_first_factor"),
        (with(&oidc, "cloud", json!("global")), "kind"),
        (json!({ "name": "c", "kind": "entra" }), "tenant_ids"),
        (with(&entra, "tenant_ids", json!(["common"])), "tenant_ids"),
        (with(&entra, "app_id", Value::Null), "app_id"),
        (with(&entra, "cloud", json!("moon")), "cloud"),
        (with(&entra, "cloud", json!("fake")), "fake"),
        (with(&entra, "fake", json!("http://127.0.0.1:1")), "fake"),
        (json!({ "name": "c", "purposes": ["fun"] }), "purposes[0]"),
        (json!({ "name": "c", "scopes": ["all"] }), "scopes"),
        (json!({ "name": "c", "methods": [] }), "methods"),
        (json!({ "name": "c", "colour": 1 }), "colour"),
        (json!({}), "name"),
    ] {
        let refused = world.admin("POST", "/integrations", body).await;
        assert_eq!(refused.refused(422, "invalid_request")["field"], field);
    }
}

#[tokio::test]
async fn two_keys_live_at_once() {
    let world = World::new().await;
    let first = world.key().await;
    let keys = "/integrations/vpn/keys";
    let second = world.admin("POST", keys, json!({})).await.ok(201);
    let second = text(&second["api_key"]).to_owned();
    world.admin("POST", keys, json!({})).await.refused(409, "limit_reached");
    world.create(&first, "alice", "s1").await;
    world.create(&second, "alice", "s2").await;
    let listed = world.admin("GET", keys, Value::Null).await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(&second), "a list shows a key");
    let hint = format!("{keys}/{}", &first[..12]);
    let shown = world.admin("GET", &hint, Value::Null).await.ok(200);
    assert_eq!((&shown["live"], text(&shown["key"])), (&json!(true), &first[..12]));
    let revoked = world.admin("DELETE", &hint, Value::Null).await.ok(200);
    assert_eq!(
        (&revoked["live"], text(&revoked["revoked_at"])),
        (&json!(false), world.time().as_str())
    );
    let asking = world.asking("alice", "s3");
    let refused = world.send(&first, "POST", "/v1/challenges", asking).await;
    refused.refused(401, "unauthenticated");
    world.create(&second, "alice", "s3").await;
    let past = json!({ "expires_at": "2020-01-01T00:00:00Z" });
    let refused = world.admin("POST", keys, past).await;
    assert_eq!(refused.refused(422, "invalid_request")["field"], "expires_at");
}

#[tokio::test]
async fn a_user_is_named_by_name_or_id() {
    let world = World::new().await;
    let made = world.admin("POST", "/users", json!({ "name": "alice" })).await.ok(201);
    assert_eq!(members(&made), ["user"]);
    let id = text(&made["user"]);
    assert!(id.starts_with("usr_"));
    for named in ["alice", "name:alice", id] {
        let shown = world.admin("GET", &format!("/users/{named}"), Value::Null).await.ok(200);
        assert_eq!(
            members(&shown),
            ["break_glass", "created_at", "enrolled", "methods", "name", "user"]
        );
        assert_eq!(text(&shown["user"]), id);
    }
    let again = world.admin("POST", "/users", json!({ "name": "alice" })).await;
    again.refused(409, "name_taken");
    let listed = world.admin("GET", "/users?limit=1", Value::Null).await.ok(200);
    assert_eq!(listed["data"][0]["user"], made["user"]);
    // other tenants have their own names
    world.admin("POST", "/tenants", json!({ "name": "acme" })).await.ok(201);
    world.admin("POST", "/users?tenant=acme", json!({ "name": "alice" })).await.ok(201);
}

#[tokio::test]
async fn a_ticket_goes_from_open_to_used() {
    let world = World::new().await;
    world.user("alice").await;
    let made = world.admin("POST", "/tickets", json!({ "user": "alice" })).await.ok(201);
    assert_eq!(members(&made), ["code", "expires_at", "link", "server_fingerprint", "ticket"]);
    let identity = world.app.vault().identity().identity_hash();
    assert_eq!(text(&made["server_fingerprint"]), statement::fingerprint(&identity));
    assert!(text(&made["ticket"]).starts_with("tik_"));
    let path = format!("/tickets/{}", text(&made["ticket"]));
    let state = async || {
        let shown = world.admin("GET", &path, Value::Null).await.ok(200);
        text(&shown["state"]).to_owned()
    };
    assert_eq!(state().await, "open");
    let phone = world.enrol(&made).await;
    assert_eq!(state().await, "used");
    let refused = world.admin("POST", "/tickets", json!({ "user": "alice" })).await;
    refused.refused(409, "reason_required");
    let quick = json!({ "user": "alice", "reason": "r", "no_confirm": true });
    let refused = world.admin("POST", "/tickets", quick).await;
    assert_eq!(refused.refused(422, "invalid_request")["field"], "no_confirm");
    let asked = json!({ "user": "alice", "reason": "second phone" });
    let second = world.admin("POST", "/tickets", asked).await.ok(201);
    let _claimed = world.claim(&second).await;
    let listed = world.admin("GET", "/tickets?user=alice", Value::Null).await.ok(200);
    let states: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|t| text(&t["state"])).collect();
    assert_eq!(states, ["used", "claimed"]);
    assert!(listed["data"][1].get("number").is_none(), "a list shows a number");
    world.pass(Duration::from_secs(5 * 60));
    let path = format!("/tickets/{}", text(&second["ticket"]));
    let shown = world.admin("GET", &path, Value::Null).await.ok(200);
    assert_eq!(shown["state"], "expired");
    assert_eq!(shown.get("number"), None);

    let devices = world.admin("GET", "/devices?user=alice", Value::Null).await.ok(200);
    assert_eq!(devices["data"][0]["device"], phone.id.to_string());
    let path = format!("/devices/{}", phone.id);
    let shown = world.admin("GET", &path, Value::Null).await.ok(200);
    assert_eq!(members(&shown), ["created_at", "device", "name", "user"]);
    for _ in 0..2 {
        let revoked = world.admin("DELETE", &path, Value::Null).await.ok(200);
        assert_eq!(text(&revoked["device"]), phone.id.to_string());
        assert!(revoked["revoked_at"].is_string());
    }
}

#[tokio::test]
async fn without_confirmation_only_for_who_has_nothing() {
    let world = World::new().await;
    world.user("alice").await;
    let asked = json!({ "user": "alice", "no_confirm": true });
    let made = world.admin("POST", "/tickets", asked).await.ok(201);
    let _claimed = world.claim(&made).await;
    let path = format!("/tickets/{}", text(&made["ticket"]));
    let shown = world.admin("GET", &path, Value::Null).await.ok(200);
    assert_eq!(shown.get("number"), None);
}

#[tokio::test]
async fn factors_are_made_shown_and_reset() {
    let world = World::new().await;
    world.user("alice").await;
    let totp = json!({ "user": "alice", "type": "totp" });
    let totp = world.admin("POST", "/factors", totp).await.ok(201);
    assert_eq!(members(&totp), ["factor", "otpauth_uri"]);
    let codes = json!({ "user": "alice", "type": "recovery_code" });
    let codes = world.admin("POST", "/factors", codes).await.ok(201);
    assert_eq!(members(&codes), ["codes", "factor"]);
    let listed = world.admin("GET", "/factors?user=alice", Value::Null).await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    for named in ["totp", text(&totp["factor"])] {
        let path = format!("/factors/{named}?user=alice");
        let shown = world.admin("GET", &path, Value::Null).await.ok(200);
        assert_eq!(shown["factor"], totp["factor"]);
    }
    let unknown = world.admin("GET", "/factors/fac_x?user=alice", Value::Null).await;
    unknown.refused(404, "not_found");
    let nobody = world.admin("GET", "/factors", Value::Null).await;
    assert_eq!(nobody.refused(422, "invalid_request")["field"], "user");
    let refused = world.admin("POST", "/factors/reset", json!({ "user": "alice" })).await;
    refused.refused(409, "reason_required");
    let asked = json!({ "user": "alice", "reason": "lost" });
    let user = world.admin("POST", "/factors/reset", asked).await.ok(200);
    assert_eq!(user["enrolled"], false);
    let listed = world.admin("GET", "/factors?user=alice", Value::Null).await.ok(200);
    assert_eq!(listed["data"], json!([]));
}

#[tokio::test]
async fn operators_see_the_log_and_why() {
    let world = World::new().await;
    let key = world.key().await;
    world.enrolled("alice").await;
    let real = world.create(&key, "alice", "s1").await;
    let decoy = world.create(&key, "nobody", "s1").await;
    for (challenge, start) in [(&real, "It rang"), (&decoy, "It was a decoy")] {
        let path = format!("/why/{}", text(&challenge["id"]));
        let why = world.admin("GET", &path, Value::Null).await.ok(200);
        assert_eq!(members(&why), ["challenge", "why"]);
        assert!(text(&why["why"]).starts_with(start), "{why}");
    }
    for unknown in ["x", NO_CHALLENGE] {
        let reply = world.admin("GET", &format!("/why/{unknown}"), Value::Null).await;
        reply.refused(404, "not_found");
    }
    let path = "/events?type=challenge_created&integration=vpn&user=alice";
    let events = world.admin("GET", path, Value::Null).await.ok(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 1);
    let made = world.admin("GET", "/events?type=integration_created", Value::Null).await.ok(200);
    assert_eq!(made["data"][0]["private"]["by"], "operator (uid 1000)");
}

#[tokio::test]
async fn a_checkpoint_is_signed_by_the_audit_key() {
    let world = World::new().await;
    world.key().await;
    let file = world.admin("POST", "/audit/checkpoint", Value::Null).await.ok(200);
    let file: edge_http::CheckpointFile = serde_json::from_value(file).unwrap();
    let signed = file.signed().unwrap();
    let audit_key = world.app.vault().audit_key();
    assert!(signed.checkpoint.verify(audit_key, &signed.signature).is_ok());
    assert!(!signed.checkpoint.heads.is_empty());
}

#[tokio::test]
async fn the_server_tells_of_itself() {
    let world = World::new().await;
    let status = world.admin("GET", "/status", Value::Null).await.ok(200);
    assert_eq!(status["devices_connected"], 0);
    let keys = world.admin("GET", "/keys", Value::Null).await.ok(200);
    assert_eq!(keys["fingerprint"], status["fingerprint"]);
    assert_eq!(keys["receipt"]["keys"][0].get("d"), None);
}
