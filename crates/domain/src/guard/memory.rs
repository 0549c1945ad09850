//! What is remembered of one user: fading sums of what went wrong, and which places are familiar.

use serde::{Deserialize, Serialize};

use super::decay::{Seconds, fade};
use super::origin::{Familiarity, Origin, Tag};
use super::places::{Kind, Places, Standing};
use super::policy::Policy;

pub(super) const DAY_S: Seconds = 86_400;
/// What is left of the score at which other places are silent when a hold is over, at most.
const AFTER_HOLD: f32 = 0.5;
/// Nobody reads that a sign-in failed and starts another one sooner; a script does.
const HASTE_S: Seconds = 3;
/// A second chance is over by then, whatever the policy: no challenge lives longer than five minutes, and low bits
/// of seconds tell times apart that are closer.
const SECOND_CHANCE_MAX_S: Seconds = 900;

/// The low bits of a number, never zero.
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn low(of: u32) -> u16 {
    let low = of as u16;
    if low == 0 { 1 } else { low }
}

/// Less than any threshold notices, and than what rounding leaves where something is taken back.
const NOTHING: f32 = 1.0 / 65_536.0;

/// What is left of a value. Nothing stays nothing: the common case costs nothing.
fn kept(value: f32, elapsed: Seconds, half_life: f32) -> f32 {
    if value < NOTHING { 0.0 } else { value * fade(elapsed, Policy::seconds(half_life)) }
}

/// What a failure adds: to the sums of minutes and a day, and to those of a week and a month. Silent challenges
/// add nothing to the latter: they disturb nobody, and a flood of them must not outlast the attack by weeks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Weight {
    pub(super) short: f32,
    pub(super) long: f32,
}

impl Weight {
    /// Of something that rang, or was refused.
    pub(super) const fn lasting(weight: f32) -> Self {
        Self { short: weight, long: weight }
    }

    /// Of something that nobody noticed.
    pub(super) const fn passing(weight: f32) -> Self {
        Self { short: weight, long: 0.0 }
    }
}

/// Four sums of weighted failures from other places, each with its own horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    /// Minutes.
    pub fast: f32,
    /// A day.
    pub day: f32,
    /// A week.
    pub week: f32,
    /// A month.
    pub month: f32,
}

impl Sums {
    fn faded(self, policy: &Policy, elapsed: Seconds) -> Self {
        if elapsed == 0 {
            return self;
        }
        let kept = |value, half_life| kept(value, elapsed, half_life);
        Self {
            fast: kept(self.fast, policy.fast_half_life_s),
            day: kept(self.day, policy.day_half_life_s),
            week: kept(self.week, policy.week_half_life_s),
            month: kept(self.month, policy.month_half_life_s),
        }
    }

    fn plus(self, policy: &Policy, weight: Weight) -> Self {
        Self {
            fast: (self.fast + weight.short).min(policy.fast_cap),
            day: (self.day + weight.short).min(policy.day_cap),
            week: (self.week + weight.long).min(policy.week_cap),
            month: (self.month + weight.long).min(policy.month_cap),
        }
    }

    /// How much of a weight there is room for: what is full takes nothing, so nothing can be taken back.
    fn room(self, policy: &Policy, weight: Weight) -> Weight {
        let left = |sum: f32, cap: f32, weight: f32| (cap - sum).clamp(0.0, weight);
        let fast = left(self.fast, policy.fast_cap, weight.short);
        let week = left(self.week, policy.week_cap, weight.long);
        Weight {
            short: left(self.day, policy.day_cap, fast),
            long: left(self.month, policy.month_cap, week),
        }
    }

    /// Takes back what was added `elapsed` ago.
    fn minus(self, policy: &Policy, weight: Weight, elapsed: Seconds) -> Self {
        let Weight { short, long } = weight;
        let added = Self { fast: short, day: short, week: long, month: long };
        let left = added.faded(policy, elapsed);
        Self {
            fast: (self.fast - left.fast).max(0.0),
            day: (self.day - left.day).max(0.0),
            week: (self.week - left.week).max(0.0),
            month: (self.month - left.month).max(0.0),
        }
    }

    fn scaled(self, by: f32) -> Self {
        let Self { fast, day, week, month } = self;
        Self { fast: fast * by, day: day * by, week: week * by, month: month * by }
    }

    fn score(self, policy: &Policy) -> f32 {
        self.fast * policy.fast_weight
            + self.day * policy.day_weight
            + self.week * policy.week_weight
            + self.month * policy.month_weight
    }
}

