//! What a device signs when a person answers a challenge.

use serde::{Deserialize, Serialize};

use crate::{BadSignature, Bytes, DeviceId, PublicKey, Signature, SigningKey, sha256};

const LABEL: &str = "countersign/answer/v1";

/// The longest number that may be typed, in digits.
pub const MAX_NUMBER_LEN: usize = 8;

/// What the person chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum AnswerDecision {
    /// They typed the number.
    Approve = 1,
    /// They declined.
    Deny = 2,
    /// They declined and say that it wasn't them.
    Report = 3,
}

impl AnswerDecision {
    /// From its number on the wire.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Approve),
            2 => Some(Self::Deny),
            3 => Some(Self::Report),
            _ => None,
        }
    }
}

/// The answer statement. `challenge` is hashed exactly as it was received.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The challenge bytes as received, signature not included.
    pub challenge: &'a [u8],
    /// The device that answers.
    pub device: DeviceId,
    /// What the person chose.
    pub decision: AnswerDecision,
    /// The digits that they typed; empty unless approving. At most [`MAX_NUMBER_LEN`].
    pub number: &'a str,
    /// Whether the device checked its owner (PIN, biometrics) for this answer (NIST 800-63B-4 §3.1.3.4).
    pub user_verified: bool,
    /// Grows by one with every answer of the device; a value seen before hints at a copied key.
    pub counter: u64,
}

impl Answer<'_> {
    fn bytes(&self) -> Vec<u8> {
        Bytes::labelled(LABEL)
            .fixed(&[1]) // how many challenges this answers: always one in v1
            .fixed(&sha256(&[self.challenge]))
            .fixed(self.device.as_bytes())
            .fixed(&[self.decision as u8])
            .prefixed(self.number.as_bytes())
            .fixed(&[u8::from(self.user_verified)])
            .fixed(&self.counter.to_be_bytes())
            .done()
    }

    /// Signs with the device's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Signature {
        key.sign(&self.bytes())
    }

    /// Checks against the device's key.
    ///
    /// # Errors
    /// [`BadSignature`] if any field differs from what was signed.
    pub fn verify(&self, key: &PublicKey, signature: &[u8]) -> Result<(), BadSignature> {
        if self.number.len() > MAX_NUMBER_LEN {
            return Err(BadSignature);
        }
        key.verify(&self.bytes(), signature)
    }
}
