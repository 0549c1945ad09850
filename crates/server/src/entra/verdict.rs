//! Whether Entra would let a person in: each thing that it looks at in an answer, in plain words.

use std::collections::BTreeMap;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was looked at, and what was found.
    pub words: String,
}

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the person is let in.
    pub ok: bool,
    /// One sentence.
    pub summary: String,
    /// Everything that was looked at, in order.
    pub looks: Vec<Look>,
}

impl Verdict {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let look = |look: &Look| json!({"ok": look.ok, "about": look.words});
        let looks: Vec<Value> = self.looks.iter().map(look).collect();
        json!({"ok": self.ok, "summary": self.summary, "looks": looks})
    }
}

/// What the stand-in sent, which an answer must fit.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The provider's issuer.
    pub issuer: String,
    /// Its audience: the client id that it gave Entra.
    pub client: String,
    /// The hint's subject.
    pub sub: String,
    /// The request's nonce.
    pub nonce: String,
    /// The request's state.
    pub state: String,
    /// The classes that were asked for.
    pub acr: Vec<String>,
    /// The methods that were asked for.
    pub amr: Vec<String>,
}

/// Methods that are something one has; the rest of Entra's list is something one is.
const POSSESSION: [&str; 8] = ["fido", "hwk", "otp", "pop", "sc", "sms", "swk", "tel"];

struct Looks(Vec<Look>);

impl Looks {
    fn look(&mut self, ok: bool, words: impl Into<String>) -> bool {
        self.0.push(Look { ok, words: words.into() });
        ok
    }

    fn verdict(self, summary: impl Into<String>) -> Verdict {
        let ok = self.0.iter().all(|look| look.ok);
        let summary = summary.into();
        Verdict { ok, summary, looks: self.0 }
    }
}

/// Judges an answer against what was sent and the provider's published keys, at `now` in seconds.
#[must_use]
pub fn judge(sent: &Sent, fields: &BTreeMap<String, String>, jwks: &Value, now: u64) -> Verdict {
    let mut looks = Looks(Vec::new());
    let state = fields.get("state") == Some(&sent.state);
    looks.look(state, "state comes back as it was sent");
    if let Some(error) = fields.get("error") {
        looks.look(false, format!("the provider answered with the error {error}"));
        return looks.verdict(format!("Not let in: the provider said {error}."));
    }
    let Some(token) = fields.get("id_token") else {
        looks.look(false, "there is an id_token");
        return looks.verdict("Not let in: the answer holds neither a token nor an error.");
    };
    let Some((header, claims)) = read(token) else {
        looks.look(false, "the id_token is a JWT");
        return looks.verdict("Not let in: the token can't be read.");
    };
    look_at_signature(&mut looks, token, &header, jwks);
    look_at_claims(&mut looks, sent, &claims, now);
    let failed = looks.0.iter().find(|look| !look.ok).map(|look| look.words.clone());
    match failed {
        None => looks.verdict("Let in: Entra takes this as the second factor."),
        Some(why) => looks.verdict(format!("Not let in. Wrong: {why}.")),
    }
}

