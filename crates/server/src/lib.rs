//! The programs: serve, demo, admin, doctor. The only crate that names edges and backends, and the one place
//! where the real clock is read and randomness is drawn.

pub mod admin_client;
pub mod admin_socket;
pub mod clock;
pub mod config;
mod config_keys;
pub mod connections;
pub mod data_dir;
pub mod listener;
pub mod logging;
pub mod operations;
pub mod tls;
