//! Who may ask for what: every described route, without a key, with a dead one, without its scope; and other
//! people's objects.

use serde_json::{Value, json};

use crate::world::{NO_CHALLENGE, Reply, World, text};

/// Method, path with stand-ins filled in, and the scopes that it takes.
fn operations() -> Vec<(String, String, Vec<String>)> {
    let api: Value = serde_json::from_str(edge_http::openapi_json()).unwrap();
    let mut all = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        let filled = path
            .replace("{id}", NO_CHALLENGE)
            .replace("{user}", "name:alice")
            .replace("{device}", "dev_00000000000000000000000000")
            .replace("{factor}", "fac_00000000000000000000000000")
            .replace("{ticket}", "tik_00000000000000000000000000");
        for (method, operation) in item.as_object().unwrap() {
            let scopes = operation["security"][0]["key"].as_array();
            let scopes = scopes.into_iter().flatten();
            all.push((
                method.to_uppercase(),
                filled.clone(),
                scopes.map(|scope| text(scope).to_owned()).collect(),
            ));
        }
    }
    all
}

#[tokio::test]
async fn every_route_takes_its_scope_and_nothing_less() {
    let world = World::new().await;
    let all = ["challenges", "users:read", "users:write", "events:read", "guard:write"];
    for (n, (method, path, scopes)) in operations().into_iter().enumerate() {
        let [scope] = scopes.as_slice() else {
            assert!(scopes.is_empty(), "{path}");
            assert_eq!(world.send("", &method, &path, Value::Null).await.status, 200);
            continue;
        };
        // every other scope doesn't help
        let others: Vec<_> = all.iter().filter(|other| *other != scope).collect();
        let name = format!("without {n}");
        let key = world.key_with(&name, json!({ "scopes": others })).await;
        let refused = world.send(&key, &method, &path, Value::Null).await;
        let problem = refused.refused(403, "scope_missing");
        assert!(text(&problem["detail"]).ends_with(scope.as_str()));
    }
}

#[tokio::test]
async fn a_key_that_only_reads_events_makes_no_phone_ring() {
    let world = World::new().await;
    let key = world.key_with("siem", json!({ "scopes": ["events:read"] })).await;
    world.send(&key, "GET", "/v1/events", Value::Null).await.ok(200);
    let asked =
        json!({ "user": "name:alice", "context": { "browser_session": "a-session-------------" } });
    world.send(&key, "POST", "/v1/challenges", asked).await.refused(403, "scope_missing");
}

#[tokio::test]
async fn a_quota_is_off_unless_set_and_then_told_and_kept_for_each_integration() {
    let path = format!("/v1/challenges/{NO_CHALLENGE}");
    let free = World::new().await;
    let key = free.key().await;
    for _ in 0..5 {
        let reply = free.send(&key, "GET", &path, Value::Null).await;
        assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("ratelimit")));
        reply.refused(404, "not_found");
    }
    let three = http_limits::Quota::new(std::num::NonZeroU32::new(3).unwrap());
    let world = World::with_quota(Some(three)).await;
    let (key, other) = (world.key().await, world.key_with("mail", json!({})).await);
    let ask = async |key: &str| world.send(key, "GET", &path, Value::Null).await;
    for left in [2, 1, 0] {
        let reply = ask(&key).await;
        assert_eq!(reply.headers["ratelimit-policy"], "\"integration\";q=3;w=60");
        let told = reply.headers["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"integration\";r={left};t=")), "{told}");
        reply.refused(404, "not_found");
    }
    let reply = ask(&key).await;
    assert_eq!(reply.headers["retry-after"], "20");
    assert_eq!(reply.headers["ratelimit"], "\"integration\";r=0;t=60");
    reply.refused(429, "too_many_requests");
    ask(&other).await.refused(404, "not_found");
    // a key that doesn't work is nobody's: it counts for nothing and is told nothing
    let reply = ask("csk_unknown").await;
    assert!(reply.headers.get("ratelimit").is_none());
    reply.refused(401, "unauthenticated");
    world.pass(std::time::Duration::from_secs(20));
    ask(&key).await.refused(404, "not_found");
}

