//! What is remembered of one user: fading sums of what went wrong, and which places are familiar.

use serde::{Deserialize, Serialize};

use super::decay::{Seconds, fade};
use super::origin::{Familiarity, Origin, Tag};
use super::policy::Policy;

/// Addresses and cookies that are remembered as familiar: a person's homes, offices and browsers at a few
/// integrations.
pub const MAX_PLACES: usize = 10;
/// Networks that are remembered.
pub const MAX_NETWORKS: usize = 4;

const DAY_S: Seconds = 86_400;

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
        let kept = |value: f32, half_life| {
            // nothing stays nothing: the common case costs nothing
            if value == 0.0 { 0.0 } else { value * fade(elapsed, Policy::seconds(half_life)) }
        };
        Self {
            fast: kept(self.fast, policy.fast_half_life_s),
            day: kept(self.day, policy.day_half_life_s),
            week: kept(self.week, policy.week_half_life_s),
            month: kept(self.month, policy.month_half_life_s),
        }
    }

    fn plus(self, policy: &Policy, weight: f32) -> Self {
        Self {
            fast: (self.fast + weight).min(policy.fast_cap),
            day: (self.day + weight).min(policy.day_cap),
            week: (self.week + weight).min(policy.week_cap),
            month: (self.month + weight).min(policy.month_cap),
        }
    }

    /// Takes back what was added `elapsed` ago.
    fn minus(self, policy: &Policy, weight: f32, elapsed: Seconds) -> Self {
        let added = Self { fast: weight, day: weight, week: weight, month: weight };
        let left = added.faded(policy, elapsed);
        Self {
            fast: (self.fast - left.fast).max(0.0),
            day: (self.day - left.day).max(0.0),
            week: (self.week - left.week).max(0.0),
            month: (self.month - left.month).max(0.0),
        }
    }

    fn score(self, policy: &Policy) -> f32 {
        self.fast * policy.fast_weight
            + self.day * policy.day_weight
            + self.week * policy.week_weight
            + self.month * policy.month_weight
    }
}

/// A place that the person proved possession from: its tag, since when it is familiar (20 bits of hours, enough
/// until 2089), and the day of its last success (12 bits of days, which come round after 11 years: long after
/// it was forgotten).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    tag: Tag,
    stamp: u32,
}

const DAY_BITS: u32 = 12;
const DAYS: u32 = 1 << DAY_BITS;

impl Place {
    fn new(tag: Tag, familiar_from: Seconds, now: Seconds) -> Self {
        let mut place = Self { tag, stamp: 0 };
        place.set(familiar_from, now);
        place
    }

    fn set(&mut self, familiar_from: Seconds, now: Seconds) {
        // rounded up: probation never ends early
        let hours = familiar_from.div_ceil(3600).min((1 << (32 - DAY_BITS)) - 1);
        self.stamp = (hours << DAY_BITS) | (now / DAY_S % DAYS);
    }

    const fn familiar_from(self) -> Seconds {
        (self.stamp >> DAY_BITS) * 3600
    }

    /// Days since its last success.
    const fn idle_days(self, now: Seconds) -> u32 {
        (now / DAY_S % DAYS + DAYS - self.stamp % DAYS) % DAYS
    }

    fn is_kept(self, policy: &Policy, now: Seconds) -> bool {
        self.tag != 0 && self.idle_days(now) <= Policy::seconds(policy.forget_days)
    }
}

/// How a place is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    Probation,
    Familiar,
}

fn standing(places: &[Place], tag: Tag, policy: &Policy, now: Seconds) -> Standing {
    match places.iter().find(|place| place.tag == tag && place.is_kept(policy, now)) {
        None => Standing::Unknown,
        Some(place) if now < place.familiar_from() => Standing::Probation,
        Some(_) => Standing::Familiar,
    }
}

/// Notes a success. A new place takes the slot of one that is forgotten, or of the one that was used longest ago.
fn learn(places: &mut [Place], tag: Tag, familiar_from: Seconds, policy: &Policy, now: Seconds) {
    let known = places.iter().position(|place| place.tag == tag && place.is_kept(policy, now));
    if let Some(at) = known {
        let from = places[at].familiar_from().min(familiar_from);
        places[at].set(from, now);
        return;
    }
    let oldest = places
        .iter()
        .enumerate()
        .max_by_key(|(_, place)| (!place.is_kept(policy, now), place.idle_days(now)));
    if let Some((at, _)) = oldest {
        places[at] = Place::new(tag, familiar_from, now);
    }
}

