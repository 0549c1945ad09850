//! How often something may be tried: counted durably before the compare, across all sessions
//! (RFC 4226 §7.3; NIST 800-63B-4 §3.2.2).
//!
//! TOTP codes are counted apart by where the try comes from: a stranger who spends his lane leaves the
//! person's own alone. Each lane has a cap of consecutive failures and two leaky buckets, so that no pattern
//! in time buys more than their bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statement::{DeviceId, Timestamp, UserId};

/// Consecutive failures after which a device is dead until it is bound anew. NIST allows 100.
pub const HARD_CAP: u16 = 50;
/// Wrong secrets after which one recovery code is dead: 80 random bits make more tries pointless.
pub const RECOVERY_CODE_CAP: u16 = 10;
/// Consecutive failures of a recovery code that don't delay the next try.
pub const FREE_FAILURES: u16 = 5;
/// Consecutive failures of a factor after which its owner is told, and again at each multiple.
pub const TELL_AT: u16 = 5;

const DELAYS_S: [u64; 6] = [5, 30, 60, 300, 900, 3600];

/// The window of the first bucket.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The window of the second bucket.
pub const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Where a TOTP code comes from. Each is counted alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Lane {
    /// From a context that is known to be the person's.
    Own = 1,
    /// From any other.
    Unknown = 2,
    /// From one that has neither address nor cookie.
    Nowhere = 3,
    /// On a challenge whose right answer is withheld until a code passes.
    Withheld = 4,
}

impl Lane {
    /// All lanes, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Own, Self::Unknown, Self::Nowhere, Self::Withheld];

    /// Its stored code, 1 to 4.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// A leaky bucket: so many at once, then so many more a window, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Tries that a full bucket allows at once.
    pub burst: u16,
    /// Tries that come back in one window. Zero is read as one.
    pub refill: u16,
}

impl Bucket {
    const fn new(burst: u16, refill: u16) -> Self {
        Self { burst, refill }
    }

    /// The most tries that any stretch of time as long as the window holds.
    #[must_use]
    pub const fn bound(self) -> u32 {
        self.burst as u32 + self.refill as u32
    }

    /// How long one try takes to come back; rounded up, so that the bound stands.
    fn each(self, window: Duration) -> Duration {
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(millis.div_ceil(u64::from(self.refill.max(1))))
    }

    /// Takes a try. `until` is when the bucket will be full again, the one thing stored (GCRA).
    fn take(self, window: Duration, until: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let each = self.each(window);
        let until = until.max(now).plus(each);
        (until <= now.plus(each * u32::from(self.burst))).then_some(until)
    }

    fn put_back(self, window: Duration, until: Timestamp) -> Timestamp {
        until.minus(self.each(window))
    }
}

/// What a lane allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Consecutive failures after which the lane is dead until a code passes in another lane, or the factor is
    /// bound anew.
    pub cap: u16,
    /// Failures in any [`DAY`].
    pub day: Bucket,
    /// Failures in any [`MONTH`]: a success gives back its own try and no other, so that riding on somebody
    /// who signs in daily buys nothing.
    pub month: Bucket,
}

/// What each lane allows, for one user over all sessions, challenges and integrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// [`Lane::Own`].
    pub own: Budget,
    /// [`Lane::Unknown`].
    pub unknown: Budget,
    /// [`Lane::Nowhere`].
    pub nowhere: Budget,
    /// [`Lane::Withheld`].
    pub withheld: Budget,
}

impl Budgets {
    /// The numbers unless a policy sets others.
    ///
    /// | lane | cap | any day | any 30 days |
    /// |---|---|---|---|
    /// | own | 50 | 10 + 10 = 20 | 50 + 30 = 80 |
    /// | unknown | 25 | 3 + 2 = 5 | 35 + 25 = 60 |
    /// | nowhere | 12 | 2 + 1 = 3 | 18 + 12 = 30 |
    /// | withheld | 12 | 3 + 3 = 6 | 18 + 12 = 30 |
    /// | together | 99 | unknown and nowhere 8 | 200 |
    ///
    /// NIST allows 100 consecutive failures (§3.2.2), and each guess meets two codes in a million (this step's
    /// and the last one's). Who spends every lane for a year gets 121 at once and 79 each 30 days, 1,082 in
    /// all: 0.22 %. From unknown contexts alone it is 53 and 37, 503 in all: 0.1 %.
    pub const DEFAULT: Self = Self {
        own: Budget { cap: 50, day: Bucket::new(10, 10), month: Bucket::new(50, 30) },
        unknown: Budget { cap: 25, day: Bucket::new(3, 2), month: Bucket::new(35, 25) },
        nowhere: Budget { cap: 12, day: Bucket::new(2, 1), month: Bucket::new(18, 12) },
        withheld: Budget { cap: 12, day: Bucket::new(3, 3), month: Bucket::new(18, 12) },
    };

    /// The budget of one lane.
    #[must_use]
    pub const fn of(&self, lane: Lane) -> &Budget {
        match lane {
            Lane::Own => &self.own,
            Lane::Unknown => &self.unknown,
            Lane::Nowhere => &self.nowhere,
            Lane::Withheld => &self.withheld,
        }
    }

    /// Consecutive failures that all lanes allow together.
    #[must_use]
    pub const fn caps(&self) -> u32 {
        let caps = [self.own.cap, self.unknown.cap, self.nowhere.cap, self.withheld.cap];
        caps[0] as u32 + caps[1] as u32 + caps[2] as u32 + caps[3] as u32
    }

