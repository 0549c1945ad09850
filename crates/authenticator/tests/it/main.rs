//! The core against hand-made frames.

mod common;
mod connection;
mod enrolment;
mod properties;
mod vectors;
