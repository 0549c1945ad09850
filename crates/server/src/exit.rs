//! How a command ends.

use std::process::{ExitCode, Termination};

/// What a command's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and all is well.
    Ok,
    /// Done, and something was found wrong.
    Wrong,
    /// It was asked in a way that can't be, or for what isn't built.
    Usage,
    /// The server or store can't be reached.
    Unreachable,
    /// It was reached, and said no.
    Refused,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Wrong => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
