//! What makes a place familiar, what a failure costs, and what takes it back.

use domain::challenge::{Decision, Method};
use domain::guard::{Familiarity, Memory, Origin, Policy, Reason};
use domain::lab::{Caller, Said, Word};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::moves::{MAIL, Spot};
use crate::world::{
    DAY, HOUR, MINUTE, START, TTL, USER, VPN, World, cases, from, home, ip, nowhere, says,
    stranger, with_cookie,
};

/// Probation, by the policy's default.
const PROBATION: u64 = DAY;
/// A place is forgotten after so long without a success.
const FORGET: u64 = 30 * DAY;
/// Times are kept in hours.
const ROUNDED: u64 = HOUR + 1_000;

#[derive(Clone, Debug)]
struct Visit {
    place: u8,
    end: Decision,
    then: u64,
}

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    let end = prop_oneof![
        6 => Just(Decision::Approved),
        1 => Just(Decision::Denied),
        1 => Just(Decision::Reported),
        1 => Just(Decision::Mismatch),
        1 => Just(Decision::Cancelled),
    ];
    let then = prop_oneof![0..HOUR, 0..12 * HOUR, 0..3 * DAY, 20 * DAY..40 * DAY];
    vec((0_u8..4, end, then).prop_map(|(place, end, then)| Visit { place, end, then }), 1..40)
}

/// The places of the model: two addresses at one integration, one of them at another too, and a third one.
fn caller(place: u8) -> Caller {
    match place {
        0 => home(),
        1 => from(USER, MAIL, ip(1, 1)),
        2 => stranger(),
        _ => from(USER, VPN, ip(8, 8)),
    }
}

/// What is known of an address: the earliest time at which it is familiar, its last success, and whether it was
/// familiar when last looked at.
#[derive(Clone, Copy, Debug)]
struct Known {
    from: u64,
    last: u64,
    familiar: bool,
}

/// What is familiar, told in the plainest way.
#[derive(Default)]
struct Model([Option<Known>; 4]);

impl Model {
    /// `None` within the hours that times are rounded by.
    fn expected(&self, place: usize, t: u64) -> Option<bool> {
        let Some(known) = self.0[place] else { return Some(false) };
        if t < known.from || t > known.last.max(known.from) + FORGET + DAY {
            Some(false)
        } else if t > known.from + ROUNDED && t < known.last + FORGET - ROUNDED {
            Some(true)
        } else {
            None
        }
    }

    fn observe(&mut self, place: usize, t: u64, familiar: bool) -> Result<(), TestCaseError> {
        if let Some(expected) = self.expected(place, t) {
            prop_assert_eq!(familiar, expected, "place {} at {}", place, t - START);
        }
        let known = &mut self.0[place];
        if known.is_some_and(|known| !familiar && t > known.from + ROUNDED) {
            *known = None;
        }
        if let Some(known) = known {
            known.familiar = familiar;
        }
        Ok(())
    }

