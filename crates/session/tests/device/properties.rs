//! Whatever arrives, in whatever order: no panic, no request that the state doesn't allow, no number that
//! comes back.

use std::time::Duration;

use crate::frames::*;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::bytes::Bytes;
use session::{AnswerOutcome, EnrolRefusal, Handshake, HandshakeStep, Identified, Prompt, Step};
use wire::device::client_frame::Frame;
use wire::device::{Answer, ClientHello, EnrolConfirm, Login, MAX_FRAME};

/// One thing that happens to a connection.
#[derive(Clone, Debug)]
enum Event {
    Frame(Bytes),
    Control,
    Pass(u64),
}

fn any_frame() -> impl Strategy<Value = Bytes> {
    let good = (0..all_frames().len()).prop_map(|n| encode(all_frames()[n].1.clone()));
    let odd = prop_oneof![
        (any::<u32>(), any::<u32>(), ".*").prop_map(|(min_version, max_version, agent)| {
            Frame::Hello(ClientHello { min_version, max_version, agent })
        }),
        (vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..80)).prop_map(|(id, signature)| {
            Frame::Login(Login {
                tenant: id.clone().into(),
                device: id.into(),
                signature: signature.into(),
            })
        }),
        (".*", ".*").prop_map(|(user, text)| Frame::EnrolClaim(code(&user, &text))),
        (any::<i32>(), "[0-9]{0,12}", any::<u64>()).prop_map(|(decision, number, counter)| {
            Frame::Answer(Answer { decision, number, counter, ..answer() })
        }),
    ];
    prop_oneof![
        6 => good.clone(),
        2 => odd.prop_map(encode),
        1 => (good, any::<prop::sample::Index>()).prop_map(|(mut frame, at)| {
            frame.truncate(at.index(frame.len()));
            frame
        }),
        1 => vec(any::<u8>(), 0..200).prop_map(Bytes::from),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any_frame().prop_map(Event::Frame),
        1 => Just(Event::Control),
        2 => (0..3000u64).prop_map(Event::Pass),
    ]
}

/// Either type of connection, as a shell holds them.
enum Connection {
    Handshake(Handshake),
    Identified(Identified),
}

/// What happened to a connection: what it asked, and whether a good login came before.
#[derive(Default)]
struct Story {
    logins: usize,
    device_asked: usize,
    closed: bool,
}

fn run(events: Vec<Event>, accept: bool) -> Story {
    let mut connection = Connection::Handshake(fresh());
    let (mut now, mut story) = (Duration::ZERO, Story::default());
    for event in events {
        let next = match connection {
            Connection::Handshake(handshake) => {
                shake(handshake, event, &mut now, accept, &mut story)
            }
            Connection::Identified(device) => live(device, event, &mut now, &mut story),
        };
        match next {
            Some(next) => connection = next,
            None => {
                story.closed = true;
                break;
            }
        }
    }
    story
}

fn shake(
    handshake: Handshake,
    event: Event,
    now: &mut Duration,
    accept: bool,
    story: &mut Story,
) -> Option<Connection> {
    let step = match event {
        Event::Frame(frame) => handshake.on_frame(frame, *now),
        Event::Control => handshake.on_control(*now),
        Event::Pass(millis) => {
            *now += Duration::from_millis(millis);
            handshake.on_timer(*now)
        }
    };
    Some(match step {
        HandshakeStep::Wait(next) | HandshakeStep::Ping(next) => Connection::Handshake(next),
        HandshakeStep::Send(next, frame) => {
            assert!(frame.len() <= MAX_FRAME);
            Connection::Handshake(next)
        }
        HandshakeStep::Login(asking, _) if accept => {
            story.logins += 1;
            Connection::Identified(asking.logged_in(welcome()).0)
        }
        HandshakeStep::Claim(asking, _) if accept => {
            Connection::Handshake(asking.claimed(6, *now).0)
        }
        HandshakeStep::Confirm(asking, _) if accept => {
            Connection::Handshake(asking.enrolled(enrolled_facts(), *now).0)
        }
        HandshakeStep::Login(asking, _) => return none(asking.refused()),
        HandshakeStep::Claim(asking, _) => return none(asking.refused(EnrolRefusal::Ticket)),
        HandshakeStep::Confirm(asking, _) => {
            return none(asking.refused(EnrolRefusal::Signature));
        }
        HandshakeStep::Close(close) => return none(close),
    })
}

