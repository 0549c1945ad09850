//! What a run found, as JSON and in words.

mod words;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bombing::Bombing;
use crate::failure::{Cut, Exit, Failure};
use crate::floors::Limit;
use crate::knee::Stage;
use crate::latency::{Percentiles, Times};
use crate::overload::Overload;
use crate::plan::{Plan, name_of};
use crate::quiet::{self, Idle};
use crate::ratios::Ratios;
use crate::record::{Record, Step};
use crate::run::{LATE, Load, OVERRUN, Used};
use crate::series::{Second, Spent};
use crate::storm::Back;

pub(crate) use words::describe;

/// A client that is late more often than this measures itself.
const MAX_LATE_SHARE: f64 = 0.05;

/// No plan holds for less. A run that was cut before has no rate.
const LEAST_HELD_S: f64 = 1.0;

/// Of fewer quiet devices nothing is told: what else a server allocates while they connect is among it. Three runs of
/// 1,000 differed by a tenth, of 300 by a quarter, of 50 by more than half.
const LEAST_QUIET: u32 = 1_000;
const NO_QUIET: &str = "not measured: the plan has no `quiet` devices";

/// Why there is no limit in a report.
const NO_FLOORS: &str = "not measured: with --floors it is, before and after the run";

/// The JSON of a run. The limit and what is held against it are `null` where `limit_note` says why.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    plan: String,
    seed: u64,
    /// What devices sign with, those of `cer_raw` too.
    device_algorithm: &'static str,
    ok: bool,
    #[serde(skip)]
    cut: Option<Cut>,
    /// What is wrong, in sentences; empty if nothing is.
    problems: Vec<String>,
    /// `null` where the rate held for too short a time: the run was cut.
    ceremonies_per_s: Option<f64>,
    #[serde(skip)]
    refused_per_s: f64,
    #[serde(skip)]
    asked_per_s: f64,
    #[serde(skip)]
    begun_per_s: f64,
    #[serde(skip)]
    ended: u64,
    #[serde(skip)]
    counts_from_s: u64,
    limit_ceremonies_per_s: Option<f64>,
    ratio: Option<f64>,
    /// Why there is no limit, or no ratio to it.
    limit_note: Option<String>,
    /// `cer_raw`, as it was beside the run.
    floor: Option<Limit>,
    latency_ms: BTreeMap<&'static str, Option<Percentiles>>,
    server: Server,
    client: Client,
    ceremonies: Ceremonies,
    lost: u64,
    doubled: u64,
    errors: BTreeMap<String, u64>,
    /// What quiet devices cost, or why that isn't told.
    idle: Option<Idle>,
    idle_note: Option<String>,
    /// How the devices of a storm came back.
    storm: Option<Back>,
    /// What was done of several times the peak.
    overload: Option<Overload>,
    /// How long people waited, by the floors beside it.
    ratios: Option<Ratios>,
    /// What came of attacks.
    attack: Option<Bombing>,
    /// The highest rate of a search that held, and every rate that was tried.
    knee_ceremonies_per_s: Option<f64>,
    stages: Vec<Stage>,
    /// What happened in each second.
    seconds: Vec<Second>,
}

/// `null` where the server isn't a process of ours.
#[derive(Debug, Serialize)]
struct Server {
    cpu_s_per_ceremony: Option<f64>,
    rss_bytes: Option<u64>,
    bytes_per_idle_device: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Client {
    cpu_s_per_ceremony: Option<f64>,
    rss_bytes: Option<u64>,
    /// Ceremonies that it started late.
    late: u64,
}

#[derive(Debug, Serialize)]
struct Ceremonies {
    /// That the schedule brought.
    arrived: u64,
    /// That ended as the device said, with one receipt for an approval.
    right: u64,
    /// That the guard kept silent: the person opened the app.
    silent: u64,
    /// Of which the right answer was withheld until a code passed.
    withheld: u64,
    /// That the server had no time for, in a plan in which that is no fault.
    refused: u64,
    /// Whose user was in another ceremony, so that somebody else came, in a plan in which users aren't alike.
    displaced: u64,
}

/// What ceremonies came to.
#[derive(Default)]
struct Tally {
    lost: u64,
    doubled: u64,
    right: u64,
    right_in_hold: u64,
    right_begun: u64,
    silent: u64,
    withheld: u64,
    refused: u64,
    refused_in_hold: u64,
    errors: BTreeMap<String, u64>,
    times: Times,
}

impl Tally {
    fn of(records: &[Record]) -> Self {
        let mut tally = Self::default();
        for record in records {
            let judgement = record.judge();
            let in_hold = u64::from(record.ended_in_hold);
            let (right, refused) = (u64::from(judgement.is_right()), u64::from(record.refused));
            tally.lost += u64::from(judgement.lost);
            tally.doubled += u64::from(judgement.doubled);
            tally.right += right;
            tally.right_in_hold += right * in_hold;
            tally.right_begun += right * u64::from(record.measured);
            tally.silent += u64::from(record.silent);
            tally.withheld += u64::from(record.withheld);
            tally.refused += refused;
            tally.refused_in_hold += refused * in_hold;
            for (kind, count) in judgement.errors {
                *tally.errors.entry(kind).or_default() += count;
            }
            tally.times.add(record);
        }
        tally
    }

