//! `loadtest floors`: what no server of this kind can beat on this machine, measured in one run.
//!
//! Rounds of all floors take turns, since the speed of a virtual machine's core drifts: a ratio of neighbours holds
//! where two figures of different minutes don't. Servers are processes of their own, on a core of their own where
//! there are two; the generator has the other one.

mod ceremonies;
mod ceremony;
mod cores;
mod crypto;
mod durable;
mod durable_ceremony;
mod echo;
pub(crate) mod http;
mod idle;
pub(crate) mod limit;
mod people;
mod process;
mod report;
mod serve;
pub(crate) mod socket;
mod spread;
mod tls;
mod ws;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use statement::Algorithm;

use crate::failure::{Exit, Failure};
use ceremonies::Served;
use cores::Machine;
use echo::StopOnDrop;
use report::{Floors, Setting};
use serve::Kind;

pub(crate) use cores::{Cores, cpu_of};
pub(crate) use durable_ceremony::APPENDS;
#[cfg(test)]
pub(crate) use durable_ceremony::Once as CerDurable;
pub(crate) use echo::FULL;
pub(crate) use idle::{Figures as IdleFigures, SMALL_PAGES, kernel_bytes, user_bytes};
pub(crate) use limit::{DEVICES_SIGN, Limit};
pub(crate) use serve::{ServerArgs, start as serve};
pub(crate) use spread::Spread;

pub(crate) const ABOUT: &str = "\
Takes some five minutes. Leave the machine alone meanwhile: what others use of it is measured and said.
Exit codes: 0 all is well, 1 a figure can't be used, a server ended or it was interrupted, 2 usage.";

/// Rounds of a run, and of a quick one.
const ROUNDS: u32 = 5;
const QUICK_ROUNDS: u32 = 2;
/// Rounds of what hardly varies: memory.
const IDLE_ROUNDS: u32 = 3;
const QUICK_CONNECTIONS: u64 = 2_000;
/// A window, in seconds; a quick one in milliseconds.
const SECONDS: u32 = 2;
const QUICK_MS: u64 = 500;
/// Loads at which waits are measured, in percent of a core.
const LOADS: [u32; 2] = [10, 70];
/// Rounds before and after a run, and the window of each.
const BESIDE_ROUNDS: u32 = 3;
const BESIDE_PACE: Pace =
    Pace { warm_up: Duration::from_millis(200), window: Duration::from_millis(1_000) };

/// A group of floors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Group {
    /// JSON echoes: bare sockets and axum
    Http,
    /// WebSocket echoes: bare sockets and axum
    Ws,
    /// Signatures, and a ceremony's hashes and encodings
    Crypto,
    /// Records appended to a file and synced
    Durable,
    /// Memory of silent connections
    Idle,
    /// Whole ceremonies in memory
    CerRaw,
    /// Whole ceremonies whose rows are in SQLite
    CerDurable,
}

