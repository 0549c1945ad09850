//! What single addresses and networks did, in a bounded table.

use std::collections::HashMap;

use super::super::decay::{Seconds, fade};
use super::super::origin::SourceKey;
use super::super::policy::Policy;
use super::{MAX_SOURCES, UserTag};

/// Users of one source that are told apart: far above every threshold.
const MAX_USERS: usize = 16;
/// Entries that are looked at to find the one to forget.
const SAMPLE: usize = 8;
/// Fewer failures than any threshold notices: ten half-lives after one.
const FORGOTTEN: f32 = 1.0 / 1024.0;
/// Less than half a failure is left: whoever failed is somebody new when they are asked again.
const FADED: f32 = 0.5;
/// Stands for a request that nobody will answer any more.
const STALE: u16 = 0;

/// How many users without success make a source a spray.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// At least so many.
    pub(super) users: f32,
    /// And so many times those who succeeded.
    pub(super) ratio: f32,
}

/// What one address or network did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source {
    at: Seconds,
    /// Users who were asked without success; zero is nobody.
    users: [UserTag; MAX_USERS],
    /// When, as the low bits of the second, while an answer may still come: until then it is no evidence.
    asked_at: [u16; MAX_USERS],
    /// Which integrations said so, as bits: one of them can set no more than one.
    said_by: u8,
    /// How many they are of whom no answer is expected any more, fading.
    failing: f32,
    /// Users who succeeded, fading; and which ones lately, as bits.
    good: f32,
    good_seen: [u64; 4],
    pub(super) hot_until: Seconds,
    pub(super) alerted_until: Seconds,
    /// Unknown recovery codes: when the budget is full again.
    pub(super) junk: Seconds,
}

const _: () = assert!(size_of::<Source>() <= 160, "what is remembered per source stays small");

#[expect(clippy::cast_possible_truncation, reason = "ages below a minute need no more bits")]
const fn low(at: Seconds) -> u16 {
    let low = at as u16;
    if low == STALE { 1 } else { low }
}

impl Source {
    pub(super) fn bring_to(&mut self, policy: &Policy, now: Seconds) {
        let elapsed = now.saturating_sub(self.at);
        if elapsed == 0 {
            return;
        }
        if !self.is_calm(now) {
            self.fail_to(policy, elapsed, now);
        }
        let half_life = Policy::seconds(policy.source_good_half_life_s);
        self.good *= fade(elapsed, half_life);
        // who was counted long ago is counted anew: a crowd that is never away for long stays one
        let seen: u32 = self.good_seen.iter().map(|bits| bits.count_ones()).sum();
        if f64::from(self.good) < f64::from(seen) / 2.0 {
            self.good_seen = [0; 4];
        }
        if elapsed > half_life {
            self.users = [0; MAX_USERS];
            self.said_by = 0;
        }
        self.at = now;
    }

    /// What counts as failures, brought up to date.
    fn fail_to(&mut self, policy: &Policy, elapsed: Seconds, now: Seconds) {
        let kept = fade(elapsed, Policy::seconds(policy.source_half_life_s));
        self.failing *= kept;
        if self.failing < FORGOTTEN {
            self.failing = 0.0;
        }
        if self.failing < FADED {
            self.forget_settled();
        }
        let answer = Policy::seconds(policy.answer_s);
        for at in 0..MAX_USERS {
            let asked_at = self.asked_at[at];
            let age = u32::from(low(now).wrapping_sub(asked_at));
            if asked_at != STALE && (elapsed >= answer || age >= answer) {
                self.expect_no_more(at, if elapsed >= answer { kept } else { 1.0 });
            }
        }
    }

    /// Whether nothing is held against it: nobody failed who is still counted, nobody may, and it isn't hot. So it is with
    /// nearly all, whatever the time.
    pub(super) fn is_calm(&self, now: Seconds) -> bool {
        self.failing <= 0.0 && self.asked_at == [STALE; MAX_USERS] && now >= self.hot_until
    }

    /// Counts a request that wasn't answered, as what is left of it by now.
    fn expect_no_more(&mut self, at: usize, left: f32) {
        if self.asked_at[at] != STALE {
            self.asked_at[at] = STALE;
            self.failing += left;
        }
    }

    /// Forgets of whom no answer is expected any more. Where it is never quiet they would stay for good, and could be asked
    /// again and again without counting.
    fn forget_settled(&mut self) {
        for (user, asked_at) in self.users.iter_mut().zip(self.asked_at) {
            if asked_at == STALE {
                *user = 0;
            }
        }
    }

    fn slot(&self, user: UserTag) -> Option<usize> {
        self.users.iter().position(|other| *other == user)
    }

    /// Notes a request that an integration says came from here; says whether the user is counted from now on. Of more
    /// at once than are told apart the first are enough to tell a spray from a busy morning.
    pub(super) fn asked(&mut self, user: UserTag, integration: u64, now: Seconds) -> bool {
        self.said_by |= 1 << (integration & 7);
        if self.slot(user).is_some() {
            return false;
        }
        let settled = || self.asked_at.iter().position(|at| *at == STALE);
        let Some(at) = self.slot(0).or_else(settled) else { return false };
        self.users[at] = user;
        self.asked_at[at] = low(now);
        true
    }

