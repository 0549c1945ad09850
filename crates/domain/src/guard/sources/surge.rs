//! An organisation under a spray from everywhere: more people than usual don't answer what rings from places that
//! nobody knows.

use super::super::alert::{Alert, AlertKind, Scope, Severity};
use super::super::decay::{Seconds, fade};
use super::super::policy::Policy;
use super::{ALERT_LIFE_S, MAX_INTEGRATIONS, UserTag};

/// Requests that are told apart: far above every threshold that a share of successes doesn't raise.
const MAX_REQUESTS: usize = 512;

/// What one integration says of users who don't answer.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    integration: u64,
    /// What those requests count of which no answer is expected any more, fading.
    asked: f32,
    /// What those count that may still be answered, when they were last looked at.
    pending: f32,
    /// How long unknown places are silent there.
    hot_until: Seconds,
}

/// Requests from unknown places without success, and sums over a whole organisation.
#[derive(Clone, Debug)]
pub(super) struct Surge {
    at: Seconds,
    /// Whose, in turn; zero is nobody's.
    users: [UserTag; MAX_REQUESTS],
    /// When each came, and what it counts.
    requests: [(Seconds, f32); MAX_REQUESTS],
    /// Who said so: a place in `said`.
    by: [u16; MAX_REQUESTS],
    next: usize,
    /// The first of them that may still be answered.
    young: usize,
    /// By integration, in the order in which they were met.
    said: Vec<Said>,
    /// Users who succeeded from unknown places, fading.
    passed: f32,
    alerted_until: Seconds,
}

impl Default for Surge {
    fn default() -> Self {
        Self {
            at: 0,
            users: [0; MAX_REQUESTS],
            requests: [(0, 0.0); MAX_REQUESTS],
            by: [0; MAX_REQUESTS],
            next: 0,
            young: 0,
            said: Vec::new(),
            passed: 0.0,
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
        for said in &mut self.said {
            said.asked *= kept;
        }
        self.passed *= kept;
        self.at = now;
        let answer = Policy::seconds(policy.answer_s);
        while self.young != self.next {
            let (since, weight) = self.requests[self.young];
            let age = now.saturating_sub(since);
            if age < answer {
                break;
            }
            self.count_in(self.young, weight * fade(age - answer, half_life));
            self.young = after(self.young);
        }
    }

    /// Adds what a request counts to what its integration said, or takes it away.
    fn count_in(&mut self, slot: usize, weight: f32) {
        if let Some(said) = self.said.get_mut(usize::from(self.by[slot])) {
            said.asked = (said.asked + weight).max(0.0);
        }
    }

    /// The place of an integration in `said`. Those beyond the bound share the first one.
    fn place(&mut self, integration: u64) -> u16 {
        let known = self.said.iter().position(|said| said.integration == integration);
        let place = known.unwrap_or_else(|| {
            if self.said.len() >= MAX_INTEGRATIONS {
                return 0;
            }
            self.said.push(Said { integration, ..Said::default() });
            self.said.len() - 1
        });
        u16::try_from(place).unwrap_or(0)
    }

    fn hot_until(&self, integration: u64) -> Seconds {
        let said = self.said.iter().find(|said| said.integration == integration);
        said.map_or(0, |said| said.hot_until)
    }

    /// What is said to `integration`: all of it where it says most of that itself; elsewhere the loudest counts at
    /// most as much as all others together, so that one that lies is believed by itself alone.
    fn evidence(&self, integration: u64, count: impl Fn(&Said) -> f32) -> f32 {
        let (mut total, mut most, mut own) = (0.0, 0.0_f32, 0.0);
        for said in &self.said {
            let counted = count(said);
            total += counted;
            most = most.max(counted);
            if said.integration == integration {
                own = counted;
            }
        }
        if 2.0 * own >= total { total } else { total - (2.0 * most - total).max(0.0) }
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

    fn note(
        &mut self,
        policy: &Policy,
        (user, integration): (UserTag, u64),
        weight: f32,
        now: Seconds,
    ) -> bool {
        // somebody who is asked again is one
        if self.slot(user).is_some() {
            return false;
        }
        self.users[self.next] = user;
        self.requests[self.next] = (now, weight);
        self.by[self.next] = self.place(integration);
        self.next = after(self.next);
        if self.next == self.young {
            // more at once than are told apart
            self.count_in(self.young, self.counted(policy, self.young).0);
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

    /// Whether unknown places are silent at an integration.
    pub(super) fn is_hot(
        &mut self,
        policy: &Policy,
        integration: u64,
        outage: bool,
        now: Seconds,
    ) -> bool {
        self.bring_to(policy, now);
        for said in &mut self.said {
            said.pending = 0.0;
        }
        let mut slot = self.young;
        while slot != self.next {
            if let Some(said) = self.said.get_mut(usize::from(self.by[slot])) {
                said.pending += self.requests[slot].1;
            }
            slot = after(slot);
        }
        // so many at once who haven't answered yet that more must wait, if only for seconds
        let all = self.evidence(integration, |said| said.asked + said.pending);
        let crowded = all >= self.limit(policy, 2.0 * policy.surge_users);
        let beyond = crowded || self.is_beyond(policy, integration);
        now < self.hot_until(integration) || beyond && !outage
    }

    /// How many users didn't answer, fading.
    pub(super) fn failing(&self) -> f32 {
        self.said.iter().map(|said| said.asked).sum()
    }

    fn is_beyond(&self, policy: &Policy, integration: u64) -> bool {
        let asked = self.evidence(integration, |said| said.asked);
        asked >= self.limit(policy, policy.surge_users)
    }

    /// Notes a request from an unknown place; says whether it is one more, and whether there are too many.
    pub(super) fn asked(
        &mut self,
        policy: &Policy,
        (user, integration): (UserTag, u64),
        rang: bool,
        now: Seconds,
    ) -> (bool, bool) {
        self.bring_to(policy, now);
        let counts = rang || now < self.hot_until(integration);
        let who = (user, integration);
        let is_new = counts && self.note(policy, who, Self::weight(policy, rang), now);
        (is_new, self.is_beyond(policy, integration))
    }

    /// Nobody was told after all.
    pub(super) const fn untell(&mut self) {
        self.alerted_until = 0;
    }

    /// Keeps unknown places silent for a while, at an integration; raises an alert when that begins.
    pub(super) fn heat(
        &mut self,
        policy: &Policy,
        integration: u64,
        now: Seconds,
    ) -> Option<Alert> {
        let place = usize::from(self.place(integration));
        if let Some(said) = self.said.get_mut(place) {
            said.hot_until = now + Policy::seconds(policy.surge_hot_s);
        }
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
            self.count_in(slot, weight);
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
                self.count_in(slot, -weight);
            }
            self.users[slot] = 0;
            self.requests[slot].1 = 0.0;
        }
    }
}
