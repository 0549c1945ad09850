//! From a ticket to an account.

use std::collections::VecDeque;
use std::fmt;

use prost::Message as _;
use prost::bytes::Bytes;
use statement::{
    DeviceId, EnrolClaim, EnrolConfirm, EnrolLink, IdentityHash, MAX_NUMBER_LEN, ServerUrl,
    SigningKey, TICKET_CODE_LEN, TenantId, TypedNumberError, crockford, fingerprint,
    ticket_code_hash, ticket_secret_hash, typed_number,
};
use wire::device::{self as proto, CloseCode, client_frame, enrol_claim, server_frame};

use crate::account::Totp;
use crate::event::{Frame, NORMAL};
use crate::hello::Hello;
use crate::text::plain;
use crate::{Account, Fault, KeySeed, Output};

/// The longest device name, in characters.
const MAX_NAME: usize = 64;
/// The longest reason of a close (RFC 6455 §5.5).
const MAX_REASON: usize = 123;

/// What permits the enrolment.
#[derive(Clone)]
pub enum Ticket {
    /// A link, whose fragment also says who the server is.
    Link(EnrolLink),
    /// A code that somebody types.
    Code {
        /// Where the server is.
        server: ServerUrl,
        /// The user's name.
        user: String,
        /// The code.
        code: [u8; TICKET_CODE_LEN],
    },
}

impl Ticket {
    /// Where the server is.
    #[must_use]
    pub const fn server(&self) -> &ServerUrl {
        match self {
            Self::Link(link) => &link.server,
            Self::Code { server, .. } => server,
        }
    }

    /// From what a person typed; `None` if `code` isn't eight characters of Crockford base32.
    #[must_use]
    pub fn from_code(server: ServerUrl, user: &str, code: &str) -> Option<Self> {
        let user = user.trim().to_owned();
        Some(Self::Code { server, user, code: crockford::decode(code)? })
    }

    /// The hash that the device signs.
    fn hash(&self) -> [u8; 32] {
        match self {
            Self::Link(link) => ticket_secret_hash(link.secret.as_slice()),
            Self::Code { user, code, .. } => ticket_code_hash(user, code),
        }
    }

    fn proof(&self) -> enrol_claim::Proof {
        match self {
            Self::Link(link) => {
                enrol_claim::Proof::Secret(Bytes::copy_from_slice(link.secret.as_slice()))
            }
            Self::Code { user, code, .. } => enrol_claim::Proof::Code(proto::TypedCode {
                user: user.clone(),
                code: crockford::encode(code),
            }),
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({}, redacted)", self.server())
    }
}

/// What happens during an enrolment.
#[derive(Clone, Debug)]
pub enum EnrolEvent {
    /// Nothing but this fingerprint says who the server is. The connection is being closed, since a person may
    /// compare for longer than the server waits: on yes, call [`Enrolment::confirm_server`] and open a new one.
    ConfirmServer {
        /// To be compared with what the administrator's screen shows.
        fingerprint: String,
    },
    /// The person has to type a number: call [`Enrolment::confirm_number`].
    Number {
        /// How many digits.
        digits: u8,
    },
    /// Done. The account must be stored; the connection is being closed.
    Enrolled(Box<Account>),
    /// The server broke the protocol, or isn't the one that the link names.
    Fault(Fault),
}

/// Why an enrolment ended without an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// The ticket is used, expired, cancelled or was never there, or the number was wrong.
    #[error("{}; ask for a new ticket", said(.reason, "the ticket was not accepted"))]
    Ticket {
        /// The server's words.
        reason: String,
    },
    /// The server doesn't accept the proof.
    #[error("the server refused the enrolment: {}", said(.reason, "it said no more"))]
    Refused {
        /// The server's words.
        reason: String,
    },
    /// Too many tries.
    #[error("too many tries: wait a while")]
    TooMany,
    /// The server can't reach its store.
    #[error("the server is not available: try again in a while")]
    Unavailable,
    /// No common version.
    #[error("the server speaks another version: {supported}")]
    Version {
        /// What the server said that it supports.
        supported: String,
    },
    /// This side closed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The connection ended for no stated reason.
    #[error("the connection to the server was lost; if the ticket is still open, try again")]
    Lost,
}

