//! Runs what the command line asks for.

use std::io::{self, Write};

use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Command, ConfigCommand, Where, visible};
use crate::config::{self, Issues, Loaded, Sources};
use crate::exit::Exit;
use crate::listener::raise_open_files;
use crate::{admin_commands, atlas, audit_commands, clock, doctor, entra, guard, serve_commands};

/// The program: reads the command line and runs it.
#[must_use]
pub fn main() -> Exit {
    // clap prints and exits by itself: 0 after help, 2 after a usage error
    let cli = Cli::parse();
    if let Some(why) = cli.command.later() {
        eprintln!("error: {why}");
        return Exit::Usage;
    }
    let json = cli.json;
    match cli.command {
        Command::Config(ConfigCommand::Check(place)) => check(&place, json),
        Command::Config(ConfigCommand::Print { place, .. }) => print(&place, json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let mut offered = visible(&Cli::command());
            clap_complete::generate(shell, &mut offered, "countersign", &mut script);
            show(&String::from_utf8_lossy(&script))
        }
        Command::Doctor(place) => run(async move {
            let report = doctor::examine(settings(&place), clock::now(), raise_open_files()).await;
            if json {
                show(&report.json().to_string());
            } else {
                show(&report.text());
            }
            if report.is_ok() { Exit::Ok } else { Exit::Wrong }
        }),
        Command::Demo(command) => run(serve_commands::demo(command, json)),
        Command::Serve(command) => run(serve_commands::serve(command)),
        Command::Admin(command) => run(admin_commands::admin(command, json)),
        Command::Events(command) => run(admin_commands::events(command, json)),
        Command::Why(command) => run(admin_commands::why(command, json)),
        Command::Audit(command) => run(audit_commands::audit(command, json)),
        Command::Guard(command) => guard::guard(command, json),
        Command::Entra(command) => run(entra::entra(command, json)),
        // answered above
        Command::Backup(_) | Command::Restore(_) | Command::Migrate(_) => Exit::Usage,
    }
}

/// Runs a command that waits.
pub(crate) fn run(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            eprintln!("error: can't start: {error}");
            Exit::Unreachable
        }
    }
}

/// The settings that a command goes by.
pub(crate) fn settings(place: &Where) -> Result<Loaded, Issues> {
    config::load(&Sources {
        file: place.config.clone(),
        env: std::env::vars_os().collect(),
        listen: None,
        data: place.data.clone(),
    })
}

fn check(place: &Where, json: bool) -> Exit {
    let settings = settings(place).and_then(|loaded| match atlas::check(&loaded) {
        Some(issue) => Err(Issues(vec![issue])),
        None => Ok(loaded),
    });
    match settings {
        Ok(_) if json => show(&Issues(Vec::new()).json().to_string()),
        Ok(_) => show("the settings are fine"),
        Err(issues) => {
            let text = if json { issues.json().to_string() } else { issues.to_string() };
            show(&text);
            Exit::Wrong
        }
    }
}

fn print(place: &Where, json: bool) -> Exit {
    match settings(place) {
        Ok(loaded) if json => show(&loaded.json().to_string()),
        Ok(loaded) => show(&loaded.print()),
        Err(issues) => {
            eprintln!("{issues}");
            Exit::Usage
        }
    }
}

/// Prints a result. Whoever stops reading early (`| head`) has what they want.
pub(crate) fn show(text: &str) -> Exit {
    is_shown(text);
    Exit::Ok
}

/// Prints a part of a stream; `false` once nobody reads any more.
pub(crate) fn is_shown(text: &str) -> bool {
    writeln!(io::stdout().lock(), "{}", text.trim_end()).is_ok()
}
