//! Time-based codes (RFC 6238), as every authenticator app reads them: SHA-1, 6 digits, 30 seconds.

use statement::Timestamp;
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

/// Seconds per step.
pub const PERIOD_S: u64 = 30;
/// Digits of a code.
pub const DIGITS: u8 = 6;
/// Length of a secret in bytes: RFC 4226 R6 recommends 160 bits.
pub const SECRET_LEN: usize = 20;

/// A TOTP secret; gone from memory when dropped.
pub type Secret = Zeroizing<[u8; SECRET_LEN]>;

fn generator(secret: &[u8; SECRET_LEN]) -> Totp {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_skew(0)
        .with_step_duration(PERIOD_S)
        .with_secret(secret.as_slice())
        .build_noncompliant()
}

/// The step that `code` is of: the current one or the one before (RFC 6238 §5.2: one step for the way).
/// `None` if it is neither, or not newer than `last_step`: a code is accepted once, and never an older one
/// after a newer.
#[must_use]
pub fn check(secret: &[u8; SECRET_LEN], code: &str, last_step: u64, now: Timestamp) -> Option<u64> {
    let generator = generator(secret);
    let current = generator.check(code, now.seconds());
    let before = generator.check(code, now.seconds().saturating_sub(PERIOD_S));
    current.or(before).filter(|step| *step > last_step)
}

/// The code of the moment.
#[must_use]
pub fn code(secret: &[u8; SECRET_LEN], now: Timestamp) -> String {
    generator(secret).generate(now.seconds()).to_string()
}

/// The `otpauth://` URI (Key Uri Format) that authenticator apps scan. Colons, which separate issuer and
/// account, are dropped from both.
///
/// # Errors
/// If issuer or account is empty.
pub fn uri(
    secret: &[u8; SECRET_LEN],
    issuer: &str,
    account: &str,
) -> Result<Zeroizing<String>, totp_rs::TotpError> {
    let plain = |text: &str| text.replace(':', " ").trim().to_owned();
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_step_duration(PERIOD_S)
        .with_secret(secret.as_slice())
        .with_issuer(Some(plain(issuer)))
        .with_account_name(plain(account))
        .build()?
        .to_url()
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8; 20] = b"12345678901234567890";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn rfc_6238_appendix_b() {
        // the last six of the eight digits printed there for SHA-1
        for (seconds, digits) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(SECRET, at(seconds)), digits);
            assert_eq!(check(SECRET, digits, 0, at(seconds)), Some(seconds / 30));
        }
    }

    #[test]
    fn one_step_back_counts_two_do_not_and_none_ahead() {
        let now = at(1_000_000_020);
        let step = now.seconds() / PERIOD_S;
        let of = |offset: i64| {
            let seconds = now.seconds().saturating_add_signed(offset * 30);
            check(SECRET, &code(SECRET, at(seconds)), 0, now)
        };
        assert_eq!((of(-2), of(-1), of(0), of(1)), (None, Some(step - 1), Some(step), None));
    }

    #[test]
    fn a_step_is_accepted_once_and_never_after_a_newer_one() {
        let now = at(1_000_000_020);
        let step = now.seconds() / PERIOD_S;
        let this = code(SECRET, now);
        let before = code(SECRET, at(now.seconds() - 30));
        assert_eq!(check(SECRET, &this, step, now), None);
        assert_eq!(check(SECRET, &before, step, now), None);
        assert_eq!(check(SECRET, &this, step - 1, now), Some(step));
    }

    #[test]
    fn the_uri_is_what_apps_scan() {
        let uri = uri(SECRET, "Acme: Ltd", "alice").expect("a URI");
        assert!(uri.starts_with("otpauth://totp/Acme%20%20Ltd:alice?"), "{}", uri.as_str());
        assert!(uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"));
    }
}
