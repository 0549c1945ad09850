//! Random moves of several users, devices and integrations against a small reference model.
//!
//! The model is written from the contract, not from the code. A failing sequence prints its seed and its
//! moves; a bug that it finds is kept as a seed in `KEPT`.

use std::time::Duration;

use app::{AnswerResult, Caller, Created, Error};
use domain::challenge::{Decision, Purpose, State};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use statement::{AnswerDecision, ChallengeId, Timestamp};

use crate::world::{Device, OPERATOR, World, runs, wrong_number};

/// Seeds of sequences that once found a bug.
const KEPT: [u64; 0] = [];
const MOVES: usize = 24;

#[derive(Clone, Copy, Debug)]
enum Move {
    Create { app: usize, user: usize, session: usize, step_up: bool, first_factor: bool },
    Answer { device: usize, nth: usize, how: How },
    Code { nth: usize, right: bool },
    Redeem { nth: usize, own_session: bool },
    Cancel { nth: usize },
    Wait { seconds: u64 },
    Revoke { device: usize },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Right,
    Wrong,
    Others,
    Deny,
    Report,
}

fn draw(rng: &mut StdRng) -> Move {
    let nth = rng.random_range(0..8);
    match rng.random_range(0..20) {
        0..8 => Move::Create {
            app: rng.random_range(0..2),
            user: rng.random_range(0..2),
            session: rng.random_range(0..6),
            step_up: rng.random_range(0..5) == 0,
            first_factor: rng.random_range(0..6) != 0,
        },
        8..12 => {
            let how = [How::Right, How::Right, How::Wrong, How::Others, How::Deny, How::Report];
            let how = how[rng.random_range(0..how.len())];
            Move::Answer { device: rng.random_range(0..4), nth, how }
        }
        12..14 => Move::Code { nth, right: rng.random() },
        14..16 => Move::Redeem { nth, own_session: rng.random_range(0..4) != 0 },
        16 => Move::Cancel { nth },
        17 | 18 => Move::Wait { seconds: rng.random_range(1..50) },
        _ => Move::Revoke { device: rng.random_range(0..4) },
    }
}

/// A challenge as the contract describes it.
struct Card {
    created: Created,
    app: usize,
    user: usize,
    session: String,
    step_up: bool,
    first_factor: bool,
    rings: bool,
    decoy: bool,
    ends: Timestamp,
    decided: Option<(Decision, Timestamp, Option<usize>)>,
    redeemed: bool,
    lapsed: bool,
    wrong_sessions: u8,
}

#[derive(Default)]
struct Codes {
    wrong: u64,
    last_step: u64,
}

struct Model<'a> {
    world: &'a World,
    apps: &'a [Caller],
    names: [String; 2],
    devices: Vec<Device>,
    revoked: [bool; 4],
    cards: Vec<Card>,
    codes: [Codes; 2],
}

