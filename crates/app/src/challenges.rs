//! Looking at a challenge, waiting for it, taking it back.

use std::sync::Arc;

use domain::challenge::{Challenge, Collect, Decided, Decision, Method, State};
use ports::{BoxFuture, LedgerRecord, Settled};
use statement::{ChallengeId, Timestamp};
use subtle::ConstantTimeEq as _;

use crate::create::session_hash;
use crate::settle::plain;
use crate::{App, Call, Caller, Error};

/// A challenge as its integration sees it. Says nothing of how, or whether, it reached anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeView {
    /// Which.
    pub id: ChallengeId,
    /// Where it stands.
    pub state: State,
    /// What passed it.
    pub factor: Option<Method>,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// Whether its approval was redeemed.
    pub redeemed: bool,
    /// Whether its approval can no longer be redeemed.
    pub lapsed: bool,
}

impl ChallengeView {
    pub(crate) const fn pending(challenge: &Challenge) -> Self {
        Self {
            id: challenge.id,
            state: State::Pending,
            factor: None,
            expires: challenge.expires,
            redeemed: false,
            lapsed: false,
        }
    }

    fn of(challenge: &Challenge, state: State, now: Timestamp) -> Self {
        let State::Decided(decided) = state else {
            return Self::pending(challenge);
        };
        let Decided { decision, proof, collect, .. } = decided;
        let approved = decision == Decision::Approved;
        let lapsed = match collect {
            Collect::Open => decided.window_closed(now),
            Collect::Lapsed => true,
            Collect::Redeemed => false,
        };
        Self {
            id: challenge.id,
            state,
            factor: proof.map(domain::challenge::Proof::method).filter(|_| approved),
            expires: challenge.expires,
            redeemed: collect == Collect::Redeemed,
            lapsed: approved && lapsed,
        }
    }
}

/// A look at a challenge, and a wake-up for its next change.
pub struct Watch {
    /// Where it stands now.
    pub view: ChallengeView,
    /// Resolves at the next change; `None` if it is decided, or too many wait.
    pub change: Option<BoxFuture<'static, ()>>,
}

impl App {
    /// Where a challenge of the caller's stands.
    ///
    /// # Errors
    /// [`Error::NotFound`] for unknown and foreign ones alike; [`Error::Store`].
    pub async fn challenge(
        &self,
        call: &mut Call,
        caller: &Caller,
        id: ChallengeId,
    ) -> Result<ChallengeView, Error> {
        self.own_challenge(call, caller, id).await.map(|(_, view)| view)
    }

    /// Like [`App::challenge`], with a wake-up that was set before the look, so that no change is missed.
    ///
    /// # Errors
    /// As [`App::challenge`].
    pub async fn watch_challenge(
        &self,
        call: &mut Call,
        caller: &Caller,
        id: ChallengeId,
    ) -> Result<Watch, Error> {
        let change = self.courier.wait(id);
        let view = self.challenge(call, caller, id).await?;
        let change = change.filter(|_| view.state == State::Pending);
        Ok(Watch { view, change })
    }

    /// Like [`App::watch_challenge`], for whoever holds the browser session that it was created for.
    ///
    /// # Errors
    /// As [`App::challenge`]; [`Error::NotFound`] with another session too, which isn't counted.
    pub async fn watch_session(
        &self,
        call: &mut Call,
        caller: &Caller,
        id: ChallengeId,
        browser_session: &str,
    ) -> Result<Watch, Error> {
        let session = session_hash(browser_session).map_err(|_| Error::NotFound)?;
        let change = self.courier.wait(id);
        let (challenge, view) = self.own_challenge(call, caller, id).await?;
        if !bool::from(challenge.session.ct_eq(&session)) {
            return Err(Error::NotFound);
        }
        let change = change.filter(|_| view.state == State::Pending);
        Ok(Watch { view, change })
    }

    /// Takes a challenge back. One that is decided already stays as it is.
    ///
    /// # Errors
    /// As [`App::challenge`].
    pub async fn cancel_challenge(
        &self,
        call: &mut Call,
        caller: &Caller,
        id: ChallengeId,
    ) -> Result<ChallengeView, Error> {
        let (challenge, view) = self.own_challenge(call, caller, id).await?;
        if view.state != State::Pending {
            return Ok(view);
        }
        let item = plain(&challenge, Decision::Cancelled);
        let answers = self.settle_and_tell(call, vec![(Arc::clone(&challenge), item)]).await?;
        if answers.first() == Some(&Settled::Late) {
            self.expire(call, &challenge).await?;
        }
        self.challenge(call, caller, id).await
    }

    /// Settles as expired what is over by the ledger's clock.
    pub(crate) async fn expire(
        &self,
        call: &mut Call,
        challenge: &Arc<Challenge>,
    ) -> Result<(), Error> {
        let item = self.expiry(challenge);
        self.settle_and_tell(call, vec![(Arc::clone(challenge), item)]).await?;
        Ok(())
    }

    /// A challenge of the caller's with its state. A pending one past its time is settled as expired first,
    /// so that nobody is told of an end that another answer could still beat.
    pub(crate) async fn own_challenge(
        &self,
        call: &mut Call,
        caller: &Caller,
        id: ChallengeId,
    ) -> Result<(Arc<Challenge>, ChallengeView), Error> {
        let record = self.ledger.lookup(id).await?.ok_or(Error::NotFound)?;
        let LedgerRecord { challenge, mut state, .. } = record;
        if challenge.integration != caller.integration().id || challenge.tenant != caller.tenant() {
            return Err(Error::NotFound);
        }
        if state == State::Pending && challenge.is_past(call.now) {
            let item = self.expiry(&challenge);
            // boxed, because it is rare and large, and would be room in every look, redeem and create
            let settling = self.settle_and_tell(call, vec![(Arc::clone(&challenge), item)]);
            let answers = Box::pin(settling).await?;
            if let Some(Settled::Settled(decided) | Settled::Already(decided)) = answers.first() {
                state = State::Decided(*decided);
            }
        }
        let view = ChallengeView::of(&challenge, state, call.now);
        Ok((challenge, view))
    }
}
