//! The challenges that batches judge: changed in memory, written many at a time at a batch's end. Single statements
//! would cost each ceremony twice as much (docs/performance.md).
//!
//! Nobody but the writer writes, so what it read or wrote stays true, and is kept for the batches that follow: a
//! ceremony's decision and redeem read nothing. A change of the directory flushes and forgets everything here
//! first, and a transaction that fails leaves nothing of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::challenge::{Challenge, Collect, Decided, Decision, State};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use statement::{ChallengeId, DeviceId, EventId, Timestamp, UserId};

use crate::codec::{self, bytes, id, time};
use crate::many::{Many, Query};

/// Challenges that are kept for the next batches, at some 200 bytes each: the newest. Others are read again.
const MAX_CHALLENGES: usize = 50_000;
/// Devices that are kept.
const MAX_DEVICES: usize = 50_000;

/// What jobs will look at.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) challenges: Vec<ChallengeId>,
    pub(crate) devices: Vec<DeviceId>,
}

/// What of a challenge a decision or a redeem depends on, and changes.
#[derive(Clone, Debug)]
pub(crate) struct Challenged {
    pub(crate) id: ChallengeId,
    pub(crate) user: UserId,
    pub(crate) session: [u8; 32],
    pub(crate) expires: Timestamp,
    /// Lapses by revocation and reset included.
    pub(crate) state: State,
    /// The event of its decision.
    pub(crate) event: Option<EventId>,
    pub(crate) lapsed_at: Option<Timestamp>,
    pub(crate) wrong_sessions: u8,
    is_changed: bool,
}

impl Challenged {
    /// As it is when it is opened.
    pub(crate) fn opened(challenge: &Challenge) -> Self {
        Self {
            id: challenge.id,
            user: challenge.user,
            session: challenge.session,
            expires: challenge.expires,
            state: State::Pending,
            event: None,
            lapsed_at: None,
            wrong_sessions: 0,
            is_changed: false,
        }
    }

    fn read(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: id(row, "id", ChallengeId::from_slice)?,
            user: id(row, "user_id", UserId::from_slice)?,
            session: bytes(row, "session")?,
            expires: time(row.try_get("expires")?),
            state: codec::state(row)?,
            event: codec::maybe_event(row, "decided")?,
            lapsed_at: row.try_get::<Option<i64>, _>("lapsed_at")?.map(time),
            wrong_sessions: row.try_get("wrong_sessions")?,
            is_changed: false,
        })
    }

    pub(crate) fn decided(&self) -> Option<&Decided> {
        match &self.state {
            State::Pending => None,
            State::Decided(decided) => Some(decided),
        }
    }

    fn collect(&mut self, collect: Collect) {
        if let State::Decided(decided) = &mut self.state {
            decided.collect = collect;
        }
    }

    /// Decides; whoever calls has made sure that it is pending.
    pub(crate) fn decide(&mut self, decided: Decided, event: EventId) {
        self.state = State::Decided(decided);
        self.event = Some(event);
        self.is_changed = true;
    }

    /// Notes that it is redeemed. Its row stays as it is: the audit row is what says so.
    pub(crate) fn redeem(&mut self) {
        self.collect(Collect::Redeemed);
    }

    /// Whether it is an approval that nobody redeemed and nobody ended.
    pub(crate) fn can_lapse(&self) -> bool {
        let is_open = |decided: &Decided| {
            decided.decision == Decision::Approved && decided.collect != Collect::Redeemed
        };
        self.decided().is_some_and(is_open) && self.lapsed_at.is_none()
    }

    pub(crate) fn lapse(&mut self, at: Timestamp) {
        self.lapsed_at = Some(at);
        self.collect(Collect::Lapsed);
        self.is_changed = true;
    }

    /// Counts a redeem by a wrong session; how many there were.
    pub(crate) fn count_wrong_session(&mut self) -> u8 {
        self.wrong_sessions = self.wrong_sessions.saturating_add(1);
        self.is_changed = true;
        self.wrong_sessions
    }
}

/// The working set.
#[derive(Default)]
pub(crate) struct Working {
    /// Ordered by id, which starts with the time: the oldest is always the first.
    challenges: BTreeMap<ChallengeId, Challenged>,
    /// Ids that were looked for in this batch and aren't there.
    absent: HashSet<ChallengeId>,
    /// Whether they may answer.
    devices: HashMap<DeviceId, bool>,
    /// Decided ones that were put here in this batch.
    touched: Vec<ChallengeId>,
}

