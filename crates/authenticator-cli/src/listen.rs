//! Waiting for requests, for all accounts at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal as _;
use std::sync::Arc;

use authenticator_native::{
    Account, AnswerError, Card, Choice, Client, Decision, Event, Handle, KeyFile, Reconnect, Stop,
};
use rustix::termios::{QueueSelector, tcflush};
use statement::{ChallengeId, DeviceId};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::human::{self, Typed};
use crate::input::{Line, lines};
use crate::json;
use crate::output::{put, say};

/// Challenges whose account is remembered; a server holds some dozens per user.
const MAX_KNOWN: usize = 1024;

/// An account that is served.
struct Served {
    name: String,
    handle: Handle,
    connected: bool,
}

struct Listener {
    served: BTreeMap<DeviceId, Served>,
    /// Whose a challenge is, and who asks.
    known: BTreeMap<ChallengeId, (DeviceId, String)>,
    several: bool,
    screen: Option<Screen>,
    last_stop: Option<Stop>,
}

/// What a person sees.
#[derive(Default)]
struct Screen {
    /// Cards that wait, the newest before older ones.
    cards: VecDeque<(DeviceId, Card)>,
    /// Which the person sees: the first one, or none until they want to. What they type is for this one.
    shown: Option<ChallengeId>,
    /// Whether the person has "opened the app" by starting it.
    opened: bool,
}

pub(crate) async fn run(json: bool, file: KeyFile) -> Result<(), Failure> {
    let accounts = file.accounts()?;
    if accounts.is_empty() {
        return Err(Failure::usage("no_accounts", "no accounts here: enrol first"));
    }
    let (sender, mut events) = mpsc::channel(64);
    let mut listener = Listener::start(accounts, file, &sender, json);
    drop(sender); // so that the channel ends with the last session
    let mut lines = lines();
    let mut reading = true;
    let stop = stop_signal();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            event = events.recv() => match event {
                None => return Err(listener.all_stopped()),
                Some((device, event)) => listener.on_event(device, event).await,
            },
            line = lines.recv(), if reading => match line {
                // nobody types any more: go on showing what happens
                None => reading = false,
                Some(line) => if !listener.on_line(&line).await { break },
            },
        }
    }
    for served in listener.served.values() {
        served.handle.close().await;
    }
    while events.recv().await.is_some() {}
    Ok(())
}

async fn stop_signal() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate => {}
    }
}

impl Listener {
    fn start(
        accounts: Vec<Account>,
        file: KeyFile,
        events: &mpsc::Sender<(DeviceId, Event)>,
        json: bool,
    ) -> Self {
        let client = Client::default();
        let save = Arc::new(file);
        let several = accounts.len() > 1;
        if !json {
            let names: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
            say(&format!("Listening for {}. ? helps, q quits.", names.join(", ")));
        }
        let serve = |account: Account| {
            let (device, name) = (account.device, account.name.clone());
            let (handle, _) = client.run(account, save.clone(), events.clone(), Reconnect::Forever);
            (device, Served { name, handle, connected: false })
        };
        Self {
            served: accounts.into_iter().map(serve).collect(),
            known: BTreeMap::new(),
            several,
            screen: (!json).then(Screen::default),
            last_stop: None,
        }
    }

    fn all_stopped(&self) -> Failure {
        let why = self.last_stop.as_ref().map(ToString::to_string).unwrap_or_default();
        Failure::refused("stopped", format_args!("no account is served any more: {why}"))
    }

    fn name(&self, device: DeviceId) -> &str {
        self.served.get(&device).map_or("", |served| served.name.as_str())
    }

    async fn on_event(&mut self, device: DeviceId, event: Event) {
        if let Event::Prompt(card) = &event {
            if self.known.len() >= MAX_KNOWN {
                self.known.pop_first(); // ids begin with their time: the oldest
            }
            self.known.insert(card.challenge, (device, card.integration_name.clone()));
        }
        if self.screen.is_none() {
            let connected = self.served.get(&device).is_some_and(|served| served.connected);
            for value in json::event(self.name(device), &event, connected) {
                say(&value.to_string());
            }
        } else {
            self.show_event(device, &event).await;
        }
        if let Some(served) = self.served.get_mut(&device) {
            match event {
                Event::Connected { .. } => served.connected = true,
                Event::Disconnected { .. } => served.connected = false,
                _ => {}
            }
        }
        if let Event::Stopped(stop) = event {
            self.served.remove(&device);
            self.last_stop = Some(stop);
            self.drop_cards_of(device);
        }
    }

