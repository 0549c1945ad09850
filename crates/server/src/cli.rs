//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

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

const ADMIN_EXAMPLES: &str = "\
A user is a name, `name:` and a name, or an id (usr_..).

  countersign admin integration create --name vpn --verifies-first-factor
  countersign admin integration key create vpn
  countersign admin user create --name alice
  countersign admin ticket create --user alice      a link and a code to enrol a device
  countersign admin ticket show tik_..              the number to type on the new device
  countersign admin factor create --user alice --type recovery_code
  countersign admin factor reset --user alice --reason 'lost phone, ticket 4711'
  countersign admin device revoke dev_..

A running server is spoken to through its socket in the data directory; without one the command opens the \
store itself.";

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
    Guard(Later),
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
    /// Where to listen, on loopback [default: 127.0.0.1:8470]
    #[arg(long, value_name = "A:P")]
    pub listen: Option<SocketAddr>,
    /// Run every ceremony by itself
    #[arg(long)]
    pub script: bool,
    /// Comes with the guard
    #[arg(long, conflicts_with = "script", hide = true)]
    pub attack: bool,
}

/// `serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints `listening on ..` and `admin on ..` to stdout when ready; all else goes to \
    stderr. SIGTERM or Ctrl-C stops it: requests finish, devices are told to come back."
)]
pub struct Serve {
    /// Settings and data.
    #[command(flatten)]
    pub place: Where,
    /// Where to listen [default: 127.0.0.1:8470]
    #[arg(long, value_name = "A:P")]
    pub listen: Option<SocketAddr>,
}

/// `admin`.
#[derive(Debug, Args)]
#[command(after_help = ADMIN_EXAMPLES)]
pub struct Admin {
    /// Settings and data.
    #[command(flatten)]
    pub place: Where,
    /// The organisation; only where there are several
    #[arg(long, value_name = "T", global = true, hide = true)]
    pub tenant: Option<String>,
    /// What to manage.
    #[command(subcommand)]
    pub noun: Noun,
}

/// What to manage.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Organisations that share this server
    #[command(subcommand, hide = true)]
    Tenant(Tenant),
    /// Relying parties: whoever asks for challenges
    #[command(subcommand)]
    Integration(Integration),
    /// People
    #[command(subcommand)]
    User(User),
    /// Single-use permissions to enrol a device
    #[command(subcommand)]
    Ticket(Ticket),
    /// Ways to pass: push, TOTP, recovery codes
    #[command(subcommand)]
    Factor(Factor),
    /// Enrolled authenticators
    #[command(subcommand)]
    Device(Device),
    /// The server's public keys and their fingerprint
    Keys {
        /// List or show
        #[command(subcommand)]
        verb: Option<Keys>,
    },
}

/// `admin tenant`.
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Make one
    Create {
        /// Its name
        #[arg(long, value_name = "N")]
        name: String,
    },
    /// List all
    List,
    /// Show one
    Show {
        /// Its name or id
        tenant: String,
    },
}

/// `admin integration`.
#[derive(Debug, Subcommand)]
pub enum Integration {
    /// Register one and print its first API key, once
    Create(NewIntegration),
    /// List all
    List,
    /// Show one
    Show {
        /// Its name or id
        integration: String,
    },
    /// API keys; two may live at once, so that they can be changed without a gap
    #[command(subcommand)]
    Key(Key),
}

/// `admin integration create`.
#[derive(Debug, Args)]
pub struct NewIntegration {
    /// What prompts call it
    #[arg(long, value_name = "N")]
    pub name: String,
    /// How it speaks to this server
    #[arg(long, default_value = "api", value_parser = kind)]
    pub kind: String,
    /// Why it asks, unless it says otherwise [default: sign_in]
    #[arg(long)]
    pub purpose: Option<Purpose>,
    /// What its keys may do [default: challenges]; user scopes let a key enrol devices
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    pub scope: Vec<Scope>,
    /// Ways to pass that it allows [default: all]
    #[arg(long, value_name = "METHOD", value_delimiter = ',')]
    pub method: Vec<Method>,
    /// It never asks before it has checked a first factor
    #[arg(long)]
    pub verifies_first_factor: bool,
    /// Tell it which users exist, instead of giving it decoys
    #[arg(long)]
    pub reveal_users: bool,
}