impl Working {
    /// What of `wanted` isn't here yet, each once.
    pub(crate) fn missing(&self, mut wanted: Wanted) -> Wanted {
        let is_known =
            |id: &ChallengeId| self.challenges.contains_key(id) || self.absent.contains(id);
        wanted.challenges.retain(|id| !is_known(id));
        wanted.challenges.sort_unstable();
        wanted.challenges.dedup();
        wanted.devices.retain(|id| !self.devices.contains_key(id));
        wanted.devices.sort_unstable();
        wanted.devices.dedup();
        wanted
    }

    /// Takes in what was read for `asked`.
    pub(crate) fn learn(
        &mut self,
        asked: &Wanted,
        challenges: &[SqliteRow],
        active: &[SqliteRow],
    ) -> sqlx::Result<()> {
        self.absent.extend(&asked.challenges);
        for row in challenges {
            let challenged = Challenged::read(row)?;
            self.absent.remove(&challenged.id);
            self.challenges.insert(challenged.id, challenged);
        }
        self.devices.extend(asked.devices.iter().map(|id| (*id, false)));
        for row in active {
            self.devices.insert(id(row, "id", DeviceId::from_slice)?, true);
        }
        Ok(())
    }

    /// The outer `None`: nobody looked yet.
    pub(crate) fn challenge(&self, id: ChallengeId) -> Option<Option<Challenged>> {
        let absent = || self.absent.contains(&id).then_some(None);
        self.challenges.get(&id).cloned().map(Some).or_else(absent)
    }

    pub(crate) fn is_active(&self, device: DeviceId) -> Option<bool> {
        self.devices.get(&device).copied()
    }

    pub(crate) fn put(&mut self, challenged: Challenged) {
        if challenged.decided().is_some() {
            self.touched.push(challenged.id);
        }
        self.challenges.insert(challenged.id, challenged);
    }

    /// What has to be written, by id. Whoever takes it writes it, or forgets everything.
    pub(crate) fn take_changed(&mut self) -> Vec<Challenged> {
        self.touched.sort_unstable();
        self.touched.dedup();
        let mut changed = Vec::with_capacity(self.touched.len());
        for id in &self.touched {
            if let Some(challenged) = self.challenges.get_mut(id).filter(|found| found.is_changed) {
                changed.push(challenged.clone());
                challenged.is_changed = false;
            }
        }
        changed
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets what hardly any later batch will ask for.
    pub(crate) fn shrink(&mut self) {
        self.absent.clear();
        for id in self.touched.drain(..) {
            if self.challenges.get(&id).is_some_and(|challenged| !challenged.can_lapse()) {
                self.challenges.remove(&id);
            }
        }
        while self.challenges.len() > MAX_CHALLENGES {
            self.challenges.pop_first();
        }
        if self.devices.len() > MAX_DEVICES {
            self.devices.clear();
        }
    }
}

pub(crate) const SELECT_CHALLENGES: Many = Many {
    head: "SELECT c.id, c.user_id, c.session, c.expires, c.decision, c.decided, c.decided_at, c.proof_kind, \
           c.proof_id, c.lapsed_at, c.wrong_sessions, \
           COALESCE(c.redeemed_at, (SELECT a.at FROM audit a WHERE a.redeems = c.id)) AS redeemed_at, \
           (c.lapsed_at IS NOT NULL \
           OR (c.proof_kind IN (1, 4, 5) AND NOT EXISTS \
               (SELECT 1 FROM devices d WHERE d.id = substr(c.proof_id, 1, 16) AND d.revoked IS NULL)) \
           OR EXISTS (SELECT 1 FROM users u WHERE u.id = c.user_id AND u.reset_at >= c.decided_at)) AS lapsed \
           FROM challenges c WHERE c.id IN (",
    columns: 1,
    tail: ")",
};

pub(crate) const SELECT_ACTIVE_DEVICES: Many = Many {
    head: "SELECT id FROM devices WHERE revoked IS NULL AND wait_by IS NULL AND id IN (",
    columns: 1,
    tail: ")",
};

pub(crate) fn bind_challenge_id<'q>(query: Query<'q>, id: &'q ChallengeId) -> Query<'q> {
    query.bind(id.as_bytes().as_slice())
}

pub(crate) fn bind_device_id<'q>(query: Query<'q>, id: &'q DeviceId) -> Query<'q> {
    query.bind(id.as_bytes().as_slice())
}
