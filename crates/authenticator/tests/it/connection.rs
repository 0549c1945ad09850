//! Login, prompts, answers and reconnects, frame by frame.

use std::time::Duration;

use crate::common::{
    Did, NOW, Server, account, challenge, drain, encode, events, id, log_in, online, result,
    settled, show, welcome,
};
use authenticator::{
    AnswerError, AnswerOutcome, BACKOFF_CAP, Choice, Connection, Decision, Event, Fault, Next,
    PromptFault, Stop,
};
use prost::Message as _;
use prost::bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use statement::{Answer, AnswerDecision, Login, SigningKey};
use wire::device::{self as proto, CloseCode, client_frame, server_frame};

fn answer_frame(did: Vec<Did>) -> proto::Answer {
    let mut did = did.into_iter();
    assert!(matches!(did.next(), Some(Did::Event(Event::Save))), "saved before it is sent");
    match did.next() {
        Some(Did::Sent(client_frame::Frame::Answer(answer))) => answer,
        other => panic!("an answer expected, not {other:?}"),
    }
}

#[test]
fn login_signs_this_nonce_for_the_pinned_server() {
    let server = Server::new();
    let account = account(&server);
    let mut core = Connection::new(account.clone(), "test");
    core.open();
    assert!(matches!(drain(&mut core)[..], [Did::Sent(client_frame::Frame::Hello(_))]));
    core.on_frame(&encode(server_frame::Frame::Hello(server.hello())), NOW);
    let [Did::Sent(client_frame::Frame::Login(login))] = &drain(&mut core)[..] else {
        panic!("a login expected");
    };
    let statement = Login {
        server: &account.identity,
        tenant: account.tenant,
        device: account.device,
        nonce: &server.nonce,
    };
    statement.verify(account.seed.key().public(), &login.signature).expect("verifies");
    assert!(!core.is_online());
    core.on_frame(&encode(server_frame::Frame::Welcome(welcome())), NOW);
    assert!(matches!(events(drain(&mut core))[..], [Event::Connected { .. }]));
    assert!(core.is_online());
}

#[test]
fn another_server_version_or_order_is_refused_and_nothing_is_signed() {
    let server = Server::new();
    let mut foreign = Server::new();
    foreign.identity = SigningKey::from_seed(&[99; 32]);
    let newer = proto::ServerHello { version: 2, ..server.hello() };
    for (frame, fault) in [
        (server_frame::Frame::Hello(foreign.hello()), Fault::WrongServer),
        (server_frame::Frame::Hello(newer), Fault::Version),
        (server_frame::Frame::Welcome(welcome()), Fault::Malformed),
    ] {
        let mut core = Connection::new(account(&server), "test");
        core.open();
        drain(&mut core);
        core.on_frame(&encode(frame), NOW);
        let did = drain(&mut core);
        assert!(
            matches!(&did[..], [Did::Event(Event::Fault(told)), Did::Closed(_)] if *told == fault),
            "{did:?}"
        );
        core.on_frame(&encode(server_frame::Frame::Hello(server.hello())), NOW);
        assert!(drain(&mut core).is_empty(), "a closed connection is over");
    }
}

#[test]
fn a_card_shows_what_was_signed_and_comes_once() {
    let server = Server::new();
    let mut core = online(&server);
    show(&mut core, &server, 1);
    let [Event::Prompt(card)] = &events(drain(&mut core))[..] else { panic!("a card expected") };
    assert_eq!((card.challenge, card.digits, card.alert), (id(1), 6, true));
    assert_eq!(
        (card.integration_name.as_str(), card.context.place.as_str()),
        ("VPN", "Berlin, DE")
    );
    assert_eq!(card.remaining(NOW), Duration::from_secs(60));
    show(&mut core, &server, 1);
    log_in(&mut core, &server, NOW);
    show(&mut core, &server, 1);
    assert!(events(drain(&mut core)).is_empty());
    assert_eq!(core.cards(NOW).count(), 1);
    assert_eq!(core.cards(NOW + Duration::from_secs(60)).count(), 0);
}

