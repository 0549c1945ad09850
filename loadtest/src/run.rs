//! The run: ceremonies start when the schedule says, whatever becomes of those before.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use wire::rest::{Challenge, RedeemChallenge, Redeemed, State};

use crate::ceremony;
use crate::clock;
use crate::failure::Cut;
use crate::fleet::{Trouble, User};
use crate::latency::Times;
use crate::plan::Plan;
use crate::record::{Record, Step};
use crate::rest::{Api, CallError, PATIENCE};
use crate::schedule::{Act, Arrival, Schedule};
use crate::series::{Second, Series};
use crate::timer::Timer;
use crate::usage::{self, Usage};

/// A ceremony that starts later than this after its time was held up by this program.
pub(crate) const LATE: Duration = Duration::from_millis(25);
/// Arrivals in a second from which on each wake-up has to serve many: there the waits are long, and a millisecond is
/// no part of them.
const MANY: f64 = 5_000.0;
/// From the start of the run to the first arrival that may come.
pub(crate) const LEAD: Duration = Duration::from_millis(100);
/// How many people at least share what goes wrong: so few that the guard doesn't take it for an attack on all.
const TROUBLED: usize = 4;
/// Its name among the errors: an arrival that found every user busy.
pub(crate) const OVERRUN: &str = "client_overrun";
/// How many ceremonies are checked again at a time.
const AUDITORS: usize = 16;

/// Between two times that it wakes up for arrivals. None starts later than this for it.
fn rest(rate: f64) -> Duration {
    Duration::from_micros(if rate < MANY { 250 } else { 1_000 })
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes: u64,
}

impl Used {
    pub(crate) fn between(before: Option<Usage>, after: Option<Usage>) -> Option<Self> {
        let (before, after) = (before?, after?);
        Some(Self { cpu: after.cpu.saturating_sub(before.cpu), rss_bytes: after.rss_bytes })
    }
}

/// What came of a run.
pub(crate) struct Load {
    pub(crate) records: Vec<Record>,
    /// How many the schedule brought.
    pub(crate) arrived: u64,
    /// How many of them were started late.
    pub(crate) late: u64,
    /// How many found every device busy, and so weren't started at all.
    pub(crate) overrun: u64,
    /// How many were really asked for while things counted.
    pub(crate) asked_in_hold: u64,
    /// How many were under way when the run was cut.
    pub(crate) cut_off: u64,
    /// How many found their user busy, and were another's: where some users sign in more often.
    pub(crate) displaced: u64,
    pub(crate) cut: Option<Cut>,
    /// For how long the rate held: less than planned if the run was cut.
    pub(crate) held: Duration,
    pub(crate) server: Option<Used>,
    pub(crate) client: Option<Used>,
    pub(crate) seconds: Vec<Second>,
}

/// Where a run stands.
struct Running<'a> {
    api: Api,
    plan: &'a Plan,
    begin: Instant,
    idle: Idle,
    /// Each tells how it stood with its user before.
    tasks: JoinSet<(User, Trouble, Record)>,
    load: Load,
    times: Times,
    series: Series,
    wrong: u64,
}

/// Runs the plan with these users, who are given back unless the run is cut.
pub(crate) async fn run(
    api: &Api,
    users: Vec<User>,
    plan: &Plan,
    server: Option<u32>,
    cut: Pin<&mut impl Future<Output = Cut>>,
) -> (Load, Vec<User>) {
    let before = (server.and_then(usage::of), usage::own());
    let mut running = Running {
        api: api.clone(),
        plan,
        begin: clock::now() + LEAD,
        idle: Idle::of(users, plan.skew > 0.0),
        tasks: JoinSet::new(),
        load: Load {
            records: Vec::new(),
            arrived: 0,
            late: 0,
            overrun: 0,
            asked_in_hold: 0,
            cut_off: 0,
            displaced: 0,
            cut: None,
            held: Duration::ZERO,
            server: None,
            client: None,
            seconds: Vec::new(),
        },
        times: Times::default(),
        series: Series::new(server),
        wrong: 0,
    };
    running.drive(cut).await;
    let counts = running.counts();
    let now = clock::now();
    // a run that wasn't cut held to its end, though its last ceremony may have ended before
    let until = running.load.cut.as_ref().map_or(counts.end, |cut| cut.until(now));
    running.load.held = until.min(counts.end).saturating_duration_since(counts.start);
    let Running { mut load, idle, series, .. } = running;
    load.displaced = idle.displaced;
    load.seconds = series.finish();
    load.server = Used::between(before.0, server.and_then(usage::of));
    load.client = Used::between(before.1, usage::own());
    (load, idle.calm.into_iter().chain(idle.troubled).collect())
}