/// The bits of the last five days.
const DAYS: u8 = 0b1_1111;
/// Set if today's tries came from more than one place: a success at one says nothing of the others.
const MIXED: u8 = 1 << 6;
/// Set if the last denial was a report.
const REPORTED: u8 = 1 << 7;

/// What is remembered of one user. Plain numbers, at most 192 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When the sums were last brought up to date.
    at: Seconds,
    sums: Sums,
    /// Tries from elsewhere within minutes.
    tries: f32,
    /// Unanswered rings from known places, on two horizons.
    looped: [f32; 2],
    /// Failures without address and cookie, on two horizons.
    nowhere: [f32; 2],
    /// What the last failing place has added, on the short and long sums, and its tries: its own success takes
    /// it back.
    debt_place: Tag,
    /// The low bits of the browser session that rang there, until it has used its second chance; zero is nobody's.
    debt_session: u16,
    /// When that ring ended, as the low bits of the second; zero while it rings.
    debt_ended: u16,
    debt_at: Seconds,
    debt: [f32; 3],
    /// The place where a code passed after the last denial: it needs no other code.
    proven_place: Tag,
    /// When the score rose; zero while it is low.
    pub(super) raised_at: Seconds,
    /// Other places don't ring before this.
    pub(super) hold_until: Seconds,
    /// The last denial or report of something from elsewhere.
    pub(super) denied_at: Seconds,
    /// The day of the last try from elsewhere, and on which of the five days up to it there was one; [`MIXED`]
    /// and [`REPORTED`] stand beside them.
    tried_day: u16,
    tried_days: u8,
    /// The level that the hold was begun with.
    pub(super) held_level: u8,
    successes: u8,
    /// The share of successes from places that weren't familiar, of late, in 255ths.
    roaming: u8,
    /// Silent challenges since the last digest.
    pub(super) silent: u16,
    /// The hour of the last digest, of those that come round.
    pub(super) digest_hour: u16,
    /// The days of the last alert of each kind that is raised once a day, from one.
    pub(super) alerted: [u16; 3],
    places: Places,
}

const _: () = assert!(size_of::<Memory>() <= 192, "what is remembered per user stays small");

impl Memory {
    /// The day, for what happens at most once a day.
    pub(super) fn day(now: Seconds) -> u16 {
        u16::try_from(now / DAY_S + 1).unwrap_or(u16::MAX)
    }

    /// How familiar an origin is.
    #[must_use]
    pub fn familiarity(&self, policy: &Policy, origin: &Origin, now: Seconds) -> Familiarity {
        // a clock that was set back takes no place from anybody: what was learned is not in the future
        let now = now.max(self.at);
        let standing = |kind, tag| self.places.standing(kind, tag, policy, now);
        if let Some(cookie) = origin.cookie {
            match standing(Kind::Place, cookie) {
                Standing::Familiar => return Familiarity::Own,
                // minted somewhere at an approval: as long as none is on probation, that was at home
                Standing::Unknown if !self.places.is_learning(policy, now) => {
                    return Familiarity::Own;
                }
                Standing::Unknown | Standing::Probation => {}
            }
        }
        let familiar = |kind, tag: Option<Tag>| {
            tag.is_some_and(|tag| standing(kind, tag) == Standing::Familiar)
        };
        if familiar(Kind::Place, origin.address) {
            Familiarity::Known
        } else if familiar(Kind::Network, origin.network) {
            Familiarity::Near
        } else if origin.context().is_none() {
            Familiarity::Nowhere
        } else {
            Familiarity::Unknown
        }
    }

    /// Whether the user has few successes yet.
    #[must_use]
    pub fn is_new(&self, policy: &Policy) -> bool {
        f32::from(self.successes) < policy.new_user_successes
    }

    /// The same memory at a later time.
    #[must_use]
    pub fn at(mut self, policy: &Policy, now: Seconds) -> Self {
        self.bring_to(policy, now);
        self
    }

    /// Brings it to a later time: what is remembered fades, and a hold may end.
    pub fn bring_to(&mut self, policy: &Policy, now: Seconds) {
        let elapsed = now.saturating_sub(self.at);
        if elapsed == 0 {
            return;
        }
        let kept = |value, half_life| kept(value, elapsed, half_life);
        self.sums = self.sums.faded(policy, elapsed);
        self.looped[0] = kept(self.looped[0], policy.loop_half_life_s);
        self.looped[1] = kept(self.looped[1], policy.loop_day_half_life_s);
        self.tries = kept(self.tries, policy.tries_half_life_s);
        self.nowhere[0] = kept(self.nowhere[0], policy.day_half_life_s);
        self.nowhere[1] = kept(self.nowhere[1], policy.nowhere_long_half_life_s);
        self.at = now;
        if self.held_level >= 2 && now >= self.hold_until {
            self.end_hold(policy);
        }
        self.note_rise(policy);
    }

