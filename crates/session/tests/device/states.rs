//! Which frame is taken in which state, what each field may hold, and when time is up.

use std::time::Duration;

use crate::frames::*;
use domain::challenge::{Collect, Decided, State};
use prost::bytes::Bytes;
use session::{
    AnswerOutcome, Close, Handshake, HandshakeStep, Identified, Prompt, Step, TicketProof,
};
use statement::{ChallengeId, SigningKey, Timestamp};
use wire::device::client_frame::Frame;
use wire::device::{
    self, Answer, ClientHello, CloseCode, Decision, EnrolClaim, EnrolConfirm, Login, enrol_claim,
    server_frame,
};

fn told(step: &HandshakeStep) -> &'static str {
    match step {
        HandshakeStep::Wait(_) => "wait",
        HandshakeStep::Send(..) => "send",
        HandshakeStep::Ping(_) => "ping",
        HandshakeStep::Login(..) => "login",
        HandshakeStep::Claim(..) => "claim",
        HandshakeStep::Confirm(..) => "confirm",
        HandshakeStep::Close(close) => close.reason,
    }
}

fn told_live(step: &Step) -> &'static str {
    match step {
        Step::Wait(_) => "wait",
        Step::Ping(_) => "ping",
        Step::Answer(..) => "answer",
        Step::Pull(_) => "pull",
        Step::Rebind(_) => "rebind",
        Step::Seen(..) => "seen",
        Step::Close(close) => close.reason,
    }
}

