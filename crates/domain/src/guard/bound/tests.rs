//! The figures against the reference's, and against simulated sieges.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::guard::Place;
use crate::lab::{Caller, Lab, Op, Said, Word};

#[test]
fn the_arithmetic_is_the_reference_s() {
    for (what, tries, figure) in REFERENCE {
        let here = reference(tries);
        assert!((here / figure - 1.0).abs() < 0.02, "{what}: {here} is not {figure}");
    }
    assert!((success(1, 1e-6) - 1e-6).abs() < 1e-18);
    assert_eq!(success(0, 0.5), 0.0);
}

#[test]
fn the_defaults_keep_their_promises() {
    let bound = Bound::of(&Rules::default());
    let shown = |ways: &[Way]| ways.iter().map(|way| way.tries).collect::<Vec<_>>();
    println!("{:?} {:?}", shown(&bound.elsewhere), shown(&bound.home));
    println!("{:?} {:?} {:?}", bound.strangers(), bound.neighbours(), bound.all());
    let rings = bound.elsewhere[0].tries;
    assert!(rings.month > 2 && rings.month <= 40, "{rings:?}");
    assert!(rings.year >= rings.month && rings.year < 13 * rings.month.max(10), "{rings:?}");
    // 60 and 30 a month, 339 and 164 a year
    let codes = [1, 2].map(|at| bound.elsewhere[at].tries);
    assert_eq!(codes.map(|tries| tries.month), [60, 30]);
    assert_eq!(codes.map(|tries| tries.year), [339, 164]);
    let (month, year) = bound.strangers();
    assert!(month < 3e-4 && year < 1.3e-3, "{month} {year}");
    assert!(bound.all().1 < 1e-2 && bound.neighbours().1 <= bound.all().1);
}

#[test]
fn few_digits_at_home_are_worth_what_they_say() {
    let rules =
        Rules { profile: crate::guard::Profile::Familiar, familiar_digits: 2, ..Rules::default() };
    let (plain, few) = (Bound::of(&Rules::default()), Bound::of(&rules));
    assert_eq!(plain.strangers(), few.strangers(), "nobody elsewhere has less to guess");
    assert!(few.neighbours().1 > 0.5, "{:?}", few.neighbours());
}

#[test]
fn a_bound_that_is_asked_for_is_met_by_what_is_derived() {
    let rules = Rules::default();
    for asked in [1e-2, 1e-4] {
        let derived = derive(&rules, Fixed::default(), asked).unwrap();
        let mut met = Rules { digits: derived.digits, ..rules.clone() };
        met.budgets.unknown.month = derived.unknown;
        met.budgets.nowhere.month = derived.nowhere;
        met.check().unwrap();
        let (_, year) = Bound::of(&met).strangers();
        assert!(year <= asked, "{asked}: {year} with {derived:?}");
        assert!(year > asked / 3.0 || derived.unknown == rules.budgets.unknown.month);
    }
    // thirteen of each in a year are the fewest
    let least = derive(&rules, Fixed::default(), 1e-5).unwrap_err();
    assert!(least > 5e-5 && least < 6e-5, "{least}");
    let all = Fixed { digits: true, unknown: true, nowhere: true };
    assert!(derive(&rules, all, 1e-4).is_err());
}

/// An attacker in the lab who sees whether it would ring by trying on a copy, at random hours; the victim types
/// numbers blindly. Whether he succeeds within 30 days.
fn siege(rng: &mut StdRng, odds: Odds, codes: bool) -> bool {
    let mut lab = Lab::new(Policy::default());
    let mut t = 200 * 86_400_000;
    let mut ids = 0_u32;
    let mut caller = |ip: Option<&str>| {
        ids += 1;
        let caller = Caller {
            user: "u".to_owned(),
            integration: "vpn".to_owned(),
            session: Some(format!("s{ids}")),
            place: Place { ip: ip.map(|ip| ip.parse().unwrap()), ..Place::default() },
            cookie: None,
        };
        (format!("c{ids}"), caller)
    };
    let push = |(id, caller): (String, Caller)| Op::Push {
        id,
        caller,
        purpose: Purpose::SignIn,
        ttl_ms: 90_000,
    };
    for _ in 0..8 {
        let asked = caller(Some("192.0.2.1"));
        let id = asked.0.clone();
        lab.step(t, push(asked)).unwrap();
        lab.step(t + 1000, Op::Outcome { id, outcome: Decision::Approved }).unwrap();
        t += 3 * 86_400_000;
    }
    let end = t + 30 * 86_400_000;
    let mut signs_in = t;
    while t < end {
        t += rng.random_range(600_000..5_400_000);
        if codes && t >= signs_in {
            // the person's own codes forgive every cap
            let (id, caller) = caller(Some("192.0.2.1"));
            lab.step(t, Op::Totp { id, for_challenge: None, caller, valid: true }).unwrap();
            signs_in = t + 86_400_000;
        }
        for ip in [Some("203.0.113.9"), None] {
            let asked = caller(ip);
            let id = asked.0.clone();
            if codes {
                // until the lane refuses
                let valid = rng.random_bool(odds.code);
                let (caller, for_challenge) = (asked.1, None);
                let said = lab.step(t, Op::Totp { id, for_challenge, caller, valid }).unwrap();
                if matches!(said, Said::Judged(judged) if judged.decision == Word::Accept) {
                    return true;
                }
                continue;
            }
            let mut copy = lab.clone();
            let said = copy.step(t, push(asked)).unwrap();
            if !matches!(said, Said::Judged(judged) if judged.decision == Word::Ring) {
                continue;
            }
            if rng.random_bool(odds.number) {
                return true;
            }
            t += 10_000;
            copy.step(t, Op::Outcome { id, outcome: Decision::Mismatch }).unwrap();
            lab = copy;
        }
    }
    false
}

/// Of so many sieges with other seeds, the share that succeeds, against what is computed.
fn simulate(codes: bool, odds: Odds, computed: f64) {
    const SIEGES: u32 = 200;
    let successes = (0..SIEGES)
        .filter(|seed| {
            let mut rng = StdRng::seed_from_u64(u64::from(*seed));
            siege(&mut rng, odds, codes)
        })
        .count();
    let share = f64::from(u32::try_from(successes).unwrap()) / f64::from(SIEGES);
    let sigma = (computed * (1.0 - computed) / f64::from(SIEGES)).sqrt();
    println!("simulated {share:.3}, computed {computed:.3} +- {sigma:.3}");
    assert!(share <= computed + 3.0 * sigma, "{share} is above the bound {computed}");
    assert!(share >= 0.6 * computed, "{share} is far below {computed}: the bound is idle");
}

#[test]
fn simulated_rings_stay_within_the_bound_and_come_near_it() {
    let odds = Odds { number: 0.05, known_number: 0.05, code: 0.01 };
    let bound = Bound::with(&Rules::default(), odds);
    simulate(false, odds, bound.elsewhere[0].month);
}

#[test]
fn simulated_codes_stay_within_the_bound_and_come_near_it() {
    let odds = Odds { number: 0.05, known_number: 0.05, code: 0.01 };
    let bound = Bound::with(&Rules::default(), odds);
    let computed = any(bound.elsewhere[1..3].iter().map(|way| way.month));
    simulate(true, odds, computed);
}
