//! An account's connection to its server: login, cards, answers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use rand::CryptoRng;
use statement::{Answer, ChallengeId, Login, SigningKey, Timestamp, typed_number};
use wire::device::{self as proto, CloseCode, client_frame, server_frame};

use crate::account::Totp;
use crate::backoff::Backoff;
use crate::event::Frame;
use crate::hello::Hello;
use crate::text::plain;
use crate::{
    Account, AnswerError, AnswerOutcome, Card, Choice, Decision, Event, Fault, Next, Notice,
    NoticeKind, Output, PromptFault, Stop,
};

/// How many challenges are remembered in full, ended ones included. A server shows up to 46 of one user, unless its policy
/// says otherwise; whoever asks it again and again may hold as many more that have given way meanwhile.
pub const MAX_CARDS: usize = 64;
/// How many ids are remembered after that, so that a late frame doesn't bring a card back.
const MAX_FORGOTTEN: usize = 256;
/// How long a card outlives its own time while the server's word on it is awaited.
const GRACE: Duration = Duration::from_secs(10);
/// How long the server grants a new TOTP secret to a device that has approved.
const REBIND_WINDOW: Duration = Duration::from_secs(10 * 60);
/// A connection that was logged in for so long was good: the next wait starts over.
const HEALTHY: Duration = Duration::from_secs(30);
/// First wait before an answer that wasn't stored is sent again; doubles up to three times.
const RESEND: Duration = Duration::from_secs(1);
/// The longest text of a notice that is shown, in characters.
const MAX_NOTICE: usize = 200;

enum Phase {
    /// No socket.
    Closed,
    /// Waiting for the server's hello.
    Greeting,
    /// The login is sent.
    LoggingIn(Hello),
    /// Logged in, since then.
    Online(Hello, Duration),
}

/// What the person said to a challenge, until the server has said what became of it.
struct Pending {
    choice: Choice,
    user_verified: bool,
    tries: u32,
    /// When to send it again; `None` while it is on its way or the connection is down.
    resend_at: Option<Duration>,
}

enum Standing {
    Open,
    /// Answered rightly, not released.
    Withheld,
    /// Over. `told` once a [`Event::Settled`] was emitted.
    Ended {
        told: bool,
    },
}

struct Entry {
    card: Card,
    /// When the server sent it last: each pull brings all that it still shows.
    sent_at: Duration,
    /// The challenge bytes as received: what an answer signs.
    document: Bytes,
    standing: Standing,
    pending: Option<Pending>,
}

/// The connection of one account, over as many sockets as needed. Cards outlive sockets, so that a challenge that
/// is sent again after a reconnect isn't shown again.
pub struct Connection {
    account: Account,
    key: SigningKey,
    agent: String,
    phase: Phase,
    entries: BTreeMap<ChallengeId, Entry>,
    looked_at: Option<ChallengeId>,
    forgotten: VecDeque<ChallengeId>,
    outputs: VecDeque<Output<Event>>,
    backoff: Backoff,
    retry_after: Duration,
    wants_pull: bool,
    approved_at: Option<Duration>,
}

impl Connection {
    /// For `account`, not connected yet. `agent` names the program to the account's owner.
    #[must_use]
    pub fn new(account: Account, agent: impl Into<String>) -> Self {
        Self {
            key: account.seed.key(),
            account,
            agent: agent.into(),
            phase: Phase::Closed,
            entries: BTreeMap::new(),
            looked_at: None,
            forgotten: VecDeque::new(),
            outputs: VecDeque::new(),
            backoff: Backoff::default(),
            retry_after: Duration::ZERO,
            wants_pull: false,
            approved_at: None,
        }
    }