#[derive(Args)]
pub(crate) struct FloorsArgs {
    /// Only these, separated by commas; cer_raw and cer_durable bring along what they are held against
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    /// Seconds of each window
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: Option<u32>,
    /// Few and short rounds: to see that it works, not to rely on
    #[arg(long)]
    quick: bool,
    /// Where records are made durable; not in memory
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Write the figures as JSON; `-` is stdout
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How long is measured, and how long before that isn't.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

impl Pace {
    fn of(window: Duration) -> Self {
        Self { warm_up: window / 5, window }
    }
}

/// What is to be measured.
struct Job {
    groups: BTreeSet<Group>,
    setting: Setting,
    pace: Pace,
    dir: PathBuf,
    open_files: Option<u64>,
}

/// Measures and reports.
pub(crate) fn start(args: &FloorsArgs) -> Result<Exit, Failure> {
    let (cores, open_files) = prepare()?;
    let job = Job::of(args, cores, open_files)?;
    let floors = on_generator(cores, job.run())?;
    crate::publish(args.json.as_deref(), &floors)?;
    Ok(floors.exit())
}

/// Rounds of the limit and of its parts.
pub(crate) type BesideRun = (Vec<limit::Parts>, Vec<ceremonies::Round>);

/// The limit's rounds, on a thread of their own, since that one stays on its core.
pub(crate) fn beside(algorithm: Algorithm) -> Result<BesideRun, Failure> {
    let (cores, _) = prepare()?;
    let measured = std::thread::spawn(move || {
        on_generator(cores, limit::rounds(cores, BESIDE_PACE, BESIDE_ROUNDS, algorithm))
    });
    let panicked = || Failure::Server("floors: a thread panicked".to_owned());
    measured.join().unwrap_or_else(|_| Err(panicked()))
}

/// The limit of all rounds, before and after.
pub(crate) fn beside_again(before: BesideRun, algorithm: Algorithm) -> Result<Limit, Failure> {
    let (mut parts, mut rounds) = before;
    let after = beside(algorithm)?;
    parts.extend(after.0);
    rounds.extend(after.1);
    let limit = Limit::of(algorithm, &parts, &rounds);
    limit.ok_or_else(|| Failure::Server("floors: nothing was done in a window".to_owned()))
}

/// A round of the floors that a server is held against in turns. Milliseconds, and microseconds of CPU.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Beside {
    /// Of `cer_raw`, and of the sum of its parts.
    pub(crate) cer_raw_us: f64,
    pub(crate) parts_us: f64,
    pub(crate) server_cores: f64,
    pub(crate) generator_cores: f64,
    pub(crate) p50_at_10: f64,
    pub(crate) p99_at_70: f64,
    /// How busy the server's core was then: a ceremony takes more of one that isn't full.
    pub(crate) busy_at_70: f64,
    pub(crate) append_p50: f64,
    pub(crate) append_p99: f64,
    /// A bare server with a ceremony's rows in SQLite; none where it can't be relied on.
    pub(crate) cer_durable: Option<durable_ceremony::Once>,
    /// Why `cer_raw` is no floor, and why its waits at 10 % and at 70 % aren't; empty if they are.
    pub(crate) invalid_because: Vec<String>,
    pub(crate) light_invalid_because: Vec<String>,
    pub(crate) heavy_invalid_because: Vec<String>,
}

impl Beside {
    fn new(
        algorithm: Algorithm,
        parts: limit::Parts,
        round: &ceremonies::Round,
        append: durable::Round,
        cer_durable: Option<durable_ceremony::Once>,
    ) -> Option<Self> {
        let limit = Limit::of(algorithm, &[parts], std::slice::from_ref(round))?;
        let (light, heavy) = (round.open.first()?, round.open.get(1)?);
        let waits = |n: usize| {
            let late = limit.open.get(n).and_then(limit::Open::late);
            limit.invalid_because.iter().cloned().chain(late).collect()
        };
        Some(Self {
            cer_raw_us: limit.cpu_us.median,
            parts_us: limit.parts_us.median,
            server_cores: limit.server_busy.median,
            generator_cores: limit.generator_busy.median,
            p50_at_10: light.p50_us / 1e3,
            p99_at_70: heavy.p99_us / 1e3,
            busy_at_70: heavy.busy(),
            append_p50: append.single_p50,
            append_p99: append.single_p99,
            cer_durable,
            light_invalid_because: waits(0),
            heavy_invalid_because: waits(1),
            invalid_because: limit.invalid_because,
        })
    }
}

/// Measures one on the calling thread, which stays on the generator's core.
pub(crate) fn round_beside(cores: Cores, n: u32, algorithm: Algorithm) -> Result<Beside, Failure> {
    let dir = std::env::temp_dir();
    if let Some(why) = durable::unfit(&dir) {
        return Err(Failure::Usage(format!("TMPDIR: {why}; name a folder on a disk")));
    }
    on_generator(cores, async move {
        let parts = limit::parts(cores, BESIDE_PACE).await?;
        let round =
            ceremonies::measure(Served::raw(algorithm), cores, BESIDE_PACE, &LOADS, n.into())
                .await?;
        let stop = AtomicBool::new(false);
        let store = tempfile::tempdir_in(&dir).map_err(failed)?;
        let served = Served { algorithm, store: Some(store.path()) };
        let bare = ceremonies::measure(served, cores, BESIDE_PACE, &LOADS, n.into()).await?;
        let bare = durable_ceremony::Once::of(&bare);
        let append = durable::measure(dir, BESIDE_PACE, &stop).map_err(failed)?;
        let nothing = || Failure::Server("floors: nothing was done in a window".to_owned());
        let beside = Beside::new(algorithm, parts, &round, append, bare.as_ref().ok().copied());
        let beside = beside.ok_or_else(nothing)?;
        say(&format!("floor {n}: {beside:.2?}"));
        if let Err(why) = bare {
            say(&format!("floor {n}: cer_durable doesn't count: {why}"));
        }
        Ok(beside)
    })
}

