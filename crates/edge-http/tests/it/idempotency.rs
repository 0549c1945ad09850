//! The same request under the same key is one request.

use serde_json::{Value, json};

use crate::world::{Reply, World, session_of, text};

async fn post(world: &World, key: &str, path: &str, name: &str, body: Value) -> Reply {
    world.send_with(key, "POST", path, &[("idempotency-key", name)], body).await
}

#[tokio::test]
async fn a_replayed_create_is_the_same_reply_until_it_is_decided() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    for user in ["alice", "nobody"] {
        let asking = world.asking(user, "s1");
        let name = format!("create-{user}");
        let first = post(&world, &key, "/v1/challenges", &name, asking.clone()).await.ok(201);
        let again = post(&world, &key, "/v1/challenges", &name, asking.clone()).await.ok(201);
        assert_eq!(again, first, "{user}");
        let path = format!("/v1/challenges/{}", text(&first["id"]));
        world.send(&key, "DELETE", &path, Value::Null).await.ok(200);
        let late = post(&world, &key, "/v1/challenges", &name, asking).await.ok(201);
        assert_eq!(late["id"], first["id"], "{user}");
        assert_eq!(late["state"], "cancelled", "{user}");
        assert!(late.as_object().unwrap().contains_key("number"));
        assert_eq!(late["number"], Value::Null, "{user}");
    }
}

#[tokio::test]
async fn a_replayed_merge_stays_that_challenge() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    let first = world.create(&key, "alice", "s1").await;
    let asking = world.asking("alice", "s1");
    let merged = post(&world, &key, "/v1/challenges", "k", asking.clone()).await.ok(200);
    assert_eq!(merged, first);
    let path = format!("/v1/challenges/{}", text(&first["id"]));
    world.send(&key, "DELETE", &path, Value::Null).await.ok(200);
    let replay = post(&world, &key, "/v1/challenges", "k", asking).await.ok(200);
    assert_eq!((&replay["id"], &replay["number"]), (&first["id"], &Value::Null));
}

#[tokio::test]
async fn another_request_under_the_key_is_refused() {
    let world = World::new().await;
    let key = world.master_key().await;
    world.user_with_codes("alice").await;
    let asking = world.asking("alice", "s1");
    let created = post(&world, &key, "/v1/challenges", "k", asking).await.ok(201);
    let other = world.asking("alice", "s2");
    let refused = post(&world, &key, "/v1/challenges", "k", other).await;
    refused.refused(422, "idempotency_key_reused");
    let code = format!("/v1/challenges/{}/code", text(&created["id"]));
    let refused = post(&world, &key, &code, "k", json!({ "code": "000000" })).await;
    refused.refused(422, "idempotency_key_reused");
    // the key of another integration is another key
    let other = world.key().await;
    let asking = world.asking("alice", "s3");
    post(&world, &other, "/v1/challenges", "k", asking).await.ok(201);
}

#[tokio::test]
async fn a_code_is_tried_once_per_key() {
    let world = World::new().await;
    let key = world.key().await;
    let codes = world.user_with_codes("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    let path = format!("/v1/challenges/{}/code", text(&created["id"]));
    let wrong = json!({ "code": "AAAAAAAA-BBBB-CCCC-DDDD-EEEE" });
    for _ in 0..3 {
        let refused = post(&world, &key, &path, "wrong", wrong.clone()).await;
        refused.refused(422, "code_wrong");
    }
    let right = json!({ "code": codes[0] });
    let first = post(&world, &key, &path, "right", right.clone()).await.ok(200);
    assert_eq!(first["state"], "approved");
    let again = post(&world, &key, &path, "right", right).await.ok(200);
    assert_eq!(again, first);
}

#[tokio::test]
async fn secrets_are_not_kept() {
    let world = World::new().await;
    let key = world.master_key().await;
    let codes = world.user_with_codes("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    let path = format!("/v1/challenges/{}", text(&created["id"]));
    let redeem = format!("{path}/redeem");
    let session = json!({ "browser_session": session_of("s1") });
    // a refusal that changed nothing isn't kept either
    let early = post(&world, &key, &redeem, "r", session.clone()).await;
    early.refused(409, "not_approved");
    let code = json!({ "code": codes[0] });
    world.send(&key, "POST", &format!("{path}/code"), code).await.ok(200);
    post(&world, &key, &redeem, "r", session.clone()).await.ok(200);
    let again = post(&world, &key, &redeem, "r", session).await;
    again.refused(409, "already_done");

    let ticket = json!({ "reason": "new phone" });
    let factor = json!({ "type": "totp" });
    for (path, body) in [("tickets", ticket), ("factors", factor)] {
        let path = format!("/v1/users/name:alice/{path}");
        post(&world, &key, &path, path.as_str(), body.clone()).await.ok(201);
        let again = post(&world, &key, &path, path.as_str(), body).await;
        again.refused(409, "already_done");
    }
}

#[tokio::test]
async fn of_racing_requests_one_is_done() {
    let world = World::new().await;
    let key = world.master_key().await;
    world.user("alice").await;
    let path = "/v1/users/name:alice/tickets";
    let racers = (0..16).map(|_| post(&world, &key, path, "k", json!({})));
    let replies = futures_util::future::join_all(racers).await;
    let mut made = 0;
    for reply in replies {
        match (reply.status.as_u16(), reply.json["code"].as_str()) {
            (201, _) => made += 1,
            (409, Some("in_progress" | "already_done")) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 1);
    let listed = world.admin("GET", "/tickets?user=alice", Value::Null).await;
    assert_eq!(listed.ok(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_bad_key_is_named() {
    let world = World::new().await;
    let key = world.key().await;
    for bad in ["", "a b", &"k".repeat(256)] {
        let asking = world.asking("alice", "s1");
        let refused = post(&world, &key, "/v1/challenges", bad, asking).await;
        let problem = refused.refused(422, "invalid_request");
        assert_eq!(problem["field"], "Idempotency-Key");
    }
}
