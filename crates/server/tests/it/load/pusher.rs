//! Somebody who signs in again and again with their device, now rightly, now wrongly.
//!
//! Once they denied or reported something, an approval takes a code as well, until one has passed after a denial.
//! After some of those it is somebody else's turn.

use std::convert::Infallible;

use authenticator_native::Account;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use server::clock;
use server::demo::raw_device::RawDevice;
use statement::{AnswerDecision, ChallengeId, Timestamp};

use super::coder::{Code, shown};
use super::facts::{Collected, FRESH};
use super::{Lost, Site, Told};
use crate::child::Asked;

/// Decided challenges that are answered again after a restart.
const ANSWERED_AGAIN: usize = 3;
/// Sign-ins of somebody who denied or reported one before.
const AS_SUSPECT: u8 = 3;

pub(crate) struct Pusher {
    name: String,
    /// Who it is now: each has a turn until they are suspect for long enough.
    turn: u64,
    user: String,
    /// Sign-ins that are left to a suspect; `None` for those who denied nothing.
    suspect: Option<u8>,
    /// Whether what they approve must be withheld: a code that passes ends what a denial began.
    doubted: bool,
    /// The last code that was typed: none is worth anything twice.
    typed: Option<String>,
    account: Account,
    rng: StdRng,
    made: u64,
    sitting: Option<Sitting>,
    decided: Vec<Answered>,
}

/// A sign-in until all of it is known.
struct Sitting {
    session: String,
    /// It wasn't asked for before this.
    begun: Timestamp,
    asked: Option<Asked>,
    /// What was sent would make this of it, and since when it may have.
    sent: Option<(&'static str, Timestamp)>,
    /// A code that was submitted, perhaps in vain.
    code: Option<Code>,
    collects: bool,
    /// A redeem was sent.
    collecting: bool,
}

struct Answered {
    challenge: ChallengeId,
    document: Vec<u8>,
    state: String,
}

#[derive(Clone, Copy)]
enum Choice {
    Approve,
    WrongNumber,
    Deny,
    Report,
    Cancel,
}

impl Choice {
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..10) {
            0..5 => Self::Approve,
            5 => Self::WrongNumber,
            6 | 7 => Self::Deny,
            8 => Self::Report,
            _ => Self::Cancel,
        }
    }

    const fn outcome(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::WrongNumber => "mismatch",
            Self::Deny => "denied",
            Self::Report => "reported",
            Self::Cancel => "cancelled",
        }
    }

    const fn signed(self) -> Option<AnswerDecision> {
        match self {
            Self::Approve | Self::WrongNumber => Some(AnswerDecision::Approve),
            Self::Deny => Some(AnswerDecision::Deny),
            Self::Report => Some(AnswerDecision::Report),
            Self::Cancel => None,
        }
    }
}

impl Pusher {
    pub(super) fn new(user: &str, account: Account, seed: u64) -> Self {
        Self {
            name: user.to_owned(),
            turn: 1,
            user: user.to_owned(),
            suspect: None,
            doubted: false,
            typed: None,
            account,
            rng: StdRng::seed_from_u64(seed),
            made: 0,
            sitting: None,
            decided: Vec::new(),
        }
    }

    pub(super) async fn run(&mut self, site: &Site, told: &Told) {
        match self.go_on(site, told).await {
            Err(Lost) => {}
            Ok(never) => match never {},
        }
    }

    async fn go_on(&mut self, site: &Site, told: &Told) -> Result<Infallible, Lost> {
        let mut device = site.wire(site.log_in(&self.account)).await?;
        self.answer_again(site, &mut device).await?;
        loop {
            if self.suspect == Some(0) {
                device = self.give_way(site, told).await?;
            }
            let mut sitting = self.sitting.take().unwrap_or_else(|| self.sit_down());
            let over = self.sign_in(site, told, &mut device, &mut sitting).await;
            self.account.counter = device.account().counter;
            if let Err(lost) = over {
                self.sitting = Some(sitting);
                return Err(lost);
            }
        }
    }