/// Memory of so many silent connections: a task with a bare socket, and with `tls` one with a TLS stream.
pub(crate) fn idle_beside(
    connections: u64,
    tls: bool,
) -> Result<(idle::Figures, Option<idle::Figures>), Failure> {
    let (cores, open_files) = prepare()?;
    let may = idle::most(open_files, connections);
    if may < connections {
        let why = format!("floors of {connections} connections: open files allow {may}");
        return Err(Failure::Usage(why));
    }
    let of = async |kind: Kind| {
        let mut rounds = Vec::new();
        for n in 1..=IDLE_ROUNDS {
            let round = idle::measure(kind, cores, connections).await?;
            say(&format!("floor {n}/{IDLE_ROUNDS}: idle {} {:.0} bytes", kind.name(), round.user));
            rounds.push(round);
        }
        let figures = idle::Figures::of(&rounds);
        figures.ok_or_else(|| Failure::Server("floors: memory can't be measured".to_owned()))
    };
    let measured = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            on_generator(cores, async {
                let socket = of(Kind::Tcp).await?;
                Ok((socket, if tls { Some(of(Kind::Tls).await?) } else { None }))
            })
        });
        worker.join()
    });
    let panicked = || Failure::Server("floors: a thread panicked".to_owned());
    measured.unwrap_or_else(|_| Err(panicked()))
}

/// What an echo by axum costs a server, in microseconds: a few rounds.
pub(crate) fn echoes() -> Result<Vec<f64>, Failure> {
    let (cores, _) = prepare()?;
    let measured = std::thread::spawn(move || {
        on_generator(cores, async {
            let mut rounds = Vec::new();
            for _ in 0..BESIDE_ROUNDS {
                rounds.push(echo::measure(Kind::HttpAxum, cores, BESIDE_PACE).await?.cpu_us());
            }
            Ok(rounds)
        })
    });
    let panicked = || Failure::Server("floors: a thread panicked".to_owned());
    measured.join().unwrap_or_else(|_| Err(panicked()))
}

/// The one in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    spread::Spread::of(values).map_or(f64::NAN, |spread| spread.median)
}

/// Does `work` on a thread of its own; `apart` keeps it, and whatever it starts, on the generator's core, and gives it
/// the cores.
pub(crate) fn apart<T: Send>(
    apart: bool,
    work: impl FnOnce(Option<Cores>) -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let cores = if apart { Some(Cores::choose().map_err(failed)?) } else { None };
    if cores.is_some_and(|cores| cores.server.is_none()) {
        let why = "`pinned` needs two cores, one for the server and one for this program";
        return Err(Failure::Usage(why.to_owned()));
    }
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            cores::pin(cores.and_then(|cores| cores.generator)).map_err(failed)?;
            work(cores)
        });
        let panicked = || Failure::Server("a thread panicked".to_owned());
        worker.join().unwrap_or_else(|_| Err(panicked()))
    })
}

/// For whoever stays on one core: there, threads would only wake each other up.
pub(crate) fn runtime(cores: Option<Cores>) -> Result<tokio::runtime::Runtime, Failure> {
    let built = match cores {
        Some(_) => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        None => tokio::runtime::Runtime::new(),
    };
    built.map_err(|error| Failure::Server(format!("can't start threads: {error}")))
}

/// Does `work` on the server's core, for what it starts to stay there.
pub(crate) fn elsewhere<T>(
    cores: Option<Cores>,
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let Some(cores) = cores else { return work() };
    cores::pin(cores.server)?;
    let done = work();
    cores::pin(cores.generator)?;
    done
}

fn prepare() -> Result<(Cores, Option<u64>), Failure> {
    crate::raise_open_files();
    let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    Ok((Cores::choose().map_err(failed)?, open_files))
}

fn failed(error: io::Error) -> Failure {
    Failure::Server(format!("floors: {error}"))
}

