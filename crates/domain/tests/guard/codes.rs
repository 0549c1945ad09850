//! How often a code may be guessed, and what stays alive when the guesses are spent.

use domain::challenge::{Decision, Method};
use domain::guard::{AlertKind, Reason, Severity};
use domain::lab::{Caller, Word};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::moves::Spot;
use crate::world::{
    DAY, HOUR, MINUTE, USER, World, cases, home, is_told, nowhere, says, stranger, with_cookie,
};

#[derive(Clone, Debug)]
enum Event {
    Guess {
        who: u8,
        times: u8,
    },
    /// The person's own code, or their own answer.
    Code {
        who: u8,
    },
    Push,
    Wait(u64),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_u8..12, 1_u8..30).prop_map(|(who, times)| Event::Guess { who, times }),
        2 => (0_u8..12).prop_map(|who| Event::Code { who }),
        1 => Just(Event::Push),
        3 => (0..HOUR).prop_map(Event::Wait),
        2 => (0..DAY).prop_map(Event::Wait),
        1 => (0..12 * DAY).prop_map(Event::Wait),
    ]
}

fn caller(who: u8) -> Caller {
    match who {
        0 | 1 => home(),
        2 => with_cookie(home(), "own"),
        3..=5 => nowhere(),
        other => Spot::Elsewhere(other.into()).caller(),
    }
}

fn world() -> World {
    let mut world = World::new();
    world.teach(&home());
    world.signs_in(&with_cookie(home(), "own"));
    world.pass(2 * DAY);
    world
}

/// The most that any stretch of `window` holds.
fn most(times: &[u64], window: u64) -> usize {
    let held = |from: &u64| times.iter().filter(|at| **at >= *from && **at < from + window).count();
    times.iter().map(held).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(cases(200))]

    /// However guesses are spread over places, sessions and time, and whoever else succeeds meanwhile.
    #[test]
    fn no_pattern_buys_more_guesses_than_the_budgets(events in vec(events(), 1..60)) {
        let mut world = world();
        let (mut strange, mut own, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Wait(millis) => world.pass(millis),
                Event::Push => world.signs_in(&with_cookie(home(), "own")),
                Event::Code { who } => { world.totp(&caller(who), None, true); }
                Event::Guess { who, times } => {
                    let mut caller = caller(who);
                    // places that were let in are no strangers a day later, and homes are after a month
                    let known = world.familiarity(&caller);
                    let known = matches!(known, Reason::FromKnown | Reason::FromOwn);
                    for n in 0..times {
                        caller.session = Some(format!("s{n}"));
                        let said = world.totp(&caller, None, false);
                        prop_assert!(matches!(said.decision, Word::Reject | Word::Refuse));
                        if said.decision == Word::Reject {
                            if known { &mut own } else { &mut strange }.push(world.t);
                            all.push(world.t);
                        }
                        world.pass(1_000);
                    }
                }
            }
        }
        prop_assert!(most(&strange, DAY) <= 8, "{} from elsewhere in a day", most(&strange, DAY));
        prop_assert!(most(&own, DAY) <= 20, "{} from home in a day", most(&own, DAY));
        prop_assert!(most(&strange, 30 * DAY) <= 90, "{}", most(&strange, 30 * DAY));
        prop_assert!(most(&all, 30 * DAY) <= 200, "{} in 30 days", most(&all, 30 * DAY));
    }

    /// NIST 800-63B-4 §3.2.2: at most 100 in a row, however long it takes.
    #[test]
    fn without_a_success_at_most_a_hundred_are_ever_compared(
        guesses in vec((0_u8..12, 0..3 * DAY), 300..400),
    ) {
        let mut world = world();
        let mut compared = 0;
        for (n, (who, then)) in guesses.into_iter().enumerate() {
            compared += usize::from(world.totp(&caller(who), None, false).decision == Word::Reject);
            world.pass(then);
            // known places stay known: an answer on the device says nothing about codes
            if n % 10 == 0 {
                world.settled(&home(), Decision::Approved);
            }
        }
        prop_assert!(compared <= 100, "{compared}");
    }

    /// Strangers who spend every guess of theirs leave the person's own codes alone.
    #[test]
    fn strangers_spend_nobodys_guesses_but_their_own(
        guesses in vec((3_u8..12, 0..HOUR), 1..120),
    ) {
        let mut world = world();
        for (who, then) in guesses {
            world.totp(&caller(who), None, false);
            world.pass(then);
        }
        for own in [home(), with_cookie(home(), "own")] {
            let said = world.totp(&own, None, true);
            prop_assert_eq!(said.decision, Word::Accept, "{:?}", said);
        }
    }

    /// A person whose answer is withheld has a budget of their own for the code, whatever strangers spent before
    /// and spend meanwhile.
    #[test]
    fn the_code_for_a_withheld_answer_has_its_own_budget(
        before in vec((0_u8..12, any::<bool>()), 0..80),
        meanwhile in vec((0_u8..12, any::<bool>()), 0..80),
        spot in 0_u8..2,
    ) {
        let mut world = world();
        world.settled(&stranger(), Decision::Denied);
        let theirs = world.push(&Spot::Elsewhere(77).caller()).id;
        let own = if spot == 0 { Spot::Elsewhere(99).caller() } else { nowhere() };
        // on their own challenge or on none, for they know no other
        let guess = |world: &mut World, (who, on): (u8, bool)| {
            world.totp(&caller(who), on.then_some(theirs.as_str()), false);
            world.pass(500);
        };
        for one in before {
            guess(&mut world, one);
        }
        let (pushed, ended) = world.settled(&own, Decision::Approved);
        prop_assert_eq!(ended.decision, Word::Withhold);
        for one in meanwhile {
            guess(&mut world, one);
        }
        prop_assert_eq!(world.totp(&own, Some(&pushed.id), true).decision, Word::Accept);
    }
}

