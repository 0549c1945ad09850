//! Which places of a user are familiar.

use serde::{Deserialize, Serialize};

use super::decay::Seconds;
use super::origin::Tag;
use super::policy::Policy;

/// Addresses and cookies that are remembered: a person's homes, offices and browsers at a few integrations.
pub const MAX_PLACES: usize = 12;
/// Networks that are remembered.
pub const MAX_NETWORKS: usize = 4;

const SLOTS: usize = MAX_PLACES + MAX_NETWORKS;
/// Stands where a place on probation was forgotten: no keyed hash but one in four billion is this.
const FORGOTTEN: Tag = Tag::MAX;

/// How a place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No success from there is remembered.
    Unknown,
    /// The first success is not a day old.
    Probation,
    /// The person proved possession from there.
    Familiar,
}

/// Which of the two kinds of slots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Addresses and cookies.
    Place,
    /// Networks.
    Network,
}

/// Set while a place is on probation: its hours say when that ends, not when it was last used.
const PROBATION: u16 = 1 << 15;
/// Hours come round after 3.7 years: long after everything else was forgotten.
const HOURS: u32 = 1 << 15;

const fn hours_between(from: u16, to: u16) -> u32 {
    ((to & !PROBATION) as u32 + HOURS - (from & !PROBATION) as u32) % HOURS
}

const fn hour(at: Seconds) -> u16 {
    (at / 3600 % HOURS) as u16
}

/// Tags and stamps of the places that the person proved possession from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    tags: [Tag; SLOTS],
    stamps: [u16; SLOTS],
}

impl Places {
    const fn slots(kind: Kind) -> std::ops::Range<usize> {
        match kind {
            Kind::Place => 0..MAX_PLACES,
            Kind::Network => MAX_PLACES..SLOTS,
        }
    }

    /// How a slot stands, and hours since its last success.
    fn slot(&self, at: usize, policy: &Policy, now: Seconds) -> (Standing, u32) {
        let (stamp, now) = (self.stamps[at], hour(now));
        let behind = hours_between(stamp, now);
        let kept = behind <= 24 * Policy::seconds(policy.forget_days);
        let probation = Policy::seconds(policy.probation_s).div_ceil(3600) + 1;
        let ahead = hours_between(now, stamp);
        match () {
            () if self.tags[at] == 0 => (Standing::Unknown, u32::MAX),
            () if stamp & PROBATION != 0 && ahead > 0 && ahead <= probation => {
                (Standing::Probation, probation.saturating_sub(ahead))
            }
            () if kept => (Standing::Familiar, behind),
            () => (Standing::Unknown, behind),
        }
    }

    /// How a place is known.
    pub(super) fn standing(&self, kind: Kind, tag: Tag, policy: &Policy, now: Seconds) -> Standing {
        let at = Self::slots(kind).find(|at| self.tags[*at] == tag && tag != 0);
        at.map_or(Standing::Unknown, |at| self.slot(at, policy, now).0)
    }

    /// Whether any place is on probation.
    pub(super) fn is_learning(&self, policy: &Policy, now: Seconds) -> bool {
        // most have none, and the flag alone says so
        Self::slots(Kind::Place).any(|at| {
            self.stamps[at] & PROBATION != 0 && self.slot(at, policy, now).0 == Standing::Probation
        })
    }

    /// Notes a success. A new place, `known` by other means or else on probation, takes the slot of one that is
    /// forgotten or was used longest ago.
    pub(super) fn learn(
        &mut self,
        kind: Kind,
        tag: Tag,
        known: bool,
        policy: &Policy,
        now: Seconds,
    ) {
        let slots = Self::slots(kind);
        let at = slots.clone().find(|at| self.tags[*at] == tag && tag != 0);
        let standing = at.map_or(Standing::Unknown, |at| self.slot(at, policy, now).0);
        match (standing, at) {
            (Standing::Familiar, Some(at)) => self.stamps[at] = hour(now),
            (Standing::Probation, Some(at)) if known => self.stamps[at] = hour(now),
            (Standing::Probation, Some(_)) => {}
            _ => {
                let oldest = slots.max_by_key(|at| {
                    let (standing, idle) = self.slot(*at, policy, now);
                    (standing == Standing::Unknown, idle)
                });
                let Some(at) = at.or(oldest) else { return };
                self.tags[at] = tag;
                self.stamps[at] = if known { hour(now) } else { self.probation(policy, now) };
            }
        }
    }

