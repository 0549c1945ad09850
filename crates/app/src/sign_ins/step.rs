//! What happens to a sign-in: asked, followed to its end, redeemed, handed back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use domain::challenge::{DEFAULT_TTL, Decision, MIN_TTL, State};
use ports::{BoxFuture, MacKey, StoreError, UserRef};
use statement::UserId;

use super::inviting::{Enrolling, Invitation};
use super::{Asked, End, Handle, Passed, Return, ReturnForm, SignIn, SignIns, Stage, Start, Whom};
use crate::{App, Call, Caller, CreateRequest, Created, Error, FirstFactor, RequestContext, Watch};

/// A sign-in as its own browser is shown it.
#[derive(Debug)]
pub enum Shown {
    /// The page must ask who it is.
    Unnamed,
    /// It waits for a first authenticator.
    Enrolling {
        /// How that stands.
        enrolling: Enrolling,
        /// Names it to whoever asks whether it still stands so.
        seen: String,
    },
    /// It waits for an answer.
    Waiting {
        /// What was asked.
        asked: Asked,
        /// For how long it is valid.
        left: Duration,
    },
    /// It ended.
    Over {
        /// How.
        end: End,
        /// What takes the browser back, if there is somewhere to go.
        form: Option<ReturnForm>,
        /// What the browser earned by this step: text for a cookie.
        device_cookie: Option<String>,
        /// Whether no page has taken the way back yet, see [`SignIn::leave`].
        fresh: bool,
    },
}

/// A sign-in that waits.
pub struct Waits {
    /// Names what it waits for.
    pub seen: String,
    /// For how long it is valid.
    pub left: Duration,
    /// Resolves at the next change; `None` if too many wait.
    pub change: Option<BoxFuture<'static, ()>>,
}

/// A challenge that its integration wants shown.
pub struct Hosting<'a> {
    /// What it made.
    pub created: &'a Created,
    /// What the page calls the user.
    pub called: String,
    /// What it vouches for.
    pub first_factor: Option<FirstFactor>,
    /// What leads back.
    pub back: Arc<dyn Return>,
}

impl App {
    /// Shows a challenge that its integration has just made on a page of its own. The same challenge has the same
    /// page, whoever else asks for it. Answers with the page's path.
    ///
    /// # Errors
    /// [`Error::Store`] if there are too many.
    pub fn host_challenge(
        &self,
        call: &Call,
        sign_ins: &SignIns,
        caller: &Caller,
        hosting: Hosting<'_>,
    ) -> Result<String, Error> {
        let Hosting { created, called, first_factor, back } = hosting;
        let id = created.view.id;
        let handle = self.vault.mac(MacKey::Return, &[b"page\0", id.as_bytes()]);
        let handle = Handle::derived(handle);
        // of one that is decided there is nothing to show
        if let Some(number) = created.number.clone() {
            let start = Start {
                integration: caller.integration().id,
                whom: Whom::Given,
                called,
                first_factor,
                purpose: None,
                methods: None,
                languages: None,
                within: None,
                back: Some(back),
            };
            let asked = Asked { id, number, methods: created.methods };
            if !sign_ins.show(call.now, &handle, start, asked) {
                return Err(StoreError::Overloaded.into());
            }
        }
        Ok(handle.path())
    }

