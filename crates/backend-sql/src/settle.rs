//! Decisions: each judged alone, by conditions that hold inside the writer's transaction.

use domain::attempts::Counter;
use domain::challenge::{Collect, Decided, Decision, State};
use ports::{Effect, Settle, Settled, StoreError};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use statement::{ChallengeId, EventId, UserId};

use crate::audit::Prepared;
use crate::batch::Batch;
use crate::codec::{self, id, int, proof_columns, time};
use crate::ledger::select_challenge;
use crate::memory::Memory;
use crate::people::Stale;
use crate::records::erased;
use crate::simple_writes::forget_attempts;
use crate::writer::Job;

/// Settles decisions of one user, in order.
pub(crate) struct SettleAll(Vec<(Settle, Prepared)>);

impl SettleAll {
    pub(crate) fn new(items: Vec<Settle>) -> Result<Self, StoreError> {
        let prepare = |item: Settle| {
            let entry = Prepared::new(&item.audit)?;
            Ok((item, entry))
        };
        Ok(Self(
            items.into_iter().map(prepare).collect::<Result<_, _>>()?,
        ))
    }
}

/// What became of an item, and what memory has to follow.
pub(crate) struct Outcome {
    pub(crate) settled: Settled,
    event: Option<EventId>,
    stale: Option<UserId>,
}

impl Job for SettleAll {
    type Done = Vec<Outcome>;

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(self.0.len());
        for (item, entry) in &self.0 {
            outcomes.push(settle(batch, item, entry).await?);
        }
        Ok(outcomes)
    }

    fn committed(self, done: &Vec<Outcome>, memory: &Memory) {
        for ((item, _), outcome) in self.0.iter().zip(done) {
            if let Settled::Settled(decided) = outcome.settled {
                memory.records.update(item.challenge, |record| {
                    record.challenge = erased(&record.challenge);
                    record.state = State::Decided(decided);
                    record.decided = outcome.event;
                });
            }
            if let Some(user) = outcome.stale {
                memory.people.forget(&Stale::User(user));
            }
        }
    }
}

async fn settle(batch: &mut Batch<'_>, item: &Settle, entry: &Prepared) -> sqlx::Result<Outcome> {
    let refused = |settled| {
        Ok(Outcome {
            settled,
            event: None,
            stale: None,
        })
    };
    if item.effects.iter().any(Effect::is_conditional)
        && let Some(refusal) = refusal(batch, item).await?
    {
        return refused(refusal);
    }
    let event = batch.next_event(entry.tenant());
    let Some(row) = decide(batch, item, event).await? else {
        // nothing was written: now say why
        let refusal = refusal(batch, item).await?;
        return refused(refusal.ok_or(sqlx::Error::RowNotFound)?);
    };
    let user = id(&row, "user_id", UserId::from_slice)?;
    for effect in &item.effects {
        apply(batch, user, *effect).await?;
    }
    batch.record(entry);
    let (decision, at, proof) = (item.decision, batch.now, item.proof);
    let decided = Decided {
        decision,
        at,
        proof,
        collect: Collect::Open,
    };
    Ok(Outcome {
        settled: Settled::Settled(decided),
        event: Some(event),
        stale: item
            .effects
            .iter()
            .any(Effect::changes_user)
            .then_some(user),
    })
}

/// Decides, if everything holds that doesn't depend on effects.
async fn decide(
    batch: &mut Batch<'_>,
    item: &Settle,
    event: EventId,
) -> sqlx::Result<Option<SqliteRow>> {
    let (kind, proof) = proof_columns(item.proof);
    let is_expiry = item.decision == Decision::Expired;
    sqlx::query(
        "UPDATE challenges SET decision = $2, decided = $3, decided_at = $4, proof_kind = $5, proof_id = $6,
             number = NULL
         WHERE id = $1 AND decision = 0
             AND ($7 OR expires > $4) AND (NOT $8 OR expires <= $4)
             AND ($9 IS NULL OR EXISTS (SELECT 1 FROM devices d WHERE d.id = $9 AND d.revoked IS NULL))
         RETURNING user_id",
    )
    .bind(item.challenge.as_bytes().as_slice())
    .bind(item.decision.code())
    .bind(event.as_bytes().as_slice())
    .bind(int(batch.now.millis()))
    .bind(kind)
    .bind(proof)
    .bind(item.after_expiry || is_expiry)
    .bind(is_expiry)
    .bind(item.device.map(|device| device.as_bytes().to_vec()))
    .fetch_optional(&mut *batch.conn)
    .await
}

/// Why an item can't settle; `None` if it can.
async fn refusal(batch: &mut Batch<'_>, item: &Settle) -> sqlx::Result<Option<Settled>> {
    let Some(row) = select_challenge(batch.conn, item.challenge).await? else {
        return Ok(Some(Settled::Unknown));
    };
    if let State::Decided(decided) = codec::state(&row)? {
        return Ok(Some(Settled::Already(decided)));
    }
    let is_past = batch.now >= time(row.try_get("expires")?);
    match (item.decision == Decision::Expired, is_past) {
        (true, false) => return Ok(Some(Settled::Early)),
        (false, true) if !item.after_expiry => return Ok(Some(Settled::Late)),
        _ => {}
    }
    if let Some(device) = item.device {
        let active = sqlx::query("SELECT 1 FROM devices WHERE id = $1 AND revoked IS NULL")
            .bind(device.as_bytes().as_slice())
            .fetch_optional(&mut *batch.conn)
            .await?;
        if active.is_none() {
            return Ok(Some(Settled::DeviceRevoked));
        }
    }
    let user = id(&row, "user_id", UserId::from_slice)?;
    for effect in &item.effects {
        if let Some(refusal) = effect_refusal(batch, user, *effect).await? {
            return Ok(Some(refusal));
        }
    }
    Ok(None)
}