    /// Forgets a user whose request never came to be.
    pub(super) fn take_back(&mut self, user: UserTag) {
        if let Some(at) = self.slot(user) {
            if self.asked_at[at] == STALE {
                self.failing = (self.failing - 1.0).max(0.0);
            }
            (self.users[at], self.asked_at[at]) = (0, STALE);
        }
    }

    /// Whom it asked without success, lately.
    pub(super) const fn users(&self) -> [UserTag; MAX_USERS] {
        self.users
    }

    /// A user refused, or nobody can answer any more.
    pub(super) fn failed(&mut self, user: UserTag) {
        if let Some(at) = self.slot(user) {
            self.expect_no_more(at, 1.0);
        }
    }

    pub(super) fn passed(&mut self, user: UserTag) {
        if let Some(at) = self.slot(user) {
            self.users[at] = 0;
            if self.asked_at[at] == STALE {
                self.failing = (self.failing - 1.0).max(0.0);
            }
            self.asked_at[at] = STALE;
        }
        let (word, bit) = ((user >> 6 & 3) as usize, 1 << (user & 63));
        // the same few users again and again don't make an address a crowd's
        if self.good_seen[word] & bit == 0 {
            self.good_seen[word] |= bit;
            self.good += 1.0;
            let full = self.good_seen.iter().map(|bits| bits.count_ones()).sum::<u32>() > 192;
            if full {
                self.good_seen = [0; 4];
            }
        }
    }

    /// How many users didn't answer, fading.
    pub(super) const fn failing(&self) -> f32 {
        self.failing
    }

    /// How many users haven't answered, whether or not they still may.
    fn unanswered(&self) -> f32 {
        let pending = self.asked_at.iter().filter(|at| **at != STALE).count();
        #[expect(clippy::cast_precision_loss, reason = "at most sixteen")]
        let pending = pending as f32;
        self.failing + pending
    }

    fn is_beyond(&self, count: f32, users: f32, ratio: f32) -> bool {
        count >= users && count > ratio * (self.good + 1.0)
    }

    /// Whether so many didn't answer that it is a spray.
    pub(super) fn is_spray(&self, limit: Limit) -> bool {
        self.is_beyond(self.failing, limit.users, limit.ratio)
    }

    /// Whether it is halfway there.
    pub(super) fn is_half_a_spray(&self, limit: Limit) -> bool {
        self.is_beyond(self.failing, limit.users / 2.0, limit.ratio / 2.0)
    }

    /// Whether enough integrations say so that no single one is believed.
    pub(super) const fn is_said_by_many(&self) -> bool {
        self.said_by.count_ones() >= 3
    }

    /// Whether so many haven't answered yet that more must wait: it may be a spray, or everybody's first morning.
    pub(super) fn is_crowded(&self, limit: Limit) -> bool {
        self.is_beyond(self.unanswered(), 2.0 * limit.users, limit.ratio)
    }
}

/// A bounded table of sources. When it is full, the stalest of a few is forgotten; a source that sprays is
/// the last to go.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    at: HashMap<SourceKey, usize, Spread>,
    entries: Vec<(SourceKey, Source)>,
    hand: usize,
}

/// The keys are keyed hashes already: nobody outside can aim at one bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread;

/// Takes a key as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashed(u64);

impl std::hash::BuildHasher for Spread {
    type Hasher = Hashed;
    fn build_hasher(&self) -> Hashed {
        Hashed(0)
    }
}

impl std::hash::Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}

impl Table {
    /// A source that is remembered, brought up to date.
    pub(super) fn get(
        &mut self,
        policy: &Policy,
        key: SourceKey,
        now: Seconds,
    ) -> Option<&mut Source> {
        let source = self.at.get(&key).map(|at| &mut self.entries[*at].1)?;
        source.bring_to(policy, now);
        Some(source)
    }

    /// Whether a source is remembered and nothing is held against it.
    pub(super) fn is_calm(&self, key: SourceKey, now: Seconds) -> bool {
        self.at.get(&key).is_some_and(|at| self.entries[*at].1.is_calm(now))
    }

    /// A source, remembered from now on.
    pub(super) fn entry(&mut self, policy: &Policy, key: SourceKey, now: Seconds) -> &mut Source {
        let fresh = Source { at: now, ..Source::default() };
        let at = match self.at.get(&key) {
            Some(at) => *at,
            None if self.entries.len() < MAX_SOURCES => {
                self.entries.push((key, fresh));
                self.at.insert(key, self.entries.len() - 1);
                self.entries.len() - 1
            }
            None => {
                let at = self.stalest(now);
                self.at.remove(&self.entries[at].0);
                self.entries[at] = (key, fresh);
                self.at.insert(key, at);
                at
            }
        };
        let source = &mut self.entries[at].1;
        source.bring_to(policy, now);
        source
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn stalest(&mut self, now: Seconds) -> usize {
        let first = self.hand;
        self.hand = (self.hand + SAMPLE) % MAX_SOURCES;
        let candidates = (0..SAMPLE).map(|step| (first + step) % MAX_SOURCES);
        let rank = |at: &usize| {
            let source = &self.entries[*at].1;
            (now < source.hot_until, source.failing >= 2.0, source.at)
        };
        candidates.min_by_key(rank).unwrap_or(first)
    }
}
