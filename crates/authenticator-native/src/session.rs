//! One account's connection, in a task of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use authenticator::{Account, AnswerError, Card, Choice, Connection, Event, Next, Output, Stop};
use futures_util::{SinkExt as _, StreamExt as _};
use statement::{ChallengeId, DeviceId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::Clock;
use crate::dial::{Client, ConnectError, Socket, dial_account};
use crate::save::{InMemory, Save};

/// A server that hasn't let us in by then never will: it closes after 5 s and 10 s itself.
const LOGIN_WITHIN: Duration = Duration::from_secs(20);
/// Pings come every 25 s: two were missed.
const SILENT: Duration = Duration::from_secs(65);
/// A frame is 8 KiB at most: a socket that doesn't take it for so long is dead.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait for the other side's close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Events that wait for a slow reader before the socket is left alone: TCP holds the server back then.
const MAX_WAITING: usize = 64;
/// Commands that wait for a session.
const MAX_COMMANDS: usize = 16;

/// Whether to come back after a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// As the protocol says, until told to stop.
    Forever,
    /// One connection only.
    Never,
}

/// The session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct SessionClosed;

enum Command {
    Answer {
        challenge: ChallengeId,
        choice: Choice,
        user_verified: bool,
        reply: oneshot::Sender<Result<(), AnswerError>>,
    },
    Pull,
    LookAt(Option<ChallengeId>),
    Cards(oneshot::Sender<Vec<(Card, Duration)>>),
    Account(oneshot::Sender<Box<Account>>),
    Redial,
    Close,
}

/// Commands to a session. When the last one is dropped, the session ends.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

impl Handle {
    /// Answers a challenge: sent now, or as soon as there is a connection. What became of it arrives as
    /// [`Event::Answered`].
    ///
    /// # Errors
    /// [`SessionClosed`] outside; [`AnswerError`] inside if nothing will be sent.
    pub async fn answer(
        &self,
        challenge: ChallengeId,
        choice: Choice,
        user_verified: bool,
    ) -> Result<Result<(), AnswerError>, SessionClosed> {
        self.ask(|reply| Command::Answer { challenge, choice, user_verified, reply }).await
    }

    /// The person opened the app: silent challenges are wanted too.
    ///
    /// # Errors
    /// [`SessionClosed`].
    pub async fn pull(&self) -> Result<(), SessionClosed> {
        self.commands.send(Command::Pull).await.map_err(|_| SessionClosed)
    }

    /// Which card the person looks at, if any: it doesn't give way to newer ones.
    ///
    /// # Errors
    /// [`SessionClosed`].
    pub async fn look_at(&self, challenge: Option<ChallengeId>) -> Result<(), SessionClosed> {
        self.commands.send(Command::LookAt(challenge)).await.map_err(|_| SessionClosed)
    }

    /// The cards that can be answered now, with the time that each has left.
    ///
    /// # Errors
    /// [`SessionClosed`].
    pub async fn cards(&self) -> Result<Vec<(Card, Duration)>, SessionClosed> {
        self.ask(Command::Cards).await
    }

    /// The account as it is now.
    ///
    /// # Errors
    /// [`SessionClosed`].
    pub async fn account(&self) -> Result<Account, SessionClosed> {
        self.ask(Command::Account).await.map(|account| *account)
    }

    /// The device has another network: what there is of a connection is given up without a word, and another one
    /// is made as after any that broke.
    ///
    /// # Errors
    /// [`SessionClosed`].
    pub async fn network_changed(&self) -> Result<(), SessionClosed> {
        self.commands.send(Command::Redial).await.map_err(|_| SessionClosed)
    }

    /// Says goodbye and ends the session.
    pub async fn close(&self) {
        // an error means that it has ended already
        let _ = self.commands.send(Command::Close).await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, SessionClosed> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SessionClosed)?;
        answer.await.map_err(|_| SessionClosed)
    }
}

/// A session with an event stream of its own.
#[derive(Debug)]
pub struct Session {
    /// To answer, pull and close.
    pub handle: Handle,
    /// What happens, in order; ends with the session.
    pub events: mpsc::Receiver<(DeviceId, Event)>,
    /// The task.
    pub task: JoinHandle<()>,
}