/// Runs it on the generator's core, until it is done or somebody interrupts it.
fn on_generator<T>(
    cores: Cores,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    cores::pin(cores.generator).map_err(failed)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let stop = pin!(crate::interruption()?);
        tokio::select! {
            biased;
            why = stop => Err(Failure::Cut(why)),
            done = work => done,
        }
    })
}

/// Progress, for whoever waits.
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

impl Job {
    fn of(args: &FloorsArgs, cores: Cores, open_files: Option<u64>) -> Result<Self, Failure> {
        let all = Group::value_variants();
        let asked = if args.only.is_empty() { all } else { &args.only };
        let mut groups: BTreeSet<Group> = asked.iter().copied().collect();
        if groups.contains(&Group::CerDurable) {
            groups.extend([Group::CerRaw, Group::Durable]);
        }
        let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        if groups.contains(&Group::Durable)
            && let Some(why) = durable::unfit(&dir)
        {
            return Err(Failure::Usage(format!("--dir: {why}; name a folder on a disk")));
        }
        if groups.contains(&Group::Idle) && idle::most(open_files, idle::MOST) < 100 {
            let why = "`idle` needs some hundred open files more: ulimit -n";
            return Err(Failure::Usage(why.to_owned()));
        }
        let window = match args.seconds {
            Some(seconds) => Duration::from_secs(seconds.into()),
            None if args.quick => Duration::from_millis(QUICK_MS),
            None => Duration::from_secs(SECONDS.into()),
        };
        let rounds = if args.quick { QUICK_ROUNDS } else { ROUNDS };
        let setting = Setting { cores, window_s: window.as_secs_f64(), rounds, quick: args.quick };
        Ok(Self { groups, setting, pace: Pace::of(window), dir, open_files })
    }

    /// The servers that echo, for whoever needs them.
    fn echoes(&self) -> Vec<Kind> {
        let needed = [
            (Kind::HttpRaw, [Group::Http, Group::CerRaw].as_slice()),
            (Kind::HttpAxum, &[Group::Http]),
            (Kind::WsRaw, &[Group::Ws]),
            (Kind::WsRawTwice, &[Group::Ws, Group::CerRaw]),
            (Kind::WsAxum, &[Group::Ws]),
        ];
        let asked = |groups: &[Group]| groups.iter().any(|group| self.groups.contains(group));
        needed.into_iter().filter(|(_, groups)| asked(groups)).map(|(kind, _)| kind).collect()
    }

    fn connections(&self, kind: Kind) -> u64 {
        let most = if kind == Kind::WsAxumDefault { idle::MOST_DEFAULT } else { idle::MOST };
        let most = if self.setting.quick { most.min(QUICK_CONNECTIONS) } else { most };
        idle::most(self.open_files, most)
    }

    async fn run(self) -> Result<Floors, Failure> {
        let before = Machine::now();
        let mut floors = Floors::new(self.setting);
        say(&self.setting.to_string());
        for n in 1..=self.setting.rounds {
            self.round(n, &mut floors).await?;
        }
        let machine = Machine::now().zip(before);
        floors.finish(machine.map(|(now, before)| now.others_since(before)));
        Ok(floors)
    }

