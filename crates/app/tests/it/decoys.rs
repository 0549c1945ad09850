//! What nobody can tell: whether a user exists, is enrolled, is past the bound; and what the number is.

use std::collections::{BTreeMap, HashSet};

use app::{AnswerResult, CreateRequest, Error, EventFilter};
use domain::audit::Event;
use domain::challenge::{Decision, Method, Mode, State};
use domain::guard::Reason;
use domain::totp;
use statement::{AnswerDecision, ChallengeId};

use crate::world::{Device, OPERATOR, World, decision, runs};

/// Everything that a caller can see of a challenge's whole life, with its own values taken out.
async fn life(world: &World, app: &app::Caller, user: &str, session: &str) -> Vec<String> {
    let (mut seen, id) = life_of(world, app, world.request(user, session), None).await;
    seen.push(ending(world, app, id).await);
    seen
}

/// The same of any request, which somebody may answer rightly, as long as it lives.
async fn life_of(
    world: &World,
    app: &app::Caller,
    request: CreateRequest,
    device: Option<&Device>,
) -> (Vec<String>, ChallengeId) {
    let mut seen = Vec::new();
    let session = request.context.browser_session.clone();
    let session = session.trim_end_matches('-');
    let created = world.create_with(app, request.clone()).await.expect("a challenge");
    let id = created.view.id;
    if let Some(device) = device {
        let answered = world.approve(device, &created).await;
        assert_eq!(answered.result, AnswerResult::Withheld);
    }
    seen.push(format!(
        "{:?} {} {} {:?} {}",
        created.view.state,
        created.number.as_ref().map_or(0, |number| number.len()),
        created.digits,
        created.methods,
        created.view.expires.since(world.now()).as_millis(),
    ));
    let again = world.create_with(app, request).await.expect("the same challenge");
    seen.push(format!("merged {}", again.view.id == id));
    for code in ["000000", "ZZZZZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ", "junk"] {
        let answer = world.app.submit_code(&mut world.call(), app, id, code).await;
        seen.push(format!("{:?}", answer.map(|_| ())));
    }
    seen.push(format!("{:?}", world.redeem(app, id, session).await.map(|_| ())));
    seen.push(format!("{:?}", world.state(app, id).await));
    (seen, id)
}

/// How it ends when its time is up. Nobody outside waits for the sweep that ends it.
async fn ending(world: &World, app: &app::Caller, id: ChallengeId) -> String {
    world.pass(std::time::Duration::from_secs(90));
    while world.app.expire_due(&mut world.call()).await.expect("a sweep") {}
    format!("{:?}", decision(world.state(app, id).await))
}

#[tokio::test]
async fn unknown_unenrolled_and_real_users_are_alike_in_answers_calls_rows_and_commits() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.user("unenrolled").await;
    world.enrolled("real").await;
    // the first life of each makes what lasts (a counter, a cell); the second is compared
    let mut lives = Vec::new();
    for user in ["real", "unenrolled", "nobody"] {
        life(&world, &app, user, "first").await;
        world.pass(std::time::Duration::from_secs(7200));
        let life = life_of(&world, &app, world.request(user, "second"), None);
        let ((seen, id), cost) = cost(&world, life).await;
        assert!(cost.rows > 0, "a life leaves rows");
        assert!(cost.calls["Ledger::open"] == 1, "a life is opened once: {cost:?}");
        lives.push((seen, cost, ending(&world, &app, id).await));
        world.pass(std::time::Duration::from_secs(7200));
    }
    assert_eq!(lives[0], lives[1]);
    assert_eq!(lives[0], lives[2]);
}

#[tokio::test]
async fn two_hundred_attempts_on_real_and_unknown_users_read_the_same() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("real").await;
    for n in 0..runs(50, 200) {
        let session = format!("s{n}");
        let real = life(&world, &app, "real", &session).await;
        let decoy = life(&world, &app, "nobody", &session).await;
        assert_eq!(real, decoy, "attempt {n}");
        world.pass(std::time::Duration::from_secs(3600));
    }
    println!("counted: {} attempts on a real and an unknown user read the same", runs(50, 200));
}

