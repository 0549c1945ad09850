//! Somebody who signs in again and again with their device, now rightly, now wrongly.

use std::convert::Infallible;

use authenticator_native::Account;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use server::clock;
use server::demo::raw_device::RawDevice;
use statement::{AnswerDecision, ChallengeId, Timestamp};

use super::facts::{Collected, FRESH};
use super::{Lost, Site, Told};
use crate::child::Asked;

/// Decided challenges that are answered again after a restart.
const ANSWERED_AGAIN: usize = 3;

pub(crate) struct Pusher {
    user: String,
    account: Account,
    rng: StdRng,
    made: u64,
    sitting: Option<Sitting>,
    decided: Vec<Answered>,
}

/// A sign-in until all of it is known.
struct Sitting {
    session: String,
    asked: Option<Asked>,
    /// What an answer that was sent would make of it, and since when it may have.
    sent: Option<(&'static str, Timestamp)>,
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
        let rng = StdRng::seed_from_u64(seed);
        let user = user.to_owned();
        Self { user, account, rng, made: 0, sitting: None, decided: Vec::new() }
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
            let mut sitting = self.sitting.take().unwrap_or_else(|| self.sit_down());
            let over = self.sign_in(site, told, &mut device, &mut sitting).await;
            self.account.counter = device.account().counter;
            if let Err(lost) = over {
                self.sitting = Some(sitting);
                return Err(lost);
            }
        }
    }

    fn sit_down(&mut self) -> Sitting {
        self.made += 1;
        let session = format!("{}-{}", self.user, self.made);
        Sitting {
            session: format!("{session:-<22}"),
            asked: None,
            sent: None,
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
            state = self.decide(site, told, device, &asked, choice, since).await?;
        }
        let (outcome, since) = sitting.sent.expect("nobody else decides");
        assert_eq!(state, outcome, "{}", asked.id);
        told.lock().decided(&asked, &state, since);
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
        asked: &Asked,
        choice: Choice,
        since: Timestamp,
    ) -> Result<String, Lost> {
        let Some(decision) = choice.signed() else {
            let reply = site.send("DELETE", &asked.path(""), Value::Null).await?;
            return Ok(reply.text("state").to_owned());
        };
        let document = prompted(device, asked).await?;
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
}

/// Waits for the prompt of one challenge.
async fn prompted(device: &mut RawDevice, asked: &Asked) -> Result<Vec<u8>, Lost> {
    loop {
        match device.prompt().await {
            Ok((challenge, document)) if challenge == asked.challenge() => return Ok(document),
            Ok(_) => {}
            Err(error) => {
                assert_ne!(error, "nothing came in time", "a prompt for {}", asked.id);
                return Err(Lost);
            }
        }
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
