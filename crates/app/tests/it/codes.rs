//! TOTP and recovery codes: budgets across sessions, single use, and the way back.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use app::{AnswerResult, Caller, Created, Error, NewFactor};
use domain::attempts::{Budgets, DAY};
use domain::audit::Event;
use domain::challenge::{Decision, Method, Proof, State};
use domain::totp;
use ports::{NoticeKind, UserRef};
use statement::AnswerDecision;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::world::{Device, OPERATOR, World, decision, told};

const BUDGETS: Budgets = Budgets::DEFAULT;

/// A browser that holds a device cookie.
pub(crate) struct Browser {
    cookie: String,
}

impl Browser {
    /// One that a push was approved for more than a day ago.
    pub(crate) async fn own(world: &World, app: &Caller, name: &str, device: &Device) -> Self {
        let first = world.create(app, name, "own").await;
        world.approve(device, &first).await;
        let receipt = world.redeem(app, first.view.id, "own").await.expect("a receipt");
        world.pass(DAY + Duration::from_secs(3600));
        Self { cookie: receipt.device_cookie }
    }

    pub(crate) async fn create(
        &self,
        world: &World,
        app: &Caller,
        name: &str,
        session: &str,
    ) -> Created {
        let mut request = world.request(name, session);
        request.context.device_cookie = Some(self.cookie.clone());
        world.create_with(app, request).await.expect("a challenge")
    }
}

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
    // two wrong ones leave nothing to who says not where they are
    let mut request = world.request("alice", "s2");
    request.context.ip = Some(Ipv4Addr::new(192, 0, 2, 7).into());
    let second = world.create_with(&app, request).await.expect("a challenge");
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
    let failed = world.app.events(world.tenant, filter).await.expect("events");
    let of = |cause| failed.iter().filter(|e| e.public.cause.as_deref() == Some(cause)).count();
    let budget = BUDGETS.nowhere.day;
    assert_eq!(of("wrong"), usize::from(budget.burst), "compared at one instant");
    assert_eq!(failed.len(), of("wrong") + of("budget_spent"), "each is written down");
    assert_eq!(failed.len(), targets.len());
    // the budget is spent: the right code reads as wrong until a try has come back
    let right = totp::code(&alice.device.totp, world.now());
    let (app, id) = &targets[0];
    assert_eq!(submit(&world, app, *id, &right).await, Err(Error::CodeWrong));
    world.pass(DAY / u32::from(budget.refill));
    let right = totp::code(&alice.device.totp, world.now());
    let created = world.create(app, "alice", "later").await;
    assert_eq!(submit(&world, app, created.view.id, &right).await, Ok(Decision::Approved));
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

/// A bug once said of it that the code alone had passed.
#[tokio::test]
async fn a_recovery_code_on_a_withheld_answer_passes_as_both() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let device = world.enrolled("alice").await.device;
    let codes = recovery_codes(&world, "alice").await;
    let strange = async |session: &str| {
        let mut request = world.request("alice", session);
        request.context.ip = Some(Ipv4Addr::new(198, 51, 100, 7).into());
        world.create_with(&app, request).await.expect("a challenge")
    };
    world.decide(&device, &strange("s1").await, AnswerDecision::Deny, "").await;
    let asked = strange("s2").await;
    assert_eq!(world.approve(&device, &asked).await.result, AnswerResult::Withheld);
    assert_eq!(submit(&world, &app, asked.view.id, &codes[0]).await, Ok(Decision::Approved));
    let receipt = world.redeem(&app, asked.view.id, "s2").await.expect("a receipt");
    assert!(matches!(receipt.proof, Proof::BothByRecoveryCode(..)), "{:?}", receipt.proof);
    let claims = receipt.receipt.split('.').nth(1).expect("claims");
    let claims = data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).expect("base64");
    let claims = String::from_utf8(claims).expect("JSON");
    assert!(claims.contains(r#""amr":["swk","pop","user","recovery_code"]"#), "{claims}");
}

#[tokio::test]
async fn guessing_unknown_recovery_codes_costs_the_owner_nothing() {
    let world = World::new().await;
    let alice = world.enrolled("alice").await;
    let app = world.integration("vpn").await;
    let codes = recovery_codes(&world, "alice").await;
    let created = world.create(&app, "alice", "s1").await;
    for n in 0..40 {
        let junk = format!("{n:0>8}-0000-0000-0000-0000");
        assert_eq!(submit(&world, &app, created.view.id, &junk).await, Err(Error::CodeWrong));
    }
    let mut told = vec![NoticeKind::FactorCreated];
    assert_eq!(world.notices(&alice.device).await, told, "nobody has such a code");
    // wrong secrets with a right id kill that code alone, and its owner is told
    let stem = &codes[0][..8];
    for n in 0..20 {
        world.pass(Duration::from_secs(3600));
        let fresh = world.create(&app, "alice", &format!("t{n}")).await;
        let wrong = format!("{stem}-0000-0000-0000-{n:0>4}");
        assert_eq!(submit(&world, &app, fresh.view.id, &wrong).await, Err(Error::CodeWrong));
    }
    told.extend([NoticeKind::RepeatedFailures; 2]);
    assert_eq!(world.notices(&alice.device).await, told, "at five, and at the cap of ten");
    world.pass(Duration::from_secs(3600));
    let fresh = world.create(&app, "alice", "last").await;
    assert_eq!(submit(&world, &app, fresh.view.id, &codes[0]).await, Err(Error::CodeWrong));
    assert_eq!(submit(&world, &app, fresh.view.id, &codes[1]).await, Ok(Decision::Approved));
}

#[tokio::test]
async fn failures_from_ones_own_browser_lock_totp_and_an_approved_push_brings_it_back() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let own = Browser::own(&world, &app, "alice", &alice.device).await;
    for n in 0..BUDGETS.own.cap {
        world.pass(DAY / u32::from(BUDGETS.own.day.refill));
        let created = own.create(&world, &app, "alice", &format!("s{n}")).await;
        let wrong = wrong_code(&alice.device.totp, &world);
        assert_eq!(submit(&world, &app, created.view.id, &wrong).await, Err(Error::CodeWrong));
    }
    world.pass(Duration::from_secs(100 * 3600));
    let created = own.create(&world, &app, "alice", "late").await;
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
    let created = own.create(&world, &app, "alice", "new").await;
    let code = totp::code(&secret, world.now());
    assert_eq!(submit(&world, &app, created.view.id, &code).await, Ok(Decision::Approved));
    // and only once
    let again = world.app.rebind_totp(&mut world.call(), connected).await.expect("the store");
    assert!(again.is_none());
}

