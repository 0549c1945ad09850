//! Create: one request, one challenge; the same for users who don't exist.

mod check;

use std::sync::Arc;
use std::time::Duration;

use domain::audit::{Cause, Entry, Event, Judgement};
use domain::challenge::{Challenge, Decision, Methods, Mode, Purpose, State};
use domain::cookie::{CookieId, DeviceCookie};
use domain::create::{Detail, Plan, Slot};
use domain::directory::UserRecord;
use domain::guard::{self, Alert, Around, Asker, Facts, Familiarity, Verdict, seconds};
use domain::number::Number;
use ports::{
    Hint, HotChange, HotError, HotUser, MacKey, Open, Opened, Replay, ReplayKey, SealFor,
    StoreError, UserRef,
};
use statement::{ChallengeId, TenantId, Timestamp, UserId};

pub use self::check::MAX_AGENT;
use self::check::Wanted;
pub(crate) use self::check::session_hash;
use crate::document::Document;
use crate::guarding::{self, About, Seat, judgement};
use crate::live::{MAX_TRIES, Outcome};
use crate::settle::plain;
use crate::shadow::{Beside, Differs};
use crate::{App, Call, Caller, ChallengeView, Error};

/// How old an asserted first factor may be.
pub const FIRST_FACTOR_LIFE: Duration = Duration::from_secs(10 * 60);
/// The status of a merge's reply, under which its id is remembered.
const MERGED: u16 = 200;

/// That the caller checked a first factor, and when.
#[derive(Clone, Debug)]
pub struct FirstFactor {
    /// Which, in the caller's words: `password`, `windows_hello`, ..
    pub method: String,
    /// When.
    pub at: Timestamp,
}

/// What the caller tells of the browser.
#[derive(Clone, Default)]
pub struct RequestContext {
    /// Random, made by the caller, one per browser session: 22 to 128 of `[A-Za-z0-9_-]`.
    pub browser_session: String,
    /// The browser's address.
    pub ip: Option<std::net::IpAddr>,
    /// Its `User-Agent`.
    pub user_agent: Option<String>,
    /// The device cookie that an earlier redeem gave it.
    pub device_cookie: Option<String>,
}

/// A request for a challenge.
#[derive(Clone)]
pub struct CreateRequest {
    /// Who is asked.
    pub user: UserRef,
    /// Where the sign-in happens.
    pub context: RequestContext,
    /// The first factor that was checked.
    pub first_factor: Option<FirstFactor>,
    /// Why; the integration's registered purpose if absent.
    pub purpose: Option<Purpose>,
    /// The ways to pass; all registered ones if absent.
    pub methods: Option<Methods>,
    /// How long it lives; 90 s if absent.
    pub ttl: Option<Duration>,
    /// What the person should see.
    pub details: Vec<Detail>,
    /// Where the browser goes back to from the challenge's hosted page, if it is to have one.
    pub return_url: Option<String>,
    /// The number, if whoever asks shows one of their own: only integrations that are registered so, and those
    /// always. It never reaches a device.
    pub number: Option<Number>,
}

/// A challenge as its caller gets it: the only place where the number appears.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its state.
    pub view: ChallengeView,
    /// The number to show; `None` once decided.
    pub number: Option<Number>,
    /// How many digits it has.
    pub digits: u8,
    /// The ways to pass: requested and registered ones.
    pub methods: Methods,
    /// Whether it was open already: the same browser session asked for the same thing.
    pub merged: bool,
    /// Whether it repeats what an earlier request with the same idempotency key got.
    pub replayed: bool,
}

/// Who is asked: somebody, or the stand-in of an unknown name.
pub(crate) struct Target {
    pub(crate) id: UserId,
    name: String,
    record: Option<Arc<UserRecord>>,
}

