//! Each bad input gets its own clear refusal, and the value isn't repeated.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::world::{World, text};

#[tokio::test]
async fn a_bad_field_is_named() {
    let world = World::new().await;
    let key = world.key().await;
    let long = |n: usize| "x".repeat(n);
    let detail = |label: &str, value: &str| json!([{ "label": label, "value": value }]);
    let first = |method: &str, at: &str| json!({ "method": method, "at": at });
    let context = |session: &str| json!({ "browser_session": session });
    let table = [
        ("user", json!("alice"), "user"),
        ("user", json!("usr_secret"), "user"),
        ("user", json!("name:"), "user"),
        ("user", json!(7), "user"),
        ("user", json!(format!("name:{}", long(65))), "user"),
        ("context", json!({}), "context.browser_session"),
        ("context", context(&long(21)), "context.browser_session"),
        ("context", context(&long(129)), "context.browser_session"),
        ("context", context("secret secret secret secret"), "context.browser_session"),
        ("context", json!("secret"), "context"),
        ("context/ip", json!("secret"), "context.ip"),
        ("context/ip", json!("300.1.1.1"), "context.ip"),
        ("context/user_agent", json!(["secret"]), "context.user_agent"),
        ("context/secret", json!(1), "context.secret"),
        ("first_factor", first("password", "secret"), "first_factor.at"),
        ("first_factor", first("", "2027-01-01T00:00:00Z"), "first_factor.method"),
        ("first_factor", json!({ "method": "password" }), "first_factor.at"),
        ("purpose", json!("secret"), "purpose"),
        ("methods", json!(["push", "secret"]), "methods[1]"),
        ("methods", json!([]), "methods"),
        ("ttl_s", json!(29), "ttl_s"),
        ("ttl_s", json!(301), "ttl_s"),
        ("ttl_s", json!(30.5), "ttl_s"),
        ("ttl_s", json!("secret"), "ttl_s"),
        ("details", detail("", "v"), "details"),
        ("details", detail(&long(33), "v"), "details"),
        ("details", detail("l", &long(129)), "details"),
        ("details", detail("l", "a\u{202e}b"), "details"),
        ("details", json!(vec![json!({ "label": "l", "value": "v" }); 9]), "details"),
        ("tll_s", json!(90), "tll_s"),
    ];
    for (place, value, field) in table {
        let mut body = world.asking("alice", "s1");
        match place.split_once('/') {
            Some((outer, inner)) => body[outer][inner] = value.clone(),
            None => body[place] = value.clone(),
        }
        let refused = world.send(&key, "POST", "/v1/challenges", body).await;
        let problem = refused.refused(422, "invalid_request");
        assert_eq!(text(&problem["field"]), field, "{place} = {value}");
        let said = text(&problem["detail"]);
        assert!(!said.contains("secret"), "{said}");
    }
}

#[tokio::test]
async fn what_can_t_be_read_is_refused_as_that() {
    let world = World::new().await;
    let key = world.key().await;
    let huge = "x".repeat(64 * 1024 + 1);
    let json = "application/json";
    for (media, body, status, code) in [
        (json, &b"{"[..], 400, "malformed_request"),
        (json, b"", 400, "malformed_request"),
        (json, b"{\"user\":\"\xff\"}", 400, "malformed_request"),
        (json, huge.as_bytes(), 413, "too_large"),
        ("text/plain", b"{}", 415, "unsupported_media_type"),
    ] {
        let request = Request::post("/v1/challenges")
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", media)
            .body(Body::from(body.to_vec()))
            .unwrap();
        world.raw(request).await.refused(status, code);
    }
    let reply = world.send(&key, "PATCH", "/v1/challenges", Value::Null).await;
    reply.refused(405, "method_not_allowed");
    let reply = world.send(&key, "GET", "/v1/nothing", Value::Null).await;
    reply.refused(404, "not_found");
}

#[tokio::test]
async fn codes_and_sessions_are_bounded_too() {
    let world = World::new().await;
    let key = world.key().await;
    world.user_with_codes("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    let path = |verb: &str| format!("/v1/challenges/{}/{verb}", text(&created["id"]));
    for (verb, body, field) in [
        ("code", json!({}), "code"),
        ("code", json!({ "code": 123_456 }), "code"),
        ("code", json!({ "code": "1", "more": 1 }), "more"),
        ("redeem", json!({}), "browser_session"),
        ("redeem", json!({ "browser_session": "short" }), "browser_session"),
    ] {
        let refused = world.send(&key, "POST", &path(verb), body).await;
        let problem = refused.refused(422, "invalid_request");
        assert_eq!(text(&problem["field"]), field);
    }
    let endless = json!({ "code": "9".repeat(60_000) });
    world.send(&key, "POST", &path("code"), endless).await.refused(422, "code_wrong");
}

#[tokio::test]
async fn a_bad_query_is_named() {
    let world = World::new().await;
    let key = world.master_key().await;
    for (path, field) in [
        ("/v1/users?limit=0", "limit"),
        ("/v1/users?limit=201", "limit"),
        ("/v1/users?limit=x", "limit"),
        ("/v1/users?cursor=x", "cursor"),
        ("/v1/users?page=2", "page"),
        ("/v1/events?type=party", "type"),
        ("/v1/events?since=yesterday", "since"),
        ("/v1/events?cursor=evt_", "cursor"),
        ("/v1/events?integration=vpn", "integration"),
        ("/v1/events?user=alice", "user"),
        ("/v1/users/alice", "user"),
    ] {
        let refused = world.send(&key, "GET", path, Value::Null).await;
        let problem = refused.refused(422, "invalid_request");
        assert_eq!(text(&problem["field"]), field, "{path}");
    }
}
