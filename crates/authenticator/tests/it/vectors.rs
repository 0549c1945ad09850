//! proto/vectors/: made here from fixed seeds, read here as a device and in crates/statement and crates/domain
//! as a server. `COUNTERSIGN_WRITE_VECTORS=1 cargo test -p authenticator vectors` writes them anew.
//!
//! Signed bytes are laid out by hand, field by field, so that the code which really signs is checked against
//! what proto/README.md says and not against itself.

use std::fs;
use std::path::PathBuf;

use authenticator::{Account, Enrolment, KeySeed, Output, Ticket};
use data_encoding::HEXLOWER;
use prost::Message as _;
use prost::bytes::Bytes;
use serde_json::{Value, json};
use statement::{
    Algorithm, Answer, AnswerDecision, Certificate, DeviceId, EnrolLink, PublicKey,
    SignedChallenge, SigningKey, Timestamp, crockford, fingerprint, sha256, ticket_code_hash,
    ticket_secret_hash, typed_number,
};
use wire::device::{self as proto, client_frame, server_frame};

use crate::common::{Server, account, challenge, decode, encode};

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/vectors")).join(name)
}

fn stored(name: &str) -> Option<Value> {
    let text = fs::read_to_string(path(name)).ok()?;
    Some(serde_json::from_str(&text).expect("vectors are JSON"))
}

fn writing() -> bool {
    std::env::var_os("COUNTERSIGN_WRITE_VECTORS").is_some()
}