/// `admin integration key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make another and print it, once
    Create {
        /// The integration's name or id
        integration: String,
        /// After so many days it stops working
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_in_days: Option<u32>,
    },
    /// List them
    List {
        /// The integration's name or id
        integration: String,
    },
    /// End one at once
    Revoke {
        /// The integration's name or id
        integration: String,
        /// The key's first characters, as `list` shows them
        key: String,
    },
}

/// `admin user`.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Make one
    Create {
        /// The name by which integrations know them
        #[arg(long, value_name = "U")]
        name: String,
    },
    /// List all
    List(Listing),
    /// Show one
    Show {
        /// Name or id
        #[arg(value_parser = user_ref)]
        user: String,
    },
    /// Comes with the guard
    #[command(hide = true)]
    Clear(Later),
    /// Comes with the guard
    #[command(hide = true)]
    Contain(Later),
}

/// `admin ticket`.
#[derive(Debug, Subcommand)]
pub enum Ticket {
    /// Make one: a link, and a code to type
    Create {
        /// For whom
        #[arg(long, value_name = "U", value_parser = user_ref)]
        user: String,
        /// Let the device enrol without a number match; only for a user without any factor
        #[arg(long)]
        no_confirm: bool,
        /// Why; needed when the user has a factor already
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// List a user's
    List(OfUser),
    /// Show its state, and the number to type on the new device
    Show {
        /// Its id
        ticket: String,
    },
}

/// `admin factor`.
#[derive(Debug, Subcommand)]
pub enum Factor {
    /// Make one and print its secret, once
    Create {
        /// For whom
        #[arg(long, value_name = "U", value_parser = user_ref)]
        user: String,
        /// Of which type
        #[arg(long, value_name = "TYPE")]
        r#type: FactorType,
    },
    /// Remove all of a user's factors, devices and tickets
    Reset {
        /// Whose
        #[arg(long, value_name = "U", value_parser = user_ref)]
        user: String,
        /// Why; goes into the audit
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// List a user's
    List(OfUser),
    /// Show a user's; the same as list
    Show {
        /// Name or id of the user
        #[arg(value_parser = user_ref)]
        user: String,
    },
}

/// `admin device`.
#[derive(Debug, Subcommand)]
pub enum Device {
    /// List a user's
    List(OfUser),
    /// Show one
    Show {
        /// Its id
        device: String,
    },
    /// End one at once: its connection closes, its answers count no more
    Revoke {
        /// Its id
        device: String,
    },
}

/// `admin keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Keys {
    /// List them
    List,
    /// The same as list
    Show,
}

/// A part of a list.
#[derive(Debug, Args)]
pub struct Listing {
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// From where the last part ended
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
}

/// Whose.
#[derive(Debug, Args)]
pub struct OfUser {
    /// Whose
    #[arg(long, value_name = "U", value_parser = user_ref)]
    pub user: String,
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

/// Whatever is said to a command that isn't built.
#[derive(Debug, Args)]
pub struct Later {
    /// Anything
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<OsString>,
}

/// Why an integration asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[expect(missing_docs, reason = "domain::challenge::Purpose has the words")]
pub enum Purpose {
    SignIn,
    StepUp,
    Transaction,
    Enrolment,
    Reset,
    HelpDesk,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "domain::directory::Scope has the words")]
pub enum Scope {
    #[value(name = "challenges")]
    Challenges,
    #[value(name = "users:read")]
    UsersRead,
    #[value(name = "users:write")]
    UsersWrite,
    #[value(name = "events:read")]
    EventsRead,
}

/// A way to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[expect(missing_docs, reason = "domain::challenge::Method has the words")]
pub enum Method {
    Push,
    Totp,
    RecoveryCode,
}

/// A factor that an operator can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FactorType {
    Totp,
    RecoveryCode,
}

