//! One ceremony after the other: what each party is told.

use std::time::Duration;

use app::{Error, EventFilter};
use domain::audit::Event;
use domain::challenge::{Decision, Methods, Purpose, State};
use domain::guard::Familiarity;
use statement::{AnswerDecision, ChallengeId};

use crate::world::{World, decision, told, wrong_number};

#[tokio::test]
async fn the_right_number_approves_and_redeems_once() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    assert_eq!((created.digits, created.view.state), (6, State::Pending));
    assert_eq!(world.redeem(&app, created.view.id, "s1").await.unwrap_err(), Error::NotApproved);
    assert_eq!(told(world.approve(&alice.device, &created).await), Decision::Approved);
    let wrong = world.redeem(&app, created.view.id, "another").await.unwrap_err();
    assert_eq!(wrong, Error::WrongSession);
    let receipt = world.redeem(&app, created.view.id, "s1").await.expect("a receipt");
    assert_eq!(receipt.receipt.split('.').count(), 3);
    let again = world.redeem(&app, created.view.id, "s1").await.unwrap_err();
    assert_eq!(again, Error::AlreadyRedeemed);
}

#[tokio::test]
async fn one_wrong_number_ends_the_challenge() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    let right = created.number.clone().expect("a number");
    let card = world.signed(&alice.device, created.view.id, AnswerDecision::Approve, "").await;
    let wrong = wrong_number(&[&created]);
    let document = world.cards(&alice.device, true).await.remove(0).1;
    let id = created.view.id;
    let first = alice.device.sign(&document, id, AnswerDecision::Approve, &wrong);
    assert_eq!(told(world.answer(&alice.device, first).await), Decision::Mismatch);
    let second = alice.device.sign(&document, id, AnswerDecision::Approve, right.as_str());
    assert_eq!(told(world.answer(&alice.device, second).await), Decision::Mismatch);
    assert_eq!(told(world.answer(&alice.device, card).await), Decision::Mismatch);
    assert_eq!(decision(world.state(&app, id).await), Decision::Mismatch);
}

#[tokio::test]
async fn deny_and_report_end_it_and_are_told_apart() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    for (answer, expected) in
        [(AnswerDecision::Deny, Decision::Denied), (AnswerDecision::Report, Decision::Reported)]
    {
        let created = world.create(&app, "alice", "s1").await;
        let answered = world.decide(&alice.device, &created, answer, "").await;
        assert_eq!(told(answered), expected);
        assert_eq!(decision(world.state(&app, created.view.id).await), expected);
    }
}

#[tokio::test]
async fn it_expires_by_itself_and_a_late_answer_changes_nothing() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    let number = created.number.clone().expect("a number");
    let id = created.view.id;
    let answer = world.signed(&alice.device, id, AnswerDecision::Approve, number.as_str()).await;
    world.pass(Duration::from_secs(90));
    let late = world.answer(&alice.device, answer).await;
    assert_ne!(late.result, app::AnswerResult::Withheld);
    while world.app.expire_due(&mut world.call()).await.expect("a sweep") {}
    assert_eq!(decision(world.state(&app, id).await), Decision::Expired);
    assert!(world.cards(&alice.device, true).await.is_empty());
}

#[tokio::test]
async fn an_approval_that_nobody_redeems_lapses_after_a_minute() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    world.approve(&alice.device, &created).await;
    world.pass(Duration::from_secs(60));
    let view = world.app.challenge(&mut world.call(), &app, created.view.id).await;
    assert!(view.expect("a view").lapsed);
    assert_eq!(world.redeem(&app, created.view.id, "s1").await.unwrap_err(), Error::Lapsed);
}

#[tokio::test]
async fn the_fifth_wrong_session_lapses_an_approval() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    world.approve(&alice.device, &created).await;
    for _ in 0..5 {
        let wrong = world.redeem(&app, created.view.id, "thief").await.unwrap_err();
        assert_eq!(wrong, Error::WrongSession);
    }
    assert_eq!(world.redeem(&app, created.view.id, "s1").await.unwrap_err(), Error::Lapsed);
}

