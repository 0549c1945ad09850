//! Counting tries before anything is compared.

use std::time::Duration;

use domain::attempts::{Counter, FREE_FAILURES, HARD_CAP, Refusal};
use ports::Counted;
use statement::{DeviceId, UserId};

use super::count;
use crate::backend::World;
use crate::rules::{race, within};

const RACERS: usize = 50;

async fn count_one(world: &World, counter: Counter) -> Counted {
    let counted = world.backend.ledger.count_attempt(counter).await;
    counted.expect("counts")
}

/// Races tries at one instant: how many were counted, and that the others came too soon.
async fn counted(world: &World, counter: Counter) -> usize {
    let racing = race(RACERS, |_| {
        let ledger = world.ledger();
        async move { ledger.count_attempt(counter).await.expect("counts") }
    });
    let told = within("the race", racing).await;
    let refused = count(&told, &Counted::Refused(Refusal::TooSoon));
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
    for counter in [Counter::Totp(user), Counter::RecoveryCode(user, [1, 2, 3, 4, 5])] {
        assert_eq!(counted(&world, counter).await, usize::from(FREE_FAILURES));
        assert_eq!(counted(&world, counter).await, 0);
    }
}

pub(super) async fn waiting_frees_one_try_at_a_time_and_the_cap_is_final(world: World) {
    let counter = Counter::Totp(world.fixture.user.id);
    let mut last = None;
    let mut refusals = 0;
    loop {
        match count_one(&world, counter).await {
            Counted::Counted(attempts) => last = Some(attempts),
            Counted::Refused(Refusal::TooSoon) => {
                refusals += 1;
                let not_before = last.expect("a count comes first").not_before;
                let clock = &world.backend.clock;
                clock.advance_to(not_before.minus(Duration::from_millis(1)));
                let told = count_one(&world, counter).await;
                assert_eq!(told, Counted::Refused(Refusal::TooSoon));
                clock.advance_to(not_before);
            }
            Counted::Refused(Refusal::Locked) => break,
        }
    }
    assert_eq!(last.map(|attempts| attempts.failures), Some(HARD_CAP));
    assert_eq!(refusals, HARD_CAP - FREE_FAILURES);
    world.backend.clock.advance(Duration::from_secs(30 * 24 * 60 * 60));
    let told = count_one(&world, counter).await;
    assert_eq!(told, Counted::Refused(Refusal::Locked));
}

pub(super) async fn a_refused_attempt_writes_nothing(world: World) {
    let counter = Counter::Totp(world.fixture.user.id);
    assert_eq!(counted(&world, counter).await, usize::from(FREE_FAILURES));
    world.backend.clock.advance(Duration::from_secs(4));
    assert_eq!(counted(&world, counter).await, 0, "too soon by a second");
    world.backend.clock.advance(Duration::from_secs(1));
    assert_eq!(counted(&world, counter).await, 1, "trying made it no longer");
}

pub(super) async fn counters_are_apart(mut world: World) {
    let user = world.fixture.user.id;
    let other = world.fixture.user().id;
    let counters = [
        Counter::Totp(user),
        Counter::Totp(other),
        Counter::RecoveryCode(user, [1; 5]),
        Counter::RecoveryCode(user, [2; 5]),
        Counter::RecoveryCode(other, [1; 5]),
        // the same sixteen bytes name a user and a device
        Counter::Device(DeviceId::from_bytes(*user.as_bytes())),
        Counter::Totp(UserId::from_bytes([0; 16])),
        Counter::Device(DeviceId::from_bytes([0; 16])),
    ];
    for counter in counters {
        let Counted::Counted(attempts) = count_one(&world, counter).await else {
            panic!("{counter:?} had been counted");
        };
        assert_eq!(attempts.failures, 1, "{counter:?}");
    }
}
