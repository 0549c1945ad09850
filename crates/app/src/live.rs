//! A user's hot state, brought up to date with the ledger before anybody builds on it.

use std::sync::Arc;

use domain::audit::{Entry, Event};
use domain::challenge::{Challenge, Decided, Decision, Mode, State};
use domain::guard::{self, AlertKind};
use domain::number::Number;
use ports::{
    Committed, Effect, HotChange, HotError, HotUser, Rider, SealFor, Settle, Settled, StoreError,
};
use statement::{ChallengeId, TenantId, UserId};

use crate::guarding::{self, About};
use crate::{App, Call};

/// How often a change is tried anew when somebody else changed the same user first. Each try that fails
/// means that another one got through, so this many losses in a row mean a flood on one user.
pub(crate) const MAX_TRIES: usize = 64;

/// How a challenge ended that a cell lists as open.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) id: ChallengeId,
    /// `None`: it never came to be.
    pub(crate) decided: Option<Decided>,
    /// Alerts that were written with the decision.
    pub(crate) told: Vec<AlertKind>,
}

/// An outcome that was applied to a cell, and the alerts that it raised.
struct Applied {
    opened: guard::Opened,
    decided: Decided,
    alerts: Vec<guard::Raised>,
    /// Whether its time-out counts for nothing.
    forgiven: bool,
}

impl App {
    /// Loads a user's hot state. Whatever the cell lists as open but the ledger has decided, or should have,
    /// is settled and applied first: this is where a crash between two writes heals.
    pub(crate) async fn load_user(
        &self,
        call: &mut Call,
        tenant: TenantId,
        user: UserId,
    ) -> Result<HotUser, StoreError> {
        let mut hot = self.hot.load(tenant, user).await?;
        for _ in 0..MAX_TRIES {
            let outcomes = self.find_stale(call, &hot).await?;
            if outcomes.is_empty() {
                return Ok(hot);
            }
            // boxed, because it is rare and large
            hot = Box::pin(self.apply_outcomes(call, tenant, user, hot, &outcomes)).await?;
        }
        Err(StoreError::Overloaded)
    }

    /// What is listed as open or live although it isn't any more, with what it ended as. One that looks live may
    /// have been decided by somebody who never came to say so here. Decoys are looked up like the others, so that
    /// nobody can measure which one was.
    async fn find_stale(&self, call: &Call, hot: &HotUser) -> Result<Vec<Outcome>, StoreError> {
        let mut stale = Vec::new();
        // after a crash nobody knows what was told: told twice is better than never
        let found = |id, decided| Outcome { id, decided, told: Vec::new() };
        for challenge in &hot.live {
            let id = challenge.id;
            if challenge.is_past(call.now) {
                stale.push(found(id, self.outcome_of(call, id).await?));
                continue;
            }
            let record = self.ledger.lookup(id).await?;
            if let Some(State::Decided(decided)) = record.map(|record| record.state) {
                stale.push(found(id, Some(decided)));
            }
        }
        let opened = hot.cell.open.iter().map(|opened| opened.id);
        for id in opened.filter(|id| !hot.live.iter().any(|challenge| challenge.id == *id)) {
            stale.push(found(id, self.outcome_of(call, id).await?));
        }
        Ok(stale)
    }

    /// What the ledger says of a challenge that is listed although it is past or isn't live.
    async fn outcome_of(
        &self,
        call: &Call,
        id: ChallengeId,
    ) -> Result<Option<Decided>, StoreError> {
        let Some(record) = self.ledger.lookup(id).await? else {
            return Ok(None);
        };
        match record.state {
            State::Decided(decided) => Ok(Some(decided)),
            State::Pending if record.challenge.is_past(call.now) => {
                let item = self.expiry(&record.challenge);
                match self.ledger.settle(vec![item]).await?.first() {
                    Some(Settled::Settled(decided) | Settled::Already(decided)) => {
                        Ok(Some(*decided))
                    }
                    _ => Ok(None),
                }
            }
            // neither decided nor past: its open never became durable here, or another node's clock is ahead
            State::Pending => Ok(None),
        }
    }

