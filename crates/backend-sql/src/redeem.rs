//! Redeeming: exactly once, in time, by the browser session that asked.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use domain::challenge::{Collect, Decided, Decision, MAX_WRONG_SESSIONS, State};
use ports::{Redeem, Redeemed, StoreError};

use crate::audit::Prepared;
use crate::batch::Batch;
use crate::memory::Memory;
use crate::settle::collect;
use crate::working::{Challenged, Wanted};
use crate::writer::Job;

pub(crate) struct RedeemOnce {
    item: Redeem,
    audit: Prepared,
}

impl RedeemOnce {
    pub(crate) fn new(item: Redeem) -> Result<Self, StoreError> {
        let audit = Prepared::new(&item.audit)?;
        Ok(Self { item, audit })
    }
}

/// What became of it, and whether that was the wrong session too many.
pub(crate) struct Outcome {
    pub(crate) redeemed: Redeemed,
    lapsed_now: bool,
}

impl Job for RedeemOnce {
    type Done = Outcome;

    fn announce(&self, wanted: &mut Wanted) {
        wanted.challenges.push(self.item.challenge);
    }

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<Outcome> {
        let refused = |redeemed| Outcome { redeemed, lapsed_now: false };
        let Some(challenged) = batch.challenge(self.item.challenge).await? else {
            return Ok(refused(Redeemed::Unknown));
        };
        let State::Decided(decided) = challenged.state else {
            return Ok(refused(Redeemed::NotApproved));
        };
        if decided.decision != Decision::Approved {
            return Ok(refused(Redeemed::NotApproved));
        }
        match decided.collect {
            Collect::Redeemed => return Ok(refused(Redeemed::Already)),
            Collect::Lapsed => return Ok(refused(Redeemed::Lapsed)),
            Collect::Open if decided.window_closed(batch.now) => {
                return Ok(refused(Redeemed::Lapsed));
            }
            Collect::Open => {}
        }
        let is_session = verify_slices_are_equal(&challenged.session, &self.item.session);
        Ok(match is_session {
            Ok(()) => self.redeem(batch, challenged, decided),
            Err(_) => self.refuse_session(batch, challenged)?,
        })
    }

    fn committed(self, done: &Outcome, memory: &Memory) {
        match done.redeemed {
            Redeemed::Redeemed(_) => collect(memory, self.item.challenge, Collect::Redeemed),
            _ if done.lapsed_now => collect(memory, self.item.challenge, Collect::Lapsed),
            _ => {}
        }
    }
}

impl RedeemOnce {
    fn redeem(
        &self,
        batch: &mut Batch<'_>,
        mut challenged: Challenged,
        decided: Decided,
    ) -> Outcome {
        challenged.redeem();
        batch.redeem(&self.audit, challenged.id);
        batch.put_challenge(challenged);
        let decided = Decided { collect: Collect::Redeemed, ..decided };
        Outcome { redeemed: Redeemed::Redeemed(decided), lapsed_now: false }
    }

    fn refuse_session(
        &self,
        batch: &mut Batch<'_>,
        mut challenged: Challenged,
    ) -> sqlx::Result<Outcome> {
        // only now: hardly anybody comes here
        let audit = Prepared::new(&self.item.audit_wrong);
        let audit = audit.map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        let lapsed_now = challenged.count_wrong_session() >= MAX_WRONG_SESSIONS;
        if lapsed_now {
            challenged.lapse(batch.now);
        }
        batch.put_challenge(challenged);
        batch.record(&audit);
        Ok(Outcome { redeemed: Redeemed::WrongSession, lapsed_now })
    }
}
