//! The runs behind a report, spread over the machine's cores. Each is alone in its world, so their order and
//! number of threads change nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::guard::Policy;

use super::attacks::{ATTACKS, RECOVERY};
use super::campaign::{Campaign, Spec};
use super::config::{Config, Networks};
use super::dice::{DAY, HOUR, MINUTE, Ms};
use super::gate::{Control, Cost, Guard, LOCKS, Lock};
use super::rules::{RULES, Rules};
use super::tally::Tally;
use super::whitebox::{self, Found, Way};
use super::world::{Story, World};

/// What a job does.
#[derive(Clone, Copy, Debug)]
enum Job {
    /// Ordinary days.
    Benign(u64),
    /// The first of them again, timed.
    Replay(u64),
    Outage(u64),
    Attack(Spec, u64),
    /// One way of waiting.
    Patience(Way, u64),
    /// Ordinary days without any control, under the public rules.
    Plain(u64),
    /// All attacks at once under a control: it knows users one by one, so they don't meet.
    Locked(Lock, u64),
}

/// What a job found.
enum Piece {
    Benign(u64, Box<Tally>, Cost, (usize, usize)),
    Replay(u64, Cost),
    Outage(Box<Tally>, Cost, f64),
    Attack(Vec<Campaign>, Cost),
    Patience(Found),
    Plain([f64; RULES.len()]),
    Locked(Lock, Vec<Campaign>),
}

/// Everything that was found.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) benign: Tally,
    /// Alone, so that the worst seed shows.
    pub(crate) benign_by_seed: Vec<(u64, Tally, u64)>,
    pub(crate) outage: Tally,
    /// Users who lived through one.
    pub(crate) outage_users: f64,
    pub(crate) attacks: Vec<(Spec, Vec<Campaign>)>,
    pub(crate) recovery: Vec<Campaign>,
    pub(crate) patience: Vec<Found>,
    /// False alerts of public rules per 10,000 user-days.
    pub(crate) rules: Option<[f64; RULES.len()]>,
    pub(crate) locked: Vec<(Lock, Vec<Campaign>)>,
    /// All runs of the guard.
    pub(crate) cost: Cost,
    /// One seed again, timed.
    pub(crate) replay: Option<(u64, Cost)>,
    pub(crate) memory: (usize, usize),
}

/// What is asked for.
pub(crate) struct Order<'a> {
    pub(crate) config: &'a Config,
    pub(crate) policy: &'a Policy,
    /// Ids of runs; none is all.
    pub(crate) only: &'a [String],
    pub(crate) threads: usize,
    /// The user whose lines are shown.
    pub(crate) trace: Option<u32>,
    pub(crate) networks: Networks,
    /// Whether to run what is the same whatever stands for a network.
    pub(crate) is_first: bool,
}

impl Order<'_> {
    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }

    fn jobs(&self) -> Vec<Job> {
        let seeds = &self.config.run.seeds;
        let mut jobs = Vec::new();
        for (nth, seed) in seeds.iter().enumerate() {
            if self.wants("benign") {
                jobs.push(Job::Benign(*seed));
                if nth == 0 && self.is_first {
                    jobs.push(Job::Replay(*seed));
                }
            }
            if self.wants("outage") {
                jobs.push(Job::Outage(*seed));
            }
            let attacks = ATTACKS.into_iter().chain([RECOVERY]);
            jobs.extend(attacks.filter(|it| self.wants(it.id)).map(|it| Job::Attack(it, *seed)));
            if nth == 0 && self.wants("m8") {
                jobs.extend(
                    whitebox::ways(self.config).into_iter().map(|way| Job::Patience(way, *seed)),
                );
            }
            if nth == 0 && self.is_first && self.wants("baselines") {
                jobs.push(Job::Plain(*seed));
                jobs.extend(LOCKS.map(|lock| Job::Locked(lock, *seed)));
            }
        }
        jobs
    }

    /// Runs them all.
    pub(crate) fn run(&self) -> Findings {
        let jobs = self.jobs();
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let small = whitebox::config(self.config);
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let found = self.work(&small, *job);
                        let mut done = done.lock().expect("no thread panics with it");
                        done.push(found);
                        eprint!("\r{} of {} runs ", done.len(), jobs.len());
                    }
                });
            }
        });
        eprintln!();
        let mut findings = Findings::default();
        let done = done.into_inner().expect("no thread panics with it");
        for found in done {
            findings.add(found);
        }
        findings.sort();
        findings
    }

    fn guard(&self, timed: bool) -> Guard {
        let mut guard = Guard::new(self.policy.clone(), self.networks, timed);
        guard.trace = self.trace.filter(|_| !timed);
        guard
    }

    fn work(&self, small: &Config, job: Job) -> Piece {
        let config = self.config;
        let days = config.run.judged_days;
        let benign = |seed, timed| {
            let story = Story { seed, days, outage: None };
            let mut world = World::new(config, self.guard(timed), story);
            world.run();
            world
        };
        match job {
            Job::Benign(seed) => {
                let world = benign(seed, false);
                let memory = world.gate.memory();
                Piece::Benign(seed, Box::new(world.tally), world.gate.cost, memory)
            }
            Job::Replay(seed) => Piece::Replay(seed, benign(seed, true).gate.cost),
            Job::Outage(seed) => {
                let day = config.run.warmup_days + config.outage.day;
                let from = Ms::from(day) * DAY + Ms::from(config.outage.hour) * HOUR;
                let until = from + Ms::from(config.outage.minutes) * MINUTE;
                let story =
                    Story { seed, days: config.outage.day + 2, outage: Some((from, until)) };
                let mut world = World::new(config, self.guard(false), story);
                world.run();
                let users = f64::from(config.run.users);
                Piece::Outage(Box::new(world.tally), world.gate.cost, users)
            }
            Job::Attack(spec, seed) => {
                let story = Story { seed, days: 0, outage: None };
                let mut world = World::new(config, self.guard(false), story);
                world.attack(&spec, config.run.victims);
                world.run();
                Piece::Attack(world.campaigns, world.gate.cost)
            }
            Job::Patience(way, seed) => {
                let gate = Guard::new(self.policy.clone(), self.networks, false);
                Piece::Patience(whitebox::attempt(small, gate, way, seed))
            }
            Job::Plain(seed) => Piece::Plain(plain(config, seed)),
            Job::Locked(lock, seed) => Piece::Locked(lock, locked(config, lock, seed)),
        }
    }
}