    const fn ceremonies(&self, load: &Load) -> Ceremonies {
        Ceremonies {
            arrived: load.arrived,
            right: self.right,
            silent: self.silent,
            withheld: self.withheld,
            refused: self.refused,
            displaced: load.displaced,
        }
    }
}

impl Report {
    pub(crate) fn new(plan: &Plan, load: Load) -> Self {
        let mut tally = Tally::of(&load.records);
        for (kind, count) in [(OVERRUN, load.overrun), ("cut_off", load.cut_off)] {
            if count > 0 {
                tally.errors.insert(kind.to_owned(), count);
            }
        }
        let ended = load.records.len() as u64 - tally.refused;
        let held = load.held.as_secs_f64();
        let per_s = |count: u64| (held >= LEAST_HELD_S).then(|| count as f64 / held);
        // of those that ended because there was no server, no CPU tells anything
        let whole = ended > 0 && !load.cut.as_ref().is_some_and(Cut::is_without_server);
        let cpu = |used: Option<Used>| {
            let used = used.filter(|_| whole)?;
            Some(used.cpu.as_secs_f64() / ended as f64)
        };
        let rss = |used: Option<Used>| used.map(|used| used.rss_bytes);
        let mut report = Self {
            plan: plan.name.clone(),
            seed: plan.seed,
            device_algorithm: name_of(plan.algorithm),
            ok: false,
            cut: load.cut.clone(),
            problems: Vec::new(),
            ceremonies_per_s: per_s(tally.right_in_hold),
            refused_per_s: per_s(tally.refused_in_hold).unwrap_or_default(),
            asked_per_s: per_s(load.asked_in_hold).unwrap_or_default(),
            begun_per_s: per_s(tally.right_begun).unwrap_or_default(),
            ended,
            counts_from_s: plan.counts_from().as_secs(),
            limit_ceremonies_per_s: None,
            ratio: None,
            limit_note: Some(NO_FLOORS.to_owned()),
            floor: None,
            latency_ms: Step::ALL
                .into_iter()
                .map(|step| (step.name(), tally.times.percentiles(step)))
                .collect(),
            server: Server {
                cpu_s_per_ceremony: cpu(load.server),
                rss_bytes: rss(load.server),
                bytes_per_idle_device: None,
            },
            client: Client {
                cpu_s_per_ceremony: cpu(load.client),
                rss_bytes: rss(load.client),
                late: load.late,
            },
            ceremonies: tally.ceremonies(&load),
            lost: tally.lost,
            doubled: tally.doubled,
            errors: tally.errors,
            idle: None,
            idle_note: None,
            storm: None,
            overload: None,
            ratios: None,
            attack: None,
            knee_ceremonies_per_s: None,
            stages: Vec::new(),
            seconds: load.seconds,
        };
        report.problems = report.find_problems(load.cut.as_ref());
        report.ok = report.problems.is_empty();
        report
    }

    /// The server that we started didn't end well.
    pub(crate) fn end_badly(&mut self, why: String) {
        if !self.is_without_server() {
            self.problems.push(why);
        }
        self.ok = false;
    }

    /// What an idle device costs the server, if that was measured of `quiet` ones.
    pub(crate) fn add_idle_device(&mut self, quiet: u32, idle: Option<Idle>) {
        self.idle_note = match (quiet, idle) {
            (0, _) => Some(NO_QUIET.to_owned()),
            (_, None) => Some("not measured: the server is no process of ours".to_owned()),
            (..LEAST_QUIET, _) => Some(format!(
                "not told: of {quiet} devices, whatever else the server allocates meanwhile is too large a part; from \
                 {LEAST_QUIET} on it isn't"
            )),
            _ => None,
        };
        self.idle = idle.filter(|_| self.idle_note.is_none());
        self.server.bytes_per_idle_device = self.idle.map(|idle| idle.connection_bytes);
    }

    pub(crate) const fn idle(&self) -> Option<Idle> {
        self.idle
    }

