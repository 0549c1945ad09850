//! The one real clock, and where all randomness comes from.

use std::convert::Infallible;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use app::Call;
use rand::rngs::StdRng;
use rand::{Rng, TryCryptoRng, TryRng};
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

/// A clock that nobody sets, for how long something took.
#[must_use]
pub fn passing() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "what passes between two looks at the load: no rule of a challenge reads it"
    )]
    Instant::now()
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

/// Draws from the CSPRNG of whichever thread it is on, which the operating system seeds, anew every 64 KiB: a request
/// has no generator of its own to seed, and most draw little or nothing.
struct PerThread;

impl PerThread {
    fn draw<T>(draw: impl FnOnce(&mut dyn Rng) -> T) -> Result<T, Infallible> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the server's one source of chance: all else is handed it"
        )]
        Ok(draw(&mut rand::rng()))
    }
}

impl TryRng for PerThread {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Self::draw(|rng| rng.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Self::draw(|rng| rng.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        Self::draw(|rng| rng.fill_bytes(bytes))
    }
}

impl TryCryptoRng for PerThread {}

/// What one request is given.
#[must_use]
pub fn call() -> Call {
    Call { now: now(), rng: Box::new(PerThread) }
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
        let draw = || {
            let mut bytes = [0; 32];
            call().rng.fill_bytes(&mut bytes);
            bytes
        };
        assert_ne!(draw(), draw());
        assert!(call().rng.next_u64() != call().rng.next_u64());
    }
}
