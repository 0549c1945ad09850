//! Decisions: each judged alone, against what is true inside the writer's transaction.

use domain::attempts::Counter;
use domain::challenge::{Collect, Decided, Decision, State};
use ports::{Effect, Settle, Settled, StoreError};
use sqlx::Row as _;
use statement::{ChallengeId, EventId, TenantId, UserId};

use crate::attempts::{after_totp, forget, forget_totp};
use crate::audit::Prepared;
use crate::batch::Batch;
use crate::changes::hold_waits;
use crate::codec::{decode, int, uint};
use crate::memory::Memory;
use crate::people::Stale;
use crate::records::erased;
use crate::working::{Challenged, Wanted};
use crate::writer::Job;

/// Settles decisions of one user, in order.
pub(crate) struct SettleAll(Vec<(Settle, Entries)>);

/// An item's own entry, and its alerts.
type Entries = (Prepared, Vec<Prepared>);

impl SettleAll {
    pub(crate) fn new(items: Vec<Settle>) -> Result<Self, StoreError> {
        let prepare = |item: Settle| {
            let entry = Prepared::new(&item.audit)?;
            let alerts = item.alerts.iter().map(Prepared::new).collect::<Result<_, _>>()?;
            Ok((item, (entry, alerts)))
        };
        Ok(Self(items.into_iter().map(prepare).collect::<Result<_, _>>()?))
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

    fn announce(&self, wanted: &mut Wanted) {
        for (item, _) in &self.0 {
            wanted.challenges.push(item.challenge);
            wanted.devices.extend(item.device);
        }
    }

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(self.0.len());
        for (item, entries) in &self.0 {
            outcomes.push(settle(batch, item, entries).await?);
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

async fn settle(
    batch: &mut Batch<'_>,
    item: &Settle,
    (entry, alerts): &Entries,
) -> sqlx::Result<Outcome> {
    let refused = |settled| Outcome { settled, event: None, stale: None };
    let Some(mut challenged) = batch.challenge(item.challenge).await? else {
        return Ok(refused(Settled::Unknown));
    };
    if let Some(refusal) = refusal(batch, item, &challenged).await? {
        return Ok(refused(refusal));
    }
    for effect in &item.effects {
        apply(batch, (item.challenge, challenged.user), *effect).await?;
    }
    let (decision, at, proof) = (item.decision, batch.now, item.proof);
    let decided = Decided { decision, at, proof, collect: Collect::Open };
    let event = batch.record(entry);
    for alert in alerts {
        batch.record(alert);
    }
    challenged.decide(decided, event);
    let changes_user = item.effects.iter().any(Effect::changes_user);
    let stale = changes_user.then_some(challenged.user);
    batch.put_challenge(challenged);
    Ok(Outcome { settled: Settled::Settled(decided), event: Some(event), stale })
}

/// Why an item can't settle; `None` if it can.
async fn refusal(
    batch: &mut Batch<'_>,
    item: &Settle,
    challenged: &Challenged,
) -> sqlx::Result<Option<Settled>> {
    if let State::Decided(decided) = challenged.state {
        return Ok(Some(Settled::Already(decided)));
    }
    match (item.decision == Decision::Expired, batch.now >= challenged.expires) {
        (true, false) => return Ok(Some(Settled::Early)),
        (false, true) if !item.after_expiry => return Ok(Some(Settled::Late)),
        _ => {}
    }
    if let Some(device) = item.device
        && !batch.is_active(device).await?
    {
        return Ok(Some(Settled::DeviceRevoked));
    }
    for effect in &item.effects {
        if let Some(refusal) = effect_refusal(batch, challenged.user, *effect).await? {
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
        Effect::BurnStep { factor, step, .. } => {
            let row = sqlx::query(
                "SELECT last_step, locked FROM totp WHERE id = $1 AND user_id = $2 AND waits = 0",
            )
            .bind(factor.as_bytes().as_slice())
            .bind(user.as_bytes().as_slice())
            .fetch_optional(batch.conn().await?)
            .await?;
            let Some(row) = row else {
                return Ok(Some(Settled::Locked));
            };
            if row.try_get("locked")? {
                return Ok(Some(Settled::Locked));
            }
            let last = uint(row.try_get("last_step")?);
            Ok((step <= last).then_some(Settled::Replayed))
        }
        Effect::SpendCode { code } => {
            let row = sqlx::query(
                "SELECT used FROM recovery_codes WHERE user_id = $1 AND id = $2 AND wait_by IS NULL",
            )
                .bind(user.as_bytes().as_slice())
                .bind(code.as_slice())
                .fetch_optional(batch.conn().await?)
                .await?;
            let Some(row) = row else {
                return Ok(Some(Settled::Locked));
            };
            Ok(row.try_get::<bool, _>("used")?.then_some(Settled::Spent))
        }
        Effect::Reset(_)
        | Effect::KillCookie(_)
        | Effect::RaiseEpoch
        | Effect::HoldWaits
        | Effect::ForgetNobody(_) => Ok(None),
    }
}

/// Applies an effect whose condition was checked in this transaction.
async fn apply(
    batch: &mut Batch<'_>,
    (challenge, user): (ChallengeId, UserId),
    effect: Effect,
) -> sqlx::Result<()> {
    match effect {
        Effect::BurnStep { factor, step, lane, budgets } => {
            sqlx::query("UPDATE totp SET last_step = $2 WHERE id = $1")
                .bind(factor.as_bytes().as_slice())
                .bind(int(step))
                .execute(batch.conn().await?)
                .await?;
            after_totp(batch, user, lane, &budgets).await
        }
        Effect::SpendCode { code } => {
            sqlx::query("UPDATE recovery_codes SET used = 1 WHERE user_id = $1 AND id = $2")
                .bind(user.as_bytes().as_slice())
                .bind(code.as_slice())
                .execute(batch.conn().await?)
                .await?;
            forget(batch.conn().await?, Counter::RecoveryCode(user, code)).await
        }
        Effect::Reset(counter) => forget(batch.conn().await?, counter).await,
        Effect::KillCookie(cookie) => {
            sqlx::query(
                "INSERT INTO killed_cookies (user_id, cookie)
                 SELECT id, $2 FROM users WHERE id = $1 ON CONFLICT DO NOTHING",
            )
            .bind(user.as_bytes().as_slice())
            .bind(cookie.as_slice())
            .execute(batch.conn().await?)
            .await?;
            Ok(())
        }
        Effect::RaiseEpoch => raise_epoch(batch.conn().await?, user).await,
        Effect::HoldWaits => hold_waits(batch.conn().await?, user).await,
        Effect::ForgetNobody(tenant) => forget_nobody(batch, tenant, user, challenge).await,
    }
}

/// Forgets what a stand-in left behind, once the last of its challenges has ended.
async fn forget_nobody(
    batch: &mut Batch<'_>,
    tenant: TenantId,
    user: UserId,
    ending: ChallengeId,
) -> sqlx::Result<()> {
    let row = sqlx::query(
        "SELECT live FROM hot WHERE tenant = $1 AND user_id = $2
             AND NOT EXISTS (SELECT 1 FROM users WHERE id = $2)",
    )
    .bind(tenant.as_bytes().as_slice())
    .bind(user.as_bytes().as_slice())
    .fetch_optional(batch.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(()) };
    for id in row.try_get::<Vec<u8>, _>("live")?.chunks(ChallengeId::LEN) {
        let id = ChallengeId::from_slice(id).map_err(|error| decode("live", error))?;
        let other = if id == ending { None } else { batch.challenge(id).await? };
        if other.is_some_and(|other| other.state == State::Pending) {
            return Ok(());
        }
    }
    sqlx::query("DELETE FROM hot WHERE tenant = $1 AND user_id = $2")
        .bind(tenant.as_bytes().as_slice())
        .bind(user.as_bytes().as_slice())
        .execute(batch.conn().await?)
        .await?;
    forget_totp(batch.conn().await?, user).await
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
        sqlx::query(sql).bind(user.as_bytes().as_slice()).execute(&mut *conn).await?;
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
        let changes = matches!(self, Self::KillCookie(_) | Self::RaiseEpoch | Self::HoldWaits);
        self.is_conditional() || changes
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

    fn announce(&self, wanted: &mut Wanted) {
        wanted.challenges.push(self.challenge);
    }

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<Option<UserId>> {
        let Some(mut challenged) = batch.challenge(self.challenge).await? else {
            return Ok(None);
        };
        if !challenged.can_lapse() {
            return Ok(None);
        }
        let user = challenged.user;
        challenged.lapse(batch.now);
        batch.put_challenge(challenged);
        for effect in &self.effects {
            if effect_refusal(batch, user, *effect).await?.is_none() {
                apply(batch, (self.challenge, user), *effect).await?;
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
