//! Parallel calls: one winner, and everybody is told the same.

use std::collections::HashSet;
use std::sync::Arc;

use app::{Answer, AnswerResult, Caller, Created, Error};
use domain::audit::Event;
use domain::challenge::{Decision, Mode, State};
use statement::{AnswerDecision, ChallengeId};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::world::{Device, World, decision, runs, told};

async fn count(world: &World, event: Event) -> usize {
    let filter = app::EventFilter { event: Some(event), limit: 1_000, ..Default::default() };
    world.app.events(world.tenant, filter).await.expect("events").len()
}

/// How often the log says that a challenge was decided.
async fn decisions(world: &World, user: &str, id: ChallengeId) -> usize {
    let user = Some(ports::UserRef::Name(user.to_owned()));
    let event = Some(Event::ChallengeDecided);
    let filter = app::EventFilter { event, user, limit: 1_000, ..Default::default() };
    let rows = world.app.events(world.tenant, filter).await.expect("events");
    rows.iter().filter(|row| row.public.challenge == Some(id)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_identical_answers_are_one_decision() {
    let world = Arc::new(World::new().await);
    let app = world.integration("vpn").await;
    let alice = Arc::new(world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    let number = created.number.clone().expect("a number");
    let id = created.view.id;
    let answer = world.signed(&alice.device, id, AnswerDecision::Approve, number.as_str()).await;
    let barrier = Arc::new(Barrier::new(100));
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let (world, alice) = (Arc::clone(&world), Arc::clone(&alice));
        let (answer, barrier) = (answer.clone(), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            told(world.answer(&alice.device, answer).await)
        });
    }
    let told: HashSet<Decision> = tasks.join_all().await.into_iter().collect();
    assert_eq!(told, HashSet::from([Decision::Approved]));
    assert_eq!(count(&world, Event::ChallengeDecided).await, 1);
}

/// A bug once let a spray ring everybody whom it asked within the time of a commit.
#[tokio::test]
async fn users_asked_all_at_once_from_one_address_see_each_other() {
    const USERS: usize = 40;
    let world = Arc::new(World::new().await);
    let app = world.integration("vpn").await;
    for n in 0..USERS {
        world.enrolled(&format!("user{n}")).await;
    }
    let barrier = Arc::new(Barrier::new(USERS));
    let mut tasks = JoinSet::new();
    for n in 0..USERS {
        let (world, app, barrier) = (Arc::clone(&world), app.clone(), Arc::clone(&barrier));
        let mut request = world.request(&format!("user{n}"), &format!("s{n}"));
        request.context.ip = "203.0.113.9".parse().ok();
        tasks.spawn(async move {
            barrier.wait().await;
            let created = world.create_with(&app, request).await.expect("a challenge");
            world.mode(created.view.id).await
        });
    }
    let modes = tasks.join_all().await;
    let rang = modes.iter().filter(|mode| **mode == Mode::Ring).count();
    assert!((1..=10).contains(&rang), "{rang} of {USERS} rang");
}

/// What a rival of an approval does: 0 denies, 1 lets it expire, 2 supersedes, 3 cancels, 4 revokes the device. What
/// it was told, where it asks what became of it.
async fn act(
    world: &World,
    app: &Caller,
    rival: usize,
    device: &Device,
    (created, deny): (&Created, Answer),
) -> Option<Decision> {
    let mut call = world.call();
    let id = created.view.id;
    match rival {
        0 => return Some(told(world.answer(device, deny).await)),
        1 => {
            world.pass(std::time::Duration::from_millis(1));
            world.app.expire_due(&mut call).await.expect("a sweep");
        }
        2 => {
            let user = ports::UserRef::Id(device.connected.user);
            let mut other = world.request("", "s1");
            (other.user, other.purpose) = (user, Some(domain::challenge::Purpose::StepUp));
            world.create_with(app, other).await.expect("a challenge");
        }
        3 => {
            let view = world.app.cancel_challenge(&mut call, app, id).await;
            return Some(decision(view.expect("a view").state));
        }
        _ => {
            let operator = &crate::world::OPERATOR;
            let revoked =
                world.app.revoke_device(&mut call, operator, world.tenant, device.id).await;
            revoked.expect("a revocation");
        }
    }
    None
}

/// Whoever answered was told what stands.
fn agree(told: AnswerResult, stands: State, rival: usize) {
    match told {
        AnswerResult::Settled(State::Decided(told)) => {
            assert_eq!(told.decision, decision(stands), "rival {rival}");
        }
        AnswerResult::Late => assert_ne!(decision(stands), Decision::Approved),
        AnswerResult::Refused => {
            assert_eq!(rival, 4, "only revocation refuses");
            let approved = matches!(stands, State::Decided(d) if d.decision == Decision::Approved);
            assert!(!approved, "a refused answer approved");
        }
        other => panic!("rival {rival}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approve_against_deny_expire_supersede_cancel_and_revoke_has_one_winner() {
    let world = Arc::new(World::new().await);
    let app = world.integration("vpn").await;
    let mut won = [[0; 2]; 5];
    for round in 0..runs(40, 400) {
        let name = format!("user{round}");
        let person = Arc::new(world.enrolled(&name).await);
        let created = world.create(&app, &name, "s1").await;
        let number = created.number.clone().expect("a number");
        let id = created.view.id;
        let approve =
            world.signed(&person.device, id, AnswerDecision::Approve, number.as_str()).await;
        let rival = round % 5;
        let deny = world.signed(&person.device, id, AnswerDecision::Deny, "").await;
        if rival == 1 {
            // the last millisecond: the sweep sees it as past, the answer was signed before
            world.pass(std::time::Duration::from_millis(89_999));
        }
        let barrier = Arc::new(Barrier::new(2));
        let answering = tokio::spawn({
            let (world, person, barrier) =
                (Arc::clone(&world), Arc::clone(&person), Arc::clone(&barrier));
            async move {
                barrier.wait().await;
                world.answer(&person.device, approve).await
            }
        });
        barrier.wait().await;
        let rival_told = act(&world, &app, rival, &person.device, (&created, deny)).await;
        let answered = answering.await.expect("no panic");
        let stands = world.state(&app, id).await;
        assert!(rival_told.is_none_or(|told| told == decision(stands)), "rival {rival}");
        // a code could still pass what a revoked device no longer can
        let is_open = stands == State::Pending;
        assert!(!is_open || rival == 4, "rival {rival}");
        assert_eq!(decisions(&world, &name, id).await, usize::from(!is_open), "rival {rival}");
        won[rival][usize::from(is_open || decision(stands) != Decision::Approved)] += 1;
        agree(answered.result, stands, rival);
    }
    let [deny, expire, supersede, cancel, revoke] = won;
    println!(
        "counted: approve against a rival, won and lost: deny {deny:?}, expire {expire:?}, supersede \
         {supersede:?}, cancel {cancel:?}, revoke {revoke:?}"
    );
    for side in [0, 1] {
        assert!(won.iter().any(|won| won[side] > 0), "a race that only one side can win is none");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_redeems_are_one_receipt() {
    let world = Arc::new(World::new().await);
    let app = world.integration("vpn").await;
    let alice = world.enrolled("alice").await;
    let created = world.create(&app, "alice", "s1").await;
    world.approve(&alice.device, &created).await;
    let id = created.view.id;
    let barrier = Arc::new(Barrier::new(64));
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (world, app, barrier) = (Arc::clone(&world), app.clone(), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            world.redeem(&app, id, "s1").await.map(|_| ())
        });
    }
    let answers = tasks.join_all().await;
    let receipts = answers.iter().filter(|answer| answer.is_ok()).count();
    let rest = answers.iter().filter(|a| **a == Err(Error::AlreadyRedeemed)).count();
    assert_eq!((receipts, rest), (1, 63));
    assert_eq!(count(&world, Event::ChallengeRedeemed).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_requests_of_one_session_are_one_challenge_and_one_rings() {
    let world = Arc::new(World::new().await);
    let app = world.integration("vpn").await;
    let alice = world.enrolled("alice").await;
    let barrier = Arc::new(Barrier::new(24));
    let mut tasks = JoinSet::new();
    for n in 0..24 {
        let (world, app, barrier) = (Arc::clone(&world), app.clone(), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            let request = world.request("alice", &format!("s{}", n % 4));
            world.create_with(&app, request).await.map(|created| (n % 4, created.view.id))
        });
    }
    let mut by_session: Vec<HashSet<_>> = vec![HashSet::new(); 4];
    for created in tasks.join_all().await {
        match created {
            Ok((session, id)) => drop(by_session[session].insert(id)),
            Err(error) => assert!(matches!(error, Error::Store(_)), "{error:?}"),
        }
    }
    assert!(by_session.iter().all(|ids| ids.len() == 1), "{by_session:?}");
    assert_eq!(world.cards(&alice.device, false).await.len(), 1);
    assert_eq!(world.cards(&alice.device, true).await.len(), 4);
}

#[tokio::test]
async fn a_cookie_redeemed_beside_a_reset_is_dead() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let mut redeemed = 0;
    for round in 0..runs(20, 200) {
        let name = format!("user{round}");
        let person = world.enrolled(&name).await;
        let created = world.create(&app, &name, "s1").await;
        world.approve(&person.device, &created).await;
        let (mut call, user) = (world.call(), ports::UserRef::Name(name));
        let (operator, why) = (&crate::world::OPERATOR, Some("lost phone".to_owned()));
        let reset = world.app.reset_user(&mut call, operator, world.tenant, user.clone(), why);
        let (receipt, reset) = tokio::join!(world.redeem(&app, created.view.id, "s1"), reset);
        reset.expect("a reset");
        if let Ok(receipt) = receipt {
            redeemed += 1;
            let cookie = domain::cookie::DeviceCookie::decode(&receipt.device_cookie);
            let (cookie, _) = cookie.expect("a cookie");
            let user = world.app.user(world.tenant, user).await.expect("a user").user;
            assert!(!cookie.is_current(user.epoch, world.now()), "round {round}");
        }
    }
    assert!(redeemed > 0, "no redeem came first");
}