impl App {
    /// Creates a challenge, or returns the one that the same browser session has open for the same thing.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::UserUnknown`] and [`Error::NotEnrolled`] only to integrations that may
    /// know; [`Error::OtherRequest`]; [`Error::Store`].
    pub async fn create_challenge(
        &self,
        call: &mut Call,
        caller: &Caller,
        request: CreateRequest,
        replay: Option<ReplayKey>,
    ) -> Result<Created, Error> {
        let wanted = check::check(call.now, caller, &request, &*self.places)?;
        // before anything is looked up: who is asked has no say in it
        let _making = self.admission.enter().ok_or(StoreError::Overloaded)?;
        if let Some(created) = self.replayed(call, caller, replay).await? {
            return Ok(created);
        }
        self.meet(caller).await?;
        self.check_brought(caller, request.number.as_ref())?;
        let known = request.first_factor.is_some() || caller.has_key();
        let target = self.target(caller, &request.user, known).await?;
        let cookie = self.valid_cookie(call.now, caller, &target, &request.context);
        for _ in 0..MAX_TRIES {
            let hot = self.load_user(call, caller.tenant(), target.id).await?;
            let (wanted, target, brought) = (&wanted, &target, request.number.as_ref());
            let attempt = Attempt { caller, wanted, target, cookie, replay, brought };
            if let Some(created) = self.try_create(call, &attempt, hot).await? {
                return Ok(created);
            }
        }
        Err(StoreError::Overloaded.into())
    }

    /// Whether a number comes with the request exactly where one must, of as many digits as one drawn here.
    fn check_brought(&self, caller: &Caller, number: Option<&Number>) -> Result<(), Error> {
        let integration = caller.integration();
        match (number, integration.protocol.brings_number()) {
            (None, false) => Ok(()),
            (Some(_), false) => Err(Error::invalid("number", "is drawn here")),
            (number, true) => {
                // whoever brings one has no browser that could be familiar
                let rules = self.rules(integration.tenant, Some(integration.id));
                let digits = rules.digits_for(Familiarity::Nowhere);
                if number.is_some_and(|number| number.len() == digits) {
                    return Ok(());
                }
                Err(Error::invalid("number", format!("must be {digits} digits")))
            }
        }
    }

    async fn replayed(
        &self,
        call: &mut Call,
        caller: &Caller,
        replay: Option<ReplayKey>,
    ) -> Result<Option<Created>, Error> {
        let Some(key) = replay else { return Ok(None) };
        match self.ledger.recall(key).await? {
            None => Ok(None),
            Some(Replay::Challenge(id)) => {
                self.created_again(call, caller, id, false).await.map(Some)
            }
            // a merge: see `merge`
            Some(Replay::Reply { body: Some(id), .. }) => {
                let id = id.parse().map_err(|_| Error::OtherRequest)?;
                self.created_again(call, caller, id, true).await.map(Some)
            }
            Some(Replay::OtherRequest | Replay::Reply { body: None, .. }) => {
                Err(Error::OtherRequest)
            }
        }
    }

    /// A challenge that exists, as its creator sees it.
    async fn created_again(
        &self,
        call: &mut Call,
        caller: &Caller,
        id: ChallengeId,
        merged: bool,
    ) -> Result<Created, Error> {
        let (challenge, view) = self.own_challenge(call, caller, id).await?;
        let number = match view.state {
            State::Pending => Some(self.number_of(&challenge)?),
            State::Decided(_) => None,
        };
        let (digits, methods) = (challenge.digits, challenge.methods);
        Ok(Created { view, number, digits, methods, merged, replayed: true })
    }

    /// Who is meant. `known`: it is the integration that asks. Otherwise it is whoever opened a page in its name, and
    /// isn't told who exists.
    pub(crate) async fn target(
        &self,
        caller: &Caller,
        user: &UserRef,
        known: bool,
    ) -> Result<Target, Error> {
        let tenant = caller.tenant();
        let reveal = known && caller.integration().reveal_users;
        match (self.directory.user(tenant, user.clone()).await?, user) {
            (Some(record), _) if reveal && !record.is_enrolled() => Err(Error::NotEnrolled),
            (Some(record), _) => Ok(Target {
                id: record.user.id,
                name: record.user.name.clone(),
                record: Some(record),
            }),
            (None, _) if reveal => Err(Error::UserUnknown),
            // an id that is unknown here may be somebody's in another tenant: it is never used itself
            (None, UserRef::Id(id)) => self.nobody(tenant, id.to_string()).await,
            (None, UserRef::Name(name)) => self.nobody(tenant, name.clone()).await,
        }
    }

    /// The stand-in of somebody whom the tenant doesn't know.
    async fn nobody(&self, tenant: TenantId, name: String) -> Result<Target, Error> {
        let parts: [&[u8]; 2] = [tenant.as_bytes(), name.as_bytes()];
        let mac = self.vault.mac(MacKey::UnknownUser, &parts);
        let mut id = [0; UserId::LEN];
        id.copy_from_slice(&mac[..UserId::LEN]);
        let id = UserId::from_bytes(id);
        // there is nobody to find, but to find somebody takes time
        self.directory.user(tenant, UserRef::Id(id)).await?;
        Ok(Target { id, name, record: None })
    }