    /// What as many connections take at least, if that could be measured, which was asked for.
    pub(crate) fn add_idle_floor(&mut self, floor: Result<quiet::Floor, Failure>) {
        match (floor, &mut self.idle) {
            (Ok(floor), Some(idle)) => {
                self.problems.extend(floor.problem());
                self.ok = self.problems.is_empty();
                idle.floor = Some(floor);
            }
            (Err(failure), _) => {
                self.problems.push(format!("the floor of an idle device: {failure}"));
                self.ok = false;
            }
            (Ok(_), None) => {}
        }
    }

    /// Something that is wrong with all of it.
    pub(crate) fn add_problem(&mut self, why: String) {
        self.problems.push(why);
        self.ok = false;
    }

    /// Lost and doubled ceremonies of several runs, of which this is one: none is hidden by those that went well.
    pub(crate) fn add_broken(&mut self, where_: &str, (lost, doubled): (u64, u64)) {
        if (lost, doubled) > (0, 0) && (lost, doubled) != (self.lost, self.doubled) {
            self.add_problem(format!("{where_} {lost} ceremonies were lost and {doubled} doubled"));
        }
        (self.lost, self.doubled) = (lost, doubled);
    }

    /// How the devices of a storm came back.
    pub(crate) fn add_storm(&mut self, back: Option<Back>) {
        if let Some(Back { devices, back, .. }) =
            back.as_ref().filter(|found| found.back < found.devices)
        {
            self.problems.push(format!("{} devices stayed away", devices - back));
            self.ok = false;
        }
        self.storm = back;
    }

    /// The runs of a search, of which this is the best.
    pub(crate) fn add_stages(&mut self, stages: Vec<Stage>) {
        let best = stages.iter().filter(|stage| stage.holds).map(|stage| stage.rate);
        self.knee_ceremonies_per_s = best.max_by(f64::total_cmp);
        if self.cut.is_none() && self.knee_ceremonies_per_s.is_none() {
            self.problems.push("not even the first rate of the search holds".to_owned());
        }
        // what doesn't hold is no fault, but for this
        let broken = stages.iter().filter(|stage| stage.lost + stage.doubled > 0);
        let broken: Vec<String> = broken
            .map(|stage| {
                let Stage { rate, lost, doubled, .. } = stage;
                format!("at {rate:.0}/s {lost} ceremonies were lost and {doubled} doubled")
            })
            .collect();
        self.problems.extend(broken);
        self.ok = self.problems.is_empty();
        self.stages = stages;
    }

    /// What was done of several times the peak, of which this is the last.
    pub(crate) fn add_overload(&mut self, overload: Overload) {
        self.problems.extend(overload.problems());
        self.ok = self.problems.is_empty();
        self.overload = Some(overload);
    }

    /// What came of attacks on the users beside those of this report.
    pub(crate) fn add_attack(&mut self, attack: Bombing) {
        self.problems.extend(attack.problems());
        self.ok = self.problems.is_empty();
        self.attack = Some(attack);
    }

    /// How long people waited, by the floors beside it.
    pub(crate) fn add_ratios(&mut self, ratios: Ratios) {
        self.problems.extend(ratios.problems());
        self.ok = self.problems.is_empty();
        self.ratios = Some(ratios);
    }

    pub(crate) const fn refused_per_s(&self) -> f64 {
        self.refused_per_s
    }

    /// How many ceremonies were really asked for, in a second.
    pub(crate) const fn asked_per_s(&self) -> f64 {
        self.asked_per_s
    }

    /// How many began while the rate held and went right, in a second, whenever they ended.
    pub(crate) const fn begun_per_s(&self) -> f64 {
        self.begun_per_s
    }

    /// An echo took so long beside an overload.
    pub(crate) fn weigh_overload(&mut self, echo_us: f64) {
        if let Some(overload) = &mut self.overload {
            overload.weigh(echo_us);
        }
    }

    /// What a ceremony takes of server and client in microseconds, where that was measured of those that count alone.
    pub(crate) fn count_cpu_as(&mut self, server_us: Option<f64>, client_us: Option<f64>) {
        let seconds = |us: f64| us / 1e6;
        self.server.cpu_s_per_ceremony = server_us.map(seconds);
        self.client.cpu_s_per_ceremony = client_us.map(seconds);
    }

    /// How many cores server and client used while the rate held, on average.
    pub(crate) fn cores(&self) -> (Option<f64>, Option<f64>) {
        let held = self.seconds.iter().filter(|second| second.at_s > self.counts_from_s);
        let held = held.take_while(|second| second.started > 0);
        let held: Vec<&Second> = held.filter(|second| second.is_whole()).collect();
        let mean = |who: fn(&Second) -> Option<Spent>| {
            let all: Option<Vec<f64>> =
                held.iter().map(|second| who(second).map(|spent| spent.cores)).collect();
            all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
        };
        (mean(|second| second.server), mean(|second| second.client))
    }

