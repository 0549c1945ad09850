//! The ledger: writes go to the writer as jobs; what was read or written lately is answered from memory.

use std::sync::Arc;

use domain::attempts::{Budgets, Counter};
use domain::audit::Entry;
use domain::challenge::{Challenge, Collect, Decided, Decision, Proof, State};
use domain::directory::UserRecord;
use ports::{
    AuditFilter, AuditRow, BoxFuture, Counted, Effect, Ledger, LedgerRecord, Open, Opened, Redeem,
    Redeemed, Replay, ReplayKey, Rider, Settle, Settled, SignedCheckpoint, StoreError,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use statement::{ChallengeId, TenantId};

use crate::attempts::{CountAttempt, UncountAttempt};
use crate::audit::{Prepared, last_checkpoint};
use crate::batch::OpenRow;
use crate::codec::{self, CHALLENGE_COLUMNS, bytes, id, int, unavailable};
use crate::redeem::RedeemOnce;
use crate::settle::{Lapse, SettleAll};
use crate::simple_writes::{Anchor, OpenChallenge, REPLAY_LIFE, Record, Remember, opened};
use crate::slots::hot_write;
use crate::{Inner, events};

/// One challenge with all that [`codec::ledger_record`] reads.
pub(crate) async fn select_challenge(
    conn: &mut SqliteConnection,
    id: ChallengeId,
) -> sqlx::Result<Option<SqliteRow>> {
    // the text is made of our own constants alone
    let sql = format!("SELECT {CHALLENGE_COLUMNS} FROM challenges c WHERE c.id = $1");
    sqlx::query(AssertSqlSafe(sql)).bind(id.as_bytes().as_slice()).fetch_optional(conn).await
}

/// An approval that wasn't redeemed lapses with its device and with its user's factors.
fn collect(decided: &Decided, owner: Option<&UserRecord>) -> Collect {
    if decided.decision != Decision::Approved || decided.collect != Collect::Open {
        return decided.collect;
    }
    let is_enrolled = |device| {
        owner.is_some_and(|owner| owner.enrolled_devices().any(|active| active.id == device))
    };
    let device = decided.proof.and_then(Proof::device);
    let device_is_gone = device.is_some_and(|device| !is_enrolled(device));
    let is_reset =
        owner.and_then(|owner| owner.user.reset).is_some_and(|reset| reset >= decided.at);
    if device_is_gone || is_reset { Collect::Lapsed } else { Collect::Open }
}

impl Inner {
    async fn find(&self, id: ChallengeId) -> Result<Option<LedgerRecord>, StoreError> {
        if let Some(mut record) = self.memory.records.get(id) {
            if let State::Decided(decided) = &mut record.state
                && decided.decision == Decision::Approved
                && decided.collect == Collect::Open
            {
                let owner = self.user_by_id(record.challenge.user).await?;
                decided.collect = collect(decided, owner.as_deref());
            }
            return Ok(Some(record));
        }
        let mut conn = self.reader().await?;
        let row = select_challenge(&mut conn, id).await.map_err(unavailable)?;
        row.map(|row| codec::ledger_record(&row)).transpose().map_err(unavailable)
    }

    async fn find_due(&self, limit: u32) -> Result<Vec<Arc<Challenge>>, StoreError> {
        let mut conn = self.reader().await?;
        let sql = format!(
            "SELECT {CHALLENGE_COLUMNS} FROM challenges c
             WHERE c.decision = 0 AND c.expires <= $1 ORDER BY c.expires LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(int((self.clock)().millis()))
            .bind(limit)
            .fetch_all(&mut *conn)
            .await
            .map_err(unavailable)?;
        // one row that can't be read must not keep all others from ending
        let readable = rows.iter().filter_map(|row| match codec::challenge(row) {
            Ok(challenge) => Some(Arc::new(challenge)),
            Err(error) => {
                tracing::error!(%error, "an open challenge can't be read");
                None
            }
        });
        Ok(readable.collect())
    }

    async fn find_replay(&self, key: ReplayKey) -> Result<Option<Replay>, StoreError> {
        let mut conn = self.reader().await?;
        let row = sqlx::query(
            "SELECT request, challenge, status, body FROM replays
             WHERE integration = $1 AND idempotency = $2 AND at > $3",
        )
        .bind(key.integration.as_bytes().as_slice())
        .bind(key.key.as_slice())
        .bind(int((self.clock)().minus(REPLAY_LIFE).millis()))
        .fetch_optional(&mut *conn)
        .await
        .map_err(unavailable)?;
        let replay = |row: SqliteRow| {
            if bytes::<32>(&row, "request")? != key.request {
                return Ok(Replay::OtherRequest);
            }
            match row.try_get("status")? {
                Some(status) => Ok(Replay::Reply { status, body: row.try_get("body")? }),
                None => Ok(Replay::Challenge(id(&row, "challenge", ChallengeId::from_slice)?)),
            }
        };
        row.map(replay).transpose().map_err(unavailable)
    }
}

impl Ledger for Inner {
    fn open(&self, item: Open) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(async move {
            let hot = hot_write(item.rider)?;
            let alerts = item.alerts.iter().map(Prepared::new).collect::<Result<_, _>>()?;
            let job = OpenChallenge {
                alerts,
                row: Arc::new(OpenRow {
                    record: codec::record(&item.challenge)?,
                    challenge: item.challenge,
                }),
                replay: item.replay,
                audit: Prepared::new(&item.audit)?,
                hot,
            };
            self.writer.write(job).await.map(opened)
        })
    }

    fn settle(&self, items: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        Box::pin(async move {
            let outcomes = self.writer.write(SettleAll::new(items)?).await?;
            Ok(outcomes.into_iter().map(|outcome| outcome.settled).collect())
        })
    }

    fn redeem(&self, item: Redeem) -> BoxFuture<'_, Result<Redeemed, StoreError>> {
        Box::pin(async move { Ok(self.writer.write(RedeemOnce::new(item)?).await?.redeemed) })
    }

    fn lapse(
        &self,
        challenge: ChallengeId,
        effects: Vec<Effect>,
        audit: Entry,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let audit = Prepared::new(&audit)?;
            let ended = self.writer.write(Lapse { challenge, effects, audit }).await?;
            Ok(ended.is_some())
        })
    }

    fn count_attempt(
        &self,
        counter: Counter,
        budgets: Budgets,
    ) -> BoxFuture<'_, Result<Counted, StoreError>> {
        Box::pin(self.writer.write(CountAttempt(counter, budgets)))
    }

    fn uncount_attempt(
        &self,
        counter: Counter,
        budgets: Budgets,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.writer.write(UncountAttempt(counter, budgets)))
    }

    fn due(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Arc<Challenge>>, StoreError>> {
        Box::pin(self.find_due(limit))
    }

    fn record_all(
        &self,
        entries: Vec<Entry>,
        rider: Option<Rider>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let hot = hot_write(rider)?;
            let entries = entries.iter().map(Prepared::new).collect::<Result<_, _>>()?;
            self.writer.write(Record { entries, hot }).await
        })
    }

    fn lookup(&self, id: ChallengeId) -> BoxFuture<'_, Result<Option<LedgerRecord>, StoreError>> {
        Box::pin(self.find(id))
    }

    fn recall(&self, key: ReplayKey) -> BoxFuture<'_, Result<Option<Replay>, StoreError>> {
        Box::pin(self.find_replay(key))
    }

    fn remember(
        &self,
        key: ReplayKey,
        status: u16,
        body: Option<String>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.writer.write(Remember { key, status, body }))
    }

    fn read(&self, filter: AuditFilter) -> BoxFuture<'_, Result<Vec<AuditRow>, StoreError>> {
        Box::pin(async move {
            let _place = self.search().await?;
            let mut conn = self.reader().await?;
            events::read(&mut conn, &filter).await
        })
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<usize, StoreError>> {
        Box::pin(self.writer.write(Anchor))
    }

    fn last_checkpoint(
        &self,
        tenant: TenantId,
    ) -> BoxFuture<'_, Result<Option<SignedCheckpoint>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            last_checkpoint(&mut conn, tenant).await.map_err(unavailable)
        })
    }
}
