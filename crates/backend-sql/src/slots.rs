//! Hot state in memory, a slot per user. Memory is never ahead of the disk where it matters: a commit that has
//! to be durable keeps its slot locked until the writer has stored it, and changes nothing if it doesn't.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::challenge::Challenge;
use domain::guard::Cell;
use ports::{HotChange, Rider, StoreError};
use sqlx::{Row as _, SqliteConnection};
use statement::{ChallengeId, TenantId, Timestamp, UserId};
use tokio::sync::{Mutex as SlotMutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::codec::{
    bytes, cell_from_bytes, cell_to_bytes, challenge, decode, inconsistent, uint,
};
use crate::ledger::select_challenge;

/// How long a caller waits for a commit of the same user that is on its way to the disk. A healthy disk
/// needs a thousandth of it.
const SLOT_WAIT: Duration = Duration::from_secs(2);
/// Slots above which idle ones are dropped: about 100 MB at a kilobyte each.
const MAX_IDLE_SLOTS: usize = 100_000;
/// Slots above which nobody new is served until others go idle.
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

struct Slot {
    /// `None` until it was read from the disk.
    state: Arc<SlotMutex<Option<HotState>>>,
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
pub(crate) type Held = OwnedMutexGuard<Option<HotState>>;

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
                timeout(SLOT_WAIT, state.lock_owned()).await.map_err(|_| StoreError::Overloaded)
            }
        }
    }

    fn slot(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Result<Arc<SlotMutex<Option<HotState>>>, StoreError> {
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
        if self.slots.len() < self.search_at.max(MAX_IDLE_SLOTS / SHARDS) {
            return Ok(());
        }
        self.slots.retain(|_, slot| {
            let used = Timestamp::from_millis(slot.used.load(Ordering::Relaxed));
            now.since(used) < IDLE || !is_idle(&slot.state, now)
        });
        // not again before it has grown by a tenth
        self.search_at = self.slots.len() + self.slots.len() / 10;
        if self.slots.len() < MAX_SLOTS / SHARDS { Ok(()) } else { Err(StoreError::Overloaded) }
    }
}

/// Whether nobody holds or waits for it and nothing in it is live. What such a slot knows more than the disk
/// are outcomes that were applied, and whoever loads it anew applies them again.
fn is_idle(state: &Arc<SlotMutex<Option<HotState>>>, now: Timestamp) -> bool {
    Arc::strong_count(state) == 1
        && state.try_lock().is_ok_and(|state| {
            let live = state.as_ref().map_or(&[][..], |state| &state.live);
            live.iter().all(|challenge| challenge.is_past(now))
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
        *self.held = Some(self.state);
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