/// The server's words, or ours where it has none.
fn said<'a>(reason: &'a str, otherwise: &'a str) -> &'a str {
    if reason.is_empty() { otherwise } else { reason }
}

impl EnrolError {
    /// What the close of a socket means for an enrolment that isn't done.
    #[must_use]
    pub fn from_close(code: Option<u16>, reason: &str) -> Self {
        let reason = plain(reason, MAX_REASON);
        match code.and_then(CloseCode::from_code) {
            Some(CloseCode::Ticket) => Self::Ticket { reason },
            Some(CloseCode::Version) => Self::Version { supported: reason },
            Some(CloseCode::TooMany) => Self::TooMany,
            Some(CloseCode::Unavailable | CloseCode::Restart) => Self::Unavailable,
            Some(
                CloseCode::Malformed
                | CloseCode::Unauthenticated
                | CloseCode::Revoked
                | CloseCode::Replaced,
            ) => Self::Refused { reason },
            Some(CloseCode::Deadline) | None => Self::Lost,
        }
    }
}

enum Phase {
    Closed,
    Greeting,
    /// The claim is sent.
    Claimed(Hello),
    /// The server wants so many digits.
    Number(Hello, u8),
    /// The confirmation is sent.
    Confirmed,
}

/// One enrolment.
pub struct Enrolment {
    ticket: Ticket,
    identity: Option<IdentityHash>,
    shown: Option<IdentityHash>,
    seed: KeySeed,
    key: SigningKey,
    device_name: String,
    agent: String,
    phase: Phase,
    outputs: VecDeque<Output<EnrolEvent>>,
}

