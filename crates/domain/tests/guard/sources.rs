//! What spans users: sprays, shared addresses, outages, integrations that lie, floods of sources.

use std::net::{IpAddr, Ipv4Addr};

use domain::challenge::Decision;
use domain::guard::{
    AlertKind, Asker, Familiarity, MAX_SOURCES, Policy, Reason, Severity, Sources,
};
use domain::lab::{Caller, Judged, Said, Word};
use proptest::prelude::*;

use crate::moves::MAIL;
use crate::world::{
    DAY, HOUR, MINUTE, TTL, USER, VPN, World, cases, from, home, ip, is_told, says, stranger,
    with_cookie,
};

fn user(n: usize) -> String {
    format!("user{n}")
}

/// A home of one's own for everybody.
fn own_home(n: usize) -> Option<IpAddr> {
    let n = u32::try_from(n).expect("few users");
    Some(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + (n << 8) + 1)))
}

fn at_home(n: usize, integration: &str) -> Caller {
    from(&user(n), integration, own_home(n))
}

/// People who have signed in before, at home.
fn people(count: usize, integrations: &[&str]) -> World {
    let mut world = World::new();
    for _ in 0..2 {
        for n in 0..count {
            for integration in integrations {
                world.signs_in(&at_home(n, integration));
            }
            world.pass(1_000);
        }
        world.pass(25 * HOUR);
    }
    world
}

fn sprays(log: &World) -> usize {
    let alerts = log.log.iter().flat_map(|(_, _, said)| match said {
        Said::Judged(judged) => judged.alerts.clone(),
        _ => Vec::new(),
    });
    alerts.filter(|raised| raised.alert.kind == AlertKind::Spray).count()
}

#[test]
fn what_never_came_to_be_leaves_no_evidence_and_another_s_request_stays() {
    let policy = Policy::default();
    let mut sources = Sources::default();
    let unknown = Familiarity::Unknown;
    let is_hot =
        |sources: &mut Sources, user| sources.around(&policy, &asker(7, user), 100).address_hot;
    let mut reserved = Vec::new();
    for user in 1..=10 {
        assert!(!is_hot(&mut sources, user), "{user}");
        reserved.push(sources.reserve(&policy, &asker(7, user), unknown, true, 100).0);
    }
    assert!(is_hot(&mut sources, 11), "all at once see each other");
    // a second request of the same user reserves nothing, and takes nothing back
    let (again, _) = sources.reserve(&policy, &asker(7, 10), unknown, false, 100);
    sources.take_back(&policy, &asker(7, 10), &again, 100);
    assert!(is_hot(&mut sources, 11));
    sources.take_back(&policy, &asker(7, 10), &reserved[9], 100);
    assert!(!is_hot(&mut sources, 11));
    for (user, reserved) in (1..).zip(&reserved[..9]) {
        sources.take_back(&policy, &asker(7, user), reserved, 100);
    }
    for user in 1..=10 {
        assert!(!is_hot(&mut sources, user));
        sources.asked(&policy, &asker(7, user), unknown, true, 100);
    }
}

/// A bug once: at an address that is never quiet, whoever was asked in vain before was never counted again.
#[test]
fn a_spray_that_comes_back_to_the_same_people_is_one_again() {
    let policy = Policy::default();
    let mut sources = Sources::default();
    let ask = |sources: &mut Sources, user, now| {
        let hot = sources.around(&policy, &asker(7, user), now).address_hot;
        sources.asked(&policy, &asker(7, user), Familiarity::Unknown, !hot, now);
        hot
    };
    for day in 0..3 {
        let start = 1_000 + day * 86_400;
        let silent = (1..=16).filter(|user| ask(&mut sources, *user, start + user * 60));
        assert!(silent.count() >= 8, "day {day}");
        for hour in 1..24 {
            ask(&mut sources, 99, start + hour * 3600);
        }
    }
}

#[test]
fn an_alert_of_what_never_came_to_be_is_told_again() {
    let policy = Policy::default();
    let mut sources = Sources::default();
    let ask = |sources: &mut Sources, user, now| {
        sources.reserve(&policy, &asker(7, user), Familiarity::Unknown, false, now)
    };
    for user in 1..=8 {
        assert_eq!(ask(&mut sources, user, 100).1, []);
    }
    let (reserved, alerts) = ask(&mut sources, 9, 200);
    assert_eq!(alerts.len(), 1, "nobody answered");
    assert_eq!(ask(&mut sources, 10, 200).1, []);
    sources.take_back(&policy, &asker(7, 9), &reserved, 201);
    assert_eq!(ask(&mut sources, 11, 201).1, alerts);
}

