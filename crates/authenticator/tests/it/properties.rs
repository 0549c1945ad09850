//! Whatever a server sends.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{
    Did, NOW, Server, account, challenge, drain, encode, id, log_in, result, settled,
};
use authenticator::{Choice, Connection, Enrolment, Event, KeySeed, MAX_CARDS, Ticket};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use statement::ChallengeId;
use wire::device::{self as proto, CloseCode, server_frame};

fn whole_session(server: &Server) -> Vec<Vec<u8>> {
    vec![
        encode(server_frame::Frame::Hello(server.hello())),
        encode(server_frame::Frame::Welcome(crate::common::welcome())),
        encode(server_frame::Frame::Prompt(server.prompt(&challenge(1)))),
        settled(1, proto::State::Approved),
        encode(server_frame::Frame::EnrolPending(proto::EnrolPending { digits: 6 })),
        encode(server_frame::Frame::Enrolled(proto::Enrolled::default())),
    ]
}

proptest! {
    #[test]
    fn garbage_never_panics(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8)) {
        let server = Server::new();
        let mut fresh = Connection::new(account(&server), "test");
        fresh.open();
        let mut online = crate::common::online(&server);
        let link = "http://127.0.0.1/enrol#v1.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let ticket = Ticket::Link(link.parse().expect("a link"));
        let mut enrolment = Enrolment::new(ticket, KeySeed::ed25519([0; 32]), "", "");
        enrolment.open();
        for frame in &frames {
            fresh.on_frame(frame, NOW);
            online.on_frame(frame, NOW);
            enrolment.on_frame(frame);
        }
    }

    #[test]
    fn damaged_frames_never_panic_and_show_nothing_unsigned(
        which in 0_usize..6,
        cut in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        truncate in any::<bool>(),
    ) {
        let server = Server::new();
        let mut core = Connection::new(account(&server), "test");
        core.open();
        let mut frames = whole_session(&server);
        let damaged = &mut frames[which];
        if truncate {
            damaged.truncate(cut.index(damaged.len()));
        } else {
            let at = flip.index(damaged.len());
            damaged[at] ^= 1 << bit;
        }
        for frame in frames {
            core.on_frame(&frame, NOW);
        }
        for did in drain(&mut core) {
            if let Did::Event(Event::Prompt(card)) = did {
                prop_assert_eq!(card.challenge, id(1));
                prop_assert_eq!(card.integration_name, "VPN");
            }
        }
    }

    #[test]
    fn a_frame_of_any_size_is_bounded(len in proto::MAX_FRAME + 1..proto::MAX_FRAME * 4) {
        let mut core = crate::common::online(&Server::new());
        core.on_frame(&vec![0; len], NOW);
        prop_assert!(!core.is_online());
    }
}

/// What may happen to a device, in any order.
#[derive(Clone, Debug)]
enum Move {
    Prompt(u8, bool),
    Settle(u8),
    Answer(u8, bool),
    Result(u8, u8),
    Reconnect,
    Pull,
    Wait(u16),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let which = 0_u8..MAX_CARDS as u8 + 8;
    let one = prop_oneof![
        4 => (which.clone(), any::<bool>()).prop_map(|(n, alert)| Move::Prompt(n, alert)),
        2 => which.clone().prop_map(Move::Settle),
        2 => (which.clone(), any::<bool>()).prop_map(|(n, approve)| Move::Answer(n, approve)),
        2 => (which, 1_u8..6).prop_map(|(n, word)| Move::Result(n, word)),
        1 => Just(Move::Reconnect),
        1 => Just(Move::Pull),
        1 => (0_u16..40_000).prop_map(Move::Wait),
    ];
    prop::collection::vec(one, 1..120)
}

/// What a person and a server may conclude from what the core does.
#[derive(Default)]
struct Model {
    shown: BTreeSet<ChallengeId>,
    settled: BTreeSet<ChallengeId>,
    counter: u64,
    saved: bool,
}

