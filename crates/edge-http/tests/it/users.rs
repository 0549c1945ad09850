//! Users, devices, tickets, factors and events over REST.

use serde_json::{Value, json};

use crate::world::{World, members, text};

#[tokio::test]
async fn put_upserts_by_name_and_finds_by_id() {
    let world = World::new().await;
    let key = world.master_key().await;
    let path = "/v1/users/name:alice";
    world.send(&key, "GET", path, Value::Null).await.refused(404, "not_found");
    let made = world.send(&key, "PUT", path, Value::Null).await.ok(201);
    assert_eq!(members(&made), ["break_glass", "created_at", "enrolled", "id", "methods", "name"]);
    assert_eq!((&made["enrolled"], &made["methods"]), (&json!(false), &json!([])));
    assert_eq!(world.send(&key, "PUT", path, Value::Null).await.ok(200), made);
    let by_id = format!("/v1/users/{}", text(&made["id"]));
    for method in ["GET", "PUT"] {
        let found = world.send(&key, method, &by_id, Value::Null).await;
        assert_eq!(found.ok(200), made);
    }
    let unknown = "/v1/users/usr_00000000000000000000000000";
    let reply = world.send(&key, "PUT", unknown, Value::Null).await;
    reply.refused(404, "not_found");
    let accented = world.send(&key, "PUT", "/v1/users/name:Zo%C3%AB%20X", Value::Null).await;
    assert_eq!(accented.ok(201)["name"], "Zoë X");
}

