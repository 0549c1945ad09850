//! Hot state in memory, a slot per user. Memory is never ahead of the disk where it matters: a commit that has
//! to be durable keeps its slot locked until the writer has stored it, and changes nothing if it doesn't.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::challenge::{Challenge, Mode};
use domain::guard::Cell;
use ports::{HotChange, Rider, StoreError};
use sqlx::{Row as _, SqliteConnection};
use statement::{ChallengeId, TenantId, Timestamp, UserId};
use tokio::sync::{Mutex as SlotMutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::codec::{bytes, cell_from_bytes, cell_to_bytes, challenge, decode, inconsistent, uint};
use crate::ledger::select_challenge;

/// How long a caller waits for a commit of the same user that is on its way to the disk. A healthy disk
/// needs a thousandth of it.
const SLOT_WAIT: Duration = Duration::from_secs(2);
/// Slots above which idle ones are dropped: about 100 MB at a kilobyte each.
const MAX_IDLE_SLOTS: usize = 100_000;
/// Slots above which nobody new is served until others go idle. Those of users whom nobody knows make room first.
const MAX_SLOTS: usize = 4 * MAX_IDLE_SLOTS;
/// A slot is idle when nobody used it for so long: no caller still holds a version of it then.
const IDLE: Duration = Duration::from_secs(60);
const SHARDS: usize = 64;

/// A user's state as memory has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct HotState {
    pub(crate) version: u64,
    pub(crate) cell: Cell,
    pub(crate) live: Vec<Arc<Challenge>>,
    pub(crate) op_id: [u8; 16],
}

impl HotState {
    /// The state after `change`.
    pub(crate) fn with(&self, change: &HotChange) -> Self {
        let stays = |challenge: &&Arc<Challenge>| {
            !change.remove.contains(&challenge.id)
                && !change.add.iter().any(|added| added.id == challenge.id)
        };
        let mut live: Vec<_> = self.live.iter().filter(stays).cloned().collect();
        live.extend(change.add.iter().cloned());
        let (version, cell) = (self.version + 1, change.cell.clone());
        Self { version, cell, live, op_id: change.op_id }
    }
}

/// What memory has of a user's state. The state is apart: of most users whose devices are connected there is none.
#[derive(Debug, Default)]
pub(crate) enum Known {
    /// Not yet read from the disk.
    #[default]
    Unread,
    /// Nothing was ever stored.
    Nothing,
    State(Box<HotState>),
}

impl Known {
    pub(crate) fn of(state: HotState) -> Self {
        if state.version == 0 { Self::Nothing } else { Self::State(Box::new(state)) }
    }

    /// `None`: not yet read.
    pub(crate) fn state(&self) -> Option<HotState> {
        match self {
            Self::Unread => None,
            Self::Nothing => Some(HotState::default()),
            Self::State(state) => Some((**state).clone()),
        }
    }
}

struct Slot {
    state: Arc<SlotMutex<Known>>,
    /// Milliseconds since the epoch.
    used: AtomicU64,
}

#[derive(Default)]
struct Shard {
    slots: HashMap<(TenantId, UserId), Slot>,
    /// Size at which the next search for idle slots is worth it.
    search_at: usize,
}

/// A user's slot, held alone.
pub(crate) type Held = OwnedMutexGuard<Known>;

/// All slots.
pub(crate) struct Slots(Vec<Mutex<Shard>>);

