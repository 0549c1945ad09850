//! The REST edge and the operators' edge on the real embedded store, on virtual time, without sockets.

#![expect(clippy::unwrap_used, reason = "a helper that can't go on says where")]

mod access;
mod admin;
mod bad_input;
mod challenges;
mod idempotency;
mod overload;
mod users;
mod waiting;
mod world;