    async fn round(&self, n: u32, floors: &mut Floors) -> Result<(), Failure> {
        let Setting { cores, rounds, .. } = self.setting;
        let tell = |what: String| say(&format!("round {n}/{rounds}  {what}"));
        for kind in self.echoes() {
            let sample = echo::measure(kind, cores, self.pace).await?;
            tell(format!("{:<20} {:>8.1} us", kind.name(), sample.cpu_us()));
            floors.echo(kind, sample);
        }
        if self.groups.contains(&Group::Crypto) || self.groups.contains(&Group::CerRaw) {
            let pace = self.pace;
            let round = tokio::task::spawn_blocking(move || crypto::measure(pace)).await;
            let round = round.map_err(|error| Failure::Server(error.to_string()))?;
            tell(format!("{:<20} {:>8.1} us", "ed25519 verify", round.ed25519_verify));
            floors.crypto.push(round);
        }
        let ceremonies = |served| ceremonies::measure(served, cores, self.pace, &LOADS, n.into());
        if self.groups.contains(&Group::CerRaw) {
            for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
                let round = ceremonies(Served::raw(algorithm)).await?;
                let cpu_us = round.closed.cpu_us();
                tell(format!("{:<20} {cpu_us:>8.1} us", format!("cer_raw {algorithm:?}")));
                floors.ceremony(algorithm, round);
            }
        }
        if self.groups.contains(&Group::CerDurable) {
            let store = tempfile::tempdir_in(&self.dir).map_err(failed)?;
            let served = Served { algorithm: DEVICES_SIGN, store: Some(store.path()) };
            let round = ceremonies(served).await?;
            tell(format!("{:<20} {:>8.1} us", "cer_durable", round.closed.cpu_us()));
            floors.durable_ceremonies.push(round);
        }
        if self.groups.contains(&Group::Durable) {
            let round = self.durable().await?;
            tell(format!("{:<20} {:>8.2} us a record", "durable", round.cpu_us));
            floors.durable.push(round);
        }
        if self.groups.contains(&Group::Idle) && n <= IDLE_ROUNDS {
            for kind in [Kind::Tcp, Kind::Tls, Kind::WsRaw, Kind::WsAxum, Kind::WsAxumDefault] {
                let round = idle::measure(kind, cores, self.connections(kind)).await?;
                let what = format!("idle {}", kind.name());
                tell(format!("{what:<20} {:>8.0} bytes", round.user));
                floors.idle(kind, round);
            }
        }
        Ok(())
    }

    async fn durable(&self) -> Result<durable::Round, Failure> {
        let stop = StopOnDrop::default();
        let (dir, pace, stopped) = (self.dir.clone(), self.pace, Arc::clone(&stop.0));
        let work = tokio::task::spawn_blocking(move || durable::measure(dir, pace, &stopped));
        let done = work.await.map_err(|error| Failure::Server(error.to_string()))?;
        done.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: FloorsArgs,
    }

    fn job(args: &[&str]) -> Result<Job, String> {
        let cli = Cli::try_parse_from([&["floors"], args].concat());
        let cli = cli.map_err(|error| error.to_string())?;
        let cores = Cores { available: 1, server: None, generator: None };
        Job::of(&cli.args, cores, Some(20_000)).map_err(|error| error.to_string())
    }

    #[test]
    fn nonsense_is_refused_with_what_is_wrong() {
        let refused = |args: &[&str], says: &str| {
            let why = job(args).err().unwrap_or_default();
            assert!(why.contains(says), "{args:?}: {why:?} doesn't say {says:?}");
        };
        refused(&["--seconds", "0"], "1..=60");
        refused(&["--seconds", "61"], "1..=60");
        refused(&["--seconds", "x"], "invalid digit");
        refused(&["--only", "nothing"], "possible values: http, ws, crypto");
        refused(&["--only", ""], "possible values");
        refused(&["--only", "http,"], "possible values");
        refused(&["--only", "durable", "--dir", "/no/such/folder"], "No such file");
        refused(&["more"], "unexpected argument");
    }

    #[test]
    fn a_ceremony_brings_along_the_parts_that_it_is_held_against() {
        let cer_raw = job(&["--only", "cer_raw"]).expect("a job");
        assert_eq!(cer_raw.echoes(), [Kind::HttpRaw, Kind::WsRawTwice]);
        let durable = job(&["--only", "cer_durable"]).expect("a job");
        assert!(durable.groups.contains(&Group::Durable));
        assert_eq!(durable.echoes(), cer_raw.echoes());
        let ws = job(&["--only", "ws,idle"]).expect("a job");
        assert_eq!(ws.echoes(), [Kind::WsRaw, Kind::WsRawTwice, Kind::WsAxum]);
        assert_eq!(job(&[]).expect("a job").groups.len(), Group::value_variants().len());
    }

    #[test]
    fn quick_is_few_and_short() {
        let quick = job(&["--quick", "--only", "idle"]).expect("a job");
        assert_eq!((quick.setting.rounds, quick.pace.window), (2, Duration::from_millis(500)));
        assert_eq!(quick.connections(Kind::Tcp), 2_000);
        let full = job(&["--seconds", "3", "--only", "idle"]).expect("a job");
        assert_eq!((full.setting.rounds, full.pace.window), (5, Duration::from_secs(3)));
        assert_eq!(full.connections(Kind::Tcp), 18_000);
        assert_eq!(full.connections(Kind::WsAxumDefault), 2_000);
    }
}
