//! Challenges in memory: those of the last quarter of an hour, so that asking, waiting and redeeming read nothing
//! from the disk. Only the writer changes them, after its commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::challenge::{Challenge, MAX_TTL};
use ports::LedgerRecord;
use statement::ChallengeId;

/// How long a challenge is remembered: its longest life, and ten minutes for those who still ask.
const KEEP: Duration = Duration::from_secs(MAX_TTL.as_secs() + 600);
/// At most so many challenges, at about a kilobyte each. Older ones are read from the disk.
const MAX_RECORDS: usize = 100_000;
const SHARDS: usize = 16;

/// Ordered by id, which starts with the time: the oldest is always the first.
pub(crate) struct Records(Vec<Mutex<BTreeMap<ChallengeId, LedgerRecord>>>);

impl Records {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    fn with<T>(
        &self,
        id: ChallengeId,
        look: impl FnOnce(&mut BTreeMap<ChallengeId, LedgerRecord>) -> T,
    ) -> T {
        let shard = usize::from(id.as_bytes()[ChallengeId::LEN - 1]) % SHARDS;
        look(&mut self.0[shard].lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn insert(&self, record: LedgerRecord) {
        let id = record.challenge.id;
        self.with(id, |records| {
            records.insert(id, record);
            while let Some((oldest, _)) = records.first_key_value() {
                let is_old = id.created().since(oldest.created()) > KEEP;
                if !is_old && records.len() <= MAX_RECORDS / SHARDS {
                    break;
                }
                records.pop_first();
            }
        });
    }

    pub(crate) fn get(&self, id: ChallengeId) -> Option<LedgerRecord> {
        self.with(id, |records| records.get(&id).cloned())
    }

    pub(crate) fn update(&self, id: ChallengeId, change: impl FnOnce(&mut LedgerRecord)) {
        self.with(id, |records| {
            if let Some(record) = records.get_mut(&id) {
                change(record);
            }
        });
    }
}

/// The same challenge without its number.
pub(crate) fn erased(challenge: &Challenge) -> Arc<Challenge> {
    let mut challenge = challenge.clone();
    challenge.number = Vec::new();
    Arc::new(challenge)
}
