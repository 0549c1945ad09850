//! What servers said, and have to stand by.

use std::collections::BTreeMap;
use std::time::Duration;

use authenticator_native::Account;
use statement::{DeviceId, Timestamp};

use super::coder::Code;
use crate::child::Asked;

/// An approval can be redeemed for a minute (`domain::challenge::COLLECT_WINDOW`); this much of it is left to
/// slow machines.
pub(super) const FRESH: Duration = Duration::from_secs(45);

/// All of it, in the order in which it was said.
#[derive(Default)]
pub(crate) struct Facts {
    /// The run of the server that is on.
    pub(crate) run: u32,
    pub(super) decided: Vec<Decided>,
    places: BTreeMap<String, usize>,
    pub(super) devices: Vec<Enrolled>,
    pub(super) used: Vec<Used>,
    pub(super) spent: Vec<Spent>,
}

/// A decision that somebody was told.
pub(super) struct Decided {
    pub(super) asked: Asked,
    pub(super) state: String,
    /// It wasn't decided before this.
    pub(super) since: Timestamp,
    pub(super) collected: Collected,
    pub(super) run: u32,
}

/// What is known of an approval's receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collected {
    /// Nobody asked for it.
    No,
    /// Somebody asked for it and heard nothing.
    Asked,
    /// It was given.
    Yes,
    /// It was too late.
    Lapsed,
}

/// A device whose enrolment was confirmed.
pub(super) struct Enrolled {
    pub(super) user: String,
    pub(super) account: Account,
    pub(super) revoked: Revoked,
    pub(super) run: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revoked {
    No,
    Asked,
    Yes,
}

/// A code that passed.
pub(super) struct Used {
    pub(super) user: String,
    pub(super) code: Code,
    pub(super) run: u32,
}

/// A user of whom wrong codes were counted.
pub(super) struct Spent {
    pub(super) user: String,
    pub(super) account: Account,
    /// As many refusals were told.
    pub(super) failures: u16,
    pub(super) run: u32,
}

impl Facts {
    /// Somebody was told a decision; whoever was told before must have been told the same.
    pub(super) fn decided(&mut self, asked: &Asked, state: &str, since: Timestamp) {
        if let Some(place) = self.places.get(&asked.id) {
            let known = &self.decided[*place].state;
            assert_eq!(known, state, "{} was told two decisions", asked.id);
            return;
        }
        self.places.insert(asked.id.clone(), self.decided.len());
        self.decided.push(Decided {
            asked: asked.clone(),
            state: state.to_owned(),
            since,
            collected: Collected::No,
            run: self.run,
        });
    }

    pub(super) fn collected(&mut self, id: &str, collected: Collected) {
        self.decided[self.places[id]].collected = collected;
    }

    pub(super) fn is_collected(&self, id: &str) -> bool {
        self.decided[self.places[id]].collected == Collected::Yes
    }

    pub(super) fn enrolled(&mut self, user: &str, account: &Account) {
        let (user, account) = (user.to_owned(), account.clone());
        self.devices.push(Enrolled { user, account, revoked: Revoked::No, run: self.run });
    }

    fn device(&mut self, id: DeviceId) -> &mut Enrolled {
        let device = self.devices.iter_mut().find(|device| device.account.device == id);
        device.expect("enrolled before")
    }

    /// From now on it may be revoked.
    pub(super) fn revoking(&mut self, id: DeviceId) {
        self.device(id).revoked = Revoked::Asked;
    }

    pub(super) fn revoked(&mut self, id: DeviceId) {
        let run = self.run;
        let device = self.device(id);
        device.revoked = Revoked::Yes;
        device.run = run;
    }

    pub(super) fn used(&mut self, user: &str, code: Code) {
        self.used.push(Used { user: user.to_owned(), code, run: self.run });
    }

    /// Where failures of a user are counted.
    pub(super) fn spending(&mut self, user: &str, account: &Account) -> usize {
        let (user, account) = (user.to_owned(), account.clone());
        self.spent.push(Spent { user, account, failures: 0, run: self.run });
        self.spent.len() - 1
    }

    pub(super) fn spent(&mut self, place: usize) {
        self.spent[place].failures += 1;
    }
}
