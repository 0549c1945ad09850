//! How a run ends, and what it says.

use std::process::{ExitCode, ExitStatus, Termination};

use tokio::time::Instant;

use crate::guard::ConfigError;
use crate::plan::PlanError;
use crate::reach::Down;
use crate::rest::CallError;

/// The product's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and all is well.
    Ok = 0,
    /// Done, and something was found wrong.
    Wrong = 1,
    /// Asked in a way that can't be, or for what isn't built.
    Usage = 2,
    /// Nobody answers.
    Unreachable = 3,
    /// Somebody answers, and says no.
    Refused = 4,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    World(#[from] ConfigError),
    /// The server that we start won't.
    #[error("{0}")]
    Server(String),
    #[error("setting up, {what}: {error}")]
    Call { what: String, error: CallError },
    /// A device couldn't be enrolled or connected.
    #[error("setting up, {0}")]
    Device(String),
    #[error("{0}")]
    Cut(Cut),
    #[error("{0}: {1}")]
    Write(String, std::io::Error),
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Plan(_) | Self::World(_) => Exit::Usage,
            Self::Call { error, .. } => match error {
                CallError::Unreachable(_) | CallError::Broken(_) | CallError::Timeout => {
                    Exit::Unreachable
                }
                CallError::Refused { status, .. } if status.is_server_error() => Exit::Unreachable,
                CallError::Refused { .. } => Exit::Refused,
                CallError::Reply => Exit::Wrong,
            },
            Self::Server(_) | Self::Device(_) | Self::Cut(_) | Self::Write(..) => Exit::Wrong,
        }
    }

    pub(crate) fn call(what: impl Into<String>) -> impl FnOnce(CallError) -> Self {
        let what = what.into();
        move |error| Self::Call { what, error }
    }
}

/// What ends a run early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cut {
    /// The server that we started is gone.
    #[error("the server ended by itself ({0})")]
    ServerEnded(String),
    /// Somebody else's server is gone, since then.
    #[error("the server at {server} can't be reached any more: {why}")]
    Gone { server: String, why: String, since: Instant },
    /// Somebody wants us to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Cut {
    pub(crate) fn gone(server: &str, down: Down) -> Self {
        let Down { since, why, .. } = down;
        Self::Gone { server: server.to_owned(), why, since }
    }

    /// Whether there is no server any more.
    pub(crate) const fn is_without_server(&self) -> bool {
        matches!(self, Self::ServerEnded(_) | Self::Gone { .. })
    }

    /// What happened after this says nothing about the server. `now` is when the run was cut.
    pub(crate) fn until(&self, now: Instant) -> Instant {
        match self {
            Self::Gone { since, .. } => *since,
            Self::ServerEnded(_) | Self::Interrupted => now,
        }
    }

    pub(crate) fn ended(status: std::io::Result<ExitStatus>) -> Self {
        Self::ServerEnded(
            status.map_or_else(|error| error.to_string(), |status| status.to_string()),
        )
    }
}