    /// Somebody else comes, of whom nothing is known.
    async fn give_way(&mut self, site: &Site, told: &Told) -> Result<RawDevice, Lost> {
        // an enrolment that wasn't confirmed is gone with the attempt, so each has another name
        self.turn += 1;
        let user = format!("{}-{}", self.name, self.turn);
        let account = site.enrol(&user, told).await?;
        self.decided.clear();
        (self.suspect, self.doubted, self.typed) = (None, false, None);
        (self.user, self.account) = (user, account);
        site.wire(site.log_in(&self.account)).await
    }

    fn sit_down(&mut self) -> Sitting {
        self.made += 1;
        let session = format!("{}-{}", self.user, self.made);
        Sitting {
            session: format!("{session:-<22}"),
            begun: clock::now(),
            asked: None,
            sent: None,
            code: None,
            collects: self.rng.random_bool(0.7),
            collecting: false,
        }
    }

    /// Whatever is answered now, decided challenges stay as they were told.
    async fn answer_again(&self, site: &Site, device: &mut RawDevice) -> Result<(), Lost> {
        for Answered { challenge, document, state } in &self.decided {
            let (other, number) = match state.as_str() {
                // not a report: that would take an approval back
                "approved" => (AnswerDecision::Deny, ""),
                _ => (AnswerDecision::Approve, "000000"),
            };
            let answer = device.sign(*challenge, document, other, number);
            let result = site.wire(device.answer(answer)).await?;
            if result == "retry" {
                return Err(site.unavailable());
            }
            assert_eq!(result, *state, "a second answer to {challenge}");
        }
        Ok(())
    }

    async fn sign_in(
        &mut self,
        site: &Site,
        told: &Told,
        device: &mut RawDevice,
        sitting: &mut Sitting,
    ) -> Result<(), Lost> {
        let asked = match &sitting.asked {
            Some(asked) => asked.clone(),
            None => sitting.asked.insert(site.ask(&self.user, &sitting.session).await?).clone(),
        };
        let mut state = site.state(&asked, "").await?;
        if state == "pending" {
            let choice = Choice::draw(&mut self.rng);
            let since = sitting.sent.map_or_else(clock::now, |(_, since)| since);
            sitting.sent = Some((choice.outcome(), since));
            state = match (choice, self.suspect) {
                (Choice::Approve, Some(_)) => self.approve_by_code(site, device, sitting).await?,
                _ => self.decide(site, told, device, sitting, choice).await?,
            };
        }
        let (outcome, since) = sitting.sent.expect("nobody else decides");
        assert_eq!(state, outcome, "{}", asked.id);
        told.lock().decided(&asked, &state, since);
        if let (Some(code), "approved") = (sitting.code.take(), state.as_str()) {
            told.lock().used(&self.user, code);
            self.doubted = false;
        }
        self.doubted |= matches!(state.as_str(), "denied" | "reported");
        self.suspect = match (self.suspect, state.as_str()) {
            (Some(left), _) => Some(left.saturating_sub(1)),
            (None, "denied" | "reported") => Some(AS_SUSPECT),
            (None, _) => None,
        };
        if state == "approved" && sitting.collects {
            collect(site, told, &asked, since, &mut sitting.collecting).await?;
        }
        Ok(())
    }