    /// Applies outcomes to a loaded state and stores it; on a conflict, to the newest state.
    pub(crate) async fn apply_outcomes(
        &self,
        call: &mut Call,
        tenant: TenantId,
        user: UserId,
        mut hot: HotUser,
        outcomes: &[Outcome],
    ) -> Result<HotUser, StoreError> {
        for _ in 0..MAX_TRIES {
            let (cell, applied) = self.apply(tenant, &hot, outcomes);
            let remove: Vec<ChallengeId> = hot
                .live
                .iter()
                .filter(|c| {
                    c.is_past(call.now) || outcomes.iter().any(|outcome| outcome.id == c.id)
                })
                .map(|challenge| challenge.id)
                .collect();
            let change = HotChange {
                tenant,
                user,
                version: hot.version,
                cell: cell.clone(),
                add: Vec::new(),
                remove: remove.clone(),
                op_id: call.random(),
                derived: true,
            };
            match self.hot.commit(change).await {
                Ok(Committed { version, rider }) => {
                    self.flush(rider).await?;
                    let mut live = hot.live;
                    live.retain(|challenge| !remove.contains(&challenge.id));
                    self.tell_applied(tenant, user, applied).await?;
                    return Ok(HotUser { version, cell, live });
                }
                Err(HotError::Conflict(_)) => hot = self.hot.load(tenant, user).await?,
                Err(HotError::Store(error)) => return Err(error),
            }
        }
        Err(StoreError::Overloaded)
    }

    /// The cell with outcomes applied, and what follows beyond it.
    fn apply(
        &self,
        tenant: TenantId,
        hot: &HotUser,
        outcomes: &[Outcome],
    ) -> (guard::Cell, Vec<Applied>) {
        let mut cell = hot.cell.clone();
        let mut applied = Vec::new();
        for Outcome { id, decided, told } in outcomes {
            let Some(opened) = cell.opened(*id).copied() else { continue };
            let policy = self.policy(tenant, opened.integration);
            let Some(decided) = decided else {
                cell.undo(policy, *id);
                continue;
            };
            let outage = self.is_outage(tenant, decided.at);
            let settled = cell.clone().settle(policy, *id, decided, outage);
            if let Some((next, opened, mut alerts)) = settled {
                cell = next;
                alerts.retain(|alert| !told.contains(&alert.kind));
                let alerts = cell.memory.grounded(policy, alerts, guard::seconds(decided.at));
                let timed_out = decided.decision == Decision::Expired && opened.charge.weight > 0.0;
                let forgiven = outage && timed_out && opened.charge.familiarity.is_known();
                applied.push(Applied { opened, decided: *decided, alerts, forgiven });
            }
        }
        (cell, applied)
    }

    /// Once outcomes are applied: what spans users, and alerts.
    async fn tell_applied(
        &self,
        tenant: TenantId,
        user: UserId,
        applied: Vec<Applied>,
    ) -> Result<(), StoreError> {
        for Applied { opened, decided, mut alerts, forgiven } in applied {
            let entry = Entry::new(tenant, Event::TimeOutForgiven).with(|public| {
                public.challenge = Some(opened.id);
                public.user = Some(user);
                public.integration = Some(opened.integration);
                public.reasons = vec![guard::Reason::Outage];
            });
            let mut entries: Vec<Entry> = forgiven.then_some(entry).into_iter().collect();
            let policy = self.policy(tenant, opened.integration);
            alerts.extend(self.note_outcome(tenant, policy, &opened, &decided));
            let (integration, challenge) = (Some(opened.integration), Some(opened.id));
            let about = About { tenant, user, integration, challenge, device: None };
            entries.extend(guarding::raise(about, alerts, None));
            if !entries.is_empty() {
                self.ledger.record_all(entries, None).await?;
            }
        }
        Ok(())
    }

    /// Stores a commit that no ledger write carries, where the backend asks for that.
    async fn flush(&self, rider: Option<Rider>) -> Result<(), StoreError> {
        match rider {
            Some(rider) => self.hot.flush(rider).await,
            None => Ok(()),
        }
    }

