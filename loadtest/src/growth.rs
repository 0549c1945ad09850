//! `loadtest growth`: the same load on a server that knows more and more users.

mod cold;

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::time::Duration;

use authenticator_native::Event;
use clap::Args;
use hyper::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wire::rest::{BrowserContext, CreateChallenge, CreatedChallenge, FirstFactor, User as Shown};

use crate::child::Server;
use crate::clock;
use crate::failure::{Cut, Exit, Failure};
use crate::fleet::{self, User};
use crate::floors::{self, Cores, user_bytes};
use crate::plan::Plan;
use crate::record::Step;
use crate::report::Report;
use crate::rest::{Api, CallError, Nothing};
use crate::timer::Timer;
use crate::{run, usage};
use cold::{Cold, Crowd, Pass, Way};

pub(crate) const ABOUT: &str = "\
Users are made over the API, some thousands a second: they are in the directory and in the audit, as all users are, but \
have no device. Those who sign in have one, and are the same throughout. Besides, challenges are asked for any user at \
random, and after a restart some thousand users whom no cache holds sign in, once each, and then again. Exit codes: 0 all is well, 1 something was lost, doubled or wrong, 2 usage.";

/// Users that are made at a time.
const AT_ONCE: u32 = 256;
/// Ceremonies per second, and creates for random users: well below what a core gets done, so that CPU is that of the
/// same work at every size.
const RATE: f64 = 300.0;
/// Seconds of each.
const SECONDS: u32 = 8;
const DEVICES: u32 = 200;
/// How often, and after which pause, a server that has no time is asked again to make a user.
const CALM_TRIES: u32 = 50;
const CALM_PAUSE: Duration = Duration::from_millis(100);
/// How long devices may take to come back after a restart.
const BACK_WITHIN: Duration = Duration::from_secs(120);
/// What `audit verify` and a start may take.
const VERIFY_WITHIN: Duration = Duration::from_secs(1_800);
/// Free bytes that each user must find, with the audit and the log of the database.
const BYTES_EACH: u64 = 3_000;
/// CPU at the largest size may be this much of that at the smallest.
const MOST: f64 = 1.3;

