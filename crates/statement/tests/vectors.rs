//! proto/vectors/ as a server reads them: everything that a device signed verifies, nothing else does.

use std::fs;

use data_encoding::HEXLOWER;
use serde_json::Value;
use statement::{
    Algorithm, Answer, AnswerDecision, DeviceId, EnrolClaim, EnrolConfirm, EnrolLink, Login,
    PublicKey, SignedChallenge, SigningKey, TenantId, crockford, fingerprint, ticket_code_hash,
    ticket_secret_hash, typed_number,
};

fn vector(name: &str) -> Value {
    let path = format!("{}/../../proto/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("vectors are JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn bytes(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(text(value).as_bytes()).expect("hex")
}

fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("of that length")
}

fn ed25519(value: &Value) -> PublicKey {
    PublicKey::new(Algorithm::Ed25519, &bytes(value)).expect("a key")
}

/// Every field of an answer, flipped one by one.
fn assert_only_this_answer(answer: &Answer<'_>, key: &PublicKey, signature: &[u8]) {
    answer.verify(key, signature).expect("verifies");
    let other_decision = match answer.decision {
        AnswerDecision::Approve => AnswerDecision::Deny,
        AnswerDecision::Deny | AnswerDecision::Report => AnswerDecision::Approve,
    };
    let other_challenge = [answer.challenge, b"x"].concat();
    let mut other_signature = signature.to_vec();
    other_signature[40] ^= 1;
    for flipped in [
        Answer { challenge: &other_challenge, ..*answer },
        Answer { device: DeviceId::from_bytes([0; 16]), ..*answer },
        Answer { decision: other_decision, ..*answer },
        Answer { number: "999999", ..*answer },
        Answer { user_verified: !answer.user_verified, ..*answer },
        Answer { counter: answer.counter ^ 1, ..*answer },
    ] {
        flipped.verify(key, signature).expect_err("a flipped field");
    }
    answer.verify(key, &other_signature).expect_err("a flipped signature");
    answer.verify(key, &signature[..63]).expect_err("a short signature");
}

fn answer<'a>(case: &'a Value, challenge: &'a [u8], device: DeviceId) -> Answer<'a> {
    let decision = u8::try_from(case["decision"].as_u64().expect("a code")).expect("a code");
    Answer {
        challenge,
        device,
        decision: AnswerDecision::from_code(decision).expect("a decision"),
        number: text(&case["number"]),
        user_verified: case["user_verified"].as_bool().expect("a flag"),
        counter: text(&case["counter"]).parse().expect("a count"),
    }
}

#[test]
fn answers_verify() {
    let vector = vector("answer");
    let key = ed25519(&vector["device_public_key"]);
    let challenge = bytes(&vector["challenge"]);
    let device = DeviceId::from_bytes(fixed(&vector["device"]));
    let cases = vector["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let answer = answer(case, &challenge, device);
        assert_only_this_answer(&answer, &key, &bytes(&case["signature"]));
    }
}

#[test]
fn answers_of_hardware_keys_verify() {
    let vector = vector("answer_p256");
    let key = PublicKey::new(Algorithm::P256, &bytes(&vector["device_public_key"]));
    let challenge = bytes(&vector["challenge"]);
    let device = DeviceId::from_bytes(fixed(&vector["device"]));
    let answer = answer(&vector, &challenge, device);
    assert_only_this_answer(&answer, &key.expect("a key"), &bytes(&vector["signature"]));
}

#[test]
fn logins_verify_and_are_good_for_nothing_else() {
    let vector = vector("login");
    let key = ed25519(&vector["device_public_key"]);
    let (server, nonce) = (fixed(&vector["server_identity_hash"]), fixed(&vector["nonce"]));
    let login = Login {
        server: &server,
        tenant: TenantId::from_bytes(fixed(&vector["tenant"])),
        device: DeviceId::from_bytes(fixed(&vector["device"])),
        nonce: &nonce,
    };
    let signature = bytes(&vector["signature"]);
    login.verify(&key, &signature).expect("verifies");
    for flipped in [
        Login { server: &[0; 32], ..login },
        Login { tenant: TenantId::from_bytes([0; 16]), ..login },
        Login { device: DeviceId::from_bytes([0; 16]), ..login },
        Login { nonce: &[0; 32], ..login },
    ] {
        flipped.verify(&key, &signature).expect_err("a flipped field");
    }
    SignedChallenge(&bytes(&vector["signed_bytes"]))
        .verify(&key, &signature)
        .expect_err("another purpose");
}

#[test]
fn enrolments_verify() {
    let vector = vector("enrolment");
    let key = ed25519(&vector["device_public_key"]);
    let (server, nonce) = (fixed(&vector["server_identity_hash"]), fixed(&vector["nonce"]));
    for case in vector["cases"].as_array().expect("cases") {
        let proof = &case["proof"];
        let ticket = match proof.get("secret") {
            Some(secret) => ticket_secret_hash(&bytes(secret)),
            None => {
                let code = crockford::decode(text(&proof["typed"])).expect("a code");
                assert_eq!(crockford::encode(&code), text(&proof["code"]));
                ticket_code_hash(text(&proof["user"]), &code)
            }
        };
        assert_eq!(ticket, fixed(&case["ticket_hash"]));
        let claim = EnrolClaim { ticket: &ticket, server: &server, nonce: &nonce };
        let signature = bytes(&case["claim_signature"]);
        claim.verify(&key, &signature).expect("verifies");
        let other = SigningKey::from_seed(&[99; 32]);
        claim.verify(other.public(), &signature).expect_err("moved to another key");
        EnrolClaim { server: &[0; 32], ..claim }.verify(&key, &signature).expect_err("relayed");

        let number = text(&case["number"]);
        let confirm = EnrolConfirm { ticket: &ticket, nonce: &nonce, number };
        let signature = bytes(&case["confirm_signature"]);
        confirm.verify(&key, &signature).expect("verifies");
        let wrong = EnrolConfirm { number: "000000", ..confirm };
        wrong.verify(&key, &signature).expect_err("another number");
    }
}

#[test]
fn the_server_signs_as_the_vectors_say() {
    let vector = vector("server_keys");
    let identity = SigningKey::from_seed(&fixed(&vector["identity_seed"]));
    let hash = identity.public().identity_hash();
    assert_eq!(hash, fixed(&vector["identity_hash"]));
    assert_eq!(fingerprint(&hash), text(&vector["identity_fingerprint"]));
    let certificate = &vector["certificate"];
    assert_eq!(
        identity.sign_jws_input(&bytes(&certificate["signed_bytes"])).to_vec(),
        bytes(&certificate["signature"])
    );
    let challenge = &vector["challenge"];
    SignedChallenge(&bytes(&challenge["bytes"]))
        .verify(&ed25519(&certificate["public_key"]), &bytes(&challenge["signature"]))
        .expect("signed by the certified key");
}

#[test]
fn links_and_numbers_read_alike() {
    let links = vector("link");
    for case in links["accepted"].as_array().expect("cases") {
        let link: EnrolLink = text(&case["link"]).parse().expect("a link");
        assert_eq!(link.server.as_str(), text(&case["server"]));
        assert_eq!(link.server.websocket("/device"), text(&case["gateway"]));
        assert_eq!(link.secret.as_slice(), bytes(&case["secret"]));
        assert_eq!(link.identity, fixed(&case["server_identity_hash"]));
        assert_eq!(link.to_string(), text(&case["link"]));
    }
    for link in links["refused"].as_array().expect("cases") {
        assert!(text(link).parse::<EnrolLink>().is_err(), "{link}");
    }
    let numbers = vector("number");
    let digits = u8::try_from(numbers["digits"].as_u64().expect("a count")).expect("a count");
    for case in numbers["accepted"].as_array().expect("cases") {
        let number = typed_number(text(&case["typed"]), digits).expect("a number");
        assert_eq!(number.as_str(), text(&case["number"]));
    }
    for typed in numbers["refused"].as_array().expect("cases") {
        typed_number(text(typed), digits).expect_err("not a number");
    }
}
