//! Whether the other side lives and keeps its pace.

use std::time::Duration;

use wire::device::CloseCode;

use crate::{Close, FRAME_BURST, FRAME_COST, PING_EVERY, SILENT_AFTER};

/// Pings, silence and the frame budget of one connection. Kept for as long as it lasts: times are half the size of
/// durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// When all received frames are paid for: the budget as a generic cell rate.
    paid: Time,
    heard: Time,
    ping: Time,
}

/// Nanoseconds: enough for five hundred years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Time(u64);

impl From<Duration> for Time {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Time {
    const fn get(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// What the clock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Nothing,
    Ping,
    Dead,
}

impl Vitals {
    pub(crate) fn new(now: Duration, phase: Duration) -> Self {
        let ping = now.saturating_add(phase.min(PING_EVERY));
        Self { paid: now.into(), heard: now.into(), ping: ping.into() }
    }

    /// Something arrived.
    pub(crate) fn heard(&mut self, now: Duration) -> Result<(), Close> {
        self.heard = self.heard.get().max(now).into();
        let paid = self.paid.get().max(now).saturating_add(FRAME_COST);
        if paid.saturating_sub(now) > FRAME_COST * FRAME_BURST {
            return Err(Close::new(CloseCode::TooMany, "too many frames: slow down"));
        }
        self.paid = paid.into();
        Ok(())
    }

    pub(crate) fn beat(&mut self, now: Duration) -> Beat {
        if now >= self.heard.get().saturating_add(SILENT_AFTER) {
            return Beat::Dead;
        }
        let ping = self.ping.get();
        if now < ping {
            return Beat::Nothing;
        }
        // a shell that comes late skips the pings it missed but keeps its phase
        let late = now.saturating_sub(ping).as_millis() / PING_EVERY.as_millis();
        let skip = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
        self.ping = ping.saturating_add(PING_EVERY.saturating_mul(skip)).into();
        Beat::Ping
    }

    /// When [`Vitals::beat`] has something to say.
    pub(crate) fn deadline(&self) -> Duration {
        self.ping.get().min(self.heard.get().saturating_add(SILENT_AFTER))
    }
}

/// The close of a connection that is [`Beat::Dead`].
pub(crate) const DEAD: Close = Close::new(CloseCode::Deadline, "nothing was heard for 60 seconds");

const _: () = assert!(SILENT_AFTER.as_secs() == 60, "DEAD names it");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_burst_and_a_steady_pace() {
        let mut vitals = Vitals::new(Duration::ZERO, Duration::ZERO);
        for _ in 0..FRAME_BURST {
            assert_eq!(vitals.heard(Duration::ZERO), Ok(()));
        }
        assert_eq!(vitals.heard(Duration::ZERO).unwrap_err().code, CloseCode::TooMany);
        // a refused frame costs nothing; one frame's time later one more is welcome
        assert_eq!(vitals.heard(FRAME_COST), Ok(()));
        assert!(vitals.heard(FRAME_COST).is_err());
        let mut now = FRAME_COST;
        for _ in 0..1000 {
            now += FRAME_COST;
            assert_eq!(vitals.heard(now), Ok(()));
        }
    }

    #[test]
    fn pings_keep_their_phase_and_two_missed_ones_are_death() {
        let second = Duration::from_secs;
        let mut vitals = Vitals::new(Duration::ZERO, second(7));
        assert_eq!(vitals.deadline(), second(7));
        assert_eq!(vitals.beat(second(6)), Beat::Nothing);
        assert_eq!(vitals.beat(second(7)), Beat::Ping);
        assert_eq!(vitals.deadline(), second(32));
        assert_eq!(vitals.beat(second(58)), Beat::Ping, "late: one ping, not two");
        assert_eq!(vitals.deadline(), second(60));
        assert_eq!(vitals.beat(second(60)), Beat::Dead);
        assert_eq!(vitals.heard(second(59)), Ok(()));
        assert_eq!(vitals.beat(second(60)), Beat::Nothing);
        assert_eq!(vitals.deadline(), second(82));
    }
}
