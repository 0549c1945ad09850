//! TOTP and recovery codes: budgets across sessions, single use, and the way back.

use std::sync::Arc;
use std::time::Duration;

use app::{Error, NewFactor};
use domain::attempts::{FREE_FAILURES, HARD_CAP};
use domain::audit::Event;
use domain::challenge::{Decision, Method, State};
use domain::totp;
use ports::UserRef;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::world::{OPERATOR, World, decision, told};

async fn submit(
    world: &World,
    app: &app::Caller,
    id: statement::ChallengeId,
    code: &str,
) -> Result<Decision, Error> {
    let view = world.app.submit_code(&mut world.call(), app, id, code).await?;
    Ok(decision(view.state))
}

fn wrong_code(secret: &totp::Secret, world: &World) -> String {
    let now = world.now();
    let near = [totp::code(secret, now), totp::code(secret, now.minus(Duration::from_secs(30)))];
    (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).expect("a wrong code")
}

async fn recovery_codes(world: &World, name: &str) -> Vec<String> {
    let user = UserRef::Name(name.to_owned());
    let made = world
        .app
        .create_factor(&mut world.call(), &OPERATOR, world.tenant, user, Method::RecoveryCode)
        .await;
    match made.expect("codes") {
        NewFactor::RecoveryCodes { codes, .. } => codes.iter().map(|c| c.to_string()).collect(),
        NewFactor::Totp { .. } => panic!("asked for recovery codes"),
    }
}

#[tokio::test]
async fn a_code_approves_once_and_never_again() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let code = totp::code(&alice.device.totp, world.now());
    let first = world.create(&app, "alice", "s1").await;
    assert_eq!(submit(&world, &app, first.view.id, &code).await, Ok(Decision::Approved));
    let receipt = world.redeem(&app, first.view.id, "s1").await;
    assert!(receipt.is_ok());
    let second = world.create(&app, "alice", "s2").await;
    assert_eq!(submit(&world, &app, second.view.id, &code).await, Err(Error::CodeWrong));
    // the one before it is older than the last accepted step
    let before = totp::code(&alice.device.totp, world.now().minus(Duration::from_secs(30)));
    assert_eq!(submit(&world, &app, second.view.id, &before).await, Err(Error::CodeWrong));
    assert_eq!(world.state(&app, second.view.id).await, State::Pending);
    // a decided challenge is told as it is and uses nothing up
    world.pass(Duration::from_secs(30));
    let next = totp::code(&alice.device.totp, world.now());
    assert_eq!(submit(&world, &app, first.view.id, &next).await, Ok(Decision::Approved));
    assert_eq!(submit(&world, &app, second.view.id, &next).await, Ok(Decision::Approved));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parallel_sessions_share_one_budget() {
    let world = Arc::new(World::new().await);
    let alice = world.enrolled("alice").await;
    // sessions of several integrations, decoys among them: the budget is the user's
    let mut targets = Vec::new();
    for n in 0..5 {
        let app = world.integration(&format!("app{n}")).await;
        for s in 0..10 {
            let created = world.create(&app, "alice", &format!("s{s}")).await;
            targets.push((app.clone(), created.view.id));
        }
    }
    let wrong = wrong_code(&alice.device.totp, &world);
    let barrier = Arc::new(Barrier::new(targets.len()));
    let mut tasks = JoinSet::new();
    for (app, id) in targets.clone() {
        let (world, barrier, wrong) = (Arc::clone(&world), Arc::clone(&barrier), wrong.clone());
        tasks.spawn(async move {
            barrier.wait().await;
            submit(&world, &app, id, &wrong).await
        });
    }
    assert!(tasks.join_all().await.iter().all(|answer| *answer == Err(Error::CodeWrong)));
    let filter =
        app::EventFilter { event: Some(Event::CodeFailed), limit: 1_000, ..Default::default() };
    let compared = world.app.events(world.tenant, filter).await.expect("events").len();
    assert_eq!(compared, usize::from(FREE_FAILURES), "compared at one instant");
    // the budget is spent: the right code reads as wrong until the delay is over
    let right = totp::code(&alice.device.totp, world.now());
    let (app, id) = &targets[0];
    assert_eq!(submit(&world, app, *id, &right).await, Err(Error::CodeWrong));
    world.pass(Duration::from_secs(6));
    let right = totp::code(&alice.device.totp, world.now());
    assert_eq!(submit(&world, app, *id, &right).await, Ok(Decision::Approved));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_parallel_uses_of_a_recovery_code_are_one() {
    let world = Arc::new(World::new().await);
    world.enrolled("alice").await;
    let code = recovery_codes(&world, "alice").await.remove(0);
    let mut targets = Vec::new();
    for n in 0..30 {
        let app = world.integration(&format!("app{n}")).await;
        targets.push((app.clone(), world.create(&app, "alice", "s").await.view.id));
    }
    let barrier = Arc::new(Barrier::new(targets.len()));
    let mut tasks = JoinSet::new();
    for (app, id) in targets {
        let (world, barrier, code) = (Arc::clone(&world), Arc::clone(&barrier), code.clone());
        tasks.spawn(async move {
            barrier.wait().await;
            submit(&world, &app, id, &code).await
        });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|a| **a == Ok(Decision::Approved)).count(), 1, "{answers:?}");
}

