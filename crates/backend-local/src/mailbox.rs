//! Connected devices and the hints that wait for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use ports::{Hint, MAX_MAILBOX, Mailbox};
use statement::{DeviceId, TenantId, UserId};

use crate::shards::{Shards, locked, shrink};

type Owner = (TenantId, UserId);

/// Who is connected. Both maps hold the same slots: `devices` decides which one is current.
#[derive(Default)]
pub(crate) struct Mailboxes {
    devices: Shards<DeviceId, Arc<Slot>>,
    users: Shards<Owner, Vec<Arc<Slot>>>,
}

/// One connection of a device. Its address is the connection's id.
struct Slot {
    owner: Owner,
    device: DeviceId,
    hints: Mutex<Hints>,
}

#[derive(Default)]
struct Hints {
    /// Holds no memory while it is empty: nearly all devices are idle nearly always.
    queue: VecDeque<Hint>,
    waker: Option<Waker>,
    /// The last hint has been queued: the connection was replaced or revoked.
    ended: bool,
}

impl Slot {
    /// Queues a hint and wakes the reader. No lock is held when the waker runs.
    fn push(&self, hint: Hint) {
        let waker = {
            let mut hints = locked(&self.hints);
            hints.push(hint);
            hints.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Hints {
    fn push(&mut self, hint: Hint) {
        if self.ended {
            return;
        }
        if matches!(hint, Hint::Replaced | Hint::Revoked) {
            // cards are of no use to a connection that ends; what its person is told is
            self.ended = true;
            for waiting in &mut self.queue {
                if matches!(waiting, Hint::Resync) {
                    *waiting = Hint::Notices;
                }
            }
            self.queue.retain(|waiting| matches!(waiting, Hint::Notice(_) | Hint::Notices));
        } else if matches!((&hint, self.queue.back()), (Hint::Notices, Some(Hint::Notices))) {
            // one reading finds them all
            return;
        } else if self.queue.len() >= MAX_MAILBOX {
            self.queue = VecDeque::from([Hint::Resync]);
            return;
        }
        self.queue.push_back(hint);
    }
}

/// The reading end.
struct LocalMailbox {
    slot: Arc<Slot>,
    mailboxes: Arc<Mailboxes>,
}

/// Connects a device; the newest connection wins.
pub(crate) fn connect(
    mailboxes: &Arc<Mailboxes>,
    owner: Owner,
    device: DeviceId,
) -> impl Mailbox + use<> {
    let slot = Arc::new(Slot { owner, device, hints: Mutex::default() });
    let replaced = {
        let mut devices = mailboxes.devices.of(&device);
        let replaced = devices.insert(device, Arc::clone(&slot));
        if let Some(old) = &replaced {
            mailboxes.leave(old);
        }
        let mut users = mailboxes.users.of(&owner);
        let slots = users.entry(owner).or_insert_with(|| Vec::with_capacity(1));
        slots.push(Arc::clone(&slot));
        replaced
    };
    if let Some(old) = replaced {
        old.push(Hint::Replaced);
    }
    LocalMailbox { slot, mailboxes: Arc::clone(mailboxes) }
}

impl Mailboxes {
    pub(crate) fn tell_user(&self, owner: Owner, hint: Hint) {
        let slots = self.users.of(&owner).get(&owner).cloned();
        for slot in slots.into_iter().flatten() {
            slot.push(hint.clone());
        }
    }

    pub(crate) fn tell_device(&self, device: DeviceId, hint: Hint) {
        let slot = self.devices.of(&device).get(&device).cloned();
        if let Some(slot) = slot {
            slot.push(hint);
        }
    }

    pub(crate) fn reaches(&self, owner: Owner) -> bool {
        self.users.of(&owner).contains_key(&owner)
    }

    pub(crate) fn connected(&self) -> usize {
        self.devices.len()
    }

    /// Takes a slot out of its user's list. The caller holds the lock of the slot's device.
    fn leave(&self, slot: &Arc<Slot>) {
        let mut users = self.users.of(&slot.owner);
        let Some(slots) = users.get_mut(&slot.owner) else {
            return;
        };
        slots.retain(|other| !Arc::ptr_eq(other, slot));
        if slots.is_empty() {
            users.remove(&slot.owner);
            shrink(&mut users);
        }
    }
}

impl Mailbox for LocalMailbox {
    fn poll_hint(&mut self, cx: &mut Context<'_>) -> Poll<Hint> {
        let mut hints = locked(&self.slot.hints);
        let Some(hint) = hints.queue.pop_front() else {
            let stale = match &mut hints.waker {
                Some(waker) if waker.will_wake(cx.waker()) => None,
                waker => waker.replace(cx.waker().clone()),
            };
            drop(hints);
            drop(stale); // outside the lock: it may be the last handle of a task
            return Poll::Pending;
        };
        if hints.queue.is_empty() {
            hints.queue = VecDeque::new();
        }
        Poll::Ready(hint)
    }
}

impl Drop for LocalMailbox {
    fn drop(&mut self) {
        let mut devices = self.mailboxes.devices.of(&self.slot.device);
        // a newer connection's slot is another one: a late goodbye must not evict its successor
        let is_current =
            devices.get(&self.slot.device).is_some_and(|current| Arc::ptr_eq(current, &self.slot));
        if is_current {
            devices.remove(&self.slot.device);
            shrink(&mut devices);
            self.mailboxes.leave(&self.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_that_left_leaves_no_memory_behind() {
        let mailboxes = Arc::new(Mailboxes::default());
        let id = |n: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            bytes
        };
        let crowd: Vec<_> = (0..20_000)
            .map(|n| {
                let owner = (TenantId::from_bytes([0; 16]), UserId::from_bytes(id(n)));
                connect(&mailboxes, owner, DeviceId::from_bytes(id(n)))
            })
            .collect();
        let full = mailboxes.devices.capacity() + mailboxes.users.capacity();
        drop(crowd);
        assert_eq!(mailboxes.connected(), 0);
        assert_eq!(mailboxes.users.len(), 0);
        let left = mailboxes.devices.capacity() + mailboxes.users.capacity();
        assert!(left * 8 < full, "{left} of {full} are still held");
    }

    #[test]
    fn an_idle_device_costs_little() {
        // beside it: two map entries (24 and 56 bytes) and a list of one pointer
        assert!(size_of::<Slot>() <= 120, "{}", size_of::<Slot>());
        let mut hints = Hints::default();
        assert_eq!(hints.queue.capacity(), 0);
        hints.push(Hint::Resync);
        assert!(hints.queue.capacity() > 0);
    }
}