/// What something cost the stores.
#[derive(Debug, PartialEq)]
struct Cost {
    /// How often each of their methods was called.
    calls: BTreeMap<&'static str, u64>,
    commits: u64,
    /// But those of alerts, which ride in transactions that are there anyway.
    rows: u64,
}

async fn cost<T>(world: &World, what: impl Future<Output = T>) -> (T, Cost) {
    // the writer anchors by itself after so many rows: not in here
    world.app.checkpoint().await.expect("a checkpoint");
    let before = (world.written().await, alerts(world).await);
    world.calls.take();
    let done = what.await;
    let calls = world.calls.take();
    let after = (world.written().await, alerts(world).await);
    let rows = after.0.rows - before.0.rows - (after.1 - before.1);
    (done, Cost { calls, commits: after.0.commits - before.0.commits, rows })
}

/// How many alerts security staff can see.
async fn alerts(world: &World) -> u64 {
    let filter = EventFilter { event: Some(Event::Alert), limit: 500, ..EventFilter::default() };
    world.app.events(world.tenant, filter).await.expect("a log").len() as u64
}

/// A request from somewhere unknown.
fn strange(world: &World, user: &str, session: &str) -> CreateRequest {
    let mut request = world.request(user, session);
    request.context.ip = "203.0.113.9".parse().ok();
    request
}

/// How security staff see a challenge.
async fn judged(world: &World, id: ChallengeId) -> (u8, Mode, Reason) {
    let filter =
        EventFilter { event: Some(Event::ChallengeCreated), limit: 500, ..EventFilter::default() };
    let events = world.app.events(world.tenant, filter).await.expect("a log");
    let made = events.into_iter().map(|event| event.public);
    let mut made = made.filter(|public| public.challenge == Some(id));
    let made = made.next_back().expect("it was made");
    let mode = made.mode.expect("a mode");
    (made.guard.map_or(0, |guard| guard.level), mode, made.reasons[0])
}

/// What anybody but security staff sees is the same, however alarmed the guard is; and so is what it costs. The
/// same is asked for each user, others that live beside it included.
#[tokio::test]
async fn they_look_alike_at_every_level() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.user("unenrolled").await;
    let real = world.enrolled("real").await;
    let mut found = HashSet::new();
    let mut compare = async |session: &str, others: usize, device: Option<&Device>| {
        let measured = async |user: &str, device| {
            for n in 0..others {
                let request = strange(&world, user, &format!("{session}{n}"));
                world.create_with(&app, request).await.expect("one of many");
            }
            let life = life_of(&world, &app, strange(&world, user, session), device);
            let ((seen, id), cost) = cost(&world, life).await;
            (seen, ending(&world, &app, id).await, cost, id)
        };
        let (seen, ended, real, id) = measured("real", device).await;
        for other in ["unenrolled", "nobody"] {
            let decoy = measured(other, None).await;
            assert_eq!((&seen, &ended), (&decoy.0, &decoy.1), "{session}, {other}");
            // what a device answers is written down too, and nobody outside waits for that
            assert!(device.is_some() || real == decoy.2, "{session}, {other}: {real:?}, {decoy:?}");
        }
        let (level, mode, reason) = judged(&world, id).await;
        found.insert((level, mode, device.is_some()));
        (level, mode, reason)
    };
    // nobody answers: it rings, is silent, is held
    for n in 0..12 {
        compare(&format!("try{n}"), 0, None).await;
        world.pass(std::time::Duration::from_secs(200));
    }
    // the person refuses, and is then talked into a right answer
    let created = world.create_with(&app, strange(&world, "real", "refused")).await;
    world.decide(&real.device, &created.expect("one"), AnswerDecision::Report, "").await;
    compare("reported", 0, None).await;
    compare("answered", 0, Some(&real.device)).await;
    // more at once than may live
    compare("flooded", 60, None).await;
    // beside another one that rings
    world.pass(std::time::Duration::from_secs(30 * 24 * 60 * 60));
    let user = ports::UserRef::Name("real".to_owned());
    let why = Some("test".to_owned());
    let cleared = world.app.clear_user(&mut world.call(), &OPERATOR, world.tenant, user, why).await;
    cleared.expect("cleared");
    let (_, mode, reason) = compare("second", 1, None).await;
    assert_eq!((mode, reason), (Mode::Silent, Reason::AnotherRings));
    assert!(found.iter().any(|(_, mode, _)| *mode == Mode::Ring), "{found:?}");
    let wanted = [
        (1, Mode::Silent, false),
        (2, Mode::Silent, false),
        (3, Mode::Silent, false),
        (3, Mode::Silent, true),
    ];
    for state in wanted {
        assert!(found.contains(&state), "{state:?} is not among {found:?}");
    }
}