/// Header and claims of a compact JWS, unverified.
fn read(token: &str) -> Option<(Value, Value)> {
    let mut parts = token.split('.');
    let mut json = || {
        let bytes = BASE64URL_NOPAD.decode(parts.next()?.as_bytes()).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    Some((json()?, json()?))
}

fn look_at_signature(looks: &mut Looks, token: &str, header: &Value, jwks: &Value) {
    looks.look(header["alg"] == "RS256", "alg is RS256");
    looks.look(header["typ"] == "JWT", "typ is JWT");
    let kid = header["kid"].as_str().unwrap_or_default();
    let keys = jwks["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let key = keys.iter().find(|key| key["kid"] == kid && !kid.is_empty());
    if !looks.look(key.is_some(), format!("kid {kid:?} is in the published key set")) {
        return;
    }
    let key = key.cloned().unwrap_or_default();
    let certificate = key["x5c"][0].as_str().and_then(|der| BASE64.decode(der.as_bytes()).ok());
    looks.look(certificate.is_some(), "the key has a certificate (x5c)");
    looks.look(verifies(token, &key), "the signature verifies with it");
}

fn verifies(token: &str, key: &Value) -> bool {
    use rustls::crypto::aws_lc_rs::default_provider;
    let part = |name: &str| BASE64URL_NOPAD.decode(key[name].as_str()?.as_bytes()).ok();
    let (Some(n), Some(e), Some((input, signature))) =
        (part("n"), part("e"), token.rsplit_once('.'))
    else {
        return false;
    };
    let Ok(signature) = BASE64URL_NOPAD.decode(signature.as_bytes()) else { return false };
    let public = rsa_public_key(&n, &e);
    let algorithms = default_provider().signature_verification_algorithms;
    let rs256 = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == rustls::SignatureScheme::RSA_PKCS1_SHA256);
    rs256.is_some_and(|(_, known)| {
        let mut each = known.iter();
        each.any(|one| one.verify_signature(&public, input.as_bytes(), &signature).is_ok())
    })
}

/// An `RSAPublicKey` (RFC 8017 §A.1.1).
fn rsa_public_key(n: &[u8], e: &[u8]) -> Vec<u8> {
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = content.len();
        let mut der = vec![tag];
        match u8::try_from(len) {
            Ok(short @ ..0x80) => der.push(short),
            _ => {
                let bytes: Vec<u8> =
                    len.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
                der.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
                der.extend(bytes);
            }
        }
        der.extend(content);
        der
    }
    let integer = |bytes: &[u8]| {
        let mut content = Vec::new();
        if bytes.first().is_some_and(|first| *first >= 0x80) {
            content.push(0);
        }
        content.extend(bytes);
        element(0x02, &content)
    };
    element(0x30, &[integer(n), integer(e)].concat())
}

fn look_at_claims(looks: &mut Looks, sent: &Sent, claims: &Value, now: u64) {
    looks.look(claims["iss"] == sent.issuer, format!("iss is {}", sent.issuer));
    looks.look(claims["aud"] == sent.client, "aud is the client id that Entra was given");
    looks.look(claims["sub"] == sent.sub, "sub is the hint's");
    looks.look(claims["nonce"] == sent.nonce, "nonce comes back as it was sent");
    let time = |name: &str| claims[name].as_u64().unwrap_or_default();
    looks.look(time("iat") <= now + 300 && time("iat") + 600 >= now, "iat is now");
    looks.look(time("exp") > now, "exp is ahead");
    let acr = claims["acr"].as_str();
    let known = acr.is_some_and(|acr| sent.acr.iter().any(|one| one == acr));
    looks.look(known, format!("acr is one text, of those that were asked for: {}", claims["acr"]));
    let one = match claims["amr"].as_array().map(Vec::as_slice) {
        Some([one]) => one.as_str(),
        _ => None,
    };
    looks.look(one.is_some(), format!("amr is a list of exactly one: {}", claims["amr"]));
    let asked = one.is_some_and(|one| sent.amr.iter().any(|amr| amr == one));
    looks.look(asked, "amr is one that was asked for");
    let fits = match (acr, one) {
        (Some(acr), Some(one)) if POSSESSION.contains(&one) => acr.contains("possession"),
        (Some(acr), Some(_)) => acr.contains("inherence"),
        _ => false,
    };
    looks.look(fits, "amr is of a kind that acr names");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rsa_key_is_written_as_asn1() {
        let n = [0x80; 256];
        let der = rsa_public_key(&n, &[1, 0, 1]);
        assert_eq!(der[..9], [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00]);
        assert_eq!(der[der.len() - 5..], [0x02, 0x03, 1, 0, 1]);
        assert_eq!(der.len(), 4 + 0x10a);
    }

    #[test]
    fn an_answer_without_a_token_lets_nobody_in() {
        let sent = Sent {
            issuer: "i".to_owned(),
            client: "c".to_owned(),
            sub: "s".to_owned(),
            nonce: "n".to_owned(),
            state: "t".to_owned(),
            acr: Vec::new(),
            amr: Vec::new(),
        };
        let answer = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        for pairs in [
            &[("state", "t")][..],
            &[("state", "t"), ("error", "access_denied")],
            &[("state", "t"), ("id_token", "x")],
            &[("state", "t"), ("id_token", "e30.e30.e30")],
        ] {
            let verdict = judge(&sent, &answer(pairs), &json!({"keys": []}), 0);
            assert!(!verdict.ok, "{pairs:?}");
            assert!(verdict.summary.starts_with("Not let in"));
        }
    }
}