    /// Stores a cell that only repeats what the ledger holds; `false` if the state moved on.
    pub(crate) async fn commit_cell(
        &self,
        call: &mut Call,
        tenant: TenantId,
        user: UserId,
        version: u64,
        cell: guard::Cell,
    ) -> Result<bool, StoreError> {
        match self.put_cell(call, (tenant, user, version), cell, true).await? {
            Some(Committed { rider, .. }) => self.flush(rider).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Stores a cell that says what nothing else does, with the entries that tell of it; `false` if the state
    /// moved on.
    pub(crate) async fn store_cell(
        &self,
        call: &mut Call,
        whose: (TenantId, UserId, u64),
        cell: guard::Cell,
        entries: Vec<Entry>,
    ) -> Result<bool, StoreError> {
        match self.put_cell(call, whose, cell, false).await? {
            Some(Committed { rider, .. }) if entries.is_empty() => {
                self.flush(rider).await.map(|()| true)
            }
            Some(Committed { rider, .. }) => {
                self.ledger.record_all(entries, rider).await.map(|()| true)
            }
            None => Ok(false),
        }
    }

    /// Changes a user's cell by what nothing else says. `change` tells what it came to, and what the audit says
    /// of it; `None`: nothing is stored. When somebody else was first it is asked again.
    pub(crate) async fn change_cell<T>(
        &self,
        call: &mut Call,
        tenant: TenantId,
        user: UserId,
        change: impl Fn(&mut guard::Cell) -> (T, Option<Vec<Entry>>),
    ) -> Result<T, StoreError> {
        for _ in 0..MAX_TRIES {
            let HotUser { version, mut cell, .. } = self.hot.load(tenant, user).await?;
            let (came_to, entries) = change(&mut cell);
            let Some(entries) = entries else { return Ok(came_to) };
            if self.store_cell(call, (tenant, user, version), cell, entries).await? {
                return Ok(came_to);
            }
        }
        Err(StoreError::Overloaded)
    }

    async fn put_cell(
        &self,
        call: &mut Call,
        (tenant, user, version): (TenantId, UserId, u64),
        cell: guard::Cell,
        derived: bool,
    ) -> Result<Option<Committed>, StoreError> {
        let (add, remove, op_id) = (Vec::new(), Vec::new(), call.random());
        let change = HotChange { tenant, user, version, cell, add, remove, op_id, derived };
        match self.hot.commit(change).await {
            Ok(committed) => Ok(Some(committed)),
            Err(HotError::Conflict(_)) => Ok(None),
            Err(HotError::Store(error)) => Err(error),
        }
    }

    /// Opens a challenge's sealed number.
    pub(crate) fn number_of(&self, challenge: &Challenge) -> Result<Number, StoreError> {
        let purpose = SealFor::Number(challenge.tenant, challenge.id);
        let plain = self
            .vault
            .open(purpose, &challenge.number)
            .map_err(|_| StoreError::Inconsistent("a challenge's number doesn't open".into()))?;
        std::str::from_utf8(&plain)
            .ok()
            .and_then(Number::parse)
            .ok_or_else(|| StoreError::Inconsistent("a challenge's number isn't digits".into()))
    }

    /// The user's other live challenges with their numbers. One whose number is gone was decided already.
    pub(crate) fn numbers_of<'a>(
        &self,
        live: impl Iterator<Item = &'a Arc<Challenge>>,
    ) -> Vec<(Arc<Challenge>, Number)> {
        live.filter_map(|challenge| Some((Arc::clone(challenge), self.number_of(challenge).ok()?)))
            .collect()
    }

    pub(crate) fn expiry(&self, challenge: &Challenge) -> Settle {
        let nobody = Effect::ForgetNobody(challenge.tenant);
        let is_decoy = challenge.mode == Mode::Decoy;
        Settle {
            challenge: challenge.id,
            decision: Decision::Expired,
            proof: None,
            after_expiry: true,
            device: None,
            effects: is_decoy.then_some(nobody).into_iter().collect(),
            audit: crate::settle::decided_entry(challenge, Decision::Expired, None),
            alerts: Vec::new(),
        }
    }
}
