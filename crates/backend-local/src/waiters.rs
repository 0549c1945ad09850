//! Long polls and pages that wait for a challenge to change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ports::BoxFuture;
use statement::ChallengeId;
use tokio::sync::Notify;

use crate::shards::{Shards, shrink};

/// Waiters on this node: about 300 bytes each, beside the request that each one holds open.
pub const MAX_WAITERS: usize = 50_000;
/// Waiters per challenge: one browser tab polls one at a time; more is somebody filling the node.
pub const MAX_WAITERS_PER_CHALLENGE: usize = 64;

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Waiters {
    topics: Shards<ChallengeId, Topic>,
    total: AtomicUsize,
}

/// The waiters of one challenge since it was last woken.
struct Topic {
    notify: Arc<Notify>,
    waiting: usize,
}

/// A waiter's place in the counts, given back when it is dropped.
struct Place {
    waiters: Arc<Waiters>,
    challenge: ChallengeId,
    notify: Arc<Notify>,
}

/// Registers a waiter now; `None` beyond the bounds.
pub(crate) fn wait(
    waiters: &Arc<Waiters>,
    challenge: ChallengeId,
) -> Option<BoxFuture<'static, ()>> {
    let (notify, notified) = {
        let mut topics = waiters.topics.of(&challenge);
        let waiting = topics.get(&challenge).map_or(0, |topic| topic.waiting);
        if waiting >= MAX_WAITERS_PER_CHALLENGE || !waiters.take_one() {
            return None;
        }
        let topic =
            topics.entry(challenge).or_insert_with(|| Topic { notify: Arc::default(), waiting: 0 });
        topic.waiting += 1;
        let notify = Arc::clone(&topic.notify);
        // remembers wake-ups from here on, not from its first poll
        (Arc::clone(&notify), notify.notified_owned())
    };
    let place = Place { waiters: Arc::clone(waiters), challenge, notify };
    Some(Box::pin(async move {
        let _place = place;
        notified.await;
    }))
}

impl Waiters {
    /// Wakes everybody who registered before. Whoever comes later finds a fresh topic.
    pub(crate) fn wake(&self, challenge: ChallengeId) {
        let topic = {
            let mut topics = self.topics.of(&challenge);
            let topic = topics.remove(&challenge);
            shrink(&mut topics);
            topic
        };
        if let Some(topic) = topic {
            topic.notify.notify_waiters();
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    fn take_one(&self) -> bool {
        self.total
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| {
                (total < MAX_WAITERS).then_some(total + 1)
            })
            .is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiters.total.fetch_sub(1, Ordering::Relaxed);
        let mut topics = self.waiters.topics.of(&self.challenge);
        let Some(topic) = topics.get_mut(&self.challenge) else {
            return;
        };
        // a topic that was woken is gone; one of the same challenge may have followed it
        if !Arc::ptr_eq(&topic.notify, &self.notify) {
            return;
        }
        topic.waiting -= 1;
        if topic.waiting == 0 {
            topics.remove(&self.challenge);
            shrink(&mut topics);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(n: usize) -> ChallengeId {
        let mut bytes = [0; ChallengeId::LEN];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        ChallengeId::from_bytes(bytes)
    }

    #[test]
    fn the_node_s_bound_holds_and_places_come_back() {
        let waiters = Arc::new(Waiters::default());
        let mut crowd: Vec<_> = (0..MAX_WAITERS)
            .map(|n| wait(&waiters, challenge(n)).expect("below the bound"))
            .collect();
        assert!(wait(&waiters, challenge(MAX_WAITERS)).is_none());
        crowd.pop();
        assert!(wait(&waiters, challenge(MAX_WAITERS)).is_some());
        let full = waiters.topics.capacity();
        drop(crowd);
        assert_eq!((waiters.waiting(), waiters.topics.len()), (0, 0));
        assert!(waiters.topics.capacity() * 8 < full);
    }

    #[tokio::test]
    async fn a_late_goodbye_leaves_the_next_topic_alone() {
        let waiters = Arc::new(Waiters::default());
        let id = challenge(1);
        let first = wait(&waiters, id).expect("a place");
        waiters.wake(id);
        let second = wait(&waiters, id).expect("a place");
        first.await;
        assert_eq!(waiters.waiting(), 1);
        waiters.wake(id);
        second.await;
        assert_eq!((waiters.waiting(), waiters.topics.len()), (0, 0));
    }
}
