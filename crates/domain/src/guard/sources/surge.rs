//! An organisation under a spray from everywhere: more people than usual don't answer what rings from places that
//! nobody knows.

use super::super::alert::{Alert, AlertKind, Scope, Severity};
use super::super::decay::{Seconds, fade};
use super::super::policy::Policy;
use super::{ALERT_LIFE_S, UserTag};

/// Requests that are told apart: far above every threshold that a share of successes doesn't raise.
const MAX_REQUESTS: usize = 512;

/// Requests from unknown places without success, and sums over a whole organisation.
#[derive(Clone, Debug)]
pub(super) struct Surge {
    at: Seconds,
    /// Whose, in turn; zero is nobody's.
    users: [UserTag; MAX_REQUESTS],
    /// When each came, and what it counts.
    requests: [(Seconds, f32); MAX_REQUESTS],
    next: usize,
    /// The first of them that may still be answered.
    young: usize,
    /// What those count of which no answer is expected any more, fading.
    asked: f32,
    /// Users who succeeded from unknown places, fading.
    passed: f32,
    hot_until: Seconds,
    alerted_until: Seconds,
}

impl Default for Surge {
    fn default() -> Self {
        Self {
            at: 0,
            users: [0; MAX_REQUESTS],
            requests: [(0, 0.0); MAX_REQUESTS],
            next: 0,
            young: 0,
            asked: 0.0,
            passed: 0.0,
            hot_until: 0,
            alerted_until: 0,
        }
    }
}

const fn after(slot: usize) -> usize {
    (slot + 1) % MAX_REQUESTS
}

impl Surge {
    fn bring_to(&mut self, policy: &Policy, now: Seconds) {
        let elapsed = now.saturating_sub(self.at);
        if elapsed == 0 {
            return;
        }
        let half_life = Policy::seconds(policy.surge_half_life_s);
        let kept = fade(elapsed, half_life);
        self.asked *= kept;
        self.passed *= kept;
        self.at = now;
        let answer = Policy::seconds(policy.answer_s);
        while self.young != self.next {
            let (since, weight) = self.requests[self.young];
            let age = now.saturating_sub(since);
            if age < answer {
                break;
            }
            self.asked += weight * fade(age - answer, half_life);
            self.young = after(self.young);
        }
    }

    /// What of a request in a slot still counts, and whether it is young.
    fn counted(&self, policy: &Policy, slot: usize) -> (f32, bool) {
        let (since, weight) = self.requests[slot];
        let behind = (slot + MAX_REQUESTS - self.young) % MAX_REQUESTS;
        let young = behind < (self.next + MAX_REQUESTS - self.young) % MAX_REQUESTS;
        let aged = self.at.saturating_sub(since).saturating_sub(Policy::seconds(policy.answer_s));
        let half_life = Policy::seconds(policy.surge_half_life_s);
        (if young { weight } else { weight * fade(aged, half_life) }, young)
    }

    fn slot(&self, user: UserTag) -> Option<usize> {
        self.users.iter().position(|other| *other == user)
    }

    fn note(&mut self, policy: &Policy, user: UserTag, weight: f32, now: Seconds) -> bool {
        // somebody who is asked again is one
        if self.slot(user).is_some() {
            return false;
        }
        self.users[self.next] = user;
        self.requests[self.next] = (now, weight);
        self.next = after(self.next);
        if self.next == self.young {
            // more at once than are told apart
            self.asked += self.counted(policy, self.young).0;
            self.young = after(self.young);
        }
        self.users[self.next] = 0;
        self.requests[self.next] = (0, 0.0);
        true
    }

    /// What a request counts. What is silent because of the surge is weak evidence that it goes on: people don't
    /// find it either.
    const fn weight(policy: &Policy, rang: bool) -> f32 {
        if rang { 1.0 } else { policy.surge_silent }
    }

    /// More than what is usual: a share of those who succeed, far above its chance deviation.
    fn limit(&self, policy: &Policy, users: f32) -> f32 {
        let normal = policy.surge_share * self.passed;
        // IEEE rounds a square root exactly: the same everywhere
        users + normal + policy.surge_sigma * normal.sqrt()
    }

    pub(super) fn is_hot(&mut self, policy: &Policy, outage: bool, now: Seconds) -> bool {
        self.bring_to(policy, now);
        let mut pending = 0.0;
        let mut slot = self.young;
        while slot != self.next {
            pending += self.requests[slot].1;
            slot = after(slot);
        }
        // so many at once who haven't answered yet that more must wait, if only for seconds
        let crowded = self.asked + pending >= self.limit(policy, 2.0 * policy.surge_users);
        now < self.hot_until || (crowded || self.is_beyond(policy)) && !outage
    }

    /// How many users didn't answer, fading.
    pub(super) const fn failing(&self) -> f32 {
        self.asked
    }

    fn is_beyond(&self, policy: &Policy) -> bool {
        self.asked >= self.limit(policy, policy.surge_users)
    }

    /// Notes a request from an unknown place; says whether it is one more, and whether there are too many.
    pub(super) fn asked(
        &mut self,
        policy: &Policy,
        user: UserTag,
        rang: bool,
        now: Seconds,
    ) -> (bool, bool) {
        self.bring_to(policy, now);
        let counts = rang || now < self.hot_until;
        let is_new = counts && self.note(policy, user, Self::weight(policy, rang), now);
        (is_new, self.is_beyond(policy))
    }

    /// Nobody was told after all.
    pub(super) const fn untell(&mut self) {
        self.alerted_until = 0;
    }

    /// Keeps unknown places silent for a while; raises an alert when that begins.
    pub(super) fn heat(&mut self, policy: &Policy, now: Seconds) -> Option<Alert> {
        self.hot_until = now + Policy::seconds(policy.surge_hot_s);
        let is_new = now >= self.alerted_until;
        self.alerted_until = now + ALERT_LIFE_S;
        is_new.then_some(Alert {
            kind: AlertKind::Spray,
            severity: Severity::High,
            scope: Scope::Organisation,
        })
    }

    /// A user refused: no answer is expected any more.
    pub(super) fn failed(&mut self, policy: &Policy, user: UserTag, now: Seconds) {
        self.bring_to(policy, now);
        let Some(slot) = self.slot(user) else { return };
        if let (weight, true) = self.counted(policy, slot) {
            self.asked += weight;
            // it stays, counted, so that a later success takes it back
            self.requests[slot].1 = 0.0;
        }
    }

    /// A user succeeded.
    pub(super) fn passed(&mut self, policy: &Policy, user: UserTag, now: Seconds) {
        self.forget(policy, user, now);
        self.passed += 1.0;
    }

    /// What a user was asked is no sign of a surge.
    pub(super) fn forget(&mut self, policy: &Policy, user: UserTag, now: Seconds) {
        self.bring_to(policy, now);
        if user == 0 {
            return;
        }
        if let Some(slot) = self.slot(user) {
            if let (weight, false) = self.counted(policy, slot) {
                self.asked = (self.asked - weight).max(0.0);
            }
            self.users[slot] = 0;
            self.requests[slot].1 = 0.0;
        }
    }
}