    /// Moves a sign-in on as far as it goes: opening it asks the person, once; an approval is redeemed, once;
    /// an end is handed to who started it. Not to be dropped half-way: an approval that was just redeemed
    /// would be lost.
    ///
    /// # Errors
    /// [`Error::NotFound`] if its integration is gone; [`Error::UserUnknown`] and [`Error::NotEnrolled`] if it
    /// goes nowhere; [`Error::Store`]. After an error it stands where it stood.
    pub async fn step_sign_in(
        &self,
        call: &mut Call,
        sign_in: &SignIn,
        context: &RequestContext,
    ) -> Result<Shown, Error> {
        let mut stage = sign_in.stage.lock().await;
        let caller = self.page_caller(sign_in.start.integration).await?;
        if matches!(*stage, Stage::Fresh) {
            if sign_in.start.whom == Whom::Unnamed && sign_in.named().is_none() {
                return Ok(Shown::Unnamed);
            }
            *stage = self.ask(call, &caller, sign_in, context).await?;
        }
        if let Stage::Enrolling(invited) = &*stage {
            *stage = match self.invitation(call, &caller, invited).await? {
                Invitation::Open(enrolling) => {
                    let seen = invited.seen(&enrolling);
                    return Ok(Shown::Enrolling { enrolling, seen });
                }
                Invitation::Used => self.ask(call, &caller, sign_in, context).await?,
                // asked anew: another ticket may have brought an authenticator meanwhile
                Invitation::Past if self.has_enrolled(&caller, invited).await? => {
                    self.ask(call, &caller, sign_in, context).await?
                }
                Invitation::Past => Stage::Over(End::NotEnrolled, None),
            };
        }
        let mut device_cookie = None;
        if let Stage::Asked(asked) = &*stage {
            let view = self.challenge(call, &caller, asked.id).await?;
            let decided = match view.state {
                State::Pending => {
                    let left = view.expires.since(call.now);
                    return Ok(Shown::Waiting { asked: asked.clone(), left });
                }
                State::Decided(decided) => decided,
            };
            let end = match decided.decision {
                Decision::Approved if sign_in.given && view.lapsed => End::Lapsed,
                Decision::Approved if sign_in.given => End::Approved,
                Decision::Approved => {
                    let (end, cookie) = self.collect(call, &caller, asked, context).await?;
                    device_cookie = cookie;
                    end
                }
                other => End::Refused(other),
            };
            *stage = Stage::Over(end, None);
        }
        let Stage::Over(end, form) = &mut *stage else {
            return Err(Error::NotFound);
        };
        if let (None, Some(back)) = (&form, &sign_in.start.back) {
            *form = Some(back.form(call, end).await?);
        }
        let fresh = !sign_in.left.load(Ordering::SeqCst);
        Ok(Shown::Over { end: end.clone(), form: form.clone(), device_cookie, fresh })
    }

    async fn ask(
        &self,
        call: &mut Call,
        caller: &Caller,
        sign_in: &SignIn,
        context: &RequestContext,
    ) -> Result<Stage, Error> {
        let start = &sign_in.start;
        let (user, first_factor) = match &start.whom {
            Whom::User(user) => (user.clone(), start.first_factor.clone()),
            Whom::Proven { subject, may_enrol } => {
                match self.proven(call, caller, sign_in, (subject, *may_enrol)).await? {
                    Ok(user) => (UserRef::Id(user), start.first_factor.clone()),
                    Err(stage) => return Ok(stage),
                }
            }
            Whom::Unnamed => (UserRef::Name(sign_in.called()), None),
            Whom::Given => return Err(Error::NotFound),
        };
        let most = sign_in.most(call.now);
        if most.is_some_and(|most| most < MIN_TTL) {
            return Ok(Stage::Over(End::Refused(Decision::Expired), None));
        }
        // where nobody vouches for a first factor, a time of their own would tell that somebody exists
        let ttl = match first_factor {
            Some(_) => self.directory.user(caller.tenant(), user.clone()).await?,
            None => None,
        };
        let ttl = ttl.and_then(|record| record.user.ttl);
        let ttl = match most {
            Some(most) => Some(ttl.unwrap_or(DEFAULT_TTL).min(most)),
            None => ttl,
        };
        let request = CreateRequest {
            user,
            context: context.clone(),
            first_factor,
            purpose: start.purpose,
            methods: start.methods,
            ttl,
            details: Vec::new(),
            return_url: None,
            number: None,
        };
        let created = match self.create_challenge(call, caller, request, None).await {
            Ok(created) => created,
            Err(Error::UserUnknown | Error::NotEnrolled) if start.back.is_some() => {
                return Ok(Stage::Over(End::NotEnrolled, None));
            }
            Err(error) => return Err(error),
        };
        // only a replayed request is told of one that is decided
        let number = created.number.ok_or(Error::NotFound)?;
        Ok(Stage::Asked(Asked { id: created.view.id, number, methods: created.methods }))
    }

    /// The user who somebody proven is, if they can answer; else how the sign-in stands. Looked up each time that
    /// they are asked: whoever reads that they can't may have been helped before they try again.
    async fn proven(
        &self,
        call: &mut Call,
        caller: &Caller,
        sign_in: &SignIn,
        (subject, may_enrol): (&str, bool),
    ) -> Result<Result<UserId, Stage>, Error> {
        let integration = caller.integration();
        let unknown = Stage::Over(End::NotEnrolled, None);
        let Some(user) = self.linked(integration.id, subject).await? else {
            tracing::info!(subject, "somebody proven is linked to no user");
            return Ok(Err(unknown));
        };
        let record = self.directory.user(caller.tenant(), UserRef::Id(user)).await?;
        let Some(record) = record else { return Ok(Err(unknown)) };
        if record.is_enrolled() {
            let offered =
                sign_in.start.methods.map_or(integration.methods, |m| m.and(integration.methods));
            if record.methods().and(offered).is_empty() {
                // no first authenticator for somebody who has something to lose: recovery codes, or a locked factor
                tracing::info!(%user, "somebody proven has nothing that is taken here");
                return Ok(Err(Stage::Over(End::Unable, None)));
            }
            return Ok(Ok(user));
        }
        let invited = match may_enrol {
            true => self.invite(call, caller, sign_in, &record).await?,
            false => None,
        };
        Ok(Err(invited.map_or(unknown, Stage::Enrolling)))
    }

