//! The keys of a provider as Entra takes them: with a certificate each, and known to it before they sign.

use std::collections::BTreeSet;

use app::KEY_LEAD;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::Value;
use statement::Timestamp;

use super::certificate::Certificate;
use crate::doctor::{Finding, ok, wrong};

/// For how long Entra keeps what it fetched, in hours.
const ENTRA_KEEPS_H: i64 = 24;
const HOUR: i64 = 3600;
const RENEW: &str = "have a new one drawn: countersign admin keys rotate";

/// Looks at a key set, at `now`.
pub(super) fn examine(set: &Value, now: Timestamp) -> Vec<Finding> {
    let now = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    if keys.is_empty() {
        return vec![wrong("keys", "none", "start the server once: it draws its keys by itself")];
    }
    let mut findings = vec![ok("keys", keys.len().to_string())];
    let (mut kids, mut made) = (BTreeSet::new(), Vec::new());
    for key in keys {
        let kid = key["kid"].as_str().unwrap_or_default();
        findings.push(named(key, kid, kids.insert(kid)));
        let certificate = key["x5c"][0].as_str();
        let certificate = certificate.and_then(|der| BASE64.decode(der.as_bytes()).ok());
        let Some(certificate) = certificate.as_deref().and_then(Certificate::read) else {
            let next = "each key must have its certificate (x5c), in standard base64: keep proxies from \
                        changing the document";
            findings.push(wrong("x5c", format!("{kid}: no certificate that can be read"), next));
            continue;
        };
        findings.push(belongs(key, kid, &certificate));
        findings.push(holds(kid, &certificate, now));
        made.push(certificate.from);
    }
    findings.extend(known(made, now));
    findings
}

fn named(key: &Value, kid: &str, first: bool) -> Finding {
    let why = match () {
        () if key["kty"] != "RSA" => "isn't RSA",
        () if kid.is_empty() => "has no kid",
        () if !first => "has another key's kid",
        () if key["use"].as_str().is_some_and(|what| what != "sig") => "isn't for signatures",
        () => return ok("key", format!("kid {kid}")),
    };
    wrong(
        "key",
        format!("kid {kid}: {why}"),
        "each key must be RSA, for signatures, with a kid of its own",
    )
}

/// Whether the certificate is about the key beside it.
fn belongs(key: &Value, kid: &str, certificate: &Certificate) -> Finding {
    let number = |name: &str| {
        let bytes = BASE64URL_NOPAD.decode(key[name].as_str()?.as_bytes()).ok()?;
        Some(bytes.strip_prefix(&[0]).unwrap_or(&bytes).to_vec())
    };
    let members = number("n").zip(number("e"));
    match members.is_some() && members == certificate.rsa {
        true => ok("x5c", format!("{kid}: of this key")),
        false => wrong("x5c", format!("{kid}: of another key"), RENEW),
    }
}

/// Whether the certificate holds now.
fn holds(kid: &str, certificate: &Certificate, now: i64) -> Finding {
    let Certificate { from, until, .. } = *certificate;
    if from > now {
        let found = format!("{kid}: holds only from {} on", time(from));
        return wrong("certificate", found, "set the clocks of this machine and of the server");
    }
    if until <= now {
        return wrong("certificate", format!("{kid}: has expired on {}", time(until)), RENEW);
    }
    ok(
        "certificate",
        format!("{kid}: made {} hours ago, holds until {}", (now - from) / HOUR, time(until)),
    )
}

