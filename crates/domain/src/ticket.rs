//! A ticket: a single-use permission to enrol one device (NIST 800-63B-4 §4.1.2.2).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statement::{PublicKey, TenantId, TicketId, Timestamp, UserId, crockford};
pub use statement::{
    TICKET_CODE_LEN as CODE_LEN, TICKET_SECRET_LEN as SECRET_LEN, ticket_code_hash as code_hash,
    ticket_secret_hash as secret_hash,
};

/// How long a ticket lives; NIST allows ten minutes.
pub const LIFE: Duration = Duration::from_secs(5 * 60);
/// Wrong typed codes after which a ticket's code is of no use; its link still is.
pub const MAX_CODE_TRIES: u8 = 5;

/// What somebody typed as a code.
#[must_use]
pub fn parse_code(typed: &str) -> Option<[u8; CODE_LEN]> {
    crockford::decode(typed)
}

/// Where a ticket stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketState {
    /// Waiting for a device.
    Open,
    /// A device holds it and waits for its number.
    Claimed(Claim),
    /// A device was enrolled with it.
    Used,
    /// Taken back, or a wrong number was typed.
    Cancelled,
}

/// What a device brought when it claimed the ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The new device's key.
    pub key: PublicKey,
    /// What it calls itself.
    pub device_name: String,
    /// The number to type, sealed; `None` if the ticket asks for none.
    pub number: Option<Vec<u8>>,
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// Whose.
    pub tenant: TenantId,
    /// For whom.
    pub user: UserId,
    /// Hash of the link's secret.
    pub secret_hash: [u8; 32],
    /// Hash of user name and typed code.
    pub code_hash: [u8; 32],
    /// Whether enrolment ends with a number.
    pub confirm: bool,
    /// Whether it was made for a user without any factor, and so without a reason: it is of no use once there
    /// is one.
    pub first: bool,
    /// Who made it: may not be the one who agrees to a device that waits.
    pub by: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Wrong typed codes so far.
    pub code_tries: u8,
    /// Where it stands.
    pub state: TicketState,
}

impl Ticket {
    /// Its state's name in the API at `now`.
    #[must_use]
    pub fn state_name(&self, now: Timestamp) -> &'static str {
        match self.state {
            TicketState::Used => "used",
            TicketState::Cancelled => "cancelled",
            TicketState::Open | TicketState::Claimed(_) if now >= self.expires => "expired",
            TicketState::Open => "open",
            TicketState::Claimed(_) => "claimed",
        }
    }
}
