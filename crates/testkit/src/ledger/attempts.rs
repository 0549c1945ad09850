//! Counting tries before anything is compared.

use std::time::Duration;

use domain::attempts::{
    Budgets, Counter, DAY, FREE_FAILURES, Lane, MONTH, RECOVERY_CODE_CAP, Refusal,
};
use domain::audit::Event;
use domain::challenge::{Decision, Proof};
use ports::{Change, Counted, Effect, Settle, Settled};
use statement::{DeviceId, UserId};

use crate::backend::World;
use crate::rules::{race, within};

const RACERS: usize = 50;
const BUDGETS: Budgets = Budgets::DEFAULT;

async fn count_one(world: &World, counter: Counter) -> Counted {
    let counted = world.backend.ledger.count_attempt(counter, BUDGETS).await;
    counted.expect("counts")
}

async fn take_back(world: &World, counter: Counter) {
    let taken = world.backend.ledger.uncount_attempt(counter, BUDGETS).await;
    assert_eq!(taken, Ok(()));
}

/// Counts until it is refused: how often, and why no more.
async fn spend(world: &World, counter: Counter) -> (u16, Refusal) {
    for tries in 0.. {
        if let Counted::Refused(refusal) = count_one(world, counter).await {
            return (tries, refusal);
        }
    }
    unreachable!("counts end")
}

/// Races tries at one instant: how many were counted, and that the others were refused.
async fn counted(world: &World, counter: Counter) -> usize {
    let racing = race(RACERS, |_| {
        let ledger = world.ledger();
        async move { ledger.count_attempt(counter, BUDGETS).await.expect("counts") }
    });
    let told = within("the race", racing).await;
    let refused = told.iter().filter(|told| matches!(told, Counted::Refused(_))).count();
    let mut failures: Vec<_> = told
        .iter()
        .filter_map(|told| match told {
            Counted::Counted(attempts) => Some(attempts.failures),
            Counted::Refused(_) => None,
        })
        .collect();
    failures.sort_unstable();
    failures.dedup();
    assert_eq!(failures.len() + refused, RACERS, "no count was given twice");
    failures.len()
}

pub(super) async fn racing_attempts_share_one_budget(world: World) {
    let user = world.fixture.user.id;
    let lanes = Lane::ALL.map(|lane| (Counter::Totp(user, lane), BUDGETS.of(lane).day.burst));
    let code = (Counter::RecoveryCode(user, [1, 2, 3, 4, 5]), FREE_FAILURES);
    for (counter, free) in lanes.into_iter().chain([code]) {
        assert_eq!(counted(&world, counter).await, usize::from(free), "{counter:?}");
        assert_eq!(counted(&world, counter).await, 0, "{counter:?}");
    }
}

pub(super) async fn waiting_frees_one_try_at_a_time_and_the_cap_is_final(world: World) {
    let counter = Counter::RecoveryCode(world.fixture.user.id, [7; 5]);
    let mut last = None;
    let mut refusals = 0;
    loop {
        match count_one(&world, counter).await {
            Counted::Counted(attempts) => last = Some(attempts),
            Counted::Refused(Refusal::Locked) => break,
            Counted::Refused(refusal) => {
                assert_eq!(refusal, Refusal::TooSoon);
                refusals += 1;
                let not_before = last.expect("a count comes first").not_before;
                let clock = &world.backend.clock;
                clock.advance_to(not_before.minus(Duration::from_millis(1)));
                let told = count_one(&world, counter).await;
                assert_eq!(told, Counted::Refused(Refusal::TooSoon));
                clock.advance_to(not_before);
            }
        }
    }
    assert_eq!(last.map(|attempts| attempts.failures), Some(RECOVERY_CODE_CAP));
    assert_eq!(refusals, RECOVERY_CODE_CAP - FREE_FAILURES);
    world.backend.clock.advance(MONTH);
    let told = count_one(&world, counter).await;
    assert_eq!(told, Counted::Refused(Refusal::Locked));
}

pub(super) async fn a_lane_ends_at_its_day_its_month_and_its_cap(mut world: World) {
    let totp = world.fixture.totp();
    let user = world.fixture.user.id;
    for lane in Lane::ALL {
        let (counter, budget) = (Counter::Totp(user, lane), BUDGETS.of(lane));
        let each = DAY / u32::from(budget.day.refill);
        let first = spend(&world, counter).await;
        assert_eq!(first, (budget.day.burst, Refusal::Day), "{lane:?}");
        let mut failures = budget.day.burst;
        while failures < budget.cap {
            world.backend.clock.advance(each - Duration::from_millis(1));
            assert_eq!(spend(&world, counter).await, (0, Refusal::Day), "{lane:?}");
            world.backend.clock.advance(Duration::from_millis(1));
            failures += 1;
            let told = spend(&world, counter).await;
            let refusal = if failures < budget.cap { Refusal::Day } else { Refusal::Locked };
            assert_eq!(told, (1, refusal), "{lane:?}");
        }
        world.backend.clock.advance(MONTH);
        assert_eq!(spend(&world, counter).await, (0, Refusal::Locked), "{lane:?}");
    }
    // bound anew, the caps start anew
    world.apply(Change::PutTotp(user, totp), Event::FactorCreated).await;
    for lane in Lane::ALL {
        let (counter, budget) = (Counter::Totp(user, lane), BUDGETS.of(lane));
        let told = spend(&world, counter).await;
        assert_eq!(told, (budget.day.burst, Refusal::Day), "{lane:?}");
    }
}

