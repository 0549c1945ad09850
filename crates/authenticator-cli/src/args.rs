//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::failure::Failure;

/// The Countersign authenticator for the terminal: shows who asks, takes the number from the sign-in page and
/// signs the answer.
///
/// Keys are kept in one file, sealed with a passphrase. Give it by --passphrase-file or COUNTERSIGN_PASSPHRASE;
/// on a terminal you are asked for it.
#[derive(Debug, Parser)]
#[command(name = "countersign-authenticator", version, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  countersign-authenticator enrol 'https://mfa.example.org/enrol#v1...'
  countersign-authenticator listen
  countersign-authenticator code alice

Exit codes: 0 ok, 1 found wrong, 2 usage, 3 unreachable, 4 refused.")]
pub(crate) struct Args {
    /// Folder of this device's accounts [default: ~/.local/share/countersign-authenticator]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// File whose first line is the passphrase of the accounts
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Speak JSON, one value per line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enrol this device with a link, or with a server, user name and code
    #[command(
        visible_alias = "enroll",
        after_help = "\
With --json it prints {\"event\":\"confirm\",\"digits\":N} and reads {\"number\":\"..\"}. By code it first prints
{\"event\":\"confirm_server\",\"fingerprint\":\"..\"} and reads {\"confirm\":true} if that is the server's."
    )]
    Enrol(Enrol),
    /// Wait for requests and answer them, for all accounts at once
    #[command(after_help = "\
With --json it prints one event a line and reads one answer a line: {\"challenge\":ID,\"number\":\"..\"},
{\"challenge\":ID,\"deny\":true}, {\"challenge\":ID,\"report\":true}, or {\"pull\":true} to see what didn't ring.")]
    Listen,
    /// List the accounts of this device
    Accounts,
    /// Show the time-based code of an account, for when the server can't reach this device
    Code {
        /// The account's name, its user's name or its device id
        account: String,
    },
    /// Forget an account and its key
    Remove {
        /// The account's name, its user's name or its device id
        account: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Enrol {
    /// The enrolment link; quote it, since it holds a `#`
    #[arg(required_unless_present_all = ["server", "user", "code"], conflicts_with_all = ["server", "user", "code"])]
    pub(crate) link: Option<String>,

    /// The server's address, to enrol by code
    #[arg(long, value_name = "URL", requires = "user")]
    pub(crate) server: Option<String>,

    /// Your user name there
    #[arg(long, value_name = "NAME", requires = "code")]
    pub(crate) user: Option<String>,

    /// The eight characters that you were given
    #[arg(long, requires = "server")]
    pub(crate) code: Option<String>,

    /// What to call this device [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Certificates (PEM) that may vouch for the server beside the public authorities
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

impl Args {
    pub(crate) fn home(&self) -> Result<PathBuf, Failure> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        let data = data.filter(|path| path.is_absolute()).or_else(|| {
            std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"))
        });
        data.map(|data| data.join("countersign-authenticator"))
            .ok_or_else(|| Failure::usage("home", "no home folder is known: give --home DIR"))
    }
}
