//! The load on what echoes: a loop over epoll that does as little as it can, so that the server is what is busy.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde::Serialize;
use tokio::time::Instant;

use super::cores::{self, Cores};
use super::process::FloorServer;
use super::serve::{Echo, Kind};
use super::spread::Spread;
use super::{Pace, http, ws};
use crate::clock;
use crate::failure::Failure;

/// Connections, each with one message under way.
pub(crate) const CONNECTIONS: usize = 64;
/// The payload of a WebSocket message: about that of an answer.
const PAYLOAD: usize = 140;
/// What a first reply may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the loop looks up when nothing comes.
const LOOK_UP: Duration = Duration::from_millis(50);
/// Of a core's time: whoever uses so much of it has no more to give.
pub(crate) const FULL: f64 = 0.95;

/// What a window of load came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) done: u64,
    pub(crate) wall: Duration,
    pub(crate) server: Duration,
    pub(crate) generator: Duration,
}

impl Sample {
    pub(crate) fn cpu_us(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.done as f64
    }

    pub(crate) fn per_s(&self) -> f64 {
        self.done as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn server_busy(&self) -> f64 {
        self.server.as_secs_f64() / self.wall.as_secs_f64()
    }

    pub(crate) fn generator_busy(&self) -> f64 {
        self.generator.as_secs_f64() / self.wall.as_secs_f64()
    }
}

/// Rounds of one load.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    /// Server CPU, in microseconds, for each one done.
    pub(crate) cpu_us: Spread,
    pub(crate) per_s: Spread,
    /// Shares of a core.
    pub(crate) server_busy: Spread,
    pub(crate) generator_busy: Spread,
    /// Who had no more to give.
    pub(crate) bound_by: Bound,
}

/// Who had no more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    Server,
    Generator,
    /// Something else had the cores, or both waited for each other.
    Neither,
}

impl Bound {
    pub(crate) fn of(server_busy: f64, generator_busy: f64) -> Self {
        if server_busy >= FULL {
            Self::Server
        } else if generator_busy >= FULL {
            Self::Generator
        } else {
            Self::Neither
        }
    }
}

impl Figures {
    pub(crate) fn of(samples: &[Sample]) -> Option<Self> {
        let server_busy = Spread::over(samples, Sample::server_busy)?;
        let generator_busy = Spread::over(samples, Sample::generator_busy)?;
        Some(Self {
            cpu_us: Spread::over(samples, Sample::cpu_us)?,
            per_s: Spread::over(samples, Sample::per_s)?,
            server_busy,
            generator_busy,
            bound_by: Bound::of(server_busy.median, generator_busy.median),
        })
    }

    /// Why the server's CPU isn't that of a full core.
    pub(crate) fn unsaturated(&self) -> Option<String> {
        let server = self.server_busy.median * 100.0;
        match self.bound_by {
            Bound::Server => None,
            Bound::Generator => Some(format!(
                "the generator was the bottleneck: {:.0} % of its core, the server {server:.0} %",
                self.generator_busy.median * 100.0
            )),
            Bound::Neither => Some(format!(
                "the server wasn't saturated: {server:.0} % of its core; something else had it"
            )),
        }
    }
}

/// Starts a server of `kind`, keeps it busy for a while, and ends it.
pub(crate) async fn measure(kind: Kind, cores: Cores, pace: Pace) -> Result<Sample, Failure> {
    let mut server = FloorServer::start(kind, cores).await?;
    let (address, pid) = (server.address, server.pid);
    let stop = StopOnDrop::default();
    let stopped = Arc::clone(&stop.0);
    let work = tokio::task::spawn_blocking(move || {
        let script = Script::of(kind, &address.to_string());
        drive(address, &script, pace, Some(pid), &stopped)
    });
    let sample = server.during(async {
        let done = work.await.map_err(|error| Failure::Server(error.to_string()))?;
        done.map_err(|error| Failure::Server(error.to_string()))
    });
    let sample = sample.await?;
    server.stop().await?;
    Ok(sample)
}

/// Ends a loop on another thread when whoever waits for it is dropped.
#[derive(Default)]
pub(crate) struct StopOnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a client says, over and over.
pub(crate) struct Script {
    /// Said once, and answered by a head without a body.
    knock: Option<Vec<u8>>,
    request: Vec<u8>,
    /// What comes back; `None` where the length of the first reply tells.
    reply: Option<Vec<u8>>,
}

impl Script {
    pub(crate) fn of(kind: Kind, host: &str) -> Self {
        let payload = [0x5a; PAYLOAD];
        let times = match kind {
            Kind::HttpRaw
            | Kind::HttpAxum
            | Kind::Tcp
            | Kind::Tls
            | Kind::Ceremony
            | Kind::CeremonyDurable => {
                let body = serde_json::to_vec(&Echo::sample()).expect("it is JSON");
                let request = http::ask(host, "/echo", "", &body);
                return Self { knock: None, request, reply: None };
            }
            Kind::WsRaw | Kind::WsAxum | Kind::WsAxumDefault => 1,
            Kind::WsRawTwice => 2,
        };
        Self {
            knock: Some(ws::knock(host, wire::device::PATH)),
            request: ws::message(&payload, true),
            reply: Some(ws::message(&payload, false).repeat(times)),
        }
    }
}

/// A client that waits for its reply.
struct Line {
    stream: TcpStream,
    got: usize,
}