/// Caps that successes keep forgiving leave the month.
pub(super) async fn neither_success_nor_a_new_secret_refills_a_month(mut world: World) {
    let user = world.fixture.user.id;
    let (lane, budget) = (Lane::Unknown, BUDGETS.unknown);
    let counter = Counter::Totp(user, lane);
    let factor = world.fixture.totp();
    world.apply(Change::PutTotp(user, factor.clone()), Event::FactorCreated).await;
    let start = world.backend.clock.now();
    let (mut failures, mut last) = (0, Refusal::Day);
    for step in 1.. {
        if world.backend.clock.now().since(start) >= MONTH {
            break;
        }
        let (tries, refusal) = spend(&world, counter).await;
        (failures, last) = (failures + u32::from(tries), refusal);
        // the person passes in another lane
        let challenge = world.open().await;
        assert!(matches!(
            count_one(&world, Counter::Totp(user, Lane::Own)).await,
            Counted::Counted(_)
        ));
        let burn = Effect::BurnStep { factor: factor.id, step, lane: Lane::Own, budgets: BUDGETS };
        let passed = Settle {
            proof: Some(Proof::Totp(factor.id)),
            effects: vec![burn],
            ..world.decision(&challenge, Decision::Approved)
        };
        assert!(matches!(world.settle(passed).await, Settled::Settled(_)));
        world.backend.clock.advance(DAY / 2);
    }
    assert!((budget.month.bound() - 2..=budget.month.bound()).contains(&failures), "{failures}");
    assert_eq!(last, Refusal::Month);
    let anew = world.fixture.totp();
    world.apply(Change::PutTotp(user, anew), Event::FactorCreated).await;
    world.apply(Change::ResetUser(user, world.backend.clock.now()), Event::FactorReset).await;
    let told = spend(&world, counter).await;
    assert!(matches!(told, (0..=1, Refusal::Month)), "{told:?}");
}

pub(super) async fn a_refused_attempt_changes_nothing(world: World) {
    let counter = Counter::RecoveryCode(world.fixture.user.id, [3; 5]);
    assert_eq!(counted(&world, counter).await, usize::from(FREE_FAILURES));
    world.backend.clock.advance(Duration::from_secs(4));
    assert_eq!(counted(&world, counter).await, 0, "too soon by a second");
    world.backend.clock.advance(Duration::from_secs(1));
    assert_eq!(counted(&world, counter).await, 1, "trying made it no longer");
}

pub(super) async fn a_try_that_is_taken_back_leaves_the_others_counted(world: World) {
    let user = world.fixture.user.id;
    let own = Counter::Totp(user, Lane::Own);
    let budget = BUDGETS.own.day;
    take_back(&world, own).await;
    for _ in 0..3 {
        count_one(&world, own).await;
    }
    take_back(&world, own).await;
    let (left, refusal) = spend(&world, own).await;
    assert_eq!((left, refusal), (budget.burst - 2, Refusal::Day), "two stay counted");
    let code = Counter::RecoveryCode(user, [4; 5]);
    for _ in 0..RECOVERY_CODE_CAP * 2 {
        assert!(matches!(count_one(&world, code).await, Counted::Counted(_)));
        take_back(&world, code).await;
    }
}

pub(super) async fn counters_are_apart(mut world: World) {
    let user = world.fixture.user.id;
    let other = world.fixture.user().id;
    let others = [
        Counter::Totp(other, Lane::Own),
        Counter::RecoveryCode(user, [1; 5]),
        Counter::RecoveryCode(user, [2; 5]),
        Counter::RecoveryCode(other, [1; 5]),
        // the same sixteen bytes name a user and a device
        Counter::Device(DeviceId::from_bytes(*user.as_bytes())),
        Counter::Totp(UserId::from_bytes([0; 16]), Lane::Own),
        Counter::Device(DeviceId::from_bytes([0; 16])),
    ];
    let lanes = Lane::ALL.map(|lane| Counter::Totp(user, lane));
    for counter in lanes.into_iter().chain(others) {
        let Counted::Counted(attempts) = count_one(&world, counter).await else {
            panic!("{counter:?} had been counted");
        };
        assert_eq!(attempts.failures, 1, "{counter:?}");
    }
}