#[test]
fn a_prompt_that_cannot_be_trusted_is_dropped() {
    let server = Server::new();
    let prompt = |change: fn(&mut proto::Challenge)| {
        let mut challenge = challenge(1);
        change(&mut challenge);
        server.prompt(&challenge)
    };
    let mut altered = prompt(|_| {});
    let mut bytes = altered.challenge.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    altered.challenge = bytes.into();
    let uncertified = proto::Prompt { certificate: 1, ..prompt(|_| {}) };
    let rogue = Server { signer: SigningKey::from_seed(&[98; 32]), ..Server::new() };
    let garbage = proto::Prompt {
        challenge: Bytes::from_static(b"\xff\xff"),
        signature: Bytes::copy_from_slice(
            &statement::SignedChallenge(b"\xff\xff").sign(&server.signer),
        ),
        ..prompt(|_| {})
    };
    for (prompt, fault) in [
        (altered, PromptFault::Signature),
        (uncertified, PromptFault::Signature),
        (rogue.prompt(&challenge(1)), PromptFault::Signature),
        (garbage, PromptFault::Malformed),
        (prompt(|c| c.tenant = Bytes::from_static(&[0; 16])), PromptFault::OtherAccount),
        (prompt(|c| c.user_name = "bob".to_owned()), PromptFault::OtherAccount),
        (prompt(|c| c.id = Bytes::from_static(&[1; 23])), PromptFault::Malformed),
        (prompt(|c| c.digits = 1), PromptFault::Malformed),
        (prompt(|c| c.digits = 9), PromptFault::Malformed),
        (prompt(|c| c.purpose = 99), PromptFault::Malformed),
    ] {
        let mut core = online(&server);
        core.on_frame(&encode(server_frame::Frame::Prompt(prompt)), NOW);
        let told = events(drain(&mut core));
        assert!(
            matches!(&told[..], [Event::PromptDropped(why)] if *why == fault),
            "{fault:?}: {told:?}"
        );
        assert!(core.is_online() && core.cards(NOW).count() == 0);
    }
}

#[test]
fn an_answer_signs_the_bytes_as_they_came() {
    let server = Server::new();
    // a field that version 1 doesn't know: parsed over, but hashed
    let mut bytes = challenge(1).encode_to_vec();
    bytes.extend_from_slice(&[0xba, 0x06, 1, 0x2a]);
    let prompt = proto::Prompt {
        signature: Bytes::copy_from_slice(&statement::SignedChallenge(&bytes).sign(&server.signer)),
        challenge: bytes.clone().into(),
        ..server.prompt(&challenge(1))
    };
    let mut core = online(&server);
    core.on_frame(&encode(server_frame::Frame::Prompt(prompt)), NOW);
    drain(&mut core);
    core.answer(id(1), Choice::approve(" 012-345"), true, NOW).expect("taken");
    let answer = answer_frame(drain(&mut core));
    let account = core.account().clone();
    assert_eq!((account.counter, answer.counter, answer.number.as_str()), (42, 42, "012345"));
    let statement = Answer {
        challenge: &bytes,
        device: account.device,
        decision: AnswerDecision::Approve,
        number: "012345",
        user_verified: true,
        counter: 42,
    };
    statement.verify(account.seed.key().public(), &answer.signature).expect("verifies");
}

#[test]
fn an_answer_that_cannot_be_is_not_sent() {
    let server = Server::new();
    let mut core = online(&server);
    show(&mut core, &server, 1);
    drain(&mut core);
    for typed in ["", "12345", "1234567", "12345a", "１２３４５６"] {
        let refused = core.answer(id(1), Choice::approve(typed), false, NOW);
        assert!(matches!(refused, Err(AnswerError::Number(_))), "{typed}");
    }
    assert_eq!(core.answer(id(2), Choice::Deny, false, NOW), Err(AnswerError::Unknown));
    assert!(drain(&mut core).is_empty());
    core.answer(id(1), Choice::Deny, false, NOW).expect("taken");
    assert_eq!(core.answer(id(1), Choice::Deny, false, NOW), Err(AnswerError::InFlight));
    let answer = answer_frame(drain(&mut core));
    assert_eq!((answer.decision(), answer.number.as_str()), (proto::Decision::Deny, ""));
}