#[test]
fn ten_minutes_of_guessing_are_told_once_and_leave_the_device_alone() {
    let mut world = world();
    let mut told = 0;
    for n in 0..600 {
        let caller = Spot::Elsewhere(n % 5).caller();
        let said = world.totp(&caller, None, false);
        told += usize::from(is_told(&said.alerts, AlertKind::CodeGuessing, Severity::Medium));
        world.pass(2_000);
    }
    assert_eq!(told, 1);
    let (pushed, ended) = world.settled(&home(), Decision::Approved);
    assert_eq!((pushed.decision, ended.decision), (Word::Ring, Word::Release));
}

#[test]
fn a_spent_budget_says_so_and_is_not_made_longer_by_trying() {
    let mut world = world();
    while world.totp(&stranger(), None, false).decision == Word::Reject {}
    for _ in 0..100 {
        let said = world.totp(&stranger(), None, false);
        assert_eq!(said.decision, Word::Refuse);
        assert!(says(&said, Reason::BudgetSpent));
        world.pass(MINUTE);
    }
    world.pass(DAY);
    assert_eq!(world.totp(&stranger(), None, true).decision, Word::Accept);
}

#[test]
fn behind_the_persons_own_address_twenty_a_day_are_compared() {
    let mut world = world();
    let mut compared = Vec::new();
    for _ in 0..1_000 {
        if world.totp(&home(), None, false).decision == Word::Reject {
            compared.push(world.t);
        }
        world.pass(5 * MINUTE);
    }
    let most = most(&compared, DAY);
    assert!((10..=20).contains(&most), "{most}");
}

#[test]
fn a_factor_that_the_user_lacks_passes_nobody() {
    let mut world = World::new();
    world.has(USER, &[Method::Push]);
    let said = world.totp(&home(), None, true);
    assert!(says(&said, Reason::NoSuchFactor) && said.decision == Word::Reject, "{said:?}");
    assert_eq!(world.recovery(&home(), None, true).decision, Word::Reject);
}

#[test]
fn junk_recovery_codes_are_limited_by_source_and_refuse_nobodys_own() {
    let mut world = World::new();
    world.has(USER, &[Method::Push, Method::Totp, Method::RecoveryCode]);
    for caller in [stranger(), nowhere()] {
        let mut hashed = 0;
        for _ in 0..500 {
            hashed += usize::from(world.recovery(&caller, None, false).decision == Word::Reject);
            world.pass(1_000);
        }
        assert!((20..=40).contains(&hashed), "{hashed}");
        assert_eq!(world.recovery(&caller, None, true).decision, Word::Accept);
    }
    assert_eq!(world.recovery(&home(), None, false).decision, Word::Reject, "another source");
}
