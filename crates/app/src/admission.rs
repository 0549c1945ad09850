//! How many challenges may be in the making at once. Where more are asked for than get done, a queue grows that
//! nobody gains by: answers wait behind requests that are given up before they are served. So what is too much is
//! refused at once, before anything is read or stored for it, and whatever belongs to a challenge that exists
//! (answers, waits, codes, redeem) is never refused here.
//!
//! Only the number of requests counts, never whose they are: a refusal tells nothing about a user.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most challenges in the making: a quarter of the places of the writer's queue, so that what becomes of challenges
/// always finds one, and less than half a second of work for a core.
const MOST: u32 = 1_024;
/// As many may always be in the making: enough for the writer to gather while one commit is on its way to the disk.
const LEAST: u32 = 64;
/// How long a challenge may be in the making while more are asked for: longer than the longest stall of a checkpoint
/// (19 ms, docs/performance.md), and no person notices it.
const TARGET: Duration = Duration::from_millis(50);
/// For how long nothing must have been refused until a burst is taken whole again: people come in waves of seconds.
const CALM: Duration = Duration::from_secs(1);

/// What happened since the last look.
#[derive(Clone, Copy, Debug)]
struct Seen {
    elapsed: Duration,
    /// Challenges that were made.
    made: u64,
    /// The fewest that were in the making: what is in the queue even at the best moment is no burst (CoDel,
    /// RFC 8289 §3.1).
    fewest: u32,
    /// Whether a request was refused.
    refused: bool,
}

/// Decides how many may be in the making. A queue that lasts and in which one waits longer than [`TARGET`] is cut
/// to what gets done within that time (Little's law); a burst, which is gone at the next look, isn't.
#[derive(Debug, Default)]
struct Pace {
    /// Since when nothing was refused; `None` while a burst is taken whole.
    calm: Option<Duration>,
}

impl Pace {
    fn next(&mut self, seen: Seen) -> u32 {
        let Seen { elapsed, made, fewest, refused } = seen;
        let in_target = made as f64 * TARGET.as_secs_f64() / elapsed.as_secs_f64().max(1e-6);
        let stands = fewest > LEAST && f64::from(fewest) > in_target;
        self.calm = match self.calm {
            _ if stands => Some(Duration::ZERO),
            Some(_) if refused => Some(Duration::ZERO),
            Some(calm) if calm + elapsed < CALM => Some(calm + elapsed),
            _ => None,
        };
        match self.calm {
            // a float beyond u32 saturates
            Some(_) => (in_target as u32).clamp(LEAST, MOST),
            None => MOST,
        }
    }
}

/// Counts challenges in the making and refuses what is too much.
#[derive(Debug)]
pub struct Admission {
    making: AtomicU32,
    fewest: AtomicU32,
    most: AtomicU32,
    made: AtomicU64,
    creates_refused: AtomicU64,
    others_refused: AtomicU64,
    is_shedding: AtomicBool,
    since: Mutex<Since>,
}

/// What was looked at last.
#[derive(Debug, Default)]
struct Since {
    pace: Pace,
    made: u64,
    refused: u64,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            making: AtomicU32::new(0),
            fewest: AtomicU32::new(0),
            most: AtomicU32::new(MOST),
            made: AtomicU64::new(0),
            creates_refused: AtomicU64::new(0),
            others_refused: AtomicU64::new(0),
            is_shedding: AtomicBool::new(false),
            since: Mutex::default(),
        }
    }
}

impl Admission {
    /// How often [`Self::look`] is to be called: a queue that is there for so long is no burst (RFC 8289 §3.2).
    pub const INTERVAL: Duration = Duration::from_millis(100);

    /// Whether a new challenge would be refused now, so that an edge can say so before it reads the request.
    #[must_use]
    pub fn refuses_create(&self) -> bool {
        let refuses = self.making.load(Ordering::Relaxed) >= self.most.load(Ordering::Relaxed);
        if refuses {
            self.creates_refused.fetch_add(1, Ordering::Relaxed);
        }
        refuses
    }

    /// Whether what can wait longer than a sign-in (lists, reports, new enrolments) is refused now: for as long as
    /// a queue of sign-ins stands.
    #[must_use]
    pub fn refuses_others(&self) -> bool {
        let refuses = self.is_shedding();
        if refuses {
            self.others_refused.fetch_add(1, Ordering::Relaxed);
        }
        refuses
    }

    /// Whether more is asked for than gets done.
    #[must_use]
    pub fn is_shedding(&self) -> bool {
        self.is_shedding.load(Ordering::Relaxed)
    }

    /// How many are in the making now.
    #[must_use]
    pub fn making(&self) -> u32 {
        self.making.load(Ordering::Relaxed)
    }

    /// How many requests were refused since the start: for new challenges, and others.
    #[must_use]
    pub fn refused(&self) -> (u64, u64) {
        let (creates, others) = (&self.creates_refused, &self.others_refused);
        (creates.load(Ordering::Relaxed), others.load(Ordering::Relaxed))
    }

    /// A place for a challenge that is to be made; `None` if there is none.
    pub(crate) fn enter(&self) -> Option<Making<'_>> {
        let before = self.making.fetch_add(1, Ordering::Relaxed);
        if before < self.most.load(Ordering::Relaxed) {
            return Some(Making(self));
        }
        self.making.fetch_sub(1, Ordering::Relaxed);
        self.creates_refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Sees what was done in the time since the last look, and decides how much may be under way. `Some` where
    /// shedding begins or ends.
    pub fn look(&self, elapsed: Duration) -> Option<bool> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let made = self.made.load(Ordering::Relaxed);
        let refused = self.creates_refused.load(Ordering::Relaxed);
        let seen = Seen {
            elapsed,
            made: made - since.made,
            fewest: self.fewest.swap(self.making.load(Ordering::Relaxed), Ordering::Relaxed),
            refused: refused > since.refused,
        };
        (since.made, since.refused) = (made, refused);
        self.most.store(since.pace.next(seen), Ordering::Relaxed);
        let sheds = since.pace.calm.is_some();
        (self.is_shedding.swap(sheds, Ordering::Relaxed) != sheds).then_some(sheds)
    }
}

/// A challenge in the making, until this is dropped.
#[derive(Debug)]
pub(crate) struct Making<'a>(&'a Admission);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let before = self.0.making.fetch_sub(1, Ordering::Relaxed);
        self.0.fewest.fetch_min(before.saturating_sub(1), Ordering::Relaxed);
        self.0.made.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "admission/tests.rs"]
mod tests;
