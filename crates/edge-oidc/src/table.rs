//! Bounded tables of what lives for minutes: oldest first out, and only by age.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use statement::Timestamp;

/// A secret's hash, under which something is kept.
pub(crate) type Key = [u8; 32];

struct Rows<T> {
    by_key: HashMap<Key, T>,
    by_age: VecDeque<(Timestamp, Key)>,
}

/// What is kept of equal life. In memory: see ARCHITECTURE.md for why nothing of it survives a restart.
pub(crate) struct Table<T> {
    rows: Mutex<Rows<T>>,
    life: Duration,
    most: usize,
}

impl<T> Table<T> {
    /// At most `most` entries of `life`. Beyond, new ones are refused: to drop old ones would let a flood end
    /// those of others.
    pub(crate) fn new(life: Duration, most: usize) -> Self {
        let rows = Rows { by_key: HashMap::new(), by_age: VecDeque::new() };
        Self { rows: Mutex::new(rows), life, most }
    }

    fn current(&self, now: Timestamp) -> MutexGuard<'_, Rows<T>> {
        // no code between lock and unlock leaves the rows half changed
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, key)) = rows.by_age.front().copied() {
            if now.since(at) < self.life {
                break;
            }
            rows.by_key.remove(&key);
            rows.by_age.pop_front();
        }
        rows
    }

    /// Keeps something new; `false` if there is something under that key, or too much.
    pub(crate) fn insert(&self, now: Timestamp, key: Key, value: T) -> bool {
        let mut rows = self.current(now);
        if rows.by_age.len() >= self.most || rows.by_key.contains_key(&key) {
            return false;
        }
        rows.by_age.push_back((now, key));
        rows.by_key.insert(key, value);
        true
    }

    /// Takes it out: of any number of callers, one gets it.
    pub(crate) fn take(&self, now: Timestamp, key: &Key) -> Option<T> {
        // its place in the queue stays until its time, so that a taken key can't be counted as room
        self.current(now).by_key.remove(key)
    }

    /// Looks at it, and may change it, while nobody else can.
    pub(crate) fn with<R>(
        &self,
        now: Timestamp,
        key: &Key,
        look: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        self.current(now).by_key.get_mut(key).map(look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_bounded_by_number_and_age_and_are_taken_once() {
        let table = Table::new(Duration::from_secs(60), 2);
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        assert!(table.insert(at(0), [1; 32], 'a'));
        assert!(!table.insert(at(0), [1; 32], 'b'), "taken");
        assert!(table.insert(at(1), [2; 32], 'b'));
        assert!(!table.insert(at(59), [3; 32], 'c'), "full");
        assert_eq!(table.take(at(59), &[1; 32]), Some('a'));
        assert_eq!(table.take(at(59), &[1; 32]), None);
        assert!(!table.insert(at(59), [3; 32], 'c'), "still full: its time isn't over");
        assert!(table.insert(at(60), [3; 32], 'c'));
        assert_eq!(table.with(at(60), &[2; 32], |value| *value), Some('b'));
        assert_eq!(table.with(at(61), &[2; 32], |value| *value), None, "over");
    }
}