/// False alerts of the public rules.
fn plain(config: &Config, seed: u64) -> [f64; RULES.len()] {
    let story = Story { seed, days: config.run.judged_days, outage: None };
    let mut world = World::new(config, Control::new(LOCKS[0]), story);
    world.rules = Some(Rules::default());
    world.run();
    let fired = world.rules.map_or([0; RULES.len()], |rules| rules.fired);
    fired.map(|count| f64::from(count) / world.tally.user_days * 10_000.0)
}

/// What the attacks that others are compared on do under a control.
fn locked(config: &Config, lock: Lock, seed: u64) -> Vec<Campaign> {
    let story = Story { seed, days: 0, outage: None };
    let mut world = World::new(config, Control::new(lock), story);
    world.rules = (lock.failures == u32::MAX).then(Rules::default);
    let victims = config.run.victims.min(config.run.users / 100);
    for spec in ATTACKS.iter().filter(|spec| is_compared(spec)) {
        world.attack(spec, victims);
    }
    world.run();
    world.campaigns
}

/// Attacks on one or many victims whose shape other products were judged by.
pub(crate) fn is_compared(spec: &Spec) -> bool {
    spec.id.starts_with('a') && !matches!(spec.id, "a10n" | "a10d" | "a13")
}

impl Findings {
    fn add(&mut self, found: Piece) {
        match found {
            Piece::Benign(seed, tally, cost, memory) => {
                self.benign.add(&tally);
                self.benign_by_seed.push((seed, *tally, cost.digest));
                self.paid(&cost);
                self.memory = self.memory.max(memory);
            }
            Piece::Replay(seed, cost) => self.replay = Some((seed, cost)),
            Piece::Outage(tally, cost, users) => {
                self.outage.add(&tally);
                self.outage_users += users;
                self.paid(&cost);
            }
            Piece::Attack(campaigns, cost) => {
                self.paid(&cost);
                let Some(spec) = campaigns.first().map(|campaign| campaign.spec) else { return };
                if spec.id == RECOVERY.id {
                    self.recovery.extend(campaigns);
                    return;
                }
                match self.attacks.iter_mut().find(|(of, _)| of.id == spec.id) {
                    Some((_, all)) => all.extend(campaigns),
                    None => self.attacks.push((spec, campaigns)),
                }
            }
            Piece::Patience(found) => self.patience.push(found),
            Piece::Plain(rules) => self.rules = Some(rules),
            Piece::Locked(lock, campaigns) => self.locked.push((lock, campaigns)),
        }
    }

    fn paid(&mut self, cost: &Cost) {
        self.cost.steps += cost.steps;
        self.cost.decisions += cost.decisions;
        self.cost.with_reasons += cost.with_reasons;
        self.cost.errors += cost.errors;
        if self.cost.first_error.is_none() {
            self.cost.first_error.clone_from(&cost.first_error);
        }
        // the same whatever came first
        self.cost.digest ^= cost.digest;
    }

    /// Threads finish in any order; a report must not.
    fn sort(&mut self) {
        let place = |id: &str| ATTACKS.iter().position(|spec| spec.id == id);
        self.attacks.sort_by_key(|(spec, _)| place(spec.id));
        for (_, campaigns) in &mut self.attacks {
            campaigns.sort_by_key(|campaign| (campaign.starts, campaign.victims[0]));
        }
        self.recovery.sort_by_key(|campaign| (campaign.starts, campaign.victims[0]));
        let order = |lock: &Lock| LOCKS.iter().position(|other| other.name == lock.name);
        self.locked.sort_by_key(|(lock, _)| order(lock));
        self.patience.sort_by_key(|found| (std::cmp::Reverse(found.most), found.way.name()));
        self.benign_by_seed.sort_by_key(|(seed, ..)| *seed);
    }
}

impl Findings {
    /// Whether the same seed gave the same answers, if that was tried.
    pub(crate) fn replayed(&self) -> Option<bool> {
        let (seed, again) = self.replay.as_ref()?;
        let (_, _, first) = self.benign_by_seed.iter().find(|(of, ..)| of == seed)?;
        Some(again.digest == *first)
    }
}
