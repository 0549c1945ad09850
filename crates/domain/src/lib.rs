//! The rules of a number-matching ceremony.
//!
//! Architecture invariant: nothing here does I/O, reads a clock or draws randomness of its own. Every rule is
//! `state + facts + now (+ rng) -> new state or typed refusal`, and every bound is a constant with a reason.

pub mod answer;
pub mod api_key;
pub mod attempts;
pub mod audit;
pub mod challenge;
pub mod cookie;
pub mod create;
pub mod directory;
pub mod guard;
pub mod lab;
pub mod notice;
pub mod number;
pub mod protocol;
pub mod receipt;
pub mod recovery;
pub mod ticket;
pub mod totp;
