//! What answers, codes and people do to what is remembered.

use super::alert::{Alert, AlertKind, Severity};
use super::decay::Seconds;
use super::judge::{Around, Charge, EnrolmentDecision, Release};
use super::memory::{Memory, Weight};
use super::origin::{Familiarity, Origin};
use super::policy::Policy;
use super::reason::Reason;
use crate::challenge::Decision;

impl Memory {
    /// Judges a right answer before it is settled: after a denial or report of something from elsewhere, an
    /// approval from elsewhere needs a code as well. Only a user who has a code that works (`has_code`) can be
    /// asked for one: nobody with an enrolled device is ever locked out.
    #[must_use]
    pub fn judge_approval(
        &self,
        policy: &Policy,
        charge: &Charge,
        has_code: bool,
        break_glass: bool,
        now: Seconds,
    ) -> Release {
        let because = self.withholds(policy, charge, has_code, break_glass, now);
        because.map_or(Release::Released, |_| Release::Withheld)
    }

    /// Why a right answer is withheld, if it is.
    #[must_use]
    pub fn withholds(
        &self,
        policy: &Policy,
        charge: &Charge,
        has_code: bool,
        break_glass: bool,
        now: Seconds,
    ) -> Option<Reason> {
        let strange = !charge.familiarity.is_known() && !self.is_proven(&charge.origin);
        if !strange || !has_code || break_glass {
            return None;
        }
        let denied_within = |s: f32| self.denied_within(Policy::seconds(s), now);
        // a denial by mistake is followed by a retry; one within an attack that goes on counts for days
        let held = now < self.hold_until;
        let fresh = if charge.familiarity == Familiarity::Nowhere {
            policy.denial_nowhere_s
        } else {
            policy.denial_fresh_s
        };
        if denied_within(fresh) || (held && denied_within(policy.denial_memory_s)) {
            Some(if self.was_reported() { Reason::ReportedLately } else { Reason::DeniedLately })
        } else {
            (held && self.held_level >= 3).then_some(Reason::Contained)
        }
    }

    /// What a withheld approval means: an attack that was alerted is confirmed.
    pub fn withheld(&mut self, policy: &Policy, now: Seconds) -> Vec<Alert> {
        if now >= self.hold_until || self.held_level != 2 {
            return Vec::new();
        }
        self.hold(3, now + Policy::seconds(policy.hold_s));
        vec![Alert::user(AlertKind::Bombing, Severity::High)]
    }

    /// A code has passed where a right answer was withheld: that place needs no other one. Elsewhere the denial
    /// counts on.
    pub fn released(&mut self, charge: &Charge) {
        self.prove(&charge.origin);
    }

    fn hold(&mut self, level: u8, until: Seconds) {
        self.held_level = self.held_level.max(level);
        self.hold_until = self.hold_until.max(until);
    }

    /// Takes back what a challenge cost that never came to be.
    pub fn undo(&mut self, policy: &Policy, charge: &Charge) {
        let paid = (charge.paid(), charge.at);
        self.take_back(policy, &charge.origin, charge.familiarity, paid, false);
    }

    /// Applies the outcome of a challenge.
    #[must_use]
    pub fn settled(
        &mut self,
        policy: &Policy,
        charge: &Charge,
        decision: Decision,
        outage: bool,
        now: Seconds,
    ) -> Vec<Alert> {
        if decision != Decision::Approved && !charge.familiarity.is_known() && charge.weight > 0.0 {
            self.prolong(policy, now);
        }
        match decision {
            Decision::Approved => {
                self.approved(policy, charge, now);
                Vec::new()
            }
            Decision::Denied => {
                self.refused(policy, charge, policy.denial, now);
                Vec::new()
            }
            Decision::Reported => self.reported(policy, charge, now),
            Decision::Mismatch => {
                self.top_up(policy, charge, policy.mismatch, false);
                self.note_ended(&charge.origin);
                Vec::new()
            }
            // time-outs that everybody has at home say nothing about this user; those of strangers still do. The
            // audit says which were forgiven: one that cost nothing leaves no such row
            Decision::Expired if outage && charge.familiarity.is_known() && charge.weight > 0.0 => {
                self.undo(policy, charge);
                Vec::new()
            }
            Decision::Expired | Decision::Cancelled | Decision::Superseded => {
                if charge.rang {
                    self.note_ended(&charge.origin);
                }
                Vec::new()
            }
        }
    }

