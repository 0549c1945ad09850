//! What one ceremony can't do without beside its sockets: signatures, hashes, JSON and protobuf, each on one thread
//! with warm caches and kept keys.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
};
use serde::Serialize;
use statement::{SigningKey, Timestamp, UserId, sha256};
use wire::device::{self, client_frame};
use wire::rest::{CreateChallenge, RedeemChallenge, State};

use super::ceremony::{API_KEY, bytes};
use super::spread::Spread;
use super::{Pace, cores, http, people};
use crate::clock;

/// What is signed: about as long as an answer's statement.
const MESSAGE: usize = 160;
/// Between two looks at the clock.
const CHUNK: u32 = 64;
/// There are five of them: each gets this share of a window.
const SHARE: u32 = 5;

/// Microseconds of CPU for each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) p256_verify: f64,
    pub(crate) p256_sign: f64,
    pub(crate) ed25519_verify: f64,
    pub(crate) ed25519_sign: f64,
    /// All hashes, draws, JSON and protobuf of a ceremony, signatures aside.
    pub(crate) bookkeeping: f64,
}

/// Rounds of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) p256_verify_us: Spread,
    pub(crate) p256_sign_us: Spread,
    pub(crate) ed25519_verify_us: Spread,
    pub(crate) ed25519_sign_us: Spread,
    pub(crate) bookkeeping_us: Spread,
}

impl Figures {
    pub(crate) fn of(rounds: &[Round]) -> Option<Self> {
        Some(Self {
            p256_verify_us: Spread::over(rounds, |round| round.p256_verify)?,
            p256_sign_us: Spread::over(rounds, |round| round.p256_sign)?,
            ed25519_verify_us: Spread::over(rounds, |round| round.ed25519_verify)?,
            ed25519_sign_us: Spread::over(rounds, |round| round.ed25519_sign)?,
            bookkeeping_us: Spread::over(rounds, |round| round.bookkeeping)?,
        })
    }
}

/// One round.
pub(crate) fn measure(pace: Pace) -> Round {
    let time = pace.window / SHARE;
    let message = [0x42; MESSAGE];
    let document = SigningKey::generate_p256_pkcs8().expect("aws-lc makes keys");
    let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document)
        .expect("aws-lc reads its keys");
    let p256_public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, p256.public_key().as_ref())
        .expect("aws-lc reads its keys");
    #[expect(clippy::disallowed_methods, reason = "ECDSA's nonce; aws-lc ignores it")]
    let rng = SystemRandom::new();
    let p256_sign = || p256.sign(&rng, &message).expect("aws-lc signs");
    let p256_signature = p256_sign();
    let ed25519 =
        Ed25519KeyPair::from_seed_unchecked(&clock::random::<32>()).expect("32 bytes are a seed");
    let ed25519_public =
        ParsedPublicKey::new(&ED25519, ed25519.public_key().as_ref()).expect("a key");
    let ed25519_signature = ed25519.sign(&message);
    let verify = |key: &ParsedPublicKey, signature: &[u8]| {
        key.verify_sig(black_box(&message), signature).expect("it verifies");
    };
    let mut book = Book::open();
    Round {
        p256_verify: each(time, || verify(&p256_public, p256_signature.as_ref())),
        p256_sign: each(time, || {
            black_box(p256_sign());
        }),
        ed25519_verify: each(time, || verify(&ed25519_public, ed25519_signature.as_ref())),
        ed25519_sign: each(time, || {
            black_box(ed25519.sign(black_box(&message)));
        }),
        bookkeeping: each(time, || book.keep()),
    }
}

/// Microseconds of this thread's CPU for each time.
fn each(time: Duration, mut work: impl FnMut()) -> f64 {
    let mut times = |chunks: Duration| {
        let (begin, end) = (cores::thread_cpu(), clock::now() + chunks);
        let mut done = 0_u64;
        while done == 0 || clock::now() < end {
            (0..CHUNK).for_each(|_| work());
            done += u64::from(CHUNK);
        }
        (cores::thread_cpu() - begin).as_secs_f64() * 1e6 / done as f64
    };
    times(time / 10);
    times(time)
}

/// What a ceremony writes and reads.
struct Book {
    keys: bytes::Keys,
    create: Vec<u8>,
    answer: Vec<u8>,
    redeem: Vec<u8>,
    audit: bytes::Audit,
}

impl Book {
    fn open() -> Self {
        let request = people::sample_create();
        let (request, _) =
            http::request(&request).expect("it is well-formed").expect("it is complete");
        let answer = device::Answer {
            challenge: vec![1; 24].into(),
            decision: device::Decision::Approve.into(),
            number: "042917".to_owned(),
            user_verified: false,
            counter: 7,
            signature: vec![2; 64].into(),
        };
        let redeem = RedeemChallenge { browser_session: "S".repeat(32), return_code: None };
        Self {
            keys: bytes::Keys::draw(),
            create: request.body.to_vec(),
            answer: bytes::to_server(client_frame::Frame::Answer(answer)),
            redeem: serde_json::to_vec(&redeem).expect("it is JSON"),
            audit: bytes::Audit::new(),
        }
    }

    /// All of one ceremony, in the functions that `cer_raw` calls.
    fn keep(&mut self) {
        let (user, signature) = ((UserId::from_bytes([3; 16]), "floor-1"), [0; 64]);
        let now = Timestamp::from_millis(clock::unix_ms());
        for _ in 0..3 {
            black_box(bytes::hash(black_box(API_KEY)));
        }
        let request: CreateChallenge = serde_json::from_slice(&self.create).expect("it is JSON");
        let session = bytes::hash(&request.context.browser_session);
        let drawn = bytes::Drawn::new(now);
        let document = bytes::document(&drawn, user, &request, &session, now);
        let about = (drawn.id, user.0, None);
        self.audit.add("challenge_created", about, self.create.get(..90).unwrap_or_default(), now);
        black_box(bytes::prompt(&document, &signature));
        black_box(bytes::created(&drawn, now));
        black_box(bytes::from_device(&self.answer));
        black_box(sha256(&[&document]));
        self.audit.add("challenge_decided", about, b"", now);
        let (result, state) = (device::Result::Settled, device::State::Approved);
        black_box(bytes::answer_result(drawn.id.as_bytes(), result, state));
        black_box(bytes::challenge(drawn.id, State::Approved, now));
        let redeem: RedeemChallenge = serde_json::from_slice(&self.redeem).expect("it is JSON");
        let session = bytes::hash(&redeem.browser_session);
        let claims = bytes::claims(drawn.id, user, &session, now);
        let cookie = self.keys.cookie(user.0, now);
        self.audit.add("challenge_redeemed", about, b"", now);
        black_box(bytes::redeemed(self.keys.receipt_input(&claims), cookie));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_costs_something_and_a_book_of_one_ceremony_has_three_rows() {
        let pace = Pace { warm_up: Duration::ZERO, window: Duration::from_millis(50) };
        let figures = Figures::of(&[measure(pace)]).expect("one");
        for part in [
            figures.p256_verify_us,
            figures.p256_sign_us,
            figures.ed25519_verify_us,
            figures.ed25519_sign_us,
            figures.bookkeeping_us,
        ] {
            assert!(part.median > 0.0, "{figures:?}");
        }
        let mut book = Book::open();
        book.keep();
        assert_eq!(book.audit.rows(), 3);
    }
}
