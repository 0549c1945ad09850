//! Where what is said in a ceremony leaves: at once, or when its rows are durable.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use statement::{ChallengeId, Timestamp, UserId};

use super::super::socket::Out;
use super::bytes::TTL_MS;
use super::store::{self, AuditRow, Opened, Rows, Store};

/// What of an audit row differs in length from event to event, in bytes: public and private part, as the product's
/// are (means of a database that `loadtest run` left).
const CREATED: (usize, usize) = (440, 80);
const DECIDED: (usize, usize) = (308, 0);
const REDEEMED: (usize, usize) = (174, 0);

/// The way out.
pub(crate) enum Outbox {
    AtOnce,
    Durable(Durable),
}

/// Rows that wait for the end of a call, and what leaves after them.
pub(crate) struct Durable {
    store: Store,
    rows: Rows,
    seq: u64,
}

impl Outbox {
    /// With a database in a folder; must be called on a runtime's thread.
    ///
    /// # Errors
    /// If there can't be one.
    pub(crate) fn durable(dir: &Path) -> Result<Self, store::Error> {
        Ok(Self::Durable(Durable { store: Store::open(dir)?, rows: Rows::default(), seq: 0 }))
    }

    /// Says it, once all rows so far are durable.
    pub(crate) fn send(&mut self, to: &Arc<Out>, bytes: Vec<u8>) {
        match self {
            Self::AtOnce => to.send(&bytes),
            Self::Durable(durable) => durable.rows.then.push((Arc::clone(to), bytes)),
        }
    }

    /// A challenge, its user's state and an audit row.
    pub(crate) fn created(
        &mut self,
        id: ChallengeId,
        user: UserId,
        session: [u8; 32],
        now: Timestamp,
    ) {
        if let Self::Durable(durable) = self {
            let expires = now.plus(Duration::from_millis(TTL_MS));
            durable.rows.opened.push(Opened { id, user, session, expires });
            durable.audit(CREATED, None, now);
        }
    }

    /// A challenge's decision, which erases its number, and an audit row.
    pub(crate) fn decided(&mut self, id: ChallengeId, now: Timestamp) {
        if let Self::Durable(durable) = self {
            durable.rows.decided.push((id, now));
            durable.audit(DECIDED, None, now);
        }
    }

    /// An audit row, which is the redeem.
    pub(crate) fn redeemed(&mut self, id: ChallengeId, now: Timestamp) {
        if let Self::Durable(durable) = self {
            durable.audit(REDEEMED, Some(id), now);
        }
    }

    /// Nothing more comes of this call.
    pub(crate) fn flush(&mut self) {
        if let Self::Durable(durable) = self {
            durable.store.write(&mut durable.rows);
        }
    }
}

impl Durable {
    fn audit(
        &mut self,
        (public, private): (usize, usize),
        redeems: Option<ChallengeId>,
        at: Timestamp,
    ) {
        self.seq += 1;
        self.rows.audit.push(AuditRow { seq: self.seq, at, public, private, redeems });
    }
}
