//! The command line.

mod admin;
mod entra;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use admin::{
    Admin, Device, Factor, FactorType, Integration, Key, Keys, Link, Listing, Method,
    NewIntegration, Noun, OfUser, Purpose, Scope, Tenant, Ticket, User, Webhook,
};
pub use entra::{Entra, EntraDoctor, EntraFake};

const EXAMPLES: &str = "\
Start here:
  countersign demo                       sign in once, with nothing set up
  countersign serve                      a server on 127.0.0.1:8470, data in ./countersign-data
  countersign admin integration create --name vpn
  countersign admin user create --name alice
  countersign admin ticket create --user alice
  countersign doctor                     what is wrong, and the next step

Exit codes: 0 ok, 1 found something wrong, 2 usage, 3 unreachable, 4 refused.
Settings: docs/configuration.md, or `countersign config print --redacted`.";

/// Self-hosted push sign-in with number matching: a second factor, it checks no password.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// Print results as JSON: one value, or one a line for streams
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try it: a server, a page to sign in at, and an authenticator to answer with
    Demo(Demo),
    /// Run the server
    Serve(Serve),
    /// Manage integrations, users, tickets, factors and devices
    Admin(Admin),
    /// Show the sign-in log
    Events(Events),
    /// Say in one sentence why a challenge rang, stayed silent, was refused or was a decoy
    Why(Why),
    /// Check that nobody has tampered with the audit trail
    #[command(subcommand)]
    Audit(Audit),
    /// Look at the guard: its numbers, what they buy, and what it would decide
    #[command(subcommand)]
    Guard(Guard),
    /// Microsoft Entra External MFA: try it on this machine, and see whether Entra would be content
    #[command(subcommand)]
    Entra(Entra),
    /// Look for what is wrong and name the next step
    Doctor(Where),
    /// Check or show the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example: countersign completions bash > /etc/bash_completion.d/countersign"
    )]
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Comes in a later version
    #[command(hide = true)]
    Backup(Later),
    /// Comes in a later version
    #[command(hide = true)]
    Restore(Later),
    /// Comes in a later version
    #[command(hide = true)]
    Migrate(Later),
}

/// Where a server's settings and data are.
#[derive(Clone, Debug, Default, Args)]
pub struct Where {
    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory [default: ./countersign-data]
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
}

/// `demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Everything is temporary and stays on this machine. `--script` runs every kind of \
    ceremony without a human and exits 0 only if each ended as it should."
)]
pub struct Demo {
    /// Where to listen, on loopback [default: 127.0.0.1:8470]; `--script` takes free ports
    #[arg(long, value_name = "A:P", conflicts_with = "script")]
    pub listen: Option<SocketAddr>,
    /// Where the web authenticator is, on loopback [default: 127.0.0.1:8472, or any free port where --listen
    /// is given]
    #[arg(long, value_name = "A:P")]
    pub authenticator: Option<SocketAddr>,
    /// Run every ceremony by itself
    #[arg(long)]
    pub script: bool,
    /// Keep the log of the script's server in this file
    #[arg(long, value_name = "FILE", requires = "script")]
    pub server_log: Option<PathBuf>,
    /// Watch the guard hold off an hour of pestering and a night flood
    #[arg(long, conflicts_with_all = ["script", "listen", "authenticator"])]
    pub attack: bool,
}

/// `serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints `listening on ..`, `admin on ..` and, where there is a web authenticator, \
    `authenticator on ..` to stdout when ready; all else goes to stderr. SIGTERM or Ctrl-C stops it: \
    requests finish, devices are told to come back."
)]
pub struct Serve {
    /// Settings and data.
    #[command(flatten)]
    pub place: Where,
    /// Where to listen [default: 127.0.0.1:8470]
    #[arg(long, value_name = "A:P")]
    pub listen: Option<SocketAddr>,
}

/// `events`.
#[derive(Debug, Args)]
#[command(after_help = "Example: countersign events --follow --user alice --json")]
pub struct Events {
    /// Settings and data.
    #[command(flatten)]
    pub place: Where,
    /// The organisation; only where there are several
    #[arg(long, value_name = "T", hide = true)]
    pub tenant: Option<String>,
    /// Go on as they happen
    #[arg(long)]
    pub follow: bool,
    /// Only of this user
    #[arg(long, value_name = "U", value_parser = user_ref)]
    pub user: Option<String>,
    /// Only of this type
    #[arg(long, value_name = "TYPE")]
    pub r#type: Option<String>,
    /// Only of this integration
    #[arg(long, value_name = "ID")]
    pub integration: Option<String>,
    /// Only from this time on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
}

/// `why`.
#[derive(Debug, Args)]
pub struct Why {
    /// Settings and data.
    #[command(flatten)]
    pub place: Where,
    /// The organisation; only where there are several
    #[arg(long, value_name = "T", hide = true)]
    pub tenant: Option<String>,
    /// The challenge's id (chl_..)
    pub challenge: String,
}

