//! Enrolling over a real socket.

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use authenticator::{Account, EnrolEvent, Enrolment, KeySeed, Output, Ticket};
use futures_util::{SinkExt as _, StreamExt as _};
use rand::RngExt as _;
use statement::{Algorithm, TypedNumberError};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::dial::{Client, ConnectError, Socket};

/// How long the server may be silent between two steps of ours; its pings come every 25 s.
const SILENT: Duration = Duration::from_secs(65);

/// The person at the new device.
pub trait Person: Send {
    /// Enrolment by typed code: is this the fingerprint that the administrator's screen shows?
    fn confirm_server(&mut self, fingerprint: &str) -> impl Future<Output = bool> + Send;

    /// The number that the administrator, or the signed-in browser, shows. `wrong` tells why the last try can't
    /// be one. `None` gives up.
    fn number(
        &mut self,
        digits: u8,
        wrong: Option<TypedNumberError>,
    ) -> impl Future<Output = Option<String>> + Send;
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server said no, or isn't the one.
    #[error(transparent)]
    Refused(#[from] authenticator::EnrolError),
    /// The person said no.
    #[error("enrolment given up")]
    GivenUp,
}

enum Step {
    Enrolled(Box<Account>),
    ConfirmServer(String),
}

impl Client {
    fn draw_key(&self) -> KeySeed {
        match self.algorithm {
            Algorithm::Ed25519 => KeySeed::ed25519(crate::rng().random()),
            Algorithm::P256 => loop {
                if let Ok(seed) = KeySeed::p256(crate::rng().random()) {
                    return seed;
                }
            },
        }
    }

    /// Enrols this device. The key is made here; the account is the caller's to keep.
    ///
    /// # Errors
    /// [`EnrolError`]; the ticket may then be used up.
    pub async fn enrol<P: Person>(
        &self,
        ticket: Ticket,
        device_name: &str,
        roots: Vec<Vec<u8>>,
        person: &mut P,
    ) -> Result<Account, EnrolError> {
        let server = ticket.server().clone();
        let seed = self.draw_key();
        let mut core = Enrolment::new(ticket, seed, device_name, &*self.agent);
        loop {
            let socket = self.dial(&server, &roots).await?;
            core.open();
            match drive(&mut core, socket, person).await? {
                Step::Enrolled(mut account) => {
                    account.roots = roots;
                    return Ok(*account);
                }
                Step::ConfirmServer(fingerprint) => {
                    if !person.confirm_server(&fingerprint).await {
                        return Err(EnrolError::GivenUp);
                    }
                    core.confirm_server();
                }
            }
        }
    }
}

/// Runs one connection until it is done or needs a person's word on who the server is.
async fn drive<P: Person>(
    core: &mut Enrolment,
    mut socket: Socket,
    person: &mut P,
) -> Result<Step, EnrolError> {
    use authenticator::EnrolError as Core;
    let mut step = None;
    loop {
        let mut asked = None;
        while let Some(output) = core.poll_output() {
            match output {
                Output::Send(frame) => {
                    let frame = Message::Binary(Vec::from(frame).into());
                    socket.send(frame).await.map_err(|_| Core::Lost)?;
                }
                Output::Close(_) => {
                    // best effort: what matters has been said
                    let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
                }
                Output::Event(EnrolEvent::Number { digits }) => asked = Some(digits),
                Output::Event(EnrolEvent::ConfirmServer { fingerprint }) => {
                    step = Some(Step::ConfirmServer(fingerprint));
                }
                Output::Event(EnrolEvent::Enrolled(account)) => {
                    step = Some(Step::Enrolled(account))
                }
                Output::Event(EnrolEvent::Fault(fault)) => return Err(Core::Fault(fault).into()),
            }
        }
        if let Some(step) = step {
            return Ok(step);
        }
        if let Some(digits) = asked {
            ask(core, &mut socket, person, digits).await?;
        } else {
            let frame = receive(&mut socket).await?;
            core.on_frame(&frame);
        }
    }
}

/// Asks for the number while the socket is served: the server's pings don't wait for a person.
async fn ask<P: Person>(
    core: &mut Enrolment,
    socket: &mut Socket,
    person: &mut P,
    digits: u8,
) -> Result<(), EnrolError> {
    let mut wrong = None;
    loop {
        let typed = {
            let mut typing = pin!(person.number(digits, wrong));
            let mut lost = pin!(async {
                // nothing is expected but pings and a close
                match receive(socket).await {
                    Ok(_) => pending().await,
                    Err(error) => error,
                }
            });
            tokio::select! {
                typed = &mut typing => typed,
                error = &mut lost => return Err(error.into()),
            }
        };
        match core.confirm_number(&typed.ok_or(EnrolError::GivenUp)?) {
            Ok(()) => return Ok(()),
            Err(error) => wrong = Some(error),
        }
    }
}

/// The next binary message.
async fn receive(socket: &mut Socket) -> Result<Vec<u8>, authenticator::EnrolError> {
    use authenticator::EnrolError as Core;
    loop {
        match timeout(SILENT, socket.next()).await {
            Ok(Some(Ok(Message::Binary(frame)))) => return Ok(frame.into()),
            Ok(Some(Ok(Message::Close(Some(close))))) => {
                return Err(Core::from_close(Some(close.code.into()), &close.reason));
            }
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            Ok(Some(_) | None) | Err(_) => return Err(Core::Lost),
        }
    }
}
