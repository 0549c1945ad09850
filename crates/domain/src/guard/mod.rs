//! The guard: what is remembered against bombing and guessing, and what follows from it.
//!
//! It contains the attacker's context and never the person: known places keep ringing, other places go silent,
//! and what is silent is still answered by opening the app. Everything is a fading sum of weighted events in a
//! fixed small value per user ([`Memory`]), so that the same events give the same decisions, bit for bit.

mod alert;
mod bound;
mod cell;
mod decay;
mod evidence;
mod judge;
mod memory;
mod origin;
mod outcome;
mod places;
mod policies;
mod policy;
mod reason;
mod replay;
mod sources;

pub use alert::{Alert, AlertKind, Scope, Severity, told_when_asked};
pub use bound::{Bound, Derived, Fixed, Odds, REFERENCE, Way, derive, reference, success};
pub(crate) use cell::LAST;
pub use cell::{Cell, DeviceTag, Opened, REBIND_WINDOW, device_tag, seconds};
pub use decay::{Seconds, fade};
pub use evidence::{Counts, Evidence, Raised, source_name};
pub use judge::{
    Around, Charge, EnrolmentDecision, Facts, Release, Verdict, gives_way, judge_create,
};
pub use memory::Memory;
pub use origin::{Familiarity, Origin, Place, SourceKey, Tag};
pub use policies::{
    BudgetKnob, Change, FAMILIAR_DIGITS, MAX_TABLES, Part, Policies, Profile, Rules, RulesError,
    Table, Tries, Who,
};
pub use policy::{KNOBS, Knob, Policy, PolicyError};
pub use reason::Reason;
pub use replay::{Finding, Replay, Row, Totals, What};
pub use sources::{Asker, MAX_SOURCES, Reserved, Sources, UserTag};
