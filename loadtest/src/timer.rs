//! A timer finer than tokio's milliseconds: at a load of one ceremony each millisecond those would be the latency.

use std::io;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

use crate::clock;

/// A timer of the kernel's (timerfd_create(2)). It becomes readable like a pipe, and to tokio it is one: the type made for
/// any file takes `unsafe`.
pub(crate) struct Timer(Receiver);

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(Receiver::from_owned_fd_unchecked(timer)?))
    }

    /// Waits until `at`; not at all if that is past.
    pub(crate) async fn until(&self, at: Instant) -> io::Result<()> {
        loop {
            let left = at.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(());
            }
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let it_value = Timespec::try_from(left).map_err(io::Error::other)?;
            let when = Itimerspec { it_interval: zero, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &when)?;
            self.0.readable().await?;
            // how often it rang; an error is that it didn't yet, which the loop finds out
            let _ = self.0.try_read(&mut [0; 16]);
        }
    }

    /// Waits for so long.
    pub(crate) async fn pause(&self, time: Duration) -> io::Result<()> {
        self.until(clock::now() + time).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_never_early_and_can_be_used_again() {
        let timer = Timer::new().expect("a timer");
        for micros in [50, 0, 2_000, 300] {
            let time = Duration::from_micros(micros);
            let before = clock::now();
            timer.pause(time).await.expect("waited");
            assert!(clock::now() - before >= time);
        }
        timer.until(clock::now() - Duration::from_secs(1)).await.expect("at once");
    }
}
