//! What arrives, how often, and in which order.

use super::receiver::Does;
use super::*;

#[tokio::test]
async fn what_happens_is_told_in_order_and_nothing_from_before() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[]).await;
    world.users(&["before"]).await;
    let running = world.start(&[receiver.endpoint()], QUICK);
    world.users(&["alice", "bob"]).await;
    let got = receiver.next().await;
    assert_eq!(got.path, "/hook?a=b");
    assert!(got.id.starts_with("evt_"), "{got:?}");
    assert_eq!(got.body["type"], "user_created");
    let data = &got.body["data"];
    assert_eq!(data["id"], got.id.as_str());
    assert_eq!(data["at"], got.body["timestamp"]);
    assert_eq!(data["type"], "user_created");
    assert!(data["user"].as_str().unwrap().starts_with("usr_"));
    assert_eq!(data["private"]["name"], "alice");
    assert_eq!(data.get("tenant"), None, "there is only one");
    let at: jiff::Timestamp = got.body["timestamp"].as_str().unwrap().parse().unwrap();
    assert!(u64::try_from(at.as_millisecond()).unwrap() <= clock::now().millis());
    assert_eq!(receiver.next_user().await, "bob");
    running.stop().await;
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn a_failure_is_tried_again_with_the_same_id_before_anything_else() {
    let metrics = crate::operations::count().unwrap();
    let world = World::new().await;
    let mut receiver = Receiver::new(&[Does::Status(500), Does::Status(404)]).await;
    let counted = Endpoint { name: "counted".to_owned(), ..receiver.endpoint() };
    let running = world.start(&[counted], QUICK);
    world.users(&["alice", "bob"]).await;
    let first = receiver.next().await;
    for _ in 0..2 {
        let again = receiver.next().await;
        assert_eq!((&again.id, &again.body), (&first.id, &first.body));
    }
    assert_eq!(receiver.next_user().await, "bob");
    let status = running.until(|status| status["state"] == "ok").await;
    assert_eq!(status["failures"], 0);
    assert_eq!(status["last_error"], Value::Null);
    running.stop().await;
    let shown = metrics.render();
    for line in [
        "countersign_webhook_deliveries_total{webhook=\"counted\",outcome=\"refused\"} 2",
        "countersign_webhook_deliveries_total{webhook=\"counted\",outcome=\"delivered\"} 2",
        "countersign_webhook_oldest_seconds{webhook=\"counted\"} 0",
        "countersign_webhook_disabled{webhook=\"counted\"} 0",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}

/// A bug once let one message that a receiver never takes keep back all that came later, for ever.
#[tokio::test]
async fn a_message_that_is_never_taken_is_skipped_and_written_down() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[]).await;
    receiver.reject("alice");
    let running = world.start(&[receiver.endpoint()], Pace { skip_after: 3, ..QUICK });
    world.users(&["alice", "bob"]).await;
    let mut tries = Vec::new();
    loop {
        let got = receiver.next().await;
        match (got.body["type"].as_str(), got.body["data"]["private"]["name"].as_str()) {
            (Some("test"), _) => tries.push("test"),
            (_, Some("alice")) => tries.push("alice"),
            (_, name) => {
                assert_eq!(name, Some("bob"));
                break;
            }
        }
    }
    assert_eq!(tries, ["alice", "alice", "alice", "test"]);
    let status = running.until(|status| status["state"] == "ok").await;
    assert_eq!(status["failures"], 0);
    running.stop().await;
    let filter = app::EventFilter {
        event: Some(Event::WebhookSkipped),
        limit: 9,
        ..app::EventFilter::default()
    };
    let skipped = world.app.events(world.tenant, filter).await.unwrap();
    let [skipped] = skipped.as_slice() else { panic!("once: {skipped:?}") };
    assert!(skipped.public.cause.as_ref().unwrap().starts_with("evt_"));
    assert_eq!(skipped.private.as_ref().unwrap().name.as_deref(), Some("soc"));
}

