//! What can't be is refused, and changes nothing.

use domain::challenge::{Decision, Method, Methods, Purpose};
use domain::lab::{Lab, LabError, MAX_TTL_MS, Op, Said};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::moves::{Limits, Play, UNBOUNDED, moves};
use crate::world::{TTL, USER, World, cases, from, home, nowhere, stranger, with_cookie};

/// Something that can't be, and the error that it must have.
#[derive(Clone, Copy, Debug)]
enum Bad {
    TimeGoesBack(u64),
    UsedId(u8),
    Ttl(bool),
    UnknownOutcome,
    UnknownCode,
    ForeignCode,
    Ended,
    NoName,
    LongName,
}

fn bad() -> impl Strategy<Value = Bad> {
    prop_oneof![
        (1_u64..10_000_000).prop_map(Bad::TimeGoesBack),
        (0_u8..4).prop_map(Bad::UsedId),
        any::<bool>().prop_map(Bad::Ttl),
        Just(Bad::UnknownOutcome),
        Just(Bad::UnknownCode),
        Just(Bad::ForeignCode),
        Just(Bad::Ended),
        Just(Bad::NoName),
        Just(Bad::LongName),
    ]
}

fn push(id: &str, user: &str, ttl_ms: u64) -> Op {
    let caller = from(user, "vpn", None);
    Op::Push { id: id.to_owned(), caller, purpose: Purpose::SignIn, ttl_ms }
}

/// Every kind of line that names an id.
fn reuse(kind: u8, id: &str) -> Op {
    let (id, caller, for_challenge) = (id.to_owned(), home(), None);
    match kind {
        0 => push(&id, USER, TTL),
        1 => Op::Totp { id, for_challenge, caller, valid: true },
        _ => Op::Recovery { id, for_challenge, caller, code_known: true },
    }
}

/// The line, and whether the error is the right one. `live` is a challenge of `USER` that lives, `ended` one
/// that doesn't.
fn line(bad: Bad, t: u64, live: &str, ended: &str) -> (u64, Op, fn(&LabError) -> bool) {
    let outcome = |id: &str| Op::Outcome { id: id.to_owned(), outcome: Decision::Approved };
    let code = |user: &str, on: &str| Op::Totp {
        id: "bad".to_owned(),
        for_challenge: Some(on.to_owned()),
        caller: from(user, "vpn", None),
        valid: true,
    };
    match bad {
        Bad::TimeGoesBack(millis) => (t - millis, push("bad", USER, TTL), |error| {
            matches!(error, LabError::TimeGoesBack { .. })
        }),
        Bad::UsedId(kind) => {
            (t, reuse(kind, live), |error| matches!(error, LabError::UsedBefore(_)))
        }
        Bad::Ttl(long) => {
            let ttl = if long { MAX_TTL_MS + 1 } else { 0 };
            (t, push("bad", USER, ttl), |error| matches!(error, LabError::Ttl(_)))
        }
        Bad::UnknownOutcome => {
            (t, outcome("nobody's"), |error| matches!(error, LabError::Unknown(..)))
        }
        Bad::UnknownCode => {
            (t, code(USER, "nobody's"), |error| matches!(error, LabError::Unknown(..)))
        }
        Bad::ForeignCode => (t, code("bob", live), |error| matches!(error, LabError::Foreign(_))),
        Bad::Ended => (t, outcome(ended), |error| matches!(error, LabError::Ended { .. })),
        Bad::NoName => (t, push("bad", "", TTL), |error| matches!(error, LabError::Length(_))),
        Bad::LongName => {
            let op = Op::Pull { user: "x".repeat(257) };
            (t, op, |error| matches!(error, LabError::Length(_)))
        }
    }
}

/// What a fixed sequence of everything is answered: equal answers, equal state, as far as anybody can tell.
fn probe(world: &mut World) -> Vec<Said> {
    let from_here = world.log.len();
    let callers = [home(), with_cookie(home(), "own"), stranger(), nowhere()];
    for caller in &callers {
        let pushed = world.push(caller);
        world.totp(caller, None, false);
        world.recovery(caller, None, false);
        world.pending(USER);
        world.pass(1_000);
        drop(world.tried(Op::Outcome { id: pushed.id, outcome: Decision::Denied }));
    }
    for caller in callers.iter().chain([&from("bob", "vpn", None)]) {
        let (_, _) = (world.push(caller), world.totp(caller, None, true));
        world.pass(TTL);
    }
    world.step(Op::Enrol { user: USER.to_owned() });
    world.log[from_here..].iter().map(|(_, _, said)| said.clone()).collect()
}