    /// A burst that stayed away for a whole hold is over: what is left of it no longer silences other places by
    /// itself. Not so what came back day after day: that may be away for a weekend.
    fn end_hold(&mut self, policy: &Policy) {
        self.held_level = 0;
        let (score, most) = (self.score(policy), policy.silent_at * AFTER_HOLD);
        if score > most && self.tried_days(self.tried_day) < 2 {
            self.sums = self.sums.scaled(most / score);
        }
    }

    /// Notes a denial or report of something from elsewhere.
    pub(super) const fn denied(&mut self, is_report: bool, now: Seconds) {
        self.denied_at = now;
        self.tried_days &= !REPORTED;
        if is_report {
            self.tried_days |= REPORTED;
        }
    }

    /// Whether the last of those was a report.
    pub(super) const fn was_reported(&self) -> bool {
        self.tried_days & REPORTED != 0
    }

    /// Whether something from elsewhere was denied or reported less than `seconds` ago.
    pub(super) fn denied_within(&self, seconds: Seconds, now: Seconds) -> bool {
        self.denied_at != 0 && now.saturating_sub(self.denied_at) < seconds
    }

    /// Whether other places are silent by their score.
    #[must_use]
    pub fn is_raised(&self, policy: &Policy) -> bool {
        self.score(policy) >= policy.silent_at
            || self.nowhere_score(policy) >= policy.nowhere_silent_at
    }

    /// Keeps the time at which the score rose.
    fn note_rise(&mut self, policy: &Policy) {
        if !self.is_raised(policy) {
            self.raised_at = 0;
        } else if self.raised_at == 0 {
            self.raised_at = self.at.max(1);
        }
    }

    /// The score of failures from elsewhere.
    #[must_use]
    pub fn score(&self, policy: &Policy) -> f32 {
        self.sums.score(policy)
    }

    /// The score of requests without address and cookie.
    #[must_use]
    pub fn nowhere_score(&self, policy: &Policy) -> f32 {
        self.nowhere[0] * policy.nowhere_day_weight + self.nowhere[1] * policy.nowhere_long_weight
    }

    /// Whether known places of this familiarity have rung unanswered too often.
    #[must_use]
    pub fn is_looping(&self, policy: &Policy, familiarity: Familiarity) -> bool {
        let times = if familiarity == Familiarity::Own { policy.loop_cookie_factor } else { 1.0 };
        self.looped[0] >= policy.loop_silent_at * times
            || self.looped[1] >= policy.loop_day_silent_at * times
    }

    /// Adds a failure of an origin. `kept` says that no success of its place takes it back. Returns what there
    /// was room for: more can't be taken back.
    pub(super) fn add(
        &mut self,
        policy: &Policy,
        origin: &Origin,
        familiarity: Familiarity,
        weight: Weight,
        kept: bool,
    ) -> Weight {
        let mut added = weight;
        let Weight { short, long } = weight;
        match familiarity {
            Familiarity::Own | Familiarity::Known => {
                // whoever shares only the address can't silence a browser with its cookie
                let own = familiarity == Familiarity::Own;
                let most = if own { policy.loop_cookie_factor } else { 1.0 } * 1.5;
                let add = |sum: f32, limit: f32| sum.max((sum + short).min(limit * most));
                self.looped[0] = add(self.looped[0], policy.loop_silent_at);
                self.looped[1] = add(self.looped[1], policy.loop_day_silent_at);
            }
            Familiarity::Nowhere => {
                self.nowhere[0] = (self.nowhere[0] + short).min(policy.nowhere_cap);
                self.nowhere[1] = (self.nowhere[1] + long).min(policy.nowhere_cap);
            }
            Familiarity::Near | Familiarity::Unknown => {
                added = self.sums.room(policy, weight);
                self.sums = self.sums.plus(policy, weight);
                if !kept {
                    self.owe(policy, origin, added);
                }
            }
        }
        self.note_rise(policy);
        added
    }

    fn owe(&mut self, policy: &Policy, origin: &Origin, weight: Weight) {
        let Some(place) = origin.context() else { return };
        // kept at one time: what is older counts as what is left of it after a day's and a week's horizon, so that
        // none of what others added is taken back but what fades within the hour
        let elapsed = self.at.saturating_sub(self.debt_at);
        let left = |debt: f32, half_life| {
            if self.debt_place == place { kept(debt, elapsed, half_life) } else { 0.0 }
        };
        self.debt = [
            left(self.debt[0], policy.day_half_life_s) + weight.short,
            left(self.debt[1], policy.week_half_life_s) + weight.long,
            left(self.debt[2], policy.month_half_life_s),
        ];
        self.debt_place = place;
        self.debt_at = self.at;
    }

