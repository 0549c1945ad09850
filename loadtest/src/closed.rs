//! A closed loop: so many ceremonies under way at a time, each after the one before, as `cer_raw` is measured. Enough of
//! them keep the server's core full without it refusing anybody. Where ceremonies arrive faster than they get done
//! instead, refusals are in its CPU.

use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
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
use crate::series::Series;
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
    pub(crate) client_us: Option<f64>,
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
            Some(after.saturating_sub(before).as_secs_f64()).filter(|_| wall > 0.0)
        };
        let (server, client) = (used(|mark| mark.server), used(|mark| mark.client));
        let each = |used: Option<f64>| used.filter(|_| right > 0.0).map(|used| used * 1e6 / right);
        Self {
            // a run that was cut may have had no time at all
            per_s: if wall > 0.0 { right / wall } else { 0.0 },
            refused,
            server_us: each(server),
            server_cores: server.map(|used| used / wall),
            client_us: each(client),
            client_cores: client.map(|used| used / wall),
        }
    }

    /// What makes a figure that is meant for a full core one of something else.
    fn client_was_full(&self) -> Option<String> {
        let (server, client) = (self.server_cores?, self.client_cores?);
        (client >= floors::FULL && server < floors::FULL).then(|| {
            format!(
                "this client can't keep up: its core was full, and the server used {server:.2} of its own, so the \
                 figures are the client's"
            )
        })
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

/// When a worker gives its users back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Never,
    /// Once the ceremony that is under way has ended.
    AfterThis,
    Now,
}

/// What the workers share.
#[derive(Default)]
struct Shared {
    end: watch::Sender<End>,
    started: AtomicU64,
    records: Mutex<Vec<Record>>,
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A loop that is under way.
struct Loop {
    server: Option<u32>,
    begin: Instant,
    shared: Arc<Shared>,
    workers: Workers,
    /// Whose workers have ended.
    back: Vec<User>,
    series: Series,
    /// How many records the series has.
    added: usize,
    wrong: u64,
}

impl Loop {
    fn start(api: &Api, users: (Vec<User>, usize), ttl: Duration, server: Option<u32>) -> Self {
        let shared = Arc::new(Shared::default());
        Self {
            server,
            begin: clock::now(),
            workers: workers(api, users, ttl, &shared, false),
            shared,
            back: Vec::new(),
            series: Series::new(server),
            added: 0,
            wrong: 0,
        }
    }

    /// Holds, in whole seconds, and tells of each; `from` is where the warm-up ended.
    async fn hold(&mut self, warm_up: Duration, hold: Duration, from: &mut Option<Mark>) -> Mark {
        let timer = Timer::new().expect("one file more is allowed");
        let (warm_s, all_s) = (warm_up.as_secs(), (warm_up + hold).as_secs());
        for second in 0..=all_s {
            let at = self.begin + Duration::from_secs(second);
            timer.until(at).await.expect("the kernel sets timers");
            if second == warm_s {
                *from = Some(Mark::now(self.server));
            }
            if second < all_s {
                self.tell();
            }
        }
        let until = Mark::now(self.server);
        self.tell();
        until
    }

