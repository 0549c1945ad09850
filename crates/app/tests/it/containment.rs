//! Security staff steps in.

use app::{CreateRequest, Error, EventFilter};
use domain::audit::Event;
use domain::challenge::Mode;
use ports::UserRef;

use crate::world::{OPERATOR, World};

fn alice() -> UserRef {
    UserRef::Name("alice".to_owned())
}

fn reason() -> Option<String> {
    Some("ticket 4711".to_owned())
}

fn from(world: &World, session: &str, ip: &str) -> CreateRequest {
    let mut request = world.request("alice", session);
    request.context.ip = ip.parse().ok();
    request
}

async fn mode(world: &World, app: &app::Caller, session: &str, ip: &str) -> Mode {
    let created = world.create_with(app, from(world, session, ip)).await.expect("a challenge");
    let mode = world.mode(created.view.id).await;
    let cancelled = world.app.cancel_challenge(&mut world.call(), app, created.view.id).await;
    cancelled.expect("it was pending");
    mode
}

#[tokio::test]
async fn a_contained_user_rings_at_home_alone_until_cleared() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let alice_s = world.enrolled("alice").await;
    let home = "198.51.100.7";
    let created = world.create_with(&app, from(&world, "home", home)).await.expect("a challenge");
    world.approve(&alice_s.device, &created).await;
    world.pass(std::time::Duration::from_secs(3 * 24 * 60 * 60));

    let mut call = world.call();
    let contained = world.app.contain_user(&mut call, &OPERATOR, world.tenant, alice(), None);
    assert_eq!(contained.await.expect("contained").level, 3);
    assert_eq!(mode(&world, &app, "a", "203.0.113.9").await, Mode::Silent);
    assert_eq!(mode(&world, &app, "b", home).await, Mode::Ring);

    let mut call = world.call();
    let cleared = world.app.clear_user(&mut call, &OPERATOR, world.tenant, alice(), reason()).await;
    let cleared = cleared.expect("cleared");
    assert_eq!((cleared.level, cleared.score), (0, 0.0));
    assert_eq!(mode(&world, &app, "c", "203.0.113.9").await, Mode::Ring);
    assert_eq!(mode(&world, &app, "d", home).await, Mode::Ring);
}

#[tokio::test]
async fn who_steps_in_and_why_is_written_down() {
    let world = World::new().await;
    world.enrolled("alice").await;
    let mut call = world.call();
    let app = &world.app;
    app.contain_user(&mut call, &OPERATOR, world.tenant, alice(), reason()).await.expect("done");
    app.clear_user(&mut call, &OPERATOR, world.tenant, alice(), reason()).await.expect("done");
    for event in [Event::UserContained, Event::UserCleared] {
        let filter = EventFilter { event: Some(event), limit: 9, ..EventFilter::default() };
        let events = app.events(world.tenant, filter).await.expect("a log");
        let [event] = events.as_slice() else { panic!("once: {events:?}") };
        let private = event.private.as_ref().expect("is kept");
        assert_eq!(private.by.as_deref(), Some("operator (uid 0)"));
        assert_eq!(private.reason, reason());
    }
    let nobody = UserRef::Name("nobody".to_owned());
    let refused = app.contain_user(&mut call, &OPERATOR, world.tenant, nobody, None).await;
    assert_eq!(refused, Err(Error::NotFound));
    let odd = Some("a\u{202e}b".to_owned());
    let refused = app.contain_user(&mut call, &OPERATOR, world.tenant, alice(), odd).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "reason", .. })), "{refused:?}");
}
