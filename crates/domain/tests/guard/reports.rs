//! What a report does, and to whom; and users for emergencies.

use domain::challenge::{Decision, Method, Purpose};
use domain::guard::{AlertKind, Reason, Severity};
use domain::lab::{Caller, MAX_TTL_MS, Word};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::moves::{Limits, Play, Spot, UNBOUNDED, moves};
use crate::world::{
    DAY, HOUR, MINUTE, USER, VPN, World, cases, from, home, ip, is_told, nowhere, says, stranger,
    with_cookie,
};

proptest! {
    #![proptest_config(cases(256))]

    /// At home it rings after a report exactly as it would have before, and is given out as before.
    #[test]
    fn a_report_takes_nothing_from_known_places(
        moves in vec(moves(), 1..30), cookie: bool, code: bool, count in 1_usize..8,
    ) {
        let mut factors = vec![Method::Push];
        factors.extend(code.then_some(Method::Totp));
        let mut play = Play::new(Limits { at_home: true, ..UNBOUNDED }, &factors);
        play.play(&moves);
        let caller = if cookie { with_cookie(home(), "own") } else { home() };
        let mut before = play.world.clone();
        let mut after = play.world.clone();
        let mut reported = 0;
        for id in after.pending(USER).into_iter().take(count) {
            if play.theirs.iter().any(|(theirs, ..)| *theirs == id) {
                after.outcome(&id, Decision::Reported);
                reported += 1;
            }
        }
        let (without, with) = (before.push(&caller), after.push(&caller));
        let service = |word| match word {
            Word::Ring => 2,
            Word::Silent => 1,
            _ => 0,
        };
        prop_assert!(
            service(with.decision) >= service(without.decision),
            "{reported} reported: {without:?}, then {with:?}"
        );
        if without.decision != Word::Decoy {
            let ends = [
                before.outcome(&without.id, Decision::Approved).decision,
                after.outcome(&with.id, Decision::Approved).decision,
            ];
            prop_assert!(ends[1] == ends[0] || ends[1] == Word::Release, "{ends:?}");
        }
    }

    /// After a report nothing rings from elsewhere for a day at least, whatever strangers try.
    #[test]
    fn after_a_report_other_places_are_silent(
        moves in vec(moves(), 1..20), elsewhere in 0_u16..500, minutes in 0_u64..1_400,
    ) {
        let mut play = Play::new(UNBOUNDED, &[Method::Push, Method::Totp]);
        play.play(&moves);
        play.world.pass(MAX_TTL_MS);
        let pushed = play.world.push(&stranger());
        let told = play.world.outcome(&pushed.id, Decision::Reported);
        prop_assert_eq!(told.level, 3);
        play.world.pass(minutes * MINUTE);
        for caller in [Spot::Elsewhere(elsewhere).caller(), stranger(), nowhere()] {
            // the person may have signed in from there for days
            let judged = play.world.push(&caller);
            let silent = judged.decision != Word::Ring || says(&judged, Reason::FromKnown);
            prop_assert!(silent, "{:?}", judged);
        }
    }
}

#[test]
fn a_report_is_told_at_once_and_withholds_what_comes_from_elsewhere() {
    let mut world = World::new();
    world.teach(&home());
    let (_, told) = world.settled(&stranger(), Decision::Reported);
    assert!(is_told(&told.alerts, AlertKind::Bombing, Severity::High), "{told:?}");
    let (pushed, ended) = world.settled(&stranger(), Decision::Approved);
    assert_eq!((pushed.decision, ended.decision), (Word::Silent, Word::Withhold));
    assert_eq!(ended.reasons, [Reason::ReportedLately]);
    let (pushed, ended) = world.settled(&home(), Decision::Approved);
    assert_eq!((pushed.decision, ended.decision), (Word::Ring, Word::Release));
}

#[test]
fn a_withheld_answer_says_what_it_is_withheld_for() {
    let mut world = World::new();
    world.teach(&home());
    let mut withheld_for = |before: &dyn Fn(&mut World)| {
        before(&mut world);
        world.settled(&stranger(), Decision::Approved).1.reasons
    };
    assert_eq!(withheld_for(&|world| world.contain(USER)), [Reason::Contained]);
    for (end, reason) in [
        (Decision::Denied, Reason::DeniedLately),
        (Decision::Reported, Reason::ReportedLately),
        (Decision::Denied, Reason::DeniedLately),
    ] {
        let settle = |world: &mut World| {
            world.settled(&stranger(), end);
        };
        assert_eq!(withheld_for(&settle), [reason]);
    }
}

