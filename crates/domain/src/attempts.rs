//! How often something may be tried: counted durably before the compare, across all sessions
//! (RFC 4226 §7.3; NIST 800-63B-4 §3.2.2).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statement::{DeviceId, Timestamp, UserId};

/// Consecutive failures after which a factor is dead until it is bound anew. NIST allows 100.
pub const HARD_CAP: u16 = 50;
/// Wrong secrets after which one recovery code is dead: 80 random bits make more tries pointless.
pub const RECOVERY_CODE_CAP: u16 = 10;
/// Consecutive failures that don't delay the next try.
pub const FREE_FAILURES: u16 = 5;
/// Consecutive failures of a factor after which its owner is told, and again at each multiple.
pub const TELL_AT: u16 = 5;

const DELAYS_S: [u64; 6] = [5, 30, 60, 300, 900, 3600];

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Counter {
    /// TOTP codes of a user, over all challenges, sessions and integrations.
    Totp(UserId),
    /// Secrets tried with the public id of one recovery code.
    RecoveryCode(UserId, [u8; 5]),
    /// Wrong numbers typed on a device, for challenges from familiar contexts only: a stranger's prompt
    /// can't lock a device.
    Device(DeviceId),
}

impl Counter {
    const fn cap(self) -> u16 {
        match self {
            Self::RecoveryCode(..) => RECOVERY_CODE_CAP,
            Self::Totp(_) | Self::Device(_) => HARD_CAP,
        }
    }
}

/// What is stored of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// Failures since the last success.
    pub failures: u16,
    /// No try counts before this.
    pub not_before: Timestamp,
}

/// A try that isn't allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too soon after the failures before it.
    #[error("too soon after the last failures")]
    TooSoon,
    /// Past the cap: dead until bound anew.
    #[error("past the cap of failures; must be bound anew")]
    Locked,
}

impl Attempts {
    /// Counts a try as a failure before anything is compared; success resets it.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is counted then, so waiting isn't made longer by trying.
    pub fn count(self, counter: Counter, now: Timestamp) -> Result<Self, Refusal> {
        if self.failures >= counter.cap() {
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
        Ok(Self { failures, not_before: now.plus(Duration::from_secs(delay)) })
    }

    /// Whether the cap is reached.
    #[must_use]
    pub const fn is_locked(self, counter: Counter) -> bool {
        self.failures >= counter.cap()
    }

    /// Whether the owner is told of this failure.
    #[must_use]
    pub const fn tells_owner(self) -> bool {
        self.failures > 0 && self.failures.is_multiple_of(TELL_AT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Counter = Counter::Totp(UserId::from_bytes([1; 16]));

    #[test]
    fn five_tries_are_free_then_each_waits_longer_and_the_fiftieth_is_the_last() {
        let mut now = Timestamp::from_millis(1_000_000);
        let mut attempts = Attempts::default();
        let mut waited = Vec::new();
        loop {
            match attempts.count(USER, now) {
                Ok(next) => attempts = next,
                Err(Refusal::TooSoon) => {
                    waited.push(attempts.not_before.since(now).as_secs());
                    now = attempts.not_before;
                }
                Err(Refusal::Locked) => break,
            }
        }
        assert_eq!(attempts.failures, HARD_CAP);
        assert_eq!(waited[..6], [5, 30, 60, 300, 900, 3600]);
        assert_eq!(waited.len(), usize::from(HARD_CAP - FREE_FAILURES));
        // waiting doesn't revive it
        let later = now.plus(Duration::from_secs(10_000_000));
        assert_eq!(attempts.count(USER, later), Err(Refusal::Locked));
    }
}