/// What is remembered of one user. Plain numbers, at most 192 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When the sums were last brought up to date.
    at: Seconds,
    sums: Sums,
    /// Unanswered rings from known addresses, on two horizons; then the same from browsers with a cookie.
    looped: [f32; 2],
    looped_cookie: f32,
    /// Failures without address and cookie, on two horizons.
    nowhere: [f32; 2],
    /// What the last failing place has added to the sums: its own success takes it back.
    debt_place: Tag,
    debt_at: Seconds,
    debt: f32,
    /// When the score rose; zero while it is low.
    pub(super) raised_at: Seconds,
    /// Other places don't ring before this.
    pub(super) hold_until: Seconds,
    /// The last denial or report of something from elsewhere.
    pub(super) denied_at: Seconds,
    /// The level that the hold was begun with.
    pub(super) held_level: u8,
    successes: u8,
    /// Silent challenges since the last digest.
    pub(super) silent: u16,
    /// The days of the last digest and of the last alert of each kind that is raised once a day, from one.
    pub(super) digest_day: u16,
    pub(super) alerted: [u16; 3],
    places: [Place; MAX_PLACES],
    networks: [Place; MAX_NETWORKS],
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
        if let Some(cookie) = origin.cookie {
            match standing(&self.places, cookie, policy, now) {
                Standing::Familiar => return Familiarity::Own,
                // minted somewhere at an approval: as long as none is on probation, that was at home
                Standing::Unknown if !self.is_learning(policy, now) => return Familiarity::Own,
                Standing::Unknown | Standing::Probation => {}
            }
        }
        let is_familiar = |places: &[Place], tag: Option<Tag>| {
            tag.is_some_and(|tag| standing(places, tag, policy, now) == Standing::Familiar)
        };
        if is_familiar(&self.places, origin.address) {
            Familiarity::Known
        } else if is_familiar(&self.networks, origin.network) {
            Familiarity::Near
        } else if origin.context().is_none() {
            Familiarity::Nowhere
        } else {
            Familiarity::Unknown
        }
    }

    /// Whether any place is on probation.
    fn is_learning(&self, policy: &Policy, now: Seconds) -> bool {
        self.places.iter().any(|place| place.is_kept(policy, now) && now < place.familiar_from())
    }

    /// Whether the user has few successes yet.
    #[must_use]
    pub fn is_new(&self, policy: &Policy) -> bool {
        f32::from(self.successes) < policy.new_user_successes
    }

    /// The same memory at a later time.
    #[must_use]
    pub fn at(mut self, policy: &Policy, now: Seconds) -> Self {
        let elapsed = now.saturating_sub(self.at);
        if elapsed == 0 {
            return self;
        }
        let kept = |value: f32, half_life| {
            if value == 0.0 { 0.0 } else { value * fade(elapsed, Policy::seconds(half_life)) }
        };
        self.sums = self.sums.faded(policy, elapsed);
        self.looped[0] = kept(self.looped[0], policy.loop_half_life_s);
        self.looped[1] = kept(self.looped[1], policy.loop_day_half_life_s);
        self.looped_cookie = kept(self.looped_cookie, policy.loop_half_life_s);
        self.nowhere[0] = kept(self.nowhere[0], policy.day_half_life_s);
        self.nowhere[1] = kept(self.nowhere[1], policy.nowhere_long_half_life_s);
        self.at = now;
        self.note_rise(policy);
        self
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
        if familiarity == Familiarity::Own {
            return self.looped_cookie >= policy.loop_silent_at * policy.loop_cookie_factor;
        }
        self.looped[0] >= policy.loop_silent_at || self.looped[1] >= policy.loop_day_silent_at
    }

    /// Adds a failure of an origin. `kept` says that no success of its place takes it back.
    pub(super) fn add(
        &mut self,
        policy: &Policy,
        origin: &Origin,
        familiarity: Familiarity,
        weight: f32,
        kept: bool,
    ) {
        match familiarity {
            Familiarity::Own => self.looped_cookie += weight,
            Familiarity::Known => {
                self.looped[0] = (self.looped[0] + weight).min(policy.loop_silent_at * 2.0);
                self.looped[1] = (self.looped[1] + weight).min(policy.loop_day_silent_at * 1.5);
            }
            Familiarity::Nowhere => {
                self.nowhere[0] = (self.nowhere[0] + weight).min(policy.nowhere_cap);
                self.nowhere[1] = (self.nowhere[1] + weight).min(policy.nowhere_cap);
            }
            Familiarity::Near | Familiarity::Unknown => {
                self.sums = self.sums.plus(policy, weight);
                if !kept {
                    self.owe(policy, origin, weight);
                }
            }
        }
        self.note_rise(policy);
    }

    fn owe(&mut self, policy: &Policy, origin: &Origin, weight: f32) {
        let Some(place) = origin.context() else { return };
        // kept at one time: what is older counts as what is left of it on the longest horizon
        let older = if self.debt_place == place {
            let elapsed = self.at.saturating_sub(self.debt_at);
            self.debt * fade(elapsed, Policy::seconds(policy.month_half_life_s))
        } else {
            0.0
        };
        self.debt_place = place;
        self.debt_at = self.at;
        self.debt = older + weight;
    }

    /// Takes back what one challenge added at `since`; with `all`, also what else its place owes.
    pub(super) fn take_back(
        &mut self,
        policy: &Policy,
        origin: &Origin,
        familiarity: Familiarity,
        (weight, since): (f32, Seconds),
        all: bool,
    ) {
        let elapsed = self.at.saturating_sub(since);
        let less = |value: f32, half_life| {
            (value - weight * fade(elapsed, Policy::seconds(half_life))).max(0.0)
        };
        match familiarity {
            Familiarity::Own => {
                let left = less(self.looped_cookie, policy.loop_half_life_s);
                self.looped_cookie = if all { 0.0 } else { left };
            }
            Familiarity::Known => {
                self.looped[0] =
                    if all { 0.0 } else { less(self.looped[0], policy.loop_half_life_s) };
                self.looped[1] = less(self.looped[1], policy.loop_day_half_life_s);
            }
            Familiarity::Nowhere => {
                self.nowhere[0] = less(self.nowhere[0], policy.day_half_life_s);
                self.nowhere[1] = less(self.nowhere[1], policy.nowhere_long_half_life_s);
            }
            Familiarity::Near | Familiarity::Unknown => {
                let owed = self.debt_place != 0 && origin.context() == Some(self.debt_place);
                if !owed {
                    self.sums = self.sums.minus(policy, weight, elapsed);
                } else if all {
                    let elapsed = self.at.saturating_sub(self.debt_at);
                    self.sums = self.sums.minus(policy, self.debt.max(weight), elapsed);
                    self.debt = 0.0;
                } else {
                    self.sums = self.sums.minus(policy, weight, elapsed);
                    self.debt = (self.debt - weight).max(0.0);
                }
            }
        }
        self.note_rise(policy);
    }

    /// A success that proved possession: its place becomes familiar, after a day if it is new.
    pub(super) fn learn(&mut self, policy: &Policy, origin: &Origin, known: bool) {
        let now = self.at;
        let from = if known { now } else { now + Policy::seconds(policy.probation_s) };
        if let Some(cookie) = origin.cookie {
            learn(&mut self.places, cookie, from, policy, now);
        }
        if let Some(address) = origin.address {
            // an own browser in a new place says nothing about who else is there
            let familiar = standing(&self.places, address, policy, now) == Standing::Familiar;
            let from = if familiar { now } else { now + Policy::seconds(policy.probation_s) };
            learn(&mut self.places, address, from, policy, now);
        }
        if let Some(network) = origin.network {
            let familiar = standing(&self.networks, network, policy, now) == Standing::Familiar;
            let from = if familiar { now } else { now + Policy::seconds(policy.probation_s) };
            learn(&mut self.networks, network, from, policy, now);
        }
        self.successes = self.successes.saturating_add(1);
    }

    /// A denial or report of something from elsewhere: what is on probation begins it anew, and the place
    /// itself is forgotten.
    pub(super) fn distrust(&mut self, policy: &Policy, origin: &Origin) {
        let now = self.at;
        let from = now + Policy::seconds(policy.probation_s);
        for place in self.places.iter_mut().chain(&mut self.networks) {
            if place.is_kept(policy, now) && now < place.familiar_from() {
                if Some(place.tag) == origin.address || Some(place.tag) == origin.cookie {
                    *place = Place::default();
                } else {
                    place.set(from, now);
                }
            }
        }
    }

    /// Forgets one cookie.
    pub(super) fn forget_cookie(&mut self, origin: &Origin) {
        for place in &mut self.places {
            if Some(place.tag) == origin.cookie {
                *place = Place::default();
            }
        }
    }

    /// Forgets every failure; what is familiar stays.
    pub(super) fn forgive_all(&mut self) {
        *self = Self {
            at: self.at,
            successes: self.successes,
            silent: self.silent,
            digest_day: self.digest_day,
            places: self.places,
            networks: self.networks,
            ..Self::default()
        };
    }
}
