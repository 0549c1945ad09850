//! What a receipt says, truthfully (RFC 8176, RFC 9470): never `fido`, never phishing resistant.

use crate::challenge::Proof;
use crate::number::DEFAULT_DIGITS;

/// Longest life of a receipt in seconds.
pub const LIFE_S: u64 = 60;

/// The authentication context class of a sign-in that `proof` passed, with a number of so many digits. Fewer than
/// six don't conform to NIST 800-63B-4 §3.1.3.2, and whoever relies on it can tell.
#[must_use]
pub const fn acr(proof: Proof, digits: u8) -> &'static str {
    match proof {
        Proof::Push(_) if digits < DEFAULT_DIGITS => "urn:countersign:acr:number-match-familiar",
        Proof::Push(_) | Proof::Both(..) | Proof::BothByRecoveryCode(..) => {
            "urn:countersign:acr:number-match"
        }
        Proof::Totp(_) => "urn:countersign:acr:totp",
        Proof::RecoveryCode(_) => "urn:countersign:acr:recovery-code",
    }
}

/// The authentication methods of a sign-in that `proof` passed. Push: a software key, proof of possession,
/// and a person (RFC 8176). A recovery code has no registered value.
#[must_use]
pub const fn amr(proof: Proof) -> &'static [&'static str] {
    match proof {
        Proof::Push(_) => &["swk", "pop", "user"],
        Proof::Both(..) => &["swk", "pop", "user", "otp"],
        Proof::BothByRecoveryCode(..) => &["swk", "pop", "user", "recovery_code"],
        Proof::Totp(_) => &["otp"],
        Proof::RecoveryCode(_) => &["recovery_code"],
    }
}