/// Whoever measures how long an answer takes must not learn whether an alert was raised with it.
#[tokio::test]
async fn an_alert_costs_no_write_of_its_own() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("real").await;
    let mut costs = Vec::new();
    for n in 0..8 {
        let before = alerts(&world).await;
        let create = world.create_with(&app, strange(&world, "real", &format!("s{n}")));
        let (created, cost) = cost(&world, create).await;
        costs.push((alerts(&world).await > before, cost));
        let id = created.expect("a challenge").view.id;
        world.app.cancel_challenge(&mut world.call(), &app, id).await.expect("pending");
        world.pass(std::time::Duration::from_secs(120));
    }
    assert!(costs.iter().any(|(alert, _)| *alert) && costs.iter().any(|(alert, _)| !alert));
    assert!(costs.iter().all(|(_, cost)| *cost == costs[0].1), "{costs:?}");
}

/// Nor whether a code was compared at all.
#[tokio::test]
async fn a_code_beyond_its_budget_costs_what_a_compared_one_does() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("real").await;
    for (code, most) in [("000000", 5), ("ZZZZZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ", 40)] {
        let id = world.create_with(&app, strange(&world, "real", code)).await;
        let id = id.expect("a challenge").view.id;
        let mut costs = Vec::new();
        for _ in 0..most + 3 {
            let mut call = world.call();
            let (tried, cost) =
                cost(&world, world.app.submit_code(&mut call, &app, id, code)).await;
            assert_eq!(tried.unwrap_err(), Error::CodeWrong);
            costs.push(cost);
        }
        assert!(costs.iter().all(|cost| *cost == costs[0]), "{code}: {costs:?}");
    }
    let filter =
        EventFilter { event: Some(Event::CodeFailed), limit: 500, ..EventFilter::default() };
    let failed = world.app.events(world.tenant, filter).await.expect("a log");
    let told = |cause: &str, method| {
        let is_told = |event: &app::EventView| {
            event.public.cause.as_deref() == Some(cause) && event.public.factor == Some(method)
        };
        failed.iter().any(is_told)
    };
    assert!(told("wrong", Method::Totp) && told("unknown_code", Method::RecoveryCode));
    for method in [Method::Totp, Method::RecoveryCode] {
        assert!(told("budget_spent", method), "{method:?}");
    }
}

/// Nor whose budget it was that is spent.
#[tokio::test]
async fn a_spent_budget_costs_the_same_whoever_is_asked_for() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.user("unenrolled").await;
    world.enrolled("real").await;
    let mut costs = Vec::new();
    for user in ["real", "unenrolled", "nobody"] {
        let id = world.create_with(&app, strange(&world, user, "spent")).await;
        let id = id.expect("a challenge").view.id;
        let mut of = Vec::new();
        for _ in 0..8 {
            let mut call = world.call();
            let tried = world.app.submit_code(&mut call, &app, id, "000000");
            let (tried, cost) = cost(&world, tried).await;
            assert_eq!(tried.unwrap_err(), Error::CodeWrong);
            of.push(cost);
        }
        costs.push(of);
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0], costs[2]);
}

#[tokio::test]
async fn a_right_code_approves_what_gave_way_to_a_flood() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    world.create(&app, "alice", "rings").await;
    let decoy = world.create(&app, "alice", "own").await;
    for n in 0..8 {
        world.create(&app, "alice", &format!("flood{n}")).await;
    }
    assert!(!world.cards(&alice.device, true).await.iter().any(|(id, _)| *id == decoy.view.id));
    let code = totp::code(&alice.device.totp, world.now());
    let view = world.app.submit_code(&mut world.call(), &app, decoy.view.id, &code).await;
    assert_eq!(decision(view.expect("a view").state), Decision::Approved);
    assert!(world.redeem(&app, decoy.view.id, "own").await.is_ok());
}