    fn valid_cookie(
        &self,
        now: Timestamp,
        caller: &Caller,
        target: &Target,
        context: &RequestContext,
    ) -> Option<CookieId> {
        use subtle::ConstantTimeEq as _;
        let (cookie, mac) = DeviceCookie::decode(context.device_cookie.as_deref()?)?;
        let bytes = cookie.signed_bytes(caller.tenant(), target.id, caller.integration().id);
        let right: bool = self.vault.mac(MacKey::DeviceCookie, &[&bytes]).ct_eq(&mac).into();
        let record = target.record.as_ref()?;
        let counts = right
            && cookie.is_current(record.user.epoch, now)
            && !record.killed_cookies.contains(&cookie.id);
        counts.then_some(cookie.id)
    }

    /// One try against one version of the hot state; `None` if the state moved on.
    async fn try_create(
        &self,
        call: &mut Call,
        attempt: &Attempt<'_>,
        hot: HotUser,
    ) -> Result<Option<Created>, Error> {
        let Attempt { caller, wanted, target, cookie, .. } = *attempt;
        let tenant = caller.tenant();
        let slot = Slot {
            integration: caller.integration().id,
            session: wanted.session,
            request: wanted.request,
        };
        let cookie = cookie.as_ref().map(<[u8; 16]>::as_slice);
        let (origin, asker) = self.origin(caller, target.id, &wanted.place, cookie);
        let facts = Facts {
            enrolled: target.record.as_ref().is_some_and(|record| record.is_enrolled()),
            first_factor: wanted.first_factor,
            methods: wanted.methods,
            purpose: wanted.purpose,
            origin,
            session: Some(session_tag(&wanted.session)),
            break_glass: target.record.as_ref().is_some_and(|record| record.user.break_glass),
            around: Around::default(),
        };
        let (plan, facts, seat) = self.plan(caller, (&hot, &slot), (facts, asker), call.now);
        match plan {
            Plan::Merge(open) => self.merge(call, attempt, open).await,
            Plan::New { verdict, supersedes, forgets } => {
                let shadow = self.shadow_create(tenant, (&hot, &slot), (&facts, asker), call.now);
                let superseded = self.supersede(&hot, &supersedes).await?;
                let new = New { verdict, shadow, superseded, forgets, facts, asker, seat };
                self.open_new(call, attempt, hot, new).await
            }
        }
    }

    /// Gives an open challenge again. If it was decided while its removal from hot state was under way, the
    /// state is brought up to date and the request planned anew. Under a replay key its id is kept as the
    /// reply, so that the replay is of this challenge even after it was decided.
    async fn merge(
        &self,
        call: &mut Call,
        attempt: &Attempt<'_>,
        open: Arc<Challenge>,
    ) -> Result<Option<Created>, Error> {
        let caller = attempt.caller;
        let created = self.created_again(call, caller, open.id, true).await?;
        if let State::Decided(decided) = created.view.state {
            let (tenant, user) = (open.tenant, open.user);
            let hot = self.hot.load(tenant, user).await?;
            let outcome = Outcome { id: open.id, decided: Some(decided), told: Vec::new() };
            // boxed, because it is rare and large
            Box::pin(self.apply_outcomes(call, tenant, user, hot, &[outcome])).await?;
            return Ok(None);
        }
        if let Some(key) = attempt.replay {
            let id = open.id.to_string();
            self.ledger.remember(key, MERGED, Some(id)).await?;
        }
        Ok(Some(created))
    }

    /// Ends the session's older challenges before the new one exists, so that two of one slot are never
    /// approvable at once. Returns them with what they ended as.
    async fn supersede(
        &self,
        hot: &HotUser,
        ids: &[ChallengeId],
    ) -> Result<Vec<Superseded>, Error> {
        let older: Vec<Arc<Challenge>> =
            hot.live.iter().filter(|c| ids.contains(&c.id)).map(Arc::clone).collect();
        if older.is_empty() {
            return Ok(Vec::new());
        }
        let items = older.iter().map(|c| plain(c, Decision::Superseded)).collect();
        let answers = self.ledger.settle(items).await?;
        let ended = older.into_iter().zip(answers).map(|(challenge, answer)| match answer {
            ports::Settled::Settled(decided) => {
                self.tell_decided(&challenge, decided);
                (challenge, Some(decided))
            }
            ports::Settled::Already(decided) => (challenge, Some(decided)),
            _ => (challenge, None),
        });
        Ok(ended.collect())
    }

