//! `cer_raw` and `cer_durable` under load: as much as they take, and at a tenth and seven tenths of that.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use statement::Algorithm;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Pace;
use super::ceremony::Counts;
use super::cores::Cores;
use super::echo::{Mark, Sample};
use super::people::{self, Person};
use super::process::FloorServer;
use super::serve::{Kind, STORE};
use crate::clock;
use crate::failure::Failure;
use crate::timer::Timer;

/// Devices, and how many ceremonies are under way at a time when as many as possible are done.
pub(crate) const DEVICES: usize = 256;
const IN_FLIGHT: usize = 64;
/// The same where they wait for a disk, so that the core doesn't.
const DURABLE_IN_FLIGHT: usize = DEVICES;
/// A ceremony that starts later than this after its time was held up by this program.
const LATE: Duration = Duration::from_millis(1);
/// In microseconds: the longest wait that is told apart.
const LONGEST: u64 = 60_000_000;

/// Whose ceremonies.
#[derive(Clone, Copy)]
pub(crate) struct Served<'a> {
    /// What the devices sign with.
    pub(crate) algorithm: Algorithm,
    /// Where they are made durable, if they are.
    pub(crate) store: Option<&'a Path>,
}

impl Served<'_> {
    /// `cer_raw`.
    pub(crate) const fn raw(algorithm: Algorithm) -> Self {
        Self { algorithm, store: None }
    }

    const fn in_flight(self) -> usize {
        if self.store.is_some() { DURABLE_IN_FLIGHT } else { IN_FLIGHT }
    }

    async fn start(self, cores: Cores) -> Result<FloorServer, Failure> {
        let Some(store) = self.store else {
            return FloorServer::start(Kind::Ceremony, cores).await;
        };
        FloorServer::start_with(Kind::CeremonyDurable, cores, &[(STORE, store)]).await
    }
}

/// What one server and its people did.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) closed: Sample,
    /// At 10 % and 70 % of one core; empty where they weren't asked for.
    pub(crate) open: Vec<Waits>,
    pub(crate) counts: Counts,
}

/// From when a ceremony should have started until its page knew, at one rate.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Waits {
    /// Of what one core of the server can do, in percent.
    pub(crate) load: u32,
    pub(crate) rate: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) count: u64,
    /// Server CPU for each, in microseconds: more than at saturation, since it wakes up for each one.
    pub(crate) cpu_us: f64,
    /// Share that the generator started late.
    pub(crate) late: f64,
    /// Share that found everybody busy, and so wasn't started.
    pub(crate) overrun: f64,
}

impl Waits {
    /// How busy the server's core was, as a share of it.
    pub(crate) fn busy(&self) -> f64 {
        self.rate * self.cpu_us / 1e6
    }
}

/// Starts a server, measures, checks that its counts add up, and ends it.
pub(crate) async fn measure(
    served: Served<'_>,
    cores: Cores,
    pace: Pace,
    loads: &[u32],
    seed: u64,
) -> Result<Round, Failure> {
    let mut server = served.start(cores).await?;
    let (address, pid) = (server.address, server.pid);
    let work = async {
        let failed = |error: io::Error| Failure::Server(error.to_string());
        round(address, Some(pid), served, pace, loads, seed).await.map_err(failed)
    };
    let round = server.during(work).await?;
    server.stop().await?;
    Ok(round)
}

pub(crate) async fn round(
    address: SocketAddr,
    pid: Option<u32>,
    served: Served<'_>,
    pace: Pace,
    loads: &[u32],
    seed: u64,
) -> io::Result<Round> {
    let people = people::enrol(address, served.algorithm, DEVICES).await?;
    let (closed, mut people, mut done) = closed(people, served.in_flight(), pace, pid).await?;
    let mut open = Vec::new();
    for load in loads {
        // one core's worth of it, whoever was busy
        let rate = 1e6 / closed.cpu_us() * f64::from(*load) / 100.0;
        let (waits, back, more) = arrive(people, (*load, rate), pace, pid, seed).await?;
        (people, done) = (back, done + more);
        open.push(waits);
    }
    if let Some(complaint) = people.iter().find_map(Person::complaint) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, complaint));
    }
    let counts = people::counts(address).await?;
    adds_up(&counts, done).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
    Ok(Round { closed, open, counts })
}

/// Whether the server did `done` ceremonies, each once and in full, and nothing else.
pub(crate) fn adds_up(counts: &Counts, done: u64) -> Result<(), String> {
    let once = [
        ("created", counts.created),
        ("rung", counts.rung),
        ("verified", counts.verified),
        ("settled", counts.settled),
        ("redeemed", counts.redeemed),
        ("a third of the audit rows", counts.audit_rows / 3),
    ];
    let never = [
        ("already decided", counts.already),
        ("refused", counts.refused),
        ("redeem refused", counts.redeem_refused),
        ("bad requests", counts.bad_requests),
    ];
    let wrong = once.iter().find(|(_, count)| *count != done);
    let wrong = wrong.or_else(|| never.iter().find(|(_, count)| *count != 0));
    wrong.map_or(Ok(()), |(what, count)| {
        Err(format!("{done} ceremonies were done, but the server counts {what}: {count}"))
    })
}

