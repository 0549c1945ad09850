//! The life of a challenge as an integration sees it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{World, members, session_of, text};

#[tokio::test]
async fn create_has_the_promised_shape() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    let expected = ["digits", "expires_at", "id", "methods", "number", "state"];
    assert_eq!(members(&created), expected);
    assert!(text(&created["id"]).starts_with("chl_"));
    assert_eq!(created["state"], "pending");
    assert_eq!(created["digits"], 6);
    assert_eq!(created["methods"], json!(["push", "totp", "recovery_code"]));
    let number = text(&created["number"]);
    assert!(number.len() == 6 && number.bytes().all(|b| b.is_ascii_digit()));
    world.pass(Duration::from_secs(90));
    assert_eq!(text(&created["expires_at"]), world.time());
}

#[tokio::test]
async fn a_push_approval_is_redeemed_once() {
    let world = World::new().await;
    let key = world.key().await;
    let phone = world.enrolled("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    world.approve(&phone, &created).await;
    let path = format!("/v1/challenges/{}", text(&created["id"]));
    let view = world.send(&key, "GET", &path, Value::Null).await.ok(200);
    let expected = json!({
        "id": created["id"], "state": "approved", "factor": "push",
        "expires_at": created["expires_at"], "redeemed": false, "lapsed": false,
    });
    assert_eq!(view, expected);

    let redeem = format!("{path}/redeem");
    let wrong = json!({ "browser_session": session_of("other") });
    let refused = world.send(&key, "POST", &redeem, wrong).await;
    refused.refused(403, "wrong_session");
    let right = json!({ "browser_session": session_of("s1") });
    let redeemed = world.send(&key, "POST", &redeem, right.clone()).await.ok(200);
    assert_eq!(members(&redeemed), ["device_cookie", "receipt"]);
    assert_eq!(text(&redeemed["receipt"]).split('.').count(), 3);
    let again = world.send(&key, "POST", &redeem, right).await;
    again.refused(409, "already_redeemed");
    let view = world.send(&key, "GET", &path, Value::Null).await.ok(200);
    assert_eq!((&view["redeemed"], &view["lapsed"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn what_isn_t_approved_isn_t_redeemed_and_what_is_lapses() {
    let world = World::new().await;
    let key = world.key().await;
    let codes = world.user_with_codes("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    let path = format!("/v1/challenges/{}", text(&created["id"]));
    let session = json!({ "browser_session": session_of("s1") });
    let redeem = format!("{path}/redeem");
    let early = world.send(&key, "POST", &redeem, session.clone()).await;
    early.refused(409, "not_approved");

    let code = json!({ "code": codes[0] });
    let passed = world.send(&key, "POST", &format!("{path}/code"), code).await.ok(200);
    assert_eq!((text(&passed["state"]), text(&passed["factor"])), ("approved", "recovery_code"));
    world.pass(Duration::from_secs(61));
    let late = world.send(&key, "POST", &redeem, session).await;
    late.refused(409, "lapsed");
    let view = world.send(&key, "GET", &path, Value::Null).await.ok(200);
    assert_eq!(view["lapsed"], true);
}

#[tokio::test]
async fn wrong_and_used_codes_read_the_same() {
    let world = World::new().await;
    let key = world.key().await;
    let codes = world.user_with_codes("alice").await;
    let first = world.create(&key, "alice", "s1").await;
    let second = world.create(&key, "alice", "s2").await;
    let path = |challenge: &Value| format!("/v1/challenges/{}/code", text(&challenge["id"]));
    let code = json!({ "code": codes[0] });
    world.send(&key, "POST", &path(&first), code.clone()).await.ok(200);
    let mut seen = Vec::new();
    for code in [codes[0].as_str(), "000000", "garbage", "", "AAAA-BBBB"] {
        let code = json!({ "code": code });
        let mut refused =
            world.send(&key, "POST", &path(&second), code).await.refused(422, "code_wrong");
        refused["request_id"].take();
        seen.push(refused);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    // decided already: the stored state, and the code isn't used up
    let code = json!({ "code": codes[1] });
    let stored = world.send(&key, "POST", &path(&first), code.clone()).await.ok(200);
    assert_eq!(stored["state"], "approved");
    world.send(&key, "POST", &path(&second), code).await.ok(200);
}

#[tokio::test]
async fn the_same_again_is_the_same_challenge() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    world.pass(Duration::from_secs(5));
    let again = world.send(&key, "POST", "/v1/challenges", world.asking("alice", "s1")).await;
    assert_eq!(again.ok(200), created);
    let other = world.create(&key, "alice", "s2").await;
    assert_ne!(other["id"], created["id"]);
    assert_ne!(other["number"], created["number"]);
}

#[tokio::test]
async fn another_wish_of_the_session_supersedes() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    for (index, (field, value)) in [
        ("purpose", json!("step_up")),
        ("details", json!([{ "label": "amount", "value": "3 EUR" }])),
        ("methods", json!(["push"])),
        ("first_factor", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let session = format!("s{index}");
        let created = world.create(&key, "alice", &session).await;
        let mut other = world.asking("alice", &session);
        if value.is_null() {
            other.as_object_mut().unwrap().remove(field);
        } else {
            other[field] = value;
        }
        let newer = world.send(&key, "POST", "/v1/challenges", other).await.ok(201);
        assert_ne!(newer["id"], created["id"], "{field}");
        assert_eq!(world.state(&key, &created).await, "superseded", "{field}");
        assert_eq!(world.state(&key, &newer).await, "pending", "{field}");
    }
}

#[tokio::test]
async fn cancel_is_for_ever_and_repeats() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    let path = format!("/v1/challenges/{}", text(&created["id"]));
    for _ in 0..2 {
        let view = world.send(&key, "DELETE", &path, Value::Null).await.ok(200);
        assert_eq!(view["state"], "cancelled");
    }
    // the place is free: a new challenge, not the cancelled one
    let next = world.create(&key, "alice", "s1").await;
    assert_ne!(next["id"], created["id"]);
}

#[tokio::test]
async fn it_expires_without_anybody_sweeping() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    let mut asking = world.asking("alice", "s1");
    asking["ttl_s"] = json!(30);
    let created = world.send(&key, "POST", "/v1/challenges", asking).await.ok(201);
    world.pass(Duration::from_millis(29_999));
    assert_eq!(world.state(&key, &created).await, "pending");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.state(&key, &created).await, "expired");
}

#[tokio::test]
async fn without_a_first_factor_only_push_is_offered() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    let mut asking = world.asking("alice", "s1");
    asking.as_object_mut().unwrap().remove("first_factor");
    let created = world.send(&key, "POST", "/v1/challenges", asking.clone()).await.ok(201);
    assert_eq!(created["methods"], json!(["push"]));
    asking["methods"] = json!(["totp"]);
    let refused = world.send(&key, "POST", "/v1/challenges", asking).await;
    assert_eq!(refused.refused(422, "invalid_request")["field"], "methods");

    let vouching = world.key_with("portal", json!({ "verifies_first_factor": true })).await;
    let mut asking = world.asking("alice", "s2");
    asking.as_object_mut().unwrap().remove("first_factor");
    let created = world.send(&vouching, "POST", "/v1/challenges", asking).await.ok(201);
    assert_eq!(created["methods"], json!(["push", "totp", "recovery_code"]));
}

/// Walks a challenge of `user` through everything that a caller can do; statuses and bodies without what must
/// differ.
async fn walk(world: &World, key: &str, user: &str, session: &str) -> Vec<(u16, Value)> {
    let mut seen = Vec::new();
    let mut note = |reply: crate::world::Reply| {
        let mut json = reply.json;
        for differs in ["id", "number", "request_id"] {
            if let Some(value) = json.get_mut(differs) {
                *value = json!(value.as_str().map(str::len));
            }
        }
        seen.push((reply.status.as_u16(), json));
    };
    let asking = world.asking(user, session);
    let created = world.send(key, "POST", "/v1/challenges", asking.clone()).await;
    let path = format!("/v1/challenges/{}", text(&created.json["id"]));
    let number = created.json["number"].clone();
    note(created);
    let again = world.send(key, "POST", "/v1/challenges", asking.clone()).await;
    assert_eq!(again.json["number"], number);
    note(again);
    let (code, redeem) = (format!("{path}/code"), format!("{path}/redeem"));
    note(world.send(key, "GET", &path, Value::Null).await);
    for _ in 0..7 {
        note(world.send(key, "POST", &code, json!({ "code": "123456" })).await);
    }
    let right = json!({ "browser_session": session_of(session) });
    note(world.send(key, "POST", &redeem, right).await);
    let wrong = json!({ "browser_session": session_of("wrong") });
    note(world.send(key, "POST", &redeem, wrong).await);
    let mut other = asking;
    other["purpose"] = json!("step_up");
    note(world.send(key, "POST", "/v1/challenges", other).await);
    note(world.send(key, "GET", &path, Value::Null).await);
    note(world.send(key, "DELETE", &path, Value::Null).await);
    seen
}

#[tokio::test]
async fn unknown_and_unenrolled_users_look_like_any_other() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    world.user("bare").await;
    let real = walk(&world, &key, "alice", "s1").await;
    assert_eq!(walk(&world, &key, "bare", "s1").await, real);
    assert_eq!(walk(&world, &key, "nobody", "s1").await, real);
}

#[tokio::test]
async fn only_revealing_integrations_are_told_who_exists() {
    let world = World::new().await;
    let key = world.key_with("hr", json!({ "reveal_users": true })).await;
    world.user("bare").await;
    world.user_with_codes("alice").await;
    for (user, status, code) in [("nobody", 404, "user_unknown"), ("bare", 409, "not_enrolled")] {
        let asking = world.asking(user, "s1");
        world.send(&key, "POST", "/v1/challenges", asking).await.refused(status, code);
    }
    world.create(&key, "alice", "s1").await;
}

#[tokio::test]
async fn the_device_cookie_of_a_redeem_is_taken_again() {
    let world = World::new().await;
    let key = world.key().await;
    let codes = world.user_with_codes("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    let path = format!("/v1/challenges/{}", text(&created["id"]));
    let code = json!({ "code": codes[0] });
    world.send(&key, "POST", &format!("{path}/code"), code).await.ok(200);
    let session = json!({ "browser_session": session_of("s1") });
    let redeemed = world.send(&key, "POST", &format!("{path}/redeem"), session).await.ok(200);
    for cookie in [redeemed["device_cookie"].clone(), json!("garbage")] {
        let mut asking = world.asking("alice", text(&cookie).get(..5).unwrap());
        asking["context"]["device_cookie"] = cookie;
        asking["context"]["ip"] = json!("2001:db8::1");
        asking["context"]["user_agent"] = json!("Mozilla/5.0 (X11; Linux x86_64) Firefox/150.0");
        world.send(&key, "POST", "/v1/challenges", asking).await.ok(201);
    }
}
