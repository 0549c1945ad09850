//! Entra External MFA against the stand-in, over real sockets, with an authenticator that answers.

pub(crate) mod directory;
mod doctor;
mod enrolling;
mod good;
mod refused;