#[test]
fn a_withheld_answer_is_given_out_by_a_code_and_by_nothing_else() {
    let mut world = World::new();
    world.teach(&home());
    world.settled(&stranger(), Decision::Denied);
    let (pushed, ended) = world.settled(&stranger(), Decision::Approved);
    assert_eq!(ended.decision, Word::Withhold);
    assert!(world.pending(USER).contains(&pushed.id), "outside it is still pending");
    assert_eq!(world.totp(&stranger(), Some(&pushed.id), false).decision, Word::Reject);
    assert!(world.pending(USER).contains(&pushed.id));
    // a code for another sign-in is no code for this one
    let other = world.push(&Spot::Elsewhere(5).caller());
    world.totp(&Spot::Elsewhere(5).caller(), Some(&other.id), true);
    assert!(world.pending(USER).contains(&pushed.id));
    assert_eq!(world.totp(&stranger(), Some(&pushed.id), true).decision, Word::Accept);
    assert!(!world.pending(USER).contains(&pushed.id));
}

#[test]
fn a_denial_after_a_withheld_answer_decides() {
    let mut world = World::new();
    world.teach(&home());
    world.settled(&stranger(), Decision::Denied);
    let (pushed, ended) = world.settled(&stranger(), Decision::Approved);
    assert_eq!(ended.decision, Word::Withhold);
    assert_eq!(world.outcome(&pushed.id, Decision::Reported).level, 3);
    assert!(!world.pending(USER).contains(&pushed.id));
}

const EMERGENCY: &str = "break-glass";

/// A user for emergencies, with a known place.
fn emergency() -> World {
    let mut world = World::new();
    world.user(EMERGENCY, &[Method::Push, Method::Totp], true);
    world.teach(&from(EMERGENCY, VPN, ip(1, 1)));
    world.pass(2 * DAY);
    world
}

#[test]
fn a_break_glass_user_never_rings_from_elsewhere_and_every_use_is_told() {
    let mut world = emergency();
    for (n, place) in [ip(2, 1), ip(1, 9), None, ip(3, 1)].into_iter().enumerate() {
        let caller = from(EMERGENCY, VPN, place);
        let (pushed, ended) = world.settled(&caller, Decision::Approved);
        assert_eq!(pushed.decision, Word::Silent, "{n}: {pushed:?}");
        assert!(says(&pushed, Reason::BreakGlass));
        assert!(is_told(&pushed.alerts, AlertKind::BreakGlass, Severity::High), "{n}");
        assert_eq!(ended.decision, Word::Release);
        world.pass(HOUR);
    }
    let (pushed, ended) = world.settled(&from(EMERGENCY, VPN, ip(1, 1)), Decision::Approved);
    assert_eq!((pushed.decision, ended.decision), (Word::Ring, Word::Release));
    assert!(is_told(&pushed.alerts, AlertKind::BreakGlass, Severity::High));
}

#[test]
fn what_a_break_glass_user_opens_is_never_withheld() {
    let mut world = emergency();
    let caller = from(EMERGENCY, VPN, ip(2, 1));
    for end in [Decision::Denied, Decision::Reported] {
        world.settled(&caller, end);
        world.contain(EMERGENCY);
        let (pushed, ended) = world.settled(&caller, Decision::Approved);
        assert_eq!((pushed.decision, ended.decision), (Word::Silent, Word::Release));
    }
}

#[test]
fn the_codes_of_a_break_glass_user_have_budgets_like_any_other() {
    let mut world = emergency();
    let mut compared = 0;
    for n in 0..40 {
        let caller = from(EMERGENCY, VPN, if n % 2 == 0 { ip(9, n) } else { None });
        compared += usize::from(world.totp(&caller, None, false).decision == Word::Reject);
        world.pass(10 * MINUTE);
    }
    assert!((1..=8).contains(&compared), "{compared}");
}

