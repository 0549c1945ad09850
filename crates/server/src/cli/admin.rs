//! `admin`: nouns, verbs and what they take.

use clap::{Args, Subcommand, ValueEnum};

use super::{Where, user_ref};

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
  countersign admin user contain alice --reason 'pestered since 9:00'
  countersign admin user clear alice --reason 'password changed'

A running server is spoken to through its socket in the data directory; without one the command opens the \
store itself.";

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
    /// Receivers that are told of events; docs/webhooks.md
    #[command(subcommand)]
    Webhook(Webhook),
    /// Which user a relying party's person is
    #[command(subcommand)]
    Link(Link),
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

/// `admin webhook`.
#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// List all, and how they are
    List,
    /// Show one
    Show {
        /// Its name in the settings
        name: String,
    },
    /// Send it a signed message of type `test`
    Test {
        /// Its name in the settings
        name: String,
    },
    /// Try again at once, also where it was disabled
    Enable {
        /// Its name in the settings
        name: String,
    },
}

/// `admin integration`.
#[derive(Debug, Subcommand)]
pub enum Integration {
    /// Register one and print its first API key, once
    Create(Box<NewIntegration>),
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
    /// Why it may ask; the first is meant unless it says otherwise [default: sign_in; step_up and transaction
    /// are always allowed]
    #[arg(long, value_name = "PURPOSE", value_delimiter = ',')]
    pub purpose: Vec<Purpose>,
    /// What its keys may do beside asking for challenges; user scopes let a key enrol devices
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    pub scope: Vec<Scope>,
    /// Its keys may do nothing but what --scope says: for one that only reads and must not ring phones
    #[arg(long, requires = "scope")]
    pub no_challenges: bool,
    /// Where browsers may be sent back to, exactly; only for the kind oidc
    #[arg(long, value_name = "URI")]
    pub redirect_uri: Vec<String>,
    /// A file with the client's public keys, a JSON Web Key Set, for private_key_jwt and signed requests; only for
    /// the kinds oidc and ciba
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<std::path::PathBuf>,
    /// With what its ID tokens are signed [default: RS256]; only for the kinds oidc and ciba
    #[arg(long, value_name = "ALG")]
    pub id_token_alg: Option<String>,
    /// poll, or ping: the client is told when there is something to fetch [default: poll]; only for the kind ciba
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Where a client of mode ping is told; only for the kind ciba
    #[arg(long, value_name = "URL")]
    pub notification_url: Option<String>,
    /// Each request must bring the user's code, which `admin user code` sets; only for the kind ciba
    #[arg(long)]
    pub user_code: bool,
    /// Where a Keycloak realm wants outcomes [default: the usual place under --issuer]; only for the kind
    /// keycloak_ciba
    #[arg(long, value_name = "URL")]
    pub callback_url: Option<String>,
    /// The realm's issuer [default: what --callback-url is under]; only for the kind keycloak_ciba
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// Let --notification-url or --callback-url be on a private network, or on this machine by plain http
    #[arg(long)]
    pub allow_private: bool,
    /// An Entra directory whose users may come; only for the kind entra
    #[arg(long, alias = "tenant-id", value_name = "GUID")]
    pub directory_id: Vec<String>,
    /// The Entra application that this server is; only for the kind entra
    #[arg(long, value_name = "GUID")]
    pub app_id: Option<String>,
    /// Another audience that hints may have; only for the kind entra
    #[arg(long, value_name = "ID", hide = true)]
    pub other_audience: Option<String>,
    /// global, us_gov, china, or fake [default: global]; only for the kind entra
    #[arg(long, value_name = "CLOUD")]
    pub cloud: Option<String>,
    /// Where the stand-in of the cloud `fake` is
    #[arg(long, value_name = "URL")]
    pub fake: Option<String>,
    /// Let a linked user who never had an authenticator enrol the first one on the way; only for the kind entra
    #[arg(long, alias = "inline-enrollment")]
    pub inline_enrolment: bool,
    /// Where a hosted page may send browsers back to, exactly; only for the kind api
    #[arg(long, value_name = "URL")]
    pub return_url: Vec<String>,
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

/// `admin link`.
#[derive(Debug, Subcommand)]
pub enum Link {
    /// Say which user somebody is; for Entra the subject is `DIRECTORY-ID:OBJECT-ID`
    Create {
        /// Whose people: the integration's name or id
        #[arg(long, value_name = "I")]
        integration: String,
        /// Who there
        #[arg(long, value_name = "SUBJECT")]
        subject: String,
        /// Who here
        #[arg(long, value_name = "U", value_parser = user_ref)]
        user: String,
    },
    /// List an integration's
    List {
        /// The integration's name or id
        #[arg(long, value_name = "I")]
        integration: String,
    },
    /// End one
    Remove {
        /// The integration's name or id
        #[arg(long, value_name = "I")]
        integration: String,
        /// Who there
        #[arg(long, value_name = "SUBJECT")]
        subject: String,
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
        /// For emergencies: strangers never make their device ring, what they open themselves is never
        /// withheld, and each use is an alert
        #[arg(long)]
        break_glass: bool,
        /// How many seconds their sign-ins by OpenID Connect and Entra wait, for who needs more time [default: 90]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(30..=300))]
        ttl_s: Option<u32>,
    },
    /// Change one
    Update {
        /// Name or id
        #[arg(value_parser = user_ref)]
        user: String,
        /// How many seconds their sign-ins by OpenID Connect and Entra wait
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(30..=300))]
        ttl_s: u32,
    },
    /// List all
    List(Listing),
    /// Show one
    Show {
        /// Name or id
        #[arg(value_parser = user_ref)]
        user: String,
    },
    /// Draw the code that a CIBA client must bring to ask them, in place of the one before, and print it, once
    Code {
        /// Name or id
        #[arg(value_parser = user_ref)]
        user: String,
        /// End it instead: such a client can't ask them
        #[arg(long)]
        remove: bool,
    },
    /// Under attack: ring only for their known places, ask for a code as well from elsewhere
    Contain {
        /// Name or id
        #[arg(value_parser = user_ref)]
        user: String,
        /// Why; goes into the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// The attack is over: forget what went wrong, keep what is familiar
    Clear {
        /// Name or id
        #[arg(value_parser = user_ref)]
        user: String,
        /// Why; goes into the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
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
    /// Show one
    Show {
        /// Its id, or its type
        factor: String,
        /// Whose
        #[arg(long, value_name = "U", value_parser = user_ref)]
        user: String,
    },
    /// Agree to one that somebody else made while its user was under attack
    Approve {
        /// Its id
        factor: String,
        /// Whose
        #[arg(long, value_name = "U", value_parser = user_ref)]
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
    /// Agree to one that somebody else let enrol while its user was under attack
    Approve {
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
    /// Publish the next keys that sign tokens for relying parties; they sign in two days
    Rotate,
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
    #[value(name = "guard:write")]
    GuardWrite,
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

fn kind(text: &str) -> Result<String, String> {
    match text {
        "api" | "oidc" | "entra" | "ciba" | "keycloak_ciba" => Ok(text.to_owned()),
        _ => Err("must be `api`, `oidc`, `entra`, `ciba` or `keycloak_ciba`".to_owned()),
    }
}
