//! Random moves of several users, places, devices and integrations against a small reference model.
//!
//! The model is written from the contract, not from the code. Which challenges ring is the guard's business: the
//! model asks how each was made, and holds it against what the contract promises. A failing sequence prints its
//! seed and its moves; what it finds is kept as a seed in `KEPT`.

mod moves;

use std::time::Duration;

use app::{AnswerResult, Caller, Created, Error};
use domain::attempts::{Budgets, Lane};
use domain::challenge::{Decision, Mode, Purpose, State};
use domain::number::Number;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use statement::{AnswerDecision, ChallengeId, Timestamp};

use self::moves::{At, How, Move, draw};
use crate::world::{Device, OPERATOR, World, runs, wrong_number};

/// Seeds of sequences that once found a bug.
/// 413: what a withheld answer and a code approve lapses with the device. 2333: a code proves its place after a report.
const KEPT: [u64; 2] = [413, 2333];
const MOVES: usize = 40;
/// What strangers can make ring before anything is approved, with room for what fades meanwhile.
const STRANGERS_RINGS: usize = 4;

/// A challenge as the contract describes it.
struct Card {
    created: Created,
    app: usize,
    user: usize,
    session: String,
    place: At,
    step_up: bool,
    first_factor: bool,
    rings: bool,
    decoy: bool,
    withheld: Option<usize>,
    ends: Timestamp,
    decided: Option<(Decision, Timestamp, Option<usize>)>,
    redeemed: bool,
    lapsed: bool,
    wrong_sessions: u8,
}

impl Card {
    fn is(&self, decision: Decision) -> bool {
        self.decided.is_some_and(|(decided, ..)| decided == decision)
    }

    /// Where a code for it is counted.
    fn lane(&self) -> Lane {
        match self.place {
            _ if self.withheld.is_some() => Lane::Withheld,
            At::Home => Lane::Own,
            At::Hotel => Lane::Unknown,
            At::Nowhere => Lane::Nowhere,
        }
    }
}

#[derive(Default)]
struct Codes {
    /// By lane.
    wrong: [u16; Lane::ALL.len()],
    last_step: u64,
}

/// Whether an approval from elsewhere is given out without a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    /// Nothing was denied or reported: it is.
    None,
    /// A code has passed since something from elsewhere was denied: it may be.
    Resolved,
    /// Something from elsewhere was denied: it isn't.
    Denied,
    /// Something was reported: it isn't, and a code changes that for its own place alone.
    Reported,
}

/// How often what the model allows came about.
#[derive(Default)]
struct Tally {
    rang: usize,
    silent: usize,
    withheld: usize,
    passed_by_code: usize,
}

