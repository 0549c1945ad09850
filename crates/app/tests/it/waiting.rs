//! Enrolment under attack.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use app::{Actor, AnswerResult, Caller, Error, EventFilter, NewFactor, UserWish};
use domain::audit::Event;
use domain::challenge::{Decision, Method};
use domain::guard::{AlertKind, EnrolmentDecision};
use ports::{Hint, NoticeKind, UserRef};

use crate::world::{Device, OPERATOR, World, decision, told};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const COLLEAGUE: Actor = Actor::Operator { uid: 1 };

fn alice() -> UserRef {
    UserRef::Name("alice".to_owned())
}

fn reason() -> Option<String> {
    Some("lost phone".to_owned())
}

/// Somebody who knows the password asks once, in vain.
async fn pester(world: &World, app: &Caller, session: &str) {
    let mut request = world.request("alice", session);
    request.context.ip = "203.0.113.9".parse().ok();
    world.create_with(app, request).await.expect("a challenge");
    world.pass(Duration::from_secs(90));
    while world.app.expire_due(&mut world.call()).await.expect("a sweep") {}
}

async fn contain(world: &World) {
    let mut call = world.call();
    let contained = world.app.contain_user(&mut call, &OPERATOR, world.tenant, alice(), None);
    contained.await.expect("contained");
}

/// What the log says of an event: its cause, by whom.
async fn logged(world: &World, event: Event) -> Vec<(Option<String>, Option<String>)> {
    let filter = EventFilter { event: Some(event), limit: 99, ..EventFilter::default() };
    let events = world.app.events(world.tenant, filter).await.expect("a log");
    let said = |event: app::EventView| (event.public.cause, event.private.and_then(|p| p.by));
    events.into_iter().map(said).collect()
}

async fn enrolment_alerts(world: &World) -> usize {
    let filter = EventFilter { event: Some(Event::Alert), limit: 99, ..EventFilter::default() };
    let events = world.app.events(world.tenant, filter).await.expect("a log");
    let kinds = events.iter().filter_map(|event| event.public.alert).map(|alert| alert.kind);
    kinds.filter(|kind| *kind == AlertKind::EnrolmentUnderAttack).count()
}

/// That a device is shown nothing and that its right answer is refused.
async fn is_shut_out(world: &World, app: &Caller, device: &Device, session: &str) {
    let created = world.create(app, "alice", session).await;
    assert!(world.cards(device, true).await.is_empty());
    let document = world.document(created.view.id).await;
    let number = created.number.as_ref().expect("a number").as_str();
    let answer =
        device.sign(&document, created.view.id, statement::AnswerDecision::Approve, number);
    assert_eq!(world.answer(device, answer).await.result, AnswerResult::Refused);
    world.app.cancel_challenge(&mut world.call(), app, created.view.id).await.expect("pending");
}

async fn works(world: &World, app: &Caller, device: &Device, session: &str) {
    let mut request = world.request("alice", session);
    request.context.ip = "198.51.100.7".parse().ok();
    let created = world.create_with(app, request).await.expect("a challenge");
    assert_eq!(told(world.approve(device, &created).await), Decision::Approved);
}

#[tokio::test]
async fn a_calm_user_s_new_device_works_at_once() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("alice").await;
    let second = world.enrol("alice", Some("tablet")).await.expect("a device");
    assert!(!second.connected.waits);
    works(&world, &app, &second, "s").await;
    assert_eq!(logged(&world, Event::DeviceWaiting).await, []);
    assert_eq!(enrolment_alerts(&world).await, 0);
}

#[tokio::test]
async fn a_device_enrolled_under_attack_waits_a_day() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let first = world.enrolled("alice").await.device;
    works(&world, &app, &first, "home").await;
    pester(&world, &app, "attacker").await;
    let second = world.enrol("alice", Some("new phone")).await.expect("a device");
    let login = world.login(&second.key, second.id).await.expect("a login");
    assert!(login.connected.waits && !login.totp_rebind);
    assert_eq!(*second.totp, [0; 20], "nor is it given the code generator");
    assert_eq!(logged(&world, Event::DeviceWaiting).await.len(), 1);
    assert_eq!(logged(&world, Event::DeviceWaiting).await[0].0.as_deref(), Some("time"));
    assert_eq!(enrolment_alerts(&world).await, 2, "for the ticket and for the device");
    is_shut_out(&world, &app, &second, "a").await;
    let notice = world.app.waiting_notice(&world.call(), &second.connected).await;
    let notice = notice.expect("the store works").expect("it waits");
    assert_eq!(notice.kind, NoticeKind::DeviceWaiting);
    assert!(notice.text.contains("in 24 h") && notice.text.len() <= 200, "{}", notice.text);
    works(&world, &app, &first, "meanwhile").await;

    world.pass(DAY - Duration::from_secs(1));
    assert!(world.login(&second.key, second.id).await.expect("a login").connected.waits);
    is_shut_out(&world, &app, &second, "b").await;
    world.pass(Duration::from_secs(1));
    works(&world, &app, &second, "c").await;
    assert!(!world.login(&second.key, second.id).await.expect("a login").connected.waits);
    let notice = world.app.waiting_notice(&world.call(), &second.connected).await;
    assert_eq!(notice, Ok(None));
}