impl Enrolment {
    /// With a key whose seed the caller drew from a CSPRNG.
    #[must_use]
    pub fn new(ticket: Ticket, seed: KeySeed, device_name: &str, agent: impl Into<String>) -> Self {
        let identity = match &ticket {
            Ticket::Link(link) => Some(link.identity),
            Ticket::Code { .. } => None,
        };
        Self {
            ticket,
            identity,
            shown: None,
            key: seed.key(),
            seed,
            device_name: plain(device_name, MAX_NAME),
            agent: agent.into(),
            phase: Phase::Closed,
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<EnrolEvent>> {
        self.outputs.pop_front()
    }

    /// A socket is open: greets the server.
    pub fn open(&mut self) {
        self.phase = Phase::Greeting;
        self.send(client_frame::Frame::Hello(proto::ClientHello {
            min_version: proto::VERSION,
            max_version: proto::VERSION,
            agent: self.agent.clone(),
        }));
    }

    /// The person says that the server with the fingerprint that was shown is the right one.
    pub fn confirm_server(&mut self) {
        self.identity = self.identity.or(self.shown);
    }

    /// The person typed the number.
    ///
    /// # Errors
    /// [`TypedNumberError`] if it can't be the number: ask again, nothing was sent.
    pub fn confirm_number(&mut self, typed: &str) -> Result<(), TypedNumberError> {
        let Phase::Number(_, digits) = &self.phase else {
            return Ok(());
        };
        let number = typed_number(typed, *digits)?;
        self.confirm(&number);
        Ok(())
    }

    /// A message arrived on the socket.
    pub fn on_frame(&mut self, frame: &[u8]) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        if let Err(fault) = self.handle(frame) {
            self.phase = Phase::Closed;
            self.outputs.push_back(Output::Event(EnrolEvent::Fault(fault)));
            self.outputs.push_back(Output::Close(fault.close_code() as u16));
        }
    }

    fn handle(&mut self, frame: &[u8]) -> Result<(), Fault> {
        use server_frame::Frame as F;
        if frame.len() > proto::MAX_FRAME {
            return Err(Fault::Malformed);
        }
        let frame = proto::ServerFrame::decode(frame).map_err(|_| Fault::Malformed)?;
        let Some(frame) = frame.frame else {
            return Ok(());
        };
        let phase = std::mem::replace(&mut self.phase, Phase::Closed);
        match (phase, frame) {
            (phase, F::Goodbye(_)) => self.phase = phase,
            (Phase::Greeting, F::Hello(hello)) => self.on_hello(&hello)?,
            (Phase::Claimed(hello), F::EnrolPending(pending)) => {
                let digits = u8::try_from(pending.digits).map_err(|_| Fault::Malformed)?;
                self.phase = Phase::Number(hello, digits);
                if digits == 0 {
                    self.confirm("");
                } else if usize::from(digits) <= MAX_NUMBER_LEN {
                    self.outputs.push_back(Output::Event(EnrolEvent::Number { digits }));
                } else {
                    return Err(Fault::Malformed);
                }
            }
            (Phase::Confirmed, F::Enrolled(enrolled)) => {
                let account = self.account(enrolled).ok_or(Fault::Malformed)?;
                self.outputs.push_back(Output::Event(EnrolEvent::Enrolled(Box::new(account))));
                self.outputs.push_back(Output::Close(NORMAL));
            }
            _ => return Err(Fault::Malformed),
        }
        Ok(())
    }

    fn on_hello(&mut self, hello: &proto::ServerHello) -> Result<(), Fault> {
        let hello = Hello::check(hello, self.identity.as_ref())?;
        if self.identity.is_none() {
            self.shown = Some(hello.identity);
            let fingerprint = fingerprint(&hello.identity);
            self.outputs.push_back(Output::Event(EnrolEvent::ConfirmServer { fingerprint }));
            self.outputs.push_back(Output::Close(NORMAL));
            return Ok(());
        }
        let claim = EnrolClaim {
            ticket: &self.ticket.hash(),
            server: &hello.identity,
            nonce: &hello.nonce,
        };
        let signature = claim.sign(&self.key);
        self.send(client_frame::Frame::EnrolClaim(proto::EnrolClaim {
            proof: Some(self.ticket.proof()),
            algorithm: u32::from(self.key.public().algorithm() as u8),
            public_key: Bytes::copy_from_slice(self.key.public().as_bytes()),
            device_name: self.device_name.clone(),
            signature: Bytes::copy_from_slice(&signature),
        }));
        self.phase = Phase::Claimed(hello);
        Ok(())
    }

    fn confirm(&mut self, number: &str) {
        let Phase::Number(hello, _) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        let confirm = EnrolConfirm { ticket: &self.ticket.hash(), nonce: &hello.nonce, number };
        let signature = confirm.sign(&self.key);
        self.send(client_frame::Frame::EnrolConfirm(proto::EnrolConfirm {
            number: number.to_owned(),
            signature: Bytes::copy_from_slice(&signature),
        }));
        self.phase = Phase::Confirmed;
    }

    fn account(&self, enrolled: proto::Enrolled) -> Option<Account> {
        let server = self.ticket.server().clone();
        Some(Account {
            name: format!("{}@{}", plain(&enrolled.user, 200), server.authority()),
            server,
            tenant: TenantId::from_slice(&enrolled.tenant).ok()?,
            device: DeviceId::from_slice(&enrolled.device).ok()?,
            user: enrolled.user,
            organisation: plain(&enrolled.organisation, 200),
            device_name: self.device_name.clone(),
            identity: self.identity?,
            seed: self.seed.clone(),
            counter: 0,
            totp: match &enrolled.totp {
                Some(totp) => Some(Totp::from_wire(totp)?),
                None => None,
            },
            roots: Vec::new(),
        })
    }

    fn send(&mut self, frame: client_frame::Frame) {
        let frame = proto::ClientFrame { frame: Some(frame) };
        self.outputs.push_back(Output::Send(Frame(frame.encode_to_vec())));
    }
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrolment({:?})", self.ticket)
    }
}
