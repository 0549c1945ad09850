//! Who rings: one at a time, the more familiar first, and within bounds that leave room for the person.

use std::collections::HashMap;

use domain::challenge::{Decision, Purpose};
use domain::guard::{Policy, Reason};
use domain::lab::{Caller, Judged, LabError, Op, Said, Word};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::moves::{MAIL, Spot};
use crate::world::{
    HOUR, MINUTE, TTL, USER, VPN, World, cases, from, home, ip, nowhere, says, stranger,
    with_cookie,
};

/// From the least to the most familiar.
const RANKS: [Reason; 5] = [
    Reason::FromNowhere,
    Reason::FromUnknown,
    Reason::FromNear,
    Reason::FromKnown,
    Reason::FromOwn,
];
const KNOWN: usize = 3;

fn rank(judged: &Judged) -> usize {
    RANKS.iter().position(|reason| says(judged, *reason)).expect("every push says it")
}

#[derive(Clone, Debug)]
struct Seen {
    rank: usize,
    rang: bool,
    place: (String, Option<std::net::IpAddr>, Option<String>),
    cookie: bool,
}

fn place(caller: &Caller) -> (String, Option<std::net::IpAddr>, Option<String>) {
    let ip = caller.place.ip.filter(|_| caller.cookie.is_none());
    (caller.integration.clone(), ip, caller.cookie.clone())
}

/// What happens to the ring.
#[derive(Clone, Debug)]
enum Event {
    Push { who: u8, ttl: u64, purpose: u8, same: bool },
    End { at: u8, how: Decision },
    Wait(u64),
}

fn events() -> impl Strategy<Value = Event> {
    let how = prop_oneof![
        3 => Just(Decision::Approved),
        1 => Just(Decision::Denied),
        1 => Just(Decision::Reported),
        2 => Just(Decision::Cancelled),
        1 => Just(Decision::Mismatch),
    ];
    prop_oneof![
        6 => (0_u8..12, 1_000_u64..300_000, 0_u8..6, any::<bool>())
            .prop_map(|(who, ttl, purpose, same)| Event::Push { who, ttl, purpose, same }),
        2 => (0_u8..16, how).prop_map(|(at, how)| Event::End { at, how }),
        1 => (0..10 * MINUTE).prop_map(Event::Wait),
        1 => (0..20 * HOUR).prop_map(Event::Wait),
    ]
}

/// Whoever asks: strangers, neighbours, the person in four places.
fn caller(who: u8) -> Caller {
    match who {
        0 | 1 => home(),
        2 => with_cookie(home(), "own"),
        3 => with_cookie(from(USER, VPN, ip(7, 7)), "own"),
        4 => from(USER, MAIL, ip(1, 1)),
        5 => from(USER, VPN, ip(1, 8)),
        6 | 7 => nowhere(),
        8 => stranger(),
        other => Spot::Elsewhere(u16::from(other)).caller(),
    }
}

fn world() -> World {
    let mut world = World::new();
    world.teach(&home());
    world.signs_in(&with_cookie(home(), "own"));
    world.signs_in(&from(USER, MAIL, ip(1, 1)));
    world.pass(25 * HOUR);
    world
}