#[tokio::test]
async fn nothing_is_skipped_while_a_test_message_fails_too() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[Does::Status(500); 12]).await;
    let running = world.start(&[receiver.endpoint()], Pace { skip_after: 3, ..QUICK });
    world.users(&["alice", "bob"]).await;
    let mut last = String::new();
    while last != "bob" {
        let got = receiver.next().await;
        let name = got.body["data"]["private"]["name"].as_str().unwrap_or("test").to_owned();
        assert!(name != "bob" || last == "alice", "alice was delivered first");
        last = name;
    }
    running.stop().await;
    let filter = app::EventFilter {
        event: Some(Event::WebhookSkipped),
        limit: 9,
        ..app::EventFilter::default()
    };
    assert!(world.app.events(world.tenant, filter).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[]).await;
    let running = world.start(&[receiver.endpoint()], QUICK);
    world.users(&["alice"]).await;
    assert_eq!(receiver.next_user().await, "alice");
    running.until(|status| !status["delivered_at"].is_null()).await;
    running.stop().await;
    world.users(&["while-stopped"]).await;
    let running = world.start(&[receiver.endpoint()], QUICK);
    world.users(&["carol"]).await;
    assert_eq!(receiver.next_user().await, "while-stopped");
    assert_eq!(receiver.next_user().await, "carol");
    running.stop().await;
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn failures_survive_a_restart_and_a_wait_too() {
    const SLOW: Pace = Pace { retries: &[Duration::from_secs(3_600)], ..QUICK };
    let world = World::new().await;
    let mut receiver = Receiver::new(&[Does::Status(503)]).await;
    let running = world.start(&[receiver.endpoint()], SLOW);
    world.users(&["alice"]).await;
    let first = receiver.next().await;
    let status = running.until(|status| status["state"] == "failing").await;
    running.stop().await;
    let running = world.start(&[receiver.endpoint()], SLOW);
    assert_eq!(running.workers[0].status(), status);
    assert_eq!(status["last_error"], "the receiver answered 503 Service Unavailable");
    assert!(status["next_try"].as_str() > status["failing_since"].as_str());

    // somebody who has mended the receiver need not wait
    let enabled = running.ask(Method::POST, "/webhooks/soc/enable").await;
    assert_eq!(enabled.body["state"], "ok");
    assert_eq!(receiver.next().await.id, first.id);
    running.stop().await;
}

#[tokio::test]
async fn a_webhook_is_told_of_its_types_and_its_tenants() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[]).await;
    let acme = world.app.create_tenant(&mut clock::call(), &Actor::Owner, "acme").await.unwrap().id;
    let all = Endpoint {
        types: vec![Event::IntegrationCreated, Event::UserCreated, Event::Alert],
        ..receiver.endpoint()
    };
    let running = world.start(std::slice::from_ref(&all), QUICK);
    crate::demo::set_up(&world.app).await.unwrap();
    let got = receiver.next().await.body;
    assert_eq!(
        (got["type"].as_str(), got["data"]["tenant"].as_str()),
        (Some("integration_created"), Some("default"))
    );
    assert_eq!(receiver.next_user().await, "demo");
    world.user(acme, "wile").await;
    assert_eq!(receiver.next().await.body["data"]["tenant"], "acme");
    running.until(|status| !status["delivered_at"].is_null()).await;
    running.stop().await;

    let only = Endpoint { tenant: Some("acme".to_owned()), ..all };
    let running = world.start(&[only], QUICK);
    world.users(&["elsewhere"]).await;
    world.user(acme, "roadrunner").await;
    assert_eq!(receiver.next_user().await, "roadrunner");
    running.stop().await;
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn rows_of_other_types_are_passed_over_once() {
    let world = World::new().await;
    let receiver = Receiver::new(&[]).await;
    let endpoint = Endpoint { types: vec![Event::Alert], ..receiver.endpoint() };
    let running = world.start(&[endpoint], QUICK);
    world.users(&["alice", "bob"]).await;
    world.app.checkpoint().await.unwrap();
    let signed = world.app.last_checkpoint(world.tenant).await.unwrap().unwrap();
    let head = signed.checkpoint.heads.last().unwrap();
    let head = statement::EventId::new(head.lane, head.seq);
    let passed = async {
        let file = state::path(world.dir.path(), "soc");
        while state::read(&file).unwrap().unwrap().cursors.get(&world.tenant) != Some(&head) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, passed).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn more_than_a_page_arrives_whole() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[]).await;
    let running = world.start(&[receiver.endpoint()], QUICK);
    let names: Vec<String> = (0..230).map(|n| format!("user{n}")).collect();
    for name in &names {
        let call = &mut clock::call();
        world.app.upsert_user(call, &Actor::Owner, world.tenant, name).await.unwrap();
    }
    for name in &names {
        assert_eq!(&receiver.next_user().await, name);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_slow_receiver_keeps_nobody_waiting_and_doesnt_hold_a_stop_up() {
    let world = World::new().await;
    let mut slow = Receiver::new(&[Does::Hang]).await;
    let mut quick = Receiver::new(&[]).await;
    let other = Endpoint { name: "other".to_owned(), ..quick.endpoint() };
    let running = world.start(&[slow.endpoint(), other], Pace { timeout: PATIENCE, ..QUICK });
    world.users(&["alice", "bob"]).await;
    let cut = slow.next().await;
    assert_eq!(quick.next_user().await, "alice");
    assert_eq!(quick.next_user().await, "bob");
    running.stop().await;
    // what was under way comes again
    let running = world.start(&[slow.endpoint()], QUICK);
    assert_eq!(slow.next().await.id, cut.id);
    assert_eq!(slow.next_user().await, "bob");
    running.stop().await;
}