    /// Counts a try from elsewhere, whatever came of it.
    /// `first` says that its place didn't owe anything before.
    pub(super) fn tried(&mut self, policy: &Policy, origin: &Origin, first: bool) {
        self.tries = (self.tries + 1.0).min(policy.tries_cap);
        if origin.context() == Some(self.debt_place) {
            self.debt[2] += 1.0;
        }
        let today = Self::day(self.at);
        let passed = u32::from(today.saturating_sub(self.tried_day));
        let mixed = if passed == 0 { self.tried_days & MIXED } else { 0 };
        let tried = passed == 0 && self.tried_days & 1 != 0;
        let mixed = if tried && first { MIXED } else { mixed };
        let days = self.tried_days.checked_shl(passed).unwrap_or(0) & DAYS | 1;
        self.tried_days = self.tried_days & REPORTED | mixed | days;
        self.tried_day = today;
    }

    /// Today's tries were the person's, if none came from another place.
    fn forget_today(&mut self) {
        if self.tried_day == Self::day(self.at) && self.tried_days & MIXED == 0 {
            self.tried_days &= !1;
        }
    }

    /// How many tries from elsewhere there were within minutes.
    pub(super) const fn tries(&self) -> f32 {
        self.tries
    }

    /// On how many of the five days up to one there were tries from elsewhere: three working days, with a weekend
    /// between.
    pub(super) fn tried_days(&self, until: u16) -> u32 {
        let passed = u32::from(until.saturating_sub(self.tried_day));
        ((self.tried_days & DAYS).checked_shl(passed).unwrap_or(0) & DAYS).count_ones()
    }

    /// Whether a browser session that rang at its place in vain may ring there once more: people try again, within
    /// seconds but not at once.
    pub(super) fn has_second_chance(
        &self,
        policy: &Policy,
        origin: &Origin,
        session: Option<Tag>,
    ) -> bool {
        let since = u32::from(low(self.at).wrapping_sub(self.debt_ended));
        session.is_some_and(|session| low(session) == self.debt_session)
            && self.debt_ended != 0
            && origin.context() == Some(self.debt_place)
            && self.denied_at < self.debt_at
            && self.at.saturating_sub(self.debt_at) <= SECOND_CHANCE_MAX_S
            && (HASTE_S..=Policy::seconds(policy.second_chance_s)).contains(&since)
    }

    /// Notes that a ring there ended unapproved: from now on its session may try once more.
    pub(super) fn note_ended(&mut self, origin: &Origin) {
        if self.debt_session != 0 && self.owes(origin) {
            self.debt_ended = low(self.at);
        }
    }

    /// Whether the person proved possession from there within a day, and everything there was answered since. What
    /// goes wrong elsewhere doesn't silence it then, though it isn't familiar yet.
    pub(super) fn is_proving(&self, policy: &Policy, origin: &Origin, now: Seconds) -> bool {
        let now = now.max(self.at);
        let on_probation =
            |tag| self.places.standing(Kind::Place, tag, policy, now) == Standing::Probation;
        origin.context().is_some_and(on_probation) && !self.owes(origin)
    }

    /// Notes which session rang where: its first ring earns a second chance, the next one uses it.
    pub(super) fn note_session(&mut self, session: Option<Tag>, first: bool) {
        self.debt_session = if first { session.map_or(0, low) } else { 0 };
        self.debt_ended = 0;
    }

    /// Counts a silent request from elsewhere on the long sums too, as far as they hold less than a denial: whoever
    /// goes on asking is remembered for days, and a flood no longer than that.
    pub(super) fn add_silent(&mut self, policy: &Policy, origin: &Origin, weight: f32) {
        let room = (policy.denial - self.sums.month.max(self.sums.week)).max(0.0);
        let long = (weight * policy.silent_long).min(room);
        let added = Weight { short: 0.0, long };
        self.sums = self.sums.plus(policy, added);
        self.owe(policy, origin, added);
        self.note_rise(policy);
    }

    /// Whether a place has failed before and not succeeded since.
    pub(super) fn owes(&self, origin: &Origin) -> bool {
        self.debt_place != 0 && origin.context() == Some(self.debt_place)
    }

