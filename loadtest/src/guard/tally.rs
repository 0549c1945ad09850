//! What ordinary people met: counted over the judged days.

use std::collections::BTreeMap;

use domain::guard::Severity;

use super::dice::{DAY, HOUR, MINUTE, Ms};
use super::gate::{Said, Seen, Word};
use super::people::Cohort;

/// Most alerts that are listed one by one.
const MAX_LIST: usize = 2_000;

/// What was behind an alert in a world without attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Ordinary,
    /// A client that misbehaves, a new phone.
    Broken,
    Outage,
}

impl Class {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Broken => "broken",
            Self::Outage => "outage",
        }
    }
}

/// Counts of something, and of those that didn't ring.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    pub(crate) of: u64,
    pub(crate) hit: u64,
}

impl Share {
    pub(crate) fn note(&mut self, hit: bool) {
        self.of += 1;
        self.hit += u64::from(hit);
    }

    fn add(&mut self, other: Self) {
        self.of += other.of;
        self.hit += other.hit;
    }

    /// In per cent; of nothing none.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn percent(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.hit as f64 / self.of as f64 * 100.0 }
    }
}

/// All counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) user_days: f64,
    /// Prompts that a person asked for and that were held although nothing of theirs rang.
    pub(crate) held: Share,
    /// Those from places that the person had proven.
    pub(crate) held_known: Share,
    /// How familiar prompts seemed: from elsewhere, and from places that were proven; and of each those held.
    pub(crate) seemed: [[Share; 5]; 2],
    /// Why prompts were held: the first reason of each.
    pub(crate) whys: BTreeMap<String, u64>,
    /// Prompts while the person's phone rang already.
    pub(crate) coalesced: u64,
    pub(crate) cohorts: [Share; Cohort::ALL.len()],
    held_by_user: Vec<u16>,
    /// Most held of one user.
    pub(crate) most_held: u16,
    /// Pages sent twice, and those that were merged.
    pub(crate) twice: Share,
    /// Prompts of clients with nobody there, and those held.
    pub(crate) machine: Share,
    pub(crate) withheld: u64,
    /// Right codes, and those refused.
    pub(crate) codes: Share,
    /// Sign-ins, and those with a way.
    pub(crate) sign_ins: Share,
    pub(crate) enrolments: u64,
    pub(crate) enrolments_later: u64,
    pub(crate) alerts: BTreeMap<(&'static str, Rank, Class), u64>,
    /// The first of them, for people.
    pub(crate) list: Vec<String>,
}

/// A severity as a number: 0 low, 1 medium, 2 high.
pub(crate) type Rank = u8;

pub(crate) const fn rank(severity: Severity) -> Rank {
    match severity {
        Severity::Low => 0,
        Severity::Medium => 1,
        Severity::High => 2,
    }
}

impl Tally {
    pub(crate) fn new(users: u32) -> Self {
        Self { held_by_user: vec![0; users as usize], ..Self::default() }
    }

    pub(crate) fn prompt(
        &mut self,
        user: u32,
        said: &Said,
        already: bool,
        known: bool,
        first_of: [bool; Cohort::ALL.len()],
    ) {
        let word = said.word;
        let quiet = matches!(word, Word::Silent | Word::Decoy | Word::Refuse);
        let held = quiet && !already;
        self.coalesced += u64::from(!held && word != Word::Ring);
        self.held.note(held);
        if let Some(familiar) = said.familiar {
            self.seemed[usize::from(known)][familiar].note(held);
        }
        if known {
            self.held_known.note(held);
        }
        for (share, first) in self.cohorts.iter_mut().zip(first_of) {
            if first {
                share.note(held);
            }
        }
        if held {
            if let Some(why) = said.why {
                *self.whys.entry(format!("{why:?}")).or_default() += 1;
            }
            let count = &mut self.held_by_user[user as usize];
            *count = count.saturating_add(1);
            self.most_held = self.most_held.max(*count);
        }
    }

    pub(crate) fn twice(&mut self, word: Word) {
        self.twice.note(word == Word::Merge);
    }

    pub(crate) fn machine(&mut self, word: Word) {
        self.machine.note(word != Word::Ring);
    }

    pub(crate) fn code(&mut self, valid: bool, word: Word) {
        if valid {
            self.codes.note(word != Word::Accept);
        }
    }

    pub(crate) fn sign_in(&mut self, way: bool) {
        self.sign_ins.note(way);
    }

    pub(crate) fn alert(&mut self, t: Ms, seen: &Seen, class: Class) {
        if self.list.len() < MAX_LIST && seen.severity >= Severity::Medium {
            let (day, hour, minute) = (t / DAY, t % DAY / HOUR, t % HOUR / MINUTE);
            let user = seen.user.map_or_else(|| "-".to_owned(), |user| user.to_string());
            let (kind, severity, class) = (seen.kind.name(), seen.severity.name(), class.name());
            let when = format!("day {day} {hour:02}:{minute:02}");
            self.list.push(format!("{when} {kind} {severity} {class} user {user}"));
        }
        *self.alerts.entry((seen.kind.name(), rank(seen.severity), class)).or_default() += 1;
    }

    /// Alerts of medium severity or more per 10,000 user-days.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn alarms(&self, class: Option<Class>) -> f64 {
        let counted = self.alerts.iter().filter(|((_, severity, of), _)| {
            *severity >= rank(Severity::Medium) && class.is_none_or(|class| class == *of)
        });
        counted.map(|(_, count)| *count as f64).sum::<f64>() / self.user_days * 10_000.0
    }

    /// The users with more than three held, and how many.
    pub(crate) fn users_held_often(&self) -> impl Iterator<Item = (usize, u16)> {
        self.held_by_user.iter().copied().enumerate().filter(|(_, count)| *count > 3)
    }

    /// How many users had so many held, for each number from 1.
    pub(crate) fn users_held(&self, at_least: u16) -> usize {
        self.held_by_user.iter().filter(|count| **count >= at_least).count()
    }

    /// Adds another run's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.user_days += other.user_days;
        self.held.add(other.held);
        self.held_known.add(other.held_known);
        let seemed = self.seemed.iter_mut().flatten();
        seemed.zip(other.seemed.iter().flatten()).for_each(|(share, other)| share.add(*other));
        self.coalesced += other.coalesced;
        for (share, other) in self.cohorts.iter_mut().zip(other.cohorts) {
            share.add(other);
        }
        self.held_by_user.extend(&other.held_by_user);
        self.most_held = self.most_held.max(other.most_held);
        self.twice.add(other.twice);
        self.machine.add(other.machine);
        self.withheld += other.withheld;
        self.codes.add(other.codes);
        self.sign_ins.add(other.sign_ins);
        self.enrolments += other.enrolments;
        self.enrolments_later += other.enrolments_later;
        self.list.extend(other.list.iter().cloned());
        for (why, count) in &other.whys {
            *self.whys.entry(why.clone()).or_default() += count;
        }
        for (key, count) in &other.alerts {
            *self.alerts.entry(*key).or_default() += count;
        }
    }
}