/// Users who are in no ceremony.
#[derive(Default)]
struct Idle {
    calm: VecDeque<User>,
    /// Those of whom a ceremony failed.
    troubled: VecDeque<User>,
    /// How many of all are troubled, idle or not.
    in_trouble: usize,
    /// How many arrivals found their user in another ceremony, and were somebody else's.
    displaced: u64,
    /// Whether users come by rank, whatever their last sign-ins were.
    by_rank: bool,
}

impl Idle {
    /// All of them, as an earlier run may have left them.
    fn of(users: Vec<User>, by_rank: bool) -> Self {
        let mut idle = Self { by_rank, ..Self::default() };
        users.into_iter().for_each(|user| idle.put(user, Trouble::None));
        idle
    }

    /// Who comes next to do `act`. What fails is mostly the same people's, as it is in life; whoever denied one
    /// approves again as soon as they have a code for it.
    fn take(&mut self, act: Act, rank: Option<usize>) -> Option<User> {
        if let Some(rank) = rank {
            return self.take_near(rank, act);
        }
        if act != Act::Approve {
            let few = self.in_trouble < TROUBLED;
            let calm = if few { self.calm.pop_front() } else { None };
            let taken = calm.or_else(|| self.troubled.pop_front());
            return taken.or_else(|| self.calm.pop_front());
        }
        let passes = |user: &User| user.trouble == Trouble::Suspect && user.can_pass();
        let suspect = self.troubled.iter().position(passes);
        let taken = suspect.and_then(|at| self.troubled.remove(at));
        let taken = taken.or_else(|| self.calm.pop_front());
        taken.or_else(|| {
            let at = self.troubled.iter().position(User::can_pass)?;
            self.troubled.remove(at)
        })
    }

    /// The user of that rank, or the next one who is in no ceremony.
    fn take_near(&mut self, rank: usize, act: Act) -> Option<User> {
        let far = |user: &User| {
            let place = user.rank.checked_sub(rank);
            // whoever signs in more often comes after all who do so less
            place.unwrap_or(user.rank + usize::MAX / 2)
        };
        let fits = |user: &User| act != Act::Approve || user.can_pass();
        let idle = self.calm.iter().enumerate().filter(|(_, user)| fits(user));
        let (at, found) = idle.min_by_key(|(_, user)| far(user))?;
        self.displaced += u64::from(found.rank != rank);
        self.calm.remove(at)
    }

    /// Takes a user back; `before` is how it stood with them.
    fn put(&mut self, user: User, before: Trouble) {
        if before == Trouble::None && user.trouble > before {
            self.in_trouble += 1;
        }
        if user.trouble == Trouble::None || self.by_rank {
            self.calm.push_back(user);
        } else {
            self.troubled.push_back(user);
        }
    }
}

