//! The same input gives the same output, to the bit; a restart forgets nothing of anybody.

use domain::challenge::{Decision, Method};
use domain::guard::Policy;
use domain::lab::{Lab, Said};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::moves::{Limits, Play, UNBOUNDED, moves};
use crate::world::{HOUR, USER, World, cases, home, nowhere, stranger};

/// With every bit of every score.
fn exact(said: &Said) -> String {
    let bits = match said {
        Said::Judged(judged) => judged.score.to_bits(),
        Said::Level { score, .. } => score.to_bits(),
        _ => 0,
    };
    format!("{bits:08x} {said:?}")
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn the_same_lines_give_the_same_answers(moves in vec(moves(), 1..50), cut in 0.0..1.0_f64) {
        let mut play = Play::new(Limits { at_home: true, ..UNBOUNDED }, &[Method::Push, Method::Totp]);
        play.play(&moves);
        let log = &play.world.log;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "a place to cut at")]
        let cut = (log.len() as f64 * cut) as usize;
        let mut lab = Lab::new(Policy::default());
        let mut copy = None;
        for (at, (t, op, said)) in log.iter().enumerate() {
            if at == cut {
                copy = Some(lab.clone());
            }
            let again = lab.step(*t, op.clone()).expect("it could be before");
            prop_assert_eq!(exact(&again), exact(said), "line {}", at);
        }
        // a copy that was made on the way goes on alike
        let mut copy = copy.expect("a copy");
        for (t, op, said) in &log[cut..] {
            let again = copy.step(*t, op.clone()).expect("it could be before");
            prop_assert_eq!(exact(&again), exact(said));
        }
    }

    /// What is remembered of people outlives a crash; what spans them may not.
    #[test]
    fn a_restart_forgets_nothing_of_anybody(moves in vec(moves(), 1..30)) {
        let mut play = Play::new(Limits { at_home: true, ..UNBOUNDED }, &[Method::Push, Method::Totp]);
        play.play(&moves);
        let mut world = play.world;
        let mut crashed = world.clone();
        crashed.restart();
        prop_assert_eq!(crashed.pending(USER), world.pending(USER));
        prop_assert_eq!(crashed.score(USER).to_bits(), world.score(USER).to_bits());
        for caller in [home(), stranger(), nowhere()] {
            prop_assert_eq!(crashed.familiarity(&caller), world.familiarity(&caller));
            // nobody but the person speaks for them: the budgets of codes stay
            let (one, other) = (world.totp(&caller, None, false), crashed.totp(&caller, None, false));
            prop_assert_eq!(one.decision, other.decision);
        }
    }
}

#[test]
fn a_restart_ends_no_containment() {
    let mut world = World::new();
    world.teach(&home());
    world.settled(&stranger(), Decision::Reported);
    world.restart();
    world.pass(HOUR);
    let judged = world.push(&stranger());
    assert_eq!((judged.decision.name(), judged.level), ("silent", 3));
}
