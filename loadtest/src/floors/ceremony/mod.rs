//! `cer_raw`: a whole ceremony with the product's calls, bytes and signatures, and nothing else. All of it is in
//! memory, on one thread; no rule beyond those that make a ceremony one: who asks is checked, what is shown is
//! signed, an answer's signature and number are checked, it decides once, and is redeemed once.
//!
//! `cer_durable`: the same, but what follows from a row leaves when SQLite has it, from a second thread.

pub(crate) mod bytes;
mod connection;
mod outbox;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use connection::serve;
pub(crate) use state::Counts;

/// What integrations of a floor show; as long as the product's.
pub(crate) const API_KEY: &str = "csk_floor_0000000000000000000000000000000000000000000000000000";
/// Where challenges are created.
pub(crate) const CHALLENGES: &str = "/v1/challenges";
/// What the server has counted so far.
pub(crate) const COUNTS: &str = "/floor";
