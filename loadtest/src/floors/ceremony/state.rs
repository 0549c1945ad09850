//! Who is there, what is asked of them, and what became of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use statement::{
    Algorithm, Answer, AnswerDecision, ChallengeId, DeviceId, PublicKey, SignedChallenge,
    Timestamp, UserId,
};
use wire::device::{self, client_frame};
use wire::rest::{CreateChallenge, RedeemChallenge, State as Stands};

use super::super::http;
use super::super::socket::Out;
use super::super::ws;
use super::bytes::{self, Audit, Drawn, Keys};
use super::outbox::Outbox;
use super::{API_KEY, CHALLENGES, COUNTS};
use crate::clock;

/// Redeemed challenges that are still known, so that a second redeem is told so.
const REMEMBERED: usize = 10_000;
/// What a window of the three counters holds: never reached, but looked at.
const MOST_A_WINDOW: u32 = u32::MAX / 2;
const WINDOW_S: u64 = 60;

/// What happened so far. A run's counts have to add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// The key that signs challenges, in hex.
    pub(crate) key: String,
    pub(crate) created: u64,
    /// Prompts that went to a device.
    pub(crate) rung: u64,
    /// Answers of which the signature was right.
    pub(crate) verified: u64,
    /// Answers that decided.
    pub(crate) settled: u64,
    /// Answers to what was decided.
    pub(crate) already: u64,
    /// Answers that aren't the device's, or to nothing that was asked.
    pub(crate) refused: u64,
    /// Polls that had to wait.
    pub(crate) parked: u64,
    /// Receipts.
    pub(crate) redeemed: u64,
    /// Redeems of what isn't approved, or was redeemed, or by another browser.
    pub(crate) redeem_refused: u64,
    /// Requests without the key, or that can't be read.
    pub(crate) bad_requests: u64,
    /// Rows of the audit chain.
    pub(crate) audit_rows: u64,
}

struct User {
    name: String,
    device: DeviceId,
    key: PublicKey,
    out: Arc<Out>,
    created: Window,
}

/// A fixed window.
#[derive(Default)]
struct Window {
    since: u64,
    count: u32,
}

impl Window {
    fn take(&mut self, now: Timestamp) -> bool {
        if now.seconds() >= self.since + WINDOW_S {
            *self = Self { since: now.seconds(), count: 0 };
        }
        self.count += 1;
        self.count < MOST_A_WINDOW
    }
}

struct Challenge {
    user: UserId,
    document: Vec<u8>,
    number: String,
    session: [u8; 32],
    created: Timestamp,
    stands: Stands,
    redeemed: bool,
    waiter: Option<Arc<Out>>,
}

/// All of the server.
pub(crate) struct State {
    keys: Keys,
    integrations: HashMap<[u8; 32], Window>,
    addresses: HashMap<String, Window>,
    users: HashMap<UserId, User>,
    challenges: HashMap<ChallengeId, Challenge>,
    over: VecDeque<ChallengeId>,
    audit: Audit,
    counts: Counts,
    outbox: Outbox,
}

