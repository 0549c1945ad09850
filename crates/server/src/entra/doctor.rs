//! `countersign entra doctor`: whether Entra would be content with what a provider publishes, and what its error
//! codes mean.

use std::time::Duration;

use data_encoding::BASE64;
use domain::protocol::Cloud;
use serde_json::{Value, json};

use crate::cli::EntraDoctor;
use crate::clock;
use crate::commands::show;
use crate::exit::Exit;
use crate::fetch::Fetcher;

/// Entra's codes that an external method meets, and what to do.
pub(crate) const CODES: [(&str, &str); 8] = [
    (
        "50161",
        "the authorization endpoint isn't a reply URL of the application: add {public_url}/entra/authorize, to the letter",
    ),
    ("900491", "the application isn't in the directory: an administrator must grant it consent"),
    (
        "50012",
        "the token's signature wasn't accepted: Entra keeps keys for a day; compare the kid that `entra doctor` shows with the one that it names, and wait a day after a rotation that was not published ahead",
    ),
    ("70002", "as 50012: the token was not accepted"),
    (
        "50158",
        "the second factor wasn't satisfied: see the server's log for the same client-request-id",
    ),
    ("50166", "Entra throttles this provider: it was too slow, or failed too often"),
    ("50176", "the external method is not defined in the directory, or was removed"),
    ("50105", "the user isn't assigned to the application: check the group that the method is for"),
];

/// For how long Entra keeps what it fetched, in hours.
const ENTRA_KEEPS_H: u64 = 24;

struct Finding {
    check: &'static str,
    ok: bool,
    found: String,
    next: &'static str,
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &'static str, ok: bool, found: impl Into<String>, next: &'static str) {
        self.0.push(Finding { check, ok, found: found.into(), next });
    }
}

/// Runs the command.
pub(crate) async fn run(command: &EntraDoctor, json: bool) -> Exit {
    if let Some(code) = &command.code {
        let digits: String = code.chars().filter(char::is_ascii_digit).collect();
        let known = CODES.iter().find(|(known, _)| *known == digits);
        let meaning =
            known.map_or("not one that an external method usually meets", |(_, what)| what);
        if json {
            show(&json!({"code": digits, "meaning": meaning}).to_string());
        } else {
            show(&format!("{digits}: {meaning}"));
        }
        return if known.is_some() { Exit::Ok } else { Exit::Wrong };
    }
    let fetcher = match Fetcher::new() {
        Ok(fetcher) => fetcher,
        Err(why) => {
            eprintln!("error: {why}");
            return Exit::Unreachable;
        }
    };
    let mut findings = Findings(Vec::new());
    look(&fetcher, command.provider.as_str(), &mut findings).await;
    let wrong = findings.0.iter().find(|finding| !finding.ok);
    if json {
        let all: Vec<Value> = findings
            .0
            .iter()
            .map(|one| json!({"check": one.check, "ok": one.ok, "found": one.found}))
            .collect();
        let next = wrong.map(|one| one.next);
        show(&json!({"ok": wrong.is_none(), "findings": all, "next": next}).to_string());
    } else {
        for Finding { check, ok, found, .. } in &findings.0 {
            show(&format!("{:<6} {check}: {found}", if *ok { "ok" } else { "wrong" }));
        }
        let next = wrong
            .map_or("enter client id, discovery URL and application id in Entra", |one| one.next);
        show(&format!("next: {next}"));
    }
    if wrong.is_some() { Exit::Wrong } else { Exit::Ok }
}

