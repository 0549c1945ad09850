//! What a request becomes: the challenge that is already there, or a new one that may end an older one.

use std::sync::Arc;

use statement::{ChallengeId, IntegrationId, Timestamp, sha256};

use crate::challenge::{Challenge, Methods, Purpose};
use crate::guard::{self, Verdict};

/// How many challenges of one user are remembered for merging. Above it the oldest but the very first is forgotten
/// that no device shows; it still expires by itself. More than are ever shown by the default policy. All count: a user
/// who has none but decoys is merged like any other.
pub const MAX_REMEMBERED: usize = 48;
/// At most this many details.
pub const MAX_DETAILS: usize = 8;
/// Longest label of a detail, in characters.
pub const MAX_LABEL: usize = 32;
/// Longest value of a detail, in characters.
pub const MAX_VALUE: usize = 128;

/// A line of client text, shown as "NAME says".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What it is.
    pub label: String,
    /// What it says.
    pub value: String,
}

/// Hash of what is asked for: two requests of one session with the same hash are one challenge.
#[must_use]
pub fn request_hash(
    purpose: Purpose,
    methods: Methods,
    first_factor: bool,
    details: &[Detail],
) -> [u8; 32] {
    let mut bytes = vec![purpose as u8, methods.bits(), u8::from(first_factor)];
    for text in details.iter().flat_map(|detail| [&detail.label, &detail.value]) {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    sha256(&[&bytes])
}

/// Who asks for what, as far as merging goes.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The caller.
    pub integration: IntegrationId,
    /// Hash of its browser session.
    pub session: [u8; 32],
    /// Hash of what it asks for.
    pub request: [u8; 32],
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Plan {
    /// It is this one again: same id, same number, no second ring.
    Merge(Arc<Challenge>),
    /// A new one.
    New {
        /// How it reaches its user, and why.
        verdict: Verdict,
        /// Challenges of the same session that end as superseded.
        supersedes: Vec<ChallengeId>,
        /// Decoys that are forgotten to make room.
        forgets: Vec<ChallengeId>,
    },
}

/// Plans a request against the user's live challenges. Another browser session never merges and never
/// supersedes.
#[must_use]
pub fn plan(
    policy: &guard::Policy,
    cell: &guard::Cell,
    live: &[Arc<Challenge>],
    slot: &Slot,
    facts: &guard::Facts,
    now: Timestamp,
) -> Plan {
    let live = || live.iter().filter(|challenge| !challenge.is_past(now));
    let same_session = |challenge: &&Arc<Challenge>| {
        challenge.integration == slot.integration && challenge.session == slot.session
    };
    let is_merge =
        |challenge: &&Arc<Challenge>| same_session(challenge) && challenge.request == slot.request;
    if let Some(open) = live().find(is_merge) {
        return Plan::Merge(Arc::clone(open));
    }
    let supersedes = live().filter(same_session).map(|challenge| challenge.id).collect();
    // decoys are not in the cell: nobody can answer them
    let beside = cell.open.iter().filter(|open| !open.charge.displaced).filter(|open| {
        live().any(|challenge| challenge.id == open.id && !same_session(&challenge))
    });
    let beside = beside.map(|open| &open.charge);
    let now_s = guard::seconds(now);
    let memory = cell.memory.at(policy, now_s);
    let verdict = guard::judge_create(policy, &memory, beside, facts, now_s);
    let stay = live().filter(|challenge| !same_session(challenge));
    let surplus = (stay.clone().count() + 1).saturating_sub(MAX_REMEMBERED);
    // the first may be the one that rings: it stays for everybody, so that nobody can tell
    let hidden = stay.skip(1).filter(|challenge| !cell.shows(challenge.id));
    let forgets = hidden.take(surplus).map(|challenge| challenge.id).collect();
    Plan::New { verdict, supersedes, forgets }
}