    fn end(&mut self, place: usize, end: Decision, t: u64) {
        let familiar = self.0[place].is_some_and(|known| known.familiar);
        let quiet = t / 1000 * 1000 + PROBATION;
        match end {
            Decision::Approved => {
                let from = self.0[place].map_or(quiet, |known| known.from);
                self.0[place] = Some(Known { from, last: t, familiar });
            }
            Decision::Denied | Decision::Reported if !familiar || end == Decision::Reported => {
                for known in self.0.iter_mut().flatten().filter(|known| !known.familiar) {
                    known.from = quiet;
                }
                if !familiar {
                    self.0[place] = None;
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    /// A place is familiar after a day without a denial or report, at its own integration alone.
    #[test]
    fn only_possession_and_a_quiet_day_make_a_place_familiar(visits in visits()) {
        let mut world = World::new();
        world.has(USER, &[Method::Push]);
        let mut model = Model::default();
        for visit in visits {
            for place in 0..4 {
                let familiar = world.familiarity(&caller(place)) == Reason::FromKnown;
                model.observe(place.into(), world.t, familiar)?;
            }
            let (_, ended) = world.settled(&caller(visit.place), visit.end);
            prop_assert_ne!(ended.decision, Word::Withhold, "who has no code is asked for none");
            model.end(visit.place.into(), visit.end, world.t);
            world.pass(TTL + visit.then);
        }
    }

    /// Whatever others do, and whoever else succeeds, a stranger's failure stays; so does a denial, even if the
    /// place itself succeeds later.
    #[test]
    fn nobody_elses_success_takes_a_failure_back(
        failures in 1_usize..4,
        denied: bool,
        gap in 0..HOUR,
        later in vec((0_u8..6, any::<bool>(), 0_u8..12, 0..DAY), 1..12),
    ) {
        let mut with = seasoned();
        let other = Spot::Elsewhere(1).caller();
        for _ in 0..failures {
            let end = if denied { Decision::Denied } else { Decision::Cancelled };
            with.settled(&other, end);
            with.pass(gap);
        }
        let mut without = with.clone();
        for (who, approved, silent, then) in later {
            let caller = match who {
                0 => home(),
                1 => stranger(),
                2 => nowhere(),
                3 => from(USER, VPN, ip(1, 7)),
                4 => from(USER, MAIL, ip(1, 1)),
                // a failing place that succeeds gets back its own, but no denial
                _ if denied => other.clone(),
                _ => stranger(),
            };
            for _ in 0..silent {
                with.settled(&caller, Decision::Cancelled);
            }
            if approved {
                with.signs_in(&caller);
            }
            // what fades within the hour may go sooner
            let rested = |world: &World| {
                let mut world = world.clone();
                world.pass(3 * HOUR);
                world.score(USER)
            };
            let (kept, alone) = (rested(&with), rested(&without));
            // an attack that was alerted and stayed away for a whole hold is over, with what led up to it
            let held = |(_, _, said): &&(_, _, Said)| matches!(said, Said::Judged(it) if it.level > 1);
            let over = with.log.iter().find(held).is_some_and(|(t, ..)| with.t + 3 * HOUR >= t + 3 * DAY);
            if over {
                break;
            }
            prop_assert!(kept >= alone - 1e-2, "{kept} is left of {alone}");
            with.pass(then);
            without.pass(then);
        }
    }

    /// Ringing and taking it back buys nothing: the ring is paid for when it rings.
    #[test]
    fn ringing_and_cancelling_buys_nothing(
        ends in vec((0_u8..4, 0_u8..3, 10_u64..300), 30..120),
        at_home in vec(any::<bool>(), 120),
    ) {
        let mut world = seasoned();
        let (mut rings, start) = (0, world.t);
        for ((place, end, minutes), home_too) in ends.into_iter().zip(at_home) {
            let caller = Spot::Elsewhere(place.into()).caller();
            let pushed = world.push(&caller);
            rings += usize::from(pushed.decision == Word::Ring);
            let end = [Decision::Cancelled, Decision::Expired, Decision::Mismatch][usize::from(end)];
            match end {
                Decision::Expired => world.pass(TTL),
                end if pushed.decision != Word::Decoy => { world.outcome(&pushed.id, end); }
                _ => {}
            }
            world.pass(minutes * MINUTE);
            // the person's own success elsewhere gives strangers nothing
            if home_too {
                world.signs_in(&home());
            }
        }
        let days = (world.t - start).div_ceil(DAY) as usize;
        prop_assert!(rings <= 3 + days / 3, "{rings} rings in {days} days");
    }

    /// A place without address and cookie is never familiar, has its own budget, and pays for no other's.
    #[test]
    fn nowhere_is_never_familiar_and_forgives_nothing(ends in vec((any::<bool>(), 1..20 * HOUR), 1..40)) {
        let mut world = seasoned();
        let before = world.clone();
        let stranger_rings = before.clone().push(&stranger()).decision;
        let (mut unapproved, start) = (0, world.t);
        for (approved, then) in ends {
            let pushed = world.push(&nowhere());
            prop_assert!(says(&pushed, Reason::FromNowhere));
            if approved {
                world.outcome(&pushed.id, Decision::Approved);
            } else {
                unapproved += usize::from(pushed.decision == Word::Ring);
                world.outcome(&pushed.id, Decision::Cancelled);
            }
            world.pass(then);
        }
        let days = (world.t - start).div_ceil(DAY) as usize;
        prop_assert!(unapproved <= 3 + days / 2, "{unapproved} rings in {days} days");
        // its own budget: others ring as before
        prop_assert_eq!(world.push(&stranger()).decision, stranger_rings);
    }
}

/// A person with enough history to be nobody new, in three places.
fn seasoned() -> World {
    let mut world = World::new();
    world.has(USER, &[Method::Push]);
    for _ in 0..3 {
        world.signs_in(&home());
        world.signs_in(&from(USER, MAIL, ip(1, 1)));
        world.pass(25 * HOUR);
    }
    world
}

#[test]
fn an_address_that_one_integration_asserts_proves_nothing_at_another() {
    let mut world = World::new();
    world.teach(&home());
    assert_eq!(world.familiarity(&home()), Reason::FromKnown);
    assert_eq!(world.familiarity(&from(USER, MAIL, ip(1, 1))), Reason::FromUnknown);
    assert_eq!(world.familiarity(&from("bob", VPN, ip(1, 1))), Reason::FromUnknown);
    assert_eq!(world.familiarity(&from(USER, VPN, ip(1, 2))), Reason::FromNear);
    assert_eq!(world.familiarity(&from(USER, VPN, ip(2, 1))), Reason::FromUnknown);
}

#[test]
fn a_ring_is_given_back_by_its_own_place_alone() {
    let mut world = seasoned();
    assert_eq!(world.settled(&stranger(), Decision::Cancelled).0.decision, Word::Ring);
    let raised = world.score(USER);
    let mut other = world.clone();
    other.signs_in(&Spot::Elsewhere(4).caller());
    assert!(other.score(USER) >= raised - 1e-3, "another place's success");
    world.signs_in(&stranger());
    assert!(world.score(USER) < raised / 4.0, "its own: {} of {raised}", world.score(USER));
}

#[test]
fn a_denial_is_not_given_back() {
    let mut world = seasoned();
    world.settled(&stranger(), Decision::Denied);
    let raised = world.score(USER);
    world.signs_in(&stranger());
    assert!(world.score(USER) >= raised - 1e-3);
}

#[test]
fn a_code_that_passes_teaches_like_an_answer() {
    let mut world = World::new();
    for way in 0..2 {
        let caller = Spot::Elsewhere(way).caller();
        let on = (way == 0).then(|| world.push(&caller).id);
        assert_eq!(world.totp(&caller, on.as_deref(), true).decision, Word::Accept);
        assert_eq!(world.familiarity(&caller), Reason::FromUnknown);
        world.pass(25 * HOUR);
        assert_eq!(world.familiarity(&caller), Reason::FromKnown, "{way}");
    }
}

#[test]
fn what_proves_no_possession_teaches_nothing() {
    let mut world = World::new();
    for end in [Decision::Mismatch, Decision::Cancelled, Decision::Expired, Decision::Superseded] {
        for _ in 0..10 {
            world.settled(&stranger(), end);
            world.totp(&stranger(), None, false);
            world.recovery(&stranger(), None, false);
            world.pass(7 * HOUR);
        }
    }
    assert_eq!(world.familiarity(&stranger()), Reason::FromUnknown);
}

#[test]
fn a_place_without_a_success_for_a_month_is_unknown_again() {
    let mut world = World::new();
    world.teach(&home());
    world.pass(FORGET - HOUR);
    assert_eq!(world.familiarity(&home()), Reason::FromKnown);
    world.pass(2 * DAY);
    assert_eq!(world.familiarity(&home()), Reason::FromUnknown);
}

#[test]
fn a_cookie_is_own_anywhere_but_not_while_a_place_is_on_probation() {
    let mut world = World::new();
    world.teach(&home());
    let abroad = |cookie| with_cookie(from(USER, VPN, ip(50, 1)), cookie);
    assert_eq!(world.familiarity(&abroad("minted at home")), Reason::FromOwn);
    // somebody was let in from elsewhere a moment ago: a cookie that was never seen may be theirs
    world.settled(&stranger(), Decision::Approved);
    assert_eq!(world.familiarity(&abroad("theirs")), Reason::FromUnknown);
    world.pass(25 * HOUR);
    assert_eq!(world.familiarity(&abroad("theirs")), Reason::FromOwn);
}

#[test]
fn a_cookie_that_was_seen_at_home_stays_own() {
    let mut world = World::new();
    world.teach(&home());
    world.signs_in(&with_cookie(home(), "own"));
    world.settled(&stranger(), Decision::Approved);
    let abroad = with_cookie(from(USER, VPN, ip(50, 1)), "own");
    assert_eq!(world.familiarity(&abroad), Reason::FromOwn);
}

#[test]
fn a_denial_on_the_way_takes_the_cookie_that_it_bought() {
    let mut world = World::new();
    world.has(USER, &[Method::Push]);
    world.teach(&home());
    // talked into one approval, the person refuses the next: the cookie of the first is not their own
    world.settled(&stranger(), Decision::Approved);
    world.pass(HOUR);
    world.settled(&stranger(), Decision::Denied);
    let theirs = with_cookie(stranger(), "theirs");
    assert_eq!(world.familiarity(&theirs), Reason::FromUnknown);
}

/// A bug once: the lab went on taking a cookie that the service had ended, so that whoever had stolen it rang on.
#[test]
fn a_cookie_whose_request_was_refused_counts_no_more() {
    for end in [Decision::Denied, Decision::Reported] {
        let mut world = World::new();
        world.teach(&with_cookie(home(), "own"));
        world.teach(&with_cookie(home(), "second"));
        let thief = |net, cookie| with_cookie(from(USER, VPN, ip(net, 1)), cookie);
        assert_eq!(world.settled(&thief(50, "own"), end).0.decision, Word::Ring);
        assert_eq!(world.familiarity(&thief(51, "own")), Reason::FromUnknown, "{end:?}");
        // at home the address is known, and another browser is none of it
        assert_eq!(world.familiarity(&with_cookie(home(), "own")), Reason::FromKnown);
        assert_eq!(world.familiarity(&thief(51, "second")), Reason::FromOwn);
        // whoever signs in gets another one
        world.signs_in(&with_cookie(home(), "own"));
        assert_eq!(world.familiarity(&thief(51, "own")), Reason::FromOwn, "{end:?}");
    }
}

/// A bug once: what was learned in an hour that the clock was set back behind lay in the future, and was unknown.
#[test]
fn a_clock_that_is_set_back_takes_no_place_from_anybody() {
    let (policy, day, at) = (Policy::default(), 86_400, 1_795_000_000 / 3600 * 3600);
    let home = Origin { address: Some(7), ..Origin::default() };
    let mut memory = Memory::default();
    for now in [at - 2 * day, at] {
        memory.bring_to(&policy, now);
        memory.code_passed(&policy, &home, now);
    }
    for back in [0, 1, 3600, day] {
        let familiarity = memory.familiarity(&policy, &home, at - back);
        assert_eq!(familiarity, Familiarity::Known, "{back} s");
    }
}