/// Any, and those around the first second and around the last one that 32 bits hold.
fn times() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0_u64..3_000, 4_294_000_000_000_u64..4_295_000_000_000]
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn a_bad_line_changes_nothing(moves in vec(moves(), 0..25), bads in vec(bad(), 1..6)) {
        let mut play = Play::new(Limits { at_home: true, ..UNBOUNDED }, &[Method::Push, Method::Totp]);
        play.play(&moves);
        let mut world = play.world;
        world.pass(MAX_TTL_MS);
        let ended = world.push(&with_cookie(home(), "other")).id;
        world.step(Op::Outcome { id: ended.clone(), outcome: Decision::Cancelled });
        let live = world.push(&with_cookie(home(), "other")).id;
        let mut with = world.clone();
        for bad in bads {
            let (t, op, is_right) = line(bad, with.t, &live, &ended);
            match with.lab.step(t, op) {
                Err(error) => prop_assert!(is_right(&error), "{bad:?}: {error}"),
                Ok(said) => prop_assert!(false, "{bad:?} was taken: {said:?}"),
            }
        }
        prop_assert_eq!(probe(&mut with), probe(&mut world));
    }

    /// A bad line far ahead doesn't move time: nothing expires by it.
    #[test]
    fn a_bad_line_far_ahead_does_not_move_time(ahead in 1_u64..u64::MAX / 2) {
        let mut world = World::new();
        let pushed = world.push(&stranger());
        let bad = Op::Outcome { id: "nobody's".to_owned(), outcome: Decision::Denied };
        prop_assert!(world.lab.step(world.t + ahead, bad).is_err());
        prop_assert_eq!(world.pending(USER), vec![pushed.id]);
    }

    /// Whatever the time, nothing breaks.
    #[test]
    fn any_time_will_do(
        times in vec(times(), 1..12),
        moves in vec(0_u8..5, 12),
    ) {
        let mut world = World::new();
        let mut times = times;
        times.sort_unstable();
        for (t, kind) in times.into_iter().zip(moves) {
            world.t = t;
            let caller = if kind % 2 == 0 { stranger() } else { home() };
            match kind {
                0 => { world.settled(&caller, Decision::Denied); }
                1 => world.signs_in(&caller),
                2 => { world.totp(&caller, None, false); }
                3 => { world.recovery(&caller, None, false); }
                _ => { world.push(&caller); world.contain(USER); }
            }
        }
    }
}

#[test]
fn what_ended_by_itself_may_be_told_again_and_nothing_else() {
    let mut world = World::new();
    let caller = domain::lab::Caller { session: Some("tab".to_owned()), ..home() };
    let first = world.push(&caller).id;
    let other = world.push_for(&caller, Purpose::StepUp, TTL).id;
    world.outcome(&first, Decision::Superseded);
    world.pass(TTL);
    let before = world.clone();
    world.outcome(&other, Decision::Expired);
    for (id, outcome) in [
        (&first, Decision::Expired),
        (&first, Decision::Approved),
        (&other, Decision::Approved),
        (&other, Decision::Denied),
        (&other, Decision::Superseded),
    ] {
        let error = world.tried(Op::Outcome { id: id.clone(), outcome }).unwrap_err();
        assert!(matches!(error, LabError::Ended { .. }), "{error}");
    }
    let (mut world, mut before) = (world, before);
    assert_eq!(probe(&mut world), probe(&mut before), "telling it again does nothing");
}

#[test]
fn a_decoy_and_a_merge_have_no_outcome() {
    let mut world = World::new();
    world.has("nobody", &[]);
    let decoy = world.push(&from("nobody", "vpn", None)).id;
    let caller = domain::lab::Caller { session: Some("tab".to_owned()), ..home() };
    world.push(&caller);
    let merged = world.push(&caller).id;
    for id in [decoy, merged] {
        let error = world.tried(Op::Outcome { id, outcome: Decision::Approved }).unwrap_err();
        assert!(matches!(error, LabError::Unknown(..)), "{error}");
    }
}

#[test]
fn what_names_no_factor_leaves_nobody_to_ring() {
    let mut lab = Lab::new(domain::guard::Policy::default());
    let user = Op::User { user: USER.to_owned(), factors: Methods::default(), break_glass: false };
    lab.step(0, user).unwrap();
    for n in 0..40 {
        let Ok(Said::Judged(judged)) = lab.step(n, push(&n.to_string(), USER, TTL)) else {
            panic!("a push is judged");
        };
        assert_eq!(judged.decision.name(), "decoy");
        assert_eq!((judged.level, judged.score.to_bits()), (0, 0), "a decoy leaves no trace");
    }
}

/// A million people's ids of a month would fill the memory.
#[test]
fn what_became_of_an_id_is_forgotten_a_day_later() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let mut lab = Lab::new(domain::guard::Policy::default());
    let outcome = || Op::Outcome { id: "c".to_owned(), outcome: Decision::Denied };
    let pull = || Op::Pull { user: USER.to_owned() };
    lab.step(0, push("c", USER, TTL)).unwrap();
    lab.step(1, outcome()).unwrap();
    lab.step(1 + DAY_MS, pull()).unwrap();
    let error = lab.step(1 + DAY_MS, outcome()).unwrap_err();
    assert!(matches!(error, LabError::Ended { .. }), "{error}");
    lab.step(2 + DAY_MS, pull()).unwrap();
    let error = lab.step(2 + DAY_MS, outcome()).unwrap_err();
    assert!(matches!(error, LabError::Unknown("id", _)), "{error}");
    lab.step(2 + DAY_MS, push("c", USER, TTL)).unwrap();
    // the first one's end doesn't end what is known of the second
    lab.step(3 + DAY_MS, pull()).unwrap();
    lab.step(3 + DAY_MS, outcome()).unwrap();
}