impl Client {
    /// Serves `account` with an event stream of its own, keeping changes in memory only.
    #[must_use]
    pub fn connect(&self, account: Account, reconnect: Reconnect) -> Session {
        let (sender, events) = mpsc::channel(MAX_WAITING);
        let (handle, task) = self.run(account, Arc::new(InMemory), sender, reconnect);
        Session { handle, events, task }
    }

    /// Serves `account` in a task of its own, whose events go to `events` under the account's device id. Many
    /// sessions may share one channel. Ends when told to, when the server says that it must not come back
    /// ([`Event::Stopped`]), when the last [`Handle`] is dropped or when nobody reads events any more.
    pub fn run(
        &self,
        account: Account,
        save: Arc<dyn Save>,
        events: mpsc::Sender<(DeviceId, Event)>,
        reconnect: Reconnect,
    ) -> (Handle, JoinHandle<()>) {
        let (sender, commands) = mpsc::channel(MAX_COMMANDS);
        let driver = Driver {
            device: account.device,
            core: Connection::new(account, &*self.agent),
            client: self.clone(),
            clock: Clock::start(),
            save,
            commands,
            events,
            waiting: VecDeque::new(),
        };
        (Handle { commands: sender }, tokio::spawn(driver.run(reconnect)))
    }
}

struct Driver {
    device: DeviceId,
    core: Connection,
    client: Client,
    clock: Clock,
    save: Arc<dyn Save>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<(DeviceId, Event)>,
    waiting: VecDeque<Event>,
}

/// How a connection, or a wait for one, ended.
enum End {
    /// The other side closed, with this code and reason if it said any.
    Closed(Option<u16>, String),
    /// This side wants no more.
    Over,
}

impl Driver {
    async fn run(mut self, reconnect: Reconnect) {
        loop {
            let (code, reason) = match self.connection().await {
                End::Closed(code, reason) => (code, reason),
                End::Over => break,
            };
            let next = self.core.on_close(code, &reason, self.clock.now(), &mut crate::rng());
            self.drain();
            match next {
                Next::Retry { after } if reconnect == Reconnect::Forever => {
                    let until = self.clock.now() + after;
                    if matches!(self.serve(None, Some(until)).await, End::Over) {
                        break;
                    }
                }
                Next::Retry { .. } | Next::Stop(_) => break,
            }
        }
        for event in self.waiting.drain(..) {
            if self.events.send((self.device, event)).await.is_err() {
                return;
            }
        }
    }

    /// One connection, from dialling to its end.
    async fn connection(&mut self) -> End {
        let account = self.core.account().clone();
        let client = self.client.clone();
        let dialled = tokio::select! {
            dialled = dial_account(&client, &account) => dialled,
            // commands don't wait for a network; nothing is half done if this is left
            end = self.serve(None, None) => return end,
        };
        match dialled {
            Err(error) => {
                tracing::info!(account = %account.name, %error, "not connected");
                if let ConnectError::Refused { retry_after: Some(wait), .. } = &error {
                    self.core.come_back_after(*wait);
                }
                End::Closed(None, error.to_string())
            }
            Ok(socket) => {
                self.core.open();
                self.serve(Some(socket), None).await
            }
        }
    }

