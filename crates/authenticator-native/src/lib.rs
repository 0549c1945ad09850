//! Sockets and key file under the authenticator core: what the command line, the demo, the load test and the
//! end-to-end tests use.
//!
//! [`Client::enrol`] makes an [`Account`], [`Client::run`] serves one in a task of its own, and [`KeyFile`]
//! keeps accounts on disk. This is where the core meets the real clock and the real random source.

mod dial;
mod enrol;
mod key_file;
mod save;
mod session;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use authenticator::{
    Account, AnswerError, AnswerOutcome, Card, Choice, Decision, Event, Notice, NoticeKind,
    Purpose, Stop, Ticket,
};
pub use dial::{Client, ClientError, ConnectError, read_roots};
pub use enrol::{EnrolError, Person};
pub use key_file::{KeyFile, KeyFileError, Passphrase};
pub use save::{InMemory, Save, SaveError};
pub use session::{Handle, Reconnect, Session, SessionClosed};

use statement::Timestamp;
use tokio::time::Instant;

/// The process's random source, for seeds, salts and jitter.
#[expect(clippy::disallowed_methods, reason = "the device's one real random source")]
fn rng() -> impl rand::CryptoRng {
    rand::rng()
}

/// The monotonic clock of one session, counted from its start.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the device's one real clock")]
    fn start() -> Self {
        Self(Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "the device's one real clock")]
    fn now(self) -> Duration {
        self.0.elapsed()
    }

    fn at(self, time: Duration) -> Instant {
        self.0 + time
    }
}

/// The time of day, for time-based codes: nothing that is signed depends on it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the device's one real clock")]
pub fn unix_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
