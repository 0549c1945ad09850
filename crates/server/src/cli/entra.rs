//! `entra`: what it takes.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

use super::Where;

/// `entra`.
#[derive(Debug, Subcommand)]
pub enum Entra {
    /// Play Entra on this machine: a sign-in page, a hint, and a verdict on the answer in plain words
    Fake(EntraFake),
    /// Look at what a server publishes as Entra would, and say what Entra's error codes mean
    Doctor(EntraDoctor),
}

/// `entra fake`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --client-id it says how to register it. Nothing here is Microsoft's: whether the \
    real Entra is content, only the real one shows."
)]
pub struct EntraFake {
    /// Where to listen, on loopback
    #[arg(long, value_name = "A:P", default_value = "127.0.0.1:8480")]
    pub listen: SocketAddr,
    /// The issuer of the server under test
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8470/entra")]
    pub provider: String,
    /// What `admin integration create --kind entra` printed
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The directory that it plays
    #[arg(
        long,
        alias = "tenant-id",
        value_name = "GUID",
        default_value = "11111111-2222-4333-8444-555555555555"
    )]
    pub directory_id: String,
    /// The application that hints are made out to
    #[arg(long, value_name = "GUID", default_value = "66666666-7777-4888-9999-000000000000")]
    pub app_id: String,
    /// The person who signs in
    #[arg(long, value_name = "GUID", default_value = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")]
    pub object_id: String,
    /// What they are called
    #[arg(long, value_name = "NAME", default_value = "alice@example.com")]
    pub name: String,
}

/// `entra doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: countersign entra doctor --provider https://mfa.example.com/entra"
)]
pub struct EntraDoctor {
    /// The issuer: the server's public_url and /entra
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8470/entra")]
    pub provider: String,
    /// The client id that Entra was given; all of the server's if it runs here
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The App ID that Entra was given, to be compared with the one that is registered here
    #[arg(long, value_name = "GUID")]
    pub app_id: Option<String>,
    /// Settings and data of the server, if it runs here.
    #[command(flatten)]
    pub place: Where,
    /// Say what a code of Entra's means, such as AADSTS50161
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
}
