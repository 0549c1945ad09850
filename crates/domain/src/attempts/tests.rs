use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const CODE: Counter = Counter::RecoveryCode(UserId::from_bytes([1; 16]), [1; 5]);
const BUDGETS: Budgets = Budgets::DEFAULT;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn millis(window: Duration) -> u64 {
    u64::try_from(window.as_millis()).unwrap()
}

#[test]
fn a_recovery_code_has_five_free_tries_then_each_waits_longer_and_the_tenth_is_the_last() {
    let mut now = at(1_000_000);
    let mut attempts = Attempts::default();
    let mut waited = Vec::new();
    loop {
        match attempts.count(CODE, &BUDGETS, now) {
            Ok(next) => attempts = next,
            Err(Refusal::TooSoon) => {
                waited.push(attempts.not_before.since(now).as_secs());
                now = attempts.not_before;
            }
            Err(Refusal::Locked) => break,
            Err(refusal) => panic!("{refusal}"),
        }
    }
    assert_eq!(attempts.failures, RECOVERY_CODE_CAP);
    assert_eq!(waited, [5, 30, 60, 300, 900]);
    // waiting doesn't revive it
    let later = now.plus(Duration::from_secs(10_000_000));
    assert_eq!(attempts.count(CODE, &BUDGETS, later), Err(Refusal::Locked));
    let right = Attempts::default().count(CODE, &BUDGETS, now).unwrap();
    assert_eq!(right.uncount(CODE, &BUDGETS), Attempts::default());
}

/// A guesser in all lanes who never stops, and where he ends.
#[test]
fn the_caps_end_a_guesser_whom_nobody_interrupts() {
    let mut lanes = [Attempts::default(); 4];
    for hour in 0..24 * 365 {
        let now = at(hour * 3_600_000);
        for (lane, attempts) in Lane::ALL.into_iter().zip(&mut lanes) {
            while let Ok(next) = attempts.count_in(lane, &BUDGETS, now) {
                *attempts = next;
            }
        }
    }
    for (lane, attempts) in Lane::ALL.into_iter().zip(lanes) {
        assert_eq!(attempts.failures, BUDGETS.of(lane).cap, "{lane:?}");
        let later = at(millis(MONTH) * 100);
        assert_eq!(attempts.count_in(lane, &BUDGETS, later), Err(Refusal::Locked), "{lane:?}");
        assert!(attempts.forgiven().count_in(lane, &BUDGETS, later).is_ok(), "{lane:?}");
    }
    assert_eq!(BUDGETS.caps(), 99);
}

/// A guesser who rides on somebody signing in daily: the caps never bite, the buckets do.
#[test]
fn the_buckets_bound_a_guesser_whom_successes_forgive_and_are_reached() {
    let mut all = Vec::new();
    for lane in Lane::ALL {
        let (mut attempts, mut failed) = (Attempts::default(), Vec::new());
        for hour in 0..24 * 365 {
            let now = at(hour * 3_600_000);
            while let Ok(next) = attempts.count_in(lane, &BUDGETS, now) {
                attempts = next;
                failed.push(now.millis());
            }
            attempts = attempts.forgiven();
        }
        let budget = BUDGETS.of(lane);
        assert_eq!(most_within(DAY, &failed), budget.day.bound(), "{lane:?}");
        assert!(most_within(MONTH, &failed) <= budget.month.bound(), "{lane:?}");
        all.append(&mut failed);
    }
    assert!((1_000..=1_082).contains(&all.len()), "{} in a year", all.len());
}

#[test]
fn a_budget_of_zero_allows_nothing_and_never_divides_by_it() {
    let zero = Bucket::new(0, 0);
    assert_eq!(zero.take(DAY, Timestamp::ZERO, at(5)), None);
    let once = Bucket::new(1, 0);
    assert!(once.take(DAY, Timestamp::ZERO, at(u64::MAX)).is_some());
}