#[tokio::test]
async fn guessing_unknown_recovery_codes_costs_the_owner_nothing() {
    let world = World::new().await;
    world.enrolled("alice").await;
    let app = world.integration("vpn").await;
    let codes = recovery_codes(&world, "alice").await;
    let created = world.create(&app, "alice", "s1").await;
    for n in 0..40 {
        let junk = format!("{n:0>8}-0000-0000-0000-0000");
        assert_eq!(submit(&world, &app, created.view.id, &junk).await, Err(Error::CodeWrong));
    }
    // wrong secrets with a right id kill that code alone
    let stem = &codes[0][..8];
    for n in 0..20 {
        world.pass(Duration::from_secs(3600));
        let fresh = world.create(&app, "alice", &format!("t{n}")).await;
        let wrong = format!("{stem}-0000-0000-0000-{n:0>4}");
        assert_eq!(submit(&world, &app, fresh.view.id, &wrong).await, Err(Error::CodeWrong));
    }
    world.pass(Duration::from_secs(3600));
    let fresh = world.create(&app, "alice", "last").await;
    assert_eq!(submit(&world, &app, fresh.view.id, &codes[0]).await, Err(Error::CodeWrong));
    assert_eq!(submit(&world, &app, fresh.view.id, &codes[1]).await, Ok(Decision::Approved));
}

#[tokio::test]
async fn fifty_failures_lock_totp_and_an_approved_push_brings_it_back() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let mut failures = 0;
    while failures < HARD_CAP {
        world.pass(Duration::from_secs(3600));
        let created = world.create(&app, "alice", &format!("s{failures}")).await;
        let wrong = wrong_code(&alice.device.totp, &world);
        assert_eq!(submit(&world, &app, created.view.id, &wrong).await, Err(Error::CodeWrong));
        failures += 1;
    }
    world.pass(Duration::from_secs(100 * 3600));
    let created = world.create(&app, "alice", "late").await;
    let right = totp::code(&alice.device.totp, world.now());
    assert_eq!(submit(&world, &app, created.view.id, &right).await, Err(Error::CodeWrong));
    // nothing is given to a device that only connects
    let connected = &alice.device.connected;
    let none = world.app.rebind_totp(&mut world.call(), connected).await.expect("the store");
    assert!(none.is_none());
    // the person approves a push: push was never locked, and brings a new secret
    let answered = world.approve(&alice.device, &created).await;
    assert!(answered.totp_rebind);
    assert_eq!(told(answered), Decision::Approved);
    let secret = world.app.rebind_totp(&mut world.call(), connected).await.expect("the store");
    let secret = secret.expect("a new secret");
    assert_ne!(*secret, *alice.device.totp);
    let created = world.create(&app, "alice", "new").await;
    let code = totp::code(&secret, world.now());
    assert_eq!(submit(&world, &app, created.view.id, &code).await, Ok(Decision::Approved));
    // and only once
    let again = world.app.rebind_totp(&mut world.call(), connected).await.expect("the store");
    assert!(again.is_none());
}
