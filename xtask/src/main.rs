//! The project's tasks: `cargo xtask test`, `layers`, `tidy`, `countries`, `profile`.
//!
//! Exit codes follow the product's: 0 all is well, 1 something was found wrong, 2 usage.

mod clock;
mod countries;
mod layers;
mod profile;
mod stages;
mod tidy;
mod toml_lines;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check which crate may name which, licences, and what must not be in the tree
    Layers {
        /// Read this output of `cargo metadata --format-version 1` instead of running cargo
        #[arg(long, value_name = "FILE")]
        metadata: Option<PathBuf>,
    },
    /// Check sizes, leftovers, sleeps in tests and links in the tracked files
    Tidy,
    /// Make the table of countries that is built into the server from the release that Cargo.lock names
    Countries {
        /// Only say whether the committed table is that one
        #[arg(long)]
        check: bool,
    },
    /// Make the profile anew by which releases are compiled: programs that count, under the load test's plans
    Profile,
    /// The test command: every check, every test, the release build and its smoke runs
    Test(stages::TestArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = workspace_root().and_then(|root| match cli.task {
        Task::Layers { metadata } => layers::run(&root, metadata.as_deref()),
        Task::Tidy => tidy::run(&root),
        Task::Countries { check } => countries::run(&root, check),
        Task::Profile => profile::run(&root),
        Task::Test(args) => stages::run(&root, &args),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(1)
        }
    }
}

/// The nearest folder upwards that holds a lock file and this crate, so that the tasks work from
/// anywhere inside the tree and a moved checkout needs no rebuild.
fn workspace_root() -> Result<PathBuf, String> {
    let here =
        std::env::current_dir().map_err(|e| format!("can't read the current folder: {e}"))?;
    here.ancestors()
        .find(|dir| dir.join("Cargo.lock").is_file() && dir.join("xtask").is_dir())
        .map(PathBuf::from)
        .ok_or_else(|| format!("{} is not inside the workspace", here.display()))
}

/// Cargo: the one that runs us.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Joins findings into one message, or answers with the summary when there are none.
fn report(task: &str, findings: &[String], clean: &str) -> Result<(), String> {
    if findings.is_empty() {
        println!("{task}: {clean}");
        return Ok(());
    }
    let mut message = String::new();
    for finding in findings {
        message.push_str(&format!("{task}: {finding}\n"));
    }
    message.push_str(&format!("{task}: {} found", findings.len()));
    Err(message)
}
