//! Public detection rules as ideal real-time rules per user: no schedule, no delay. They stop nothing.

use std::collections::HashMap;

use domain::challenge::Decision;

use super::dice::{HOUR, MINUTE, Ms};

/// Their names, with what they count. Thresholds are those of the published rule files.
pub(crate) const RULES: [&str; 5] = [
    "Sigma: 1 denial",
    "Elastic: 5 denials in 10 min",
    "Splunk: 10 failures in a 5-min bucket",
    "Chronicle: 2 denials in 10 min",
    "Panther: 5 prompts in 30 min",
];

/// A rule is silent about a user for so long after it fired: as an analyst would have it.
const QUIET: Ms = HOUR;

/// What such rules see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Asked,
    Denied,
    Failed,
    CodeWrong,
    Passed,
}

impl Signal {
    pub(crate) const fn of(decision: Decision) -> Self {
        match decision {
            Decision::Approved => Self::Passed,
            Decision::Denied | Decision::Reported => Self::Denied,
            _ => Self::Failed,
        }
    }
}

/// The last five times of something; zero is never, and nothing happens that early.
#[derive(Clone, Copy, Debug, Default)]
struct Five([Ms; 5]);

impl Five {
    fn push(&mut self, t: Ms) {
        self.0.rotate_right(1);
        self.0[0] = t;
    }

    /// Whether the last `count` came within `window`.
    fn within(&self, t: Ms, count: usize, window: Ms) -> bool {
        self.0[count - 1] != 0 && self.0[count - 1] + window >= t
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct OfUser {
    denials: Five,
    asked: Five,
    bucket: Ms,
    in_bucket: u32,
    fired: [Ms; RULES.len()],
}

/// All rules over all users.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    users: HashMap<u32, OfUser>,
    /// How often each fired since counting began.
    pub(crate) fired: [u32; RULES.len()],
}

impl Rules {
    /// The rules that fire now, as bits.
    pub(crate) fn note(&mut self, t: Ms, user: u32, signal: Signal, judged: bool) -> u32 {
        let it = self.users.entry(user).or_default();
        match signal {
            Signal::Asked => it.asked.push(t),
            Signal::Denied => it.denials.push(t),
            Signal::Passed => it.denials = Five::default(),
            Signal::Failed | Signal::CodeWrong => {}
        }
        if matches!(signal, Signal::Denied | Signal::Failed | Signal::CodeWrong) {
            let bucket = t / (5 * MINUTE);
            it.in_bucket = if it.bucket == bucket { it.in_bucket + 1 } else { 1 };
            it.bucket = bucket;
        }
        let denied = signal == Signal::Denied;
        let failed = !matches!(signal, Signal::Asked | Signal::Passed);
        let now = [
            denied,
            denied && it.denials.within(t, 5, 10 * MINUTE),
            failed && it.in_bucket >= 10,
            denied && it.denials.within(t, 2, 10 * MINUTE),
            signal == Signal::Asked && it.asked.within(t, 5, 30 * MINUTE),
        ];
        let mut bits = 0;
        for (at, fires) in now.into_iter().enumerate() {
            if fires {
                bits |= 1 << at;
                if it.fired[at] == 0 || it.fired[at] + QUIET < t {
                    it.fired[at] = t;
                    self.fired[at] += u32::from(judged);
                }
            }
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_fires_at_its_threshold() {
        let mut rules = Rules::default();
        let mut denied = |t: Ms| rules.note(t * MINUTE, 1, Signal::Denied, true);
        assert_eq!(denied(1), 0b00001);
        assert_eq!(denied(12), 0b00001);
        assert_eq!([13, 14, 15].map(&mut denied), [0b01001; 3]);
        assert_eq!(denied(16), 0b01011);
        assert_eq!(rules.fired, [1, 1, 0, 1, 0]);
        let asked: Vec<u32> =
            (1..=5).map(|t| rules.note(t * MINUTE, 2, Signal::Asked, true)).collect();
        assert_eq!(asked, [0, 0, 0, 0, 0b10000]);
        let failed: Vec<u32> =
            (1..=10).map(|t| rules.note(HOUR + t, 3, Signal::CodeWrong, true)).collect();
        assert_eq!(failed[8..], [0, 0b00100]);
        rules.note(1, 4, Signal::Denied, true);
        rules.note(2, 4, Signal::Passed, true);
        assert_eq!(rules.note(3, 4, Signal::Denied, true), 0b00001);
    }
}
