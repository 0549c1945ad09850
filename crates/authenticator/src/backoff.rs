//! When to come back.

use std::time::Duration;

use rand::{CryptoRng, RngExt as _};

/// The first wait is drawn from zero to this.
pub const BACKOFF_BASE: Duration = Duration::from_secs(1);
/// No wait is longer: a person who waits for a prompt should not have to restart the app.
pub const BACKOFF_CAP: Duration = Duration::from_secs(5 * 60);
/// Where counting resumes after "too many": 16 s and doubling.
const CROWDED: u32 = 4;

/// Exponential back-off with full jitter: each wait is uniform between zero and a bound that doubles, so that the
/// devices of a server that restarted don't come back as one.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A connection was good: start over.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The server says that it has too many of us.
    pub(crate) fn crowded(&mut self) {
        self.failures = self.failures.max(CROWDED);
    }

    /// How long to wait now, on top of `floor`, which the server may have asked for: then chance is at most twice that. A
    /// server that says when has room then, and whoever met several full moments isn't to come long after everybody
    /// else; with less chance they come in waves, and those who sign in meanwhile wait (docs/performance.md, storm).
    pub(crate) fn next(&mut self, floor: Duration, rng: &mut dyn CryptoRng) -> Duration {
        let bound = BACKOFF_BASE.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_CAP);
        let bound = if floor.is_zero() {
            bound
        } else {
            bound.min(floor.saturating_mul(2).max(BACKOFF_BASE))
        };
        self.failures = self.failures.saturating_add(1);
        let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        floor.min(BACKOFF_CAP) + Duration::from_millis(rng.random_range(0..=bound_ms))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn the_bound_doubles_to_its_cap_and_every_wait_is_below_it() {
        let mut rng = StdRng::seed_from_u64(1);
        for failures in 0..64 {
            let bound = BACKOFF_CAP.min(BACKOFF_BASE * (1 << failures.min(10)));
            let mut longest = Duration::ZERO;
            for _ in 0..200 {
                let wait = Backoff { failures }.next(Duration::ZERO, &mut rng);
                longest = longest.max(wait);
            }
            assert!(longest <= bound && longest * 10 > bound * 9, "{failures}: {longest:?}");
        }
    }

    #[test]
    fn a_time_given_by_the_server_is_kept_and_capped() {
        let mut rng = StdRng::seed_from_u64(2);
        let floor = Duration::from_secs(30);
        let wait = Backoff::default().next(floor, &mut rng);
        assert!(wait >= floor && wait <= floor + BACKOFF_BASE);
        let wait = Backoff::default().next(Duration::MAX, &mut rng);
        assert!(wait <= BACKOFF_CAP + BACKOFF_BASE);
        let floor = Duration::from_secs(2);
        for failures in 0..10 {
            let longest = (0..200).map(|_| Backoff { failures }.next(floor, &mut rng)).max();
            let most = floor + (floor * 2).min(BACKOFF_BASE * (1 << failures));
            assert!(longest.is_some_and(|wait| wait <= most && wait * 10 > most * 9), "{failures}");
        }
    }
}
