//! What is known of one ceremony, and what is wrong with it.

use std::collections::BTreeMap;

use authenticator_native::Decision;
use tokio::time::Instant;
use wire::rest::State;

use crate::schedule::Act;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// From when the ceremony should have started until the page has its number.
    Create,
    /// From when the ceremony should have started until the device shows the prompt.
    CreateToDevice,
    /// From the answer until the first of device and page is told the decision.
    AnswerToDecision,
    /// From then until the page is told: zero where it was the first.
    DecisionToWaiter,
    /// Both together.
    AnswerToWaiter,
    /// From when the ceremony should have started until the page is told: where nobody thinks, what a server takes.
    CreateToKnown,
    /// From the answer until the hosted page has left: told, loaded anew, and let go.
    AnswerToLeaving,
    /// From the redeem until its receipt.
    Redeem,
    /// From when the ceremony should have started until the server said that it has no time for it.
    Refusal,
}

impl Step {
    pub(crate) const ALL: [Self; 9] = [
        Self::Create,
        Self::CreateToDevice,
        Self::AnswerToDecision,
        Self::DecisionToWaiter,
        Self::AnswerToWaiter,
        Self::CreateToKnown,
        Self::AnswerToLeaving,
        Self::Redeem,
        Self::Refusal,
    ];

    /// Its name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateToDevice => "create_to_device",
            Self::AnswerToDecision => "answer_to_decision",
            Self::DecisionToWaiter => "decision_to_waiter",
            Self::AnswerToWaiter => "answer_to_waiter",
            Self::CreateToKnown => "create_to_known",
            Self::AnswerToLeaving => "answer_to_leaving",
            Self::Redeem => "redeem",
            Self::Refusal => "refusal",
        }
    }
}

/// One ceremony.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) act: Act,
    pub(crate) session: String,
    /// `None` if creating it failed.
    pub(crate) challenge: Option<String>,
    /// The server had no time for it, and that is no fault.
    pub(crate) refused: bool,
    /// Whether the device showed it.
    pub(crate) prompted: bool,
    /// Whether the device showed it only because the person opened the app: the guard kept it silent.
    pub(crate) silent: bool,
    /// How many others rang on the device meanwhile.
    pub(crate) rang_besides: u64,
    /// Whether the device answered it.
    pub(crate) answered: bool,
    /// Whether the right answer was withheld until a code passed.
    pub(crate) withheld: bool,
    /// Every end that anybody was told, once each. A sound server tells one.
    seen: Vec<State>,
    pub(crate) receipts: u32,
    /// What the hosted page brought back.
    pub(crate) return_code: Option<String>,
    errors: BTreeMap<String, u64>,
    /// In microseconds.
    pub(crate) times: Vec<(Step, u64)>,
    /// Whether it counts for latency: it started after the ramp.
    pub(crate) measured: bool,
    /// When it should have started.
    pub(crate) start: Option<Instant>,
    pub(crate) ended: Option<Instant>,
    /// Whether it counts for throughput: it ended after the ramp, while the rate held.
    pub(crate) ended_in_hold: bool,
}

/// What is wrong with a ceremony, once all is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// How it ended isn't known.
    pub(crate) lost: bool,
    /// It ended in two ways, or gave two receipts.
    pub(crate) doubled: bool,
    /// The server had no time for it.
    pub(crate) refused: bool,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Judgement {
    pub(crate) fn is_right(&self) -> bool {
        *self == Self::default()
    }
}

impl Record {
    pub(crate) fn new(act: Act, session: String) -> Self {
        Self {
            act,
            session,
            challenge: None,
            refused: false,
            prompted: false,
            silent: false,
            rang_besides: 0,
            answered: false,
            withheld: false,
            seen: Vec::new(),
            receipts: 0,
            return_code: None,
            errors: BTreeMap::new(),
            times: Vec::new(),
            measured: false,
            start: None,
            ended: None,
            ended_in_hold: false,
        }
    }

