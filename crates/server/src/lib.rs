//! The programs: serve, demo, admin, doctor. The only crate that names edges and backends, and the one place
//! where the real clock is read and randomness is drawn.

pub mod admin_client;
mod admin_commands;
pub mod admin_socket;
mod atlas;
mod audit_commands;
mod authenticator;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
mod config_keys;
pub mod connections;
pub mod data_dir;
pub mod demo;
pub mod doctor;
pub mod entra;
pub mod exit;
mod fetch;
mod guard;
pub mod listener;
pub mod logging;
pub mod node;
pub mod operations;
mod qr;
mod serve_commands;
pub mod tls;
pub mod webhooks;
