//! The device half of the protocol, without I/O.
//!
//! [`Enrolment`] turns a ticket into an [`Account`]; [`Connection`] serves an account for as long as its owner
//! wants, over as many sockets as that takes. Both are driven alike: open them on a new socket, feed every frame
//! that arrives, and take what they want done from `poll_output`, in order. Neither reads a clock: `now` is any
//! monotonic time that never goes back while the process lives.

mod account;
mod backoff;
mod card;
mod connection;
mod enrolment;
mod event;
mod hello;
mod text;

pub use account::{Account, KEY_SEED_LEN, KeySeed, OfflineCode, Totp};
pub use backoff::{BACKOFF_BASE, BACKOFF_CAP};
pub use card::{Card, Context, Detail, PromptFault, Purpose};
pub use connection::{Connection, MAX_CARDS};
pub use enrolment::{EnrolError, EnrolEvent, Enrolment, Ticket};
pub use event::{
    AnswerError, AnswerOutcome, Choice, Decision, Event, Fault, Frame, Next, Notice, NoticeKind,
    Output, Stop,
};

/// What this library calls itself to a server unless its user names something better.
pub const AGENT: &str = concat!("countersign-authenticator ", env!("CARGO_PKG_VERSION"));
