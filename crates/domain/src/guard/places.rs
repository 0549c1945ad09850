//! Which places of a user are familiar.

use serde::{Deserialize, Serialize};

use super::decay::Seconds;
use super::origin::{Origin, Tag};
use super::policy::Policy;

/// Addresses, cookies and networks that are remembered: a person's homes, offices, browsers and providers at a few
/// integrations. They share the slots: who has another address each day needs all of their networks more than
/// yesterday's addresses.
const MAX_PLACES: usize = 19;

/// How many hours sooner what was there once is forgotten than what was there again.
const ONCE_H: u32 = 7 * 24;
/// How many on probation are kept before the oldest gives way to a newer one: a day of travel.
const MAX_LEARNING: usize = 6;

/// What is kept of a tag: so much that a stranger's address is taken for one of a person's places once in 400,000
/// times.
type Kept = [u8; 3];

/// Stands for nothing.
const FREE: Kept = [0; 3];
/// Stands where a place on probation was forgotten: hardly any keyed hash is this.
const FORGOTTEN: Kept = [!IS_NETWORK, u8::MAX, u8::MAX];
/// The bit that says that it is a network's.
const IS_NETWORK: u8 = 1;

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

/// Of which kind a tag is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Addresses and cookies.
    Place,
    /// Networks.
    Network,
}

impl Kind {
    /// A tag as it is kept.
    const fn kept(self, tag: Tag) -> Kept {
        let [_, a, b, c] = tag.to_be_bytes();
        match (self, [c & !IS_NETWORK, b, a]) {
            (Self::Place, FREE) => [2, 0, 0],
            (Self::Place, kept) => kept,
            (Self::Network, _) => [c | IS_NETWORK, b, a],
        }
    }
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
    tags: [Kept; MAX_PLACES],
    stamps: [u16; MAX_PLACES],
}

impl Places {
    /// Where a tag is.
    fn find(&self, tag: Kept) -> Option<usize> {
        self.tags.iter().position(|other| *other == tag)
    }

    /// How a slot stands, and hours since its last success.
    fn slot(&self, at: usize, policy: &Policy, now: Seconds) -> (Standing, u32) {
        let (stamp, now) = (self.stamps[at], hour(now));
        let behind = hours_between(stamp, now);
        let kept = behind <= 24 * Policy::seconds(policy.forget_days);
        let probation = Policy::seconds(policy.probation_s).div_ceil(3600) + 1;
        let ahead = hours_between(now, stamp);
        match () {
            () if self.tags[at] == FREE => (Standing::Unknown, u32::MAX),
            () if stamp & PROBATION != 0 && ahead > 0 && ahead <= probation => {
                (Standing::Probation, probation.saturating_sub(ahead))
            }
            () if kept => (Standing::Familiar, behind),
            () => (Standing::Unknown, behind),
        }
    }

    /// How a place is known.
    pub(super) fn standing(&self, kind: Kind, tag: Tag, policy: &Policy, now: Seconds) -> Standing {
        self.find(kind.kept(tag)).map_or(Standing::Unknown, |at| self.slot(at, policy, now).0)
    }

