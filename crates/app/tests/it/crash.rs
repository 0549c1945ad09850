//! What a restart leaves.

use std::time::Duration;

use domain::challenge::{Decision, State};
use statement::AnswerDecision;

use crate::world::{World, decision, told};

#[tokio::test]
async fn pending_challenges_survive_and_decided_ones_stay_decided() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let alice = world.enrolled("alice").await;
    let denied = world.create(&app, "alice", "s1").await;
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
    assert_eq!(told(world.approve(&alice.device, &fresh).await), Decision::Approved);
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
