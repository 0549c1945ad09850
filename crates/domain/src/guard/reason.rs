//! Why the guard decided as it did; each reason explains itself in one clause.

use serde::{Deserialize, Serialize};

/// Why a challenge rings, is silent or a decoy; why an approval is withheld; why a code isn't compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// It comes from a more familiar place than what rang.
    MoreFamiliar,
    /// The user's score is raised, and the place isn't known.
    Raised,
    /// An alert holds other places silent.
    Held,
    /// The person reported an attack, or an operator contained the user.
    Contained,
    /// Too many requests without address and cookie failed.
    NowhereSpent,
    /// Too many rings from known places went unanswered.
    Looping,
    /// The address asks many users without success.
    AddressHot,
    /// The network asks many users without success.
    NetworkHot,
    /// The organisation is being sprayed.
    OrganisationHot,
    /// Break-glass users are never rung from places that aren't known.
    BreakGlass,
    /// A stranger asked while the person's own sign-in rang.
    Collision,
    /// Prompts time out everywhere: time-outs don't count.
    Outage,
    /// Something from elsewhere was denied lately.
    DeniedLately,
    /// Something was reported lately.
    ReportedLately,
    /// The try is within its budget.
    WithinBudget,
    /// The budget of such tries is spent.
    BudgetSpent,
    /// The factor is locked until it is bound anew.
    FactorLocked,
    /// The code was wrong.
    CodeWrong,
    /// The user has no such factor.
    NoSuchFactor,
    /// The same browser session had asked for the same thing.
    SameRequest,
    /// The outcome was noted.
    Noted,
    /// Nothing spoke against giving the approval out.
    Released,
    /// Neither address nor cookie came with it.
    FromNowhere,
    /// The place has never been seen.
    FromUnknown,
    /// Only the network has been seen.
    FromNear,
    /// The address is known.
    FromKnown,
    /// The browser is known.
    FromOwn,
}

impl Reason {
    /// The clause for `why`.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        match self {
            Self::NotEnrolled => "the user is unknown or has no factor",
            Self::LiveBound => {
                "the user had as many live challenges as the app shows: an older one gave way"
            }
            Self::AnotherRings => "another challenge of the user was ringing",
            Self::NoFirstFactor => "the caller did not vouch for a first factor",
            Self::PushNotOffered => "the caller did not ask for push",
            Self::Clear => "nothing spoke against it",
            Self::MoreFamiliar => "it came from a more familiar place than the one that rang",
            Self::Raised => "earlier requests from places that aren't known went unanswered",
            Self::Held => "an alert keeps places that aren't known from ringing",
            Self::Contained => "an attack was reported or contained",
            Self::NowhereSpent => "earlier requests without address and cookie went unanswered",
            Self::Looping => "earlier requests from the same place went unanswered",
            Self::AddressHot => "the address asked many users without success",
            Self::NetworkHot => "the network asked many users without success",
            Self::OrganisationHot => "many users were asked from unknown places without success",
            Self::BreakGlass => "a break-glass user never rings for places that aren't known",
            Self::Collision => "the person's own sign-in was ringing",
            Self::Outage => "prompts were timing out everywhere, so time-outs did not count",
            Self::DeniedLately => "something from elsewhere was denied lately",
            Self::ReportedLately => "a sign-in was reported lately",
            Self::WithinBudget => "the code was within its budget",
            Self::BudgetSpent => "the budget of such codes was spent",
            Self::FactorLocked => "the factor was locked",
            Self::CodeWrong => "the code was wrong",
            Self::NoSuchFactor => "the user has no such factor",
            Self::SameRequest => "the same browser session had asked for the same thing",
            Self::Noted => "its outcome was noted",
            Self::Released => "nothing spoke against giving it out",
            Self::FromNowhere => "neither address nor device cookie came with it",
            Self::FromUnknown => "the place was unknown",
            Self::FromNear => "only its network was known",
            Self::FromKnown => "the address was known",
            Self::FromOwn => "the browser was known",
        }
    }
}