/// The most failures that a stretch as long as `window` holds, both ends counted.
fn most_within(window: Duration, failed: &[u64]) -> u32 {
    let mut inside = VecDeque::new();
    let mut most = 0;
    for now in failed {
        inside.push_back(*now);
        while inside.front().is_some_and(|first| now - first > millis(window)) {
            inside.pop_front();
        }
        most = most.max(inside.len());
    }
    u32::try_from(most).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Wrong,
    /// A right code, whose success is known only so many moves later.
    Right(usize),
    /// A right code that came after the decision.
    Late,
    Success,
}

fn moves() -> impl Strategy<Value = Vec<(u64, Move)>> {
    let gap = prop_oneof![
        4 => Just(0_u64),
        4 => 0..1_000_u64,
        2 => 0..3_600_000_u64,
        2 => 0..86_400_000_u64,
        1 => Just(86_400_000_u64),
        1 => 0..3 * 86_400_000_u64,
    ];
    let what = prop_oneof![
        12 => Just(Move::Wrong),
        1 => (0..3_usize).prop_map(Move::Right),
        1 => Just(Move::Late),
        1 => Just(Move::Success),
    ];
    prop::collection::vec((gap, what), 1..400)
}

/// How long a right code is held at most until its success is stored.
const HELD: u64 = 10_000;

proptest! {
    #[test]
    fn no_day_and_no_month_holds_more_failures_than_its_bound(
        moves in moves(), lane in prop::sample::select(&Lane::ALL[..]),
    ) {
        let (mut now, mut attempts) = (0, Attempts::default());
        let mut failed = Vec::new();
        let mut held: Vec<(usize, u64)> = Vec::new();
        for (gap, what) in moves {
            now += gap;
            held.retain_mut(|(left, since)| {
                let is_over = *left == 0 || now - *since > HELD;
                if is_over {
                    attempts = attempts.given_back(lane, &BUDGETS).forgiven();
                }
                *left = left.saturating_sub(1);
                !is_over
            });
            if matches!(what, Move::Success) {
                attempts = attempts.forgiven();
                continue;
            }
            let Ok(counted) = attempts.count_in(lane, &BUDGETS, at(now)) else { continue };
            attempts = counted;
            match what {
                Move::Wrong => failed.push(now),
                Move::Right(moves) => held.push((moves, now)),
                Move::Late => attempts = attempts.given_back(lane, &BUDGETS),
                Move::Success => {}
            }
        }
        let budget = BUDGETS.of(lane);
        prop_assert!(most_within(DAY, &failed) <= budget.day.bound());
        prop_assert!(most_within(MONTH, &failed) <= budget.month.bound());
    }

    #[test]
    fn a_success_gives_back_its_own_try_and_no_other(
        before in prop::collection::vec(0..86_400_000_u64, 0..40),
        after in prop::collection::vec(0..86_400_000_u64, 1..40),
        lane in prop::sample::select(&Lane::ALL[..]),
    ) {
        let (mut now, mut attempts) = (0, Attempts::default());
        for gap in before {
            now += gap;
            attempts = attempts.count_in(lane, &BUDGETS, at(now)).unwrap_or(attempts);
        }
        let Ok(counted) = attempts.count_in(lane, &BUDGETS, at(now)) else { return Ok(()) };
        let mut given_back = counted.given_back(lane, &BUDGETS);
        // from here on it is told the same as if the right code had never been tried
        for gap in after {
            now += gap;
            let (told, expected) =
                (given_back.count_in(lane, &BUDGETS, at(now)), attempts.count_in(lane, &BUDGETS, at(now)));
            prop_assert_eq!(told.err(), expected.err());
            (given_back, attempts) = (told.unwrap_or(given_back), expected.unwrap_or(attempts));
        }
    }

    #[test]
    fn idle_is_as_good_as_new(
        tries in prop::collection::vec(0..86_400_000_u64, 0..30),
        lane in prop::sample::select(&Lane::ALL[..]),
    ) {
        let (mut now, mut attempts) = (0, Attempts::default());
        for gap in tries {
            now += gap;
            if attempts.forgiven().is_idle(at(now)) {
                let told = attempts.forgiven().count_in(lane, &BUDGETS, at(now));
                prop_assert_eq!(told, Attempts::default().count_in(lane, &BUDGETS, at(now)));
            }
            attempts = attempts.count_in(lane, &BUDGETS, at(now)).unwrap_or(attempts);
        }
    }
}