    pub(crate) const fn overload(&self) -> Option<&Overload> {
        self.overload.as_ref()
    }

    /// How many were served and refused in all: CPU is counted over the same time.
    pub(crate) const fn ended_and_refused(&self) -> (u64, u64) {
        (self.ended, self.ceremonies.refused)
    }

    pub(crate) fn percentiles(&self, step: Step) -> Option<Percentiles> {
        self.latency_ms.get(step.name()).copied().flatten()
    }

    /// Nothing where the run was cut before there was a rate.
    pub(crate) fn ceremonies_per_s(&self) -> f64 {
        self.ceremonies_per_s.unwrap_or_default()
    }

    pub(crate) const fn server_cpu(&self) -> Option<f64> {
        self.server.cpu_s_per_ceremony
    }

    pub(crate) const fn lost_and_doubled(&self) -> (u64, u64) {
        (self.lost, self.doubled)
    }

    /// The first thing that is wrong.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problems.first().map(String::as_str)
    }

    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    pub(crate) fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    pub(crate) fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Microseconds of the server's CPU for a ceremony: at least, and in this run; where both are known.
    pub(crate) fn against_limit(&self) -> Option<(f64, f64)> {
        self.ratio?;
        Some((self.floor.as_ref()?.cpu_us.median, self.server.cpu_s_per_ceremony? * 1e6))
    }

    pub(crate) const fn storm(&self) -> Option<&Back> {
        self.storm.as_ref()
    }

    pub(crate) const fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    fn find_problems(&self, cut: Option<&Cut>) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(cut) = cut {
            problems.push(format!("the run was cut short: {cut}"));
        }
        if self.lost > 0 {
            let why = "ceremonies lost: their challenges had no known end 10 s after their time";
            problems.push(format!("{} {why}", self.lost));
        }
        if self.doubled > 0 {
            let why = "ceremonies doubled: they ended in two ways or gave two receipts";
            problems.push(format!("{} {why}", self.doubled));
        }
        if !self.errors.is_empty() {
            let list = self.errors.iter().map(|(kind, count)| format!("{count} {kind}"));
            problems.push(format!("errors: {}", list.collect::<Vec<_>>().join(", ")));
        }
        let arrived = self.ceremonies.arrived;
        let late = self.client.late as f64 / arrived.max(1) as f64;
        if late > MAX_LATE_SHARE {
            problems.push(format!(
                "this client can't keep up: it started {:.0} % of the ceremonies more than {} ms late, so the \
                 figures are its own and not the server's",
                late * 100.0,
                LATE.as_millis()
            ));
        }
        if arrived == 0 {
            problems.push(
                "the schedule brought no ceremony: a higher rate or a longer hold".to_owned(),
            );
        }
        problems
    }

    /// Holds the run against the limit of this machine, which was measured before and after it.
    pub(crate) fn hold_against(&mut self, limit: Limit) {
        self.limit_note = None;
        if limit.valid {
            self.limit_ceremonies_per_s = Some(limit.ceremonies_per_s);
            let own_us = self.server.cpu_s_per_ceremony.map(|cpu| cpu * 1e6);
            self.ratio = own_us.filter(|own| *own > 0.0).map(|own| limit.cpu_us.median / own);
            if self.ratio.is_none() {
                let why = "the server is no process of ours, or did nothing: its CPU isn't known";
                self.limit_note = Some(why.to_owned());
            }
        } else {
            let why = limit.invalid_because.join("; ");
            self.limit_note = Some(format!("the floor beside this run is no limit: {why}"));
        }
        self.floor = Some(limit);
    }

    pub(crate) const fn was_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// Whether it was cut because there is no server any more.
    pub(crate) fn is_without_server(&self) -> bool {
        self.cut.as_ref().is_some_and(Cut::is_without_server)
    }

    pub(crate) fn was_interrupted(&self) -> bool {
        self.cut == Some(Cut::Interrupted)
    }

    /// There is no limit, for this reason.
    pub(crate) fn leave_limit(&mut self, why: &str) {
        self.limit_note = Some(format!("not measured: {why}"));
    }

    /// The limit couldn't be measured, which is wrong since it was asked for.
    pub(crate) fn miss_limit(&mut self, failure: &Failure) {
        self.leave_limit(&failure.to_string());
        self.problems.push(format!("the limit couldn't be measured after the run: {failure}"));
        self.ok = false;
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.ok { Exit::Ok } else { Exit::Wrong }
    }
}

#[cfg(test)]
pub(crate) mod tests;
