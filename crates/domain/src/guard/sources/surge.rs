//! An organisation under a spray from everywhere: more people than usual don't answer what rings from places that
//! nobody knows.

use std::collections::{HashMap, VecDeque};

use super::super::alert::{Alert, AlertKind, Scope, Severity};
use super::super::decay::{Seconds, fade};
use super::super::policy::Policy;
use super::{ALERT_LIFE_S, MAX_INTEGRATIONS, UserTag};

/// Requests that are told apart: what a million people ask for from unknown places while answers may still come.
const MAX_REQUESTS: usize = 16_384;
/// How long a request is remembered, so that a late success takes it back: longer than any challenge lives.
const LIFE_S: Seconds = 600;
/// How fast what is usual in this organisation is learned and forgotten.
const USUAL_HALF_LIFE_S: Seconds = 7 * 24 * 60 * 60;
/// How far above what is usual is still normal.
const USUAL_FACTOR: f32 = 1.5;

/// What one integration says of users who don't answer.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    integration: u64,
    /// What those requests count of which no answer is expected any more, fading.
    asked: f32,
    /// What those count that may still be answered.
    pending: f32,
    /// How long unknown places are silent there.
    hot_until: Seconds,
}

/// A request from an unknown place without success.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// Whose; zero is nobody's any more.
    user: UserTag,
    /// Who said so: a place in `said`.
    by: u16,
    /// What it counts.
    weight: f32,
    /// When it came.
    since: Seconds,
    /// Since when no answer is expected any more; zero while one is.
    counted: Seconds,
}

/// Requests from unknown places without success, and sums over a whole organisation.
#[derive(Clone, Debug, Default)]
pub(super) struct Surge {
    at: Seconds,
    /// In the order in which they came.
    requests: VecDeque<Request>,
    /// The number of the first of them, and of the first that may still be answered.
    first: u64,
    young: u64,
    /// The request of a user, by number.
    of: HashMap<UserTag, u64>,
    /// By integration, in the order in which they were met.
    said: Vec<Said>,
    /// Users who succeeded from unknown places, fading.
    passed: f32,
    /// How many don't answer and how many succeed on ordinary days, fading slowly: what is usual here.
    usual: [f32; 2],
    alerted_until: Seconds,
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
        let kept = fade(elapsed, USUAL_HALF_LIFE_S);
        self.usual = self.usual.map(|sum| sum * kept);
        self.at = now;
        let answer = Policy::seconds(policy.answer_s);
        while let Some(request) = self.get(self.young).copied() {
            if now.saturating_sub(request.since) < answer {
                break;
            }
            if request.counted == 0 {
                self.count(policy, self.young, request.since + answer);
            }
            self.young += 1;
        }
        while self.requests.front().is_some_and(|first| now.saturating_sub(first.since) > LIFE_S) {
            self.drop_first();
        }
        if self.young == self.first + self.requests.len() as u64 {
            // nothing is pending: no rounding error stays
            self.said.iter_mut().for_each(|said| said.pending = 0.0);
        }
    }

    fn get(&self, number: u64) -> Option<&Request> {
        self.requests.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Request> {
        self.requests.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn said_by(&mut self, by: u16) -> Option<&mut Said> {
        self.said.get_mut(usize::from(by))
    }

    /// Moves a request from those that may be answered to those that count, since `when`.
    fn count(&mut self, policy: &Policy, number: u64, when: Seconds) {
        let aged = self.at.saturating_sub(when);
        let left = fade(aged, Policy::seconds(policy.surge_half_life_s));
        let Some(request) = self.get_mut(number) else { return };
        request.counted = when.max(1);
        let Request { by, weight, .. } = *request;
        if let Some(said) = self.said_by(by) {
            said.pending = (said.pending - weight).max(0.0);
            said.asked += weight * left;
        }
        self.learn(0, weight);
    }

    fn drop_first(&mut self) {
        let number = self.first;
        let Some(gone) = self.requests.pop_front() else { return };
        self.first += 1;
        if self.of.get(&gone.user) == Some(&number) {
            self.of.remove(&gone.user);
        }
    }

    /// On ordinary days what happens becomes what is usual.
    fn learn(&mut self, which: usize, weight: f32) {
        if self.said.iter().all(|said| self.at >= said.hot_until) {
            self.usual[which] += weight;
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

    /// More than what is usual here, far above its chance deviation.
    fn limit(&self, policy: &Policy, users: f32) -> f32 {
        let [asked, passed] = self.usual;
        let usual = USUAL_FACTOR * asked / (asked + passed).max(1.0);
        let normal = usual.min(policy.surge_share_most).max(policy.surge_share) * self.passed;
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
        // on most days so little is open or failed that no limit is near, however much of it has faded
        let most: f32 = self.said.iter().map(|said| said.asked + said.pending).sum();
        if most < policy.surge_users && now >= self.hot_until(integration) {
            return false;
        }
        self.bring_to(policy, now);
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
        // somebody who is asked again is one
        let is_new = counts && !self.of.contains_key(&user);
        if is_new {
            if self.requests.len() >= MAX_REQUESTS {
                // more at once than are told apart: the first to go no longer counts unless it did
                self.forget_number(policy, self.first);
                self.drop_first();
                self.young = self.young.max(self.first);
            }
            let by = self.place(integration);
            // what is silent because of the surge is weak evidence that it goes on: people don't find it either
            let weight = if rang { 1.0 } else { policy.surge_silent };
            self.of.insert(user, self.first + self.requests.len() as u64);
            self.requests.push_back(Request { user, by, weight, since: now, counted: 0 });
            if let Some(said) = self.said_by(by) {
                said.pending += weight;
            }
        }
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
        let place = self.place(integration);
        if let Some(said) = self.said_by(place) {
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
        let Some(&number) = self.of.get(&user) else { return };
        if self.get(number).is_some_and(|request| request.counted == 0) {
            self.count(policy, number, now);
        }
    }

    /// A user succeeded.
    pub(super) fn passed(&mut self, policy: &Policy, user: UserTag, now: Seconds) {
        self.forget(policy, user, now);
        self.passed += 1.0;
        self.learn(1, 1.0);
    }

    /// What a user was asked is no sign of a surge.
    pub(super) fn forget(&mut self, policy: &Policy, user: UserTag, now: Seconds) {
        self.bring_to(policy, now);
        if let Some(number) = self.of.remove(&user) {
            self.forget_number(policy, number);
        }
    }

    fn forget_number(&mut self, policy: &Policy, number: u64) {
        let at = self.at;
        let Some(request) = self.get_mut(number) else { return };
        let Request { by, weight, counted, .. } = *request;
        (request.weight, request.counted) = (0.0, counted.max(1));
        let left = fade(at.saturating_sub(counted), Policy::seconds(policy.surge_half_life_s));
        let Some(said) = self.said_by(by) else { return };
        if counted == 0 {
            said.pending = (said.pending - weight).max(0.0);
        } else {
            said.asked = (said.asked - weight * left).max(0.0);
            self.usual[0] = (self.usual[0] - weight).max(0.0);
        }
    }
}