impl Model {
    fn check(&mut self, core: &mut Connection) {
        for did in drain(core) {
            match did {
                Did::Event(Event::Prompt(card)) => {
                    assert!(self.shown.insert(card.challenge), "shown twice");
                    assert!(!self.settled.contains(&card.challenge), "shown after its end");
                }
                Did::Event(Event::Settled { challenge, .. }) => {
                    assert!(self.settled.insert(challenge), "settled twice");
                }
                Did::Event(
                    Event::Answered { challenge, .. }
                    | Event::Lapsed { challenge }
                    | Event::GaveWay { challenge },
                ) => {
                    assert!(self.shown.contains(&challenge), "never shown");
                }
                Did::Event(Event::Save) => self.saved = true,
                Did::Sent(wire::device::client_frame::Frame::Answer(answer)) => {
                    assert!(std::mem::take(&mut self.saved), "sent before it was saved");
                    assert!(answer.counter > self.counter, "a counter came again");
                    self.counter = answer.counter;
                }
                Did::Closed(code) => panic!("closed with {code}"),
                Did::Event(_) | Did::Sent(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn one_card_per_challenge_whatever_is_lost_doubled_or_late(moves in moves(), seed in any::<u64>()) {
        let server = Server::new();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut core = crate::common::online(&server);
        let mut model = Model::default();
        let mut now = NOW;
        for step in moves {
            match step {
                Move::Prompt(n, alert) => {
                    let prompt = proto::Prompt { alert, ..server.prompt(&challenge(n)) };
                    core.on_frame(&encode(server_frame::Frame::Prompt(prompt)), now);
                }
                Move::Settle(n) => core.on_frame(&settled(n, proto::State::Expired), now),
                Move::Answer(n, approve) => {
                    let choice = if approve { Choice::approve("123456") } else { Choice::Deny };
                    let taken = core.answer(id(n), choice, false, now);
                    assert!(taken.is_err() || model.shown.contains(&id(n)));
                }
                Move::Result(n, word) => {
                    let word = proto::Result::try_from(i32::from(word)).expect("a result");
                    core.on_frame(&result(n, word, proto::State::Denied), now);
                }
                Move::Reconnect => {
                    core.on_close(Some(CloseCode::Restart as u16), "", now, &mut rng);
                    model.check(&mut core);
                    // log_in drains: what it sends is checked by the moves around it
                    core.open();
                    core.on_frame(&encode(server_frame::Frame::Hello(server.hello())), now);
                    core.on_frame(&encode(server_frame::Frame::Welcome(crate::common::welcome())), now);
                }
                Move::Pull => core.pull(now),
                Move::Wait(ms) => {
                    now += Duration::from_millis(u64::from(ms));
                    core.on_wake(now);
                }
            }
            model.check(&mut core);
            prop_assert!(core.is_online());
            prop_assert!(core.cards(now).count() <= MAX_CARDS);
            prop_assert!(core.next_wake().is_none_or(|wake| wake > now));
        }
    }
}

#[test]
fn a_flood_of_prompts_is_bounded() {
    let server = Server::new();
    let mut core = crate::common::online(&server);
    let mut dropped = 0;
    for n in 0..100 {
        crate::common::show(&mut core, &server, n);
    }
    for event in crate::common::events(drain(&mut core)) {
        dropped += usize::from(matches!(event, Event::PromptDropped(_)));
    }
    assert_eq!((core.cards(NOW).count(), dropped), (MAX_CARDS, 100 - MAX_CARDS));
    log_in(&mut core, &server, NOW);
    assert_eq!(core.cards(NOW).count(), MAX_CARDS);
}

/// The server gives its oldest silent challenges up for newer ones; the app once kept those and dropped the person's own.
#[test]
fn under_a_silent_flood_the_newest_is_shown_and_what_the_server_still_sends_stays() {
    let server = Server::new();
    let mut core = crate::common::online(&server);
    let silent = |n: u8| {
        let prompt = proto::Prompt { alert: false, ..server.prompt(&challenge(n)) };
        encode(server_frame::Frame::Prompt(prompt))
    };
    let full = MAX_CARDS as u8;
    crate::common::show(&mut core, &server, 0);
    for n in 1..full {
        core.on_frame(&silent(n), NOW);
    }
    // one is being answered, another is looked at, a third is sent again with the next pull
    core.answer(id(1), Choice::Deny, false, NOW).expect("it is shown");
    core.look_at(Some(id(3)));
    let later = NOW + Duration::from_secs(5);
    core.on_frame(&silent(2), later);
    drain(&mut core);
    for n in full..full + 10 {
        core.on_frame(&silent(n), later);
        let told = crate::common::events(drain(&mut core));
        let gone = id(n - full + 4);
        assert!(
            matches!(&told[..], [Event::GaveWay { challenge }, Event::Prompt(card)]
                if *challenge == gone && card.challenge == id(n)),
            "{told:?}"
        );
    }
    // what was given up doesn't come back
    core.on_frame(&silent(4), later);
    assert!(crate::common::events(drain(&mut core)).is_empty());
    let left: BTreeSet<_> = core.cards(later).map(|card| card.challenge).collect();
    assert_eq!(left.len(), MAX_CARDS);
    assert!((0..4).chain(14..full + 10).all(|n| left.contains(&id(n))));
}
