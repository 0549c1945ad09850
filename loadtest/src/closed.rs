//! A closed loop: so many ceremonies under way at a time, each after the one before, as `cer_raw` is measured. Enough of
//! them keep the server's core full without it refusing anybody. Where ceremonies arrive faster than they get done
//! instead, refusals are in its CPU.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::failure::{Cut, Failure};
use crate::fleet::User;
use crate::floors;
use crate::overload::Tries;
use crate::plan::Plan;
use crate::record::Record;
use crate::report::Report;
use crate::rest::Api;
use crate::run::{self, Load, Used};
use crate::schedule::Arrival;
use crate::timer::Timer;
use crate::{ceremony, clock, usage};

/// Ceremonies that are under way at a time. `cer_raw` is full with 64 of them; of as many here some always wait for the
/// disk, and the core with them. So many creates as these bring at a time, no server of ours refuses.
pub(crate) const IN_FLIGHT: usize = 256;
/// How long whoever was refused stays away, and how often one comes back who has to sign in once.
const PAUSE: Duration = Duration::from_millis(50);
const TRIES: usize = 100;
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);

/// What a window of it came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    pub(crate) per_s: f64,
    pub(crate) refused: u64,
    /// CPU of the server for each ceremony, refusals among it, in microseconds; and the cores that it was.
    pub(crate) server_us: Option<f64>,
    pub(crate) server_cores: Option<f64>,
    pub(crate) client_cores: Option<f64>,
}

impl Full {
    fn new(records: &[Record], window: &Range<Mark>) -> Self {
        let within = records.iter().filter(|record| record.ended_in_hold);
        let refused = within.clone().filter(|record| record.refused).count() as u64;
        let right = within.filter(|record| record.judge().is_right()).count() as f64;
        let wall = window.end.at.saturating_duration_since(window.start.at).as_secs_f64();
        let used = |who: fn(&Mark) -> Option<Duration>| {
            let (before, after) = (who(&window.start)?, who(&window.end)?);
            Some(after.saturating_sub(before).as_secs_f64())
        };
        let (server, client) = (used(|mark| mark.server), used(|mark| mark.client));
        Self {
            per_s: right / wall,
            refused,
            server_us: server.filter(|_| right > 0.0).map(|used| used * 1e6 / right),
            server_cores: server.map(|used| used / wall),
            client_cores: client.map(|used| used / wall),
        }
    }
}

/// Where CPU stood.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    server: Option<Duration>,
    client: Option<Duration>,
}

impl Mark {
    fn now(server: Option<u32>) -> Self {
        let client = floors::cpu_of(std::process::id());
        Self { at: clock::now(), server: server.and_then(floors::cpu_of), client }
    }
}

/// What the workers share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    started: AtomicU64,
}

impl<C: Future<Output = Cut>> Tries<'_, C> {
    /// Keeps so many under way for as long as the plan holds, after a warm-up. If that is cut, the users are gone and
    /// only the report says something.
    pub(crate) async fn closed(&mut self, in_flight: usize, warm_up: Duration) -> (Report, Full) {
        eprintln!("{in_flight} at a time");
        let shared = Arc::new(Shared::default());
        let before = self.server.and_then(usage::of);
        let begin = Mark::now(self.server);
        let users = std::mem::take(&mut self.users);
        let mut workers = workers(self.api, (users, in_flight), self.plan.ttl(), &shared, false);
        let (window, cut) = tokio::select! {
            biased;
            why = self.cut.as_mut() => (begin..begin, Some(why)),
            window = wait(self.server, warm_up, self.plan.hold()) => (window, None),
        };
        shared.stop.store(true, Ordering::Relaxed);
        let mut records = Vec::new();
        if cut.is_some() {
            workers.shutdown().await;
        }
        while let Some(done) = workers.join_next().await {
            let (users, done) = done.expect("no ceremony panics");
            self.users.extend(users);
            records.extend(done);
        }
        let used = before.zip(self.server.and_then(usage::of)).map(|(before, now)| Used {
            cpu: now.cpu.saturating_sub(before.cpu),
            rss_bytes: now.rss_bytes,
        });
        for record in &mut records {
            let is_in = |at: Instant| (window.start.at..window.end.at).contains(&at);
            record.ended_in_hold = record.ended.is_some_and(is_in);
        }
        if cut.is_none() {
            records = run::audit(self.api, records).await;
        }
        let full = Full::new(&records, &window);
        let Full { per_s, refused, .. } = full;
        eprintln!("{in_flight} at a time: {per_s:.0}/s come through, {refused} were refused");
        let held = window.end.at.saturating_duration_since(window.start.at);
        let arrived = shared.started.load(Ordering::Relaxed);
        let report = Report::new(self.plan, load(records, arrived, held, used, cut));
        self.note(&report);
        (report, full)
    }
}

/// Runs the plan as a closed loop.
pub(crate) async fn find(
    api: &Api,
    users: Vec<User>,
    plan: &Plan,
    in_flight: u32,
    server: Option<u32>,
    cut: Pin<&mut impl Future<Output = Cut>>,
) -> (Report, Vec<User>) {
    let mut tries = Tries::new(api, users, plan, server, cut);
    let (mut report, full) = tries.closed(in_flight as usize, plan.ramp()).await;
    if !report.was_cut() {
        report.count_cpu_as(full.server_us.map(|us| us / 1e6));
    }
    tries.end(report, full.per_s)
}

