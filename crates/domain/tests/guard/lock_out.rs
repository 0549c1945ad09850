//! Nobody who has an enrolled device or a recovery code is ever locked out by somebody who has neither.

use domain::challenge::{Decision, Method, Purpose};
use domain::lab::{MAX_TTL_MS, Op, Said, Word};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::moves::{Limits, Play, Spot, UNBOUNDED, Way, genuine, moves};
use crate::world::{USER, World, cases, home, with_cookie};

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

    /// Strangers at the person's own address.
    #[test]
    fn behind_a_shared_address_too(moves in vec(moves(), 1..40)) {
        let limits = Limits { at_home: true, ..UNBOUNDED };
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
        let limits = Limits { one_address: true, at_office: false, ..UNBOUNDED };
        let mut play = Play::new(limits, factors);
        play.play(&moves);
        let way = genuine(&mut play.world, &spot.caller(), code);
        prop_assert!(way.is_some() && way != Some(Way::DecoyCode), "{way:?}");
    }

    /// The same from as many addresses as requests.
    #[test]
    fn away_from_home_no_flood_locks_anybody_out(
        moves in vec(moves(), 1..40), code: bool, spot in away(), at_home: bool,
    ) {
        let factors: &[Method] = if code { &PUSH_AND_CODE } else { &PUSH };
        let mut play = Play::new(Limits { at_home, ..UNBOUNDED }, factors);
        play.play(&moves);
        let way = genuine(&mut play.world, &spot.caller(), code);
        prop_assert!(way.is_some() && way != Some(Way::DecoyCode), "{way:?}");
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

/// Whatever strangers keep alive, a person's own request is shown in the app, beside no more than fit there; and one
/// that is on the screen already stays good.
#[test]
fn no_flood_takes_the_place_of_the_device() {
    let many = Spot::Elsewhere;
    let floods: [&dyn Fn(u16) -> Spot; 4] =
        [&|_| Spot::Elsewhere(1), &many, &|_| Spot::Nowhere, &|_| Spot::Home];
    for person in [Spot::Home, Spot::Office, Spot::Elsewhere(999), Spot::Nowhere] {
        for flood in floods {
            let mut world = Play::new(UNBOUNDED, &PUSH_AND_CODE).world;
            for n in 0..200 {
                world.push_for(&flood(n).caller(), Purpose::SignIn, MAX_TTL_MS);
            }
            let own = world.push(&person.caller());
            assert_ne!(own.decision, Word::Decoy, "{person:?}");
            let shown = shown(&mut world);
            assert!(shown.contains(&own.id), "{person:?}");
            assert!(shown.len() <= 46, "{}", shown.len());
            // the flood goes on while the person types
            for n in 200..220 {
                world.push_for(&flood(n).caller(), Purpose::SignIn, MAX_TTL_MS);
            }
            let said = world.outcome(&own.id, Decision::Approved);
            assert_eq!(said.decision, Word::Release, "{person:?}");
        }
    }
}

/// What the app shows.
fn shown(world: &mut World) -> Vec<String> {
    match world.step(Op::Pull { user: USER.to_owned() }) {
        Said::Pending(ids) => ids,
        _ => Vec::new(),
    }
}
