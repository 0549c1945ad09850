//! Why a use case refused. Edges map these to what the outside sees, exhaustively.

use domain::directory::NameError;
use ports::{DirectoryError, StoreError};

/// A refusal or a failure. Changed nothing, unless a variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field of the request is wrong.
    #[error("{field}: {why}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What it must be.
        why: String,
    },
    /// No such thing, or somebody else's.
    #[error("not found")]
    NotFound,
    /// The API key is unknown, damaged, revoked or expired.
    #[error("unauthenticated")]
    Unauthenticated,
    /// The key's integration lacks this scope.
    #[error("the scope {0} is missing")]
    ScopeMissing(&'static str),
    /// The user is unknown; said only to integrations that may know.
    #[error("no such user")]
    UserUnknown,
    /// The user has no factor; said only to integrations that may know.
    #[error("the user has no factor")]
    NotEnrolled,
    /// The code is wrong, spent, or its budget is.
    #[error("the code is wrong")]
    CodeWrong,
    /// Redeem of what isn't approved.
    #[error("not approved")]
    NotApproved,
    /// Redeemed before.
    #[error("already redeemed")]
    AlreadyRedeemed,
    /// Too late, or reported, revoked or reset meanwhile.
    #[error("lapsed")]
    Lapsed,
    /// Redeem from another browser session; counted.
    #[error("another browser session")]
    WrongSession,
    /// A user who has a factor needs a reason for this.
    #[error("a reason is required")]
    ReasonRequired,
    /// It takes two people.
    #[error("{0}")]
    SecondApprover(&'static str),
    /// The name is in use.
    #[error("the name is taken")]
    NameTaken,
    /// One more than is allowed.
    #[error("{0}")]
    Limit(&'static str),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    OtherRequest,
    /// A store didn't do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    pub(crate) fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }

    pub(crate) fn name(field: &'static str) -> impl Fn(NameError) -> Self {
        move |error| Self::invalid(field, error.to_string())
    }
}

impl From<DirectoryError> for Error {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NameTaken => Self::NameTaken,
            DirectoryError::NotFound => Self::NotFound,
            DirectoryError::Limit => Self::Limit("the limit is reached"),
            DirectoryError::Store(error) => Self::Store(error),
        }
    }
}
