//! Ids, timestamps and every byte string that is signed: built, signed and verified in one place.
//!
//! Server and device both read this crate, so signed bytes exist once. Each byte string starts with its own
//! label and a zero byte: a signature made for one purpose never verifies for another. No field is
//! re-serialised before it is signed or checked; variable fields carry their length.

mod answer;
mod audit;
pub mod crockford;
mod enrol;
mod ids;
mod keys;
mod link;
mod login;
mod number;
mod server_key;
mod time;

pub use answer::{Answer, AnswerDecision, MAX_NUMBER_LEN};
pub use audit::{AuditLink, Checkpoint, LaneHead};
pub use enrol::{EnrolClaim, EnrolConfirm};
pub use ids::{
    ChallengeId, DeviceId, EventId, FactorId, IdError, IntegrationId, TenantId, TicketId, UserId,
};
pub use keys::{
    Algorithm, BadSignature, KeyError, PublicKey, SIGNATURE_LEN, Signature, SigningKey,
};
pub use link::{
    EnrolLink, LinkError, ServerUrl, TICKET_CODE_LEN, TICKET_SECRET_LEN, UrlError,
    ticket_code_hash, ticket_secret_hash,
};
pub use login::Login;
pub use number::{TypedNumberError, typed_number};
pub use server_key::{CHALLENGE_LABEL, Certificate, IdentityHash, SignedChallenge, fingerprint};
pub use time::Timestamp;

/// A growing byte string with a label in front: the only way signed bytes are put together.
struct Bytes(Vec<u8>);

impl Bytes {
    fn labelled(label: &str) -> Self {
        let mut bytes = Vec::with_capacity(192);
        bytes.extend_from_slice(label.as_bytes());
        bytes.push(0);
        Self(bytes)
    }

    fn fixed(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(field);
        self
    }

    /// A field of variable length: one length byte, then the field. Callers bound it below 256.
    fn prefixed(mut self, field: &[u8]) -> Self {
        let len = u8::try_from(field.len()).unwrap_or(u8::MAX);
        self.0.push(len);
        self.0.extend_from_slice(&field[..usize::from(len)]);
        self
    }

    fn done(self) -> Vec<u8> {
        self.0
    }
}

/// SHA-256 of `parts` laid end to end.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