async fn effect_refusal(
    batch: &mut Batch<'_>,
    user: UserId,
    effect: Effect,
) -> sqlx::Result<Option<Settled>> {
    match effect {
        Effect::BurnStep { factor, step } => {
            let row =
                sqlx::query("SELECT last_step, locked FROM totp WHERE id = $1 AND user_id = $2")
                    .bind(factor.as_bytes().as_slice())
                    .bind(user.as_bytes().as_slice())
                    .fetch_optional(&mut *batch.conn)
                    .await?;
            let Some(row) = row else {
                return Ok(Some(Settled::Locked));
            };
            if row.try_get("locked")? {
                return Ok(Some(Settled::Locked));
            }
            let last = codec::uint(row.try_get("last_step")?);
            Ok((step <= last).then_some(Settled::Replayed))
        }
        Effect::SpendCode { code } => {
            let row = sqlx::query("SELECT used FROM recovery_codes WHERE user_id = $1 AND id = $2")
                .bind(user.as_bytes().as_slice())
                .bind(code.as_slice())
                .fetch_optional(&mut *batch.conn)
                .await?;
            let Some(row) = row else {
                return Ok(Some(Settled::Locked));
            };
            Ok(row.try_get::<bool, _>("used")?.then_some(Settled::Spent))
        }
        Effect::Reset(_) | Effect::KillCookie(_) | Effect::RaiseEpoch => Ok(None),
    }
}

/// Applies an effect whose condition was checked in this transaction.
async fn apply(batch: &mut Batch<'_>, user: UserId, effect: Effect) -> sqlx::Result<()> {
    match effect {
        Effect::BurnStep { factor, step } => {
            sqlx::query("UPDATE totp SET last_step = $2 WHERE id = $1")
                .bind(factor.as_bytes().as_slice())
                .bind(int(step))
                .execute(&mut *batch.conn)
                .await?;
            forget_attempts(batch.conn, Counter::Totp(user)).await
        }
        Effect::SpendCode { code } => {
            sqlx::query("UPDATE recovery_codes SET used = 1 WHERE user_id = $1 AND id = $2")
                .bind(user.as_bytes().as_slice())
                .bind(code.as_slice())
                .execute(&mut *batch.conn)
                .await?;
            forget_attempts(batch.conn, Counter::RecoveryCode(user, code)).await
        }
        Effect::Reset(counter) => forget_attempts(batch.conn, counter).await,
        Effect::KillCookie(cookie) => {
            sqlx::query(
                "INSERT INTO killed_cookies (user_id, cookie)
                 SELECT id, $2 FROM users WHERE id = $1 ON CONFLICT DO NOTHING",
            )
            .bind(user.as_bytes().as_slice())
            .bind(cookie.as_slice())
            .execute(&mut *batch.conn)
            .await?;
            Ok(())
        }
        Effect::RaiseEpoch => raise_epoch(batch.conn, user).await,
    }
}

/// Ends all device cookies of a user. Those that were killed one by one are dead twice then: forget them.
pub(crate) async fn raise_epoch(
    conn: &mut sqlx::SqliteConnection,
    user: UserId,
) -> sqlx::Result<()> {
    for sql in [
        "UPDATE users SET epoch = epoch + 1 WHERE id = $1",
        "DELETE FROM killed_cookies WHERE user_id = $1",
    ] {
        sqlx::query(sql)
            .bind(user.as_bytes().as_slice())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// How an effect behaves.
trait Behaviour {
    /// Whether it can refuse its item.
    fn is_conditional(&self) -> bool;
    /// Whether it changes what the directory says of the user.
    fn changes_user(&self) -> bool;
}

impl Behaviour for Effect {
    fn is_conditional(&self) -> bool {
        matches!(self, Self::BurnStep { .. } | Self::SpendCode { .. })
    }

    fn changes_user(&self) -> bool {
        self.is_conditional() || matches!(self, Self::KillCookie(_) | Self::RaiseEpoch)
    }
}

/// Ends an approval that nobody redeemed.
pub(crate) struct Lapse {
    pub(crate) challenge: ChallengeId,
    pub(crate) effects: Vec<Effect>,
    pub(crate) audit: Prepared,
}

impl Job for Lapse {
    /// The user, if there was something to end.
    type Done = Option<UserId>;

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<Option<UserId>> {
        let row = sqlx::query(
            "UPDATE challenges SET lapsed_at = $2
             WHERE id = $1 AND decision = 1 AND redeemed_at IS NULL AND lapsed_at IS NULL
             RETURNING user_id",
        )
        .bind(self.challenge.as_bytes().as_slice())
        .bind(int(batch.now.millis()))
        .fetch_optional(&mut *batch.conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let user = id(&row, "user_id", UserId::from_slice)?;
        for effect in &self.effects {
            if effect_refusal(batch, user, *effect).await?.is_none() {
                apply(batch, user, *effect).await?;
            }
        }
        batch.record(&self.audit);
        Ok(Some(user))
    }

    fn committed(self, done: &Option<UserId>, memory: &Memory) {
        let Some(user) = *done else { return };
        collect(memory, self.challenge, Collect::Lapsed);
        if self.effects.iter().any(Effect::changes_user) {
            memory.people.forget(&Stale::User(user));
        }
    }
}

/// Notes in memory that an approval can't be redeemed any more.
pub(crate) fn collect(memory: &Memory, id: ChallengeId, collect: Collect) {
    memory.records.update(id, |record| {
        if let State::Decided(decided) = &mut record.state {
            decided.collect = collect;
        }
    });
}