    /// Takes back what one challenge added at `since`; with `all`, also what else its place owes.
    pub(super) fn take_back(
        &mut self,
        policy: &Policy,
        origin: &Origin,
        familiarity: Familiarity,
        (weight, since): (Weight, Seconds),
        all: bool,
    ) {
        let elapsed = self.at.saturating_sub(since);
        let less = |value: f32, half_life| {
            (value - weight.short * fade(elapsed, Policy::seconds(half_life))).max(0.0)
        };
        match familiarity {
            Familiarity::Own | Familiarity::Known => {
                let left = less(self.looped[0], policy.loop_half_life_s);
                self.looped[0] = if all { 0.0 } else { left };
                self.looped[1] = less(self.looped[1], policy.loop_day_half_life_s);
            }
            Familiarity::Nowhere => {
                self.nowhere[0] = less(self.nowhere[0], policy.day_half_life_s);
                let left = fade(elapsed, Policy::seconds(policy.nowhere_long_half_life_s));
                self.nowhere[1] = (self.nowhere[1] - weight.long * left).max(0.0);
            }
            Familiarity::Near | Familiarity::Unknown => {
                let owed = self.debt_place != 0 && origin.context() == Some(self.debt_place);
                let [short, long, tries] = self.debt;
                if owed && all {
                    let elapsed = self.at.saturating_sub(self.debt_at);
                    let whole =
                        Weight { short: short.max(weight.short), long: long.max(weight.long) };
                    self.sums = self.sums.minus(policy, whole, elapsed);
                    let tried = tries * fade(elapsed, Policy::seconds(policy.tries_half_life_s));
                    self.tries = (self.tries - tried).max(0.0);
                    self.forget_today();
                    self.debt_place = 0;
                } else {
                    self.sums = self.sums.minus(policy, weight, elapsed);
                    if owed {
                        let less = [weight.short, weight.long, 0.0];
                        self.debt = std::array::from_fn(|at| (self.debt[at] - less[at]).max(0.0));
                    }
                }
            }
        }
        self.note_rise(policy);
    }

    /// A success that proved possession: its place becomes familiar, after a day if it is new.
    pub(super) fn learn(&mut self, policy: &Policy, origin: &Origin, known: bool) {
        let now = self.at;
        // an eighth of the way to what this one says
        self.roaming -= self.roaming.div_ceil(8);
        self.roaming += if known { 0 } else { u8::MAX / 8 + 1 };
        if let Some(cookie) = origin.cookie {
            self.places.learn(Kind::Place, cookie, known, policy, now);
        }
        // an own browser in a new place says nothing about who else is there
        if let Some(address) = origin.address {
            self.places.learn(Kind::Place, address, false, policy, now);
        }
        if let Some(network) = origin.network {
            self.places.learn(Kind::Network, network, false, policy, now);
        }
        self.successes = self.successes.saturating_add(1);
    }

    /// A denial or report of something from elsewhere: what is on probation begins it anew, and the place
    /// itself is forgotten.
    pub(super) fn distrust(&mut self, policy: &Policy, origin: &Origin) {
        self.places.distrust(policy, self.at, origin);
        self.proven_place = 0;
    }

    /// A success from where nothing can be recognised: the cookie that it may have earned isn't known for a day.
    pub(super) fn learn_unseen(&mut self, policy: &Policy) {
        self.places.learn_unseen(policy, self.at);
    }

    /// A code passed where a right answer was withheld: nobody but the person has both.
    pub(super) fn prove(&mut self, origin: &Origin) {
        self.proven_place = origin.context().unwrap_or(0);
    }

    /// Whether a code passed there since the last denial.
    pub(super) fn is_proven(&self, origin: &Origin) -> bool {
        self.proven_place != 0 && origin.context() == Some(self.proven_place)
    }

    /// Forgets one cookie.
    pub(super) fn forget_cookie(&mut self, origin: &Origin) {
        if let Some(cookie) = origin.cookie {
            self.places.forget(cookie);
        }
    }

    /// What failures from elsewhere count of a person who is usually elsewhere, as a share.
    pub(super) fn roaming_factor(&self, policy: &Policy) -> f32 {
        let share = f32::from(self.roaming) / f32::from(u8::MAX);
        let over = ((share - policy.roaming_from) / (1.0 - policy.roaming_from)).max(0.0);
        1.0 - over * (1.0 - policy.roaming_factor)
    }

    /// Forgets every failure; what is familiar stays.
    pub(super) fn forgive_all(&mut self) {
        *self = Self {
            at: self.at,
            successes: self.successes,
            roaming: self.roaming,
            silent: self.silent,
            digest_hour: self.digest_hour,
            places: self.places,
            ..Self::default()
        };
    }
}