fn rang(judged: &Judged) -> usize {
    usize::from(judged.decision == Word::Ring)
}

#[test]
fn one_address_that_asks_everybody_rings_few_and_is_told_once() {
    let mut world = people(300, &[VPN]);
    let mut rings = 0;
    for n in 0..300 {
        rings += rang(&world.push(&from(&user(n), VPN, ip(200, 1))));
        world.pass(HOUR / 300);
    }
    assert!((1..=8).contains(&rings), "{rings} of 300");
    assert_eq!(sprays(&world), 1);
    // at home nobody notices
    for n in 0..300 {
        assert_eq!(rang(&world.push(&at_home(n, VPN))), 1, "{n}");
    }
}

#[test]
fn a_hundred_addresses_ring_few_of_three_hundred() {
    for background in [false, true] {
        let mut world = people(300, &[VPN]);
        let mut rings = 0;
        for n in 0..300 {
            if background && n % 4 == 0 {
                // people travel while it goes on
                world.signs_in(&from(&user(299 - n), VPN, ip(7_000 + n as u16, 1)));
            }
            rings += rang(&world.push(&from(&user(n), VPN, ip(200 + (n % 100) as u16, 1))));
            world.pass(4 * HOUR / 300);
        }
        assert!((1..=40).contains(&rings), "{rings} of 300, background {background}");
        assert!((1..=2).contains(&sprays(&world)), "{}", sprays(&world));
    }
}

#[test]
fn a_slow_spray_goes_on_being_silent_while_it_goes_on() {
    let mut world = people(300, &[VPN]);
    let mut rings = 0;
    for n in 0..300 {
        rings += rang(&world.push(&from(&user(n), VPN, ip(200, 1))));
        // every two minutes: ten hours in all
        world.pass(2 * MINUTE);
    }
    assert!(rings <= 8, "{rings}");
}

/// A carrier's or a campus's address, used around the clock.
fn crowd(days: u64) -> World {
    let mut world = World::new();
    for hour in 0..days * 24 {
        for n in 0..60 {
            if (n as u64 + hour).is_multiple_of(12) {
                world.signs_in(&from(&user(n), VPN, ip(9, 9)));
                world.pass(20_000);
            }
        }
        world.pass(HOUR - 100_000);
    }
    world
}

#[test]
fn an_address_that_a_crowd_shares_is_not_a_spray() {
    for days in [1, 7] {
        let mut world = crowd(days);
        // an unlucky hour: eight who are new here don't answer
        for n in 100..108 {
            let judged = world.push(&from(&user(n), VPN, ip(9, 9)));
            assert_eq!(judged.decision, Word::Ring, "{n} after {days} days: {judged:?}");
            assert!(!is_told(&judged.alerts, AlertKind::Spray, Severity::Low), "{n}");
            world.pass(7 * MINUTE);
        }
    }
}

#[test]
fn what_is_hot_silences_no_known_place() {
    let mut world = crowd(2);
    for n in 100..200 {
        world.push(&from(&user(n), VPN, ip(9, 9)));
        world.pass(1_000);
    }
    let judged = world.push(&from(&user(500), VPN, ip(9, 9)));
    assert_eq!(judged.decision, Word::Silent, "{judged:?}");
    for n in 0..60 {
        assert_eq!(rang(&world.push(&from(&user(n), VPN, ip(9, 9)))), 1, "{n}");
    }
}

#[test]
fn what_is_hot_cools_down() {
    let mut world = people(30, &[VPN]);
    for n in 0..30 {
        world.push(&from(&user(n), VPN, ip(200, 1)));
    }
    world.pass(DAY);
    assert_eq!(rang(&world.push(&from("somebody", VPN, ip(200, 1)))), 1);
}

/// Everybody's phone is silent: pushes from known places run out.
fn outage(world: &mut World, users: usize, integrations: &[&str]) -> bool {
    for n in 0..users {
        let judged = world.push(&at_home(n, integrations[n % integrations.len()]));
        assert_eq!(rang(&judged), 1);
        world.pass(10_000);
    }
    world.pass(TTL);
    says(&world.push(&stranger()), Reason::Outage)
}