#[tokio::test]
async fn only_who_may_know_is_told_that_a_user_is_unknown() {
    let world = World::new().await;
    let app = world.integration_with(world.tenant, "own", |new| new.reveal_users = true).await;
    world.user("unenrolled").await;
    let unknown = world.create_with(&app, world.request("nobody", "s")).await.unwrap_err();
    assert_eq!(unknown, Error::UserUnknown);
    let unenrolled = world.create_with(&app, world.request("unenrolled", "s")).await.unwrap_err();
    assert_eq!(unenrolled, Error::NotEnrolled);
}

#[tokio::test]
async fn tenants_and_integrations_never_see_each_others_challenges() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("alice").await;
    let tenant = world.app.create_tenant(&mut world.call(), &crate::world::OPERATOR, "other").await;
    let tenant = tenant.expect("a tenant").id;
    let foreign = world.integration_with(tenant, "vpn", |_| {}).await;
    let neighbour = world.integration("mail").await;
    let created = world.create(&app, "alice", "s1").await;
    let id = created.view.id;
    for caller in [&foreign, &neighbour] {
        let mut call = world.call();
        let not_found = Error::NotFound;
        let seen = world.app.challenge(&mut call, caller, id).await.unwrap_err();
        assert_eq!(seen, not_found);
        let coded = world.app.submit_code(&mut call, caller, id, "000000").await.unwrap_err();
        assert_eq!(coded, not_found);
        let cancelled = world.app.cancel_challenge(&mut call, caller, id).await.unwrap_err();
        assert_eq!(cancelled, not_found);
        assert_eq!(world.redeem(caller, id, "s1").await.unwrap_err(), not_found);
    }
    assert_eq!(world.state(&app, id).await, State::Pending);
    // the same name in another tenant is somebody else, and unknown there
    let theirs = world.create(&foreign, "alice", "s1").await;
    assert_ne!(theirs.view.id, id);
}

#[tokio::test]
async fn old_sessions_merge_alike_behind_a_flood() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    world.enrolled("real").await;
    let mut merged = Vec::new();
    for user in ["real", "nobody"] {
        for n in 0..60 {
            world.create(&app, user, &format!("s{n}")).await;
        }
        let mut again = Vec::new();
        for n in 0..60 {
            again.push(world.create(&app, user, &format!("s{n}")).await.merged);
        }
        merged.push(again);
    }
    assert_eq!(merged[0], merged[1]);
    assert!(merged[0][0], "the oldest is remembered");
}

#[tokio::test]
async fn another_tenants_user_id_is_nobody_and_spends_nothing_of_theirs() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let alice = world.enrolled("alice").await;
    let tenant = world.app.create_tenant(&mut world.call(), &crate::world::OPERATOR, "other").await;
    let tenant = tenant.expect("a tenant").id;
    let foreign = world.integration_with(tenant, "vpn", |_| {}).await;
    let mut request = world.request("", "s1");
    request.user = ports::UserRef::Id(alice.device.connected.user);
    let decoy = world.create_with(&foreign, request.clone()).await.expect("a decoy").view.id;
    let again = world.create_with(&foreign, request).await.expect("the same").view.id;
    assert_eq!(again, decoy);
    for _ in 0..domain::attempts::Budgets::DEFAULT.unknown.day.bound() {
        let tried = world.app.submit_code(&mut world.call(), &foreign, decoy, "000000").await;
        assert_eq!(tried.unwrap_err(), Error::CodeWrong);
    }
    let created = world.create(&app, "alice", "s1").await;
    let code = totp::code(&alice.device.totp, world.now());
    let view = world.app.submit_code(&mut world.call(), &app, created.view.id, &code).await;
    assert_eq!(decision(view.expect("her own budget").state), Decision::Approved);
}