#[tokio::test]
async fn a_wait_that_ends_under_a_worse_attack_goes_on_until_somebody_agrees() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("alice").await;
    pester(&world, &app, "attacker").await;
    let second = world.enrol("alice", Some("new phone")).await.expect("a device");
    let (factor, new, waits) = codes(&world, &OPERATOR).await;
    assert!(second.connected.waits && waits);
    world.pass(DAY - Duration::from_secs(1));
    contain(&world).await;
    world.pass(Duration::from_secs(1));
    is_shut_out(&world, &app, &second, "a").await;
    assert!(!passes(&world, &app, "b", &new[0]).await);
    assert_eq!(logged(&world, Event::WaitHeld).await, [(Some("raised".to_owned()), None)]);
    world.pass(30 * DAY);
    is_shut_out(&world, &app, &second, "c").await;
    let (app_, call) = (&world.app, world.call());
    let agreed = app_.approve_device(&call, &COLLEAGUE, world.tenant, second.id).await;
    assert_eq!(agreed.expect("it works").wait, None);
    works(&world, &app, &second, "d").await;
    app_.approve_factor(&call, &COLLEAGUE, world.tenant, alice(), factor).await.expect("agreed");
    assert!(passes(&world, &app, "e", &new[0]).await);
}

/// Asks from an unknown place; the person says that it wasn't them, at once or once it is over.
async fn report(world: &World, app: &Caller, device: &Device, late: bool) {
    let mut request = world.request("alice", "stranger");
    request.context.ip = "203.0.113.77".parse().ok();
    let created = world.create_with(app, request).await.expect("a challenge");
    let id = created.view.id;
    let answer = world.signed(device, id, statement::AnswerDecision::Report, "").await;
    if late {
        world.app.cancel_challenge(&mut world.call(), app, id).await.expect("pending");
    }
    world.answer(device, answer).await;
}

#[tokio::test]
async fn a_report_turns_a_wait_for_time_into_one_for_somebody() {
    for late in [false, true] {
        let world = World::new().await;
        let app = world.integration("vpn").await;
        let first = world.enrolled("alice").await.device;
        pester(&world, &app, "attacker").await;
        let second = world.enrol("alice", Some("new phone")).await.expect("a device");
        assert!(second.connected.waits);
        report(&world, &app, &first, late).await;
        let held = [(Some("reported".to_owned()), None)];
        assert_eq!(logged(&world, Event::WaitHeld).await, held, "late: {late}");
        // calm again long ago
        world.pass(30 * DAY);
        is_shut_out(&world, &app, &second, "a").await;
        let mut call = world.call();
        let agreed = world.app.approve_device(&call, &OPERATOR, world.tenant, second.id).await;
        assert!(matches!(agreed, Err(Error::SecondApprover(_))));
        call = world.call();
        let agreed = world.app.approve_device(&call, &COLLEAGUE, world.tenant, second.id).await;
        assert_eq!(agreed.expect("it works").wait, None);
    }
}

#[tokio::test]
async fn a_contained_user_s_device_waits_for_somebody_else() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("alice").await;
    contain(&world).await;
    let second = world.enrol("alice", Some("new phone")).await.expect("a device");
    world.pass(10 * DAY);
    is_shut_out(&world, &app, &second, "a").await;
    let connected = &second.connected;
    let mut mailbox =
        world.app.courier().connect(connected.tenant, connected.user, connected.device);
    let approve =
        async |actor| world.app.approve_device(&world.call(), actor, world.tenant, second.id).await;
    assert!(matches!(approve(&OPERATOR).await, Err(Error::SecondApprover(_))));
    is_shut_out(&world, &app, &second, "b").await;
    assert_eq!(approve(&COLLEAGUE).await.expect("it works").wait, None);
    let mut cx = Context::from_waker(Waker::noop());
    let mut hints = std::iter::from_fn(|| match mailbox.poll_hint(&mut cx) {
        Poll::Ready(hint) => Some(hint),
        Poll::Pending => None,
    });
    assert!(hints.any(|hint| matches!(hint, Hint::Resync)), "it looks what rings");
    works(&world, &app, &second, "c").await;
    assert_eq!(approve(&OPERATOR).await.expect("again").wait, None, "stays as it is");
    let by = Some("operator (uid 1)".to_owned());
    assert_eq!(logged(&world, Event::DeviceApproved).await, [(None, by)], "once");

    let nobody = statement::DeviceId::from_bytes([1; 16]);
    let app = &world.app;
    let refused = app.approve_device(&world.call(), &COLLEAGUE, world.tenant, nobody).await;
    assert_eq!(refused.map(|_| ()), Err(Error::NotFound));
    app.revoke_device(&mut world.call(), &OPERATOR, world.tenant, second.id).await.expect("gone");
    assert_eq!(approve(&COLLEAGUE).await.map(|_| ()), Err(Error::NotFound));
}