/// Compares what was made with what is stored, or stores it.
#[track_caller]
fn settle(name: &str, made: &Value) {
    if writing() {
        let text = serde_json::to_string_pretty(made).expect("JSON") + "\n";
        fs::write(path(name), text).expect("proto/vectors can be written");
    }
    let stored = stored(name).unwrap_or_else(|| panic!("proto/vectors/{name} is missing"));
    assert_eq!(&stored, made, "{name}: changed by accident, or to be written anew");
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// A signed byte string, put together from its parts.
fn laid(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = label.as_bytes().to_vec();
    bytes.push(0);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn len(bytes: &[u8]) -> [u8; 1] {
    [u8::try_from(bytes.len()).expect("short")]
}

fn seed(account: &Account) -> SigningKey {
    account.seed.key()
}

#[test]
fn answers() {
    let server = Server::new();
    let account = account(&server);
    let document = challenge(1).encode_to_vec();
    let mut cases = Vec::new();
    for (name, decision, number, user_verified, counter) in [
        ("approve", AnswerDecision::Approve, "042137", true, 42_u64),
        ("approve with two digits", AnswerDecision::Approve, "07", false, 1),
        ("deny", AnswerDecision::Deny, "", false, 43),
        ("report", AnswerDecision::Report, "", true, u64::MAX),
    ] {
        let bytes = laid(
            "countersign/answer/v1",
            &[
                &[1],
                &sha256(&[&document]),
                account.device.as_bytes(),
                &[decision as u8],
                &len(number.as_bytes()),
                number.as_bytes(),
                &[u8::from(user_verified)],
                &counter.to_be_bytes(),
            ],
        );
        let device = account.device;
        let answer =
            Answer { challenge: &document, device, decision, number, user_verified, counter };
        let signature = answer.sign(&seed(&account));
        assert_eq!(signature, seed(&account).sign_jws_input(&bytes), "{name}: the layout");
        cases.push(json!({
            "name": name, "decision": decision as u8, "number": number,
            "user_verified": user_verified, "counter": counter.to_string(),
            "signed_bytes": hex(&bytes), "signature": hex(&signature),
        }));
    }
    settle(
        "answer.json",
        &json!({
            "device_seed": hex(&[6; 32]),
            "device_public_key": hex(seed(&account).public().as_bytes()),
            "device": hex(account.device.as_bytes()),
            "challenge": hex(&document),
            "challenge_sha256": hex(&sha256(&[&document])),
            "cases": cases,
        }),
    );
}

/// ECDSA signatures differ each time: this one was made once, by a key that is gone.
#[test]
fn answer_p256() {
    let document = challenge(1).encode_to_vec();
    let device = DeviceId::from_bytes([5; 16]);
    let answer = Answer {
        challenge: &document,
        device,
        decision: AnswerDecision::Approve,
        number: "042137",
        user_verified: true,
        counter: 42,
    };
    if writing() && stored("answer_p256.json").is_none() {
        let document_p256 = SigningKey::generate_p256_pkcs8().expect("a key");
        let key = SigningKey::from_p256_pkcs8(&document_p256).expect("a key");
        settle(
            "answer_p256.json",
            &json!({
                "device_public_key": hex(key.public().as_bytes()),
                "device": hex(device.as_bytes()),
                "challenge": hex(&document),
                "decision": 1, "number": "042137", "user_verified": true, "counter": "42",
                "signature": hex(&answer.sign(&key)),
            }),
        );
    }
    let vector = stored("answer_p256.json").expect("proto/vectors/answer_p256.json is missing");
    let bytes = |field: &str| {
        let text = vector[field].as_str().expect("a text");
        HEXLOWER.decode(text.as_bytes()).expect("hex")
    };
    let key = PublicKey::new(Algorithm::P256, &bytes("device_public_key")).expect("a key");
    assert_eq!(bytes("challenge"), document);
    answer.verify(&key, &bytes("signature")).expect("verifies");
}

#[test]
fn login() {
    let server = Server::new();
    let account = account(&server);
    let mut core = authenticator::Connection::new(account.clone(), "test");
    core.open();
    crate::common::drain(&mut core);
    let hello = encode(server_frame::Frame::Hello(server.hello()));
    core.on_frame(&hello, crate::common::NOW);
    let Some(Output::Send(frame)) = core.poll_output() else { panic!("a login") };
    let frame = Vec::from(frame);
    let client_frame::Frame::Login(login) = decode(frame.clone()) else { panic!("a login") };
    let bytes = laid(
        "countersign/login/v1",
        &[&account.identity, account.tenant.as_bytes(), account.device.as_bytes(), &server.nonce],
    );
    assert_eq!(login.signature[..], seed(&account).sign_jws_input(&bytes), "the layout");
    settle(
        "login.json",
        &json!({
            "device_seed": hex(&[6; 32]),
            "device_public_key": hex(seed(&account).public().as_bytes()),
            "server_identity_hash": hex(&account.identity),
            "tenant": hex(account.tenant.as_bytes()),
            "device": hex(account.device.as_bytes()),
            "nonce": hex(&server.nonce),
            "signed_bytes": hex(&bytes),
            "signature": hex(&login.signature),
            "server_hello_frame": hex(&hello),
            "login_frame": hex(&frame),
        }),
    );
}

fn sent(core: &mut Enrolment) -> client_frame::Frame {
    loop {
        match core.poll_output() {
            Some(Output::Send(frame)) => return decode(frame.into()),
            Some(_) => {}
            None => panic!("nothing was sent"),
        }
    }
}

#[test]
fn enrolment() {
    let server = Server::new();
    let identity = server.identity.public().identity_hash();
    let url: statement::ServerUrl = "https://mfa.example.org".parse().expect("an address");
    let link = EnrolLink { server: url.clone(), secret: [22; 16].into(), identity };
    let by_code = Ticket::from_code(url, " alice ", "k9t0-2xq7").expect("a code");
    let code: [u8; 5] = crockford::decode("K9T02XQ7").expect("a code");
    let key = SigningKey::from_seed(&[21; 32]);
    let mut cases = Vec::new();
    for (proof, ticket, hash) in [
        (json!({"secret": hex(&[22; 16])}), Ticket::Link(link), ticket_secret_hash(&[22; 16])),
        (
            json!({"user": "alice", "typed": "k9t0-2xq7", "code": "K9T02XQ7", "code_bytes": hex(&code)}),
            by_code,
            ticket_code_hash("alice", &code),
        ),
    ] {
        let mut core = Enrolment::new(ticket, KeySeed::ed25519([21; 32]), "laptop", "test");
        let hello = encode(server_frame::Frame::Hello(server.hello()));
        let claim = loop {
            core.open();
            sent(&mut core);
            core.on_frame(&hello);
            match core.poll_output() {
                Some(Output::Send(frame)) => break decode(frame.into()),
                _ => core.confirm_server(), // by code the person is asked first
            }
            while core.poll_output().is_some() {}
        };
        let client_frame::Frame::EnrolClaim(claim) = claim else { panic!("a claim") };
        let claim_bytes = laid(
            "countersign/enrol/v1",
            &[&hash, &identity, &server.nonce, &[1], &[32], key.public().as_bytes()],
        );
        assert_eq!(claim.signature[..], key.sign_jws_input(&claim_bytes), "the claim's layout");
        let pending = server_frame::Frame::EnrolPending(proto::EnrolPending { digits: 6 });
        core.on_frame(&encode(pending));
        core.confirm_number("042 137").expect("taken");
        let client_frame::Frame::EnrolConfirm(confirm) = sent(&mut core) else { panic!("sent") };
        let confirm_bytes =
            laid("countersign/enrol-confirm/v1", &[&hash, &server.nonce, &[6], b"042137"]);
        assert_eq!(confirm.signature[..], key.sign_jws_input(&confirm_bytes), "its layout");
        cases.push(json!({
            "proof": proof,
            "ticket_hash": hex(&hash),
            "claim_signed_bytes": hex(&claim_bytes),
            "claim_signature": hex(&claim.signature),
            "number": "042137",
            "confirm_signed_bytes": hex(&confirm_bytes),
            "confirm_signature": hex(&confirm.signature),
        }));
    }
    settle(
        "enrolment.json",
        &json!({
            "device_seed": hex(&[21; 32]),
            "device_public_key": hex(key.public().as_bytes()),
            "server_identity_hash": hex(&identity),
            "nonce": hex(&server.nonce),
            "cases": cases,
        }),
    );
}

#[test]
fn server_keys() {
    let server = Server::new();
    let certificate = server.certificate();
    let certificate_bytes = laid(
        "countersign/certificate/v1",
        &[
            &[1],
            &[32],
            certificate.key.as_bytes(),
            &certificate.not_before.millis().to_be_bytes(),
            &certificate.not_after.millis().to_be_bytes(),
        ],
    );
    let certified = certificate.sign(&server.identity);
    assert_eq!(certified, server.identity.sign_jws_input(&certificate_bytes), "the layout");
    let prompt = server.prompt(&challenge(1));
    let challenge_bytes = laid("countersign/challenge/v1", &[&prompt.challenge]);
    assert_eq!(prompt.signature[..], server.signer.sign_jws_input(&challenge_bytes), "the layout");
    let identity = server.identity.public();
    let hash = sha256(&[&[1], identity.as_bytes()]);
    assert_eq!(hash, identity.identity_hash());
    settle(
        "server_keys.json",
        &json!({
            "identity_seed": hex(&[1; 32]),
            "identity_public_key": hex(identity.as_bytes()),
            "identity_hash": hex(&hash),
            "identity_fingerprint": fingerprint(&hash),
            "certificate": {
                "public_key": hex(certificate.key.as_bytes()),
                "not_before_ms": certificate.not_before.millis(),
                "not_after_ms": certificate.not_after.millis(),
                "signed_bytes": hex(&certificate_bytes),
                "signature": hex(&certified),
            },
            "challenge": {
                "bytes": hex(&prompt.challenge),
                "signed_bytes": hex(&challenge_bytes),
                "signature": hex(&prompt.signature),
            },
        }),
    );
}

#[test]
fn server_keys_are_trusted_by_a_device() {
    let vector = stored("server_keys.json").expect("proto/vectors/server_keys.json is missing");
    let bytes = |value: &Value| {
        Bytes::from(HEXLOWER.decode(value.as_str().expect("a text").as_bytes()).expect("hex"))
    };
    let identity = PublicKey::new(Algorithm::Ed25519, &bytes(&vector["identity_public_key"]));
    let identity = identity.expect("a key");
    let shown = &vector["certificate"];
    let certificate = Certificate {
        key: PublicKey::new(Algorithm::Ed25519, &bytes(&shown["public_key"])).expect("a key"),
        not_before: Timestamp::from_millis(shown["not_before_ms"].as_u64().expect("a number")),
        not_after: Timestamp::from_millis(shown["not_after_ms"].as_u64().expect("a number")),
    };
    certificate.verify(&identity, &bytes(&shown["signature"])).expect("certified");
    let challenge = &vector["challenge"];
    SignedChallenge(&bytes(&challenge["bytes"]))
        .verify(&certificate.key, &bytes(&challenge["signature"]))
        .expect("signed");
}

#[test]
fn totp() {
    let secret = b"12345678901234567890";
    let totp: authenticator::Totp = serde_json::from_value(json!({
        "secret": secret, "digits": 6, "period_s": 30,
    }))
    .expect("a secret");
    // RFC 6238 appendix B, the last six digits of the SHA-1 column, and the ends of a step
    let seconds = [
        0_u64,
        29,
        30,
        59,
        1_111_111_109,
        1_111_111_111,
        1_234_567_890,
        2_000_000_000,
        20_000_000_000,
    ];
    let cases: Vec<Value> = seconds
        .into_iter()
        .map(|second| {
            let code = totp.code(Timestamp::from_millis(second * 1000));
            json!({"unix_s": second, "step": second / 30, "code": code.digits.as_str()})
        })
        .collect();
    settle(
        "totp.json",
        &json!({
            "secret": hex(secret), "algorithm": "SHA1", "digits": 6, "period_s": 30,
            "cases": cases,
        }),
    );
}

#[test]
fn numbers() {
    let accepted = [
        ("042137", "042137"),
        ("042 137", "042137"),
        (" 042-137\n", "042137"),
        ("0 4 2 1 3 7", "042137"),
        ("000000", "000000"),
        ("\t042137", "042137"),
    ];
    let refused = [
        "",
        "42137",
        "0421370",
        "04213a",
        "-",
        "４２１３７０",
        "٠٤٢١٣٧",
        "042.137",
        "+42137",
        "0x4213",
        "042\n137",
        "042\u{a0}137",
        "042\u{200b}137",
        "000000000000000000",
    ];
    let accepted: Vec<Value> = accepted
        .into_iter()
        .map(|(typed, number)| {
            assert_eq!(typed_number(typed, 6).expect(typed).as_str(), number);
            json!({"typed": typed, "number": number})
        })
        .collect();
    for typed in refused {
        assert!(typed_number(typed, 6).is_err(), "{typed:?}");
    }
    settle("number.json", &json!({"digits": 6, "accepted": accepted, "refused": refused}));
}

#[test]
fn links() {
    let secret = [22_u8; 16];
    let identity = Server::new().identity.public().identity_hash();
    let mut accepted = Vec::new();
    for server in [
        "https://mfa.example.org",
        "https://mfa.example.org:8443/base",
        "http://127.0.0.1:8470",
        "http://[::1]:8470",
    ] {
        let link = EnrolLink {
            server: server.parse().expect("an address"),
            secret: secret.into(),
            identity,
        };
        let gateway = link.server.websocket(proto::PATH);
        accepted.push(json!({
            "link": link.to_string(), "server": server, "gateway": gateway,
            "secret": hex(&secret), "server_identity_hash": hex(&identity),
        }));
    }
    let good = accepted[0]["link"].as_str().expect("a text").to_owned();
    let refused = [
        good.replace("https:", "http:"),
        good.replace("#v1.", "#v2."),
        good.replace('#', "?"),
        good[..good.len() - 1].to_owned(),
        format!("{good}A"),
        good.replace("/enrol#", "/#"),
        good.replace("mfa.", "mfa.@"),
        good.replace("https://mfa.example.org", "javascript:alert(1)"),
    ];
    for link in &refused {
        assert!(link.parse::<EnrolLink>().is_err(), "{link}");
    }
    settle("link.json", &json!({"accepted": accepted, "refused": refused}));
}