/// Runs the script on all connections and counts between the end of the warm-up and that of the window.
pub(crate) fn drive(
    address: SocketAddr,
    script: &Script,
    pace: Pace,
    pid: Option<u32>,
    stop: &AtomicBool,
) -> io::Result<Sample> {
    let (mut lines, reply) = open(address, script)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (n, line) in lines.iter_mut().enumerate() {
        line.stream.set_nonblocking(true)?;
        let place = epoll::EventData::new_u64(n as u64);
        epoll::add(&epoll, &line.stream, place, epoll::EventFlags::IN)?;
        line.stream.write_all(&script.request)?;
    }
    let look_up = Timespec::try_from(LOOK_UP).expect("it is short");
    let (mut events, mut buffer) = (Vec::with_capacity(CONNECTIONS), vec![0; 16 * 1024]);
    let mut done = 0_u64;
    let mut started = None;
    let mut next = clock::now() + pace.warm_up;
    while !stop.load(Ordering::Relaxed) {
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&look_up))?;
        for event in events.drain(..) {
            let line = &mut lines[usize::try_from(event.data.u64()).expect("its place")];
            done += u64::from(line.step(&reply, &script.request, &mut buffer)?);
        }
        if clock::now() < next {
            continue;
        }
        let now = Mark::now(done, pid)?;
        match started.replace(now) {
            None => next = clock::now() + pace.window,
            Some(begin) => return Ok(begin.until(&now)),
        }
    }
    Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"))
}

/// Where a load stood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: Instant,
    done: u64,
    server: Duration,
    generator: Duration,
}

impl Mark {
    /// Of the calling thread and of the server `pid`, if it is a process.
    pub(crate) fn now(done: u64, pid: Option<u32>) -> io::Result<Self> {
        let server = match pid {
            Some(pid) => cores::cpu_of(pid)
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the server is gone"))?,
            None => Duration::ZERO,
        };
        Ok(Self { at: clock::now(), done, server, generator: cores::thread_cpu() })
    }

    pub(crate) fn until(&self, later: &Self) -> Sample {
        Sample {
            done: later.done - self.done,
            wall: later.at.saturating_duration_since(self.at),
            server: later.server.saturating_sub(self.server),
            generator: later.generator.saturating_sub(self.generator),
        }
    }
}

/// Opens the connections, and tries each one. Gives what every reply is to look like.
fn open(address: SocketAddr, script: &Script) -> io::Result<(Vec<Line>, Vec<u8>)> {
    let mut lines = Vec::new();
    let mut reply = script.reply.clone();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        if let Some(knock) = &script.knock {
            stream.write_all(knock)?;
            let (status, _) = first_reply(&mut stream)?;
            if status != 101 {
                return Err(wrong(&format!("it answered {status} to a WebSocket's handshake")));
            }
        }
        stream.write_all(&script.request)?;
        let read = match &reply {
            Some(reply) => {
                let mut read = vec![0; reply.len()];
                stream.read_exact(&mut read)?;
                read
            }
            None => match first_reply(&mut stream)? {
                (200, read) => read,
                (status, _) => return Err(wrong(&format!("it answered {status}"))),
            },
        };
        let known = reply.get_or_insert_with(|| read.clone());
        // of HTTP only the length: there is a date in it
        if read.len() != known.len() || (script.knock.is_some() && read != *known) {
            return Err(wrong("it doesn't echo what it is sent"));
        }
        lines.push(Line { stream, got: 0 });
    }
    Ok((lines, reply.unwrap_or_default()))
}

/// A response, all of it.
fn first_reply(stream: &mut TcpStream) -> io::Result<(u16, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..read]);
        if let Some((response, len)) = http::response(&bytes)? {
            return if len == bytes.len() {
                Ok((response.status, bytes))
            } else {
                Err(wrong("it said more than it was asked"))
            };
        }
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Line {
    /// Reads what has come; asks again once it is all of a reply, and says whether it was.
    fn step(&mut self, reply: &[u8], request: &[u8], buffer: &mut [u8]) -> io::Result<bool> {
        let read = self.stream.read(buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // `HTTP/1.1 2` or a frame's head: whatever else the server could say begins otherwise
        let start = 10.min(reply.len()).saturating_sub(self.got).min(read);
        let expected = reply.get(self.got..self.got + start).unwrap_or_default();
        self.got += read;
        if buffer[..start] != *expected || self.got > reply.len() {
            return Err(wrong("it answered something else than at first"));
        }
        if self.got < reply.len() {
            return Ok(false);
        }
        self.got = 0;
        self.stream.write_all(request)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_lies_between_its_ends() {
        let begin = Mark {
            at: clock::now(),
            done: 10,
            server: Duration::from_millis(100),
            generator: Duration::from_millis(300),
        };
        let end = Mark {
            at: begin.at + Duration::from_secs(2),
            done: 100_010,
            server: Duration::from_millis(2_090),
            generator: Duration::from_millis(1_300),
        };
        let sample = begin.until(&end);
        assert!((sample.cpu_us() - 19.9).abs() < 1e-9);
        assert!((sample.per_s() - 50_000.0).abs() < 1e-6);
        assert!((sample.generator_busy() - 0.5).abs() < 1e-9);
        let figures = Figures::of(&[sample]).expect("one");
        assert_eq!(figures.bound_by, Bound::Server);
        assert!(Figures::of(&[]).is_none());
        assert!(Figures::of(&[Sample { done: 0, ..sample }]).is_none(), "nothing was done");
    }

    #[test]
    fn whoever_has_no_more_to_give_is_named() {
        assert_eq!(Bound::of(0.99, 0.99), Bound::Server);
        assert_eq!(Bound::of(0.80, 0.96), Bound::Generator);
        assert_eq!(Bound::of(0.80, 0.80), Bound::Neither);
    }
}