/// So many at a time, each after the one before. Also gives the people back, and says how many they did.
async fn closed(
    people: Vec<Person>,
    in_flight: usize,
    pace: Pace,
    pid: Option<u32>,
) -> io::Result<(Sample, Vec<Person>, u64)> {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut groups: Vec<Vec<Person>> = (0..in_flight).map(|_| Vec::new()).collect();
    for (n, person) in people.into_iter().enumerate() {
        groups[n % in_flight].push(person);
    }
    let mut workers: JoinSet<io::Result<Vec<Person>>> = JoinSet::new();
    for mut group in groups {
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        workers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for person in &mut group {
                    person.sign_in().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(group)
        });
    }
    let timer = Timer::new()?;
    let window = async {
        timer.pause(pace.warm_up).await?;
        let begin = Mark::now(done.load(Ordering::Relaxed), pid)?;
        timer.pause(pace.window).await?;
        io::Result::Ok(begin.until(&Mark::now(done.load(Ordering::Relaxed), pid)?))
    };
    let sample = tokio::select! {
        sample = window => sample,
        // nobody ends before they are told to
        Some(failed) = workers.join_next() => {
            return Err(failed?.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        }
    };
    stop.store(true, Ordering::Relaxed);
    let mut people = Vec::new();
    while let Some(group) = workers.join_next().await {
        people.extend(group??);
    }
    Ok((sample?, people, done.load(Ordering::Relaxed)))
}

/// What those who have arrived share.
struct Crowd {
    idle: Mutex<Vec<Person>>,
    waits: Mutex<Histogram<u64>>,
}

/// Ceremonies that are under way, and what became of the others.
struct Street {
    crowd: Arc<Crowd>,
    under_way: JoinSet<io::Result<()>>,
    done: u64,
    /// Of those that are measured.
    started: u64,
    late: u64,
    overrun: u64,
}

impl Street {
    /// Somebody signs in, who should have at `at`.
    fn enter(&mut self, at: Instant, measured: bool) -> io::Result<()> {
        while let Some(ended) = self.under_way.try_join_next() {
            ended??;
            self.done += 1;
        }
        let person = self.crowd.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(person) = person else {
            self.overrun += u64::from(measured);
            return Ok(());
        };
        self.started += u64::from(measured);
        self.late += u64::from(measured && clock::now() > at + LATE);
        self.under_way.spawn(attend(Arc::clone(&self.crowd), person, at, measured));
        Ok(())
    }

    /// Waits until everybody is done.
    async fn empty(&mut self) -> io::Result<()> {
        while let Some(ended) = self.under_way.join_next().await {
            ended??;
            self.done += 1;
        }
        Ok(())
    }
}

/// Poisson arrivals that wait for nobody. Also gives the people back, and says how many ceremonies they did.
pub(crate) async fn arrive(
    people: Vec<Person>,
    (load, rate): (u32, f64),
    pace: Pace,
    pid: Option<u32>,
    seed: u64,
) -> io::Result<(Waits, Vec<Person>, u64)> {
    let waits = Histogram::new_with_bounds(1, LONGEST, 3).map_err(io::Error::other)?;
    let crowd = Arc::new(Crowd { idle: Mutex::new(people), waits: Mutex::new(waits) });
    let under_way = JoinSet::new();
    let mut street = Street { crowd, under_way, done: 0, started: 0, late: 0, overrun: 0 };
    let mut rng = StdRng::seed_from_u64(seed);
    let timer = Timer::new()?;
    let begin = clock::now();
    let end = begin + pace.warm_up + pace.window;
    let (mut at, mut mark) = (begin, None);
    loop {
        at += Duration::from_secs_f64(-(1.0 - rng.random::<f64>()).ln() / rate);
        if at >= end {
            break;
        }
        timer.until(at).await?;
        let measured = at >= begin + pace.warm_up;
        if measured && mark.is_none() {
            mark = Some(Mark::now(street.done, pid)?);
        }
        street.enter(at, measured)?;
    }
    street.empty().await?;
    let Street { crowd, done, started, late, overrun, .. } = street;
    let crowd = Arc::into_inner(crowd).expect("everybody is back");
    let waits = crowd.waits.into_inner().unwrap_or_else(PoisonError::into_inner);
    let people = crowd.idle.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Some(mark) = mark.filter(|_| !waits.is_empty()) else {
        let why = "not one ceremony could be started in time: more seconds";
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    };
    let waits = Waits {
        load,
        rate,
        p50_us: waits.value_at_quantile(0.5) as f64,
        p99_us: waits.value_at_quantile(0.99) as f64,
        count: waits.len(),
        cpu_us: mark.until(&Mark::now(done, pid)?).cpu_us(),
        late: late as f64 / started.max(1) as f64,
        overrun: overrun as f64 / (started + overrun).max(1) as f64,
    };
    Ok((waits, people, done))
}

async fn attend(
    crowd: Arc<Crowd>,
    mut person: Person,
    at: Instant,
    counts: bool,
) -> io::Result<()> {
    let told = person.sign_in().await?;
    if counts {
        let micros = told.saturating_duration_since(at).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        crowd.waits.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
    }
    crowd.idle.lock().unwrap_or_else(PoisonError::into_inner).push(person);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_dont_add_up_are_named() {
        let good = Counts {
            created: 7,
            rung: 7,
            verified: 7,
            settled: 7,
            redeemed: 7,
            parked: 5,
            audit_rows: 21,
            ..Counts::default()
        };
        assert_eq!(adds_up(&good, 7), Ok(()));
        let refused = |counts: Counts, says: &str| {
            let why = adds_up(&counts, 7).expect_err("it doesn't add up");
            assert!(why.contains(says), "{why}");
        };
        refused(Counts { verified: 6, ..good.clone() }, "verified: 6");
        refused(Counts { redeemed: 8, ..good.clone() }, "redeemed: 8");
        refused(Counts { audit_rows: 24, ..good.clone() }, "audit rows: 8");
        refused(Counts { already: 1, ..good.clone() }, "already decided: 1");
        refused(Counts { redeem_refused: 1, ..good.clone() }, "redeem refused: 1");
        refused(Counts { bad_requests: 2, ..good }, "bad requests: 2");
    }
}