impl Slots {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// Takes a user's slot, waiting for a commit that is under way.
    pub(crate) async fn hold(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Result<Held, StoreError> {
        let state = self.slot(tenant, user, now)?;
        match Arc::clone(&state).try_lock_owned() {
            Ok(held) => Ok(held),
            Err(_) => {
                // boxed: a timer is large, and aligned to 128 bytes
                let held = Box::pin(timeout(SLOT_WAIT, state.lock_owned())).await;
                held.map_err(|_| StoreError::Overloaded)
            }
        }
    }

    fn slot(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Result<Arc<SlotMutex<Known>>, StoreError> {
        let shard = usize::from(user.as_bytes()[15]) % SHARDS;
        let mut shard = self.0[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = shard.slots.get(&(tenant, user)) {
            slot.used.store(now.millis(), Ordering::Relaxed);
            return Ok(Arc::clone(&slot.state));
        }
        shard.make_room(now)?;
        let state = Arc::default();
        let slot = Slot { state: Arc::clone(&state), used: AtomicU64::new(now.millis()) };
        shard.slots.insert((tenant, user), slot);
        Ok(state)
    }
}

impl Shard {
    fn make_room(&mut self, now: Timestamp) -> Result<(), StoreError> {
        const MAX: usize = MAX_SLOTS / SHARDS;
        if self.slots.len() < self.search_at.clamp(MAX_IDLE_SLOTS / SHARDS, MAX) {
            return Ok(());
        }
        self.slots.retain(|_, slot| !slot.is_idle(now) || !has_ended(&slot.state, now));
        if self.slots.len() >= MAX {
            // made-up names must not keep anybody out; the disk has what is live of theirs
            self.slots.retain(|_, slot| !is_stand_in(&slot.state));
        }
        if self.slots.len() >= MAX {
            self.slots.retain(|_, slot| !slot.is_idle(now) || !is_free(&slot.state));
        }
        // not again before it has grown by a tenth
        self.search_at = self.slots.len() + self.slots.len() / 10;
        if self.slots.len() < MAX { Ok(()) } else { Err(StoreError::Overloaded) }
    }
}

impl Slot {
    fn is_idle(&self, now: Timestamp) -> bool {
        now.since(Timestamp::from_millis(self.used.load(Ordering::Relaxed))) >= IDLE
    }
}

/// Whether nobody holds or waits for it.
fn is_free(state: &Arc<SlotMutex<Known>>) -> bool {
    Arc::strong_count(state) == 1
}

/// Whether nobody holds or waits for it and all that is live in it are decoys: somebody made a name up, or asks for
/// a user who isn't enrolled. Whoever has loaded it meanwhile may overwrite what they don't know of; nothing of a
/// stand-in's is worth more than a place for somebody.
fn is_stand_in(state: &Arc<SlotMutex<Known>>) -> bool {
    let is_nobodys = |state: &HotState| {
        state.cell.open.is_empty()
            && !state.live.is_empty()
            && state.live.iter().all(|challenge| challenge.mode == Mode::Decoy)
    };
    is_free(state)
        && state
            .try_lock()
            .is_ok_and(|known| matches!(&*known, Known::State(state) if is_nobodys(state)))
}

/// Whether nobody holds or waits for it and nothing in it is live. What such a slot knows more than the disk
/// are outcomes that were applied, and whoever loads it anew applies them again.
fn has_ended(state: &Arc<SlotMutex<Known>>, now: Timestamp) -> bool {
    is_free(state)
        && state.try_lock().is_ok_and(|known| match &*known {
            Known::Unread | Known::Nothing => true,
            Known::State(state) => state.live.iter().all(|challenge| challenge.is_past(now)),
        })
}

/// The row of a state.
#[derive(Clone, Debug)]
pub(crate) struct HotRow {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) version: u64,
    pub(crate) cell: Vec<u8>,
    pub(crate) live: Vec<u8>,
    pub(crate) op_id: [u8; 16],
}

/// A commit on its way to the disk: the slot stays locked until it is applied or dropped.
pub(crate) struct HotWrite {
    held: Held,
    state: HotState,
    row: HotRow,
}

impl HotWrite {
    pub(crate) fn new(
        tenant: TenantId,
        user: UserId,
        held: Held,
        state: HotState,
    ) -> Result<Self, StoreError> {
        let row = HotRow {
            tenant,
            user,
            version: state.version,
            cell: cell_to_bytes(&state.cell)?,
            live: state.live.iter().flat_map(|c| *c.id.as_bytes()).collect(),
            op_id: state.op_id,
        };
        Ok(Self { held, state, row })
    }

    pub(crate) const fn row(&self) -> &HotRow {
        &self.row
    }

    /// It is stored: everybody sees it from now on.
    pub(crate) fn apply(mut self) {
        *self.held = Known::of(self.state);
    }
}

/// The commit that rides along.
pub(crate) fn hot_write(rider: Option<Rider>) -> Result<Option<HotWrite>, StoreError> {
    let write = rider.map(|rider| rider.0.downcast::<HotWrite>()).transpose();
    let write = write.map_err(|_| inconsistent("a rider of another store"))?;
    Ok(write.map(|write| *write))
}

/// A user's state as the disk has it: live are those that nobody decided.
pub(crate) async fn read(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    user: UserId,
) -> sqlx::Result<HotState> {
    let row = sqlx::query(
        "SELECT version, cell, live, op_id FROM hot WHERE tenant = $1 AND user_id = $2",
    )
    .bind(tenant.as_bytes().as_slice())
    .bind(user.as_bytes().as_slice())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else {
        return Ok(HotState::default());
    };
    let mut live = Vec::new();
    for bytes in row.try_get::<&[u8], _>("live")?.chunks(ChallengeId::LEN) {
        let id = ChallengeId::from_slice(bytes).map_err(|error| decode("live", error))?;
        if let Some(row) = select_challenge(conn, id).await?
            && row.try_get::<u8, _>("decision")? == 0
        {
            live.push(Arc::new(challenge(&row)?));
        }
    }
    Ok(HotState {
        version: uint(row.try_get("version")?),
        cell: cell_from_bytes(row.try_get("cell")?)?,
        live,
        op_id: bytes(&row, "op_id")?,
    })
}

#[cfg(test)]
mod tests {
    use testkit::Fixture;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// Names of one shard.
    fn user(n: usize) -> UserId {
        let mut id = [0; UserId::LEN];
        id[..8].copy_from_slice(&(n as u64).to_be_bytes());
        UserId::from_bytes(id)
    }

    async fn fill(slots: &Slots, tenant: TenantId, users: std::ops::Range<usize>, mode: Mode) {
        let challenge = Challenge { mode, ..Fixture::new(1).plain_challenge() };
        let challenge = Arc::new(Challenge { expires: NOW.plus(IDLE * 5), ..challenge });
        for n in users {
            let mut held = slots.hold(tenant, user(n), NOW).await.unwrap();
            let live = vec![Arc::clone(&challenge)];
            *held = Known::of(HotState { version: 1, live, ..HotState::default() });
        }
    }

    /// A bug once let made-up names fill the memory, and users who weren't in it yet found the service busy.
    #[tokio::test]
    async fn names_that_nobody_has_make_room_for_users() {
        const MAX: usize = MAX_SLOTS / SHARDS;
        let (slots, tenant) = (Slots::new(), TenantId::from_bytes([1; TenantId::LEN]));
        fill(&slots, tenant, 0..100, Mode::Ring).await;
        fill(&slots, tenant, 100..MAX, Mode::Decoy).await;
        let held = slots.hold(tenant, user(MAX), NOW).await;
        held.expect("there is room");
        let left = || slots.0[0].lock().unwrap().slots.len();
        assert_eq!(left(), 101, "who is served stays");
        // users proper are not dropped while they are at it, and are bounded
        fill(&slots, tenant, 200..MAX + 100, Mode::Ring).await;
        for _ in 0..3 {
            assert!(slots.hold(tenant, user(9 * MAX), NOW).await.is_err());
            assert_eq!(left(), MAX);
        }
        assert!(slots.hold(tenant, user(9 * MAX), NOW.plus(IDLE)).await.is_ok());
    }
}