    /// The numbers of a user's challenges that stay open.
    fn taken(&self, hot: &HotUser, superseded: &[Superseded], now: Timestamp) -> Vec<Number> {
        let gone = |id: &ChallengeId| superseded.iter().any(|(c, _)| c.id == *id);
        let stays = hot.live.iter().filter(|c| !c.is_past(now) && !gone(&c.id));
        self.numbers_of(stays).into_iter().map(|(_, number)| number).collect()
    }

    async fn open_new(
        &self,
        call: &mut Call,
        attempt: &Attempt<'_>,
        hot: HotUser,
        new: New<'_>,
    ) -> Result<Option<Created>, Error> {
        let Attempt { caller, wanted, target, replay, brought, .. } = *attempt;
        let New { mut verdict, mut shadow, superseded, forgets, facts, asker, mut seat } = new;
        let taken = self.taken(&hot, &superseded, call.now);
        let cause = brought.map(|brought| cause_of(brought, &taken));
        if cause == Some(Cause::NumberTaken) {
            (verdict.mode, shadow) = (Mode::Decoy, None);
        }
        let (challenge, number) = self.make(call, attempt, &verdict, &taken);
        let challenge = Arc::new(challenge);
        let policy = self.policy(caller.tenant(), caller.integration().id);
        let cell = without(policy, hot.cell.clone(), &superseded);
        let (cell, raised) = cell.open(policy, &challenge, &facts, asker, &verdict);
        let level = cell.memory.level(policy, seconds(call.now));
        let score = cell.memory.shown_score(policy);
        let verdict = Verdict { level, score, ..verdict };
        let raised: Vec<Alert> = verdict.alerts.iter().copied().chain(raised).collect();
        let shadow = shadow.and_then(|shadow| shadow.unlike(&verdict, &raised));
        let mut alerts = cell.memory.grounded(policy, raised, seconds(call.now));
        let past = hot.live.iter().filter(|c| c.is_past(call.now)).map(|c| c.id);
        let change = HotChange {
            tenant: caller.tenant(),
            user: target.id,
            version: hot.version,
            cell,
            add: vec![Arc::clone(&challenge)],
            remove: past.chain(superseded.iter().map(|(c, _)| c.id)).chain(forgets).collect(),
            op_id: call.random(),
            derived: false,
        };
        let committed = match self.hot.commit(change).await {
            Ok(committed) => committed,
            Err(HotError::Conflict(_)) => return Ok(None),
            Err(HotError::Store(error)) => return Err(error.into()),
        };
        alerts.extend(seat.alerts());
        let about = About::challenge(&challenge);
        let alerts = guarding::raise(about, alerts, Some(&wanted.client));
        let judged = judgement(&facts, &verdict, wanted.ttl);
        let is_shadowed = shadow.is_some();
        let audit = created_entry(attempt, &challenge, &verdict, judged)
            .with(|public| (public.shadow, public.cause) = (shadow, cause.map(String::from)));
        let (opens, rider) = (Arc::clone(&challenge), committed.rider);
        let open = Open { challenge: opens, replay, audit, alerts, rider };
        if seat.keep(self.ledger.open(open)).await? == Opened::Replayed {
            return self.replayed(call, caller, replay).await;
        }
        if is_shadowed {
            self.shadowed.note(Differs::Create);
        }
        self.note_silent(&challenge, &wanted.place);
        if challenge.mode == Mode::Ring {
            let hint = Hint::Prompt(Arc::clone(&challenge));
            self.courier.tell_user(challenge.tenant, challenge.user, hint);
        }
        Ok(Some(Created {
            view: ChallengeView::pending(&challenge),
            number: Some(number),
            digits: challenge.digits,
            methods: challenge.methods,
            merged: false,
            replayed: false,
        }))
    }