/// A reply that isn't 200.
struct Refused(&'static str);

const BAD: Refused = Refused("400 Bad Request");
const NOT_FOUND: Refused = Refused("404 Not Found");
const CONFLICT: Refused = Refused("409 Conflict");

impl State {
    pub(crate) fn new(outbox: Outbox) -> Self {
        let keys = Keys::draw();
        let key = data_encoding::HEXLOWER.encode(keys.challenge.public().as_bytes());
        Self {
            keys,
            integrations: HashMap::from([(bytes::hash(API_KEY), Window::default())]),
            addresses: HashMap::new(),
            users: HashMap::new(),
            challenges: HashMap::new(),
            over: VecDeque::new(),
            audit: Audit::new(),
            counts: Counts { key, ..Counts::default() },
            outbox,
        }
    }

    /// Serves a request; its reply may have to wait.
    pub(crate) fn call(&mut self, request: &http::Request<'_>, out: &Arc<Out>) {
        match self.dispatch(request, out) {
            Ok(None) => {}
            Ok(Some(reply)) => self.outbox.send(out, http::reply("200 OK", &reply)),
            Err(Refused(status)) => {
                let redeem = request.path.ends_with("/redeem");
                let count = match status.as_bytes()[..3] {
                    [b'4', b'0', b'0' | b'1'] => &mut self.counts.bad_requests,
                    _ if redeem => &mut self.counts.redeem_refused,
                    _ => &mut self.counts.bad_requests,
                };
                *count += 1;
                self.outbox.send(out, http::reply(status, b"{}"));
            }
        }
        self.outbox.flush();
    }

    fn dispatch(
        &mut self,
        request: &http::Request<'_>,
        out: &Arc<Out>,
    ) -> Result<Option<Vec<u8>>, Refused> {
        let key = request.key.map(bytes::hash);
        let integration = key.and_then(|hash| self.integrations.get_mut(&hash));
        let integration = integration.ok_or(Refused("401 Unauthorized"))?;
        let rest = request.path.strip_prefix(CHALLENGES);
        match (request.method, rest) {
            ("POST", Some("")) => {
                let now = now();
                if !integration.take(now) {
                    return Err(Refused("429 Too Many Requests"));
                }
                self.create(request.body, now).map(Some)
            }
            ("GET", Some(rest)) => {
                let id = rest.split('?').next().unwrap_or_default();
                self.wait(challenge_id(id)?, out)
            }
            ("POST", Some(rest)) => {
                let id = rest.strip_suffix("/redeem").ok_or(NOT_FOUND)?;
                self.redeem(challenge_id(id)?, request.body).map(Some)
            }
            ("GET", None) if request.path == COUNTS => {
                self.counts.audit_rows = self.audit.rows();
                Ok(Some(serde_json::to_vec(&self.counts).expect("counts are JSON")))
            }
            _ => Err(NOT_FOUND),
        }
    }

    fn create(&mut self, body: &[u8], now: Timestamp) -> Result<Vec<u8>, Refused> {
        let request: CreateChallenge = serde_json::from_slice(body).map_err(|_| BAD)?;
        let id: UserId = request.user.parse().map_err(|_| BAD)?;
        let user = self.users.get_mut(&id).ok_or(NOT_FOUND)?;
        let address = request.context.ip.clone().unwrap_or_default();
        let within = user.created.take(now);
        if !self.addresses.entry(address).or_default().take(now) || !within {
            return Err(Refused("429 Too Many Requests"));
        }
        let session = bytes::hash(&request.context.browser_session);
        let drawn = Drawn::new(now);
        let document = bytes::document(&drawn, (id, &user.name), &request, &session, now);
        let signature = SignedChallenge(&document).sign(&self.keys.challenge);
        let agent = request.context.user_agent.as_deref().unwrap_or_default();
        let about = (drawn.id, id, None);
        self.audit.add("challenge_created", about, agent.as_bytes(), now);
        self.outbox.created(drawn.id, id, session, now);
        let prompt = ws::message(&bytes::prompt(&document, &signature), false);
        self.outbox.send(&user.out, prompt);
        let reply = bytes::created(&drawn, now);
        let challenge = Challenge {
            user: id,
            document,
            number: drawn.number,
            session,
            created: now,
            stands: Stands::Pending,
            redeemed: false,
            waiter: None,
        };
        self.challenges.insert(drawn.id, challenge);
        self.counts.created += 1;
        self.counts.rung += 1;
        Ok(reply)
    }

    fn wait(&mut self, id: ChallengeId, out: &Arc<Out>) -> Result<Option<Vec<u8>>, Refused> {
        let challenge = self.challenges.get_mut(&id).ok_or(NOT_FOUND)?;
        if challenge.stands == Stands::Pending {
            challenge.waiter = Some(Arc::clone(out));
            self.counts.parked += 1;
            return Ok(None);
        }
        Ok(Some(bytes::challenge(id, challenge.stands, challenge.created)))
    }

    fn redeem(&mut self, id: ChallengeId, body: &[u8]) -> Result<Vec<u8>, Refused> {
        let request: RedeemChallenge = serde_json::from_slice(body).map_err(|_| BAD)?;
        let session = bytes::hash(&request.browser_session);
        let challenge = self.challenges.get_mut(&id).ok_or(NOT_FOUND)?;
        let approved = challenge.stands == Stands::Approved;
        if !approved || challenge.redeemed || challenge.session != session {
            return Err(CONFLICT);
        }
        challenge.redeemed = true;
        let (now, id_of_user) = (now(), challenge.user);
        let user = self.users.get(&id_of_user).ok_or(NOT_FOUND)?;
        let claims = bytes::claims(id, (id_of_user, &user.name), &session, now);
        let receipt = self.keys.sign_receipt(&claims);
        let cookie = self.keys.cookie(id_of_user, now);
        self.audit.add("challenge_redeemed", (id, id_of_user, None), b"", now);
        self.outbox.redeemed(id, now);
        self.over.push_back(id);
        if self.over.len() > REMEMBERED {
            self.over.pop_front().and_then(|oldest| self.challenges.remove(&oldest));
        }
        self.counts.redeemed += 1;
        Ok(bytes::redeemed(receipt, cookie))
    }

    /// Serves a device's frame; `None` if it can't be read. `whose` is whoever the connection has shown to be.
    pub(crate) fn frame(
        &mut self,
        payload: &[u8],
        whose: &mut Option<UserId>,
        out: &Arc<Out>,
    ) -> Option<()> {
        let reply = match (bytes::from_device(payload)?, *whose) {
            (client_frame::Frame::EnrolClaim(claim), None) => {
                let (id, reply) = self.enrol(claim, out)?;
                *whose = Some(id);
                reply
            }
            (client_frame::Frame::Answer(answer), Some(user)) => self.answer(&answer, user),
            _ => return None,
        };
        self.outbox.send(out, ws::message(&reply, false));
        self.outbox.flush();
        Some(())
    }

    fn enrol(&mut self, claim: device::EnrolClaim, out: &Arc<Out>) -> Option<(UserId, Vec<u8>)> {
        let algorithm = Algorithm::from_code(u8::try_from(claim.algorithm).ok()?)?;
        let key = PublicKey::new(algorithm, &claim.public_key).ok()?;
        let (id, device) =
            (UserId::from_bytes(clock::random()), DeviceId::from_bytes(clock::random()));
        let (name, out) = (claim.device_name, Arc::clone(out));
        self.users.insert(id, User { name, device, key, out, created: Window::default() });
        Some((id, bytes::enrolled(device, id)))
    }

    fn answer(&mut self, answer: &device::Answer, whose: UserId) -> Vec<u8> {
        let (result, state) = self.judge(answer, whose).unwrap_or_else(|| {
            self.counts.refused += 1;
            (device::Result::Refused, device::State::Unspecified)
        });
        bytes::answer_result(&answer.challenge, result, state)
    }

    /// `None` if it is refused.
    fn judge(
        &mut self,
        answer: &device::Answer,
        whose: UserId,
    ) -> Option<(device::Result, device::State)> {
        let id = ChallengeId::from_slice(&answer.challenge).ok()?;
        let user = self.users.get(&whose)?;
        let challenge = self.challenges.get_mut(&id).filter(|challenge| challenge.user == whose)?;
        let decision = AnswerDecision::from_code(u8::try_from(answer.decision).ok()?)?;
        let statement = Answer {
            challenge: &challenge.document,
            device: user.device,
            decision,
            number: &answer.number,
            user_verified: answer.user_verified,
            counter: answer.counter,
        };
        statement.verify(&user.key, &answer.signature).ok()?;
        self.counts.verified += 1;
        if challenge.stands != Stands::Pending {
            self.counts.already += 1;
            return Some((device::Result::Settled, shown(challenge.stands)));
        }
        challenge.stands = match decision {
            AnswerDecision::Approve if answer.number == challenge.number => Stands::Approved,
            AnswerDecision::Approve => Stands::Mismatch,
            AnswerDecision::Deny => Stands::Denied,
            AnswerDecision::Report => Stands::Reported,
        };
        self.counts.settled += 1;
        challenge.number.clear();
        let now = now();
        self.audit.add("challenge_decided", (id, whose, Some(user.device)), b"", now);
        self.outbox.decided(id, now);
        if let Some(waiter) = challenge.waiter.take() {
            let reply = bytes::challenge(id, challenge.stands, challenge.created);
            self.outbox.send(&waiter, http::reply("200 OK", &reply));
        }
        Some((device::Result::Settled, shown(challenge.stands)))
    }
}

const fn shown(stands: Stands) -> device::State {
    match stands {
        Stands::Approved => device::State::Approved,
        Stands::Denied => device::State::Denied,
        Stands::Reported => device::State::Reported,
        Stands::Mismatch => device::State::Mismatch,
        _ => device::State::Pending,
    }
}

fn challenge_id(text: &str) -> Result<ChallengeId, Refused> {
    text.strip_prefix('/').and_then(|id| id.parse().ok()).ok_or(NOT_FOUND)
}

fn now() -> Timestamp {
    Timestamp::from_millis(clock::unix_ms())
}
