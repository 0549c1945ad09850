//! The table of sign-ins.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use statement::Timestamp;

use super::{Asked, Handle, SIGN_IN_LIFE, SignIn, Stage, Start};
use crate::Call;

/// How many sign-ins a process holds, some 500 bytes each and what their edge keeps. Beyond, new ones are
/// refused: to drop old ones would let a flood end the sign-ins of others.
pub const MAX_SIGN_INS: usize = 100_000;
/// How many of them may stand on no first factor. Anybody can start such by knowing a client's public id: a flood of
/// them leaves room for those whom a relying party vouches for.
const MAX_UNPROVEN: usize = MAX_SIGN_INS / 2;

#[derive(Default)]
struct Table {
    by_hash: BTreeMap<[u8; 32], Arc<SignIn>>,
    /// Oldest first: all live equally long.
    by_age: VecDeque<(Timestamp, [u8; 32])>,
    /// How many stand on no first factor.
    unproven: usize,
}

impl Table {
    fn drop_past(&mut self, now: Timestamp) {
        while let Some((started, hash)) = self.by_age.front() {
            if now.since(*started) < SIGN_IN_LIFE {
                break;
            }
            let gone = self.by_hash.remove(hash);
            self.unproven -= usize::from(gone.is_some_and(|gone| !gone.is_proven()));
            self.by_age.pop_front();
        }
    }
}

/// The sign-ins of this process.
#[derive(Default)]
pub struct SignIns(Mutex<Table>);

impl SignIns {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // no code between lock and unlock leaves the table half changed
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one; `None` if there are too many.
    pub fn start(&self, call: &mut Call, start: Start) -> Option<Handle> {
        let handle = Handle::draw(&mut *call.rng);
        self.add(call.now, &handle, start, None).then_some(handle)
    }

    /// Shows a challenge that whoever asks for the sign-in has made, under the handle that belongs to it; `false` if
    /// there are too many. One that is there already stays with its browser.
    pub(crate) fn show(&self, now: Timestamp, handle: &Handle, start: Start, asked: Asked) -> bool {
        self.find(now, handle).is_some() || self.add(now, handle, start, Some(asked))
    }

    fn add(&self, now: Timestamp, handle: &Handle, start: Start, given: Option<Asked>) -> bool {
        let sign_in = SignIn {
            start,
            started: now,
            bound: OnceLock::new(),
            named: Mutex::default(),
            given: given.is_some(),
            left: AtomicBool::new(false),
            stage: futures_util::lock::Mutex::new(given.map_or(Stage::Fresh, Stage::Asked)),
        };
        let mut table = self.table();
        table.drop_past(now);
        let unproven = usize::from(!sign_in.is_proven());
        if table.by_hash.len() >= MAX_SIGN_INS || table.unproven + unproven > MAX_UNPROVEN {
            return false;
        }
        let hash = handle.hash();
        // of two requests that are one and the same, the first has made it
        if let Entry::Vacant(place) = table.by_hash.entry(hash) {
            place.insert(Arc::new(sign_in));
            table.unproven += unproven;
            table.by_age.push_back((now, hash));
        }
        true
    }

    /// The sign-in of a handle, while it lives.
    #[must_use]
    pub fn find(&self, now: Timestamp, handle: &Handle) -> Option<Arc<SignIn>> {
        let mut table = self.table();
        table.drop_past(now);
        let found = table.by_hash.get(&handle.hash())?;
        // a clock that stepped back may have left the order of ages behind
        (!found.is_past(now)).then(|| Arc::clone(found))
    }
}

impl fmt::Debug for SignIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignIns")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ports::UserRef;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use statement::IntegrationId;

    use super::*;
    use crate::FirstFactor;
    use crate::sign_ins::Whom;

    fn start(sign_ins: &SignIns, call: &mut Call) -> Option<Handle> {
        let first_factor = FirstFactor { method: "password".to_owned(), at: call.now };
        start_on(sign_ins, call, Some(first_factor))
    }

    fn start_on(
        sign_ins: &SignIns,
        call: &mut Call,
        first_factor: Option<FirstFactor>,
    ) -> Option<Handle> {
        let start = Start {
            integration: IntegrationId::from_bytes([1; 16]),
            whom: Whom::User(UserRef::Name("alice".to_owned())),
            called: "alice".to_owned(),
            first_factor,
            purpose: None,
            methods: None,
            languages: None,
            within: None,
            back: None,
        };
        sign_ins.start(call, start)
    }

    #[test]
    fn sign_ins_are_bounded_and_make_room_when_they_end() {
        let mut call = Call {
            now: Timestamp::from_millis(1_000_000),
            rng: Box::new(StdRng::seed_from_u64(1)),
        };
        let sign_ins = SignIns::new();
        let first = start(&sign_ins, &mut call).expect("room");
        call.now = call.now.plus(Duration::from_secs(1));
        for _ in 1..MAX_SIGN_INS {
            assert!(start(&sign_ins, &mut call).is_some());
        }
        assert!(start(&sign_ins, &mut call).is_none());
        assert!(sign_ins.find(call.now, &first).is_some(), "nobody is pushed out");

        call.now = call.now.plus(SIGN_IN_LIFE - Duration::from_secs(1));
        assert!(sign_ins.find(call.now, &first).is_none());
        assert!(start(&sign_ins, &mut call).is_some());
        assert!(start(&sign_ins, &mut call).is_none(), "one ended, one came");
        call.now = call.now.plus(Duration::from_secs(1));
        assert!(start(&sign_ins, &mut call).is_some());
        assert_eq!(sign_ins.table().by_hash.len(), 2);
        assert_eq!(sign_ins.table().by_age.len(), 2);
    }

    #[test]
    fn a_flood_of_those_whom_nobody_vouches_for_leaves_room() {
        let mut call = Call {
            now: Timestamp::from_millis(1_000_000),
            rng: Box::new(StdRng::seed_from_u64(3)),
        };
        let sign_ins = SignIns::new();
        for _ in 0..MAX_UNPROVEN {
            assert!(start_on(&sign_ins, &mut call, None).is_some());
        }
        assert!(start_on(&sign_ins, &mut call, None).is_none());
        assert!(start(&sign_ins, &mut call).is_some());
        call.now = call.now.plus(SIGN_IN_LIFE);
        assert!(start_on(&sign_ins, &mut call, None).is_some());
        assert_eq!(sign_ins.table().unproven, 1);
    }

    #[test]
    fn a_handle_reads_back_and_debug_hides_it() {
        let handle = Handle::draw(&mut StdRng::seed_from_u64(2));
        let path = handle.path();
        let text = path.strip_prefix("/sign-in/").expect("a path");
        assert_eq!(text.len(), 43);
        let read = Handle::parse(text).expect("a handle");
        assert_eq!(read.hash(), handle.hash());
        assert!(!format!("{handle:?}").contains(text));
        for bad in ["", &text[1..], &format!("{text}A"), "+".repeat(43).as_str()] {
            assert!(Handle::parse(bad).is_none());
        }
    }
}