    pub(crate) fn error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }

    /// Somebody was told that it ended so.
    pub(crate) fn saw(&mut self, state: State) {
        if !self.seen.contains(&state) {
            self.seen.push(state);
        }
    }

    /// The device was told that it ended so.
    pub(crate) fn saw_on_device(&mut self, decision: Decision) {
        self.saw(match decision {
            Decision::Approved => State::Approved,
            Decision::Denied => State::Denied,
            Decision::Reported => State::Reported,
            Decision::Mismatch => State::Mismatch,
            Decision::Expired => State::Expired,
            Decision::Cancelled => State::Cancelled,
            Decision::Superseded => State::Superseded,
        });
    }

    pub(crate) fn took(&mut self, step: Step, from: Instant, to: Instant) {
        let micros = to.saturating_duration_since(from).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.times.push((step, micros));
    }

    /// Adds what the device's half of the ceremony noted.
    pub(crate) fn join(&mut self, device: Self) {
        for state in device.seen {
            self.saw(state);
        }
        for (kind, count) in device.errors {
            *self.errors.entry(kind).or_default() += count;
        }
    }

    /// Whether anybody was told how it ended.
    pub(crate) fn is_known(&self) -> bool {
        !self.seen.is_empty()
    }

    pub(crate) fn judge(&self) -> Judgement {
        let mut judgement = Judgement {
            lost: self.challenge.is_some() && self.seen.is_empty(),
            doubled: self.seen.len() > 1 || self.receipts > 1,
            refused: self.refused,
            errors: self.errors.clone(),
        };
        let mut error = |kind: &str| *judgement.errors.entry(kind.to_owned()).or_default() += 1;
        if let [end] = self.seen[..] {
            if !self.prompted {
                error("no_prompt");
            }
            let right = end == self.act.decides() && (self.answered || self.act == Act::Ignore);
            // an unanswered one expires: what is wrong with it has been counted
            let unanswered = !self.answered && end == State::Expired;
            if !right && !unanswered {
                error("wrong_decision");
            }
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ceremony that went as it should.
    fn record(act: Act) -> Record {
        let mut record = Record::new(act, "s".to_owned());
        record.challenge = Some("chl_a".to_owned());
        record.prompted = true;
        record.answered = act != Act::Ignore;
        record.saw(act.decides());
        record.receipts = u32::from(act == Act::Approve);
        record
    }

    fn errors(judgement: &Judgement) -> Vec<&str> {
        judgement.errors.keys().map(String::as_str).collect()
    }

    #[test]
    fn each_act_has_its_own_right_end() {
        for act in [Act::Approve, Act::Deny, Act::Wrong, Act::Ignore] {
            assert!(record(act).judge().is_right(), "{act:?}");
            for state in [State::Approved, State::Denied, State::Mismatch, State::Expired] {
                let mut other = record(act);
                other.seen = vec![state];
                let judgement = other.judge();
                assert_eq!(judgement.is_right(), state == act.decides(), "{act:?} {state:?}");
                assert!(!judgement.lost && !judgement.doubled);
                let wrong = judgement.is_right() || errors(&judgement) == ["wrong_decision"];
                assert!(wrong, "{act:?} {state:?}: {judgement:?}");
            }
        }
    }

    #[test]
    fn no_known_end_is_lost_and_a_failed_create_isnt() {
        let mut lost = record(Act::Approve);
        lost.seen.clear();
        assert!(lost.judge().lost);
        let mut refused = Record::new(Act::Approve, "s".to_owned());
        refused.error("create_503_unavailable");
        let judgement = refused.judge();
        assert!(!judgement.lost && !judgement.is_right());
        assert_eq!(errors(&judgement), ["create_503_unavailable"]);
    }

    #[test]
    fn two_ends_or_two_receipts_are_doubled() {
        let mut told = record(Act::Approve);
        let mut device = Record::new(Act::Approve, String::new());
        device.saw_on_device(Decision::Approved);
        told.join(device);
        assert!(told.judge().is_right(), "told twice the same is once");
        let mut device = Record::new(Act::Approve, String::new());
        device.saw_on_device(Decision::Expired);
        told.join(device);
        assert!(told.judge().doubled);
        let mut twice = record(Act::Approve);
        twice.receipts = 2;
        assert!(twice.judge().doubled);
    }

    #[test]
    fn a_prompt_that_never_came_is_an_error_but_not_a_wrong_decision() {
        let mut quiet = record(Act::Approve);
        (quiet.prompted, quiet.answered, quiet.receipts) = (false, false, 0);
        quiet.seen = vec![State::Expired];
        assert_eq!(errors(&quiet.judge()), ["no_prompt"]);
        // nobody answered, and yet it is approved
        quiet.seen = vec![State::Approved];
        assert_eq!(errors(&quiet.judge()), ["no_prompt", "wrong_decision"]);
        let mut ignored = record(Act::Ignore);
        ignored.prompted = false;
        assert_eq!(errors(&ignored.judge()), ["no_prompt"]);
    }

    #[test]
    fn both_halves_errors_count() {
        let mut page = record(Act::Deny);
        page.error("poll_timeout");
        let mut device = Record::new(Act::Deny, String::new());
        device.error("poll_timeout");
        device.error("device_disconnected");
        page.join(device);
        let judgement = page.judge();
        assert_eq!(judgement.errors["poll_timeout"], 2);
        assert_eq!(judgement.errors["device_disconnected"], 1);
    }
}