    /// Answers, while the page waits; each may hear of it though the other doesn't.
    async fn decide(
        &mut self,
        site: &Site,
        told: &Told,
        device: &mut RawDevice,
        sitting: &Sitting,
        choice: Choice,
    ) -> Result<String, Lost> {
        let asked = sitting.asked.as_ref().expect("it was asked for");
        let (_, since) = sitting.sent.expect("it says what is sent");
        let Some(decision) = choice.signed() else {
            let reply = site.send("DELETE", &asked.path(""), Value::Null).await?;
            return Ok(reply.text("state").to_owned());
        };
        let document = self.shown(site, device, sitting).await?;
        let number = match choice {
            Choice::Approve => asked.number.clone(),
            Choice::WrongNumber => asked.wrong_number(),
            Choice::Deny | Choice::Report | Choice::Cancel => String::new(),
        };
        let answer = device.sign(asked.challenge(), &document, decision, &number);
        let (result, page) =
            tokio::join!(site.wire(device.answer(answer)), site.state(asked, "?wait=2"));
        let result = match result {
            Ok(result) if result == "retry" => Err(site.unavailable()),
            result => result,
        };
        // a server that stops, or stores nothing, lets the page go
        let page = page.and_then(|state| if state == "pending" { Err(Lost) } else { Ok(state) });
        for state in [&result, &page].into_iter().flatten() {
            assert_eq!(state, choice.outcome(), "{}", asked.id);
            told.lock().decided(asked, state, since);
        }
        let (state, _) = (result?, page?);
        if self.decided.len() == ANSWERED_AGAIN {
            self.decided.remove(0);
        }
        let challenge = asked.challenge();
        self.decided.push(Answered { challenge, document, state: state.clone() });
        Ok(state)
    }

    /// Types the number and is asked for a code. Each step has one code: who has none left cancels.
    async fn approve_by_code(
        &mut self,
        site: &Site,
        device: &mut RawDevice,
        sitting: &mut Sitting,
    ) -> Result<String, Lost> {
        let document = self.shown(site, device, sitting).await?;
        let asked = sitting.asked.clone().expect("it was asked for");
        let answer = device.approval(asked.challenge(), &document, &asked.number);
        match site.wire(device.answer(answer)).await?.as_str() {
            "retry" => return Err(site.unavailable()),
            "approved" if !self.doubted => return Ok("approved".to_owned()),
            result => assert_eq!(result, "withheld", "{}", asked.id),
        }
        assert_eq!(site.state(&asked, "").await?, "pending", "withheld, {}", asked.id);
        let code = shown(&self.account);
        let reply = if self.typed.as_ref() == Some(&code.digits) {
            let (outcome, since) = (Choice::Cancel.outcome(), clock::now());
            sitting.sent = Some((outcome, since));
            site.send("DELETE", &asked.path(""), Value::Null).await?
        } else {
            self.typed = Some(code.digits.clone());
            let body = json!({"code": code.digits});
            sitting.code = Some(code);
            site.send("POST", &asked.path("/code"), body).await?
        };
        assert_eq!(reply.outcome(), "200", "of a withheld approval, {}", asked.id);
        Ok(reply.text("state").to_owned())
    }

    /// Waits for the prompt of a challenge that rang; opens the app for one that is silent.
    async fn shown(
        &self,
        site: &Site,
        device: &mut RawDevice,
        sitting: &Sitting,
    ) -> Result<Vec<u8>, Lost> {
        let asked = sitting.asked.as_ref().expect("it was asked for");
        let mode = site.mode(asked, &self.user, sitting.begun).await?;
        let shown = match mode.as_str() {
            "ring" => device.rung(asked.challenge()).await,
            mode => {
                assert_eq!(mode, "silent", "{}", asked.id);
                device.find(asked.challenge()).await
            }
        };
        shown.map_err(|error| {
            assert_ne!(error, "nothing came in time", "{}, which was {mode}", asked.id);
            Lost
        })
    }
}

/// Redeems. `collecting` says whether that was tried before without an answer.
async fn collect(
    site: &Site,
    told: &Told,
    asked: &Asked,
    since: Timestamp,
    collecting: &mut bool,
) -> Result<(), Lost> {
    if told.lock().is_collected(&asked.id) {
        // by who looked whether it still can be
        return Ok(());
    }
    let again = std::mem::replace(collecting, true);
    told.lock().collected(&asked.id, Collected::Asked);
    let body = json!({"browser_session": asked.session});
    let reply = site.send("POST", &asked.path("/redeem"), body).await?;
    let collected = match reply.outcome().as_str() {
        "200" => Collected::Yes,
        "409 already_redeemed" if again => Collected::Yes,
        "409 lapsed" if clock::now().since(since) > FRESH => Collected::Lapsed,
        other => panic!("redeem of {}: {other}", asked.id),
    };
    told.lock().collected(&asked.id, collected);
    Ok(())
}