#[tokio::test]
async fn a_report_of_a_redeemed_sign_in_kills_its_cookie_and_alerts() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    let document = world.cards(&alice.device, true).await.remove(0).1;
    // somebody else's stolen code is quicker than the person
    let code = domain::totp::code(&alice.device.totp, world.now());
    let id = created.view.id;
    world.app.submit_code(&mut world.call(), &app, id, &code).await.expect("approved");
    let cookie = world.redeem(&app, id, "s1").await.expect("a receipt").device_cookie;
    let (cookie, _) = domain::cookie::DeviceCookie::decode(&cookie).expect("a cookie");
    let report = alice.device.sign(&document, id, AnswerDecision::Report, "");
    assert_eq!(told(world.answer(&alice.device, report).await), Decision::Approved);
    let user = ports::UserRef::Name("alice".to_owned());
    let user = world.app.user(world.tenant, user).await.expect("a user").user;
    assert!(!cookie.is_current(user.epoch, world.now()));
    let event = Some(domain::audit::Event::Alert);
    let filter = app::EventFilter { event, limit: 10, ..Default::default() };
    let alerts = world.app.events(world.tenant, filter).await.expect("events");
    let alerts: Vec<_> = alerts.iter().filter_map(|event| event.public.alert).collect();
    let kinds: Vec<_> = alerts.iter().map(|alert| alert.kind).collect();
    assert_eq!(kinds, [domain::guard::AlertKind::ReportedLate]);
}

#[tokio::test]
async fn a_report_lapses_an_approval_and_kills_its_cookies() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let first = world.create(&app, "alice", "s1").await;
    world.approve(&alice.device, &first).await;
    let cookie = world.redeem(&app, first.view.id, "s1").await.expect("a receipt").device_cookie;
    let second = world.create(&app, "alice", "s2").await;
    let document = world.cards(&alice.device, true).await.remove(0).1;
    world.approve(&alice.device, &second).await;
    let report = alice.device.sign(&document, second.view.id, AnswerDecision::Report, "");
    assert_eq!(told(world.answer(&alice.device, report).await), Decision::Approved);
    assert_eq!(world.redeem(&app, second.view.id, "s2").await.unwrap_err(), Error::Lapsed);
    // the cookie is not valid any more: it comes from nowhere
    let mut request = world.request("alice", "s3");
    request.context.device_cookie = Some(cookie);
    let id = world.create_with(&app, request).await.expect("a challenge").view.id;
    let filter =
        EventFilter { event: Some(Event::ChallengeCreated), limit: 9, ..EventFilter::default() };
    let events = world.app.events(world.tenant, filter).await.expect("a log");
    let made =
        events.into_iter().find(|event| event.public.challenge == Some(id)).expect("it was made");
    assert_eq!(made.public.guard.map(|guard| guard.familiarity), Some(Familiarity::Nowhere));
}

#[tokio::test]
async fn the_same_session_merges_and_another_thing_supersedes() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let first = world.create(&app, "alice", "s1").await;
    let again = world.create(&app, "alice", "s1").await;
    assert_eq!(again.view.id, first.view.id);
    assert!(again.number.expect("a number").matches(first.number.expect("a number").as_str()));
    let mut step_up = world.request("alice", "s1");
    step_up.purpose = Some(Purpose::StepUp);
    let second = world.create_with(&app, step_up).await.expect("a challenge");
    assert_ne!(second.view.id, first.view.id);
    assert_eq!(decision(world.state(&app, first.view.id).await), Decision::Superseded);
    let cards = world.cards(&alice.device, false).await;
    assert_eq!(cards.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [second.view.id]);
}

#[tokio::test]
async fn another_session_has_its_own_number_and_is_silent() {
    let world = World::new().await;
    let (app, other) = (world.integration("vpn").await, world.integration("mail").await);
    let alice = world.enrolled("alice").await;
    let first = world.create(&app, "alice", "s1").await;
    let second = world.create(&app, "alice", "s2").await;
    let third = world.create(&other, "alice", "s1").await;
    assert_eq!(world.cards(&alice.device, false).await.len(), 1);
    assert_eq!(world.cards(&alice.device, true).await.len(), 3);
    let numbers: Vec<_> =
        [&first, &second, &third].iter().map(|c| c.number.clone().expect("a number")).collect();
    assert!(!numbers[0].matches(numbers[1].as_str()) && !numbers[1].matches(numbers[2].as_str()));
    assert_eq!(told(world.approve(&alice.device, &second).await), Decision::Approved);
    assert_eq!(world.state(&app, first.view.id).await, State::Pending);
    let foreign = world.app.challenge(&mut world.call(), &app, third.view.id).await;
    assert_eq!(foreign.unwrap_err(), Error::NotFound);
}

