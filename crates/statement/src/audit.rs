//! The bytes of the audit chain: how a row hangs on the one before, and what a checkpoint signs.

use crate::{BadSignature, Bytes, PublicKey, Signature, SigningKey, TenantId, Timestamp, sha256};

const ROW_LABEL: &[u8] = b"countersign/audit/v1\0";
const PRIVATE_LABEL: &[u8] = b"countersign/audit-private/v1\0";
const CHECKPOINT_LABEL: &str = "countersign/checkpoint/v1";

/// One row of a lane, as far as the chain covers it.
#[derive(Clone, Copy, Debug)]
pub struct AuditLink<'a> {
    /// Whose lane.
    pub tenant: TenantId,
    /// Which lane: one process run's own stretch.
    pub lane: u64,
    /// Place in the lane, from 1.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The public part, exactly as stored.
    pub public: &'a [u8],
    /// The commitment to the private part: see [`AuditLink::commitment`].
    pub private: &'a [u8; 32],
}

impl AuditLink<'_> {
    /// The salted hash that stands for a private part, so that erasing the part leaves the chain whole.
    #[must_use]
    pub fn commitment(salt: &[u8; 16], private: &[u8]) -> [u8; 32] {
        sha256(&[PRIVATE_LABEL, salt, private])
    }

    /// The row's hash, given that of the row before it (zeros for the first).
    #[must_use]
    pub fn hash(&self, previous: &[u8; 32]) -> [u8; 32] {
        sha256(&[
            ROW_LABEL,
            previous,
            self.tenant.as_bytes(),
            &self.lane.to_be_bytes(),
            &self.seq.to_be_bytes(),
            &self.at.millis().to_be_bytes(),
            self.private,
            self.public,
        ])
    }
}

/// Where a lane stood at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneHead {
    /// The lane.
    pub lane: u64,
    /// Its last sequence number.
    pub seq: u64,
    /// The hash of that row.
    pub hash: [u8; 32],
}

/// A signed list of all lane heads of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose.
    pub tenant: TenantId,
    /// Counts from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Hash of the checkpoint before it; zeros for the first.
    pub previous: [u8; 32],
    /// Every lane's head, by lane.
    pub heads: Vec<LaneHead>,
}

impl Checkpoint {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Bytes::labelled(CHECKPOINT_LABEL)
            .fixed(self.tenant.as_bytes())
            .fixed(&self.number.to_be_bytes())
            .fixed(&self.at.millis().to_be_bytes())
            .fixed(&self.previous)
            .fixed(&(self.heads.len() as u64).to_be_bytes());
        for head in &self.heads {
            bytes = bytes
                .fixed(&head.lane.to_be_bytes())
                .fixed(&head.seq.to_be_bytes())
                .fixed(&head.hash);
        }
        bytes.done()
    }

    /// Its hash, which the next one names.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.bytes()])
    }

    /// Signs with the audit key.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Signature {
        key.sign(&self.bytes())
    }

    /// Checks against the audit key.
    ///
    /// # Errors
    /// [`BadSignature`] if any field differs from what was signed.
    pub fn verify(&self, key: &PublicKey, signature: &[u8]) -> Result<(), BadSignature> {
        key.verify(&self.bytes(), signature)
    }
}
