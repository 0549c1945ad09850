//! An organisation under a spray from everywhere: more people than usual don't answer what rings from places that
//! nobody knows.

use super::super::alert::{Alert, AlertKind, Scope, Severity};
use super::super::decay::{Seconds, fade};
use super::super::policy::Policy;
use super::ALERT_LIFE_S;

/// How finely requests that may still be answered are told apart by age, in seconds.
const STEP_S: Seconds = 4;
/// As many steps as the longest `answer_s` needs, and one.
const STEPS: usize = 16;

/// Sums over a whole organisation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Surge {
    at: Seconds,
    /// Requests that may still be answered, by when they came: in turn, the oldest step first.
    young: [f32; STEPS],
    /// The first step that is not in `asked` yet.
    oldest: u32,
    /// Users asked from unknown places of whom no answer is expected any more.
    asked: f32,
    /// Users who succeeded from unknown places.
    passed: f32,
    hot_until: Seconds,
    alerted_until: Seconds,
}

const fn at(step: u32) -> usize {
    step as usize % STEPS
}

impl Surge {
    fn bring_to(&mut self, policy: &Policy, now: Seconds) {
        let elapsed = now.saturating_sub(self.at);
        if elapsed == 0 {
            return;
        }
        let kept = fade(elapsed, Policy::seconds(policy.surge_half_life_s));
        self.asked *= kept;
        self.passed *= kept;
        let young_from = now.saturating_sub(Policy::seconds(policy.answer_s)) / STEP_S + 1;
        for step in 0..STEPS as u32 {
            let step = self.oldest.saturating_add(step);
            if step < young_from {
                // as if it had stopped being young right after it was last looked at
                self.asked += kept * std::mem::take(&mut self.young[at(step)]);
            }
        }
        self.oldest = self.oldest.max(young_from);
        self.at = now;
    }

    /// What a request counts. What is silent because of the surge is weak evidence that it goes on: people don't
    /// find it either.
    const fn weight(policy: &Policy, rang: bool) -> f32 {
        if rang { 1.0 } else { policy.surge_silent }
    }

    /// The sum that a request made at `since` is counted in.
    fn sum(&mut self, since: Seconds) -> &mut f32 {
        let step = since / STEP_S;
        if step < self.oldest { &mut self.asked } else { &mut self.young[at(step)] }
    }

    /// More than what is usual: a share of those who succeed, far above its chance deviation.
    fn limit(&self, policy: &Policy, users: f32) -> f32 {
        let normal = policy.surge_share * self.passed;
        // IEEE rounds a square root exactly: the same everywhere
        users + normal + policy.surge_sigma * normal.sqrt()
    }

    pub(super) fn is_hot(&mut self, policy: &Policy, outage: bool, now: Seconds) -> bool {
        self.bring_to(policy, now);
        let pending: f32 = self.young.iter().sum();
        // so many at once who haven't answered yet that more must wait, if only for seconds
        let crowded = self.asked + pending >= self.limit(policy, 2.0 * policy.surge_users);
        now < self.hot_until || (crowded || self.is_beyond(policy)) && !outage
    }

    fn is_beyond(&self, policy: &Policy) -> bool {
        self.asked >= self.limit(policy, policy.surge_users)
    }

    /// Notes a request from an unknown place; says whether there are too many.
    pub(super) fn asked(&mut self, policy: &Policy, rang: bool, now: Seconds) -> bool {
        self.bring_to(policy, now);
        if rang || now < self.hot_until {
            *self.sum(now) += Self::weight(policy, rang);
        }
        self.is_beyond(policy)
    }

    /// Keeps unknown places silent for a while. `tell`: nobody has told of it otherwise.
    pub(super) fn heat(&mut self, policy: &Policy, tell: bool, now: Seconds) -> Option<Alert> {
        self.hot_until = now + Policy::seconds(policy.surge_hot_s);
        let is_new = now >= self.alerted_until && tell;
        if tell || now < self.alerted_until {
            self.alerted_until = now + ALERT_LIFE_S;
        }
        is_new.then_some(Alert {
            kind: AlertKind::Spray,
            severity: Severity::High,
            scope: Scope::Organisation,
        })
    }

    /// A request made at `since` was refused: no answer is expected any more.
    pub(super) fn failed(&mut self, policy: &Policy, rang: bool, since: Seconds, now: Seconds) {
        self.bring_to(policy, now);
        if !rang && now >= self.hot_until {
            return;
        }
        let weight = Self::weight(policy, rang).min(*self.sum(since));
        *self.sum(since) -= weight;
        self.asked += weight;
    }

    /// One made at `since` succeeded.
    pub(super) fn passed(&mut self, policy: &Policy, rang: bool, since: Seconds, now: Seconds) {
        self.bring_to(policy, now);
        if rang || now < self.hot_until {
            let sum = self.sum(since);
            *sum = (*sum - Self::weight(policy, rang)).max(0.0);
        }
        self.passed += 1.0;
    }
}