fn none(close: session::Close) -> Option<Connection> {
    assert!(close.reason.len() <= 123);
    None
}

fn live(
    device: Identified,
    event: Event,
    now: &mut Duration,
    story: &mut Story,
) -> Option<Connection> {
    let step = match event {
        Event::Frame(frame) => device.on_frame(frame, *now),
        Event::Control => device.on_control(*now),
        Event::Pass(millis) => {
            *now += Duration::from_millis(millis);
            device.on_timer(*now)
        }
    };
    let next = match step {
        Step::Close(close) => return none(close),
        Step::Wait(next) | Step::Ping(next) => next,
        Step::Seen(asking, _) => asking.noted(),
        Step::Answer(asking, _) => {
            story.device_asked += 1;
            asking.answered(AnswerOutcome::Retry, false).0
        }
        Step::Pull(asking) => {
            story.device_asked += 1;
            asking.pulled(0).0
        }
        Step::Rebind(asking) => {
            story.device_asked += 1;
            asking.rebound(None).0
        }
    };
    Some(Connection::Identified(next))
}

proptest! {
    #[test]
    fn any_story_ends_well(events in vec(any_event(), 0..60), accept: bool) {
        let story = run(events, accept);
        prop_assert!(story.device_asked == 0 || story.logins == 1);
        prop_assert!(story.logins <= 1);
    }

    #[test]
    fn garbage_is_refused_by_every_state(bytes in vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        for state in [fresh, greeted, claimed, enrolled] {
            let step = state().on_frame(bytes.clone(), NOW);
            prop_assert!(matches!(step, HandshakeStep::Close(_)), "{step:?}");
        }
    }

    #[test]
    fn a_truncated_frame_is_never_taken(frame in 0..5usize, at: prop::sample::Index) {
        let whole = encode(all_frames()[frame].1.clone());
        let cut = whole.slice(..at.index(whole.len()));
        for state in [fresh, greeted, claimed, enrolled] {
            let step = state().on_frame(cut.clone(), NOW);
            prop_assert!(matches!(step, HandshakeStep::Close(_)), "{step:?}");
        }
        let step = identified().on_frame(cut, NOW);
        prop_assert!(matches!(step, Step::Close(_)), "{step:?}");
    }

    #[test]
    fn what_is_sent_does_not_depend_on_the_number(a in "[0-9]{1,8}", b in "[0-9]{1,8}") {
        prop_assert_eq!(sent(&a), sent(&b));
    }
}

/// Every byte that leaves while a device enrols and answers with `number`.
fn sent(number: &str) -> Vec<Bytes> {
    let number = number.to_owned();
    let mut sent = Vec::new();
    let confirm = Frame::EnrolConfirm(EnrolConfirm { number: number.clone(), ..confirm() });
    let HandshakeStep::Confirm(asking, _) = claimed().on_frame(encode(confirm), NOW) else {
        panic!("not taken")
    };
    let (next, frame) = asking.enrolled(enrolled_facts(), NOW);
    sent.push(frame);
    let HandshakeStep::Login(asking, _) = next.on_frame(encode(Frame::Login(login())), NOW) else {
        panic!("not taken")
    };
    let (device, frame) = asking.logged_in(welcome());
    sent.push(frame);
    let prompt = Prompt {
        document: b"document",
        signature: &[1; 64],
        certificate: 0,
        alert: true,
        remaining: Duration::from_secs(1),
    };
    sent.extend(device.prompt(prompt));
    let answer = Frame::Answer(Answer { number, ..answer() });
    let Step::Answer(asking, _) = device.on_frame(encode(answer), NOW) else { panic!("not taken") };
    sent.push(asking.answered(AnswerOutcome::Withheld, false).1);
    sent
}