    /// A line of where it stands, at the end of a second.
    fn tell(&mut self) {
        let (since, started) =
            (clock::now() - self.begin, self.shared.started.load(Ordering::Relaxed));
        {
            let records = self.shared.records();
            for record in &records[self.added..] {
                let judgement = record.judge();
                self.wrong += u64::from(!judgement.is_right() && !record.refused);
                self.series.add(record, judgement);
            }
            self.added = records.len();
        }
        self.series.tick(since, started);
        if since.as_secs() > 0 {
            let (seconds, ended, wrong) = (since.as_secs(), self.added, self.wrong);
            eprintln!("{seconds:>4} s  {started} started, {ended} ended, {wrong} wrong");
        }
    }
}

/// Waits until all workers have ended, whose users are `back`.
async fn gather(workers: &mut Workers, back: &mut Vec<User>) {
    while let Some(users) = workers.join_next().await {
        back.extend(users.expect("no ceremony panics"));
    }
}

impl<C: Future<Output = Cut>> Tries<'_, C> {
    /// Keeps so many under way for as long as the plan holds, after a warm-up.
    pub(crate) async fn closed(&mut self, in_flight: usize, warm_up: Duration) -> (Report, Full) {
        eprintln!("{in_flight} at a time");
        let usages = || (self.server.and_then(usage::of), usage::own());
        let before = usages();
        let users = (std::mem::take(&mut self.users), in_flight);
        let mut running = Loop::start(self.api, users, self.plan.ttl(), self.server);
        let (mut from, mut until) = (None, None);
        let cut = tokio::select! {
            biased;
            why = self.cut.as_mut() => Some(why),
            () = async {
                until = Some(running.hold(warm_up, self.plan.hold(), &mut from).await);
                running.shared.end.send_replace(End::AfterThis);
                gather(&mut running.workers, &mut running.back).await;
            } => None,
        };
        let until = until.unwrap_or_else(|| Mark::now(self.server));
        if cut.is_some() {
            running.shared.end.send_replace(End::Now);
            gather(&mut running.workers, &mut running.back).await;
        }
        running.tell();
        let now = usages();
        let used = [Used::between(before.0, now.0), Used::between(before.1, now.1)];
        self.users.append(&mut running.back);
        let mut records = std::mem::take(&mut *running.shared.records());
        let window = from.unwrap_or(until)..until;
        for record in &mut records {
            let is_in = |at: Instant| (window.start.at..window.end.at).contains(&at);
            record.measured = record.start.is_some_and(is_in);
            record.ended_in_hold = record.ended.is_some_and(is_in);
        }
        if cut.is_none() {
            records = run::audit(self.api, records).await;
        }
        let full = Full::new(&records, &window);
        let Full { per_s, refused, .. } = full;
        if cut.is_none() {
            eprintln!("{in_flight} at a time: {per_s:.0}/s come through, {refused} were refused");
        }
        let held = window.end.at.saturating_duration_since(window.start.at);
        let arrived = running.shared.started.load(Ordering::Relaxed);
        let (load, [server, client]) = (load(records, arrived, held, cut), used);
        let load = Load { server, client, seconds: running.series.finish(), ..load };
        let report = Report::new(self.plan, load);
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
    report.count_cpu_as(full.server_us, full.client_us);
    if !report.was_cut() {
        let nothing = (full.per_s <= 0.0).then(|| "nothing came through".to_owned());
        let client = full.client_was_full().filter(|_| plan.pinned);
        nothing.into_iter().chain(client).for_each(|why| report.add_problem(why));
    }
    (report, tries.users)
}

/// What a report is made of.
pub(crate) fn load(records: Vec<Record>, arrived: u64, held: Duration, cut: Option<Cut>) -> Load {
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
        server: None,
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
    let shared = Arc::default();
    let mut workers = workers(api, (users, IN_FLIGHT), ttl, &shared, true);
    let all = async {
        let mut users = Vec::new();
        gather(&mut workers, &mut users).await;
        (users, std::mem::take(&mut *shared.records()))
    };
    tokio::select! {
        biased;
        why = cut => Err(Failure::Cut(why)),
        all = all => Ok(all),
    }
}

type Workers = JoinSet<Vec<User>>;

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
) -> Vec<User> {
    let arrival = Arrival::approval(true);
    let (mut end, mut done, mut tries) = (shared.end.subscribe(), 0, 0);
    while done < most && tries < TRIES && *end.borrow() == End::Never {
        let at = done % users.len();
        shared.started.fetch_add(1, Ordering::Relaxed);
        let start = clock::now();
        let mut record = tokio::select! {
            biased;
            _ = end.wait_for(|end| *end == End::Now) => break,
            record = ceremony::run(&api, &mut users[at], arrival, start, ttl) => record,
        };
        (record.measured, record.start) = (true, Some(start));
        record.ended = Some(clock::now());
        let began = record.challenge.is_some();
        if record.refused {
            tries += usize::from(most < usize::MAX);
        } else {
            (done, tries) = (done + 1, 0);
        }
        shared.records().push(record);
        if !began {
            // refused, or nobody is there: to ask again at once would be to hammer
            tokio::time::sleep(PAUSE).await;
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use wire::rest::State;

    use super::*;
    use crate::schedule::Act;

    #[test]
    fn a_client_that_cant_keep_up_is_said() {
        let of = |server, client| {
            let (server_cores, client_cores) = (Some(server), Some(client));
            let (server_us, client_us) = (Some(1.0), Some(1.0));
            Full { per_s: 1.0, refused: 0, server_us, server_cores, client_us, client_cores }
        };
        let said = of(0.6, 0.99).client_was_full().expect("a problem");
        assert!(said.contains("the server used 0.60 of its own"), "{said}");
        // so few at a time that neither is full: that is what the plan asks for
        assert_eq!(of(0.6, 0.5).client_was_full(), None);
        assert_eq!(of(0.99, 0.99).client_was_full(), None);
    }

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
        assert_eq!(full.client_us, Some(700_000.0));
        assert_eq!(full.server_us, Some(975_000.0));
        assert_eq!((full.server_cores, full.client_cores), (Some(0.975), Some(0.7)));
        let refused = Full::new(&[record(true, false), record(true, true)], &window);
        assert_eq!((refused.per_s, refused.refused), (0.5, 1));
        let nothing = Full::new(&[], &(Mark { server: None, ..mark(begin, 0, 0) }..window.end));
        assert_eq!((nothing.server_us, nothing.server_cores), (None, None));
        let cut = Full::new(&[], &(window.end..window.end));
        assert_eq!((cut.per_s, cut.server_cores, cut.client_us), (0.0, None, None));
    }
}