/// A success at one place once made the guard forget that another one had tried that day.
#[test]
fn a_success_elsewhere_forgets_no_day_on_which_a_stranger_tried() {
    let mut world = World::new();
    world.has(USER, &[Method::Push]);
    world.signs_in(&home());
    world.pass(25 * HOUR);
    let mut told = Vec::new();
    for day in 0..3 {
        for hour in [0, 2] {
            let tried = world.push(&stranger());
            told.extend(tried.alerts.iter().map(|raised| (day, hour, raised.alert)));
            world.pass(2 * MINUTE);
            world.outcome(&tried.id, Decision::Expired);
            world.pass(2 * HOUR);
        }
        // the person travels: each day another place, in vain and then not
        let hotel = Spot::Elsewhere(day).caller();
        let missed = world.push(&hotel);
        world.outcome(&missed.id, Decision::Cancelled);
        let found = world.push(&hotel);
        assert_eq!(world.outcome(&found.id, Decision::Approved).decision, Word::Release);
        world.pass(DAY - 4 * HOUR - 4 * MINUTE);
    }
    assert!(
        matches!(&told[..], [(2, 2, alert), ..] if alert.kind == AlertKind::Bombing),
        "with the next one on the third day: {told:?}"
    );
}

/// A person who is elsewhere day after day and finds their silent prompts in the app is no attack.
#[test]
fn a_silent_prompt_that_its_person_finds_is_no_alert() {
    let mut world = World::new();
    world.has(USER, &[Method::Push]);
    world.signs_in(&home());
    world.pass(25 * HOUR);
    for day in 0..5 {
        // a stranger has tried twice, so that other places are silent
        let who = if day < 2 { stranger() } else { Spot::Elsewhere(day).caller() };
        let tried = world.push(&who);
        let outcome = if day < 2 { Decision::Expired } else { Decision::Approved };
        world.pass(MINUTE);
        let ended = world.outcome(&tried.id, outcome);
        for judged in [tried, ended] {
            assert!(!is_told(&judged.alerts, AlertKind::Bombing, Severity::Medium), "{judged:?}");
        }
        world.pass(DAY - MINUTE);
    }
}

/// Asking anew in one browser session once swallowed the alert, and the hold that came with it stayed.
#[test]
fn whoever_asks_anew_in_one_session_is_told_of_all_the_same() {
    let mut world = World::new();
    world.has(USER, &[Method::Push]);
    world.signs_in(&home());
    world.pass(25 * HOUR);
    let session = |day: u64| Caller { session: Some(format!("tab{day}")), ..stranger() };
    let mut told = 0;
    for day in 0..5 {
        for purpose in [Purpose::SignIn, Purpose::StepUp, Purpose::SignIn, Purpose::StepUp] {
            let asked = world.push_for(&session(day), purpose, 90_000);
            told += usize::from(is_told(&asked.alerts, AlertKind::Bombing, Severity::Medium));
            world.pass(HOUR);
        }
        world.pass(20 * HOUR);
    }
    assert_eq!(told, 1, "one attack is one alert");
}

/// A slip of the finger at home once muted every alert about its person for three days.
#[test]
fn a_slip_at_home_mutes_nothing_of_what_follows() {
    let mut world = World::new();
    world.has(USER, &[Method::Push]);
    world.signs_in(&home());
    world.pass(25 * HOUR);
    let slip = world.push(&home());
    let said = world.outcome(&slip.id, Decision::Reported);
    assert!(is_told(&said.alerts, AlertKind::Bombing, Severity::Low), "{said:?}");
    assert!(!is_told(&said.alerts, AlertKind::Bombing, Severity::Medium), "{said:?}");
    let mut attacked = world.clone();
    let mut told = Vec::new();
    for _ in 0..6 {
        let asked = attacked.push(&stranger());
        told.extend(asked.alerts.clone());
        attacked.pass(2 * MINUTE);
        attacked.outcome(&asked.id, Decision::Expired);
    }
    assert!(is_told(&told, AlertKind::Bombing, Severity::Medium), "{told:?}");
    // somebody behind the person's own router: the second one is no slip
    world.pass(HOUR);
    let again = world.push(&home());
    let said = world.outcome(&again.id, Decision::Reported);
    assert!(is_told(&said.alerts, AlertKind::Bombing, Severity::High), "{said:?}");
}

/// A bug once: what a flood asked beyond what the app shows counted nothing, so its hold ended while it went on, and
/// it rang again every three days.
#[test]
fn a_flood_is_held_while_it_goes_on() {
    let mut world = World::new();
    world.teach(&home());
    let (mut rings, end) = (0, world.t + 80 * HOUR);
    while world.t < end {
        // ten at once in the app, of which it shows eight
        let judged = world.push_for(&stranger(), Purpose::SignIn, 300_000);
        rings += usize::from(judged.decision == Word::Ring);
        world.pass(30_000);
    }
    assert_eq!(rings, 1);
    // and no longer
    world.pass(73 * HOUR);
    assert_eq!(world.push(&stranger()).decision, Word::Ring);
}
