//! What a restart leaves.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use app::AnswerResult;
use domain::challenge::{Decision, State};
use statement::AnswerDecision;

use crate::world::{World, decision};

/// Where nobody has signed in from.
const HOTEL: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

#[tokio::test]
async fn pending_challenges_survive_and_decided_ones_stay_decided() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let alice = world.enrolled("alice").await;
    let mut strange = world.request("alice", "s1");
    strange.context.ip = Some(HOTEL);
    let denied = world.create_with(&app, strange).await.expect("a challenge");
    world.decide(&alice.device, &denied, AnswerDecision::Deny, "").await;
    let pending = world.create(&app, "alice", "s2").await;
    let world = world.reopened().await;
    assert_eq!(decision(world.state(&app, denied.view.id).await), Decision::Denied);
    assert_eq!(world.state(&app, pending.view.id).await, State::Pending);
    // the denied one no longer rings, so a new one may
    world.app.cancel_challenge(&mut world.call(), &app, pending.view.id).await.expect("a view");
    let fresh = world.create(&app, "alice", "s3").await;
    let cards = world.cards(&alice.device, false).await;
    assert_eq!(cards.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [fresh.view.id]);
    let view = world.app.cancel_challenge(&mut world.call(), &app, fresh.view.id).await;
    assert_eq!(decision(view.expect("a view").state), Decision::Cancelled);
}

#[tokio::test]
async fn what_a_denial_taught_survives() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let alice = world.enrolled("alice").await;
    let strange = |world: &World, session: &str| {
        let mut request = world.request("alice", session);
        request.context.ip = Some(HOTEL);
        request
    };
    let denied = world.create_with(&app, strange(&world, "s1")).await.expect("a challenge");
    world.decide(&alice.device, &denied, AnswerDecision::Deny, "").await;
    let world = world.reopened().await;
    let again = world.create_with(&app, strange(&world, "s2")).await.expect("a challenge");
    assert!(world.cards(&alice.device, false).await.is_empty());
    assert_eq!(world.approve(&alice.device, &again).await.result, AnswerResult::Withheld);
    // nor does another restart let it through
    let world = world.reopened().await;
    assert_eq!(world.state(&app, again.view.id).await, State::Pending);
    assert_eq!(world.approve(&alice.device, &again).await.result, AnswerResult::Withheld);
    let code = domain::totp::code(&alice.device.totp, world.now());
    let id = again.view.id;
    let view = world.app.submit_code(&mut world.call(), &app, id, &code).await.expect("a view");
    assert_eq!(decision(view.state), Decision::Approved);
    assert!(world.redeem(&app, id, "s2").await.is_ok());
}

#[tokio::test]
async fn a_merge_after_a_restart_gives_the_same_number() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("alice").await;
    let created = world.create(&app, "alice", "s1").await;
    let world = world.reopened().await;
    let again = world.create(&app, "alice", "s1").await;
    assert_eq!(again.view.id, created.view.id);
    let number = again.number.expect("a number");
    assert!(number.matches(created.number.expect("a number").as_str()));
}

#[tokio::test]
async fn spent_budgets_and_used_codes_stay_spent() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let alice = world.enrolled("alice").await;
    let code = domain::totp::code(&alice.device.totp, world.now());
    let created = world.create(&app, "alice", "s1").await;
    let id = created.view.id;
    world.app.submit_code(&mut world.call(), &app, id, &code).await.expect("approved");
    let world = world.reopened().await;
    let created = world.create(&app, "alice", "s2").await;
    let replayed = world.app.submit_code(&mut world.call(), &app, created.view.id, &code).await;
    assert_eq!(replayed.unwrap_err(), app::Error::CodeWrong);
    for _ in 0..4 {
        let id = created.view.id;
        drop(world.app.submit_code(&mut world.call(), &app, id, "000000").await);
    }
    let world = world.reopened().await;
    world.pass(Duration::from_secs(4));
    let next = domain::totp::code(&alice.device.totp, world.now().plus(Duration::from_secs(26)));
    let early = world.app.submit_code(&mut world.call(), &app, created.view.id, &next).await;
    assert_eq!(early.unwrap_err(), app::Error::CodeWrong);
    let master = backend_sql::MasterKey::load(&world.folder().join("keys/master.key"));
    let master = master.expect("the key is there");
    let verified = backend_sql::verify_audit(world.folder(), &master, None).await;
    assert!(verified.expect("the audit verifies").rows > 10);
}