impl Running<'_> {
    async fn drive(&mut self, mut cut: Pin<&mut impl Future<Output = Cut>>) {
        let mut schedule = Schedule::new(self.plan);
        let mut next = schedule.next();
        let timer = Timer::new().expect("one file more is allowed");
        let (rest, mut woke) = (rest(self.plan.rate), self.begin);
        let second = Duration::from_secs(1);
        let mut progress = interval_at(self.begin + second, second);
        progress.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while next.is_some() || !self.tasks.is_empty() {
            let at = next.map_or(self.begin, |arrival| self.begin + arrival.at);
            let waits = at > clock::now();
            let wake = if waits { at.max(woke + rest) } else { at };
            tokio::select! {
                biased;
                why = cut.as_mut() => {
                    self.load.cut = Some(why);
                    self.load.cut_off = self.tasks.len() as u64;
                    self.tasks.shutdown().await;
                    return;
                }
                waited = timer.until(wake), if next.is_some() => {
                    waited.expect("the kernel has set and read its timer before");
                    if waits {
                        woke = clock::now();
                    }
                    if let Some(arrival) = next {
                        self.start(arrival, at);
                    }
                    next = schedule.next();
                }
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    let (user, before, record) = done.expect("no ceremony panics");
                    self.idle.put(user, before);
                    self.end(record);
                }
                _ = progress.tick() => self.tell(),
            }
        }
        self.tell();
    }

    /// While what ends is throughput. Work that is left over when it begins counts, and what is left over when it ends
    /// doesn't: both are alike once a load has settled, which a ramp to several times the peak has not.
    fn counts(&self) -> Range<Instant> {
        let plan = self.plan;
        self.begin + plan.counts_from()..self.begin + plan.ramp() + plan.hold()
    }

    fn start(&mut self, arrival: Arrival, at: Instant) {
        self.load.arrived += 1;
        let now = clock::now();
        if now > at + LATE {
            self.load.late += 1;
        }
        let Some(mut user) = self.idle.take(arrival.act, arrival.rank) else {
            self.load.overrun += 1;
            self.series.error(OVERRUN);
            return;
        };
        // when it is asked, not when it should have been: a client that falls behind asks for less
        self.load.asked_in_hold += u64::from(self.counts().contains(&now));
        let (api, ttl) = (self.api.clone(), self.plan.ttl());
        let (measured, before) = (arrival.at >= self.plan.counts_from(), user.trouble);
        self.tasks.spawn(async move {
            let mut record = ceremony::run(&api, &mut user, arrival, at, ttl).await;
            (record.measured, record.start) = (measured, Some(at));
            record.ended = Some(clock::now());
            (user, before, record)
        });
    }

    fn end(&mut self, mut record: Record) {
        let counts = self.counts();
        record.ended_in_hold = record.ended.is_some_and(|at| counts.contains(&at));
        let judgement = record.judge();
        self.wrong += u64::from(!judgement.is_right() && !record.refused);
        self.times.add(&record);
        self.series.add(&record, judgement);
        self.load.records.push(record);
    }

    /// A line of where it stands, at the end of a second.
    fn tell(&mut self) {
        let since = clock::now().saturating_duration_since(self.begin);
        self.series.tick(since, self.load.arrived);
        let seconds = since.as_secs();
        let ms = |step: Step| {
            let found = self.times.percentiles(step).map(|found| found.p50);
            found.map_or("-".to_owned(), |p50| format!("{p50:.1} ms"))
        };
        eprintln!(
            "{seconds:>4} s  {} started, {} ended, {} under way, {} wrong, {} late  p50: create {}, answer to page {}",
            self.load.arrived - self.load.overrun,
            self.load.records.len(),
            self.tasks.len(),
            self.wrong + self.load.overrun,
            self.load.late,
            ms(Step::Create),
            ms(Step::AnswerToWaiter),
        );
    }
}

/// Asks once more how each ceremony ended, and tries to redeem what has been redeemed.
pub(crate) async fn audit(api: &Api, records: Vec<Record>) -> Vec<Record> {
    let queue = Arc::new(Mutex::new(records.into_iter()));
    let mut auditors = JoinSet::new();
    for _ in 0..AUDITORS {
        let (api, queue) = (api.clone(), Arc::clone(&queue));
        auditors.spawn(async move {
            let mut done = Vec::new();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(mut record) = next else { return done };
                check_again(&api, &mut record).await;
                done.push(record);
            }
        });
    }
    auditors.join_all().await.into_iter().flatten().collect()
}

async fn check_again(api: &Api, record: &mut Record) {
    let Some(id) = record.challenge.clone() else {
        return;
    };
    if !record.is_known() {
        // lost stays lost, even if it can be found now
        return;
    }
    if api.is_gone() {
        record.error("check_unreachable");
        return;
    }
    let path = format!("/v1/challenges/{id}");
    match api.get::<Challenge>(&path, PATIENCE).await {
        Ok(challenge) if challenge.state == State::Pending => record.error("decision_forgotten"),
        Ok(challenge) => record.saw(challenge.state),
        Err(error) => record.error(format!("check_{}", error.kind())),
    }
    if record.receipts == 0 {
        return;
    }
    let (browser_session, return_code) = (record.session.clone(), record.return_code.clone());
    let body = RedeemChallenge { browser_session, return_code };
    let path = format!("{path}/redeem");
    match api.send::<Redeemed>(Method::POST, &path, Some(&body)).await {
        Ok(_) => record.receipts += 1,
        Err(CallError::Refused { status, .. }) if status == StatusCode::CONFLICT => {}
        Err(error) => record.error(format!("check_{}", error.kind())),
    }
}