#[tokio::test]
async fn users_come_in_pages() {
    let world = World::new().await;
    let key = world.master_key().await;
    for name in ["a", "b", "c", "d", "e"] {
        world.user(name).await;
    }
    let (mut names, mut path) = (Vec::new(), "/v1/users?limit=2".to_owned());
    loop {
        let page = world.send(&key, "GET", &path, Value::Null).await.ok(200);
        assert_eq!(members(&page), ["data", "next_cursor"]);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        names.extend(data.iter().map(|user| text(&user["name"]).to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/users?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    names.sort();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_ticket_enrols_and_only_its_owner_sees_it() {
    let world = World::new().await;
    let key = world.master_key().await;
    world.user("alice").await;
    world.user("bob").await;
    let tickets = "/v1/users/name:alice/tickets";
    let ticket = world.send(&key, "POST", tickets, Value::Null).await.ok(201);
    let identity = world.app.vault().identity().identity_hash();
    assert_eq!(text(&ticket["server_fingerprint"]), statement::fingerprint(&identity));
    assert_eq!(members(&ticket), ["code", "expires_at", "link", "server_fingerprint", "ticket"]);
    let path = format!("{tickets}/{}", text(&ticket["ticket"]));
    let shown = world.send(&key, "GET", &path, Value::Null).await.ok(200);
    assert_eq!(shown["state"], "open");
    assert_eq!(shown.get("number"), None);
    let foreign = format!("/v1/users/name:bob/tickets/{}", text(&ticket["ticket"]));
    world.send(&key, "GET", &foreign, Value::Null).await.refused(404, "not_found");

    let (_key, _hash, _claimed) = world.claim(&ticket).await;
    let shown = world.send(&key, "GET", &path, Value::Null).await.ok(200);
    assert_eq!((text(&shown["state"]), text(&shown["device_name"])), ("claimed", "phone"));
    assert_eq!(text(&shown["number"]).len(), 6);

    let phone = world.enrolled("carol").await;
    let tickets = "/v1/users/name:carol/tickets";
    let refused = world.send(&key, "POST", tickets, json!({})).await;
    refused.refused(409, "reason_required");
    let asked = json!({ "reason": "second phone" });
    world.send(&key, "POST", tickets, asked).await.ok(201);

    let devices = "/v1/users/name:carol/devices";
    let listed = world.send(&key, "GET", devices, Value::Null).await.ok(200);
    assert_eq!(listed["data"][0]["id"], phone.id.to_string());
    assert_eq!(listed["next_cursor"], Value::Null);
    let foreign = format!("/v1/users/name:bob/devices/{}", phone.id);
    for method in ["GET", "DELETE"] {
        let reply = world.send(&key, method, &foreign, Value::Null).await;
        reply.refused(404, "not_found");
    }
    let device = format!("{devices}/{}", phone.id);
    let shown = world.send(&key, "GET", &device, Value::Null).await.ok(200);
    assert_eq!(members(&shown), ["created_at", "id", "name"]);
    for _ in 0..2 {
        let revoked = world.send(&key, "DELETE", &device, Value::Null).await.ok(200);
        assert_eq!(text(&revoked["revoked_at"]), world.time());
    }
}

#[tokio::test]
async fn factors_are_made_listed_and_reset() {
    let world = World::new().await;
    let key = world.master_key().await;
    world.user("alice").await;
    let factors = "/v1/users/name:alice/factors";
    let made = world.send(&key, "POST", factors, json!({ "type": "totp" })).await.ok(201);
    assert_eq!(members(&made), ["factor", "otpauth_uri"]);
    assert!(text(&made["otpauth_uri"]).starts_with("otpauth://totp/"));
    let asked = json!({ "type": "recovery_code" });
    let made = world.send(&key, "POST", factors, asked).await.ok(201);
    assert_eq!(members(&made), ["codes", "factor"]);
    assert_eq!(made["codes"].as_array().unwrap().len(), 10);
    let listed = world.send(&key, "GET", factors, Value::Null).await.ok(200);
    assert_eq!(listed["data"][0]["type"], "totp");
    assert_eq!(listed["data"][0]["locked"], false);
    assert_eq!(
        (&listed["data"][1]["type"], &listed["data"][1]["left"]),
        (&json!("recovery_code"), &json!(10))
    );
    let shown = listed.to_string();
    assert!(!made["codes"].as_array().unwrap().iter().any(|code| shown.contains(text(code))));

    for (body, status, code) in [
        (json!({ "type": "push" }), 422, "invalid_request"),
        (json!({ "type": "sms" }), 422, "invalid_request"),
    ] {
        let problem = world.send(&key, "POST", factors, body).await.refused(status, code);
        assert_eq!(problem["field"], "type");
    }
    let refused = world.send(&key, "DELETE", factors, json!({})).await;
    refused.refused(409, "reason_required");
    let user = world.send(&key, "DELETE", factors, json!({ "reason": "lost phone" })).await.ok(200);
    assert_eq!((&user["enrolled"], &user["methods"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn the_log_tells_what_happened_and_pages() {
    let world = World::new().await;
    let key = world.master_key().await;
    world.user_with_codes("alice").await;
    let created = world.create(&key, "alice", "s1").await;
    world.create(&key, "nobody", "s1").await;
    let path = format!("/v1/challenges/{}", text(&created["id"]));
    world.send(&key, "DELETE", &path, Value::Null).await.ok(200);

    let all = world.send(&key, "GET", "/v1/events", Value::Null).await.ok(200);
    let all = all["data"].as_array().unwrap().clone();
    let mut paged = Vec::new();
    let mut path = "/v1/events?limit=1".to_owned();
    loop {
        let page = world.send(&key, "GET", &path, Value::Null).await.ok(200);
        paged.extend(page["data"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/events?limit=1&cursor={cursor}");
    }
    assert_eq!(paged, all);

    let path = "/v1/events?type=challenge_created&user=name:alice";
    let found = world.send(&key, "GET", path, Value::Null).await.ok(200);
    let found = found["data"].as_array().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["challenge"], created["id"]);
    assert_eq!(found[0]["type"], "challenge_created");
    assert_eq!(found[0]["private"]["name"], "alice");
    let decoys = all.iter().filter(|event| event["mode"] == "decoy");
    assert_eq!(decoys.count(), 1);
    let log = json!(all).to_string();
    assert!(!log.contains(text(&created["number"])), "the number is in the log");
    let future = format!("/v1/events?since={}", world.time());
    world.pass(std::time::Duration::from_secs(1));
    let since = format!("/v1/events?since={}", world.time());
    assert!(
        !world.send(&key, "GET", &future, Value::Null).await.ok(200)["data"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let none = world.send(&key, "GET", &since, Value::Null).await.ok(200);
    assert_eq!(none, json!({ "data": [], "next_cursor": null }));
}

#[tokio::test]
async fn a_playbook_contains_and_clears() {
    let world = World::new().await;
    let key = world.master_key().await;
    let alice = world.user("alice").await;
    let path = |verb: &str| format!("/v1/users/name:alice/{verb}");
    let contained = world.send(&key, "POST", &path("contain"), Value::Null).await.ok(200);
    assert_eq!(contained, json!({ "user": alice, "level": 3, "score": 0.0 }));
    let cleared = world.send(&key, "POST", &path("clear"), Value::Null).await.ok(200);
    assert_eq!(cleared["level"], 0);
    world.send(&key, "POST", &path("contain"), Value::Null).await.ok(200);
    let asked = json!({ "reason": "password changed" });
    let cleared = world.send(&key, "POST", &path("clear"), asked.clone()).await.ok(200);
    assert_eq!(cleared, json!({ "user": alice, "level": 0, "score": 0.0 }));
    let contained = world.admin("POST", "/users/alice/contain", json!({})).await.ok(200);
    assert_eq!(contained["level"], 3);
    let cleared = world.admin("POST", "/users/alice/clear", asked).await.ok(200);
    assert_eq!(cleared["level"], 0);
    let asked = json!({ "reason": "x".repeat(201) });
    let refused = world.send(&key, "POST", &path("contain"), asked).await;
    assert_eq!(refused.refused(422, "invalid_request")["field"], "reason");
}

#[tokio::test]
async fn a_user_is_for_emergencies_or_not() {
    let world = World::new().await;
    let key = world.master_key().await;
    let path = "/v1/users/name:firefighter";
    let asked = |on: bool| json!({ "break_glass": on });
    let made = world.send(&key, "PUT", path, asked(true)).await.ok(201);
    assert_eq!(made["break_glass"], true);
    assert_eq!(world.send(&key, "PUT", path, Value::Null).await.ok(200), made);
    let shown = world.admin("GET", "/users/firefighter", Value::Null).await.ok(200);
    assert_eq!(shown["break_glass"], true);
    let by_id = format!("/v1/users/{}", text(&made["id"]));
    for on in [false, false, true] {
        let changed = world.send(&key, "PUT", &by_id, asked(on)).await.ok(200);
        assert_eq!(changed["break_glass"], on);
        assert_eq!(world.send(&key, "GET", path, Value::Null).await.ok(200), changed);
    }
    let changes = "/v1/events?type=user_changed";
    let changes = world.send(&key, "GET", changes, Value::Null).await.ok(200);
    let causes: Vec<_> = changes["data"].as_array().unwrap().iter().map(|e| &e["cause"]).collect();
    assert_eq!(causes, ["no_break_glass", "break_glass"], "only what changed");
    let new = json!({ "name": "second", "break_glass": true });
    world.admin("POST", "/users", new).await.ok(201);
    let listed = world.send(&key, "GET", "/v1/users", Value::Null).await.ok(200);
    for list in [listed, world.admin("GET", "/users", Value::Null).await.ok(200)] {
        let data = list["data"].as_array().unwrap();
        assert!(data.iter().all(|user| user["break_glass"] == true), "{data:?}");
    }
    let refused = world.send(&key, "PUT", path, json!({ "break_glass": 1 })).await;
    refused.refused(422, "invalid_request");
}

#[tokio::test]
async fn what_is_made_under_attack_waits_for_a_second_person() {
    let world = World::new().await;
    let key = world.master_key().await;
    let scopes = json!({ "scopes": ["challenges", "users:read", "users:write"] });
    let other = world.key_with("second console", scopes).await;
    let phone = world.enrolled("alice").await;
    world.send(&key, "POST", "/v1/users/name:alice/contain", Value::Null).await.ok(200);

    let tickets = "/v1/users/name:alice/tickets";
    let asked = json!({ "reason": "new phone" });
    let ticket = world.send(&key, "POST", tickets, asked.clone()).await.ok(201);
    assert_eq!(ticket["waits_for"], "second_approver");
    let second = world.enrol(&ticket).await;
    let device = format!("/v1/users/name:alice/devices/{}", second.id);
    let shown = world.send(&key, "GET", &device, Value::Null).await.ok(200);
    assert_eq!((&shown["waits_for"], shown.get("usable_from")), (&json!("second_approver"), None));
    let approve = format!("/v1/devices/{}/approve", second.id);
    world.send(&key, "POST", &approve, Value::Null).await.refused(409, "second_approver");
    let approved = world.send(&other, "POST", &approve, Value::Null).await.ok(200);
    assert_eq!(members(&approved), ["created_at", "id", "name"]);
    world.send(&key, "POST", &approve, json!({})).await.ok(200);
    let listed = world.admin("GET", "/devices?user=alice", Value::Null).await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    world.send(&key, "POST", "/v1/devices/x/approve", json!({})).await.refused(404, "not_found");

    let factors = "/v1/users/name:alice/factors";
    let made = world.admin("POST", "/factors", json!({ "user": "alice", "type": "totp" })).await;
    let made = made.ok(201);
    assert_eq!(made["waits_for"], "second_approver");
    let listed = world.send(&key, "GET", factors, Value::Null).await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2, "the one before works on");
    assert_eq!(listed["data"][1]["factor"], made["factor"]);
    let path = format!("/factors/{}/approve?user=alice", text(&made["factor"]));
    world.admin("POST", &path, json!({})).await.refused(409, "second_approver");
    let path = format!("{factors}/{}/approve", text(&made["factor"]));
    let approved = world.send(&other, "POST", &path, Value::Null).await.ok(200);
    assert_eq!((&approved["factor"], approved.get("waits_for")), (&made["factor"], None));
    let listed = world.send(&key, "GET", factors, Value::Null).await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);

    for _ in 0..2 {
        let refused = world.send(&key, "DELETE", factors, asked.clone()).await;
        assert!(text(&refused.refused(409, "second_approver")["detail"]).contains("24 hours"));
    }
    let reset = world.send(&other, "DELETE", factors, asked).await.ok(200);
    assert_eq!(reset["enrolled"], false);
    let device = format!("/v1/users/name:alice/devices/{}", phone.id);
    let revoked = world.send(&key, "GET", &device, Value::Null).await.ok(200);
    assert_eq!(text(&revoked["revoked_at"]), world.time());
}