#[tokio::test]
async fn a_user_without_factors_enrols_at_once_and_a_revoked_device_makes_nobody_new() {
    let world = World::new().await;
    world.user("alice").await;
    contain(&world).await;
    let first = world.enrol("alice", None).await.expect("a device");
    assert!(!first.connected.waits);
    let app = &world.app;
    app.revoke_device(&mut world.call(), &OPERATOR, world.tenant, first.id).await.expect("gone");
    let second = world.enrol("alice", Some("lost phone")).await.expect("a device");
    assert!(second.connected.waits, "one operator alone can't make them new");
}

async fn codes(world: &World, actor: &Actor) -> (statement::FactorId, Vec<String>, bool) {
    let mut call = world.call();
    let made =
        world.app.create_factor(&mut call, actor, world.tenant, alice(), Method::RecoveryCode);
    match made.await.expect("codes") {
        NewFactor::RecoveryCodes { factor, codes, wait } => {
            (factor, codes.iter().map(|code| code.to_string()).collect(), wait.is_some())
        }
        NewFactor::Totp { .. } => panic!("asked for recovery codes"),
    }
}

async fn passes(world: &World, app: &Caller, session: &str, code: &str) -> bool {
    let created = world.create(app, "alice", session).await;
    let id = created.view.id;
    let passed = world.app.submit_code(&mut world.call(), app, id, code).await;
    if passed == Err(Error::CodeWrong) {
        world.app.cancel_challenge(&mut world.call(), app, id).await.expect("pending");
        return false;
    }
    assert_eq!(decision(passed.expect("the store works").state), Decision::Approved);
    true
}

#[tokio::test]
async fn new_codes_wait_and_the_old_ones_work_until_then() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("alice").await;
    let (_, old, waits) = codes(&world, &OPERATOR).await;
    assert!(!waits);
    pester(&world, &app, "attacker").await;
    let (_, new, waits) = codes(&world, &OPERATOR).await;
    assert!(waits);
    assert!(!passes(&world, &app, "a", &new[0]).await);
    assert!(passes(&world, &app, "b", &old[0]).await, "never the sign-in itself");
    world.pass(DAY);
    assert!(!passes(&world, &app, "c", &old[1]).await);
    assert!(passes(&world, &app, "d", &new[0]).await);
    let causes: Vec<_> = logged(&world, Event::FactorCreated).await;
    assert_eq!(causes.last().expect("an entry").0.as_deref(), Some("time"));
}

#[tokio::test]
async fn new_factors_of_a_contained_user_need_somebody_else() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("alice").await;
    let (_, old, _) = codes(&world, &OPERATOR).await;
    contain(&world).await;
    let (factor, new, _) = codes(&world, &OPERATOR).await;
    world.pass(10 * DAY);
    assert!(!passes(&world, &app, "a", &new[0]).await);
    let approve = async |actor| {
        world.app.approve_factor(&world.call(), actor, world.tenant, alice(), factor).await
    };
    assert!(matches!(approve(&OPERATOR).await, Err(Error::SecondApprover(_))));
    assert!(passes(&world, &app, "b", &old[0]).await);
    assert_eq!(approve(&COLLEAGUE).await.expect("they work").waiting, []);
    assert!(passes(&world, &app, "c", &new[0]).await);
    assert!(!passes(&world, &app, "d", &old[1]).await);
    approve(&OPERATOR).await.expect("stays as it is");
    assert_eq!(logged(&world, Event::FactorApproved).await.len(), 1);
}

