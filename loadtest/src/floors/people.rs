//! The other side of `cer_raw`: devices that answer and pages that ask, as light as they can be, since they have one
//! core and the server must be what is busy.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use prost::Message as _;
use serde::Deserialize;
use statement::{
    Algorithm, Answer, AnswerDecision, DeviceId, PublicKey, SignedChallenge, SigningKey,
};
use tokio::net::TcpStream;
use tokio::time::Instant;
use wire::device::{self, client_frame, server_frame};
use wire::rest::{BrowserContext, CreateChallenge, FirstFactor, RedeemChallenge};

use super::ceremony::{API_KEY, CHALLENGES, COUNTS, Counts, bytes};
use super::socket::{self, In, Malformed, Out};
use super::{http, ws};
use crate::{clock, receipt};

/// A browser session: so many digits, so that a request keeps its length.
const SESSION: usize = 32;
const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 loadtest";

/// Of how many receipts a page reads one: whoever gets them has a machine of their own.
const READS_ONE_IN: u64 = 16;

/// Somebody with a device and a page, each with a connection.
pub(crate) struct Person {
    page: In,
    out: Arc<Out>,
    device: Arc<Device>,
    /// The create request, and where its session stands.
    create: Vec<u8>,
    session_at: usize,
    host: String,
    number: u64,
    ceremonies: u64,
}

/// What a page has when a device rings, and the other way round: whoever comes second answers.
enum Meeting {
    Nobody,
    Page(String),
    Prompt(device::Prompt),
}

struct Device {
    id: DeviceId,
    key: SigningKey,
    server: PublicKey,
    out: Arc<Out>,
    meeting: Mutex<Meeting>,
    answered: AtomicU64,
    /// What went wrong first.
    wrong: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Created<'a> {
    id: &'a str,
    number: &'a str,
}

/// Makes people, each enrolled with a key of `algorithm`.
pub(crate) async fn enrol(
    address: SocketAddr,
    algorithm: Algorithm,
    count: usize,
) -> io::Result<Vec<Person>> {
    let key = counts(address).await?.key;
    let key = HEXLOWER.decode(key.as_bytes()).ok();
    let server = key.and_then(|key| PublicKey::new(Algorithm::Ed25519, &key).ok());
    let server = server.ok_or(Malformed)?;
    let mut people = Vec::with_capacity(count);
    for n in 0..count {
        people.push(one(address, algorithm, n, server.clone()).await?);
    }
    Ok(people)
}

/// What the server has counted.
pub(crate) async fn counts(address: SocketAddr) -> io::Result<Counts> {
    let (mut incoming, out) = socket::open(TcpStream::connect(address).await?)?;
    out.send(&http::ask(&address.to_string(), COUNTS, API_KEY, b""));
    let (status, body) = reply(&mut incoming, |status, body| (status, body.to_vec())).await?;
    if status != 200 {
        return Err(Malformed.into());
    }
    serde_json::from_slice(&body).map_err(|_| Malformed.into())
}

