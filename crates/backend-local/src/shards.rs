//! A map cut into pieces that are locked one by one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Enough that the threads of a big machine seldom meet; few enough that counting them all is cheap.
const SHARDS: usize = 64;
/// A piece with room for fewer is never worth shrinking.
const SMALL: usize = 32;

/// A map of `K` to `V` in [`SHARDS`] pieces.
pub(crate) struct Shards<K, V> {
    maps: [Mutex<HashMap<K, V>>; SHARDS],
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self { maps: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl<K: Eq + Hash, V> Shards<K, V> {
    /// The piece that holds `key`.
    pub(crate) fn of(&self, key: &K) -> MutexGuard<'_, HashMap<K, V>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let shard = hasher.finish() % SHARDS as u64;
        locked(&self.maps[usize::try_from(shard).unwrap_or(0)])
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.maps.iter().map(|map| locked(map).len()).sum()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.maps.iter().map(|map| locked(map).capacity()).sum()
    }
}

/// Gives memory back after a removal: a crowd that left must not be paid for until the next start.
pub(crate) fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > SMALL && map.len() < map.capacity() / 4 {
        map.shrink_to(map.len() * 2);
    }
}

/// Locks; a thread that panicked under this lock left whole values behind, since no code here that can
/// panic runs between two halves of a change.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
