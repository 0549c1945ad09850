//! Codes in the lab: budgets in lanes, as the ledger counts them.

use statement::Timestamp;

use super::engine::{Lab, User, name_all};
use super::ids::Known;
use super::names::{asker, origin};
use super::{Caller, Judged, Raised, Word};
use crate::attempts::{Attempts, Lane, Refusal};
use crate::challenge::{Decision, Method};
use crate::guard::{Alert, Familiarity, Reason, Seconds, seconds};

impl Lab {
    pub(super) fn totp(
        &mut self,
        t: u64,
        id: String,
        for_challenge: Option<String>,
        caller: &Caller,
        valid: bool,
    ) -> Judged {
        let at = Timestamp::from_millis(t);
        let now = seconds(at);
        self.ids.over(self.last, id.clone(), Known::Other);
        let policy = self.book.of(&caller.integration);
        let user = self.users.entry(caller.user.clone()).or_default();
        let origin = user.cookies.given(origin(caller));
        user.memory.bring_to(policy, now);
        let withheld = for_challenge.as_ref().is_some_and(|challenge| {
            user.live.iter().any(|live| live.withheld && live.id == *challenge)
        });
        let familiarity = user.memory.familiarity(policy, &origin, now);
        let lane = familiarity.lane(withheld);
        let at_lane = usize::from(lane.code()) - 1;
        let counted = user.lanes[at_lane].count_in(lane, &self.budgets, at);
        let (decision, reason) = match counted {
            Err(Refusal::Locked) => (Word::Refuse, Reason::FactorLocked),
            Err(_) => (Word::Refuse, Reason::BudgetSpent),
            Ok(counted) => {
                user.lanes[at_lane] = counted;
                if !user.factors.has(Method::Totp) {
                    (Word::Reject, Reason::NoSuchFactor)
                } else if valid {
                    user.lanes[at_lane] = counted.given_back(lane, &self.budgets);
                    user.lanes = user.lanes.map(Attempts::forgiven);
                    (Word::Accept, Reason::WithinBudget)
                } else {
                    (Word::Reject, Reason::CodeWrong)
                }
            }
        };
        let alerts = if decision == Word::Accept {
            self.passed(now, for_challenge.as_deref(), caller)
        } else {
            let spent = decision == Word::Refuse;
            let alerts = user.memory.code_failed(policy, &origin, spent, now);
            name_all(caller, alerts)
        };
        self.said(now, id, decision, reason, caller, alerts)
    }

    pub(super) fn recovery(
        &mut self,
        now: Seconds,
        id: String,
        for_challenge: Option<String>,
        caller: &Caller,
        code_known: bool,
    ) -> Judged {
        self.ids.over(self.last, id.clone(), Known::Other);
        let policy = self.book.of(&caller.integration);
        let user = self.users.entry(caller.user.clone()).or_default();
        user.memory.bring_to(policy, now);
        let has = user.factors.has(Method::RecoveryCode);
        // a code that the user has is never refused: its 80 bits can't be guessed, so nobody can spend a budget
        let (decision, reason) = if has && code_known {
            (Word::Accept, Reason::WithinBudget)
        } else if self.sources.junk(policy, &asker(caller), now) {
            (Word::Reject, if has { Reason::CodeWrong } else { Reason::NoSuchFactor })
        } else {
            (Word::Refuse, Reason::BudgetSpent)
        };
        let alerts = if decision == Word::Accept {
            self.passed(now, for_challenge.as_deref(), caller)
        } else {
            let spent = decision == Word::Refuse;
            let origin = user.cookies.given(origin(caller));
            let alerts = user.memory.code_failed(policy, &origin, spent, now);
            name_all(caller, alerts)
        };
        self.said(now, id, decision, reason, caller, alerts)
    }

    /// A right code: it approves its challenge, and proves possession where it came from.
    fn passed(&mut self, now: Seconds, challenge: Option<&str>, caller: &Caller) -> Vec<Raised> {
        let live = challenge.filter(|id| matches!(self.ids.get(id), Some(Known::Live(_))));
        if let Some(id) = live {
            if let Some(User { live, memory, .. }) = self.users.get_mut(&caller.user)
                && let Some(live) = live.iter().find(|live| live.withheld && live.id == id)
            {
                memory.released(&live.charge);
            }
            return self.end(now, &caller.user, id, Decision::Approved);
        }
        let policy = self.book.of(&caller.integration);
        let user = self.users.entry(caller.user.clone()).or_default();
        let alerts = user.break_glass.then_some(Alert::BREAK_GLASS).into_iter().collect();
        let brought = origin(caller);
        let origin = user.cookies.given(brought);
        let charge = user.memory.code_passed(policy, &origin, now);
        user.cookies.approved(&brought);
        self.sources.passed(policy, &asker(caller), &charge, now);
        // no challenge was told of before
        name_all(caller, alerts)
    }

    fn said(
        &mut self,
        now: Seconds,
        id: String,
        decision: Word,
        reason: Reason,
        caller: &Caller,
        alerts: Vec<Raised>,
    ) -> Judged {
        let (level, score, reasons) = (0, 0.0, vec![reason]);
        let mut judged = Judged { id, decision, into: None, level, score, reasons, alerts };
        self.stand(now, (&caller.user, &caller.integration), &mut judged);
        judged
    }
}

impl Familiarity {
    /// From which budget a code is counted that comes from such a place. A withheld challenge has its own:
    /// whoever typed its number on a device must not find the budget spent by strangers.
    #[must_use]
    pub const fn lane(self, withheld: bool) -> Lane {
        match self {
            _ if withheld => Lane::Withheld,
            Self::Known | Self::Own => Lane::Own,
            Self::Nowhere => Lane::Nowhere,
            Self::Unknown | Self::Near => Lane::Unknown,
        }
    }
}