#[tokio::test]
async fn a_reset_under_attack_takes_two_within_a_day() {
    let world = World::new().await;
    world.enrolled("alice").await;
    contain(&world).await;
    let reset = async |actor: &Actor| {
        world.app.reset_user(&mut world.call(), actor, world.tenant, alice(), reason()).await
    };
    for _ in 0..2 {
        assert!(matches!(reset(&OPERATOR).await, Err(Error::SecondApprover(_))));
    }
    assert_eq!(logged(&world, Event::ResetRequested).await.len(), 1);
    assert_eq!(enrolment_alerts(&world).await, 1);
    world.pass(DAY - Duration::from_secs(1));
    contain(&world).await;
    world.pass(Duration::from_secs(1));
    assert!(matches!(reset(&COLLEAGUE).await, Err(Error::SecondApprover(_))), "too late");
    assert_eq!(reset(&OPERATOR).await, Ok(()));
    let view = world.app.user(world.tenant, alice()).await.expect("a user");
    assert!(!view.enrolled);
}

fn key(integration: &str, hint: &str) -> Actor {
    Actor::Integration { name: integration.to_owned(), key: hint.to_owned() }
}

/// A bug once took two keys of one integration for two people.
#[tokio::test]
async fn two_keys_of_one_integration_are_not_two_people() {
    let world = World::new().await;
    world.enrolled("alice").await;
    contain(&world).await;
    let reset = async |actor: &Actor| {
        world.app.reset_user(&mut world.call(), actor, world.tenant, alice(), reason()).await
    };
    let (factor, ..) = codes(&world, &key("desk (a)", "csk_1111")).await;
    let approve = async |actor: &Actor| {
        let (call, tenant) = (world.call(), world.tenant);
        world.app.approve_factor(&call, actor, tenant, alice(), factor).await.map(|_| ())
    };
    let second = |result| matches!(result, Err(Error::SecondApprover(_)));
    assert!(second(approve(&key("desk (a)", "csk_2222")).await));
    assert_eq!(approve(&key("desk", "csk_2222")).await, Ok(()), "another integration");
    assert!(second(reset(&key("desk", "csk_1111")).await));
    assert!(second(reset(&key("desk", "csk_2222")).await));
    assert_eq!(reset(&OPERATOR).await, Ok(()), "somebody on the machine");
}

/// A bug once let one person switch withholding off for a user under attack.
#[tokio::test]
async fn to_make_a_user_for_emergencies_under_attack_takes_two() {
    let world = World::new().await;
    world.enrolled("alice").await;
    let put = async |actor: &Actor, on: bool| {
        let (app, mut call) = (&world.app, world.call());
        let put = app
            .put_user(
                &mut call,
                actor,
                world.tenant,
                alice(),
                UserWish { break_glass: Some(on), ttl: None },
            )
            .await;
        put.map(|(view, _)| view.user.break_glass)
    };
    assert_eq!(put(&OPERATOR, true).await, Ok(true), "calm");
    contain(&world).await;
    assert_eq!(put(&OPERATOR, false).await, Ok(false));
    for _ in 0..2 {
        assert!(matches!(put(&OPERATOR, true).await, Err(Error::SecondApprover(_))));
    }
    assert_eq!(logged(&world, Event::BreakGlassRequested).await.len(), 1);
    // whoever wanted this did not want that
    let mut call = world.call();
    let reset = world.app.reset_user(&mut call, &COLLEAGUE, world.tenant, alice(), reason());
    assert!(matches!(reset.await, Err(Error::SecondApprover(_))));
    assert!(matches!(put(&OPERATOR, true).await, Err(Error::SecondApprover(_))));
    assert_eq!(put(&COLLEAGUE, true).await, Ok(true));
}

#[tokio::test]
async fn a_reset_s_wish_survives_a_restart() {
    let world = World::new().await;
    world.enrolled("alice").await;
    contain(&world).await;
    let mut call = world.call();
    let asked = world.app.reset_user(&mut call, &OPERATOR, world.tenant, alice(), reason()).await;
    assert!(matches!(asked, Err(Error::SecondApprover(_))));
    let world = world.reopened().await;
    let mut call = world.call();
    let done = world.app.reset_user(&mut call, &COLLEAGUE, world.tenant, alice(), reason()).await;
    assert_eq!(done, Ok(()));
}

#[tokio::test]
async fn a_ticket_says_what_its_device_will_wait_for() {
    let world = World::new().await;
    world.enrolled("alice").await;
    for expected in [EnrolmentDecision::Allow, EnrolmentDecision::SecondApprover] {
        let request =
            app::TicketRequest { user: alice(), confirm: true, reason: Some("x".to_owned()) };
        let mut call = world.call();
        let made = world.app.create_ticket(&mut call, &OPERATOR, world.tenant, request).await;
        assert_eq!(made.expect("a ticket").decision, expected);
        contain(&world).await;
    }
}
