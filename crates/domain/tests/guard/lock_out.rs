//! Nobody who has an enrolled device or a recovery code is ever locked out by somebody who has neither.

use domain::challenge::{Method, Purpose};
use domain::guard::Policy;
use domain::lab::{MAX_TTL_MS, Word};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::moves::{Limits, Play, Spot, UNBOUNDED, Way, genuine, moves};
use crate::world::{cases, home, with_cookie};

const PUSH: [Method; 1] = [Method::Push];
const PUSH_AND_CODE: [Method; 2] = [Method::Push, Method::Totp];

/// Where the person may be who isn't at home.
fn away() -> impl Strategy<Value = Spot> {
    prop_oneof![Just(Spot::Elsewhere(999)), Just(Spot::HomeNet(77)), Just(Spot::Nowhere)]
}

proptest! {
    #![proptest_config(cases(256))]

    /// At a known place the device answers, whatever happens anywhere else: no code is ever needed.
    #[test]
    fn at_home_the_device_is_enough(moves in vec(moves(), 1..40), code: bool) {
        let factors: &[Method] = if code { &PUSH_AND_CODE } else { &PUSH };
        let mut play = Play::new(UNBOUNDED, factors);
        play.play(&moves);
        let way = genuine(&mut play.world, &home(), false);
        prop_assert!(matches!(way, Some(Way::Ring | Way::Pull)), "{way:?}");
    }

    /// A browser with its cookie has its device even if strangers sit behind the same address.
    #[test]
    fn an_own_browser_needs_no_more_than_the_device(moves in vec(moves(), 1..40)) {
        let limits = Limits { at_home: true, ..UNBOUNDED };
        let mut play = Play::new(limits, &PUSH);
        play.play(&moves);
        let way = genuine(&mut play.world, &with_cookie(home(), "own"), false);
        prop_assert!(matches!(way, Some(Way::Ring | Way::Pull)), "{way:?}");
    }

    /// Strangers at the person's own address, as long as the place has room.
    #[test]
    fn behind_a_shared_address_too(moves in vec(moves(), 1..40)) {
        let limits = Limits { at_home: true, live: 7, ..UNBOUNDED };
        let mut play = Play::new(limits, &PUSH);
        play.play(&moves);
        let way = genuine(&mut play.world, &home(), false);
        prop_assert!(matches!(way, Some(Way::Ring | Way::Pull)), "{way:?}");
    }

    /// Away from home, with strangers at one address, however many requests and codes they send.
    #[test]
    fn away_from_home_one_address_locks_nobody_out(
        moves in vec(moves(), 1..40), code: bool, spot in away(),
    ) {
        let factors: &[Method] = if code { &PUSH_AND_CODE } else { &PUSH };
        let limits = Limits { one_address: true, at_office: false, live_nowhere: 5, ..UNBOUNDED };
        let mut play = Play::new(limits, factors);
        play.play(&moves);
        let way = genuine(&mut play.world, &spot.caller(), code);
        prop_assert!(way.is_some() && way != Some(Way::DecoyCode), "{way:?}");
    }

    /// The same with as many addresses as requests, within the live bound.
    #[test]
    fn away_from_home_rotating_within_the_bound_locks_nobody_out(
        moves in vec(moves(), 1..40), code: bool, spot in away(),
    ) {
        let factors: &[Method] = if code { &PUSH_AND_CODE } else { &PUSH };
        let limits = Limits { live: 14, live_nowhere: 7, ..UNBOUNDED };
        let mut play = Play::new(limits, factors);
        play.play(&moves);
        let way = genuine(&mut play.world, &spot.caller(), code);
        prop_assert!(way.is_some() && way != Some(Way::DecoyCode), "{way:?}");
    }

    /// Past the bound, a code is enough.
    #[test]
    fn away_from_home_behind_any_flood_a_code_is_enough(
        moves in vec(moves(), 1..40), spot in away(),
    ) {
        let limits = Limits { guesses: false, ..UNBOUNDED };
        let mut play = Play::new(limits, &PUSH_AND_CODE);
        play.play(&moves);
        let way = genuine(&mut play.world, &spot.caller(), true);
        prop_assert!(way.is_some(), "{way:?}");
    }

    /// A recovery code works from everywhere, whatever anybody did.
    #[test]
    fn a_recovery_code_always_works(moves in vec(moves(), 1..40), spot in away(), decoy: bool) {
        let limits = Limits { at_home: true, ..UNBOUNDED };
        let mut play = Play::new(limits, &[Method::Push, Method::Totp, Method::RecoveryCode]);
        play.play(&moves);
        let caller = spot.caller();
        let on = decoy.then(|| play.world.push(&caller).id);
        let said = play.world.recovery(&caller, on.as_deref(), true);
        prop_assert_eq!(said.decision, Word::Accept);
    }
}

/// How many live requests of strangers it takes until the person's own is a decoy.
fn until_decoy(person: Spot, stranger: impl Fn(u16) -> Spot) -> Option<u16> {
    let mut world = Play::new(UNBOUNDED, &PUSH).world;
    (0..200).find(|n| {
        let theirs = world.clone().push(&person.caller()).decision == Word::Decoy;
        world.push_for(&stranger(*n).caller(), Purpose::SignIn, MAX_TTL_MS);
        theirs
    })
}

/// The bounds as they are stated, and what they leave open: who is nowhere known and has no recovery code can be
/// kept out for as long as somebody else, who has the password, keeps as many requests alive from as many places.
#[test]
fn what_strangers_must_keep_alive_to_take_the_place_of_the_device() {
    let one = |_| Spot::Elsewhere(1);
    let many = Spot::Elsewhere;
    let policy = Policy::default();
    let elsewhere = policy.live_elsewhere;
    for person in [Spot::Home, Spot::Office] {
        assert_eq!(until_decoy(person, one), None);
        assert_eq!(until_decoy(person, many), None);
    }
    let away = Spot::Elsewhere(999);
    assert_eq!(until_decoy(away, one), None);
    assert_eq!(until_decoy(away, |_| Spot::Nowhere), None);
    let count = |bound: f32| u16::try_from(Policy::count(bound)).ok();
    assert_eq!(until_decoy(away, many), count(elsewhere));
    assert_eq!(until_decoy(Spot::Nowhere, one), None);
    assert_eq!(until_decoy(Spot::Nowhere, many), count(elsewhere));
    // all that comes from nowhere is one place
    assert_eq!(until_decoy(Spot::Nowhere, |_| Spot::Nowhere), count(policy.live_per_place));
    assert_eq!(until_decoy(Spot::Home, |_| Spot::Home), count(policy.live_per_place));
}
