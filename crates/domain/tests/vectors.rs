//! proto/vectors/ as a server judges them: codes and numbers.

use std::fs;

use data_encoding::HEXLOWER;
use domain::number::Number;
use domain::totp;
use serde_json::Value;
use statement::Timestamp;

fn vector(name: &str) -> Value {
    let path = format!("{}/../../proto/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("vectors are JSON")
}

#[test]
fn codes_are_accepted_in_their_step() {
    let vector = vector("totp");
    let secret = vector["secret"].as_str().expect("hex");
    let secret: [u8; totp::SECRET_LEN] =
        HEXLOWER.decode(secret.as_bytes()).expect("hex").try_into().expect("20 bytes");
    assert_eq!(vector["digits"], totp::DIGITS);
    assert_eq!(vector["period_s"], totp::PERIOD_S);
    for case in vector["cases"].as_array().expect("cases") {
        let now = Timestamp::from_millis(case["unix_s"].as_u64().expect("a time") * 1000);
        let step = case["step"].as_u64().expect("a step");
        let code = case["code"].as_str().expect("a code");
        assert_eq!(totp::code(&secret, now), code);
        // step 0 is not newer than the last accepted step of a new factor
        let accepted = Some(step).filter(|step| *step > 0);
        assert_eq!(totp::check(&secret, code, 0, now), accepted);
        assert_eq!(totp::check(&secret, code, step, now), None);
    }
}

#[test]
fn what_a_device_makes_of_typing_matches() {
    let vector = vector("number");
    for case in vector["accepted"].as_array().expect("cases") {
        let number = case["number"].as_str().expect("digits");
        let live = Number::parse(number).expect("a number");
        assert!(live.matches(number));
        let typed = case["typed"].as_str().expect("a text");
        assert_eq!(live.matches(typed), typed == number, "only the device tidies up");
    }
    for typed in vector["refused"].as_array().expect("cases") {
        let live = Number::parse("042137").expect("a number");
        assert!(!live.matches(typed.as_str().expect("a text")));
    }
}