/// Waits until the load has settled, and then for as long as it holds.
async fn wait(server: Option<u32>, warm_up: Duration, hold: Duration) -> Range<Mark> {
    let timer = Timer::new().expect("one file more is allowed");
    let pause = async |time| timer.pause(time).await.expect("the kernel sets timers");
    pause(warm_up).await;
    let from = Mark::now(server);
    pause(hold).await;
    from..Mark::now(server)
}

/// What a report is made of.
pub(crate) fn load(
    records: Vec<Record>,
    arrived: u64,
    held: Duration,
    server: Option<Used>,
    cut: Option<Cut>,
) -> Load {
    Load {
        cut_off: arrived.saturating_sub(records.len() as u64),
        arrived,
        asked_in_hold: 0,
        records,
        late: 0,
        overrun: 0,
        displaced: 0,
        cut,
        held,
        server,
        client: None,
        seconds: Vec::new(),
    }
}

/// All users sign in once, [`IN_FLIGHT`] at a time; whoever is refused comes again. If that is cut, they are gone.
pub(crate) async fn each_once(
    api: &Api,
    users: Vec<User>,
    ttl: Duration,
    cut: Pin<&mut impl Future<Output = Cut>>,
) -> Result<(Vec<User>, Vec<Record>), Failure> {
    let mut workers = workers(api, (users, IN_FLIGHT), ttl, &Arc::default(), true);
    let all = async {
        let (mut users, mut records) = (Vec::new(), Vec::new());
        while let Some(done) = workers.join_next().await {
            let (group, done) = done.expect("no ceremony panics");
            users.extend(group);
            records.extend(done);
        }
        (users, records)
    };
    tokio::select! {
        biased;
        why = cut => Err(Failure::Cut(why)),
        all = all => Ok(all),
    }
}

type Workers = JoinSet<(Vec<User>, Vec<Record>)>;

fn workers(
    api: &Api,
    (users, in_flight): (Vec<User>, usize),
    ttl: Duration,
    shared: &Arc<Shared>,
    once: bool,
) -> Workers {
    let mut groups: Vec<Vec<User>> = (0..in_flight).map(|_| Vec::new()).collect();
    for (n, user) in users.into_iter().enumerate() {
        groups[n % in_flight].push(user);
    }
    let mut workers = JoinSet::new();
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        let most = if once { group.len() } else { usize::MAX };
        workers.spawn(work(api.clone(), group, Arc::clone(shared), ttl, most));
    }
    workers
}

/// These users sign in one after the other, at most so many times in all, until they are told to stop.
async fn work(
    api: Api,
    mut users: Vec<User>,
    shared: Arc<Shared>,
    ttl: Duration,
    most: usize,
) -> (Vec<User>, Vec<Record>) {
    let arrival = Arrival::approval(true);
    let (mut records, mut done, mut tries) = (Vec::new(), 0, 0);
    while done < most && tries < TRIES && !shared.stop.load(Ordering::Relaxed) {
        let at = done % users.len();
        shared.started.fetch_add(1, Ordering::Relaxed);
        let start = clock::now();
        let mut record = ceremony::run(&api, &mut users[at], arrival, start, ttl).await;
        (record.measured, record.start) = (true, Some(start));
        record.ended = Some(clock::now());
        if record.refused {
            tries += usize::from(most < usize::MAX);
            tokio::time::sleep(PAUSE).await;
        } else {
            (done, tries) = (done + 1, 0);
        }
        records.push(record);
    }
    (users, records)
}

#[cfg(test)]
mod tests {
    use wire::rest::State;

    use super::*;
    use crate::schedule::Act;

    #[test]
    fn a_ceremony_is_what_a_full_core_takes_for_each_one_that_ended() {
        let record = |in_window: bool, refused: bool| {
            let mut record = Record::new(Act::Approve, String::new());
            record.challenge = Some("chl_a".to_owned());
            (record.prompted, record.answered, record.receipts) = (true, true, 1);
            (record.ended_in_hold, record.refused) = (in_window, refused);
            record.saw(State::Approved);
            record
        };
        let mark = |at: Instant, server: u64, client: u64| Mark {
            at,
            server: Some(Duration::from_millis(server)),
            client: Some(Duration::from_millis(client)),
        };
        let (begin, second) = (clock::now(), Duration::from_secs(2));
        let window = mark(begin, 500, 100)..mark(begin + second, 2_450, 1_500);
        let records = [record(true, false), record(true, false), record(false, false)];
        let full = Full::new(&records, &window);
        assert_eq!((full.per_s, full.refused), (1.0, 0));
        assert_eq!(full.server_us, Some(975_000.0));
        assert_eq!((full.server_cores, full.client_cores), (Some(0.975), Some(0.7)));
        let refused = Full::new(&[record(true, false), record(true, true)], &window);
        assert_eq!((refused.per_s, refused.refused), (0.5, 1));
        let nothing = Full::new(&[], &(Mark { server: None, ..mark(begin, 0, 0) }..window.end));
        assert_eq!((nothing.server_us, nothing.server_cores), (None, None));
    }
}