    /// Notes a success from a place that has no name here: what it may have earned, a cookie that was never shown, is
    /// on probation.
    pub(super) fn learn_unseen(&mut self, policy: &Policy, now: Seconds) {
        self.learn(Kind::Place, FORGOTTEN, false, policy, now);
        if let Some(at) = Self::slots(Kind::Place).find(|at| self.tags[*at] == FORGOTTEN) {
            self.stamps[at] = self.probation(policy, now);
        }
    }

    /// The stamp of a probation that begins now. Rounded up: it never ends early.
    #[expect(clippy::unused_self, reason = "reads better beside the others")]
    fn probation(&self, policy: &Policy, now: Seconds) -> u16 {
        let end = now.saturating_add(Policy::seconds(policy.probation_s)).saturating_add(3599);
        hour(end) | PROBATION
    }

    /// Whatever is on probation begins it anew; a place that is `gone` is forgotten.
    pub(super) fn distrust(&mut self, policy: &Policy, now: Seconds, gone: impl Fn(Tag) -> bool) {
        for at in 0..SLOTS {
            if self.slot(at, policy, now).0 != Standing::Probation {
                continue;
            }
            self.stamps[at] = self.probation(policy, now);
            if gone(self.tags[at]) {
                // forgotten, but not what it may have earned: a cookie that was never shown
                self.tags[at] = FORGOTTEN;
            }
        }
    }

    /// Forgets a place.
    pub(super) fn forget(&mut self, tag: Tag) {
        for at in Self::slots(Kind::Place) {
            if self.tags[at] == tag {
                self.tags[at] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Seconds = 86_400;

    #[test]
    fn a_place_is_familiar_a_day_after_its_first_success_for_thirty_days_after_its_last() {
        let policy = Policy::default();
        for start in [0, 1, 3599, 1_795_000_000, HOURS * 3600 - 7200] {
            let mut places = Places::default();
            let standing = |places: &Places, now| places.standing(Kind::Place, 7, &policy, now);
            assert_eq!(standing(&places, start), Standing::Unknown);
            places.learn(Kind::Place, 7, false, &policy, start);
            assert_eq!(standing(&places, start), Standing::Probation);
            places.learn(Kind::Place, 7, false, &policy, start + DAY / 2);
            assert_eq!(standing(&places, start + DAY - 1), Standing::Probation);
            assert_eq!(standing(&places, start + DAY + 3600), Standing::Familiar);
            assert_eq!(standing(&places, start + 30 * DAY), Standing::Familiar);
            assert_eq!(standing(&places, start + 32 * DAY), Standing::Unknown);
            places.learn(Kind::Place, 7, false, &policy, start + 20 * DAY);
            assert_eq!(standing(&places, start + 49 * DAY), Standing::Familiar);
        }
    }

    #[test]
    fn the_place_used_longest_ago_makes_room() {
        let policy = Policy::default();
        let mut places = Places::default();
        for tag in 1..=20 {
            places.learn(Kind::Place, tag, true, &policy, tag * 3600);
            places.learn(Kind::Place, 1, true, &policy, tag * 3600 + 1);
        }
        let now = 30 * 3600;
        let kept = |tag| places.standing(Kind::Place, tag, &policy, now) == Standing::Familiar;
        let all: Vec<u32> = (1..=20).filter(|tag| kept(*tag)).collect();
        assert_eq!(all, [1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
        assert_eq!(places.standing(Kind::Network, 1, &policy, now), Standing::Unknown);
    }

    #[test]
    fn distrust_begins_probation_anew_and_leaves_what_is_familiar() {
        let policy = Policy::default();
        let mut places = Places::default();
        places.learn(Kind::Place, 1, true, &policy, 0);
        places.learn(Kind::Place, 2, false, &policy, 0);
        places.learn(Kind::Place, 3, false, &policy, 0);
        places.distrust(&policy, DAY / 2, |tag| tag == 3);
        let standing = |tag, now| places.standing(Kind::Place, tag, &policy, now);
        assert_eq!(standing(1, DAY), Standing::Familiar);
        assert_eq!(standing(2, DAY + DAY / 2 - 1), Standing::Probation);
        assert_eq!(standing(2, DAY + DAY / 2 + 3600), Standing::Familiar);
        assert_eq!(standing(3, DAY / 2), Standing::Unknown);
    }
}
