//! What `entra doctor` reads of a certificate: for how long it holds, and which RSA key it is about
//! (RFC 5280 §4.1).

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// A certificate, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// From when it holds, in seconds.
    pub(super) from: i64,
    /// Until when.
    pub(super) until: i64,
    /// Modulus and exponent without leading zeros, if it is about an RSA key.
    pub(super) rsa: Option<(Vec<u8>, Vec<u8>)>,
}

impl Certificate {
    /// From DER; `None` if that isn't a certificate.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (certificate, _) = inside(der, SEQUENCE)?;
        let (mut fields, _) = inside(certificate, SEQUENCE)?;
        if let Some((_, rest)) = inside(fields, VERSION) {
            fields = rest;
        }
        // serial number, algorithm, issuer
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            fields = inside(fields, tag)?.1;
        }
        let (validity, fields) = inside(fields, SEQUENCE)?;
        let (from, rest) = time(validity)?;
        let (until, _) = time(rest)?;
        let (_subject, fields) = inside(fields, SEQUENCE)?;
        let (public, _) = inside(fields, SEQUENCE)?;
        Some(Self { from, until, rsa: rsa(public) })
    }
}

/// The content of the element at the start, if it has this tag, and what follows it.
fn inside(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (len.iter().fold(0, |len, byte| (len << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if found == tag { rest.split_at_checked(len) } else { None }
}

/// A `Time`, in seconds: years up to 2049 as UTCTime, later ones as GeneralizedTime (§4.1.2.5); both are read,
/// whatever the year.
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let ((text, rest), general) = match inside(der, UTC_TIME) {
        Some(found) => (found, false),
        None => (inside(der, GENERALIZED_TIME)?, true),
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, text) = text.split_at_checked(if general { 4 } else { 2 })?;
    let year: i16 = year.parse().ok()?;
    let year = match general {
        true => year,
        false if year >= 50 => 1900 + year,
        false => 2000 + year,
    };
    let number = |at: usize| text.get(at..at + 2)?.parse::<i8>().ok();
    let (month, day) = (number(0)?, number(2)?);
    let (hour, minute, second) = (number(4)?, number(6)?, number(8)?);
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    (text.len() == 10).then_some((time, rest))
}

/// The numbers of an RSA key in a `SubjectPublicKeyInfo`.
fn rsa(public: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_algorithm, rest) = inside(public, SEQUENCE)?;
    let (bits, _) = inside(rest, BIT_STRING)?;
    let (numbers, _) = inside(bits.strip_prefix(&[0])?, SEQUENCE)?;
    let (n, rest) = inside(numbers, INTEGER)?;
    let (e, _) = inside(rest, INTEGER)?;
    let plain = |number: &[u8]| number.strip_prefix(&[0]).unwrap_or(number).to_vec();
    Some((plain(n), plain(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate that holds from one year's beginning to another's.
    fn made(from: i32, until: i32) -> Vec<u8> {
        let mut certificate = rcgen::CertificateParams::default();
        certificate.not_before = rcgen::date_time_ymd(from, 11, 29);
        certificate.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        certificate.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn a_certificate_says_when_it_holds_before_and_after_2050() {
        for (from, until, seconds) in [
            (2026, 2036, (1_795_910_400, 2_082_758_400)),
            (2026, 2050, (1_795_910_400, 2_524_608_000)),
            (2051, 2061, (2_584_828_800, 2_871_763_200)),
            (1999, 2030, (943_833_600, 1_893_456_000)),
        ] {
            let read = Certificate::read(&made(from, until)).expect("a certificate");
            assert_eq!((read.from, read.until), seconds, "{from}");
            assert_eq!(read.rsa, None, "it is about another kind of key");
        }
    }

    #[test]
    fn what_is_no_certificate_is_told_apart() {
        let good = made(2026, 2036);
        for cut in 0..good.len().min(200) {
            assert_eq!(Certificate::read(&good[..cut]), None, "{cut}");
        }
        assert_eq!(Certificate::read(&[0x17, 13, 0x31]), None);
        for bad in
            ["\u{17}\u{d}261329000000Z", "\u{17}\u{d}2611290000000", "\u{18}\u{d}261129000000Z"]
        {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }
}