async fn look(fetcher: &Fetcher, provider: &str, findings: &mut Findings) {
    let issuer = provider;
    let tidy = !issuer.ends_with('/') && !issuer.contains(['?', '#']) && !issuer.ends_with(":443");
    let next = "write the issuer without a slash at its end, without :443, query and fragment";
    findings.add("issuer", tidy, issuer, next);
    let secure = issuer.starts_with("https://");
    let next =
        "Entra reaches a provider over https alone: give the server a certificate and a public_url";
    findings.add("https", secure, if secure { "yes" } else { "no" }, next);
    let url = format!("{issuer}/.well-known/openid-configuration");
    let fetched = match fetcher.fetch(&url).await {
        Ok(fetched) if fetched.status.is_success() => fetched,
        Ok(fetched) => {
            let next = "the issuer must be the server's public_url and /entra";
            findings.add("discovery", false, format!("{url} answered {}", fetched.status), next);
            return;
        }
        Err(why) => {
            findings.add("discovery", false, why, "make the server reachable from the internet");
            return;
        }
    };
    let length = fetched.headers.get("content-length").is_some();
    let found = if length { "with Content-Length" } else { "without Content-Length" };
    let next = "keep proxies from compressing or chunking this document: Entra needs its length";
    findings.add("discovery", length, format!("{url}, {found}"), next);
    let Ok(document) = serde_json::from_slice::<Value>(&fetched.body) else {
        findings.add("discovery", false, "it isn't JSON", "keep proxies from changing it");
        return;
    };
    let same = document["issuer"] == issuer;
    let next = "public_url must be the address that Entra is given, to the letter";
    findings.add("issuer in the document", same, text(&document["issuer"]), next);
    let endpoint = text(&document["authorization_endpoint"]);
    let next = "public_url must be the address that Entra is given";
    let there = endpoint.starts_with(issuer);
    findings.add("reply URL of the application", there, endpoint, next);
    let answers = Cloud::ALL.into_iter().filter_map(Cloud::authority);
    let answers: Vec<String> =
        answers.map(|at| format!("{at}/common/federation/externalauthprovider")).collect();
    findings.add("answers go to", true, answers.join(", or "), "");
    look_at_keys(fetcher, &text(&document["jwks_uri"]), findings).await;
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// When a certificate (DER) begins to hold, in seconds: the first UTCTime in it (RFC 5280 §4.1.2.5.1).
fn not_before(der: &[u8]) -> Option<u64> {
    const UTC_TIME: [u8; 2] = [0x17, 13];
    let at = der.windows(2).position(|pair| pair == UTC_TIME)? + 2;
    let text = std::str::from_utf8(der.get(at..at + 12)?).ok()?;
    let number = |from: usize| text.get(from..from + 2)?.parse::<i8>().ok();
    let year = i16::from(number(0)?) + 2000;
    let (month, day) = (number(2)?, number(4)?);
    let (hour, minute, second) = (number(6)?, number(8)?, number(10)?);
    let time = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(zoned.timestamp().as_second()).ok()
}

async fn look_at_keys(fetcher: &Fetcher, uri: &str, findings: &mut Findings) {
    let set = match fetcher.fetch(uri).await {
        Ok(fetched) => serde_json::from_slice::<Value>(&fetched.body).unwrap_or_default(),
        Err(why) => {
            findings.add("keys", false, why, "make the server reachable from the internet");
            return;
        }
    };
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let next = "start the server once: it draws its keys by itself";
    findings.add("keys", !keys.is_empty(), format!("{} at {uri}", keys.len()), next);
    for key in keys {
        let der = key["x5c"][0].as_str().and_then(|der| BASE64.decode(der.as_bytes()).ok());
        let good = key["kty"] == "RSA" && key["kid"].is_string() && der.is_some();
        let found =
            format!("kid {}, {}", text(&key["kid"]), if der.is_some() { "x5c" } else { "no x5c" });
        findings.add("key", good, found, "each key must be RSA with kid and x5c");
        if let Some(made) = der.as_deref().and_then(not_before) {
            let age = clock::now().seconds().saturating_sub(made) / 3600;
            let found = match (age < ENTRA_KEEPS_H, keys.len()) {
                (true, 1) => format!(
                    "made {age} hours ago: Entra sees it within {ENTRA_KEEPS_H} hours of being set up"
                ),
                (true, _) => format!(
                    "made {age} hours ago: Entra may not have it yet, and it doesn't sign yet"
                ),
                (false, _) => format!("made {age} hours ago: Entra has fetched keys since"),
            };
            findings.add("certificate", true, found, "");
        }
    }
    if keys.len() > 1 {
        let days = Duration::from_secs(2 * 86_400).as_secs() / 86_400;
        let found = format!(
            "{} keys: a rotation is under way; the new one signs after {days} days",
            keys.len()
        );
        findings.add("rotation", true, found, "");
    }
}

#[cfg(test)]
mod tests {
    use super::not_before;

    #[test]
    fn a_certificate_says_when_it_was_made() {
        let mut certificate = rcgen::CertificateParams::default();
        certificate.not_before = rcgen::date_time_ymd(2026, 11, 29);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = certificate.self_signed(&key).expect("a certificate");
        assert_eq!(not_before(certificate.der()), Some(1_795_910_400));
        assert_eq!(not_before(&[0x17, 13, 0x31]), None);
        assert_eq!(not_before(b""), None);
    }
}