#[test]
fn an_outage_is_seen_from_known_places_of_more_than_one_integration() {
    let mut world = people(40, &[VPN, MAIL]);
    assert!(outage(&mut world, 40, &[VPN, MAIL]));
}

#[test]
fn an_outage_forgives_time_outs_at_home_and_no_strangers() {
    let mut world = people(40, &[VPN, MAIL]);
    assert!(outage(&mut world, 40, &[VPN, MAIL]));
    let judged = world.push(&from("user1", VPN, ip(77, 1)));
    world.pass(TTL + 1_000);
    assert!(says(&judged, Reason::Outage));
    assert!(world.score("user1") >= 0.6, "a stranger's ring is paid for: {}", world.score("user1"));
    // at home it is nobody's fault: with the one before, more ring than from a client that loops
    for _ in 0..3 {
        assert_eq!(rang(&world.push(&at_home(2, VPN))), 1);
        world.pass(TTL + 1_000);
    }
}

#[test]
fn one_person_alone_makes_no_outage() {
    let mut world = people(40, &[VPN, MAIL]);
    for n in 0..12 {
        world.push(&at_home(1, [VPN, MAIL][n % 2]));
        world.pass(TTL + 1_000);
        assert!(!says(&world.push(&stranger()), Reason::Outage), "after {n}");
    }
}

#[test]
fn a_first_morning_is_no_spray() {
    // three hundred people whom nobody knows yet, from one office and from their homes, within a quarter of an hour
    let mut world = World::new();
    let mut rings = 0;
    let mut open: Vec<(usize, String)> = Vec::new();
    for n in 0..300 {
        let place = if n % 2 == 0 { ip(9, 9) } else { own_home(n) };
        let judged = world.push(&from(&user(n), VPN, place));
        rings += rang(&judged);
        open.push((n, judged.id));
        world.pass(3_000);
        // people answer after twelve seconds
        if open.len() > 4 {
            world.outcome(&open.remove(0).1, Decision::Approved);
        }
    }
    assert!(rings >= 297, "{rings} of 300");
    assert_eq!(sprays(&world), 0);
}

#[test]
fn one_integration_alone_makes_no_outage() {
    let mut world = people(40, &[VPN, MAIL]);
    assert!(!outage(&mut world, 40, &[VPN]));
    let mut world = people(40, &[VPN, MAIL]);
    // one that lies, beside one whom two people didn't answer
    assert!(!outage(&mut world, 2, &[MAIL]));
    assert!(!outage(&mut world, 40, &[VPN]));
}

#[test]
fn strangers_make_no_outage() {
    let mut world = people(40, &[VPN, MAIL]);
    for n in 0..40 {
        let integration = [VPN, MAIL][n % 2];
        world.push(&from(&user(n), integration, ip(500 + n as u16, 1)));
    }
    world.pass(TTL);
    assert!(!says(&world.push(&stranger()), Reason::Outage));
}

#[test]
fn an_integration_that_lies_about_addresses_gains_nothing_elsewhere() {
    let mut world = people(20, &[VPN]);
    // it claims everybody's home, and then that everybody's homes are one
    for n in 0..20 {
        let judged = world.push(&at_home(n, "liar"));
        assert!(says(&judged, Reason::FromUnknown), "{judged:?}");
        world.settled(&from(&user(n), "liar", own_home(1)), Decision::Cancelled);
        world.settled(&from(&user(n), "liar", own_home(1)), Decision::Mismatch);
    }
    world.pass(TTL);
    for n in 0..20 {
        let (pushed, ended) = world.settled(&at_home(n, VPN), Decision::Approved);
        assert_eq!((pushed.decision, ended.decision), (Word::Ring, Word::Release), "{n}");
    }
}