    /// Puts a challenge together. The number is drawn last, so that all bytes that reach a device are the
    /// same whatever it is.
    fn make(
        &self,
        call: &mut Call,
        attempt: &Attempt<'_>,
        verdict: &Verdict,
        taken: &[Number],
    ) -> (Challenge, Number) {
        let Attempt { caller, wanted, target, cookie, brought, .. } = *attempt;
        let integration = caller.integration();
        let parts: [&[u8]; 2] = [integration.tenant.as_bytes(), target.id.as_bytes()];
        let shard = self.vault.mac(MacKey::Shard, &parts);
        let shard = u16::from_be_bytes([shard[0], shard[1]]);
        let id = ChallengeId::new(call.now, shard, call.random());
        let expires = call.now.plus(wanted.ttl);
        let rules = self.rules(integration.tenant, Some(integration.id));
        let digits = brought.map_or_else(|| rules.digits_for(verdict.familiarity), Number::len);
        let document = Document {
            id,
            integration,
            user: target.id,
            user_name: &target.name,
            origin: self.settings.public_url.as_str(),
            session: wanted.session,
            created: call.now,
            expires,
            nonce: call.random(),
            purpose: wanted.purpose,
            digits,
            client: &wanted.client,
            browser: wanted.browser.clone(),
            details: &wanted.details,
        }
        .encode();
        let (signing_key, signature) = self.vault.sign_challenge(&document);
        let draw = || Number::draw(&mut *call.rng, digits, taken);
        let number = brought.cloned().unwrap_or_else(draw);
        let seal_for = SealFor::Number(integration.tenant, id);
        let challenge = Challenge {
            id,
            tenant: integration.tenant,
            integration: integration.id,
            user: target.id,
            session: wanted.session,
            request: wanted.request,
            purpose: wanted.purpose,
            methods: wanted.methods,
            digits,
            mode: verdict.mode,
            created: call.now,
            expires,
            number: self.vault.seal(seal_for, number.as_str().as_bytes()),
            document,
            signature: signature.to_vec(),
            signing_key,
            first_factor: wanted.first_factor,
            cookie,
            familiarity: verdict.familiarity,
            returns: wanted.returns,
        };
        (challenge, number)
    }
}

/// An older challenge, and what it ended as.
type Superseded = (Arc<Challenge>, Option<domain::challenge::Decided>);

/// A challenge that is to be made, with what it stands on.
struct New<'a> {
    verdict: Verdict,
    shadow: Option<Beside>,
    superseded: Vec<Superseded>,
    forgets: Vec<ChallengeId>,
    facts: Facts,
    asker: Asker,
    seat: Seat<'a>,
}

/// What one try to create stands on.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    caller: &'a Caller,
    wanted: &'a Wanted,
    target: &'a Target,
    cookie: Option<CookieId>,
    replay: Option<ReplayKey>,
    brought: Option<&'a Number>,
}

fn created_entry(
    attempt: &Attempt<'_>,
    challenge: &Challenge,
    verdict: &Verdict,
    judged: Judgement,
) -> Entry {
    Entry::new(challenge.tenant, Event::ChallengeCreated)
        .with(|public| {
            public.challenge = Some(challenge.id);
            public.user = Some(challenge.user);
            public.integration = Some(challenge.integration);
            public.mode = Some(challenge.mode);
            public.purpose = Some(challenge.purpose);
            public.reasons.clone_from(&verdict.reasons);
            public.guard = Some(judged);
        })
        .privately(|private| {
            private.name = Some(attempt.target.name.clone());
            attempt.wanted.client.note(private);
            private.agent.clone_from(&attempt.wanted.browser);
        })
}

/// What the log says of a number that came with the request. One that another open challenge has can't be typed:
/// it would answer either. Nor is it refused: that would tell what the other's number is.
fn cause_of(brought: &Number, taken: &[Number]) -> Cause {
    let is_taken = taken.iter().any(|one| one.matches(brought.as_str()));
    if is_taken { Cause::NumberTaken } else { Cause::NumberByClient }
}

/// A cell with what superseded challenges came to.
fn without(policy: &guard::Policy, cell: guard::Cell, superseded: &[Superseded]) -> guard::Cell {
    superseded.iter().fold(cell, |cell, (older, decided)| {
        let applied = decided.and_then(|d| cell.clone().settle(policy, older.id, &d, false));
        applied.map_or(cell, |(cell, ..)| cell)
    })
}

/// The first bytes of a session's hash: enough to know the one that just rang.
fn session_tag(session: &[u8; 32]) -> u32 {
    u32::from_be_bytes([session[0], session[1], session[2], session[3]]).max(1)
}