    /// A success that proves possession.
    pub(super) fn approved(&mut self, policy: &Policy, charge: &Charge, now: Seconds) {
        let paid = (charge.paid(), charge.at);
        self.take_back(policy, &charge.origin, charge.familiarity, paid, true);
        let recognisable = charge.familiarity != Familiarity::Nowhere;
        if recognisable {
            self.learn(policy, &charge.origin, charge.familiarity.is_known());
        } else {
            self.learn_unseen(policy);
        }
        // a hold that nothing but this place had earned ends with it
        let denied = self.denied_within(Policy::seconds(policy.denial_memory_s), now);
        if self.held_level == 2 && !denied && self.score(policy) < policy.silent_at {
            self.hold_until = 0;
            self.held_level = 0;
        }
    }

    fn refused(&mut self, policy: &Policy, charge: &Charge, weight: f32, now: Seconds) {
        self.top_up(policy, charge, weight, true);
        if charge.familiarity.is_known() {
            self.forget_cookie(&charge.origin);
        } else {
            self.denied(false, now);
            self.distrust(policy, &charge.origin);
        }
    }

    fn reported(&mut self, policy: &Policy, charge: &Charge, now: Seconds) -> Vec<Alert> {
        // from where the person is at home, with nothing else wrong: most likely a slip of the finger. A second one
        // while the first is remembered isn't
        let slip = charge.familiarity.is_known()
            && !self.is_raised(policy)
            && !self.is_looping(policy, charge.familiarity)
            && !self.denied_within(Policy::seconds(policy.hold_s), now)
            && now >= self.hold_until;
        self.refused(policy, charge, policy.report, now);
        if slip {
            // it holds nobody: what begins now is told like any attack
            self.distrust(policy, &Origin::default());
            self.denied(true, now);
            return vec![Alert::user(AlertKind::Bombing, Severity::Low)];
        }
        let alert = Alert::user(AlertKind::Bombing, Severity::High);
        self.confirm(policy, &Origin::default(), alert, now)
    }

    /// The person says that it wasn't them: an attack is confirmed, and told once.
    fn confirm(
        &mut self,
        policy: &Policy,
        origin: &Origin,
        alert: Alert,
        now: Seconds,
    ) -> Vec<Alert> {
        let confirmed = now < self.hold_until && self.held_level >= 3;
        // wherever it came from, who is on probation may be the same one: probation begins anew
        self.distrust(policy, origin);
        self.denied(true, now);
        self.hold(3, now + Policy::seconds(policy.hold_s));
        // one report of an attack speaks for the others, but not for a sign-in that went through
        let is_told = confirmed && alert.kind != AlertKind::ReportedLate;
        if is_told { Vec::new() } else { vec![alert] }
    }

    /// Raises what a challenge has cost to what its outcome costs. `kept`: no later success takes it back.
    fn top_up(&mut self, policy: &Policy, charge: &Charge, weight: f32, kept: bool) {
        if charge.familiarity.is_known() {
            // a wrong number at home is a typing error; a report never lowers service at home
            if kept && weight < policy.report {
                let more = Weight::lasting(policy.loop_denial);
                self.add(policy, &charge.origin, charge.familiarity, more, true);
            }
            return;
        }
        if kept {
            let paid = (charge.paid(), charge.at);
            self.take_back(policy, &charge.origin, charge.familiarity, paid, false);
            let whole = Weight::lasting(weight * charge.factor);
            self.add(policy, &charge.origin, charge.familiarity, whole, true);
        } else {
            let whole = weight * charge.factor;
            let paid = charge.paid();
            let more =
                Weight { short: (whole - paid.short).max(0.0), long: (whole - paid.long).max(0.0) };
            self.add(policy, &charge.origin, charge.familiarity, more, false);
        }
    }