struct Model<'a> {
    world: &'a World,
    apps: &'a [Caller],
    names: [String; 2],
    devices: Vec<Device>,
    revoked: [bool; 4],
    cards: Vec<Card>,
    codes: [Codes; 2],
    doubts: [Doubt; 2],
    /// Where a code passed beside a withheld answer since the last refusal.
    proven: [Option<(usize, At)>; 2],
    collided: [bool; 2], // a stranger asked while home rang: that counts, however it ends
    seed: u64,
    tally: Tally,
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

    /// The same of those that nobody has decided.
    fn nth_open(&self, nth: usize) -> Option<usize> {
        let open = self.cards.iter().enumerate().filter(|(_, card)| card.decided.is_none());
        open.map(|(at, _)| at).rev().nth(nth)
    }

    async fn step(&mut self, step: Move) {
        self.expire();
        match step {
            Move::Create { .. } => self.create(step).await,
            Move::Answer { open, stranger, device, nth, how } => {
                if let Some(at) = if open { self.nth_open(nth) } else { self.nth(nth) } {
                    self.answer(at, stranger, device, how).await;
                }
            }
            Move::Code { nth, right } => {
                if let Some(at) = self.nth(nth) {
                    self.code(at, right).await;
                }
            }
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

    async fn create(&mut self, step: Move) {
        let Move::Create { app, user, session, place, step_up, first_factor } = step else {
            return;
        };
        let session = format!("s{session}");
        let mut request = self.world.request(&self.names[user], &session);
        request.purpose = Some(if step_up { Purpose::StepUp } else { Purpose::SignIn });
        request.context.ip = place.ip(self.seed, user);
        if !first_factor {
            request.first_factor = None;
        }
        let same = |card: &Card| {
            card.app == app
                && card.user == user
                && card.session == session
                && card.decided.is_none()
        };
        let asks_same = |c: &Card| c.step_up == step_up && c.first_factor == first_factor;
        let again = self.cards.iter().position(|c| same(c) && asks_same(c));
        let created = self.world.create_with(&self.apps[app], request).await.expect("a challenge");
        if let Some(at) = again {
            assert_eq!(created.view.id, self.cards[at].created.view.id, "merges");
            return;
        }
        let now = self.world.now();
        for card in self.cards.iter_mut().filter(|card| same(card)) {
            card.decided = Some((Decision::Superseded, now, None));
        }
        let number = created.number.as_ref().expect("a number");
        for other in self.live(user) {
            let taken = other.created.number.as_ref().expect("a number");
            assert!(!taken.matches(number.as_str()), "live numbers are distinct");
        }
        let mode = self.world.mode(created.view.id).await;
        let card = Card {
            created,
            app,
            user,
            session,
            place,
            step_up,
            first_factor,
            rings: mode == Mode::Ring,
            decoy: mode == Mode::Decoy,
            withheld: None,
            ends: now.plus(Duration::from_secs(90)),
            decided: None,
            redeemed: false,
            lapsed: false,
            wrong_sessions: 0,
        };
        self.is_as_promised(&card);
        let home_rings = self.live(user).any(|card| card.rings && card.place == At::Home);
        self.collided[user] |= home_rings && first_factor && place != At::Home;
        match mode {
            Mode::Ring => self.tally.rang += 1,
            Mode::Silent => self.tally.silent += 1,
            Mode::Decoy => {}
        }
        self.cards.push(card);
    }

    /// What the contract promises of how a challenge reaches its user.
    fn is_as_promised(&self, new: &Card) {
        let real = || self.live(new.user).filter(|card| !card.decoy);
        // an address is one place at each integration, and nowhere is one place everywhere
        let same_place = |card: &&Card| {
            card.place == new.place && (card.app == new.app || new.place == At::Nowhere)
        };
        // nobody loses enrolment here: revoking leaves the TOTP secret of the first device alone
        assert!(!new.decoy, "no flood makes a person's own request a decoy");
        assert!(new.first_factor || !new.rings, "nothing rings without a first factor");
        let ringing = || real().filter(|card| card.rings);
        if new.rings {
            let takes_the_ring = ringing().all(|card| card.place < new.place);
            let again = new.place == At::Home && ringing().any(|card| same_place(&card));
            assert!(takes_the_ring || again, "one rings, unless a more familiar place asks");
        }
        if new.decoy || !new.first_factor {
            return;
        }
        let past = || self.cards.iter().filter(|card| card.user == new.user);
        let unresolved = |card: &Card| !card.is(Decision::Approved) && !card.decoy;
        if new.place == At::Home && !past().any(|card| card.place == At::Home && unresolved(card)) {
            assert!(new.rings, "whatever strangers do, home rings");
        }
        let wrong_codes = self.codes[new.user].wrong.iter().any(|wrong| *wrong > 0);
        let doubted = self.doubts[new.user] > Doubt::None || self.collided[new.user];
        if !doubted && !wrong_codes && !past().any(unresolved) {
            assert!(new.rings, "nothing speaks against it");
        }
        if new.rings && new.place != At::Home {
            let strange = |card: &&Card| card.place != At::Home;
            let rang = past().filter(strange).filter(|card| card.rings && unresolved(card)).count();
            let passed = past().filter(strange).filter(|card| card.is(Decision::Approved)).count();
            assert!(rang < STRANGERS_RINGS + passed, "strangers soon stop ringing");
        }
    }

    /// What a person types, and whose number it is if not this card's. `None` without another to take it from.
    fn typed(
        &self,
        at: usize,
        user: usize,
        how: How,
        own: &Number,
    ) -> Option<(AnswerDecision, String, Option<usize>)> {
        let mut others = (0..self.cards.len())
            .filter(|other| *other != at && self.cards[*other].user == user)
            .filter(|other| self.cards[*other].decided.is_none());
        Some(match how {
            How::Right | How::RightThenCode => {
                (AnswerDecision::Approve, own.as_str().to_owned(), None)
            }
            How::Wrong => {
                let all: Vec<&Created> = self.cards.iter().map(|card| &card.created).collect();
                (AnswerDecision::Approve, wrong_number(&all), None)
            }
            How::Others => {
                let other = others.next()?;
                let number = self.cards[other].created.number.clone().expect("a number");
                (AnswerDecision::Approve, number.as_str().to_owned(), Some(other))
            }
            How::Deny => (AnswerDecision::Deny, String::new(), None),
            How::Report => (AnswerDecision::Report, String::new(), None),
        })
    }

    async fn answer(&mut self, at: usize, stranger: bool, device: usize, how: How) {
        let user = self.cards[at].user ^ usize::from(stranger);
        let device = user * 2 + device;
        let id = self.cards[at].created.view.id;
        let own = self.cards[at].created.number.clone().expect("a number");
        let Some((decision, typed, crossed)) = self.typed(at, user, how, &own) else { return };
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
            if matches!(how, How::Report) {
                self.doubts[user] = Doubt::Reported;
                self.proven[user] = None;
            }
            let lapses = decided == Decision::Approved
                && matches!(how, How::Report)
                && !card.redeemed
                && !card.lapsed;
            self.cards[at].lapsed |= lapses;
            return;
        }
        let right = decision == AnswerDecision::Approve && own.matches(&typed);
        let is_withheld = answered.result == AnswerResult::Withheld;
        // without a first factor only push is offered: no code can be asked for
        let free = !card.first_factor || self.proven[user] == Some((card.app, card.place));
        if right && card.place != At::Home && self.doubts[user] >= Doubt::Denied && !free {
            assert!(is_withheld, "stays pending until a code passes: {answered:?}");
        }
        if is_withheld {
            assert!(right && card.place != At::Home && self.doubts[user] > Doubt::None);
            self.cards[at].withheld = Some(device);
            self.tally.withheld += 1;
            if matches!(how, How::RightThenCode) {
                self.code(at, true).await;
            }
            return;
        }
        let expected = match decision {
            AnswerDecision::Approve if right => Decision::Approved,
            AnswerDecision::Approve => Decision::Mismatch,
            AnswerDecision::Deny => Decision::Denied,
            AnswerDecision::Report => Decision::Reported,
        };
        assert_eq!(decision_of(answered.result), expected);
        let home = card.place == At::Home;
        self.doubts[user] = self.doubts[user].max(match expected {
            Decision::Reported => Doubt::Reported,
            Decision::Denied if !home => Doubt::Denied,
            _ => Doubt::None,
        });
        if expected == Decision::Reported || expected == Decision::Denied && !home {
            self.proven[user] = None;
        }
        self.cards[at].decided = Some((expected, now, Some(device)));
        if let (Decision::Mismatch, Some(other)) = (expected, crossed) {
            // typed into a stranger's card, the number of the person's own screen ends the stranger's alone
            if home || self.cards[other].place != At::Home {
                self.cards[other].decided = Some((Decision::Mismatch, now, Some(device)));
            }
        }
    }

    async fn code(&mut self, at: usize, right: bool) {
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
        let lane = card.lane();
        let wrong = &mut codes.wrong[usize::from(lane.code()) - 1];
        // no sequence is long enough for one to come back
        let allowed = card.first_factor && *wrong < Budgets::DEFAULT.of(lane).day.burst;
        let step = now.seconds() / 30;
        if allowed && right && step > codes.last_step {
            assert_eq!(decision_of_state(answer.expect("a view").state), Decision::Approved);
            codes.last_step = step;
            // both stand behind it then, unless the device went meanwhile
            let both = card.withheld.filter(|device| !self.revoked[*device]);
            if card.withheld.is_some() {
                self.tally.passed_by_code += 1;
                // whoever is nowhere can't be recognised
                let place = (card.place == At::Hotel).then_some((card.app, card.place));
                self.proven[card.user] = place;
                self.doubts[card.user] = match self.doubts[card.user] {
                    Doubt::Denied => Doubt::Resolved,
                    doubt => doubt,
                };
            }
            self.cards[at].decided = Some((Decision::Approved, now, both));
            return;
        }
        assert_eq!(answer.err(), Some(Error::CodeWrong));
        if allowed {
            *wrong += 1;
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

    /// Whether there were as many others of its kind as the app shows.
    fn gave_way(&self, card: &Card) -> bool {
        let kind =
            |other: &&Card| (other.user, other.first_factor) == (card.user, card.first_factor);
        self.cards.iter().filter(kind).count() > if card.first_factor { 8 } else { 2 }
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
            let cards = self.world.cards(&self.devices[device], silent).await;
            let shown: Vec<ChallengeId> = cards.iter().map(|card| card.0).collect();
            let live: Vec<&Card> = self.live(device / 2).filter(|c| silent || c.rings).collect();
            let is_live = |id: &ChallengeId| live.iter().any(|card| card.created.view.id == *id);
            assert!(shown.iter().all(is_live), "{shown:?}");
            for card in live.iter().filter(|card| !shown.contains(&card.created.view.id)) {
                assert!(!card.rings && self.gave_way(card), "{:?}", card.created.view.id);
            }
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

/// Makes home known: each user signs in from there, and days pass.
async fn settle_in(
    world: &World,
    apps: &[Caller],
    names: &[String],
    devices: &[Device],
    seed: u64,
) {
    for (user, name) in names.iter().enumerate() {
        for app in apps {
            let mut request = world.request(name, "home");
            request.context.ip = At::Home.ip(seed, user);
            let created = world.create_with(app, request).await.expect("a challenge");
            world.approve(&devices[user * 2], &created).await;
        }
    }
    // all together stay within the time that the guard tells apart, which ends in 2105
    world.pass(Duration::from_secs(2 * 24 * 60 * 60));
}

async fn sequence(world: &World, apps: &[Caller], seed: u64) -> Tally {
    let mut rng = StdRng::seed_from_u64(seed);
    let names = [format!("a{seed}"), format!("b{seed}")];
    let mut devices = Vec::new();
    for name in &names {
        world.user(name).await;
        for reason in [None, Some("second")] {
            devices.push(world.enrol(name, reason).await.expect("a device"));
        }
    }
    settle_in(world, apps, &names, &devices, seed).await;
    let mut trace = Trace { seed, moves: Vec::new() };
    let mut model = Model {
        world,
        apps,
        names,
        devices,
        revoked: [false; 4],
        cards: Vec::new(),
        codes: [Codes::default(), Codes::default()],
        doubts: [Doubt::None; 2],
        proven: [None; 2],
        collided: [false; 2],
        seed,
        tally: Tally::default(),
    };
    for _ in 0..MOVES {
        let step = draw(&mut rng);
        trace.moves.push(step);
        model.step(step).await;
    }
    model.tally
}

#[tokio::test]
async fn the_use_cases_agree_with_the_model() {
    let world = World::new().await;
    let apps = [world.integration("vpn").await, world.integration("mail").await];
    let fresh = 0..u64::try_from(runs(90, 10_000)).expect("a count");
    let fresh = fresh.filter(|seed| !KEPT.contains(seed));
    let mut sequences = 0;
    let mut all = Tally::default();
    for seed in KEPT.into_iter().chain(fresh) {
        let tally = sequence(&world, &apps, seed).await;
        sequences += 1;
        all.rang += tally.rang;
        all.silent += tally.silent;
        all.withheld += tally.withheld;
        all.passed_by_code += tally.passed_by_code;
    }
    let Tally { rang, silent, withheld, passed_by_code } = all;
    println!(
        "counted: {sequences} sequences of {MOVES} moves agree with the model: {rang} rang, {silent} were silent, \
         {withheld} withheld, {passed_by_code} of those passed by a code"
    );
    let least = [rang, silent, withheld, passed_by_code].into_iter().min();
    assert!(least > Some(0), "each of these has to come about");
}