/// Everything that may be said of a new challenge beside those that live.
fn check(judged: &Judged, caller: &Caller, beside: &[Seen]) -> Result<(), TestCaseError> {
    let mine = rank(judged);
    let rings = || beside.iter().filter(|seen| seen.rang);
    let most = rings().map(|seen| seen.rank).max();
    let here = place(caller);
    match judged.decision {
        Word::Ring => {
            prop_assert!(most.is_none_or(|most| most <= mine), "a less familiar one took the ring");
            let again = mine >= KNOWN && rings().any(|seen| seen.place == here);
            prop_assert!(most.is_none_or(|most| most < mine) || again, "two ring");
        }
        Word::Silent if says(judged, Reason::AnotherRings) => {
            prop_assert!(most.is_some_and(|most| most >= mine));
        }
        // nothing but their own unanswered rings silences known places
        Word::Silent if mine >= KNOWN => prop_assert!(says(judged, Reason::Looping)),
        Word::Decoy => prop_assert!(false, "somebody with a device is never asked in vain"),
        _ => {}
    }
    // the newest is shown beside these: older ones gave way to it
    let policy = Policy::default();
    let shown = |limit: f32, which: &dyn Fn(&Seen) -> bool| {
        let count = beside.iter().filter(|seen| which(seen)).count();
        u16::try_from(count).is_ok_and(|count| f32::from(count) < limit)
    };
    prop_assert!(shown(policy.live_per_place, &|seen| seen.place == here), "one place's share");
    let known = |seen: &Seen| (seen.rank >= KNOWN) == (mine >= KNOWN);
    let limit = if mine >= KNOWN { policy.live_known } else { policy.live_elsewhere };
    prop_assert!(shown(limit, &known), "{limit} of their kind");
    Ok(())
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn the_most_familiar_rings_alone(events in vec(events(), 1..80)) {
        let mut world = world();
        let mut seen: HashMap<String, Seen> = HashMap::new();
        // whether the one cookie was refused, and its browser hasn't got another one
        let mut refused = false;
        for event in events {
            match event {
                Event::Wait(millis) => world.pass(millis),
                Event::End { at, how } => {
                    let live = world.pending(USER);
                    if let Some(id) = live.get(usize::from(at)) {
                        let op = Op::Outcome { id: id.clone(), outcome: how };
                        match world.tried(op) {
                            Ok(Said::Judged(said)) if said.decision != Word::Withhold => {
                                refused = match how {
                                    Decision::Approved => refused && !seen[id].cookie,
                                    Decision::Denied | Decision::Reported => {
                                        refused || seen[id].cookie
                                    }
                                    _ => refused,
                                };
                            }
                            // a right answer that is withheld can't be given again
                            other => prop_assert!(matches!(other, Ok(_) | Err(LabError::Withheld(_)))),
                        }
                    }
                }
                Event::Push { who, ttl, purpose, same } => {
                    let mut caller = caller(who);
                    caller.session = same.then(|| format!("s{who}"));
                    let before = world.pending(USER);
                    let purpose = Purpose::ALL[usize::from(purpose) / 3];
                    let judged = world.push_for(&caller, purpose, ttl);
                    let after = world.pending(USER);
                    if judged.decision == Word::Merge {
                        let into = judged.into.expect("what it is merged into");
                        prop_assert!(before.contains(&into) && before == after);
                        continue;
                    }
                    // the same session's older one has ended
                    let stay = before.iter().filter(|id| after.contains(id));
                    let beside: Vec<Seen> = stay.map(|id| seen[id].clone()).collect();
                    let cookie = caller.cookie.is_some();
                    caller.cookie = caller.cookie.filter(|_| !refused);
                    check(&judged, &caller, &beside)?;
                    prop_assert_eq!(judged.decision == Word::Decoy, !after.contains(&judged.id));
                    let rang = judged.decision == Word::Ring;
                    let new = Seen { rank: rank(&judged), rang, place: place(&caller), cookie };
                    seen.insert(judged.id, new);
                }
            }
        }
    }
}

#[test]
fn the_person_takes_the_ring_from_a_stranger_and_never_loses_it_to_one() {
    let mut world = world();
    assert_eq!(world.push(&stranger()).decision, Word::Ring);
    let own = world.push(&home());
    assert_eq!(own.decision, Word::Ring);
    assert!(says(&own, Reason::MoreFamiliar));
    let later = world.push(&Spot::Elsewhere(3).caller());
    assert_eq!(later.decision, Word::Silent);
    assert!(says(&later, Reason::AnotherRings) && says(&later, Reason::Collision), "{later:?}");
    // nobody's end makes a silent one ring
    world.outcome(&own.id, Decision::Approved);
    assert!(world.pending(USER).contains(&later.id));
}

#[test]
fn a_neighbour_who_rang_before_does_not_ring_while_the_own_browser_does() {
    let mut world = world();
    assert_eq!(world.push(&home()).decision, Word::Ring);
    assert_eq!(world.push(&with_cookie(home(), "own")).decision, Word::Ring);
    let again = world.push(&home());
    assert_eq!(again.decision, Word::Silent, "{again:?}");
}

#[test]
fn a_person_who_starts_again_at_home_rings_again() {
    let mut world = world();
    for _ in 0..2 {
        assert_eq!(world.push(&home()).decision, Word::Ring);
        world.pass(MINUTE / 3);
    }
}

#[test]
fn one_session_rings_once() {
    let mut world = world();
    for caller in [home(), stranger(), nowhere()] {
        let caller = Caller { session: Some("tab".to_owned()), ..caller };
        let first = world.push(&caller);
        for _ in 0..5 {
            let again = world.push(&caller);
            assert_eq!((again.decision, again.into), (Word::Merge, Some(first.id.clone())));
        }
        // what it asks for instead ends it
        let other = world.push_for(&caller, Purpose::StepUp, TTL);
        assert_ne!(other.decision, Word::Merge);
        let live = world.pending(USER);
        assert!(live.contains(&other.id) && !live.contains(&first.id));
        world.pass(TTL);
    }
}
