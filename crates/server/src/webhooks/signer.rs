//! Signatures of Standard Webhooks 1.0.0: <https://www.standardwebhooks.com>.

use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a secret starts with, so that scanners find one that has leaked.
const PREFIX: &str = "whsec_";
/// Bytes that a secret may have: the standard's bounds.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets that sign at the same time: the old and the new one, while the receiver changes over.
const MAX_SECRETS: usize = 2;
/// What a signature of this kind starts with: HMAC-SHA256.
const VERSION: &str = "v1";

/// Why a text is no secret. Never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing there.
    #[error("holds no secret: make one with: echo whsec_$(openssl rand -base64 32)")]
    Missing,
    /// More than a change needs.
    #[error("holds more than two secrets: the old and the new one are enough")]
    TooMany,
    /// Not what the standard calls a secret.
    #[error("must be whsec_ and 24 to 64 random bytes in base64")]
    Malformed,
}

/// Signs messages with one secret, or with the old and the new one.
#[derive(Clone)]
pub(crate) struct Signer(Vec<Zeroizing<Vec<u8>>>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Signer {
    /// From secrets separated by white space.
    pub(crate) fn from_text(text: &str) -> Result<Self, SecretError> {
        let secrets: Vec<_> = text.split_whitespace().map(secret).collect::<Result<_, _>>()?;
        match secrets.len() {
            0 => Err(SecretError::Missing),
            1..=MAX_SECRETS => Ok(Self(secrets)),
            _ => Err(SecretError::TooMany),
        }
    }

    /// The header `webhook-signature`: one signature for each secret. `timestamp` is in seconds.
    pub(crate) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|secret| {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(secret).expect("any length of key will do");
            mac.update(id.as_bytes());
            mac.update(format!(".{timestamp}.").as_bytes());
            mac.update(body);
            format!("{VERSION},{}", BASE64.encode(&mac.finalize().into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn secret(text: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Malformed)?;
    let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| SecretError::Malformed)?;
    let bytes = Zeroizing::new(bytes);
    if SECRET_BYTES.contains(&bytes.len()) { Ok(bytes) } else { Err(SecretError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn sign(secrets: &str) -> String {
        let signer = Signer::from_text(secrets).unwrap();
        let body = br#"{"test": 2432232314}"#;
        signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    }

    #[test]
    fn the_standards_own_vector() {
        assert_eq!(sign(SECRET), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_changes_both_sign() {
        let other = format!("whsec_{}", BASE64.encode(&[7; 64]));
        let both = sign(&format!("{SECRET}\n{other}\n"));
        assert_eq!(both, format!("{} {}", sign(SECRET), sign(&other)));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        let of = |bytes: usize| format!("whsec_{}", BASE64.encode(&vec![1; bytes]));
        let refused = |text: &str| Signer::from_text(text).unwrap_err();
        assert_eq!(refused(" \n"), SecretError::Missing);
        assert_eq!(refused(&[of(24), of(25), of(26)].join(" ")), SecretError::TooMany);
        for text in [&of(23), &of(65), "whsec_", "whsec_!!!!", &SECRET[6..], "hunter2"] {
            assert_eq!(refused(text), SecretError::Malformed, "{text}");
            assert!(!refused(text).to_string().contains("hunter2"));
        }
        assert_eq!(format!("{:?}", Signer::from_text(SECRET).unwrap()), "Signer(..)");
    }
}
