//! The one real clock, and where all randomness comes from.

use std::time::{SystemTime, UNIX_EPOCH};

use app::Call;
use rand::Rng;
use rand::rngs::StdRng;
use statement::Timestamp;

/// The time, UTC. A clock before 1970 reads as 1970: `doctor` tells.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's one clock: all else is handed its readings"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A CSPRNG of its own, seeded by the operating system.
#[must_use]
pub fn rng() -> StdRng {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's one source of chance: all else is handed it"
    )]
    rand::make_rng()
}

/// What one request is given.
#[must_use]
pub fn call() -> Call {
    Call { now: now(), rng: Box::new(rng()) }
}

/// A random number, for what needs to be different in each run.
#[must_use]
pub fn seed() -> u64 {
    rng().next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_past_this_code_and_chance_differs() {
        assert!(now() > Timestamp::from_millis(1_760_000_000_000));
        assert_ne!(seed(), seed());
    }
}
