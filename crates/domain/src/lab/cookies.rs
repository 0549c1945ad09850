//! Which of a user's device cookies count, as in the service: a denial or report ends the one that its request
//! brought.
//!
//! A line's cookie names a browser. In the service one that has lost its cookie gets another at its next approval;
//! here it goes on under the same name. There a report ends the person's other cookies too, which are made out anew
//! one by one; here their browsers keep them.

use crate::guard::{Origin, Tag};

/// Cookies of one user that are told apart: more than one person's browsers at a few integrations.
const MAX_COOKIES: usize = 64;

/// The cookies of one user that were given, oldest first, and whether each counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Cookies(Vec<(Tag, bool)>);

impl Cookies {
    /// A request brings what it brings: what doesn't count is as good as none.
    pub(super) fn given(&mut self, origin: Origin) -> Origin {
        let Some(tag) = origin.cookie else { return origin };
        if let Some((_, counts)) = self.0.iter().find(|(other, _)| *other == tag) {
            return Origin { cookie: origin.cookie.filter(|_| *counts), ..origin };
        }
        if self.0.len() >= MAX_COOKIES {
            self.0.remove(0);
        }
        self.0.push((tag, true));
        origin
    }

    /// A request was denied or reported.
    pub(super) fn refused(&mut self, origin: &Origin) {
        self.set(origin, false);
    }

    /// A request was approved.
    pub(super) fn approved(&mut self, origin: &Origin) {
        self.set(origin, true);
    }

    fn set(&mut self, origin: &Origin, to: bool) {
        let own = self.0.iter_mut().filter(|(tag, _)| Some(*tag) == origin.cookie);
        own.for_each(|(_, counts)| *counts = to);
    }
}