/// The next response of a connection.
async fn reply<T>(incoming: &mut In, mut read: impl FnMut(u16, &[u8]) -> T) -> io::Result<T> {
    let mut got = None;
    while got.is_none() {
        let more = incoming.read(|data| {
            let Some((response, len)) = http::response(data)? else { return Ok(None) };
            got = Some(read(response.status, response.body));
            Ok(Some(len))
        });
        if !more.await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    got.ok_or_else(|| Malformed.into())
}

async fn one(
    address: SocketAddr,
    algorithm: Algorithm,
    n: usize,
    server: PublicKey,
) -> io::Result<Person> {
    let host = address.to_string();
    let key = match algorithm {
        Algorithm::Ed25519 => SigningKey::from_seed(&clock::random()),
        Algorithm::P256 => SigningKey::generate_p256_pkcs8()
            .and_then(|document| SigningKey::from_p256_pkcs8(&document))
            .map_err(io::Error::other)?,
    };
    let (mut incoming, out) = socket::open(TcpStream::connect(address).await?)?;
    out.send(&ws::knock(&host, device::PATH));
    let status = reply(&mut incoming, |status, _| status).await?;
    if status != 101 {
        return Err(Malformed.into());
    }
    let claim = device::EnrolClaim {
        proof: None,
        algorithm: algorithm as u32,
        public_key: key.public().as_bytes().to_vec().into(),
        device_name: format!("floor-{n}"),
        signature: Vec::new().into(),
    };
    out.send(&ws::message(&bytes::to_server(client_frame::Frame::EnrolClaim(claim)), true));
    let enrolled = enrolled(&mut incoming).await?;
    let device = Device {
        id: DeviceId::from_slice(&enrolled.device).map_err(|_| Malformed)?,
        key,
        server,
        out,
        meeting: Mutex::new(Meeting::Nobody),
        answered: AtomicU64::new(0),
        wrong: Mutex::default(),
    };
    let device = Arc::new(device);
    tokio::spawn(listen(incoming, Arc::clone(&device)));
    let (page, out) = socket::open(TcpStream::connect(address).await?)?;
    let (create, session_at) = create(&host, &enrolled.user, n);
    Ok(Person { page, out, device, create, session_at, host, number: n as u64, ceremonies: 0 })
}

async fn enrolled(incoming: &mut In) -> io::Result<device::Enrolled> {
    let mut enrolled = None;
    while enrolled.is_none() {
        let more = incoming.read(|data| {
            let Some((payload, len)) = ws::read(data)? else { return Ok(None) };
            let Some(server_frame::Frame::Enrolled(frame)) = bytes::from_server(&payload) else {
                return Err(Malformed);
            };
            enrolled = Some(frame);
            Ok(Some(len))
        });
        if !more.await? {
            break;
        }
    }
    enrolled.ok_or_else(|| Malformed.into())
}

/// A create request, and where its session stands.
fn create(host: &str, user: &str, n: usize) -> (Vec<u8>, usize) {
    let session = "S".repeat(SESSION);
    let body = CreateChallenge {
        user: user.to_owned(),
        context: BrowserContext {
            browser_session: session.clone(),
            ip: Some(format!("198.18.{}.1", n % 256)),
            user_agent: Some(AGENT.to_owned()),
            device_cookie: None,
        },
        first_factor: Some(FirstFactor { method: "password".to_owned(), at: clock::wall() }),
        purpose: None,
        methods: None,
        ttl_s: None,
        details: Vec::new(),
        return_url: None,
    };
    let body = serde_json::to_vec(&body).expect("it is JSON");
    let request = http::ask(host, CHALLENGES, API_KEY, &body);
    let found = request.windows(SESSION).position(|window| window == session.as_bytes());
    (request, found.expect("the session is in it"))
}

/// The request that the bookkeeping of a ceremony is measured on.
pub(crate) fn sample_create() -> Vec<u8> {
    let (request, _) = create("127.0.0.1:1", "usr_064jp1m1c4000vb5cqg1l6eiqk", 1);
    request
}

/// The device's ear.
async fn listen(mut incoming: In, device: Arc<Device>) {
    loop {
        let more = incoming.read(|data| {
            let Some((payload, len)) = ws::read(data)? else { return Ok(None) };
            device.hears(&payload);
            Ok(Some(len))
        });
        match more.await {
            Ok(true) => {}
            // the page's connection breaks as well, and says it
            Ok(false) | Err(_) => return,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    fn hears(&self, payload: &[u8]) {
        match bytes::from_server(payload) {
            Some(server_frame::Frame::Prompt(prompt)) => {
                let mut meeting = locked(&self.meeting);
                match std::mem::replace(&mut *meeting, Meeting::Nobody) {
                    Meeting::Page(number) => self.answer(&prompt, number),
                    _ => *meeting = Meeting::Prompt(prompt),
                }
            }
            Some(server_frame::Frame::AnswerResult(told)) => {
                let (settled, approved) = (device::Result::Settled, device::State::Approved);
                if told.result != i32::from(settled) || told.state != i32::from(approved) {
                    self.went_wrong("a right answer wasn't taken");
                }
            }
            _ => self.went_wrong("the server said something that no device expects"),
        }
    }

    /// The person reads the number to the device.
    fn type_number(&self, number: &str) {
        let mut meeting = locked(&self.meeting);
        match std::mem::replace(&mut *meeting, Meeting::Nobody) {
            Meeting::Prompt(prompt) => self.answer(&prompt, number.to_owned()),
            _ => *meeting = Meeting::Page(number.to_owned()),
        }
    }

    fn answer(&self, prompt: &device::Prompt, number: String) {
        let counter = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        let challenge = SignedChallenge(&prompt.challenge);
        if challenge.verify(&self.server, &prompt.signature).is_err() {
            return self.went_wrong("a challenge's signature doesn't verify");
        }
        let Ok(challenge) = device::Challenge::decode(&*prompt.challenge) else {
            return self.went_wrong("a challenge can't be read");
        };
        self.out.send(&ws::message(&self.signed(&challenge.id, prompt, number, counter), true));
    }

    /// The frame of an answer.
    fn signed(&self, id: &[u8], prompt: &device::Prompt, number: String, counter: u64) -> Vec<u8> {
        let statement = Answer {
            challenge: &prompt.challenge,
            device: self.id,
            decision: AnswerDecision::Approve,
            number: &number,
            user_verified: false,
            counter,
        };
        let signature = statement.sign(&self.key);
        bytes::to_server(client_frame::Frame::Answer(device::Answer {
            challenge: id.to_vec().into(),
            decision: device::Decision::Approve.into(),
            number,
            user_verified: false,
            counter,
            signature: signature.to_vec().into(),
        }))
    }

    fn went_wrong(&self, what: &str) {
        locked(&self.wrong).get_or_insert_with(|| what.to_owned());
    }
}

impl Person {
    /// Runs one ceremony and says when the page knew.
    pub(crate) async fn sign_in(&mut self) -> io::Result<Instant> {
        self.ceremonies += 1;
        let session = format!("{:0width$}", self.ceremonies, width = SESSION);
        self.create[self.session_at..][..SESSION].copy_from_slice(session.as_bytes());
        self.out.send(&self.create);
        let created = reply(&mut self.page, |status, body| {
            let created = serde_json::from_slice::<Created<'_>>(body).ok()?;
            (status == 200).then(|| (created.id.to_owned(), created.number.to_owned()))
        });
        let (id, number) =
            created.await?.ok_or_else(|| self.wrong("a challenge wasn't created"))?;
        let path = format!("{CHALLENGES}/{id}");
        let poll = http::ask(&self.host, &format!("{path}?wait=25"), API_KEY, b"");
        self.out.send(&poll);
        self.device.type_number(&number);
        let approved = reply(&mut self.page, |status, body| {
            status == 200 && contains(body, br#""state":"approved""#)
        });
        let approved = approved.await?;
        let told = clock::now();
        if !approved {
            return Err(self.wrong("a right answer didn't approve"));
        }
        self.redeem(&path, &id, session).await?;
        Ok(told)
    }

    async fn redeem(&mut self, path: &str, id: &str, session: String) -> io::Result<()> {
        let body = RedeemChallenge { browser_session: session, return_code: None };
        let body = serde_json::to_vec(&body).expect("it is JSON");
        self.out.send(&http::ask(&self.host, &format!("{path}/redeem"), API_KEY, &body));
        let reads = self.ceremonies % READS_ONE_IN == 1;
        let good =
            reply(&mut self.page, |status, body| status == 200 && (!reads || is_receipt(body, id)));
        if good.await? { Ok(()) } else { Err(self.wrong("an approval didn't give a receipt")) }
    }

    fn wrong(&self, what: &str) -> io::Error {
        let first = locked(&self.device.wrong).take();
        let what = first.unwrap_or_else(|| what.to_owned());
        io::Error::new(io::ErrorKind::InvalidData, format!("person {}: {what}", self.number))
    }

    /// What went wrong on the device, if anything did.
    pub(crate) fn complaint(&self) -> Option<String> {
        locked(&self.device.wrong).take()
    }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

fn is_receipt(body: &[u8], id: &str) -> bool {
    let redeemed = serde_json::from_slice::<wire::rest::Redeemed>(body);
    redeemed.is_ok_and(|redeemed| receipt::parses(&redeemed.receipt, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_request_has_room_for_its_session() {
        let (request, at) = create("127.0.0.1:1", "usr_a", 3);
        assert_eq!(&request[at..at + SESSION], "S".repeat(SESSION).as_bytes());
        let (read, _) = http::request(&request).expect("well-formed").expect("complete");
        assert_eq!((read.path, read.key), (CHALLENGES, Some(API_KEY)));
        assert!(serde_json::from_slice::<CreateChallenge>(read.body).is_ok());
    }
}