impl Model<'_> {
    fn expire(&mut self) {
        let now = self.world.now();
        for card in self.cards.iter_mut().filter(|c| c.decided.is_none() && now >= c.ends) {
            card.decided = Some((Decision::Expired, now, None));
        }
    }

    fn live(&self, user: usize) -> impl Iterator<Item = &Card> {
        self.cards.iter().filter(move |card| card.user == user && card.decided.is_none())
    }

    /// The most recent cards, so that moves meet each other.
    fn nth(&self, nth: usize) -> Option<usize> {
        self.cards.len().checked_sub(nth + 1)
    }

    async fn step(&mut self, step: Move) {
        self.expire();
        match step {
            Move::Create { app, user, session, step_up, first_factor } => {
                self.create(app, user, session, step_up, first_factor).await;
            }
            Move::Answer { device, nth, how } => self.answer(device, nth, how).await,
            Move::Code { nth, right } => self.code(nth, right).await,
            Move::Redeem { nth, own_session } => self.redeem(nth, own_session).await,
            Move::Cancel { nth } => self.cancel(nth).await,
            Move::Wait { seconds } => {
                self.world.pass(Duration::from_secs(seconds));
                while self.world.app.expire_due(&mut self.world.call()).await.expect("a sweep") {}
            }
            Move::Revoke { device } => self.revoke(device).await,
        }
        self.expire();
        self.check().await;
    }

    async fn create(&mut self, app: usize, user: usize, session: usize, step_up: bool, ff: bool) {
        let session = format!("s{session}");
        let mut request = self.world.request(&self.names[user], &session);
        request.purpose = Some(if step_up { Purpose::StepUp } else { Purpose::SignIn });
        if !ff {
            request.first_factor = None;
        }
        let same = |card: &Card| {
            card.app == app
                && card.user == user
                && card.session == session
                && card.decided.is_none()
        };
        let again =
            self.cards.iter().position(|c| same(c) && c.step_up == step_up && c.first_factor == ff);
        let created = self.world.create_with(&self.apps[app], request).await.expect("a challenge");
        if let Some(at) = again {
            assert_eq!(created.view.id, self.cards[at].created.view.id, "merges");
            return;
        }
        let now = self.world.now();
        for card in self.cards.iter_mut().filter(|card| same(card)) {
            card.decided = Some((Decision::Superseded, now, None));
        }
        let real = || self.live(user).filter(|card| !card.decoy);
        let bound = if ff { 8 } else { 2 };
        // nobody loses enrolment here: revoking leaves the TOTP secret of the first device alone
        let decoy = real().filter(|card| card.first_factor == ff).count() >= bound;
        let rings = !decoy && ff && !real().any(|card| card.rings);
        let number = created.number.as_ref().expect("a number");
        for other in self.live(user) {
            let taken = other.created.number.as_ref().expect("a number");
            assert!(!taken.matches(number.as_str()), "live numbers are distinct");
        }
        let ends = now.plus(Duration::from_secs(90));
        self.cards.push(Card {
            created,
            app,
            user,
            session,
            step_up,
            first_factor: ff,
            rings,
            decoy,
            ends,
            decided: None,
            redeemed: false,
            lapsed: false,
            wrong_sessions: 0,
        });
    }

    async fn answer(&mut self, device: usize, nth: usize, how: How) {
        let Some(at) = self.nth(nth) else { return };
        let user = device / 2;
        let id = self.cards[at].created.view.id;
        let own = self.cards[at].created.number.clone().expect("a number");
        let others: Vec<usize> = (0..self.cards.len())
            .filter(|other| *other != at && self.cards[*other].user == user)
            .filter(|other| self.cards[*other].decided.is_none())
            .collect();
        let (decision, typed, crossed) = match how {
            How::Right => (AnswerDecision::Approve, own.as_str().to_owned(), None),
            How::Wrong => {
                let all: Vec<&Created> = self.cards.iter().map(|card| &card.created).collect();
                (AnswerDecision::Approve, wrong_number(&all), None)
            }
            How::Others => {
                let Some(other) = others.first() else { return };
                let number = self.cards[*other].created.number.clone().expect("a number");
                (AnswerDecision::Approve, number.as_str().to_owned(), Some(*other))
            }
            How::Deny => (AnswerDecision::Deny, String::new(), None),
            How::Report => (AnswerDecision::Report, String::new(), None),
        };
        let document = self.world.document(id).await;
        let answer = self.devices[device].sign(&document, id, decision, &typed);
        let answered = self.world.answer(&self.devices[device], answer).await;
        let now = self.world.now();
        let card = &self.cards[at];
        if card.user != user || card.decoy || self.revoked[device] {
            assert_eq!(answered.result, AnswerResult::Refused);
            return;
        }
        if let Some((decided, ..)) = card.decided {
            assert_eq!(decision_of(answered.result), decided, "a second answer");
            let lapses = decided == Decision::Approved
                && matches!(how, How::Report)
                && !card.redeemed
                && !card.lapsed;
            self.cards[at].lapsed |= lapses;
            return;
        }
        let expected = match decision {
            AnswerDecision::Approve if own.matches(&typed) => Decision::Approved,
            AnswerDecision::Approve => Decision::Mismatch,
            AnswerDecision::Deny => Decision::Denied,
            AnswerDecision::Report => Decision::Reported,
        };
        assert_eq!(decision_of(answered.result), expected);
        self.cards[at].decided = Some((expected, now, Some(device)));
        if let (Decision::Mismatch, Some(other)) = (expected, crossed) {
            self.cards[other].decided = Some((Decision::Mismatch, now, Some(device)));
        }
    }

    async fn code(&mut self, nth: usize, right: bool) {
        let Some(at) = self.nth(nth) else { return };
        let now = self.world.now();
        let card = &self.cards[at];
        let secret = &self.devices[card.user * 2].totp;
        let code = if right { domain::totp::code(secret, now) } else { wrong_code(secret, now) };
        let id = card.created.view.id;
        let app = &self.apps[card.app];
        let answer = self.world.app.submit_code(&mut self.world.call(), app, id, &code).await;
        if let Some((decided, ..)) = card.decided {
            assert_eq!(decision_of_state(answer.expect("a view").state), decided);
            return;
        }
        let codes = &mut self.codes[card.user];
        // three at once without a device cookie, and no sequence is long enough for one to come back
        let allowed = card.first_factor && codes.wrong < 3;
        let step = now.seconds() / 30;
        if allowed && right && step > codes.last_step {
            assert_eq!(decision_of_state(answer.expect("a view").state), Decision::Approved);
            codes.last_step = step;
            self.cards[at].decided = Some((Decision::Approved, now, None));
            return;
        }
        assert_eq!(answer.err(), Some(Error::CodeWrong));
        if allowed {
            codes.wrong += 1;
        }
    }

    async fn redeem(&mut self, nth: usize, own_session: bool) {
        let Some(at) = self.nth(nth) else { return };
        let now = self.world.now();
        let card = &self.cards[at];
        let session = if own_session { card.session.as_str() } else { "thief" };
        let app = &self.apps[card.app];
        let answer = self.world.redeem(app, card.created.view.id, session).await.map(|_| ());
        let Some((Decision::Approved, approved_at, device)) = card.decided else {
            assert_eq!(answer, Err(Error::NotApproved));
            return;
        };
        let gone = card.lapsed
            || now >= approved_at.plus(Duration::from_secs(60))
            || device.is_some_and(|device| self.revoked[device]);
        if card.redeemed {
            assert_eq!(answer, Err(Error::AlreadyRedeemed));
        } else if gone {
            assert_eq!(answer, Err(Error::Lapsed));
        } else if own_session {
            assert_eq!(answer, Ok(()));
            self.cards[at].redeemed = true;
        } else {
            assert_eq!(answer, Err(Error::WrongSession));
            self.cards[at].wrong_sessions += 1;
            self.cards[at].lapsed = self.cards[at].wrong_sessions == 5;
        }
    }

    async fn cancel(&mut self, nth: usize) {
        let Some(at) = self.nth(nth) else { return };
        let now = self.world.now();
        let card = &mut self.cards[at];
        let (app, id) = (&self.apps[card.app], card.created.view.id);
        let view = self.world.app.cancel_challenge(&mut self.world.call(), app, id).await;
        let (expected, ..) = *card.decided.get_or_insert((Decision::Cancelled, now, None));
        assert_eq!(decision_of_state(view.expect("a view").state), expected);
    }

    async fn revoke(&mut self, device: usize) {
        let mut call = self.world.call();
        let id = self.devices[device].id;
        let done = self.world.app.revoke_device(&mut call, &OPERATOR, self.world.tenant, id).await;
        if self.revoked[device] {
            assert_eq!(done.err(), Some(Error::NotFound));
            return;
        }
        done.expect("revoked");
        self.revoked[device] = true;
        let (user, now) = (device / 2, self.world.now());
        let alone = self.revoked[user * 2] && self.revoked[user * 2 + 1];
        // without a first factor only push is offered: nothing is left that could answer
        let orphans = |card: &&mut Card| {
            card.user == user && card.decided.is_none() && !card.first_factor && alone
        };
        for card in self.cards.iter_mut().filter(orphans) {
            card.decided = Some((Decision::Cancelled, now, None));
        }
    }

    /// What everybody sees is what the model says.
    async fn check(&self) {
        for card in &self.cards {
            let state = self.world.state(&self.apps[card.app], card.created.view.id).await;
            match card.decided {
                None => assert_eq!(state, State::Pending),
                Some((decision, ..)) => assert_eq!(decision_of_state(state), decision),
            }
        }
        for (device, silent) in (0..4).zip([false, true, false, true]) {
            if self.revoked[device] {
                continue;
            }
            let mut shown: Vec<ChallengeId> =
                self.world.cards(&self.devices[device], silent).await.iter().map(|c| c.0).collect();
            let mut expected: Vec<ChallengeId> = self
                .live(device / 2)
                .filter(|card| !card.decoy && (silent || card.rings))
                .map(|card| card.created.view.id)
                .collect();
            shown.sort();
            expected.sort();
            assert_eq!(shown, expected);
            assert!(silent || expected.len() <= 1, "one rings");
        }
    }
}

