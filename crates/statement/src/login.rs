//! How a device proves its key when it connects.

use crate::{
    BadSignature, Bytes, DeviceId, IdentityHash, PublicKey, Signature, SigningKey, TenantId,
};

const LABEL: &str = "countersign/login/v1";

/// The login statement: fresh by the server's nonce, so that devices need no clock, and bound to the server's
/// identity, so that a rogue server can't relay it.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// Hash of the identity key that the device pinned.
    pub server: &'a IdentityHash,
    /// The device's tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The nonce of this connection.
    pub nonce: &'a [u8; 32],
}

impl Login<'_> {
    fn bytes(&self) -> Vec<u8> {
        Bytes::labelled(LABEL)
            .fixed(self.server)
            .fixed(self.tenant.as_bytes())
            .fixed(self.device.as_bytes())
            .fixed(self.nonce)
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
        key.verify(&self.bytes(), signature)
    }
}