#[test]
fn an_integration_that_lies_heats_an_address_and_the_organisation_for_itself_alone() {
    let mut world = people(60, &[VPN, MAIL]);
    let office = |n: usize, integration| from(&user(n), integration, ip(7, 7));
    // it says of everybody that they ask from the office, and nobody answers
    for n in 0..30 {
        world.push(&office(n, VPN));
        world.pass(10_000);
    }
    world.pass(MINUTE);
    let there = world.push(&office(40, VPN));
    assert_eq!(rang(&there), 0, "{:?}", there.reasons);
    // another integration is believed by what it sees itself: half of the evidence
    for n in 41..44 {
        let judged = world.push(&office(n, MAIL));
        assert_eq!(rang(&judged), 1, "{:?}", judged.reasons);
        world.pass(MINUTE);
    }
    let judged = world.push(&office(44, MAIL));
    assert!(says(&judged, Reason::AddressHot), "{:?}", judged.reasons);
    let elsewhere = world.push(&from(&user(53), MAIL, ip(8, 8)));
    assert_eq!(rang(&elsewhere), 1, "{:?}", elsewhere.reasons);
}

/// Everybody's first morning behind one address, while another integration says what it likes of that address.
#[test]
fn a_shared_address_is_a_crowd_s_whatever_a_liar_says_of_it() {
    let mut world = World::new();
    let office = |n: usize, integration| from(&user(n), integration, ip(7, 7));
    for n in 0..60 {
        world.push(&office(n, "liar"));
        world.pass(1_000);
    }
    world.pass(MINUTE);
    let mut rings = 0;
    let mut asked: Vec<String> = Vec::new();
    for n in 100..300 {
        let judged = world.push(&office(n, VPN));
        rings += rang(&judged);
        asked.push(judged.id);
        world.pass(2_000);
        // each answers within ten seconds
        if asked.len() > 4 {
            world.outcome(&asked.remove(0), Decision::Approved);
        }
    }
    assert!(rings >= 190, "{rings} rings");
}

/// Two a second behind one address, where one in ten never answers.
#[test]
fn a_busy_first_morning_behind_one_address_rings() {
    let mut world = World::new();
    let (mut rings, mut asked) = (0, Vec::new());
    for n in 0..2_000 {
        let judged = world.push(&from(&user(n), VPN, ip(7, 7)));
        rings += rang(&judged);
        asked.push((n, judged.id));
        world.pass(500);
        if asked.len() > 20 {
            let (n, id) = asked.remove(0);
            if n % 10 > 0 {
                world.outcome(&id, Decision::Approved);
            }
        }
    }
    assert!(rings >= 1_900, "{rings} rings");
}

#[test]
fn an_organisation_is_not_silenced_by_one_integration_s_word() {
    let mut world = people(80, &[VPN, MAIL]);
    // each from an address of its own: no single source stands out
    let from_anywhere = |n: u16, integration| from(&user(n.into()), integration, ip(n + 9, 1));
    for n in 0..40 {
        world.push(&from_anywhere(n, VPN));
        world.pass(10_000);
    }
    world.pass(MINUTE);
    let there = world.push(&from_anywhere(50, VPN));
    assert!(says(&there, Reason::OrganisationHot), "{:?}", there.reasons);
    let elsewhere = world.push(&from_anywhere(51, MAIL));
    assert_eq!(rang(&elsewhere), 1, "{:?}", elsewhere.reasons);
    // where others say the same, all are believed
    for n in 52..70 {
        world.push(&from_anywhere(n, MAIL));
        world.pass(10_000);
    }
    world.pass(MINUTE);
    let there = world.push(&from_anywhere(71, MAIL));
    assert!(says(&there, Reason::OrganisationHot), "{:?}", there.reasons);
}

#[test]
fn a_spray_over_integrations_is_one_spray() {
    let mut world = people(60, &[VPN, MAIL]);
    let mut rings = 0;
    for n in 0..40 {
        let integration = if n % 2 == 0 { VPN } else { MAIL };
        rings += rang(&world.push(&from(&user(n), integration, ip(7, 7))));
        world.pass(30_000);
    }
    assert!(rings <= 8, "{rings} rings");
    assert_eq!(sprays(&world), 1);
}

