//! What is remembered per user against bombing and guessing, and what follows from it.
//!
//! The policy here is the smallest that is safe: one ringing challenge per user, a bound on live ones, and
//! no release rule. Signatures are meant to stay; see ARCHITECTURE.md.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statement::{ChallengeId, DeviceId, Timestamp};

use crate::challenge::{Challenge, Decided, Decision, Method, Methods, Mode, Proof};
use crate::cookie::CookieId;
use crate::directory::MAX_DEVICES;

/// Bounds of the guard.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Live challenges per user with a first factor: more browsers than one person uses at once.
    pub live_with_first_factor: usize,
    /// This many more for requests with a valid device cookie, so that a flood can't use up the owner's.
    pub live_extra_with_cookie: usize,
    /// Live challenges per user without a first factor: they never ring, so few are needed.
    pub live_without_first_factor: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { live_with_first_factor: 8, live_extra_with_cookie: 4, live_without_first_factor: 2 }
    }
}

/// How long after an approval its device may ask for a new TOTP secret.
pub const REBIND_WINDOW: Duration = Duration::from_secs(10 * 60);

/// The first bytes of a device id: enough to tell the few devices of one user apart.
pub type DeviceTag = [u8; 4];

/// The tag of a device.
#[must_use]
pub fn device_tag(device: DeviceId) -> DeviceTag {
    let id = device.as_bytes();
    [id[0], id[1], id[2], id[3]]
}

/// What is remembered per user: a small value, stored by compare-and-set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Open challenges whose outcome has not been applied yet. Taking one out is what makes applying it
    /// happen once.
    pub open: Vec<ChallengeId>,
    /// The highest answer counter settled per device (its low 32 bits), at most one per active device.
    pub counters: Vec<(DeviceTag, u32)>,
    /// The device of the last approved push, and when.
    pub approved: Option<(DeviceTag, Timestamp)>,
}

impl Cell {
    /// Notes a settled answer; says whether its counter is not above the last one, as a copied key's would be.
    #[must_use]
    pub fn note_counter(&mut self, device: DeviceId, counter: u64) -> Option<Alert> {
        let tag = device_tag(device);
        let counter = u32::try_from(counter).unwrap_or(u32::MAX);
        match self.counters.iter_mut().find(|(other, _)| *other == tag) {
            Some((_, last)) if counter <= *last => return Some(Alert::ClonedKey),
            Some((_, last)) => *last = counter,
            None => {
                if self.counters.len() == MAX_DEVICES {
                    self.counters.remove(0);
                }
                self.counters.push((tag, counter));
            }
        }
        None
    }

    /// Whether `device` approved a push within [`REBIND_WINDOW`].
    #[must_use]
    pub fn may_rebind(&self, device: DeviceId, now: Timestamp) -> bool {
        self.approved
            .is_some_and(|(tag, at)| tag == device_tag(device) && now.since(at) < REBIND_WINDOW)
    }
}

/// What is known about a request when it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether the user exists and has a factor.
    pub enrolled: bool,
    /// Whether the caller vouches for a first factor of the last ten minutes.
    pub first_factor: bool,
    /// The valid device cookie of the browser, if any.
    pub cookie: Option<CookieId>,
    /// The ways to pass that the challenge will offer.
    pub methods: Methods,
}

/// Why the guard decided as it did; each explains itself in one clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The user doesn't exist or has no factor.
    NotEnrolled,
    /// Too many live challenges of this user.
    LiveBound,
    /// Another challenge of this user rings.
    AnotherRings,
    /// Nobody vouched for a first factor.
    NoFirstFactor,
    /// The challenge doesn't offer push.
    PushNotOffered,
    /// Nothing spoke against ringing.
    Clear,
}

impl Reason {
    /// The clause for `why`.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        match self {
            Self::NotEnrolled => "the user is unknown or has no factor",
            Self::LiveBound => "the user already had as many live challenges as are allowed",
            Self::AnotherRings => "another challenge of the user was ringing",
            Self::NoFirstFactor => "the caller did not vouch for a first factor",
            Self::PushNotOffered => "the caller did not ask for push",
            Self::Clear => "nothing spoke against it",
        }
    }
}

/// Something that security staff should see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// The number of another live sign-in was typed: somebody signs in at the same moment.
    ConcurrentLogin,
    /// A device counter went back: the key may have been copied.
    ClonedKey,
    /// The person reported a sign-in that was through already.
    ReportedLate,
}

/// What the guard says of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How the challenge reaches its user.
    pub mode: Mode,
    /// How alarmed the guard is about this user: 0 calm.
    pub level: u8,
    /// The number behind the level.
    pub score: f32,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What security staff should see.
    pub alerts: Vec<Alert>,
}

/// Judges a request. `live` are the user's other live challenges that will stay.
#[must_use]
pub fn judge_create<'a>(
    policy: &Policy,
    _cell: &Cell,
    live: impl Iterator<Item = &'a Challenge> + Clone,
    facts: &Facts,
    _now: Timestamp,
) -> Verdict {
    let real = live.filter(|challenge| challenge.mode != Mode::Decoy);
    let bound = match (facts.first_factor, facts.cookie) {
        (false, _) => policy.live_without_first_factor,
        (true, None) => policy.live_with_first_factor,
        (true, Some(_)) => policy.live_with_first_factor + policy.live_extra_with_cookie,
    };
    let counted = real.clone().filter(|other| other.first_factor == facts.first_factor).count();
    let (mode, reason) = if !facts.enrolled {
        (Mode::Decoy, Reason::NotEnrolled)
    } else if counted >= bound {
        (Mode::Decoy, Reason::LiveBound)
    } else if !facts.methods.has(Method::Push) {
        (Mode::Silent, Reason::PushNotOffered)
    } else if !facts.first_factor {
        (Mode::Silent, Reason::NoFirstFactor)
    } else if real.clone().any(|other| other.mode == Mode::Ring) {
        (Mode::Silent, Reason::AnotherRings)
    } else {
        (Mode::Ring, Reason::Clear)
    };
    Verdict { mode, level: 0, score: 0.0, reasons: vec![reason], alerts: Vec::new() }
}

/// Notes that a challenge was opened. Decoys leave no trace: nobody can answer them by push.
#[must_use]
pub fn opened(mut cell: Cell, challenge: &Challenge) -> Cell {
    if challenge.mode != Mode::Decoy {
        cell.open.push(challenge.id);
    }
    cell
}

/// Whether a right answer is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Yes.
    Released,
    /// No: outside it stays pending, until a code passes on the same challenge.
    Withheld,
}

/// Judges a right answer before it is settled.
#[must_use]
pub const fn judge_approval(
    _policy: &Policy,
    _cell: &Cell,
    _challenge: &Challenge,
    _now: Timestamp,
) -> Release {
    Release::Released
}

/// Applies the outcome of an open challenge, once; `None` if it was applied before.
#[must_use]
pub fn applied(mut cell: Cell, id: ChallengeId, decided: &Decided) -> Option<Cell> {
    let at = cell.open.iter().position(|open| *open == id)?;
    cell.open.swap_remove(at);
    if let (Decision::Approved, Some(Proof::Push(device))) = (decided.decision, decided.proof) {
        cell.approved = Some((device_tag(device), decided.at));
    }
    Some(cell)
}
