//! More is asked for than gets done.

use std::collections::BTreeMap;

use app::Admission;
use serde_json::{Value, json};
use tokio::task::{JoinSet, yield_now};

use crate::world::{World, session_of, text};

/// How many come together.
const MANY: u32 = 100;
/// More than may always be in the making.
const TOO_MANY: u32 = 65;
/// How often so many come until the store is slower than they are.
const TIMES: u32 = 100;

#[tokio::test]
async fn creates_are_refused_and_what_belongs_to_live_ones_is_not() {
    let world = World::new().await;
    let key = world.master_key().await;
    let phone = world.enrolled("alice").await;
    let live = world.create(&key, "alice", "s1").await;
    let admission = world.app.admission();

    let (mut under_way, mut asked) = (JoinSet::new(), 0);
    let mut statuses = BTreeMap::new();
    // until all that came are in the making but those that are done, and are too many
    while admission.making() < TOO_MANY
        || admission.making() + statuses.values().sum::<u32>() < asked
    {
        if under_way.is_empty() {
            assert!(asked < TIMES * MANY, "the store is done with each before the next comes");
            for n in asked..asked + MANY {
                let name = format!("user-{n}");
                let asking = world.asking(&name, &name);
                under_way.spawn(world.later(&key, "POST", "/v1/challenges", asking));
            }
            asked += MANY;
        }
        yield_now().await;
        while let Some(reply) = under_way.try_join_next() {
            *statuses.entry(reply.unwrap().status.as_u16()).or_insert(0) += 1;
        }
    }
    // a queue that is there at two looks, and nothing gets done
    assert_eq!(admission.look(Admission::INTERVAL), None);
    assert_eq!(admission.look(Admission::INTERVAL), Some(true));
    let refused = world.send(&key, "POST", "/v1/challenges", world.asking("bob", "s2")).await;
    let wait = refused.headers["retry-after"].to_str().unwrap().to_owned();
    assert!(["1", "2", "3"].contains(&&*wait), "{wait}");
    refused.refused(503, "unavailable");
    // not even the key is looked at
    let refused = world.send("csk_x", "POST", "/v1/challenges", Value::Null).await;
    refused.refused(503, "unavailable");
    world.send(&key, "GET", "/v1/users", Value::Null).await.refused(503, "unavailable");
    let path = "/v1/users/name:alice/tickets";
    world.send(&key, "POST", path, json!({ "reason": "new" })).await.refused(503, "unavailable");
    assert_eq!(admission.refused(), (2, 2));

    // the live one goes on to its end
    assert_eq!(world.state(&key, &live).await, "pending");
    world.approve(&phone, &live).await;
    let redeem = format!("/v1/challenges/{}/redeem", text(&live["id"]));
    let session = json!({ "browser_session": session_of("s1") });
    world.send(&key, "POST", &redeem, session).await.ok(200);

    // and so do those that were let in
    while let Some(reply) = under_way.join_next().await {
        *statuses.entry(reply.unwrap().status.as_u16()).or_insert(0) += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(201, asked)]));
    let ends: Vec<bool> = (0..20).filter_map(|_| admission.look(Admission::INTERVAL)).collect();
    assert_eq!(ends, [false]);
    world.send(&key, "GET", "/v1/users", Value::Null).await.ok(200);
    world.create(&key, "bob", "s2").await;
}