#[test]
fn each_state_takes_its_own_frames_and_no_others() {
    let expect = |taken: &[&'static str], otherwise: &'static str| {
        all_frames().map(|(name, _)| match (taken.contains(&name), name) {
            (true, "hello") => "send",
            (true, name) => name,
            (false, _) => otherwise,
        })
    };
    type Row = (fn() -> Handshake, &'static [&'static str], &'static str);
    let table: [Row; 4] = [
        (fresh, &["hello"], "hello expected first"),
        (greeted, &["login", "claim"], "login or enrol_claim expected"),
        (claimed, &["confirm"], "enrol_confirm expected"),
        (enrolled, &["login"], "login expected"),
    ];
    for (state, taken, otherwise) in table {
        let got = all_frames().map(|(_, frame)| told(&state().on_frame(encode(frame), NOW)));
        assert_eq!(got, expect(taken, otherwise));
    }
    let got = all_frames().map(|(_, frame)| told_live(&identified().on_frame(encode(frame), NOW)));
    let taken = ["answer", "pull", "rebind", "seen"];
    assert_eq!(got, expect(&taken, "answer, pull, rebind_totp or notices_seen expected"));
}

#[test]
fn a_device_says_hello_logs_in_and_answers() {
    let step = fresh().on_frame(encode(Frame::Hello(hello())), NOW);
    let HandshakeStep::Send(next, frame) = step else { panic!("{step:?}") };
    let server_frame::Frame::Hello(hello) = decode(frame) else { panic!("not a hello") };
    assert_eq!((hello.version, hello.nonce), (1, Bytes::copy_from_slice(&NONCE)));
    let identity = SigningKey::from_seed(&[1; 32]);
    let key = hello.identity.expect("an identity");
    assert_eq!((key.algorithm, &key.key[..]), (1, identity.public().as_bytes()));
    assert_eq!(hello.certificates.len(), 1);

    let step = next.on_frame(encode(Frame::Login(login())), NOW);
    let HandshakeStep::Login(asking, asked) = step else { panic!("{step:?}") };
    assert_eq!(asking.nonce(), &NONCE);
    assert_eq!(asked.tenant.as_bytes(), &[1; 16]);
    assert_eq!(asked.device.as_bytes(), &[2; 16]);
    assert_eq!(asked.signature, [3; 64]);
    let (device, frame) = asking.logged_in(welcome());
    assert!(
        matches!(decode(frame), server_frame::Frame::Welcome(w) if w.user == "alice" && w.totp_rebind)
    );

    let step = device.on_frame(encode(Frame::Answer(answer())), NOW);
    let Step::Answer(asking, asked) = step else { panic!("{step:?}") };
    assert_eq!((asked.number.as_str(), asked.counter), ("042137", 1));
    let decided = State::Decided(Decided {
        decision: domain::challenge::Decision::Mismatch,
        at: Timestamp::ZERO,
        proof: None,
        collect: Collect::Open,
    });
    let (_, frame) = asking.answered(AnswerOutcome::Settled(decided), false);
    let server_frame::Frame::AnswerResult(result) = decode(frame) else { panic!("not a result") };
    assert_eq!(result.challenge, vec![4; 24]);
    assert_eq!(result.result(), device::Result::Settled);
    assert_eq!(result.state(), device::State::Mismatch);
}

#[test]
fn a_new_device_enrols_and_logs_in_on_the_same_connection() {
    let step = greeted().on_frame(encode(Frame::EnrolClaim(claim())), NOW);
    let HandshakeStep::Claim(asking, asked) = step else { panic!("{step:?}") };
    assert_eq!(asked.proof, TicketProof::Secret([7; 16]));
    assert_eq!(asked.device_name, "laptop");
    assert_eq!(asking.nonce(), &NONCE);
    let (next, frame) = asking.claimed(6, NOW);
    assert!(matches!(decode(frame), server_frame::Frame::EnrolPending(p) if p.digits == 6));

    let step = next.on_frame(encode(Frame::EnrolConfirm(confirm())), NOW);
    let HandshakeStep::Confirm(asking, asked) = step else { panic!("{step:?}") };
    assert_eq!(asked.number, "042137");
    let (next, frame) = asking.enrolled(enrolled_facts(), NOW);
    let server_frame::Frame::Enrolled(enrolled) = decode(frame) else { panic!("not enrolled") };
    let totp = enrolled.totp.expect("a secret");
    assert_eq!((totp.secret.len(), totp.digits, totp.period_s), (20, 6, 30));
    assert_eq!(totp.algorithm, "SHA1");
    assert_eq!(told(&next.on_frame(encode(Frame::Login(login())), NOW)), "login");
}

#[test]
fn versions_must_overlap_with_ours() {
    for (min_version, max_version, told_) in [
        (1, 1, "send"),
        (0, 9, "send"),
        (2, 9, "supported versions: 1 to 1"),
        (0, 0, "supported versions: 1 to 1"),
        (9, 0, "supported versions: 1 to 1"),
    ] {
        let hello = ClientHello { min_version, max_version, ..hello() };
        let step = fresh().on_frame(encode(Frame::Hello(hello)), NOW);
        assert_eq!(told(&step), told_, "{min_version} to {max_version}");
    }
}

fn malformed(state: fn() -> Handshake, frame: Frame, reason: &str) {
    match state().on_frame(encode(frame), NOW) {
        HandshakeStep::Close(close) => {
            assert_eq!((close.code, close.reason), (CloseCode::Malformed, reason));
        }
        step => panic!("{reason}: {step:?}"),
    }
}

#[test]
fn each_field_of_hello_and_login_is_checked_and_named() {
    let reason = "hello.agent: at most 64 plain characters expected";
    for agent in ["x".repeat(65), "a\u{202e}b".to_owned()] {
        malformed(fresh, Frame::Hello(ClientHello { agent, ..hello() }), reason);
    }
    let short = || Bytes::from(vec![1; 15]);
    let (tenant, device, signature) = (short(), short(), Bytes::from(vec![1; 65]));
    for (bad, reason) in [
        (Login { tenant, ..login() }, "login.tenant: 16 bytes expected"),
        (Login { device, ..login() }, "login.device: 16 bytes expected"),
        (Login { signature, ..login() }, "login.signature: 64 bytes expected"),
    ] {
        malformed(greeted, Frame::Login(bad), reason);
    }
}

#[test]
fn the_proof_of_a_claim_is_checked_and_named() {
    let code_reason = "enrol_claim.code.code: 8 characters of Crockford base32 expected";
    let user_reason = "enrol_claim.code.user: 1 to 64 plain characters expected";
    for (user, typed, reason) in [
        ("alice", "ABCD", code_reason),
        ("alice", "abcdefgh", code_reason),
        ("alice", "ABCD-EFGH", code_reason),
        ("alice", "UUUUUUUU", code_reason),
        ("", "ABCDEFGH", user_reason),
        ("a\nb", "ABCDEFGH", user_reason),
    ] {
        malformed(greeted, Frame::EnrolClaim(code(user, typed)), reason);
    }
    let secret = Some(enrol_claim::Proof::Secret(vec![1; 17].into()));
    for (proof, reason) in
        [(None, "enrol_claim.proof: missing"), (secret, "enrol_claim.secret: 16 bytes expected")]
    {
        malformed(greeted, Frame::EnrolClaim(EnrolClaim { proof, ..claim() }), reason);
    }
    let step = greeted().on_frame(encode(Frame::EnrolClaim(good_code())), NOW);
    assert_eq!(told(&step), "claim");
}

#[test]
fn the_key_and_name_of_a_claim_are_checked_and_named() {
    let short = || Bytes::from(vec![1; 15]);
    let named = |name: &str| EnrolClaim { device_name: name.to_owned(), ..claim() };
    let key_reason = "enrol_claim.public_key: not a key of the stated algorithm";
    for (bad, reason) in [
        (
            EnrolClaim { algorithm: 3, ..claim() },
            "enrol_claim.algorithm: 1 (Ed25519) or 2 (P-256) expected",
        ),
        (EnrolClaim { algorithm: 2, ..claim() }, key_reason),
        (EnrolClaim { public_key: short(), ..claim() }, key_reason),
        (named(" "), "enrol_claim.device_name: must not be empty"),
        (named(&"x".repeat(65)), "enrol_claim.device_name: at most 64 characters expected"),
        (named("a\u{7}b"), "enrol_claim.device_name: must not hold control characters"),
        (EnrolClaim { signature: short(), ..claim() }, "enrol_claim.signature: 64 bytes expected"),
    ] {
        malformed(greeted, Frame::EnrolClaim(bad), reason);
    }
}

#[test]
fn the_number_of_an_enrolment_is_digits_or_nothing() {
    let with = |number: &str| {
        let number = number.to_owned();
        Frame::EnrolConfirm(EnrolConfirm { number, ..confirm() })
    };
    for number in ["123456789", "12 45", "-1234"] {
        let reason = "enrol_confirm.number: at most 8 digits expected";
        malformed(claimed, with(number), reason);
    }
    assert_eq!(told(&claimed().on_frame(encode(with("")), NOW)), "confirm");
}

#[test]
fn each_field_of_an_answer_is_checked_and_named() {
    let number_reason = "answer.number: 1 to 8 digits expected to approve, none otherwise";
    let decision_reason = "answer.decision: approve, deny or report expected";
    let with =
        |decision: i32, number: &str| Answer { decision, number: number.to_owned(), ..answer() };
    let short = || Bytes::from(vec![1; 23]);
    for (answer, told_) in [
        (answer(), "answer"),
        (with(kind(Decision::Deny), ""), "answer"),
        (with(kind(Decision::Report), ""), "answer"),
        (with(kind(Decision::Deny), "1"), number_reason),
        (with(kind(Decision::Approve), ""), number_reason),
        (with(kind(Decision::Approve), "123456789"), number_reason),
        (with(kind(Decision::Approve), "12345x"), number_reason),
        (with(kind(Decision::Approve), "١٢٣"), number_reason),
        (with(0, ""), decision_reason),
        (with(4, ""), decision_reason),
        (with(-1, ""), decision_reason),
        (with(257, "1"), decision_reason),
        (Answer { challenge: short(), ..answer() }, "answer.challenge: 24 bytes expected"),
        (Answer { signature: short(), ..answer() }, "answer.signature: 64 bytes expected"),
    ] {
        let step = identified().on_frame(encode(Frame::Answer(answer)), NOW);
        assert_eq!(told_live(&step), told_);
    }
}

#[test]
fn time_is_up_in_every_state() {
    let second = Duration::from_secs;
    type Row = (fn() -> Handshake, u64, &'static str);
    let table: [Row; 4] = [
        (fresh, 5, "no hello within 5 seconds"),
        (greeted, 11, "no login or enrol_claim within 10 seconds"),
        (claimed, 61, "nothing was heard for 60 seconds"),
        (enrolled, 11, "no login or enrol_claim within 10 seconds"),
    ];
    for (state, at, reason) in table {
        assert!(state().deadline() <= second(at));
        assert_eq!(told(&state().on_timer(NOW)), "wait", "too early is harmless");
        let HandshakeStep::Close(close) = state().on_timer(second(at)) else {
            panic!("still open")
        };
        assert_eq!((close.code, close.reason), (CloseCode::Deadline, reason));
    }

    // a person who takes their time with the number: pings go on, and end at the ticket's life
    let (mut waiting, mut now, mut pings) = (claimed(), NOW, 0);
    let close = loop {
        now = now.max(waiting.deadline());
        waiting = match waiting.on_timer(now) {
            HandshakeStep::Close(close) => break close,
            HandshakeStep::Ping(next) => {
                pings += 1;
                match next.on_control(now) {
                    HandshakeStep::Wait(next) => next,
                    step => panic!("{step:?}"),
                }
            }
            step => panic!("{step:?}"),
        };
    };
    assert_eq!((close.reason, now), ("no enrol_confirm within 5 minutes", second(301)));
    assert_eq!(pings, 12);
}

#[test]
fn a_silent_device_is_pinged_twice_and_closed() {
    let (mut device, mut pings): (Identified, _) = (identified(), 0);
    let (close, now) = loop {
        let now = device.deadline();
        device = match device.on_timer(now) {
            Step::Ping(next) => {
                pings += 1;
                next
            }
            Step::Close(close) => break (close, now),
            step => panic!("{step:?}"),
        };
    };
    assert_eq!((pings, now), (2, Duration::from_secs(61)));
    assert_eq!(close.code, CloseCode::Deadline);
}

#[test]
fn a_flood_is_cut_off() {
    let (mut device, mut taken) = (identified(), 0);
    let close = loop {
        device = match device.on_control(NOW) {
            Step::Wait(next) => next,
            Step::Close(close) => break close,
            step => panic!("{step:?}"),
        };
        taken += 1;
    };
    // hello and login were paid a second ago, when they were sent
    assert_eq!((close.code, taken), (CloseCode::TooMany, 18));
}

#[test]
fn an_expired_challenge_is_not_shown_and_closes_say_why() {
    let prompt = Prompt {
        document: b"document",
        signature: &[1; 64],
        certificate: 0,
        alert: true,
        remaining: Duration::from_millis(1500),
    };
    let frame = identified().prompt(prompt).expect("a frame");
    assert!(
        matches!(decode(frame), server_frame::Frame::Prompt(p) if p.remaining_ms == 1500 && p.alert)
    );
    let remaining = Duration::ZERO;
    assert_eq!(identified().prompt(Prompt { remaining, ..prompt }), None);

    let id = ChallengeId::from_bytes([4; 24]);
    let frame = identified().settled(id, State::Pending);
    assert!(matches!(decode(frame), server_frame::Frame::Settled(s) if s.challenge == vec![4; 24]));

    let close = Close::restart(Duration::from_secs(3));
    let farewell = decode(close.farewell.expect("a goodbye"));
    assert!(matches!(farewell, server_frame::Frame::Goodbye(g) if g.retry_after_ms == 3000));
    assert_eq!(close.code, CloseCode::Restart);
    assert_eq!(identified().replaced().code, CloseCode::Replaced);
    assert_eq!(identified().revoked().code, CloseCode::Revoked);
    assert!(Close::unreadable().reason.len() <= 123);
}
