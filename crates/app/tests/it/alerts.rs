//! What alerts say.

use std::time::Duration;

use app::{Caller, EventFilter, EventView, UserWish};
use domain::audit::Event;
use domain::guard::{AlertKind, Counts, Scope};
use ports::UserRef;

use crate::world::{OPERATOR, World};

async fn ask(world: &World, app: &Caller, user: &str, ip: &str) {
    let mut request = world.request(user, &format!("s{}", world.now().millis()));
    request.context.ip = ip.parse().ok();
    world.create_with(app, request).await.expect("a challenge");
    world.pass(Duration::from_secs(100));
    while world.app.expire_due(&mut world.call()).await.expect("a sweep") {}
}

async fn alerts(world: &World, kind: AlertKind) -> Vec<EventView> {
    let filter = EventFilter { event: Some(Event::Alert), limit: 500, ..EventFilter::default() };
    let mut events = world.app.events(world.tenant, filter).await.expect("a log");
    events.retain(|event| event.public.alert.is_some_and(|alert| alert.kind == kind));
    events
}

#[tokio::test]
async fn an_alert_says_what_was_counted() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("alice").await;
    while alerts(&world, AlertKind::Bombing).await.is_empty() {
        ask(&world, &app, "alice", "203.0.113.9").await;
    }
    let alert = &alerts(&world, AlertKind::Bombing).await[0];
    let evidence = alert.public.evidence.expect("what it stood on");
    let Counts { tries, silent, denied, users, timed_out } = evidence.counts;
    assert!(tries >= Some(2) && tries <= Some(10), "{tries:?}");
    assert!(silent >= Some(1) && silent < tries.map(|tries| tries + 3), "{silent:?}");
    assert_eq!((denied, users, timed_out), (Some(0), None, None));
    assert!(evidence.window_s >= 60 && evidence.source.is_none());
}

#[tokio::test]
async fn sprays_from_two_addresses_are_two_things() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    for n in 0..10 {
        world.enrolled(&format!("u{n}")).await;
    }
    for ip in ["203.0.113.9", "198.51.100.9"] {
        for n in 0..10 {
            ask(&world, &app, &format!("u{n}"), ip).await;
        }
    }
    let mut alerts = alerts(&world, AlertKind::Spray).await;
    alerts.retain(|event| event.public.alert.is_some_and(|alert| alert.scope == Scope::Address));
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    let key = |event: &EventView| {
        let alert = event.public.alert.expect("an alert");
        alert.dedupe_key(event.tenant, &event.public, event.at)
    };
    assert_ne!(key(&alerts[0]), key(&alerts[1]));
    for event in &alerts {
        let counts = event.public.evidence.expect("what it stood on").counts;
        assert!(counts.users >= Some(5) && counts.users <= Some(10), "{counts:?}");
        assert_eq!((counts.tries, event.public.user), (None, None));
    }
}

/// A bug once let a break-glass user in unannounced where no first factor was vouched for, and by a code on one
/// that no device showed.
#[tokio::test]
async fn each_use_of_a_break_glass_user_is_told_once() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let phone = world.enrolled("glass").await.device;
    let user = UserRef::Name("glass".to_owned());
    let mut call = world.call();
    let put = world.app.put_user(
        &mut call,
        &OPERATOR,
        world.tenant,
        user,
        UserWish { break_glass: Some(true), ttl: None },
    );
    put.await.expect("for emergencies");
    let told = async || alerts(&world, AlertKind::BreakGlass).await.len();

    let mut request = world.request("glass", "bare");
    request.first_factor = None;
    let bare = world.create_with(&app, request.clone()).await.expect("a challenge");
    assert_eq!(told().await, 0, "whoever types the name");
    world.approve(&phone, &bare).await;
    assert_eq!(told().await, 1);

    request.first_factor = world.request("glass", "s").first_factor;
    request.context.browser_session = format!("{:-<22}", "vouched");
    let vouched = world.create_with(&app, request).await.expect("a challenge");
    assert_eq!(told().await, 2);
    world.approve(&phone, &vouched).await;
    assert_eq!(told().await, 2, "once for each use");

    // by a code on one that gave way to a flood
    let own = world.create(&app, "glass", "own").await;
    for n in 0..9 {
        world.create(&app, "glass", &format!("flood{n}")).await;
    }
    let before = told().await;
    let code = domain::totp::code(&phone.totp, world.now());
    let passed = world.app.submit_code(&mut world.call(), &app, own.view.id, &code).await;
    passed.expect("a right code approves it");
    assert_eq!(told().await, before, "it was told when it was asked for");
}