    /// Serves commands, timers and, if there is one, a socket, until it ends or `until` comes.
    async fn serve(&mut self, mut socket: Option<Socket>, until: Option<Duration>) -> End {
        let mut heard = self.clock.now();
        let opened = heard;
        let events = self.events.clone();
        loop {
            if let Some(end) = self.pump(&mut socket).await {
                return end;
            }
            let silent = match (&socket, self.core.is_online()) {
                (None, _) => until,
                (Some(_), true) => Some(heard + SILENT),
                (Some(_), false) => Some(opened + LOGIN_WITHIN),
            };
            let wake = self.core.next_wake().into_iter().chain(silent).min();
            let wake = wake.map(|wake| self.clock.at(wake));
            tokio::select! {
                biased;
                permit = events.reserve(), if !self.waiting.is_empty() => {
                    let (Ok(permit), Some(event)) = (permit, self.waiting.pop_front()) else {
                        return End::Over;
                    };
                    permit.send((self.device, event));
                }
                command = self.commands.recv() => {
                    if matches!(command, Some(Command::Redial)) {
                        if socket.is_some() {
                            return End::Closed(None, "the network changed".to_owned());
                        }
                        continue;
                    }
                    if !self.obey(command) {
                        if let Some(socket) = &mut socket {
                            close(socket, 1000).await;
                        }
                        return End::Over;
                    }
                }
                message = next_message(&mut socket), if self.waiting.len() < MAX_WAITING => {
                    heard = self.clock.now();
                    match message {
                        Some(Ok(Message::Binary(frame))) => self.core.on_frame(&frame, heard),
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                            return End::Closed(Some(code.into()), reason.to_string());
                        }
                        Some(Ok(Message::Text(_))) => {
                            if let Some(socket) = &mut socket {
                                close(socket, 1003).await;
                            }
                            return End::Closed(None, "a text message".to_owned());
                        }
                        Some(Ok(Message::Close(None) | Message::Frame(_)) | Err(_)) | None => {
                            return End::Closed(None, String::new());
                        }
                    }
                }
                () = sleep_until(wake.unwrap_or_else(|| self.clock.at(heard))), if wake.is_some() => {
                    let now = self.clock.now();
                    if silent.is_some_and(|at| now >= at) {
                        return End::Closed(None, "no word from the server".to_owned());
                    }
                    self.core.on_wake(now);
                }
            }
        }
    }

    /// Does what the core wants done, in its order. Something to return if that ends the connection.
    async fn pump(&mut self, socket: &mut Option<Socket>) -> Option<End> {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Event(Event::Save) => {
                    if let Err(error) = self.save.save(self.core.account()).await {
                        tracing::error!(account = %self.core.account().name, %error);
                        self.waiting.push_back(Event::Stopped(Stop::NotSaved));
                        return Some(End::Over);
                    }
                }
                Output::Event(event) => self.waiting.push_back(event),
                Output::Send(frame) => {
                    let Some(socket) = socket else { continue };
                    let frame = Message::Binary(Vec::from(frame).into());
                    if !matches!(timeout(SEND_WITHIN, socket.send(frame)).await, Ok(Ok(()))) {
                        return Some(End::Closed(None, "the connection broke".to_owned()));
                    }
                }
                Output::Close(code) => {
                    if let Some(socket) = socket {
                        close(socket, code).await;
                    }
                    return Some(End::Closed(None, String::new()));
                }
            }
        }
        None
    }

    /// Keeps the events of a connection that has ended; nothing else can be done any more.
    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            if let Output::Event(event) = output {
                self.waiting.push_back(event);
            }
        }
    }

    /// `false` if the session is to end.
    fn obey(&mut self, command: Option<Command>) -> bool {
        let now = self.clock.now();
        // a reply that nobody waits for any more is no error
        match command {
            None | Some(Command::Close) => return false,
            // meant for the connection: there is none here
            Some(Command::Redial) => {}
            Some(Command::Pull) => self.core.pull(now),
            Some(Command::LookAt(challenge)) => self.core.look_at(challenge),
            Some(Command::Answer { challenge, choice, user_verified, reply }) => {
                let _ = reply.send(self.core.answer(challenge, choice, user_verified, now));
            }
            Some(Command::Cards(reply)) => {
                let cards = self.core.cards(now).map(|card| (card.clone(), card.remaining(now)));
                let _ = reply.send(cards.collect());
            }
            Some(Command::Account(reply)) => {
                let _ = reply.send(Box::new(self.core.account().clone()));
            }
        }
        true
    }
}

async fn next_message(
    socket: &mut Option<Socket>,
) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}

/// Says why and waits a moment for the other side's word; it is over either way.
async fn close(socket: &mut Socket, code: u16) {
    let frame = CloseFrame { code: code.into(), reason: "".into() };
    let _ = timeout(CLOSE_WITHIN, async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
}