/// How a value is called in the API.
pub fn api_name(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

fn kind(text: &str) -> Result<String, String> {
    match text {
        "api" => Ok(text.to_owned()),
        "oidc" | "ciba" | "keycloak_ciba" | "entra" => {
            Err("not built yet, comes in a later version; this one has `api`".to_owned())
        }
        _ => Err("must be `api`".to_owned()),
    }
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
            Self::Demo(Demo { attack: true, .. }) => Some("`demo --attack` comes with the guard"),
            Self::Guard(_) => Some("`guard` comes with the guard, in a later version"),
            Self::Backup(_) => Some("`backup` comes in a later version"),
            Self::Restore(_) => Some("`restore` comes in a later version"),
            Self::Migrate(_) => {
                Some("`migrate` comes in a later version; the server migrates its store by itself")
            }
            Self::Admin(Admin {
                noun: Noun::User(User::Clear(_) | User::Contain(_)),
                ..
            }) => Some("`user clear` and `user contain` come with the guard, in a later version"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("countersign").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_line_of_the_contract_parses() {
        for line in [
            "demo",
            "demo --listen 127.0.0.1:0",
            "demo --script --json",
            "serve --config c.toml --data d --listen 127.0.0.1:0",
            "admin --data d tenant create --name acme",
            "admin tenant list",
            "admin tenant show acme",
            "admin integration create --name vpn --tenant acme --kind api --purpose step_up --scope \
             challenges --scope users:read --verifies-first-factor --reveal-users",
            "admin integration create --name vpn --scope challenges,events:read",
            "admin integration list",
            "admin integration show vpn",
            "admin integration key create vpn",
            "admin integration key list vpn",
            "admin integration key revoke vpn csk_abcd",
            "admin user create --name alice",
            "admin user list --json",
            "admin user show alice",
            "admin ticket create --user alice --no-confirm --reason new",
            "admin ticket show tik_1 --json",
            "admin ticket list --user alice",
            "admin factor create --user name:alice --type totp",
            "admin factor create --user alice --type recovery_code",
            "admin factor reset --user alice --reason lost",
            "admin factor list --user alice",
            "admin device revoke dev_1 --data d",
            "admin device list --user alice",
            "admin device show dev_1",
            "admin keys",
            "admin keys list",
            "--json admin keys",
            "events",
            "events --follow --json",
            "why chl_1",
            "audit verify --checkpoint f",
            "audit checkpoint --out f --data d",
            "doctor --data d --json",
            "config check --config c.toml",
            "config print --redacted",
            "completions zsh",
        ] {
            let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(cli.command.later(), None, "{line}");
        }
    }

    #[test]
    fn what_is_not_built_says_so() {
        for line in [
            "demo --attack",
            "guard lab --policy f",
            "guard bound",
            "backup --out f",
            "restore f",
            "migrate",
            "admin user clear alice",
            "admin user contain alice",
        ] {
            let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let said = cli.command.later().unwrap_or_else(|| panic!("{line}"));
            assert!(said.contains("come"), "{said}");
        }
        for kind in ["oidc", "ciba", "keycloak_ciba", "entra"] {
            let line = format!("admin integration create --name x --kind {kind}");
            let error = parse(&line).unwrap_err();
            assert!(error.to_string().contains("not built yet"), "{error}");
            assert_eq!(
                error.exit_code(),
                i32::from(crate::exit::Exit::Usage.code())
            );
        }
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for line in [
            "",
            "serv",
            "serve --listen here",
            "admin user create",
            "admin factor create --user a --type push",
            "admin factor reset --user a",
            "admin integration create --name x --scope guard:write",
            "admin user show name:",
            "why",
            "audit checkpoint",
            "completions tcsh",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn users_are_named_as_in_the_api() {
        let user = |text: &str| user_ref(text).unwrap();
        assert_eq!(user("alice"), "name:alice");
        assert_eq!(user("name:alice"), "name:alice");
        assert_eq!(user("usr_1"), "usr_1");
        assert_eq!(api_name(&Scope::UsersRead), "users:read");
        assert_eq!(api_name(&FactorType::RecoveryCode), "recovery_code");
    }

    /// An installation that has only one organisation never reads the word for it.
    #[test]
    fn help_does_not_speak_of_tenants() {
        let mut todo = vec![Cli::command()];
        while let Some(mut command) = todo.pop() {
            let help = command.render_long_help().to_string().to_lowercase();
            assert!(!help.contains("tenant"), "{help}");
            let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
            todo.extend(visible.cloned());
        }
    }
}
