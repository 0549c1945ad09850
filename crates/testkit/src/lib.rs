//! The conformance suites of the ports, and a set-up in one sentence.
//!
//! Each suite takes a factory and runs named rules, every rule on a fresh backend; a failure names the rule
//! that was broken. Ids and keys come from seeds and time from a [`TestClock`], so a failure repeats.
//!
//! Architecture invariant: only dev-dependencies name this crate.

mod backend;
mod clock;
mod courier;
mod directory;
mod fixture;
mod hot;
mod ledger;
mod mmdb;
mod rules;
mod vault;

pub use backend::Backend;
pub use clock::TestClock;
pub use courier::courier_suite;
pub use directory::directory_suite;
pub use fixture::{Fixture, fresh, opened};
pub use hot::hot_suite;
pub use ledger::ledger_suite;
pub use mmdb::Mmdb;
pub use rules::{race, within};
pub use vault::vault_suite;