/// Whether Entra can have the key that signs: it reads keys once a day. A key signs once it has been published for two
/// days; a server's first one, which has no other beside it, at once.
fn known(mut made: Vec<i64>, now: i64) -> Option<Finding> {
    made.sort_unstable();
    let (first, newest) = (*made.first()?, *made.last()?);
    let lead = i64::try_from(KEY_LEAD.as_secs()).unwrap_or(i64::MAX);
    let signs = made.into_iter().rfind(|made| made + lead <= now).unwrap_or(first);
    let next = match newest == signs {
        true => String::new(),
        false => format!("; a newer one signs from {} on", time(newest + lead)),
    };
    let hours = (now - signs) / HOUR;
    let found = if hours >= ENTRA_KEEPS_H {
        format!("the key that signs is {hours} hours old: Entra has read it since{next}")
    } else {
        let until = time(signs + ENTRA_KEEPS_H * HOUR);
        format!(
            "the key that signs is {hours} hours old and the first of this server: Entra can have read no older one. \
             Only if another server answered at this address before, Entra may keep its keys until {until}, and \
             refuse tokens with 70002 and 50012{next}"
        )
    };
    Some(ok("24 h", found))
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use backend_sql::{MasterKey, Store};
    use domain::protocol::TokenAlgorithm;
    use serde_json::json;

    use super::*;
    use crate::clock;
    use crate::doctor::Grade;

    /// When it is looked: 2026-11-29.
    const NOW: i64 = 1_795_910_400;
    const TEN_YEARS: i64 = 87_600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(u64::try_from(seconds * 1000).expect("after 1970"))
    }

    /// A key as a server publishes it that drew it at this time, under a name of its own.
    async fn drawn(kid: &str, seconds: i64) -> Value {
        let dir = tempfile::tempdir().expect("a directory");
        let master = MasterKey::from_bytes([7; 32]);
        let store = Store::open(dir.path(), Arc::new(clock::now), master).await.expect("a store");
        let vault = store.vault();
        let key = vault.draw_token_key(TokenAlgorithm::Rs256, at(seconds), at(seconds)).await;
        vault.adopt_token_key(&key.expect("a key")).expect("a good key");
        let set = vault.token_jwks(&[TokenAlgorithm::Rs256], at(seconds));
        let mut set: Value = serde_json::from_str(&set).expect("JSON");
        set["keys"][0]["kid"] = kid.into();
        set["keys"][0].take()
    }

    /// Drawn so many hours ago.
    async fn key(kid: &str, hours: i64) -> Value {
        drawn(kid, NOW - hours * HOUR).await
    }

    /// The checks that aren't as they should be.
    fn bad_at(now: i64, keys: Value) -> Vec<(&'static str, Grade)> {
        let all = examine(&json!({"keys": keys}), at(now));
        let bad = all.into_iter().filter(|finding| finding.grade != Grade::Ok);
        bad.map(|finding| (finding.check, finding.grade)).collect()
    }

    fn bad(keys: Value) -> Vec<(&'static str, Grade)> {
        bad_at(NOW, keys)
    }

    #[tokio::test]
    async fn each_thing_that_can_be_wrong_with_a_key_is_told() {
        let (good, mut other) = (key("a", 100).await, key("b", 100).await);
        assert_eq!(bad(json!([good, other])), []);
        let but = |name: &str, value: Value| {
            let mut key = good.clone();
            key[name] = value;
            json!([key])
        };
        let wrong = |check| vec![(check, Grade::Wrong)];
        assert_eq!(bad(json!([])), wrong("keys"));
        assert_eq!(bad(Value::Null), wrong("keys"));
        assert_eq!(bad(but("kty", json!("EC"))), wrong("key"));
        assert_eq!(bad(but("kid", Value::Null)), wrong("key"));
        assert_eq!(bad(but("use", json!("enc"))), wrong("key"));
        for x5c in [Value::Null, json!([]), json!(["%"]), json!(["AQAB"])] {
            assert_eq!(bad(but("x5c", x5c)), wrong("x5c"));
        }
        assert_eq!(bad(but("n", other["n"].clone())), wrong("x5c"));
        assert_eq!(bad(but("e", json!("Aw"))), wrong("x5c"));
        other["kid"] = "a".into();
        assert_eq!(bad(json!([good, other])), wrong("key"));
        assert_eq!(bad_at(NOW + TEN_YEARS * HOUR, json!([good])), wrong("certificate"));
        let early = bad_at(NOW - 101 * HOUR, json!([good]));
        assert_eq!(early[0], ("certificate", Grade::Wrong));
    }

    /// What is said of the keys that were drawn so many hours ago.
    async fn said(hours: &[i64]) -> String {
        let mut keys = Vec::new();
        for hours in hours {
            keys.push(key(&hours.to_string(), *hours).await);
        }
        let all = examine(&json!({"keys": keys}), at(NOW));
        assert!(all.iter().all(|finding| finding.grade == Grade::Ok), "{all:?}");
        all.into_iter().next_back().expect("a finding").found
    }

    /// Every fresh installation was warned of a key that Entra can't have read another one than.
    #[tokio::test]
    async fn the_first_key_of_a_server_is_nothing_to_warn_of() {
        for hours in [0, 23] {
            let said = said(&[hours]).await;
            assert!(said.contains("the first of this server"), "{said}");
            assert!(said.contains("Only if another server answered"), "{said}");
        }
        assert!(said(&[24]).await.contains("24 hours old: Entra has read it since"));
        // rotated on the first day: the older one signs
        let said = said(&[1, 23]).await;
        assert!(said.contains("is 23 hours old and the first"), "{said}");
        assert!(said.contains("signs from 2026-11-30T23:00:00Z on"), "{said}");
    }

    #[tokio::test]
    async fn a_key_signs_once_it_has_been_published_for_two_days() {
        for (hours, signs) in [(0, 1000), (23, 1000), (47, 1000), (48, 48), (49, 49)] {
            let said = said(&[hours, 1000]).await;
            assert!(said.contains(&format!("signs is {signs} hours old: Entra has")), "{said}");
            assert_eq!(said.contains("a newer one signs from"), hours < 48, "{said}");
        }
        assert!(said(&[1, 23, 1000]).await.contains("is 1000 hours old"));
    }

    #[tokio::test]
    async fn a_certificate_of_another_notation_has_an_age_too() {
        // from 2050 on: GeneralizedTime
        let made = 2_556_144_000;
        let keys = json!({"keys": [drawn("a", made).await]});
        for hours in [1, 25] {
            let last = examine(&keys, at(made + hours * HOUR)).pop().expect("a finding");
            assert!(last.found.contains(&format!("is {hours} hours old")), "{last:?}");
        }
    }
}