    /// Whether any place is on probation.
    pub(super) fn is_learning(&self, policy: &Policy, now: Seconds) -> bool {
        // most have none, and the flag alone says so
        (0..MAX_PLACES).any(|at| {
            self.stamps[at] & PROBATION != 0
                && self.tags[at][0] & IS_NETWORK == 0
                && self.slot(at, policy, now).0 == Standing::Probation
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
        self.learn_kept(kind.kept(tag), known, policy, now);
    }

    fn learn_kept(&mut self, tag: Kept, known: bool, policy: &Policy, now: Seconds) {
        let at = self.find(tag);
        let standing = at.map_or(Standing::Unknown, |at| self.slot(at, policy, now).0);
        match (standing, at) {
            (Standing::Familiar, Some(at)) => self.stamps[at] = hour(now),
            (Standing::Probation, Some(at)) if known => self.stamps[at] = hour(now),
            (Standing::Probation, Some(_)) => {}
            _ => {
                let at = at.unwrap_or_else(|| self.least(policy, now));
                self.tags[at] = tag;
                self.stamps[at] = if known { hour(now) } else { self.probation(policy, now) };
            }
        }
    }

    /// The slot that is given up first: of something forgotten, else of what was used longest ago, where what was there
    /// once and never again counts as a week older. So a new address each day takes the place of yesterday's, not that of
    /// an office.
    fn least(&self, policy: &Policy, now: Seconds) -> usize {
        let slots = || (0..MAX_PLACES).map(|at| (at, self.slot(at, policy, now)));
        let learning = slots().filter(|(_, slot)| slot.0 == Standing::Probation).count();
        let rank = |(at, (standing, idle)): &(usize, (Standing, u32))| {
            let once = match standing {
                Standing::Probation => learning >= MAX_LEARNING,
                _ => self.stamps[*at] & PROBATION != 0,
            };
            (*standing == Standing::Unknown, idle.saturating_add(if once { ONCE_H } else { 0 }))
        };
        slots().max_by_key(rank).map_or(0, |(at, _)| at)
    }

    /// Notes a success from a place that has no name here: what it may have earned, a cookie that was never shown, is
    /// on probation.
    pub(super) fn learn_unseen(&mut self, policy: &Policy, now: Seconds) {
        self.learn_kept(FORGOTTEN, false, policy, now);
        if let Some(at) = self.find(FORGOTTEN) {
            self.stamps[at] = self.probation(policy, now);
        }
    }

    /// The stamp of a probation that begins now. Rounded up: it never ends early.
    #[expect(clippy::unused_self, reason = "reads better beside the others")]
    fn probation(&self, policy: &Policy, now: Seconds) -> u16 {
        let end = now.saturating_add(Policy::seconds(policy.probation_s)).saturating_add(3599);
        hour(end) | PROBATION
    }

    /// Whatever is on probation begins it anew; what is `gone` of it is forgotten.
    pub(super) fn distrust(&mut self, policy: &Policy, now: Seconds, gone: &Origin) {
        let place = |tag: Option<Tag>| tag.map(|tag| Kind::Place.kept(tag));
        let network = gone.network.map(|tag| Kind::Network.kept(tag));
        let gone = [place(gone.address), place(gone.cookie), network];
        for at in 0..MAX_PLACES {
            if self.slot(at, policy, now).0 != Standing::Probation {
                continue;
            }
            self.stamps[at] = self.probation(policy, now);
            if gone.contains(&Some(self.tags[at])) {
                // forgotten, but not what it may have earned: a cookie that was never shown
                self.tags[at] = FORGOTTEN;
            }
        }
    }

    /// Forgets a place.
    pub(super) fn forget(&mut self, tag: Tag) {
        if let Some(at) = self.find(Kind::Place.kept(tag)) {
            self.tags[at] = FREE;
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
        // another address each hour, in one network
        for hour in 1..=20 {
            places.learn(Kind::Place, 2 * hour, true, &policy, hour * 3600);
            places.learn(Kind::Network, 2, true, &policy, hour * 3600 + 1);
        }
        let now = 30 * 3600;
        let kept = |kind, tag| places.standing(kind, tag, &policy, now) == Standing::Familiar;
        let all: Vec<u32> = (1..=20).filter(|hour| kept(Kind::Place, 2 * hour)).collect();
        assert_eq!(all, (3..=20).collect::<Vec<u32>>());
        assert!(kept(Kind::Network, 2), "what is used goes on being known");
        assert!(!kept(Kind::Place, 2), "and is nothing else");
    }

    /// A bug once: with another address each day, the few networks that were remembered pushed out each other.
    #[test]
    fn what_is_used_once_takes_the_place_of_nothing_that_is_used_again() {
        let policy = Policy::default();
        let mut places = Places::default();
        // a home, an office and a browser at five integrations, used once a week
        let own: Vec<u32> = (1..=15).map(|tag| 2 * tag).collect();
        for day in 0..60 {
            let now = day * DAY;
            if day % 7 == 0 || day == 2 {
                own.iter().for_each(|tag| places.learn(Kind::Place, *tag, false, &policy, now));
            }
            let new = 1_000 + 2 * day;
            places.learn(Kind::Place, new, false, &policy, now);
            places.learn(Kind::Network, 77, false, &policy, now);
            let standing = |kind, tag| places.standing(kind, tag, &policy, now);
            assert_eq!(standing(Kind::Place, new), Standing::Probation, "day {day}");
            if day >= 2 {
                assert_eq!(standing(Kind::Network, 77), Standing::Familiar, "day {day}");
                let kept =
                    own.iter().filter(|tag| standing(Kind::Place, **tag) != Standing::Unknown);
                assert_eq!(kept.count(), own.len(), "day {day}");
            }
        }
    }

    /// What is new never pushes out what is as new: a place would never become familiar.
    #[test]
    fn what_is_on_probation_stays_for_it() {
        let policy = Policy::default();
        let mut places = Places::default();
        for tag in 1..=40 {
            places.learn(Kind::Place, 2 * tag, true, &policy, 0);
        }
        places.learn(Kind::Place, 1_000, false, &policy, DAY);
        places.learn(Kind::Network, 1_000, false, &policy, DAY);
        assert!(places.is_learning(&policy, DAY));
        for kind in [Kind::Place, Kind::Network] {
            assert_eq!(places.standing(kind, 1_000, &policy, DAY), Standing::Probation);
            assert_eq!(places.standing(kind, 1_000, &policy, 3 * DAY), Standing::Familiar);
        }
        for hour in 0..40 {
            places.learn(Kind::Place, 2_000 + 2 * hour, false, &policy, 3 * DAY + hour * 3600);
        }
        let now = 3 * DAY + 39 * 3600;
        let proven = (1..=40).filter(|tag| {
            places.standing(Kind::Place, 2 * tag, &policy, now) == Standing::Familiar
        });
        assert!(proven.count() >= MAX_PLACES - 2 - MAX_LEARNING, "what is new takes little");
    }

    #[test]
    fn distrust_begins_probation_anew_and_leaves_what_is_familiar() {
        let policy = Policy::default();
        let mut places = Places::default();
        places.learn(Kind::Place, 10, true, &policy, 0);
        places.learn(Kind::Place, 20, false, &policy, 0);
        places.learn(Kind::Place, 30, false, &policy, 0);
        let gone = Origin { address: Some(30), ..Origin::default() };
        places.distrust(&policy, DAY / 2, &gone);
        let standing = |tag, now| places.standing(Kind::Place, tag, &policy, now);
        assert_eq!(standing(10, DAY), Standing::Familiar);
        assert_eq!(standing(20, DAY + DAY / 2 - 1), Standing::Probation);
        assert_eq!(standing(20, DAY + DAY / 2 + 3600), Standing::Familiar);
        assert_eq!(standing(30, DAY / 2), Standing::Unknown);
    }
}
