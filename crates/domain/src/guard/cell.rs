//! What is stored per user, by compare-and-set.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statement::{ChallengeId, DeviceId, IntegrationId, Timestamp};

use super::alert::{Alert, AlertKind, Severity};
use super::decay::Seconds;
use super::judge::{Charge, Facts, Verdict, gives_way};
use super::memory::Memory;
use super::policy::Policy;
use super::sources::Asker;
use crate::challenge::{Challenge, Decided, Decision, Mode, Proof};
use crate::directory::MAX_DEVICES;

/// How long after an approval its device may ask for a new TOTP secret.
pub const REBIND_WINDOW: Duration = Duration::from_secs(10 * 60);

/// How many challenges that gave way are kept, for whoever has them on their screen.
const MAX_DISPLACED: usize = 16;

/// The first bytes of a device id: enough to tell the few devices of one user apart.
pub type DeviceTag = [u8; 4];

/// The tag of a device.
#[must_use]
pub fn device_tag(device: DeviceId) -> DeviceTag {
    let id = device.as_bytes();
    [id[0], id[1], id[2], id[3]]
}

/// The last second that is told apart: half a year before the counter ends, so that no policy's time past it
/// overflows.
pub(crate) const LAST: Seconds = Seconds::MAX - (1 << 24);

/// Time as the guard counts it, from one: zero stands for never.
#[must_use]
pub fn seconds(at: Timestamp) -> Seconds {
    Seconds::try_from(at.seconds()).unwrap_or(LAST).clamp(1, LAST)
}

/// An open challenge whose outcome has not been applied yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// Which.
    pub id: ChallengeId,
    /// Who asked.
    pub integration: IntegrationId,
    /// What it cost.
    pub charge: Charge,
    /// Where it came from, as counted over users.
    pub asker: Asker,
    /// Whether a right answer was withheld: a code approves it, from a budget of its own.
    pub withheld: bool,
    /// Whose answer that was.
    pub by: Option<DeviceTag>,
}

/// What is remembered per user: a small value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What went wrong, and which places are familiar.
    pub memory: Memory,
    /// Open challenges, oldest first. Taking one out is what makes applying its outcome happen once.
    pub open: Vec<Opened>,
    /// The highest answer counter settled per device (its low 32 bits), at most one per active device.
    pub counters: Vec<(DeviceTag, u32)>,
    /// The device of the last approved push, and when.
    pub approved: Option<(DeviceTag, Timestamp)>,
}

impl Cell {
    /// What is kept of an open challenge.
    #[must_use]
    pub fn opened(&self, id: ChallengeId) -> Option<&Opened> {
        self.open.iter().find(|open| open.id == id)
    }

    /// The ids of open challenges.
    pub fn open_ids(&self) -> impl Iterator<Item = ChallengeId> {
        self.open.iter().map(|open| open.id)
    }

    /// Notes that a challenge was opened. Decoys leave no trace: nobody can answer them by push.
    #[must_use]
    pub fn open(
        self,
        policy: &Policy,
        challenge: &Challenge,
        facts: &Facts,
        asker: Asker,
        verdict: &Verdict,
    ) -> (Self, Vec<Alert>) {
        let which = (challenge.id, challenge.integration);
        self.open_as(policy, which, facts, asker, verdict, seconds(challenge.created))
    }

    /// The same for a challenge of which only a record is left.
    #[must_use]
    pub fn open_as(
        mut self,
        policy: &Policy,
        (id, integration): (ChallengeId, IntegrationId),
        facts: &Facts,
        asker: Asker,
        verdict: &Verdict,
        now: Seconds,
    ) -> (Self, Vec<Alert>) {
        if verdict.mode == Mode::Decoy {
            return (self, Vec::new());
        }
        self.memory.bring_to(policy, now);
        let (charge, alerts) = self.memory.opened(policy, facts, verdict, now);
        self.open.push(Opened { id, integration, charge, asker, withheld: false, by: None });
        self.displace(policy);
        (self, alerts)
    }

    /// Lets an older challenge give way to the newest, where there are more than are shown.
    fn displace(&mut self, policy: &Policy) {
        let Some((newest, older)) = self.open.split_last() else { return };
        let older = older.iter().map(|open| open.charge);
        let Some(at) = gives_way(policy, older, newest.charge) else { return };
        self.open[at].charge.displaced = true;
        let mut displaced = self.open.iter().filter(|open| open.charge.displaced);
        if displaced.clone().count() > MAX_DISPLACED
            && let Some(id) = displaced.next().map(|open| open.id)
        {
            self.open.retain(|open| open.id != id);
        }
    }

    /// Whether the app shows a live challenge.
    #[must_use]
    pub fn shows(&self, id: ChallengeId) -> bool {
        self.opened(id).is_some_and(|open| !open.charge.displaced)
    }

    /// Applies the outcome of an open challenge, once; `None` if it was applied before.
    #[must_use]
    pub fn settle(
        mut self,
        policy: &Policy,
        id: ChallengeId,
        decided: &Decided,
        outage: bool,
    ) -> Option<(Self, Opened, Vec<Alert>)> {
        let at = self.open.iter().position(|open| open.id == id)?;
        let opened = self.open.remove(at);
        if let (Decision::Approved, Some(Proof::Push(device))) = (decided.decision, decided.proof) {
            self.approved = Some((device_tag(device), decided.at));
        }
        let now = seconds(decided.at);
        self.memory.bring_to(policy, now);
        if opened.withheld && decided.decision == Decision::Approved {
            self.memory.released(&opened.charge);
        }
        let alerts = self.memory.settled(policy, &opened.charge, decided.decision, outage, now);
        Some((self, opened, alerts))
    }

    /// Takes out a challenge that never came to be, and what it cost.
    pub fn undo(&mut self, policy: &Policy, id: ChallengeId) {
        if let Some(at) = self.open.iter().position(|open| open.id == id) {
            let Opened { charge, .. } = self.open.remove(at);
            self.memory.undo(policy, &charge);
        }
    }

    /// Notes a settled answer; says whether its counter is not above the last one, as a copied key's would be.
    #[must_use]
    pub fn note_counter(&mut self, device: DeviceId, counter: u64) -> Option<Alert> {
        let tag = device_tag(device);
        let counter = u32::try_from(counter).unwrap_or(u32::MAX);
        match self.counters.iter_mut().find(|(other, _)| *other == tag) {
            Some((_, last)) if counter <= *last => {
                return Some(Alert::user(AlertKind::ClonedKey, Severity::High));
            }
            Some((_, last)) => *last = counter,
            None => {
                if self.counters.len() == MAX_DEVICES {
                    self.counters.remove(0);
                }
                self.counters.push((tag, counter));
            }
        }
        None
    }

    /// Whether `device` approved a push within [`REBIND_WINDOW`].
    #[must_use]
    pub fn may_rebind(&self, device: DeviceId, now: Timestamp) -> bool {
        self.approved
            .is_some_and(|(tag, at)| tag == device_tag(device) && now.since(at) < REBIND_WINDOW)
    }
}
