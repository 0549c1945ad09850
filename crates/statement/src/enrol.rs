//! What a new device signs: first that it holds its key, then the number that its person typed.

use crate::{BadSignature, Bytes, IdentityHash, PublicKey, Signature, SigningKey};

const CLAIM_LABEL: &str = "countersign/enrol/v1";
const CONFIRM_LABEL: &str = "countersign/enrol-confirm/v1";

/// Claims a ticket for the key that signs. Carries the key itself, so that a claim can't be moved to another.
#[derive(Clone, Copy, Debug)]
pub struct EnrolClaim<'a> {
    /// SHA-256 of the ticket's secret, or of user name, zero byte and typed code.
    pub ticket: &'a [u8; 32],
    /// Hash of the server's identity key, from the link or confirmed by the person.
    pub server: &'a IdentityHash,
    /// The nonce of this connection.
    pub nonce: &'a [u8; 32],
}

impl EnrolClaim<'_> {
    fn bytes(&self, key: &PublicKey) -> Vec<u8> {
        Bytes::labelled(CLAIM_LABEL)
            .fixed(self.ticket)
            .fixed(self.server)
            .fixed(self.nonce)
            .fixed(&[key.algorithm() as u8])
            .prefixed(key.as_bytes())
            .done()
    }

    /// Signs with the new device's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Signature {
        key.sign(&self.bytes(key.public()))
    }

    /// Checks that the holder of `key` made the claim.
    ///
    /// # Errors
    /// [`BadSignature`] if any field differs from what was signed.
    pub fn verify(&self, key: &PublicKey, signature: &[u8]) -> Result<(), BadSignature> {
        key.verify(&self.bytes(key), signature)
    }
}

/// Ends an enrolment: the number that `ticket show` displays, typed on the new device.
#[derive(Clone, Copy, Debug)]
pub struct EnrolConfirm<'a> {
    /// As in the claim.
    pub ticket: &'a [u8; 32],
    /// The nonce of the connection that made the claim.
    pub nonce: &'a [u8; 32],
    /// The digits typed; empty if the server asked for none.
    pub number: &'a str,
}

impl EnrolConfirm<'_> {
    fn bytes(&self) -> Vec<u8> {
        Bytes::labelled(CONFIRM_LABEL)
            .fixed(self.ticket)
            .fixed(self.nonce)
            .prefixed(self.number.as_bytes())
            .done()
    }

    /// Signs with the new device's key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Signature {
        key.sign(&self.bytes())
    }

    /// Checks against the claiming key.
    ///
    /// # Errors
    /// [`BadSignature`] if any field differs from what was signed.
    pub fn verify(&self, key: &PublicKey, signature: &[u8]) -> Result<(), BadSignature> {
        key.verify(&self.bytes(), signature)
    }
}
