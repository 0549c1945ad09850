//! API keys: `csk_`, 256 random bits and a checksum, so that a mistyped or truncated key is told from a dead one
//! and secret scanners can find leaked ones.

use data_encoding::BASE32_DNSSEC;
use rand::CryptoRng;
use statement::sha256;
use zeroize::Zeroizing;

const PREFIX: &str = "csk_";
const SECRET_LEN: usize = 32;
const CHECK_LEN: usize = 4;
/// How many characters after the prefix tell keys apart in lists: 40 of 256 bits.
const HINT_LEN: usize = 8;

/// A key as its owner has it. Redacted in `Debug`; only its hash is stored.
pub struct ApiKeyText(Zeroizing<String>);

impl std::fmt::Debug for ApiKeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKeyText(redacted)")
    }
}

fn check(secret: &[u8]) -> [u8; CHECK_LEN] {
    let hash = sha256(&[b"countersign/api-key-check/v1\0", secret]);
    [hash[0], hash[1], hash[2], hash[3]]
}

impl ApiKeyText {
    /// Draws a key.
    #[must_use]
    pub fn draw(rng: &mut dyn CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        rng.fill_bytes(secret.as_mut_slice());
        let bytes = Zeroizing::new([secret.as_slice(), &check(secret.as_slice())].concat());
        Self(Zeroizing::new(format!("{PREFIX}{}", BASE32_DNSSEC.encode(&bytes))))
    }

    /// A key that somebody sent; `None` if form or checksum are wrong.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        if digits.len() != ((SECRET_LEN + CHECK_LEN) * 8).div_ceil(5) {
            return None;
        }
        let bytes = Zeroizing::new(BASE32_DNSSEC.decode(digits.as_bytes()).ok()?);
        let (secret, sum) = bytes.split_at(SECRET_LEN);
        (check(secret) == sum).then(|| Self(Zeroizing::new(text.to_ascii_lowercase())))
    }

    /// The text to give out, once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored and looked up.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[b"countersign/api-key/v1\0", self.0.as_bytes()])
    }

    /// The first characters, to tell keys apart.
    #[must_use]
    pub fn hint(&self) -> String {
        self.0[..PREFIX.len() + HINT_LEN].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_key_parses_and_a_damaged_one_does_not() {
        let key = ApiKeyText::draw(&mut StdRng::seed_from_u64(1));
        let text = key.reveal().to_owned();
        let parsed = ApiKeyText::parse(&text).expect("the same key");
        assert_eq!(parsed.hash(), key.hash());
        let mut damaged = text.clone();
        let last = if damaged.ends_with('a') { 'e' } else { 'a' };
        damaged.replace_range(20..21, &last.to_string());
        assert!(damaged == text || ApiKeyText::parse(&damaged).is_none());
        assert!(ApiKeyText::parse(&text[..text.len() - 1]).is_none());
        assert!(!format!("{key:?}").contains(&text[4..12]));
    }
}
