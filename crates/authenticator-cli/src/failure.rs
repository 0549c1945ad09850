//! How a command fails, and with which exit code.

use std::fmt::Display;

use authenticator::EnrolError as Refusal;
use authenticator_native::{ClientError, ConnectError, EnrolError, KeyFileError};

/// Something was found wrong.
pub(crate) const WRONG: u8 = 1;
/// The command makes no sense as it was given.
pub(crate) const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const REFUSED: u8 = 4;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// For `--json`.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) text: String,
}

impl Failure {
    const fn new(code: u8, name: &'static str, text: String) -> Self {
        Self { code, name, text }
    }

    pub(crate) fn usage(name: &'static str, text: impl Display) -> Self {
        Self::new(USAGE, name, text.to_string())
    }

    pub(crate) fn wrong(name: &'static str, text: impl Display) -> Self {
        Self::new(WRONG, name, text.to_string())
    }

    pub(crate) fn refused(name: &'static str, text: impl Display) -> Self {
        Self::new(REFUSED, name, text.to_string())
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        let text = error.to_string();
        match error {
            KeyFileError::Missing(_) => Self::new(USAGE, "no_accounts", text),
            KeyFileError::NoAccount(_) => Self::new(USAGE, "no_account", text),
            KeyFileError::Passphrase(_) => Self::new(REFUSED, "wrong_passphrase", text),
            KeyFileError::Format(_) => Self::new(WRONG, "key_file", text),
            KeyFileError::Io { .. } => Self::new(WRONG, "io", text),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::usage("certificates", error)
    }
}

impl From<EnrolError> for Failure {
    fn from(error: EnrolError) -> Self {
        let text = error.to_string();
        match error {
            EnrolError::Connect(ConnectError::Unreachable { .. }) => {
                Self::new(UNREACHABLE, "unreachable", text)
            }
            EnrolError::Connect(ConnectError::Untrusted { .. }) => {
                Self::new(REFUSED, "untrusted", text)
            }
            EnrolError::Connect(ConnectError::Refused { .. }) => {
                Self::new(UNREACHABLE, "not_a_gateway", text)
            }
            EnrolError::Connect(ConnectError::Client(error)) => error.into(),
            EnrolError::GivenUp => Self::new(REFUSED, "given_up", text),
            EnrolError::Refused(refusal) => match refusal {
                Refusal::Ticket { .. } => Self::new(REFUSED, "ticket", text),
                Refusal::Refused { .. } => Self::new(REFUSED, "refused", text),
                Refusal::TooMany => Self::new(REFUSED, "too_many", text),
                Refusal::Version { .. } => Self::new(REFUSED, "version", text),
                Refusal::Fault(_) => Self::new(REFUSED, "server_fault", text),
                Refusal::Unavailable => Self::new(UNREACHABLE, "unavailable", text),
                Refusal::Lost => Self::new(UNREACHABLE, "connection_lost", text),
            },
        }
    }
}