fn wrong_code(secret: &domain::totp::Secret, now: Timestamp) -> String {
    let near = [0, 30].map(|s| domain::totp::code(secret, now.minus(Duration::from_secs(s))));
    (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).expect("a wrong code")
}

#[track_caller]
fn decision_of(result: AnswerResult) -> Decision {
    match result {
        AnswerResult::Settled(state) => decision_of_state(state),
        other => panic!("not settled: {other:?}"),
    }
}

#[track_caller]
fn decision_of_state(state: State) -> Decision {
    match state {
        State::Decided(decided) => decided.decision,
        State::Pending => panic!("still pending"),
    }
}

/// Prints what led to a failure.
struct Trace {
    seed: u64,
    moves: Vec<Move>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} failed after {:#?}", self.seed, self.moves);
        }
    }
}

async fn sequence(world: &World, apps: &[Caller], seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let names = [format!("a{seed}"), format!("b{seed}")];
    let mut devices = Vec::new();
    for name in &names {
        world.user(name).await;
        for reason in [None, Some("second")] {
            devices.push(world.enrol(name, reason).await.expect("a device"));
        }
    }
    let mut trace = Trace { seed, moves: Vec::new() };
    let mut model = Model {
        world,
        apps,
        names,
        devices,
        revoked: [false; 4],
        cards: Vec::new(),
        codes: [Codes::default(), Codes::default()],
    };
    for _ in 0..MOVES {
        let step = draw(&mut rng);
        trace.moves.push(step);
        model.step(step).await;
    }
}

#[tokio::test]
async fn the_use_cases_agree_with_the_model() {
    let world = World::new().await;
    let apps = [world.integration("vpn").await, world.integration("mail").await];
    let fresh = 0..u64::try_from(runs(150, 10_000)).expect("a count");
    let mut sequences = 0;
    for seed in KEPT.into_iter().chain(fresh) {
        sequence(&world, &apps, seed).await;
        sequences += 1;
    }
    println!("{sequences} sequences of {MOVES} moves agree with the model");
}