    /// Notes a wrong code, and says whether somebody guesses: `spent` says that the budget of such tries is.
    pub fn code_failed(
        &mut self,
        policy: &Policy,
        origin: &Origin,
        spent: bool,
        now: Seconds,
    ) -> Vec<Alert> {
        let familiarity = self.familiarity(policy, origin, now);
        let drips = self.drips(policy, now);
        if !familiarity.is_known() && !spent {
            let weight = Weight::passing(policy.wrong_code);
            let first = !self.owes(origin);
            self.add(policy, origin, familiarity, weight, false);
            if familiarity != Familiarity::Nowhere {
                self.tried(policy, origin, first);
            }
            self.prolong(policy, now);
        }
        let mut alerts = Vec::new();
        if spent && self.once_a_day(1, now) {
            alerts.push(Alert::user(AlertKind::CodeGuessing, Severity::Medium));
        }
        if !familiarity.is_known() {
            alerts.extend(self.raise(policy, familiarity, drips, Around::default(), now));
        }
        alerts
    }

    /// A right code that no challenge was open for. Returns what it stands for.
    pub fn code_passed(&mut self, policy: &Policy, origin: &Origin, now: Seconds) -> Charge {
        let familiarity = self.familiarity(policy, origin, now);
        let charge = Charge {
            origin: *origin,
            familiarity,
            rang: false,
            weight: 0.0,
            at: now,
            factor: 1.0,
            first_factor: true,
            displaced: false,
        };
        self.approved(policy, &charge, now);
        charge
    }

    /// A report of something from `origin` that was decided before: the decision stays, the guard acts. What that
    /// place has learned since is forgotten.
    #[must_use]
    pub fn reported_late(&mut self, policy: &Policy, origin: &Origin, now: Seconds) -> Vec<Alert> {
        let alert = Alert::user(AlertKind::ReportedLate, Severity::High);
        self.confirm(policy, origin, alert, now)
    }

    /// Whether a new device, a reset or new codes take effect now.
    #[must_use]
    pub fn judge_enrolment(
        &self,
        policy: &Policy,
        now: Seconds,
    ) -> (EnrolmentDecision, Vec<Alert>) {
        let alert = |severity| vec![Alert::user(AlertKind::EnrolmentUnderAttack, severity)];
        match self.level(policy, now) {
            0 => (EnrolmentDecision::Allow, Vec::new()),
            1 => (EnrolmentDecision::Wait, alert(Severity::Low)),
            _ => (EnrolmentDecision::SecondApprover, alert(Severity::High)),
        }
    }

    /// An operator says that the attack is over: failures are forgotten, what is familiar stays.
    pub fn clear(&mut self) {
        self.forgive_all();
    }

    /// An operator contains the user: other places neither ring nor pass without a code.
    pub fn contain(&mut self, policy: &Policy, now: Seconds) {
        self.hold(3, now + Policy::seconds(policy.contain_s));
    }

    /// How many silent challenges the person should be told of, at most once in `digest_s`.
    pub fn digest(&mut self, policy: &Policy, now: Seconds) -> Option<u16> {
        // hours that come round after seven years: a digest may be a day late then, and none is early
        #[expect(clippy::cast_possible_truncation, reason = "the hours come round")]
        let hour = (now / 3600) as u16;
        let least = Policy::seconds(policy.digest_s).div_ceil(3600);
        // counted from the end of the hour in which the last one was told
        if self.silent == 0 || u32::from(hour.wrapping_sub(self.digest_hour)) <= least {
            return None;
        }
        self.digest_hour = hour;
        Some(std::mem::take(&mut self.silent))
    }
}