/// `audit`.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Walk every record; exit 1 and the first broken one if anything was changed, dropped or reordered
    Verify {
        /// Settings and data.
        #[command(flatten)]
        place: Where,
        /// A checkpoint kept elsewhere: nothing behind it may be cut off either
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Write a signed checkpoint, to be kept elsewhere
    Checkpoint {
        /// Settings and data.
        #[command(flatten)]
        place: Where,
        /// Where to write it
        #[arg(long, value_name = "F")]
        out: PathBuf,
    },
}

/// `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Tell everything that is wrong with the settings, by file and line
    Check(Where),
    /// Print the settings in effect, and where each came from
    Print {
        /// Settings and data.
        #[command(flatten)]
        place: Where,
        /// Without secrets; always so: settings name files, they hold no secrets
        #[arg(long)]
        redacted: bool,
    },
}

/// `guard`.
#[derive(Debug, Subcommand)]
pub enum Guard {
    /// Read events as JSON lines from stdin and print a decision for each
    #[command(
        after_help = "Example: echo '{\"t\":0,\"op\":\"push\",\"id\":\"c1\",\"user\":\"u1\"}' | countersign guard \
        lab\n\nOps: push, outcome, totp, recovery, pull, user, enrol, reset, clear, contain, restart. Time is `t`, \
        milliseconds that never decrease; a bad line is answered with an error and changes nothing."
    )]
    Lab {
        /// TOML file with numbers that differ from the defaults; lines go by the table of their integration
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Go by this tenant's table as well
        #[arg(long, hide = true, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// List every number of a policy with its unit, default, bounds and reason
    #[command(
        after_help = "The same as docs/guard-policy.md, which also says how a policy is written."
    )]
    Policy {
        /// Show what this file makes of them
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// For whom
        #[command(flatten)]
        whose: Whose,
    },
    /// Say what digits, tries and budgets buy an attacker who has the password
    #[command(
        after_help = "With --success it prints the lines of a policy that keep an attacker elsewhere below that, per \
        user and year; or says that none do (exit 1). `success_bound` in a policy does the same."
    )]
    Bound {
        /// TOML file with numbers that differ from the defaults
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// For whom
        #[command(flatten)]
        whose: Whose,
        /// The success that an attacker may have, per user and year, such as 1e-4
        #[arg(long, value_name = "P")]
        success: Option<f64>,
    },
    /// Judge the audit again by another policy: who would have been held, alerted, refused
    #[command(
        after_help = "Example: countersign guard replay --from audit --policy stricter.toml --since \
        2027-01-01T00:00:00Z\n\nA file holds what `countersign events --json` prints, from the first event on. Without \
        --policy it judges by the live one, under which everything comes out as it was."
    )]
    Replay {
        /// Settings and data.
        #[command(flatten)]
        place: Where,
        /// `audit` for the store in the data directory, or a file of events
        #[arg(long, value_name = "audit|FILE.jsonl", default_value = "audit")]
        from: PathBuf,
        /// TOML file with the policy to judge by
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// List only what happened since (RFC 3339); what came before is judged too
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
}

/// Whose tables of a policy hold.
#[derive(Debug, Default, Args)]
pub struct Whose {
    /// By this tenant's table
    #[arg(long, hide = true, value_name = "NAME")]
    pub tenant: Option<String>,
    /// By this integration's table
    #[arg(long, value_name = "NAME")]
    pub integration: Option<String>,
}

/// Whatever is said to a command that isn't built.
#[derive(Debug, Args)]
pub struct Later {
    /// Anything
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<OsString>,
}

/// How a value is called in the API.
pub fn api_name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// A user as the API names one: a bare name becomes `name:` and the name.
fn user_ref(text: &str) -> Result<String, String> {
    match text {
        "" | "name:" => Err("must not be empty".to_owned()),
        _ if text.starts_with("name:") || text.starts_with("usr_") => Ok(text.to_owned()),
        _ => Ok(format!("name:{text}")),
    }
}

impl Command {
    /// What this asks for that comes in a later version.
    #[must_use]
    pub fn later(&self) -> Option<&'static str> {
        match self {
            Self::Backup(_) => Some("`backup` comes in a later version"),
            Self::Restore(_) => Some("`restore` comes in a later version"),
            Self::Migrate(_) => {
                Some("`migrate` comes in a later version; the server migrates its store by itself")
            }
            _ => None,
        }
    }
}

/// What completion scripts offer: the command line without what `--help` hides. They are generated from a
/// definition, and would complete hidden words too.
#[must_use]
pub fn visible(command: &clap::Command) -> clap::Command {
    // clap keeps only names that live for ever; a process prints one script and ends
    let name: &'static str = command.get_name().to_owned().leak();
    let mut shown = clap::Command::new(name)
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(visible));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if command.get_version().is_some() {
        shown = shown.version(env!("CARGO_PKG_VERSION"));
    }
    shown
}

#[cfg(test)]
mod tests;