#[test]
fn a_result_and_a_settlement_are_each_told_once() {
    let server = Server::new();
    for settled_first in [true, false] {
        let mut core = online(&server);
        show(&mut core, &server, 1);
        core.answer(id(1), Choice::approve("123456"), false, NOW).expect("taken");
        drain(&mut core);
        let word = result(1, proto::Result::Settled, proto::State::Approved);
        let notice = settled(1, proto::State::Approved);
        let frames = if settled_first { [&notice, &word] } else { [&word, &notice] };
        for frame in frames.into_iter().chain([&word, &notice]) {
            core.on_frame(frame, NOW);
        }
        let told = events(drain(&mut core));
        let answered = told.iter().filter(|event| {
            matches!(
                event,
                Event::Answered { outcome: AnswerOutcome::Settled(Decision::Approved), .. }
            )
        });
        let gone = told
            .iter()
            .filter(|event| matches!(event, Event::Settled { decision: Decision::Approved, .. }));
        assert_eq!((answered.count(), gone.count(), told.len()), (1, 1, 2), "{told:?}");
        assert_eq!(core.cards(NOW).count(), 0);
        show(&mut core, &server, 1);
        assert!(drain(&mut core).is_empty(), "a settled card doesn't come back");
    }
}

#[test]
fn a_settlement_that_overtakes_its_prompt_keeps_it_away() {
    let server = Server::new();
    let mut core = online(&server);
    core.on_frame(&settled(1, proto::State::Expired), NOW);
    show(&mut core, &server, 1);
    assert!(events(drain(&mut core)).is_empty());
}

#[test]
fn a_withheld_approval_can_still_be_denied() {
    let server = Server::new();
    let mut core = online(&server);
    show(&mut core, &server, 1);
    core.answer(id(1), Choice::approve("123456"), false, NOW).expect("taken");
    core.on_frame(&result(1, proto::Result::Withheld, proto::State::Unspecified), NOW);
    let told = events(drain(&mut core));
    assert!(matches!(told.last(), Some(Event::Answered { outcome: AnswerOutcome::Withheld, .. })));
    assert_eq!(core.cards(NOW).count(), 0);
    core.answer(id(1), Choice::Report, false, NOW).expect("taken");
    assert_eq!(answer_frame(drain(&mut core)).decision(), proto::Decision::Report);
}

#[test]
fn an_answer_without_a_result_is_sent_again_under_a_new_counter() {
    let server = Server::new();
    let mut core = online(&server);
    let mut rng = StdRng::seed_from_u64(1);
    show(&mut core, &server, 1);
    drain(&mut core);
    core.answer(id(1), Choice::approve("123456"), false, NOW).expect("taken");
    let first = answer_frame(drain(&mut core));
    core.on_close(None, "", NOW, &mut rng);
    assert!(matches!(
        events(drain(&mut core))[..],
        [Event::Disconnected { was_connected: true, .. }]
    ));
    let mut did = log_in(&mut core, &server, NOW);
    assert!(matches!(did.remove(0), Did::Event(Event::Connected { .. })));
    let again = answer_frame(did);
    assert_eq!((again.number, again.counter), (first.number, first.counter + 1));
    // asked to wait: nothing at once, the same once the time has come
    core.on_frame(&result(1, proto::Result::Retry, proto::State::Unspecified), NOW);
    assert!(drain(&mut core).is_empty());
    let wake = core.next_wake().expect("a time to send it again");
    assert!(wake > NOW && wake <= NOW + Duration::from_secs(8));
    core.on_wake(wake);
    assert_eq!(answer_frame(drain(&mut core)).counter, first.counter + 2);
}

#[test]
fn answers_and_pulls_wait_for_a_connection() {
    let server = Server::new();
    let mut core = online(&server);
    show(&mut core, &server, 1);
    drain(&mut core);
    core.on_close(None, "", NOW, &mut StdRng::seed_from_u64(1));
    core.answer(id(1), Choice::Deny, false, NOW).expect("taken");
    core.pull(NOW);
    let did = drain(&mut core);
    assert!(!did.iter().any(|did| matches!(did, Did::Sent(_))), "{did:?}");
    let sent: Vec<Did> = log_in(&mut core, &server, NOW)
        .into_iter()
        .filter(|did| matches!(did, Did::Sent(_)))
        .collect();
    assert!(
        matches!(
            &sent[..],
            [Did::Sent(client_frame::Frame::Pull(_)), Did::Sent(client_frame::Frame::Answer(_))]
        ),
        "{sent:?}"
    );
}

#[test]
fn a_card_whose_time_is_over_goes_away_by_itself() {
    let server = Server::new();
    let mut core = online(&server);
    show(&mut core, &server, 1);
    drain(&mut core);
    let wake = core.next_wake().expect("the card's end");
    core.on_wake(wake);
    assert!(
        matches!(events(drain(&mut core))[..], [Event::Lapsed { challenge }] if challenge == id(1))
    );
    // a late word from the server is still told
    core.on_frame(&settled(1, proto::State::Expired), wake);
    assert!(matches!(events(drain(&mut core))[..], [Event::Settled { .. }]));
    assert_eq!(core.next_wake(), None);
}

