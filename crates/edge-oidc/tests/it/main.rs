//! What browsers and clients can send, changed at random: each answer goes where it may, and nothing else happens.
//!
//! A share of the tries; more with `COUNTERSIGN_TEST_FULL` set. A day's share is the same each time; what more tries
//! find is written to tests/proptest-regressions, for ever to be tried first. The corpus is tried as it stands, and is what is changed.

mod authorize;
mod changes;
mod ciba;
mod hint;
mod id_tokens;
mod words;
mod world;
