//! The programs: serve, demo, admin, doctor. The only crate that names edges and backends, and the one place
//! where the real clock is read and randomness is drawn.

pub mod config;
mod config_keys;
pub mod connections;
pub mod listener;
pub mod tls;
