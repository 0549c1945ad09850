//! Redeeming: exactly once, in time, by the browser session that asked.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use domain::challenge::{COLLECT_WINDOW, Collect, Decided, Decision, MAX_WRONG_SESSIONS, State};
use ports::{Redeem, Redeemed, StoreError};
use sqlx::Row as _;

use crate::audit::Prepared;
use crate::batch::Batch;
use crate::codec::{self, int};
use crate::ledger::select_challenge;
use crate::memory::Memory;
use crate::settle::collect;
use crate::writer::Job;

pub(crate) struct RedeemOnce {
    item: Redeem,
    audit: Prepared,
    audit_wrong: Prepared,
}

impl RedeemOnce {
    pub(crate) fn new(item: Redeem) -> Result<Self, StoreError> {
        let (audit, audit_wrong) = (
            Prepared::new(&item.audit)?,
            Prepared::new(&item.audit_wrong)?,
        );
        Ok(Self {
            item,
            audit,
            audit_wrong,
        })
    }
}

/// What became of it, and whether that was the wrong session too many.
pub(crate) struct Outcome {
    pub(crate) redeemed: Redeemed,
    lapsed_now: bool,
}

impl Job for RedeemOnce {
    type Done = Outcome;

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<Outcome> {
        let refused = |redeemed| Outcome {
            redeemed,
            lapsed_now: false,
        };
        let Some(row) = select_challenge(batch.conn, self.item.challenge).await? else {
            return Ok(refused(Redeemed::Unknown));
        };
        // who isn't the browser learns nothing but that
        let session: [u8; 32] = codec::bytes(&row, "session")?;
        let is_session = verify_slices_are_equal(&session, &self.item.session).is_ok();
        let State::Decided(decided) = codec::state(&row)? else {
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
        if is_session {
            self.redeem(batch, decided).await
        } else {
            self.refuse_session(batch).await
        }
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
    async fn redeem(&self, batch: &mut Batch<'_>, decided: Decided) -> sqlx::Result<Outcome> {
        let done = sqlx::query(
            "UPDATE challenges SET redeemed_at = $2
             WHERE id = $1 AND decision = 1 AND redeemed_at IS NULL AND lapsed_at IS NULL AND decided_at > $3",
        )
        .bind(self.item.challenge.as_bytes().as_slice())
        .bind(int(batch.now.millis()))
        .bind(int(batch.now.minus(COLLECT_WINDOW).millis()))
        .execute(&mut *batch.conn)
        .await?;
        if done.rows_affected() != 1 {
            return Err(sqlx::Error::RowNotFound);
        }
        batch.record(&self.audit);
        let decided = Decided {
            collect: Collect::Redeemed,
            ..decided
        };
        Ok(Outcome {
            redeemed: Redeemed::Redeemed(decided),
            lapsed_now: false,
        })
    }

    async fn refuse_session(&self, batch: &mut Batch<'_>) -> sqlx::Result<Outcome> {
        let row = sqlx::query(
            "UPDATE challenges SET wrong_sessions = wrong_sessions + 1,
                 lapsed_at = CASE WHEN wrong_sessions + 1 >= $2 THEN $3 ELSE lapsed_at END
             WHERE id = $1 RETURNING wrong_sessions",
        )
        .bind(self.item.challenge.as_bytes().as_slice())
        .bind(MAX_WRONG_SESSIONS)
        .bind(int(batch.now.millis()))
        .fetch_one(&mut *batch.conn)
        .await?;
        let wrong: u8 = row.try_get("wrong_sessions")?;
        batch.record(&self.audit_wrong);
        let lapsed_now = wrong >= MAX_WRONG_SESSIONS;
        Ok(Outcome {
            redeemed: Redeemed::WrongSession,
            lapsed_now,
        })
    }
}
