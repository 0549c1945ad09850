//! Whether what redeem gives reads as a receipt. Its signature isn't checked here: that would cost this
//! process as much as it costs the server, which shares its cores.

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

/// Whether `receipt` is an ES256 JWT of our type about the challenge `id`.
pub(crate) fn parses(receipt: &str, id: &str) -> bool {
    let parts: Vec<&str> = receipt.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return false;
    };
    let read = |part: &str| -> Option<Value> {
        let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    let (Some(header), Some(claims)) = (read(header), read(claims)) else {
        return false;
    };
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes());
    header["typ"] == "countersign-receipt+jwt"
        && header["alg"] == "ES256"
        && claims["challenge"] == id
        && claims["exp"].is_u64()
        && signature.is_ok_and(|signature| signature.len() == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(typ: &str, challenge: &str, signature: usize) -> String {
        let header = serde_json::json!({"typ": typ, "alg": "ES256", "kid": "k"}).to_string();
        let claims = serde_json::json!({"challenge": challenge, "exp": 1_780_000_000}).to_string();
        let parts = [header.as_bytes(), claims.as_bytes(), &vec![7; signature]];
        parts.map(|part| BASE64URL_NOPAD.encode(part)).join(".")
    }

    #[test]
    fn only_a_receipt_of_this_challenge_will_do() {
        let good = receipt("countersign-receipt+jwt", "chl_a", 64);
        assert!(parses(&good, "chl_a"));
        assert!(!parses(&good, "chl_b"));
        assert!(!parses(&good[1..], "chl_a"));
        assert!(!parses(&receipt("JWT", "chl_a", 64), "chl_a"));
        assert!(!parses(&receipt("countersign-receipt+jwt", "chl_a", 63), "chl_a"));
        for bad in ["", "..", "a.b.c", "not a jwt"] {
            assert!(!parses(bad, "chl_a"), "{bad}");
        }
    }
}