    /// The account as it is now.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// Whether it is logged in.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online(..))
    }

    /// The cards that can be answered, oldest first.
    pub fn cards(&self, now: Duration) -> impl Iterator<Item = &Card> {
        self.entries
            .values()
            .filter(move |entry| {
                matches!(entry.standing, Standing::Open) && entry.card.expires > now
            })
            .map(|entry| &entry.card)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<Event>> {
        self.outputs.pop_front()
    }

    /// A socket is open: greets the server.
    pub fn open(&mut self) {
        self.phase = Phase::Greeting;
        self.retry_after = Duration::ZERO;
        self.send(client_frame::Frame::Hello(proto::ClientHello {
            min_version: proto::VERSION,
            max_version: proto::VERSION,
            agent: self.agent.clone(),
        }));
    }

    /// A message arrived on the socket.
    pub fn on_frame(&mut self, frame: &[u8], now: Duration) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        if let Err(fault) = self.handle(frame, now) {
            self.phase = Phase::Closed;
            self.event(Event::Fault(fault));
            self.outputs.push_back(Output::Close(fault.close_code() as u16));
        }
    }

    fn handle(&mut self, frame: &[u8], now: Duration) -> Result<(), Fault> {
        use server_frame::Frame as F;
        if frame.len() > proto::MAX_FRAME {
            return Err(Fault::Malformed);
        }
        let frame = proto::ServerFrame::decode(frame).map_err(|_| Fault::Malformed)?;
        // a frame of a later version that we never asked for: nothing to do
        let Some(frame) = frame.frame else {
            return Ok(());
        };
        let phase = std::mem::replace(&mut self.phase, Phase::Closed);
        self.phase = match (phase, frame) {
            (Phase::Greeting, F::Hello(hello)) => Phase::LoggingIn(self.on_hello(&hello)?),
            (Phase::LoggingIn(hello), F::Welcome(welcome)) => {
                self.on_welcome(welcome, now);
                Phase::Online(hello, now)
            }
            (phase, F::Goodbye(goodbye)) => {
                self.retry_after = Duration::from_millis(u64::from(goodbye.retry_after_ms));
                phase
            }
            (Phase::Online(hello, since), frame) => {
                self.on_online(frame, &hello, now)?;
                Phase::Online(hello, since)
            }
            _ => return Err(Fault::Malformed),
        };
        self.flush(now);
        Ok(())
    }

    fn on_hello(&mut self, hello: &proto::ServerHello) -> Result<Hello, Fault> {
        let hello = Hello::check(hello, Some(&self.account.identity))?;
        let login = Login {
            server: &self.account.identity,
            tenant: self.account.tenant,
            device: self.account.device,
            nonce: &hello.nonce,
        };
        let signature = login.sign(&self.key);
        self.send(client_frame::Frame::Login(proto::Login {
            tenant: Bytes::copy_from_slice(self.account.tenant.as_bytes()),
            device: Bytes::copy_from_slice(self.account.device.as_bytes()),
            signature: Bytes::copy_from_slice(&signature),
        }));
        Ok(hello)
    }

    fn on_welcome(&mut self, welcome: proto::Welcome, now: Duration) {
        self.event(Event::Connected {
            user: plain(&welcome.user, MAX_NOTICE),
            organisation: plain(&welcome.organisation, MAX_NOTICE),
        });
        // answers that were on their way when the last socket died: the server tells what it stored
        for entry in self.entries.values_mut() {
            if let Some(pending) = &mut entry.pending {
                pending.resend_at = Some(now);
            }
        }
        let approved_lately = self.approved_at.is_some_and(|at| now < at + REBIND_WINDOW);
        if welcome.totp_rebind && approved_lately {
            self.send(client_frame::Frame::RebindTotp(proto::RebindTotp {}));
        }
    }

    fn on_online(
        &mut self,
        frame: server_frame::Frame,
        hello: &Hello,
        now: Duration,
    ) -> Result<(), Fault> {
        use server_frame::Frame as F;
        match frame {
            F::Prompt(prompt) => self.on_prompt(&prompt, hello, now),
            F::Settled(settled) => self.on_settled(&settled)?,
            F::AnswerResult(result) => self.on_answer_result(&result, now)?,
            F::Pulled(pulled) => self.event(Event::Pulled { prompts: pulled.prompts }),
            F::Notice(notice) => self.on_notice(&notice),
            F::TotpRebound(rebound) => {
                // none: the server sees no right to one, and the old secret stays what it was
                if let Some(totp) = &rebound.totp {
                    self.account.totp = Some(Totp::from_wire(totp).ok_or(Fault::Malformed)?);
                    self.event(Event::Save);
                    self.event(Event::TotpRebound);
                }
            }
            F::Hello(_) | F::Welcome(_) | F::EnrolPending(_) | F::Enrolled(_) | F::Goodbye(_) => {
                return Err(Fault::Malformed);
            }
        }
        Ok(())
    }

    /// Shows a notice, and says so once those that came with it are shown too.
    fn on_notice(&mut self, notice: &proto::Notice) {
        self.event(Event::Notice(Notice {
            kind: NoticeKind::from_wire(notice.kind()),
            at: Timestamp::from_millis(notice.at_ms),
            text: plain(&notice.text, MAX_NOTICE),
        }));
        if notice.id != 0 && !notice.more {
            self.send(client_frame::Frame::NoticesSeen(proto::NoticesSeen { up_to: notice.id }));
        }
    }

    fn on_prompt(&mut self, prompt: &proto::Prompt, hello: &Hello, now: Duration) {
        let card = match Card::open(prompt, hello, &self.account, now) {
            Ok(card) => card,
            Err(fault) => return self.event(Event::PromptDropped(fault)),
        };
        if let Some(known) = self.entries.get_mut(&card.challenge) {
            // sent again: the same card, whose time can only get shorter
            known.card.expires = known.card.expires.min(card.expires);
            known.sent_at = now;
            return;
        }
        if self.forgotten.contains(&card.challenge) || card.expires <= now {
            return;
        }
        if self.entries.len() >= MAX_CARDS && !self.forget_one() {
            return self.event(Event::PromptDropped(PromptFault::TooMany));
        }
        let entry = Entry {
            card: card.clone(),
            sent_at: now,
            document: prompt.challenge.clone(),
            standing: Standing::Open,
            pending: None,
        };
        self.entries.insert(card.challenge, entry);
        self.event(Event::Prompt(card));
    }

    /// Makes room by dropping the oldest ended entry, else the silent card that the server sent the longest ago: under
    /// a flood the newest may be the person's own. `false` if all are answered, looked at or ring.
    fn forget_one(&mut self) -> bool {
        let ended = |entry: &Entry| matches!(entry.standing, Standing::Ended { .. });
        let unanswered = || self.entries.iter().filter(|(_, entry)| entry.pending.is_none());
        let oldest = unanswered().find(|(_, entry)| ended(entry)).or_else(|| {
            let silent = |entry: &Entry| {
                matches!(entry.standing, Standing::Open)
                    && !entry.card.alert
                    && self.looked_at != Some(entry.card.challenge)
            };
            unanswered().filter(|(_, entry)| silent(entry)).min_by_key(|(_, entry)| entry.sent_at)
        });
        let Some((&id, entry)) = oldest else { return false };
        if !ended(entry) {
            self.event(Event::GaveWay { challenge: id });
        }
        self.entries.remove(&id);
        self.remember(id);
        true
    }

    fn remember(&mut self, id: ChallengeId) {
        if self.forgotten.len() >= MAX_FORGOTTEN {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(id);
    }

    fn on_settled(&mut self, settled: &proto::Settled) -> Result<(), Fault> {
        let id = ChallengeId::from_slice(&settled.challenge).map_err(|_| Fault::Malformed)?;
        let decision = Decision::from_wire(settled.state()).ok_or(Fault::Malformed)?;
        if self.entries.contains_key(&id) {
            self.settle(id, decision);
        } else if !self.forgotten.contains(&id) {
            // overtook its prompt, or was decided before we came: not to be shown any more
            self.remember(id);
        }
        Ok(())
    }

    /// Takes a card away and says so once.
    fn settle(&mut self, challenge: ChallengeId, decision: Decision) {
        let Some(entry) = self.entries.get_mut(&challenge) else {
            return;
        };
        let told = matches!(entry.standing, Standing::Ended { told: true });
        entry.standing = Standing::Ended { told: true };
        if !told {
            self.event(Event::Settled { challenge, decision });
        }
    }

    fn on_answer_result(
        &mut self,
        result: &proto::AnswerResult,
        now: Duration,
    ) -> Result<(), Fault> {
        let challenge = ChallengeId::from_slice(&result.challenge).map_err(|_| Fault::Malformed)?;
        let Some(entry) = self.entries.get_mut(&challenge) else {
            return Ok(());
        };
        // told twice, as after a resend: the first word stands
        let Some(mut pending) = entry.pending.take() else {
            return Ok(());
        };
        let outcome = match result.result() {
            proto::Result::Retry => {
                pending.resend_at = Some(now + RESEND * (1 << pending.tries.min(3)));
                pending.tries = pending.tries.saturating_add(1);
                entry.pending = Some(pending);
                return Ok(());
            }
            proto::Result::Settled => {
                let decision = Decision::from_wire(result.state()).ok_or(Fault::Malformed)?;
                AnswerOutcome::Settled(decision)
            }
            proto::Result::Withheld => AnswerOutcome::Withheld,
            proto::Result::Late => AnswerOutcome::Late,
            proto::Result::Refused => AnswerOutcome::Refused,
            proto::Result::Unspecified => return Err(Fault::Malformed),
        };
        match (&outcome, &entry.standing) {
            (_, Standing::Ended { .. }) | (AnswerOutcome::Settled(_), _) => {}
            (AnswerOutcome::Withheld, _) => entry.standing = Standing::Withheld,
            (_, _) => entry.standing = Standing::Ended { told: false },
        }
        self.event(Event::Answered { challenge, outcome });
        if let AnswerOutcome::Settled(decision) = outcome {
            self.settle(challenge, decision);
            if decision == Decision::Approved && matches!(pending.choice, Choice::Approve(_)) {
                self.approved_at = Some(now);
            }
        }
        if result.totp_rebind && self.approved_at.is_some() {
            self.send(client_frame::Frame::RebindTotp(proto::RebindTotp {}));
        }
        Ok(())
    }

    /// Answers a challenge that was shown. It is sent now, or as soon as there is a connection; an [`Event::Save`]
    /// goes before it. Challenges that ended lately are answered too: the server says how they ended.
    ///
    /// `user_verified` says whether the device checked its owner (PIN, biometrics) for this answer.
    ///
    /// # Errors
    /// [`AnswerError`] if nothing can be sent.
    pub fn answer(
        &mut self,
        challenge: ChallengeId,
        choice: Choice,
        user_verified: bool,
        now: Duration,
    ) -> Result<(), AnswerError> {
        let entry = self.entries.get_mut(&challenge).ok_or(AnswerError::Unknown)?;
        if entry.pending.is_some() {
            return Err(AnswerError::InFlight);
        }
        let choice = match choice {
            Choice::Approve(typed) => Choice::Approve(typed_number(&typed, entry.card.digits)?),
            other => other,
        };
        entry.pending = Some(Pending { choice, user_verified, tries: 0, resend_at: Some(now) });
        self.flush(now);
        Ok(())
    }

    /// Which card the person looks at, if any: it doesn't give way to newer ones.
    pub const fn look_at(&mut self, challenge: Option<ChallengeId>) {
        self.looked_at = challenge;
    }

    /// The person opened the app: asks for silent challenges, now or as soon as there is a connection.
    pub fn pull(&mut self, now: Duration) {
        self.wants_pull = true;
        self.flush(now);
    }

    /// When [`Connection::on_wake`] has something to do, if ever.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let online = self.is_online();
        let of = |entry: &Entry| {
            let resend = entry.pending.as_ref().and_then(|pending| pending.resend_at);
            let ended = matches!(entry.standing, Standing::Ended { .. });
            let lapse = (!ended).then_some(entry.card.expires + GRACE);
            resend.filter(|_| online).into_iter().chain(lapse).min()
        };
        self.entries.values().filter_map(of).min()
    }

    /// Time has passed: sends again what is due, takes cards away whose time is over.
    pub fn on_wake(&mut self, now: Duration) {
        let lapsed = |entry: &Entry| {
            !matches!(entry.standing, Standing::Ended { .. }) && now >= entry.card.expires + GRACE
        };
        let over: Vec<ChallengeId> =
            self.entries.iter().filter(|(_, entry)| lapsed(entry)).map(|(id, _)| *id).collect();
        for challenge in over {
            if let Some(entry) = self.entries.get_mut(&challenge) {
                entry.standing = Standing::Ended { told: false };
            }
            self.event(Event::Lapsed { challenge });
        }
        self.flush(now);
    }

    /// A server that had no place for us says when to come back: not before that.
    pub fn come_back_after(&mut self, wait: Duration) {
        self.retry_after = wait;
    }

    /// The socket is gone, or couldn't be opened (`code` is `None`).
    pub fn on_close(
        &mut self,
        code: Option<u16>,
        reason: &str,
        now: Duration,
        rng: &mut dyn CryptoRng,
    ) -> Next {
        let phase = std::mem::replace(&mut self.phase, Phase::Closed);
        let was_connected = matches!(phase, Phase::Online(..));
        if matches!(phase, Phase::Online(_, since) if now >= since + HEALTHY) {
            self.backoff.reset();
        }
        for entry in self.entries.values_mut() {
            if let Some(pending) = &mut entry.pending {
                pending.resend_at = None;
            }
        }
        let code = code.and_then(CloseCode::from_code);
        let stop = match code {
            Some(CloseCode::Replaced) => Some(Stop::Replaced),
            Some(CloseCode::Revoked) => Some(Stop::Revoked),
            Some(CloseCode::Unauthenticated) => Some(Stop::Unauthenticated),
            Some(CloseCode::Version) => {
                Some(Stop::Version { supported: plain(reason, MAX_NOTICE) })
            }
            Some(CloseCode::TooMany) => {
                self.backoff.crowded();
                None
            }
            _ => None,
        };
        if let Some(stop) = stop {
            self.event(Event::Stopped(stop.clone()));
            return Next::Stop(stop);
        }
        let floor = std::mem::take(&mut self.retry_after);
        let after = self.backoff.next(floor, rng);
        self.event(Event::Disconnected { was_connected, retry_in: after });
        Next::Retry { after }
    }

    /// Sends what waits, if there is a connection.
    fn flush(&mut self, now: Duration) {
        if !self.is_online() {
            return;
        }
        if std::mem::take(&mut self.wants_pull) {
            self.send(client_frame::Frame::Pull(proto::Pull {}));
        }
        let due = |entry: &Entry| {
            let resend = entry.pending.as_ref().and_then(|pending| pending.resend_at);
            resend.is_some_and(|at| at <= now)
        };
        let due: Vec<ChallengeId> =
            self.entries.iter().filter(|(_, entry)| due(entry)).map(|(id, _)| *id).collect();
        for id in due {
            self.send_answer(id);
        }
    }

    /// Signs and sends an answer under a counter of its own, even one that is sent again: a counter that the
    /// server has seen would look like a copied key.
    fn send_answer(&mut self, id: ChallengeId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Some(pending) = &mut entry.pending else {
            return;
        };
        pending.resend_at = None;
        self.account.counter += 1;
        let statement = Answer {
            challenge: &entry.document,
            device: self.account.device,
            decision: pending.choice.decision(),
            number: pending.choice.number(),
            user_verified: pending.user_verified,
            counter: self.account.counter,
        };
        let answer = proto::Answer {
            challenge: Bytes::copy_from_slice(id.as_bytes()),
            decision: i32::from(statement.decision as u8),
            number: statement.number.to_owned(),
            user_verified: statement.user_verified,
            counter: statement.counter,
            signature: Bytes::copy_from_slice(&statement.sign(&self.key)),
        };
        self.event(Event::Save);
        self.send(client_frame::Frame::Answer(answer));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn send(&mut self, frame: client_frame::Frame) {
        let frame = proto::ClientFrame { frame: Some(frame) };
        self.outputs.push_back(Output::Send(Frame(frame.encode_to_vec())));
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("account", &self.account.name)
            .field("online", &self.is_online())
            .field("cards", &self.entries.len())
            .finish_non_exhaustive()
    }
}
