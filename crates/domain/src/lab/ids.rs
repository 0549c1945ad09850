//! What became of which id.

use std::collections::VecDeque;

use super::names::Map;
use crate::challenge::Decision;

/// How long that is remembered, in milliseconds: far beyond any life of a challenge. A million people's ids of a month
/// would be gigabytes.
const KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// What became of an id.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// A challenge of this user that lives, or expired unnoticed.
    Live(String),
    /// A challenge of this user that ended.
    Ended(String, Decision),
    /// A decoy of this user.
    Decoy(String),
    /// Merged, or no challenge at all.
    Other,
}

/// All ids of a day.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    known: Map<Known>,
    /// Those of what is over, and when it was.
    over: VecDeque<(u64, String)>,
}

impl Ids {
    pub(super) fn get(&self, id: &str) -> Option<&Known> {
        self.known.get(id)
    }

    /// A challenge of a user begins.
    pub(super) fn live(&mut self, id: String, user: String) {
        self.known.insert(id, Known::Live(user));
    }

    /// Nothing more becomes of an id.
    pub(super) fn over(&mut self, t: u64, id: String, known: Known) {
        self.over.push_back((t, id.clone()));
        self.known.insert(id, known);
    }

    /// Forgets what was over long ago.
    pub(super) fn forget(&mut self, t: u64) {
        while self.over.front().is_some_and(|(since, _)| since.saturating_add(KEPT_MS) < t)
            && let Some((_, id)) = self.over.pop_front()
        {
            self.known.remove(&id);
        }
    }
}
