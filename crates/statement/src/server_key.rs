//! The server's two kinds of key: one identity that devices pin, and the rotating keys that it certifies.

use data_encoding::HEXLOWER;

use crate::{BadSignature, Bytes, PublicKey, Signature, SigningKey, Timestamp, sha256};

/// The label in front of challenge bytes when they are signed.
pub const CHALLENGE_LABEL: &str = "countersign/challenge/v1";
const CERTIFICATE_LABEL: &str = "countersign/certificate/v1";

/// SHA-256 of the identity key's algorithm byte and bytes. Devices pin it.
pub type IdentityHash = [u8; 32];

impl PublicKey {
    /// The hash by which devices pin this key if it is a server's identity.
    #[must_use]
    pub fn identity_hash(&self) -> IdentityHash {
        sha256(&[&[self.algorithm() as u8], self.as_bytes()])
    }
}

/// The first 128 bits of an identity hash in groups of four hex digits, for a person to compare.
#[must_use]
pub fn fingerprint(identity: &IdentityHash) -> String {
    let hex = HEXLOWER.encode(&identity[..16]);
    let groups: Vec<&str> = (0..8).map(|group| &hex[group * 4..group * 4 + 4]).collect();
    groups.join(" ")
}

/// The identity key's word that `key` signs challenges from `not_before` until `not_after`. Devices have no
/// clock, so they hold the window against nothing; it is there for auditors and for later versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The challenge-signing key.
    pub key: PublicKey,
    /// First moment of use.
    pub not_before: Timestamp,
    /// Last moment of use.
    pub not_after: Timestamp,
}

impl Certificate {
    fn bytes(&self) -> Vec<u8> {
        Bytes::labelled(CERTIFICATE_LABEL)
            .fixed(&[self.key.algorithm() as u8])
            .prefixed(self.key.as_bytes())
            .fixed(&self.not_before.millis().to_be_bytes())
            .fixed(&self.not_after.millis().to_be_bytes())
            .done()
    }

    /// Signs with the identity key.
    #[must_use]
    pub fn sign(&self, identity: &SigningKey) -> Signature {
        identity.sign(&self.bytes())
    }

    /// Checks against the identity key.
    ///
    /// # Errors
    /// [`BadSignature`] if any field differs from what was signed.
    pub fn verify(&self, identity: &PublicKey, signature: &[u8]) -> Result<(), BadSignature> {
        identity.verify(&self.bytes(), signature)
    }
}

/// Challenge bytes, to be signed once by the server and checked by every device that is shown them.
#[derive(Clone, Copy, Debug)]
pub struct SignedChallenge<'a>(pub &'a [u8]);

impl SignedChallenge<'_> {
    fn bytes(self) -> Vec<u8> {
        Bytes::labelled(CHALLENGE_LABEL).fixed(self.0).done()
    }

    /// Signs with a challenge-signing key.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> Signature {
        key.sign(&self.bytes())
    }

    /// Checks against a certified challenge-signing key.
    ///
    /// # Errors
    /// [`BadSignature`] if a byte differs from what was signed.
    pub fn verify(self, key: &PublicKey, signature: &[u8]) -> Result<(), BadSignature> {
        key.verify(&self.bytes(), signature)
    }
}
