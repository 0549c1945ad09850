//! What a receipt says, truthfully (RFC 8176, RFC 9470): never `fido`, never phishing resistant.

use crate::challenge::Method;

/// Longest life of a receipt in seconds.
pub const LIFE_S: u64 = 60;

/// The authentication context class of a sign-in passed by `method`.
#[must_use]
pub const fn acr(method: Method) -> &'static str {
    match method {
        Method::Push => "urn:countersign:acr:number-match",
        Method::Totp => "urn:countersign:acr:totp",
        Method::RecoveryCode => "urn:countersign:acr:recovery-code",
    }
}

/// The authentication methods of a sign-in passed by `method`. Push: a software key, proof of possession,
/// and a person (RFC 8176). A recovery code has no registered value.
#[must_use]
pub const fn amr(method: Method) -> &'static [&'static str] {
    match method {
        Method::Push => &["swk", "pop", "user"],
        Method::Totp => &["otp"],
        Method::RecoveryCode => &["recovery_code"],
    }
}