    /// `false` to quit.
    async fn on_line(&mut self, line: &Line) -> bool {
        if self.screen.is_some() {
            return self.on_typed(line).await;
        }
        if line.is_empty() {
            return true;
        }
        match json::command(line) {
            Err(detail) => say(&json::error(None, "bad_line", detail).to_string()),
            Ok(json::Command::Pull) => self.pull().await,
            Ok(json::Command::Answer(challenge, choice)) => {
                if let Err(refusal) = self.answer(challenge, choice).await {
                    let code = match refusal {
                        AnswerError::Unknown => "unknown_challenge",
                        AnswerError::InFlight => "in_flight",
                        AnswerError::Number(_) => "number",
                    };
                    let account = self.known.get(&challenge).map(|(device, _)| self.name(*device));
                    let mut value = json::error(account, code, &refusal.to_string());
                    value["challenge"] = challenge.to_string().into();
                    say(&value.to_string());
                }
            }
        }
        true
    }

    async fn pull(&self) {
        for served in self.served.values() {
            // a session that has ended said so by an event
            let _ = served.handle.pull().await;
        }
    }

    async fn answer(&self, challenge: ChallengeId, choice: Choice) -> Result<(), AnswerError> {
        let (device, _) = self.known.get(&challenge).ok_or(AnswerError::Unknown)?;
        let served = self.served.get(device).ok_or(AnswerError::Unknown)?;
        // this terminal doesn't check its owner for each answer
        let answered = served.handle.answer(challenge, choice, false).await;
        answered.unwrap_or(Err(AnswerError::Unknown))
    }
}

// --- for people ---

impl Listener {
    async fn show_event(&mut self, device: DeviceId, event: &Event) {
        let name = self.name(device).to_owned();
        let asker = |challenge: &ChallengeId| {
            self.known.get(challenge).map_or("", |(_, asker)| asker.as_str()).to_owned()
        };
        match event {
            Event::Save => {}
            Event::TotpRebound => {
                self.aside(&format!("{name}: the codes of this device were renewed."));
            }
            Event::Connected { .. } => {
                let whose = if self.several { format!(": {name}") } else { String::new() };
                self.aside(&format!("Connected{whose}."));
                let first = self
                    .screen
                    .as_mut()
                    .is_some_and(|screen| !std::mem::replace(&mut screen.opened, true));
                if first && std::io::stdin().is_terminal() {
                    self.pull().await; // a person started this by hand: they opened the app
                }
            }
            Event::Prompt(card) => self.show_card(device, card.clone()).await,
            Event::Answered { challenge, outcome } => {
                let line = human::answered(&asker(challenge), *outcome);
                if self.is_shown(*challenge) {
                    say(&line)
                } else {
                    self.aside(&line)
                }
                self.end_card(*challenge, None, false);
            }
            Event::Settled { challenge, decision } => {
                let line = human::settled(&asker(challenge), *decision);
                let decided = !matches!(
                    decision,
                    Decision::Expired | Decision::Cancelled | Decision::Superseded
                );
                self.end_card(*challenge, Some(line), decided);
            }
            Event::Lapsed { challenge } => {
                let line = format!("The request of {} is over.", asker(challenge));
                self.end_card(*challenge, Some(line), false);
            }
            Event::GaveWay { challenge } => self.end_card(*challenge, None, false),
            Event::Pulled { .. } => self.show_pulled().await,
            Event::PromptDropped(fault) => {
                self.aside(&format!("{name}: a request was not shown: {fault}."));
            }
            Event::Notice(notice) => {
                self.aside(&format!("For your information: {}", notice.text));
            }
            Event::Fault(fault) => self.aside(&format!("{name}: {fault}.")),
            Event::Disconnected { was_connected, retry_in } => {
                let what = if *was_connected { "connection lost" } else { "not reachable" };
                let seconds = retry_in.as_secs().max(1);
                self.aside(&format!("{name}: {what}, trying again in {seconds} s."));
            }
            Event::Stopped(stop) => self.aside(&human::stopped(&name, stop)),
        }
    }

    fn is_shown(&self, challenge: ChallengeId) -> bool {
        self.screen.as_ref().is_some_and(|screen| screen.shown == Some(challenge))
    }

    /// Says something beside the card on the screen, and asks again for its answer.
    fn aside(&self, text: &str) {
        let first = self.screen.as_ref().and_then(|screen| {
            screen.shown.and(screen.cards.front()).map(|(_, card)| human::question(card))
        });
        match first {
            Some(question) => {
                say(&format!("\n{text}"));
                put(&question);
            }
            None => say(text),
        }
    }

    async fn show_card(&mut self, device: DeviceId, card: Card) {
        let Some(screen) = &mut self.screen else {
            return;
        };
        if card.alert {
            put("\u{7}");
        }
        let (rings, is_shown) = (card.alert, screen.shown.is_some());
        // the newest comes first, but for the one on the screen
        screen.cards.insert(usize::from(is_shown), (device, card));
        if !rings {
            // those that didn't ring come together, and are told of when all are here
        } else if is_shown {
            let waiting = screen.cards.len() - 1;
            self.aside(&format!("Another request is waiting ({waiting}): s skips to it."));
        } else {
            forget_half_a_line();
            self.show_first().await;
        }
    }