#[tokio::test]
async fn a_stranger_at_the_cap_locks_nothing_and_costs_the_person_none_of_their_tries() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let own = Browser::own(&world, &app, "alice", &alice.device).await;
    let budget = BUDGETS.unknown;
    for n in 0..budget.cap {
        world.pass(DAY / u32::from(budget.day.refill));
        let created = world.create(&app, "alice", &format!("s{n}")).await;
        let wrong = wrong_code(&alice.device.totp, &world);
        assert_eq!(submit(&world, &app, created.view.id, &wrong).await, Err(Error::CodeWrong));
    }
    world.pass(DAY);
    let right = totp::code(&alice.device.totp, world.now());
    let stranger = world.create(&app, "alice", "stranger").await;
    assert_eq!(submit(&world, &app, stranger.view.id, &right).await, Err(Error::CodeWrong));
    // all of their own are left: the burst but one wrong, then a right one
    for n in 1..BUDGETS.own.day.burst {
        let created = own.create(&world, &app, "alice", &format!("own{n}")).await;
        let wrong = wrong_code(&alice.device.totp, &world);
        assert_eq!(submit(&world, &app, created.view.id, &wrong).await, Err(Error::CodeWrong));
    }
    let created = own.create(&world, &app, "alice", "right").await;
    assert_eq!(submit(&world, &app, created.view.id, &right).await, Ok(Decision::Approved));
    // which revives the other lane too
    world.pass(Duration::from_secs(60));
    let right = totp::code(&alice.device.totp, world.now());
    let stranger = world.create(&app, "alice", "stranger").await;
    assert_eq!(submit(&world, &app, stranger.view.id, &right).await, Ok(Decision::Approved));
}

#[tokio::test]
async fn a_right_code_that_comes_too_late_or_after_the_decision_costs_nothing() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    for n in 0..10 {
        let created = world.create(&app, "alice", &format!("late{n}")).await;
        let right = totp::code(&alice.device.totp, world.now());
        // judged before the end, stored after it
        let mut call = world.call();
        world.pass(Duration::from_secs(600));
        let view = world.app.submit_code(&mut call, &app, created.view.id, &right).await;
        assert_eq!(decision(view.expect("a view").state), Decision::Expired);
    }
    for n in 0..10 {
        world.pass(Duration::from_secs(60));
        let id = world.create(&app, "alice", &format!("twice{n}")).await.view.id;
        let right = totp::code(&alice.device.totp, world.now());
        // both are compared before either is stored
        let (first, second) =
            tokio::join!(submit(&world, &app, id, &right), submit(&world, &app, id, &right));
        assert_eq!((first, second), (Ok(Decision::Approved), Ok(Decision::Approved)));
    }
}