#[test]
fn a_locked_code_is_renewed_by_an_approval_and_by_nothing_else() {
    let server = Server::new();
    let rebind = |core: &mut Connection, state| {
        let word = proto::AnswerResult {
            challenge: Bytes::copy_from_slice(id(1).as_bytes()),
            result: proto::Result::Settled.into(),
            state,
            totp_rebind: true,
        };
        core.on_frame(&encode(server_frame::Frame::AnswerResult(word)), NOW);
        drain(core)
    };
    let asked = |did: &[Did]| {
        did.iter().any(|did| matches!(did, Did::Sent(client_frame::Frame::RebindTotp(_))))
    };
    let mut core = online(&server);
    show(&mut core, &server, 1);
    core.answer(id(1), Choice::Deny, false, NOW).expect("taken");
    assert!(!asked(&rebind(&mut core, proto::State::Denied.into())));

    let mut core = online(&server);
    show(&mut core, &server, 1);
    core.answer(id(1), Choice::approve("123456"), false, NOW).expect("taken");
    assert!(asked(&rebind(&mut core, proto::State::Approved.into())));
    let totp = proto::Totp {
        secret: Bytes::from_static(b"12345678901234567890"),
        algorithm: "SHA1".to_owned(),
        digits: 6,
        period_s: 30,
    };
    let rebound = proto::TotpRebound { totp: Some(totp) };
    core.on_frame(&encode(server_frame::Frame::TotpRebound(rebound)), NOW);
    assert!(matches!(events(drain(&mut core))[..], [Event::Save, Event::TotpRebound]));
    let at = statement::Timestamp::from_millis(59_000);
    let code = core.account().code(at).expect("a secret");
    assert_eq!((code.digits.as_str(), code.seconds_left), ("287082", 1));
}

#[test]
fn who_may_come_back_and_when() {
    let server = Server::new();
    let mut rng = StdRng::seed_from_u64(1);
    for (code, stop) in [
        (CloseCode::Replaced, Stop::Replaced),
        (CloseCode::Revoked, Stop::Revoked),
        (CloseCode::Unauthenticated, Stop::Unauthenticated),
        (CloseCode::Version, Stop::Version { supported: "2 to 3".to_owned() }),
    ] {
        let mut core = online(&server);
        let next = core.on_close(Some(code as u16), "2 to 3", NOW, &mut rng);
        assert_eq!(next, Next::Stop(stop));
        assert!(matches!(events(drain(&mut core))[..], [Event::Stopped(_)]));
    }
    for code in [None, Some(1006), Some(4400), Some(4408), Some(4503), Some(65535)] {
        let mut core = online(&server);
        let next = core.on_close(code, "", NOW, &mut rng);
        assert!(matches!(next, Next::Retry { after } if after <= Duration::from_secs(1)));
    }
    let mut core = online(&server);
    let goodbye = proto::Goodbye { retry_after_ms: 20_000 };
    core.on_frame(&encode(server_frame::Frame::Goodbye(goodbye)), NOW);
    let next = core.on_close(Some(1012), "", NOW, &mut rng);
    let floor = Duration::from_secs(20);
    assert!(
        matches!(next, Next::Retry { after } if after >= floor && after <= floor + Duration::from_secs(1))
    );
    // it failed: the server's word is used up, the bound grows to its cap and not beyond
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        let Next::Retry { after } = core.on_close(None, "", NOW, &mut rng) else { panic!("retry") };
        longest = longest.max(after);
    }
    assert!(longest > Duration::from_secs(60) && longest <= BACKOFF_CAP);
    // a connection that was good for a while starts over
    log_in(&mut core, &server, NOW);
    let next = core.on_close(None, "", NOW + Duration::from_secs(31), &mut rng);
    assert!(matches!(next, Next::Retry { after } if after <= Duration::from_secs(1)));
}

#[test]
fn debug_tells_no_secret() {
    let server = Server::new();
    let mut account = account(&server);
    account.totp = serde_json::from_str(
        r#"{"secret":[49,50,51,52,53,54,55,56,57,48,49,50,51,52,53,54],"digits":6,"period_s":30}"#,
    )
    .expect("a secret");
    let text = format!("{account:?} {:?}", Choice::approve("123456"));
    assert!(
        !text.contains("123456") && !text.contains("[6, 6") && !text.contains("49, 50"),
        "{text}"
    );
}
