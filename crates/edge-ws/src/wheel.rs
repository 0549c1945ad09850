//! One timer for all connections: a wheel of slots, each of which holds whom to wake at its tick.
//!
//! A connection that waits holds eight bytes here and sixteen in its slot, where a timer of its own takes more than
//! a hundred. It is woken up to a tick late; too early is harmless.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::connection::instant;

/// How late an alarm may be. Pings of many devices that share a tick are sent at once: so short that they aren't
/// many.
const TICK: Duration = Duration::from_millis(100);
/// More than the ticks between two pings. Who waits for longer is woken in between.
const SLOTS: u32 = 512;

/// The alarms of one gateway.
pub(crate) struct Wheel {
    began: Instant,
    /// The last tick that rang.
    rung: AtomicU32,
    is_over: AtomicBool,
    slots: Box<[Mutex<Slot>]>,
}

/// Whom to wake at one tick.
#[derive(Default)]
struct Slot {
    tick: u32,
    sleepers: Vec<Option<Waker>>,
}

/// A place in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    tick: u32,
    place: u32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            began: instant(),
            rung: AtomicU32::new(0),
            is_over: AtomicBool::new(false),
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Turns until `stop` is true or its sender is gone; then wakes everybody.
    pub(crate) async fn turn(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            let next = self.began + TICK * self.rung.load(Ordering::Relaxed).saturating_add(1);
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep_until(next) => self.ring_until(instant()),
            }
        }
        self.end();
    }

    /// Whether it is time to go. Whoever has an alarm is woken when this becomes true.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Sees to it that `waker` is woken at `at` or before. `alarm` is what this made of the caller's last call; an
    /// alarm keeps the waker that it was set with, so a caller is one task.
    pub(crate) fn set(&self, alarm: &mut Option<Alarm>, at: Instant, waker: &Waker) {
        let tick = self.tick_from(at);
        let rung = self.rung.load(Ordering::SeqCst);
        if alarm.is_some_and(|alarm| alarm.tick <= tick && alarm.tick > rung) {
            return;
        }
        self.cancel(alarm);
        let tick = tick.clamp(rung + 1, rung + SLOTS - 1);
        let mut slot = self.slot(tick);
        if self.rung.load(Ordering::SeqCst) >= tick {
            // it rang meanwhile
            drop(slot);
            waker.wake_by_ref();
            return;
        }
        if slot.sleepers.is_empty() {
            slot.tick = tick;
        }
        let place = u32::try_from(slot.sleepers.len()).unwrap_or(u32::MAX);
        slot.sleepers.push(Some(waker.clone()));
        *alarm = Some(Alarm { tick: slot.tick, place });
    }

    /// Forgets an alarm, so that it holds no task that has ended.
    pub(crate) fn cancel(&self, alarm: &mut Option<Alarm>) {
        let Some(Alarm { tick, place }) = alarm.take() else { return };
        let mut slot = self.slot(tick);
        if slot.tick != tick {
            return;
        }
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let waker = slot.sleepers.get_mut(place).and_then(Option::take);
        while let Some(None) = slot.sleepers.last() {
            slot.sleepers.pop();
        }
        drop(slot);
        drop(waker); // outside the lock: it may be the last handle of a task
    }

    fn tick_from(&self, at: Instant) -> u32 {
        let ticks = at.saturating_duration_since(self.began).as_millis().div_ceil(TICK.as_millis());
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn slot(&self, tick: u32) -> MutexGuard<'_, Slot> {
        let slot = usize::try_from(tick % SLOTS).unwrap_or(0);
        self.slots[slot].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_until(&self, now: Instant) {
        let ticks = now.saturating_duration_since(self.began).as_millis() / TICK.as_millis();
        let last = u32::try_from(ticks).unwrap_or(u32::MAX);
        // whoever was asleep for long needs each slot once
        let first = self.rung.load(Ordering::SeqCst) + 1;
        for tick in first.max(last.saturating_sub(SLOTS))..=last {
            self.rung.store(tick, Ordering::SeqCst);
            self.ring(tick);
        }
    }

    fn ring(&self, tick: u32) {
        // its memory too: a crowd that left isn't paid for
        let sleepers = std::mem::take(&mut self.slot(tick).sleepers);
        sleepers.into_iter().flatten().for_each(Waker::wake);
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        (0..SLOTS).for_each(|tick| self.ring(tick));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Bell {
        fn rings(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn bell() -> (Arc<Bell>, Waker) {
        let bell = Arc::new(Bell::default());
        (Arc::clone(&bell), Waker::from(bell))
    }

    fn held(wheel: &Wheel) -> usize {
        (0..SLOTS).map(|tick| wheel.slot(tick).sleepers.len()).sum()
    }

    #[test]
    fn an_alarm_rings_once_at_its_tick_and_not_before() {
        let (wheel, (bell, waker)) = (Wheel::new(), bell());
        let at = |ticks: u32| wheel.began + TICK * ticks;
        let mut alarm = None;
        wheel.set(&mut alarm, at(4) + TICK / 2, &waker);
        wheel.ring_until(at(4));
        assert_eq!(bell.rings(), 0);
        // not set again before it rang, nor for something later
        wheel.set(&mut alarm, at(4) + TICK / 2, &waker);
        wheel.set(&mut alarm, at(40), &waker);
        assert_eq!(held(&wheel), 1);
        wheel.ring_until(at(5));
        assert_eq!(bell.rings(), 1);
        wheel.ring_until(at(2_000));
        assert_eq!((bell.rings(), held(&wheel)), (1, 0));
        // something earlier takes its place
        wheel.set(&mut alarm, at(2_040), &waker);
        wheel.set(&mut alarm, at(2_002), &waker);
        assert_eq!(held(&wheel), 1);
        wheel.ring_until(at(2_002));
        assert_eq!(bell.rings(), 2);
        // what is due by now is at the next tick
        wheel.set(&mut alarm, at(7), &waker);
        wheel.ring_until(at(2_003));
        assert_eq!(bell.rings(), 3);
    }

    #[test]
    fn who_waits_for_longer_than_a_turn_is_woken_in_between() {
        let (wheel, (bell, waker)) = (Wheel::new(), bell());
        let at = |ticks: u32| wheel.began + TICK * ticks;
        let mut alarm = None;
        for n in 1..=10 {
            wheel.set(&mut alarm, at(10 * SLOTS), &waker);
            wheel.ring_until(at(n * SLOTS));
            assert_eq!(bell.rings(), usize::try_from(n).expect("small"));
        }
        // a wheel that stood still
        wheel.set(&mut alarm, at(10 * SLOTS + 1), &waker);
        wheel.ring_until(at(100 * SLOTS));
        assert_eq!(bell.rings(), 11);
    }

    #[test]
    fn a_crowd_that_left_leaves_no_memory_and_no_task_behind() {
        let (wheel, (bell, waker)) = (Wheel::new(), bell());
        let at = |ticks: u32| wheel.began + TICK * ticks;
        let mut alarms = vec![None; 10_000];
        for (n, alarm) in (1..).zip(&mut alarms) {
            wheel.set(alarm, at(n % 250 + 1), &waker);
        }
        assert_eq!(Arc::strong_count(&bell), 10_002);
        alarms.iter_mut().for_each(|alarm| wheel.cancel(alarm));
        assert_eq!((held(&wheel), Arc::strong_count(&bell)), (0, 2));
        wheel.ring_until(at(250));
        let left: usize = (0..SLOTS).map(|tick| wheel.slot(tick).sleepers.capacity()).sum();
        assert_eq!((left, bell.rings()), (0, 0));
        // a late goodbye is nobody else's
        let (mut old, mut new) = (None, None);
        wheel.set(&mut old, at(251), &waker);
        wheel.ring_until(at(251));
        wheel.set(&mut new, at(251 + SLOTS - 1), &waker);
        wheel.cancel(&mut old);
        wheel.set(&mut old, at(252), &waker);
        assert_eq!(held(&wheel), 2);
    }

    #[tokio::test]
    async fn everybody_is_woken_at_the_end() {
        let (wheel, (bell, waker)) = (Arc::new(Wheel::new()), bell());
        let (stop, stopped) = watch::channel(false);
        let mut alarm = None;
        wheel.set(&mut alarm, wheel.began + TICK * 500, &waker);
        let turning = tokio::spawn(Arc::clone(&wheel).turn(stopped));
        assert!(!wheel.is_over());
        drop(stop);
        turning.await.expect("no panic");
        assert!(wheel.is_over());
        assert_eq!(bell.rings(), 1);
    }
}
