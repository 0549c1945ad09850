//! The command-line authenticator.
//!
//! Exit codes: 0 ok, 1 found wrong, 2 usage, 3 unreachable, 4 refused. With `--json` everything on stdout is
//! one JSON value, or one per line for what goes on; people's text and logs go to stderr.

mod accounts;
mod args;
mod enrol;
mod failure;
mod human;
mod input;
mod json;
mod listen;
mod output;
mod passphrase;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use failure::Failure;
use output::say;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // --help and --version come here too, and go to stdout
            let code = if error.use_stderr() { failure::USAGE } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(failure::WRONG),
            };
        }
    };
    log_to_stderr();
    let json = args.json;
    let code = match run(args) {
        Ok(()) => 0,
        Err(failure) => {
            if json {
                say(&json::error(None, failure.name, &failure.text).to_string());
            } else {
                eprintln!("error: {}", failure.text);
            }
            failure.code
        }
    };
    // at once: a thread may still wait for a line of input that nobody needs any more
    std::process::exit(i32::from(code))
}

fn run(args: Args) -> Result<(), Failure> {
    let home = args.home()?;
    let passphrase_file = args.passphrase_file.clone();
    let key_file = |fresh: bool| passphrase::key_file(&home, passphrase_file.as_deref(), fresh);
    match args.command {
        Command::Enrol(command) => runtime()?.block_on(enrol::run(command, args.json, key_file)),
        Command::Listen => runtime()?.block_on(listen::run(args.json, key_file(false)?)),
        Command::Accounts => accounts::list(args.json, &key_file(false)?),
        Command::Code { account } => accounts::code(args.json, &key_file(false)?, &account),
        Command::Remove { account, yes } => {
            accounts::remove(args.json, &key_file(false)?, &account, yes)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::wrong("runtime", error))
}

/// Warnings unless `COUNTERSIGN_LOG` says otherwise. The WebSocket library is never heard: at its lowest level
/// it prints whole frames, and those hold secrets.
fn log_to_stderr() {
    let filter = std::env::var("COUNTERSIGN_LOG").unwrap_or_else(|_| "error".to_owned());
    let filter = format!("{filter},tungstenite=off,tokio_tungstenite=off");
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .init();
}