#[test]
fn a_client_that_loops_is_told_and_silenced_and_nobody_else_is() {
    let mut world = people(2, &[VPN]);
    let (mut rings, mut told) = (0, 0);
    for _ in 0..24 {
        let judged = world.push(&at_home(0, VPN));
        rings += rang(&judged);
        told += usize::from(is_told(&judged.alerts, AlertKind::IntegrationLoop, Severity::Low));
        assert!(!is_told(&judged.alerts, AlertKind::Bombing, Severity::Low));
        world.pass(5 * MINUTE);
    }
    assert!(rings <= 6, "{rings} rings");
    assert_eq!(told, 1);
    // the person's own browser isn't the client
    world.signs_in(&with_cookie(at_home(0, VPN), "own"));
    assert_eq!(rang(&world.push(&at_home(1, VPN))), 1);
}

/// A bug once: the second horizon didn't count for browsers, so that a stolen cookie rang every two minutes.
#[test]
fn a_stolen_cookie_does_not_ring_for_hours() {
    let mut world = World::new();
    world.teach(&with_cookie(home(), "own"));
    let mut rings = 0;
    for n in 0..240 {
        rings += rang(&world.push(&with_cookie(from(USER, VPN, ip(100 + n, 1)), "own")));
        world.pass(2 * MINUTE);
    }
    assert!((3..=24).contains(&rings), "{rings} rings in 8 hours");
    // whoever shares the address alone can't silence the person's browser
    let mut world = World::new();
    world.teach(&with_cookie(home(), "own"));
    for _ in 0..240 {
        world.push(&home());
        world.pass(2 * MINUTE);
    }
    assert_eq!(rang(&world.push(&with_cookie(home(), "own"))), 1);
}

fn asker(address: u64, user: u32) -> Asker {
    // keyed hashes in the service: spread over all bits
    let spread = |value: u64| value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Asker { address: Some(spread(address)), network: Some(spread(!address)), integration: 1, user }
}

#[test]
fn a_flood_of_addresses_is_bounded_and_forgets_nobody_who_sprays() {
    let policy = Policy::default();
    let mut sources = Sources::default();
    let now = 1_767_225_600;
    let sprayer = |user| asker(u64::MAX, user);
    for user in 1..=40 {
        let at = now + user;
        sources.asked(&policy, &sprayer(user), Familiarity::Unknown, true, at);
    }
    assert!(sources.around(&policy, &sprayer(1), now + 60).address_hot);
    let flood = u64::try_from(MAX_SOURCES).expect("a number") * 3;
    for address in 0..flood {
        // each of them asks for two: more than the plainest entry
        let at = now + 60 + u32::try_from(address / 1_000).expect("a few minutes");
        for user in 1..=2 {
            sources.asked(&policy, &asker(address, user), Familiarity::Unknown, false, at);
        }
        assert!(sources.len() <= 2 * MAX_SOURCES);
    }
    let later = now + 60 + 600;
    assert!(sources.around(&policy, &sprayer(1), later).address_hot, "it went on spraying");
    assert!(Sources::bytes_per_source() <= 160);
}

proptest! {
    #![proptest_config(cases(64))]

    /// Junk from one source leaves others their tries, in whatever order they come.
    #[test]
    fn junk_is_counted_by_source(
        tries in proptest::collection::vec((0_u64..4, 0_u32..60), 1..400), most in 5.0..1000.0_f32,
    ) {
        let policy = Policy { junk_per_source: most.floor(), ..Policy::default() };
        policy.check().expect("within its bounds");
        let mut sources = Sources::default();
        let mut now = 1_767_225_600;
        let mut hashed: Vec<(u64, u32)> = Vec::new();
        for (source, then) in tries {
            if sources.junk(&policy, &asker(source, 1), now) {
                hashed.push((source, now));
            }
            now += then;
        }
        for (source, at) in &hashed {
            let within = hashed.iter().filter(|(other, t)| other == source && t.abs_diff(*at) < 300);
            // a full bucket, and what comes back in ten minutes
            prop_assert!(within.count() <= 2 * Policy::count(most) + 1);
        }
    }

    /// As many as the policy says, whichever number that is.
    #[test]
    fn junk_has_a_bound_whatever_the_policy(most in 5.0..1000.0_f32) {
        let policy = Policy { junk_per_source: most.floor(), ..Policy::default() };
        let mut sources = Sources::default();
        let now = 1_767_225_600;
        let hashed = (0..5_000).filter(|_| sources.junk(&policy, &asker(1, 1), now)).count();
        prop_assert!(hashed <= Policy::count(most), "{} for {}", hashed, most);
        prop_assert!(hashed >= Policy::count(most) / 2);
    }
}