    /// Redeems an approval: how it ends, and the device cookie that it earned.
    async fn collect(
        &self,
        call: &mut Call,
        caller: &Caller,
        asked: &Asked,
        context: &RequestContext,
    ) -> Result<(End, Option<String>), Error> {
        match self.redeem(call, caller, asked.id, &context.browser_session, None).await {
            Ok(receipt) => {
                let passed = Passed::from(&receipt);
                Ok((End::SignedIn(passed), Some(receipt.device_cookie)))
            }
            Err(Error::AlreadyRedeemed) => Ok((End::Elsewhere, None)),
            Err(Error::Lapsed) => Ok((End::Lapsed, None)),
            Err(error) => Err(error),
        }
    }

    /// What a sign-in waits for, with a wake-up for its next change where there is one; `None` if it waits for
    /// nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] if its integration is gone, [`Error::Store`].
    pub async fn watch_sign_in(
        &self,
        call: &mut Call,
        sign_in: &SignIn,
    ) -> Result<Option<Waits>, Error> {
        let caller = self.page_caller(sign_in.start.integration).await?;
        if let Stage::Enrolling(invited) = &*sign_in.stage.lock().await {
            let invitation = self.invitation(call, &caller, invited).await?;
            let Invitation::Open(enrolling) = invitation else { return Ok(None) };
            let (seen, left) = (invited.seen(&enrolling), enrolling.left);
            return Ok(Some(Waits { seen, left, change: None }));
        }
        let Some(asked) = sign_in.asked().await else { return Ok(None) };
        let Watch { view, change } = self.watch_challenge(call, &caller, asked.id).await?;
        let left = view.expires.since(call.now);
        Ok((view.state == State::Pending).then_some(Waits { seen: asked.seen(), left, change }))
    }

    /// Tries a code on a sign-in. Where nobody is asked, or no longer, it does nothing.
    ///
    /// # Errors
    /// [`Error::CodeWrong`]; [`Error::NotFound`] if its integration is gone; [`Error::Store`].
    pub async fn sign_in_code(
        &self,
        call: &mut Call,
        sign_in: &SignIn,
        code: &str,
    ) -> Result<(), Error> {
        if let Some(asked) = sign_in.asked().await {
            let caller = self.page_caller(sign_in.start.integration).await?;
            self.submit_code(call, &caller, asked.id, code).await?;
        }
        Ok(())
    }

    /// Takes a sign-in's challenge back, or the ticket on its page.
    ///
    /// # Errors
    /// [`Error::NotFound`] if its integration is gone, [`Error::Store`].
    pub async fn cancel_sign_in(&self, call: &mut Call, sign_in: &SignIn) -> Result<(), Error> {
        let mut stage = sign_in.stage.lock().await;
        if let Stage::Enrolling(invited) = &*stage {
            self.uninvite(invited).await?;
            // whoever cancels is asked nothing more, whatever came of other tickets
            *stage = Stage::Over(End::NotEnrolled, None);
            return Ok(());
        }
        drop(stage);
        if let Some(asked) = sign_in.asked().await {
            let caller = self.page_caller(sign_in.start.integration).await?;
            self.cancel_challenge(call, &caller, asked.id).await?;
        }
        Ok(())
    }
}

impl SignIn {
    async fn asked(&self) -> Option<Asked> {
        self.stage.lock().await.asked().cloned()
    }

    /// Takes the way back, for a page that is about to go by itself; `false` if another one has. So of several tabs
    /// one goes, and who comes back with the browser's button isn't sent off again. People may press the button as often
    /// as they like: what the form holds works once.
    #[must_use]
    pub fn leave(&self) -> bool {
        !self.left.swap(true, Ordering::SeqCst)
    }

    /// Makes room for another challenge, once one has ended without a sign-in.
    pub async fn retry(&self) {
        let mut stage = self.stage.lock().await;
        match &*stage {
            _ if self.given => {}
            Stage::Over(
                End::Elsewhere | End::Lapsed | End::Refused(_) | End::NotEnrolled | End::Unable,
                _,
            ) => {
                *stage = Stage::Fresh;
                self.left.store(false, Ordering::SeqCst);
                // it may have been the wrong name
                *self.named.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            Stage::Over(End::SignedIn(_) | End::Approved, _)
            | Stage::Fresh
            | Stage::Enrolling(_)
            | Stage::Asked(_) => {}
        }
    }
}