    /// Shows the newest of what didn't ring, unless a card is on the screen: a number may be half typed.
    async fn show_pulled(&mut self) {
        let Some(screen) = &mut self.screen else {
            return;
        };
        if screen.cards.is_empty() {
            say("Nothing is waiting for you.");
        } else if screen.shown.is_none() {
            self.show_newest().await;
        } else {
            let text = match screen.cards.len() - 1 {
                0 => "Nothing else is waiting.".to_owned(),
                others => format!("Other requests are waiting ({others}): s skips to the newest."),
            };
            self.aside(&text);
        }
    }

    async fn show_newest(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.cards.make_contiguous().sort_by_key(|(_, card)| Reverse(card.created_at));
        }
        self.show_first().await;
    }

    /// Shows the first card whose time isn't over, and asks.
    async fn show_first(&mut self) {
        let Some(screen) = &mut self.screen else { return };
        screen.shown = None;
        while let Some((device, card)) = screen.cards.front() {
            let cards = match self.served.get(device) {
                Some(served) => served.handle.cards().await.unwrap_or_default(),
                None => Vec::new(),
            };
            let left = cards.iter().find(|(other, _)| other.challenge == card.challenge);
            let (Some((_, left)), Some(served)) = (left, self.served.get(device)) else {
                say(&format!("A request of {} is over.", card.integration_name));
                screen.cards.pop_front();
                continue;
            };
            // an error means that the session has ended, which its events tell
            let _ = served.handle.look_at(Some(card.challenge)).await;
            let account = self.several.then_some(served.name.as_str());
            put(&human::card(card, account, *left, screen.cards.len() - 1));
            put(&human::question(card));
            screen.shown = Some(card.challenge);
            return;
        }
    }

    /// The account is served no more: nobody takes answers to its requests.
    fn drop_cards_of(&mut self, device: DeviceId) {
        let Some(screen) = &mut self.screen else { return };
        let own = screen.cards.iter().filter(|(whose, _)| *whose == device);
        let own: Vec<ChallengeId> = own.map(|(_, card)| card.challenge).collect();
        own.into_iter().for_each(|challenge| self.end_card(challenge, None, false));
    }

    /// Takes a card away. `line` is said of what was on the screen, rang or was decided elsewhere: of a flood that
    /// nobody looked at, not a word each. No other card comes in its place by itself: a number may be half typed.
    fn end_card(&mut self, challenge: ChallengeId, line: Option<String>, decided: bool) {
        let Some(screen) = &mut self.screen else {
            return;
        };
        let place = screen.cards.iter().position(|(_, card)| card.challenge == challenge);
        let Some((_, card)) = place.and_then(|place| screen.cards.remove(place)) else {
            return;
        };
        let was_shown = screen.shown == Some(challenge);
        let line = line.filter(|_| was_shown || card.alert || decided);
        if !was_shown {
            if let Some(line) = line {
                self.aside(&line);
            }
            return;
        }
        screen.shown = None;
        if let Some(line) = line {
            forget_half_a_line();
            say(&format!("\n{line}"));
        }
        if !screen.cards.is_empty() {
            say(&format!("More are waiting ({}): s shows the newest.", screen.cards.len()));
        }
    }

    /// `false` to quit.
    async fn on_typed(&mut self, line: &str) -> bool {
        let typed = Typed::read(line);
        let Some(screen) = &mut self.screen else {
            return false;
        };
        let first = screen.shown;
        let (choice, challenge) = match (typed, first) {
            (Typed::Quit, _) => return false,
            (Typed::Help, _) => {
                say(human::HELP);
                self.show_first().await;
                return true;
            }
            (Typed::Pull, _) => {
                self.pull().await;
                return true;
            }
            (Typed::Next, Some(_)) => {
                screen.cards.rotate_left(1);
                self.show_first().await;
                return true;
            }
            (Typed::Next, None) if !screen.cards.is_empty() => {
                self.show_newest().await;
                return true;
            }
            (_, None) => {
                say(if screen.cards.is_empty() {
                    "Nothing is waiting for an answer. Enter asks the server."
                } else {
                    "Nothing was sent. Look first: s shows the newest request."
                });
                return true;
            }
            (Typed::Number(number), Some(first)) => (Choice::approve(number), first),
            (Typed::Deny, Some(first)) => (Choice::Deny, first),
            (Typed::Report, Some(first)) => (Choice::Report, first),
        };
        match self.answer(challenge, choice).await {
            Ok(()) => {}
            Err(AnswerError::Number(error)) => {
                say(&format!("That can't be it: {error}."));
                self.show_first().await;
            }
            Err(error) => self.aside(&format!("{error}.")),
        }
        true
    }
}

/// What is typed and not sent off was meant for the request that was on the screen.
fn forget_half_a_line() {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // where it can't be done, a line is longer than the number that is wanted
        let _ = tcflush(stdin, QueueSelector::IFlush);
    }
}