#[tokio::test]
async fn all_keys_that_don_t_work_look_the_same() {
    let world = World::new().await;
    let live = world.key().await;
    let dead = world.admin("POST", "/integrations/vpn/keys", json!({})).await.ok(201);
    let dead = text(&dead["api_key"]).to_owned();
    let hint = &dead[..12];
    let path = format!("/integrations/vpn/keys/{hint}");
    world.admin("DELETE", &path, Value::Null).await.ok(200);
    let mut damaged = live.clone();
    damaged.pop();
    let unknown = "csk_00000000000000000000000000000000000000000000000000000000";
    for (method, path, scopes) in operations() {
        if scopes.is_empty() {
            continue;
        }
        let mut seen = Vec::new();
        for key in ["", "x", &damaged, &dead, unknown, &live[4..]] {
            let refused = world.send(key, &method, &path, Value::Null).await;
            assert_eq!(refused.headers["www-authenticate"], "Bearer");
            let mut problem = refused.refused(401, "unauthenticated");
            problem["request_id"].take();
            seen.push(problem);
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    }
}

#[tokio::test]
async fn an_expired_key_is_dead() {
    let world = World::new().await;
    world.key().await;
    let soon = world.clock.now().plus(std::time::Duration::from_secs(60));
    let soon = jiff::Timestamp::from_millisecond(i64::try_from(soon.millis()).unwrap()).unwrap();
    let asked = json!({ "expires_at": soon.to_string() });
    let key = world.admin("POST", "/integrations/vpn/keys", asked).await.ok(201);
    let key = text(&key["api_key"]);
    world.create(key, "alice", "s1").await;
    world.pass(std::time::Duration::from_secs(60));
    let asking = world.asking("alice", "s2");
    let refused = world.send(key, "POST", "/v1/challenges", asking).await;
    refused.refused(401, "unauthenticated");
}

#[tokio::test]
async fn foreign_and_unknown_challenges_look_the_same() {
    let world = World::new().await;
    let owner = world.key().await;
    let other = world.key_with("other", json!({})).await;
    world.admin("POST", "/tenants", json!({ "name": "acme" })).await.ok(201);
    let abroad = json!({ "name": "vpn" });
    let abroad = world.admin("POST", "/integrations?tenant=acme", abroad).await.ok(201);
    let abroad = text(&abroad["api_key"]);
    world.user_with_codes("alice").await;
    let created = world.create(&owner, "alice", "s1").await;
    let own = text(&created["id"]);
    let plain = |mut reply: Reply| {
        assert_eq!(reply.status, 404, "{}", reply.json);
        reply.json["request_id"].take();
        reply.json
    };
    let session = json!({ "browser_session": crate::world::session_of("s1") });
    for (method, tail, body) in [
        ("GET", "", Value::Null),
        ("GET", "?wait=30", Value::Null),
        ("DELETE", "", Value::Null),
        ("POST", "/code", json!({ "code": "123456" })),
        ("POST", "/redeem", session),
    ] {
        let mut seen = Vec::new();
        for (key, id) in [
            (other.as_str(), own),
            (abroad, own),
            (&owner, NO_CHALLENGE),
            (&owner, "chl_x"),
            (&owner, "nonsense"),
        ] {
            let path = format!("/v1/challenges/{id}{tail}");
            seen.push(plain(world.send(key, method, &path, body.clone()).await));
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    }
    assert_eq!(world.state(&owner, &created).await, "pending");
}

#[tokio::test]
async fn another_tenant_s_users_are_not_found() {
    let world = World::new().await;
    world.admin("POST", "/tenants", json!({ "name": "acme" })).await.ok(201);
    let new = json!({ "name": "console", "scopes": ["users:read", "users:write", "events:read"] });
    let abroad = world.admin("POST", "/integrations?tenant=acme", new).await.ok(201);
    let key = text(&abroad["api_key"]);
    let alice = world.user("alice").await;
    let phone = world.enrolled("bob").await;
    for (method, path) in [
        ("GET", format!("/v1/users/{alice}")),
        ("PUT", format!("/v1/users/{alice}")),
        ("GET", "/v1/users/name:alice".to_owned()),
        ("GET", format!("/v1/users/{alice}/devices")),
        ("GET", format!("/v1/users/name:bob/devices/{}", phone.id)),
        ("DELETE", format!("/v1/users/name:bob/devices/{}", phone.id)),
        ("POST", format!("/v1/users/{alice}/tickets")),
        ("GET", format!("/v1/users/{alice}/factors")),
        ("GET", format!("/v1/events?user={alice}&type=user_created")),
    ] {
        let reply = world.send(key, method, &path, Value::Null).await;
        if path.starts_with("/v1/events") {
            assert_eq!(reply.ok(200)["data"], json!([]));
        } else {
            reply.refused(404, "not_found");
        }
    }
    let page = world.send(key, "GET", "/v1/users", Value::Null).await.ok(200);
    assert_eq!(page["data"], json!([]));
}

#[tokio::test]
async fn what_is_for_everybody_needs_no_key() {
    let world = World::new().await;
    let api = world.send("", "GET", "/openapi.json", Value::Null).await;
    assert_eq!(api.ok(200)["openapi"], "3.1.0");
    let keys = world.send("", "GET", "/.well-known/jwks.json", Value::Null).await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.headers["cache-control"], "public, max-age=300");
    let keys = keys.ok(200);
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    assert_eq!(keys["keys"][0].get("d"), None);
}