#[derive(Args)]
pub(crate) struct GrowthArgs {
    /// How many users there are, from few to many
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', default_value = "1000,100000,1000000",
          value_parser = clap::value_parser!(u32).range(200..=20_000_000))]
    users: Vec<u32>,
    /// Write the figures as JSON; `-` is stdout
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was found at one size.
#[derive(Clone, Debug, Serialize)]
struct Size {
    users: u32,
    /// Users that were made per second to come here.
    made_per_s: f64,
    /// Server CPU in microseconds: of a whole ceremony, and of creating a challenge for any user at random.
    ceremony_us: Option<f64>,
    create_us: Option<f64>,
    /// Of a whole ceremony of a user whom no cache holds, while the core is full; and all that was found of those.
    cold_ceremony_us: Option<f64>,
    cold: Option<Cold>,
    /// Milliseconds.
    create_p99: Option<f64>,
    random_create_p50: f64,
    random_create_p99: f64,
    /// The server's own (PSS), after the load, and after a restart.
    memory_bytes: u64,
    fresh_memory_bytes: u64,
    data_bytes: u64,
    start_s: f64,
    verify_s: f64,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Growth {
    sizes: Vec<Size>,
    /// CPU of the last size by that of the first.
    ceremony_ratio: Option<f64>,
    create_ratio: Option<f64>,
    /// Of ceremonies of users whom no cache holds; and by that of users whom the caches hold, at the first size.
    cold_ratio: Option<f64>,
    cold_to_warm_ratio: Option<f64>,
    note: Option<String>,
}

/// Measures and reports.
pub(crate) fn start(args: &GrowthArgs) -> Result<Exit, Failure> {
    if !args.users.is_sorted() {
        return Err(Failure::Usage("--users: must rise".to_owned()));
    }
    let most = args.users.last().copied().unwrap_or_default();
    room_for(most, &std::env::temp_dir())?;
    crate::raise_open_files();
    let growth =
        floors::apart(true, |cores| floors::runtime(cores)?.block_on(measure(&args.users, cores)))?;
    crate::publish(args.json.as_deref(), &growth)?;
    let fine = growth.sizes.iter().all(|size| size.problem.is_none());
    Ok(if fine && growth.note.is_none() { Exit::Ok } else { Exit::Wrong })
}

/// Whether the disk holds so many.
fn room_for(users: u32, dir: &Path) -> Result<(), Failure> {
    let stat = rustix::fs::statvfs(dir)
        .map_err(|error| Failure::Usage(format!("TMPDIR: {}: {error}", dir.display())))?;
    let (free, needed) = (stat.f_bavail * stat.f_frsize, u64::from(users) * BYTES_EACH);
    if free >= needed {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    Err(Failure::Usage(format!(
        "{users} users take some {:.0} GiB in {}, and {:.0} are free: name another folder by TMPDIR, or fewer users",
        gib(needed).ceil(),
        dir.display(),
        gib(free)
    )))
}

fn plan() -> Plan {
    let text = format!(
        "name = 'growth'\nseed = 20261209\nrate = {RATE}\nramp_s = 1\nhold_s = {SECONDS}\ndevices = {DEVICES}\n\
         ttl_s = 60\n[mix]\napprove = 100\n"
    );
    toml::from_str(&text).expect("it is a plan")
}

/// Those who sign in.
struct People {
    users: Vec<User>,
    crowd: Crowd,
    /// The first number that no user has.
    next: u32,
}

async fn measure(sizes: &[u32], cores: Option<Cores>) -> Result<Growth, Failure> {
    let mut stop = pin!(crate::interruption()?);
    let plan = plan();
    let mut server = Server::start(&plan, cores).await?;
    let key = server.integration().await?;
    let api = Api::new(&server.url, &key, &[]).expect("our server's keys are plain text");
    eprintln!("enrolling {} devices", plan.devices + cold::DEVICES);
    let users = fleet::enrol(&api, &plan, 0..plan.devices).await?;
    let mut crowd = Crowd::enrol(&api, &plan, plan.devices).await?;
    let way = Way { api: &api, plan: &plan, pid: server.pid };
    crowd.sign_in(way, stop.as_mut()).await?;
    let mut people = People { users, crowd, next: plan.devices + cold::DEVICES };
    let (mut found, mut made, mut note) = (Vec::new(), 0, None);
    for size in sizes {
        let begin = clock::now();
        let filled = tokio::select! {
            biased;
            why = stop.as_mut() => Err(Failure::Cut(why)),
            filled = fill(&api, made..*size) => filled,
        };
        if let Err(failure) = filled {
            note = Some(format!("{size} users were never reached: {failure}"));
            break;
        }
        let made_per_s = f64::from(*size - made) / (clock::now() - begin).as_secs_f64();
        made = *size;
        let load = Load { api: &api, plan: &plan, size: *size };
        match load.look(server, &mut people, made_per_s, stop.as_mut()).await {
            Ok((here, again)) => {
                eprint!("{here}");
                found.push(here);
                server = again;
            }
            // what was found at smaller sizes stays
            Err(failure) => {
                let note = format!("{size} users weren't measured: {failure}");
                return Ok(Growth::new(found, Some(note)));
            }
        }
    }
    fleet::dismiss(&api, people.users, false).await;
    people.crowd.dismiss(&api).await;
    let ended = server.stop().await;
    let note = note.or_else(|| ended.err());
    Ok(Growth::new(found, note))
}

/// Waits until the device has noticed the restart and is connected again.
async fn come_back(user: &mut User) -> Result<(), Failure> {
    let connected = async {
        while let Some((_, event)) = user.session.events.recv().await {
            if matches!(event, Event::Connected { .. }) {
                return true;
            }
        }
        false
    };
    let is_back = tokio::time::timeout(BACK_WITHIN, connected).await.unwrap_or(false);
    let why = || Failure::Device("a device didn't come back after a restart".to_owned());
    is_back.then_some(()).ok_or_else(why)
}

/// Makes users `loadtest-many-N`.
async fn fill(api: &Api, which: std::ops::Range<u32>) -> Result<(), Failure> {
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    for first in 0..AT_ONCE {
        let (api, which) = (api.clone(), which.clone());
        tasks.spawn(async move {
            let step = usize::try_from(AT_ONCE).unwrap_or(1);
            for n in which.skip(usize::try_from(first).unwrap_or(0)).step_by(step) {
                let path = format!("/v1/users/name:loadtest-many-{n}");
                let made = async || api.send::<Shown>(Method::PUT, &path, None::<&Nothing>).await;
                let mut tried = made().await;
                // a server that was just kept full takes a moment until it takes on others
                for _ in 0..CALM_TRIES {
                    if !tried.as_ref().is_err_and(CallError::is_overload) {
                        break;
                    }
                    tokio::time::sleep(CALM_PAUSE).await;
                    tried = made().await;
                }
                tried.map_err(Failure::call(format!("user {n}")))?;
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no task is aborted")?;
    }
    Ok(())
}

/// How long `audit verify` takes, in seconds.
async fn verify(program: &Path, data: &Path) -> Result<f64, Failure> {
    let failed = |why: String| Failure::Server(format!("audit verify: {why}"));
    let begin = clock::now();
    let mut command = Command::new(program);
    command.args(["audit", "verify", "--data"]).arg(data).kill_on_drop(true);
    let output = tokio::time::timeout(VERIFY_WITHIN, command.output()).await;
    let output = output.map_err(|_| failed("takes more than half an hour".to_owned()))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok((clock::now() - begin).as_secs_f64())
}

struct Load<'a> {
    api: &'a Api,
    plan: &'a Plan,
    size: u32,
}

impl Load<'_> {
    /// All that is measured at this size. The server is another one afterwards.
    async fn look(
        &self,
        server: Server,
        people: &mut People,
        made_per_s: f64,
        mut cut: Pin<&mut impl Future<Output = Cut>>,
    ) -> Result<(Size, Server), Failure> {
        let users = std::mem::take(&mut people.users);
        let (mut here, back) = self.run(server.pid, users, made_per_s, cut.as_mut()).await?;
        people.users = back;
        let others = people.next..people.next + cold::OTHERS;
        people.next = others.end;
        let others = fleet::enrol_only(self.api, self.plan, others).await?;
        let (server, verify_s, start) = server.restart(verify).await?;
        (here.start_s, here.verify_s) = (start.as_secs_f64(), verify_s);
        here.fresh_memory_bytes = user_bytes(server.pid).unwrap_or_default();
        here.data_bytes = server.data_bytes();
        for user in &mut people.users {
            come_back(user).await?;
        }
        people.crowd.come_back().await?;
        let way = Way { api: self.api, plan: self.plan, pid: server.pid };
        let cold = people.crowd.measure(way, others, cut).await?;
        here.cold_ceremony_us = cold.full.cold.cpu_us;
        here.problem = here.problem.take().or_else(|| cold.problem.clone());
        here.cold = Some(cold);
        Ok((here, server))
    }

    async fn run(
        &self,
        pid: u32,
        users: Vec<User>,
        made_per_s: f64,
        cut: Pin<&mut impl Future<Output = Cut>>,
    ) -> Result<(Size, Vec<User>), Failure> {
        let (mut load, users) = run::run(self.api, users, self.plan, Some(pid), cut).await;
        if let Some(why) = load.cut {
            return Err(Failure::Cut(why));
        }
        load.records = run::audit(self.api, load.records).await;
        let report = Report::new(self.plan, load);
        let before = usage::of(pid);
        let random = self.random_creates().await;
        let cpu = usage::of(pid).zip(before).map(|(now, before)| now.cpu - before.cpu);
        let mut took = random.unwrap_or_default();
        took.sort_by(f64::total_cmp);
        let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or(f64::NAN);
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / took.len() as f64;
        let failed = took.is_empty().then(|| "creates for random users failed".to_owned());
        let size = Size {
            users: self.size,
            made_per_s,
            ceremony_us: report.server_cpu().map(|cpu| cpu * 1e6),
            create_us: cpu.map(each).filter(|us| us.is_finite()),
            cold_ceremony_us: None,
            cold: None,
            create_p99: report.percentiles(Step::Create).and_then(|found| found.p99),
            random_create_p50: at(50),
            random_create_p99: at(99),
            memory_bytes: user_bytes(pid).unwrap_or_default(),
            fresh_memory_bytes: 0,
            data_bytes: 0,
            start_s: f64::NAN,
            verify_s: f64::NAN,
            problem: report.problem().map(str::to_owned).or(failed),
        };
        Ok((size, users))
    }

    /// Milliseconds that each took; `None` if one failed.
    async fn random_creates(&self) -> Option<Vec<f64>> {
        let mut rng = StdRng::seed_from_u64(self.plan.seed ^ u64::from(self.size));
        let timer = Timer::new().ok()?;
        let (begin, mut tasks) = (clock::now(), JoinSet::new());
        let count = (RATE * f64::from(SECONDS)) as u32;
        for n in 0..count {
            let at = begin + Duration::from_secs_f64(f64::from(n) / RATE);
            timer.until(at).await.ok()?;
            let api = self.api.clone();
            let user = rng.random_range(0..self.size);
            tasks.spawn(async move { create(&api, user, at).await });
        }
        tasks.join_all().await.into_iter().collect()
    }
}

async fn create(api: &Api, n: u32, at: Instant) -> Option<f64> {
    let asked = CreateChallenge {
        user: format!("name:loadtest-many-{n}"),
        context: BrowserContext {
            browser_session: clock::browser_session(),
            ip: Some(format!("198.18.{}.{}", n % 256, n / 256 % 254 + 1)),
            user_agent: None,
            device_cookie: None,
        },
        first_factor: Some(FirstFactor { method: "password".to_owned(), at: clock::wall() }),
        purpose: None,
        methods: None,
        ttl_s: Some(30),
        details: Vec::new(),
        return_url: None,
    };
    let created = api.send::<CreatedChallenge>(Method::POST, "/v1/challenges", Some(&asked)).await;
    created.ok().map(|_| (clock::now() - at).as_secs_f64() * 1e3)
}

impl Growth {
    fn new(sizes: Vec<Size>, note: Option<String>) -> Self {
        let ratio = |value: fn(&Size) -> Option<f64>| {
            let (first, last) = (sizes.first().and_then(value)?, sizes.last().and_then(value)?);
            Some(last / first)
        };
        let warm = |size: &Size| size.cold.as_ref().and_then(|cold| cold.full.again.cpu_us);
        let cold = sizes.last().and_then(|size| size.cold_ceremony_us);
        let cold_to_warm = cold.zip(sizes.first().and_then(warm));
        Self {
            ceremony_ratio: ratio(|size| size.ceremony_us),
            create_ratio: ratio(|size| size.create_us),
            cold_ratio: ratio(|size| size.cold_ceremony_us),
            cold_to_warm_ratio: cold_to_warm.map(|(cold, warm)| cold / warm),
            sizes,
            note,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |value: Option<f64>| value.map_or("-".to_owned(), |us| format!("{us:.0}"));
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "{:>9} users: {} us of CPU a ceremony, {} a create for any user (p50 {:.1}, p99 {:.1} ms); {:.0} MiB, {:.0} \
             after a restart; start {:.2} s, audit verify {:.1} s, {:.0} MiB on disk; {:.0} made a second",
            self.users,
            us(self.ceremony_us),
            us(self.create_us),
            self.random_create_p50,
            self.random_create_p99,
            mib(self.memory_bytes),
            mib(self.fresh_memory_bytes),
            self.start_s,
            self.verify_s,
            mib(self.data_bytes),
            self.made_per_s
        )?;
        let Some(Cold { full, at_70_percent, .. }) = &self.cold else { return Ok(()) };
        for Pass { cold, again } in [full, at_70_percent] {
            let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
            let cores = cold.server_cores.map_or("-".to_owned(), |cores| format!("{cores:.2}"));
            writeln!(
                f,
                "{:>15} of {} users whom no cache holds: {} us a ceremony at {:.0}/s and {cores} cores, and {} right \
                 after at {:.0}/s; create p99 {} and {} ms",
                "",
                cold.ceremonies,
                us(cold.cpu_us),
                cold.per_s,
                us(again.cpu_us),
                again.per_s,
                ms(cold.create_p99),
                ms(again.create_p99)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for size in &self.sizes {
            write!(f, "{size}")?;
            if let Some(why) = &size.problem {
                writeln!(f, "WRONG: at {} users: {why}", size.users)?;
            }
        }
        for (what, first, ratio) in [
            ("a ceremony", "the first", self.ceremony_ratio),
            ("a ceremony of users whom no cache holds", "the first", self.cold_ratio),
            (
                "a ceremony of users whom no cache holds",
                "one whom the caches hold at the first",
                self.cold_to_warm_ratio,
            ),
            ("a create for any user", "the first", self.create_ratio),
        ] {
            let Some(ratio) = ratio else { continue };
            let above = if ratio > MOST { format!(", above {MOST}") } else { String::new() };
            writeln!(f, "CPU of {what}: the last is {ratio:.2} x {first}{above}")?;
        }
        match &self.note {
            Some(note) => writeln!(f, "WRONG: {note}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cold::Done;
    use super::*;

    fn pass(cpu: f64) -> Pass {
        let cold = Done {
            ceremonies: 4_000,
            refused: 0,
            per_s: 2_400.0,
            cpu_us: Some(cpu + 100.0),
            server_cores: Some(0.98),
            create_p99: Some(9.0),
            problem: None,
        };
        let again = Done { cpu_us: Some(cpu), create_p99: None, ..cold.clone() };
        Pass { cold, again }
    }

    fn size(users: u32, cpu: f64) -> Size {
        Size {
            users,
            made_per_s: 4_000.0,
            ceremony_us: Some(cpu),
            create_us: None,
            cold_ceremony_us: Some(cpu + 100.0),
            cold: Some(Cold { full: pass(cpu), at_70_percent: pass(cpu), problem: None }),
            create_p99: Some(3.0),
            random_create_p50: 1.0,
            random_create_p99: 4.0,
            memory_bytes: 1 << 26,
            fresh_memory_bytes: 1 << 25,
            data_bytes: 1 << 30,
            start_s: 0.1,
            verify_s: 2.0,
            problem: None,
        }
    }

    #[test]
    fn the_last_is_held_against_the_first() {
        let growth = Growth::new(vec![size(1_000, 500.0), size(100_000, 700.0)], None);
        assert_eq!(growth.ceremony_ratio, Some(1.4));
        let text = growth.to_string();
        assert!(
            text.contains("CPU of a ceremony: the last is 1.40 x the first, above 1.3"),
            "{text}"
        );
        assert!(!text.contains("a create for any user:"), "{text}");
        assert_eq!(
            (growth.cold_ratio, growth.cold_to_warm_ratio),
            (Some(800.0 / 600.0), Some(1.6))
        );
        assert!(
            text.contains(
                "4000 users whom no cache holds: 800 us a ceremony at 2400/s and 0.98 cores, and 700"
            ),
            "{text}"
        );
        assert!(
            text.contains("the last is 1.60 x one whom the caches hold at the first"),
            "{text}"
        );
        let cut = Growth::new(Vec::new(), Some("1000 users were never reached".to_owned()));
        assert_eq!(cut.to_string(), "WRONG: 1000 users were never reached\n");
    }

    #[test]
    fn a_disk_that_is_too_small_is_said_first() {
        let why = room_for(u32::MAX, &std::env::temp_dir()).expect_err("terabytes").to_string();
        assert!(why.contains("12000 GiB") && why.contains("are free"), "{why}");
        assert!(room_for(1, Path::new("/no/such/folder")).is_err());
        assert_eq!(plan().devices, DEVICES);
    }
}
