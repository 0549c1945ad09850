//! What an answer means: one card is one challenge, one answer decides it.

use std::sync::Arc;

use statement::{AnswerDecision, ChallengeId};

use crate::challenge::{Challenge, Decision};
use crate::number::Number;

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// How the answered challenge ends, unless the guard withholds an approval.
    pub decision: Decision,
    /// The other live challenge whose number was typed.
    pub crossed: Option<Crossed>,
}

/// The number of another live challenge of the same user was typed: somebody signs in at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// The other challenge.
    pub other: ChallengeId,
    /// Whether it ends as a mismatch too.
    pub ends: bool,
}

/// Reads an answer. `others` are the user's other live challenges with their numbers.
///
/// A number that doesn't match ends the challenge. If it is another live challenge's, that one ends too,
/// unless its context is familiar and the answered one's is not: then the person looked at their own screen
/// and answered the stranger's card.
#[must_use]
pub fn read(
    answered: &Challenge,
    number: &Number,
    decision: AnswerDecision,
    typed: &str,
    others: &[(Arc<Challenge>, Number)],
) -> Meaning {
    let decided = |decision| Meaning { decision, crossed: None };
    match decision {
        AnswerDecision::Deny => decided(Decision::Denied),
        AnswerDecision::Report => decided(Decision::Reported),
        AnswerDecision::Approve if number.matches(typed) => decided(Decision::Approved),
        AnswerDecision::Approve => {
            // every other number is compared, so that time tells nothing about which one it was
            let crossed = others.iter().fold(None, |found, (other, number)| {
                let ends = !other.is_familiar() || answered.is_familiar();
                let crossed = Crossed { other: other.id, ends };
                if number.matches(typed) { Some(crossed) } else { found }
            });
            Meaning { decision: Decision::Mismatch, crossed }
        }
    }
}
