//! After a decision is durable: the hot state forgets the challenge, waiters wake, cards disappear.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::audit::{Entry, Event};
use domain::challenge::{Challenge, Decided, Decision, Proof, State};
use domain::guard::AlertKind;
use ports::{Hint, Settle, Settled, StoreError};

use crate::live::Outcome;
use crate::{App, Call};

/// The audit entry of a decision.
pub(crate) fn decided_entry(
    challenge: &Challenge,
    decision: Decision,
    proof: Option<Proof>,
) -> Entry {
    Entry::new(challenge.tenant, Event::ChallengeDecided).with(|public| {
        public.challenge = Some(challenge.id);
        public.user = Some(challenge.user);
        public.integration = Some(challenge.integration);
        public.decision = Some(decision);
        public.factor = proof.map(Proof::method);
        public.mode = Some(challenge.mode);
        public.device = proof.and_then(Proof::device);
    })
}

/// A settle without proof or effects: cancelled, superseded.
pub(crate) fn plain(challenge: &Challenge, decision: Decision) -> Settle {
    Settle {
        challenge: challenge.id,
        decision,
        proof: None,
        after_expiry: false,
        device: None,
        effects: Vec::new(),
        audit: decided_entry(challenge, decision, None),
        alerts: Vec::new(),
    }
}

/// What alerts are about.
fn kinds(alerts: &[Entry]) -> Vec<AlertKind> {
    alerts.iter().filter_map(|entry| Some(entry.public.alert?.kind)).collect()
}

impl App {
    /// Settles decisions and tells everybody. Answers in the order of `items`.
    pub(crate) async fn settle_and_tell(
        &self,
        call: &mut Call,
        items: Vec<(Arc<Challenge>, Settle)>,
    ) -> Result<Vec<Settled>, StoreError> {
        let (challenges, items): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        let told: Vec<_> = items.iter().map(|item| kinds(&item.alerts)).collect();
        let answers = self.ledger.settle(items).await?;
        let mut settled: Vec<(&Arc<Challenge>, Outcome)> = Vec::with_capacity(answers.len());
        for ((challenge, answer), told) in challenges.iter().zip(&answers).zip(told) {
            if let Settled::Settled(decided) = answer {
                let (id, decided) = (challenge.id, Some(*decided));
                settled.push((challenge, Outcome { id, decided, told }));
            }
        }
        settled.sort_by_key(|(challenge, _)| (challenge.tenant, challenge.user));
        for one in settled.chunk_by(|(a, _), (b, _)| (a.tenant, a.user) == (b.tenant, b.user)) {
            self.forget(call, one).await;
        }
        for (challenge, outcome) in settled {
            if let Some(decided) = outcome.decided {
                self.tell_decided(challenge, decided);
            }
        }
        Ok(answers)
    }

    /// Takes decided challenges of one user out of the hot state. What fails here heals at the next load,
    /// because the cell still lists them.
    async fn forget(&self, call: &mut Call, settled: &[(&Arc<Challenge>, Outcome)]) {
        let Some((first, _)) = settled.first() else {
            return;
        };
        let (tenant, user) = (first.tenant, first.user);
        let outcomes: Vec<Outcome> = settled.iter().map(|(_, outcome)| outcome.clone()).collect();
        let applied = match self.hot.load(tenant, user).await {
            Ok(hot) => self.apply_outcomes(call, tenant, user, hot, &outcomes).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = applied {
            tracing::warn!(%error, "decided challenges stay in hot state until the next load");
        }
    }

    /// Wakes waiters and takes the card from the user's devices.
    pub(crate) fn tell_decided(&self, challenge: &Challenge, decided: Decided) {
        let count = &self.decided[usize::from(decided.decision.code()) - 1];
        count.fetch_add(1, Ordering::Relaxed);
        self.courier.wake(challenge.id);
        if challenge.reaches_devices() {
            let hint = Hint::Settled(challenge.id, State::Decided(decided));
            self.courier.tell_user(challenge.tenant, challenge.user, hint);
        }
    }
}