#[tokio::test]
async fn the_number_of_another_sign_in_ends_both_unless_that_one_is_familiar() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let first = world.create(&app, "alice", "own").await;
    world.approve(&alice.device, &first).await;
    let cookie = world.redeem(&app, first.view.id, "own").await.expect("a receipt").device_cookie;
    // a cookie earned from nowhere is known a day later
    world.pass(Duration::from_secs(25 * 60 * 60));
    for familiar in [false, true] {
        let mut request = world.request("alice", "own");
        request.context.device_cookie = familiar.then(|| cookie.clone());
        let own = world.create_with(&app, request).await.expect("a challenge");
        let strange = world.create(&app, "alice", "stranger").await;
        let typed = own.number.clone().expect("a number");
        let answered =
            world.decide(&alice.device, &strange, AnswerDecision::Approve, typed.as_str()).await;
        assert_eq!(told(answered), Decision::Mismatch);
        let state = world.state(&app, own.view.id).await;
        if familiar {
            assert_eq!(state, State::Pending);
        } else {
            assert_eq!(decision(state), Decision::Mismatch);
        }
        let why = world.app.why(world.tenant, strange.view.id).await.expect("a sentence");
        assert!(why.contains("a wrong number was typed"), "{why}");
    }
}

#[tokio::test]
async fn without_a_first_factor_nothing_rings_and_only_push_is_offered() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let mut request = world.request("alice", "s1");
    request.first_factor = None;
    let created = world.create_with(&app, request.clone()).await.expect("a challenge");
    assert_eq!(created.methods, Methods::PUSH);
    assert!(world.cards(&alice.device, false).await.is_empty());
    assert_eq!(world.cards(&alice.device, true).await.len(), 1);
    // one that is too old counts as none
    let mut stale = world.request("alice", "s2");
    stale.first_factor.as_mut().expect("one").at = world.now().minus(Duration::from_secs(601));
    let created = world.create_with(&app, stale).await.expect("a challenge");
    assert_eq!(created.methods, Methods::PUSH);
    request.methods = Some(Methods::default().with(domain::challenge::Method::Totp));
    let refused = world.create_with(&app, request).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { field: "methods", .. }));
}

#[tokio::test]
async fn past_the_live_bound_the_oldest_silent_one_gives_way() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let mut made = Vec::new();
    for n in 0..10 {
        made.push(world.create(&app, "alice", &format!("s{n}")).await);
    }
    let ids = |cards: Vec<(ChallengeId, Vec<u8>)>| cards.into_iter().map(|(id, _)| id);
    let shown: Vec<ChallengeId> = ids(world.cards(&alice.device, true).await).collect();
    // the first rings and stays
    let wanted: Vec<ChallengeId> =
        [&made[..1], &made[3..]].concat().iter().map(|c| c.view.id).collect();
    assert_eq!(shown, wanted);
    let why = world.app.why(world.tenant, made[9].view.id).await.expect("a sentence");
    assert!(why.contains("an older one gave way"), "{why}");
    // from outside it lives on, and whoever has it on their screen may answer
    assert_eq!(world.create(&app, "alice", "s1").await.view.id, made[1].view.id);
    let document = world.document(made[1].view.id).await;
    let number = made[1].number.as_ref().expect("a number").as_str();
    let answer = alice.device.sign(&document, made[1].view.id, AnswerDecision::Approve, number);
    assert_eq!(told(world.answer(&alice.device, answer).await), Decision::Approved);
}

#[tokio::test]
async fn cancelling_takes_the_card_away_and_a_decided_one_stays() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    let view = world.app.cancel_challenge(&mut world.call(), &app, created.view.id).await;
    assert_eq!(decision(view.expect("a view").state), Decision::Cancelled);
    assert!(world.cards(&alice.device, true).await.is_empty());
    let created = world.create(&app, "alice", "s1").await;
    world.approve(&alice.device, &created).await;
    let view = world.app.cancel_challenge(&mut world.call(), &app, created.view.id).await;
    assert_eq!(decision(view.expect("a view").state), Decision::Approved);
}