    /// Failures that all lanes allow together in any [`MONTH`].
    #[must_use]
    pub const fn month_bound(&self) -> u32 {
        let known = self.own.month.bound() + self.withheld.month.bound();
        known + self.unknown.month.bound() + self.nowhere.month.bound()
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const _: () = {
    let budgets = Budgets::DEFAULT;
    assert!(budgets.caps() <= 100, "NIST 800-63B-4 §3.2.2");
    assert!(budgets.month_bound() <= 200, "the guess bound");
    assert!(
        budgets.unknown.day.bound() + budgets.nowhere.day.bound() <= 8,
        "from unknown contexts"
    );
    assert!(budgets.own.day.bound() <= 20, "a neighbour behind the same address");
};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Counter {
    /// TOTP codes of a user that come from there, over all challenges, sessions and integrations.
    Totp(UserId, Lane),
    /// Secrets tried with the public id of one recovery code.
    RecoveryCode(UserId, [u8; 5]),
    /// Wrong numbers typed on a device, for challenges from familiar contexts only: a stranger's prompt
    /// can't lock a device.
    Device(DeviceId),
    /// A user's code that lets a client ask them, over all clients.
    UserCode(UserId),
}

impl Counter {
    const fn cap(self, budgets: &Budgets) -> u16 {
        match self {
            Self::Totp(_, lane) => budgets.of(lane).cap,
            Self::RecoveryCode(..) => RECOVERY_CODE_CAP,
            Self::Device(_) | Self::UserCode(_) => HARD_CAP,
        }
    }
}

/// What is stored of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// Failures since the last success.
    pub failures: u16,
    /// No try of a recovery code counts before this.
    pub not_before: Timestamp,
    /// When the lane's bucket of the day will be full again.
    pub day: Timestamp,
    /// When the lane's bucket of the month will be full again.
    pub month: Timestamp,
}

/// A try that isn't allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too soon after the failures before it.
    #[error("too soon after the last failures")]
    TooSoon,
    /// The lane's bucket of the day is empty.
    #[error("the budget of the day is spent")]
    Day,
    /// The lane's bucket of the month is empty.
    #[error("the budget of 30 days is spent")]
    Month,
    /// Past the cap: waiting doesn't revive it.
    #[error("past the cap of consecutive failures")]
    Locked,
}

impl Attempts {
    /// Counts a try as a failure before anything is compared.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is counted then, so waiting isn't made longer by trying.
    pub fn count(
        self,
        counter: Counter,
        budgets: &Budgets,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        if let Counter::Totp(_, lane) = counter {
            return self.count_in(lane, budgets, now);
        }
        if self.is_locked(counter, budgets) {
            return Err(Refusal::Locked);
        }
        if now < self.not_before {
            return Err(Refusal::TooSoon);
        }
        let failures = self.failures + 1;
        let delay = match (counter, failures.checked_sub(FREE_FAILURES)) {
            // a wrong number ended its challenge: there is nothing to try again soon
            (Counter::Device(_), _) | (_, None) => 0,
            (_, Some(step)) => DELAYS_S[usize::from(step).min(DELAYS_S.len() - 1)],
        };
        Ok(Self { failures, not_before: now.plus(Duration::from_secs(delay)), ..self })
    }

    /// Counts a TOTP code in a lane.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is counted then.
    pub fn count_in(self, lane: Lane, budgets: &Budgets, now: Timestamp) -> Result<Self, Refusal> {
        let budget = budgets.of(lane);
        if self.failures >= budget.cap {
            return Err(Refusal::Locked);
        }
        let day = budget.day.take(DAY, self.day, now).ok_or(Refusal::Day)?;
        let month = budget.month.take(MONTH, self.month, now).ok_or(Refusal::Month)?;
        Ok(Self { failures: self.failures + 1, day, month, ..self })
    }

    /// Takes back one counted try that turned out right.
    #[must_use]
    pub fn uncount(self, counter: Counter, budgets: &Budgets) -> Self {
        match counter {
            Counter::Totp(_, lane) => self.given_back(lane, budgets),
            // nothing but the row of failures is guarded: a right one ends it
            Counter::UserCode(_) => Self { failures: 0, not_before: Timestamp::ZERO, ..self },
            // it was allowed, so nothing stood against trying when it was counted
            Counter::RecoveryCode(..) | Counter::Device(_) => Self {
                failures: self.failures.saturating_sub(1),
                not_before: Timestamp::ZERO,
                ..self
            },
        }
    }

    /// Takes back one counted try of a lane that turned out right. Whatever else was counted meanwhile stays;
    /// it may come back sooner by as long as the compare took, which the bounds leave room for: they would
    /// break if right codes were held for longer than one try takes to come back, hours in all.
    #[must_use]
    pub fn given_back(self, lane: Lane, budgets: &Budgets) -> Self {
        let budget = budgets.of(lane);
        Self {
            failures: self.failures.saturating_sub(1),
            day: budget.day.put_back(DAY, self.day),
            month: budget.month.put_back(MONTH, self.month),
            ..self
        }
    }

    /// After a success: no failure is consecutive any more. The buckets stay as they are.
    #[must_use]
    pub const fn forgiven(self) -> Self {
        Self { failures: 0, ..self }
    }

    /// Whether it allows as much as if nothing had ever been counted.
    #[must_use]
    pub fn is_idle(self, now: Timestamp) -> bool {
        self.failures == 0 && self.not_before.max(self.day).max(self.month) <= now
    }

    /// Whether the cap is reached.
    #[must_use]
    pub const fn is_locked(self, counter: Counter, budgets: &Budgets) -> bool {
        self.failures >= counter.cap(budgets)
    }

    /// Whether the owner is told of this failure.
    #[must_use]
    pub const fn tells_owner(self) -> bool {
        self.failures > 0 && self.failures.is_multiple_of(TELL_AT)
    }
}

#[cfg(test)]
mod tests;
