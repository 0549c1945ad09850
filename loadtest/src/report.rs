//! What a run found, as JSON and in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::failure::{Cut, Exit, Failure};
use crate::floors::Limit;
use crate::knee::Stage;
use crate::latency::{Percentiles, Times};
use crate::plan::{Arrivals, Plan};
use crate::record::{Record, Step};
use crate::run::{LATE, Load, Used};
use crate::series::Second;
use crate::storm::Back;

/// A client that is late more often than this measures itself.
const MAX_LATE_SHARE: f64 = 0.05;

/// Why there is no limit in a report.
const NO_FLOORS: &str = "not measured: with --floors it is, before and after the run";

/// The JSON of a run. The limit and what is held against it are `null` where `limit_note` says why.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    plan: String,
    seed: u64,
    ok: bool,
    #[serde(skip)]
    cut: Option<Cut>,
    /// What is wrong, in sentences; empty if nothing is.
    problems: Vec<String>,
    ceremonies_per_s: f64,
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
    /// How the devices of a storm came back.
    storm: Option<Back>,
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
}

impl Report {
    pub(crate) fn new(plan: &Plan, load: Load) -> Self {
        let (mut lost, mut doubled, mut right, mut in_hold) = (0, 0, 0, 0_u64);
        let mut errors = BTreeMap::new();
        let mut times = Times::default();
        for record in &load.records {
            let judgement = record.judge();
            lost += u64::from(judgement.lost);
            doubled += u64::from(judgement.doubled);
            right += u64::from(judgement.is_right());
            in_hold += u64::from(judgement.is_right() && record.ended_in_hold);
            for (kind, count) in judgement.errors {
                *errors.entry(kind).or_default() += count;
            }
            times.add(record);
        }
        for (kind, count) in [("client_overrun", load.overrun), ("cut_off", load.cut_off)] {
            if count > 0 {
                errors.insert(kind.to_owned(), count);
            }
        }
        let ended = load.records.len();
        let count = |is: fn(&Record) -> bool| load.records.iter().filter(|r| is(r)).count() as u64;
        let (silent, withheld) = (count(|record| record.silent), count(|record| record.withheld));
        let cpu = |used: Option<Used>| {
            let used = used.filter(|_| ended > 0)?;
            Some(used.cpu.as_secs_f64() / ended as f64)
        };
        let rss = |used: Option<Used>| used.map(|used| used.rss_bytes);
        let mut report = Self {
            plan: plan.name.clone(),
            seed: plan.seed,
            ok: false,
            cut: load.cut.clone(),
            problems: Vec::new(),
            ceremonies_per_s: if load.held.is_zero() {
                0.0
            } else {
                in_hold as f64 / load.held.as_secs_f64()
            },
            limit_ceremonies_per_s: None,
            ratio: None,
            limit_note: Some(NO_FLOORS.to_owned()),
            floor: None,
            latency_ms: Step::ALL
                .into_iter()
                .map(|step| (step.name(), times.percentiles(step)))
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
            ceremonies: Ceremonies { arrived: load.arrived, right, silent, withheld },
            lost,
            doubled,
            errors,
            storm: None,
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
        if !matches!(self.cut, Some(Cut::ServerEnded(_))) {
            self.problems.push(why);
        }
        self.ok = false;
    }

    /// What an idle device costs the server, if that was measured.
    pub(crate) const fn add_idle_device(&mut self, bytes: Option<f64>) {
        self.server.bytes_per_idle_device = bytes;
    }

    /// How the devices of a storm came back.
    pub(crate) fn add_storm(&mut self, back: Option<Back>) {
        if let Some(Back { devices, back, .. }) = back.filter(|found| found.back < found.devices) {
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

    pub(crate) fn percentiles(&self, step: Step) -> Option<Percentiles> {
        self.latency_ms.get(step.name()).copied().flatten()
    }

    pub(crate) const fn ceremonies_per_s(&self) -> f64 {
        self.ceremonies_per_s
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

/// How the plan's ceremonies arrive, in words.
pub(crate) fn describe(plan: &Plan) -> String {
    let arrivals = match plan.arrivals {
        Arrivals::Poisson => "Poisson arrivals",
        Arrivals::Uniform => "evenly spaced arrivals",
    };
    format!(
        "{}: {}/s after a ramp of {} s, for {} s; {arrivals} of seed {}; {} devices",
        plan.name, plan.rate, plan.ramp_s, plan.hold_s, plan.seed, plan.devices
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ceremonies { arrived, right, silent, withheld } = self.ceremonies;
        writeln!(
            f,
            "{:.1} ceremonies/s; {right} of {arrived} right, {} lost, {} doubled; {silent} silent, \
             {withheld} withheld until a code passed",
            self.ceremonies_per_s, self.lost, self.doubled
        )?;
        for step in Step::ALL {
            match self.latency_ms.get(step.name()).copied().flatten() {
                Some(Percentiles { p50, p99, p999, count }) => writeln!(
                    f,
                    "{:<20} p50 {p50:>8.2}  p99 {p99:>8.2}  p99.9 {p999:>8.2} ms  ({count})",
                    step.name()
                )?,
                None => writeln!(f, "{:<20} not seen", step.name())?,
            }
        }
        for (who, cpu, rss) in [
            ("server", self.server.cpu_s_per_ceremony, self.server.rss_bytes),
            ("client", self.client.cpu_s_per_ceremony, self.client.rss_bytes),
        ] {
            let (Some(cpu), Some(rss)) = (cpu, rss) else {
                writeln!(f, "{who:<20} not measured: no process of ours, or gone")?;
                continue;
            };
            let (cpu_ms, rss_mib) = (cpu * 1e3, rss as f64 / f64::from(1 << 20));
            writeln!(f, "{who:<20} {cpu_ms:.2} ms of CPU a ceremony, {rss_mib:.0} MiB")?;
        }
        if let Some(bytes) = self.server.bytes_per_idle_device {
            writeln!(f, "{:<20} {:.1} KiB of the server's memory", "idle device", bytes / 1024.0)?;
        }
        if let Some(back) = self.storm {
            writeln!(f, "{:<20} {}", "storm", back.say())?;
        }
        for stage in &self.stages {
            let Stage { rate, holds, because, ceremonies_per_s, .. } = stage;
            let held = if *holds { "holds" } else { "doesn't hold: " };
            let because = because.as_deref().unwrap_or_default();
            writeln!(f, "{rate:>9.0}/s {ceremonies_per_s:>14.0}/s come through, {held}{because}")?;
        }
        if let Some(knee) = self.knee_ceremonies_per_s {
            writeln!(f, "{:<20} {knee:.0}/s is the highest rate that held", "knee")?;
        }
        self.show_limit(f)?;
        for problem in &self.problems {
            writeln!(f, "WRONG: {problem}")?;
        }
        Ok(())
    }
}

impl Report {
    fn show_limit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(limit), Some(floor)) = (self.limit_ceremonies_per_s, &self.floor) {
            let cpu = floor.cpu_us;
            write!(f, "{:<20} {cpu:.0} us of CPU a ceremony, {limit:.0}/s a core", "limit")?;
            match self.ratio {
                Some(ratio) => writeln!(f, "; the run: {ratio:.3} of it")?,
                None => writeln!(f)?,
            }
        }
        match &self.limit_note {
            Some(note) => writeln!(f, "{:<20} {note}", "limit"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::rest::State;

    use super::*;
    use crate::floors::limit::DEVICES_SIGN;
    use crate::floors::limit::tests::{parts as limit_parts, round as limit_round};
    use crate::plan::tests::good;
    use crate::schedule::Act;

    fn record(ended: State) -> Record {
        let mut record = Record::new(Act::Deny, String::new());
        record.challenge = Some("chl_a".to_owned());
        (record.prompted, record.answered) = (true, true);
        (record.measured, record.ended_in_hold) = (true, true);
        record.times.push((Step::Create, 2_000));
        record.saw(ended);
        record
    }

    fn load(records: Vec<Record>) -> Load {
        Load {
            arrived: records.len() as u64,
            records,
            late: 0,
            overrun: 0,
            cut_off: 0,
            cut: None,
            held: Duration::from_secs(20),
            server: Some(Used { cpu: Duration::from_millis(500), rss_bytes: 1 << 24 }),
            client: None,
            seconds: Vec::new(),
        }
    }

    fn denied(count: usize) -> Vec<Record> {
        (0..count).map(|_| record(State::Denied)).collect()
    }

    #[test]
    fn the_json_has_the_names_that_others_read() {
        let report = Report::new(&good(), load(denied(100)));
        assert_eq!(report.exit(), Exit::Ok);
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["ceremonies_per_s"], 5.0);
        for unmeasured in ["limit_ceremonies_per_s", "ratio"] {
            assert!(json[unmeasured].is_null() && json.get(unmeasured).is_some());
        }
        let latency = &json["latency_ms"];
        for part in ["p50", "p99", "p999"] {
            assert!(latency["create"][part].is_f64(), "{part}");
        }
        for step in ["create_to_device", "answer_to_decision", "decision_to_waiter"] {
            assert!(latency.get(step).is_some_and(serde_json::Value::is_null), "{step}");
        }
        assert_eq!(json["server"]["cpu_s_per_ceremony"], 0.005);
        assert_eq!(json["server"]["rss_bytes"], 1 << 24);
        assert!(json["server"]["bytes_per_idle_device"].is_null());
        assert_eq!((&json["lost"], &json["doubled"]), (&0.into(), &0.into()));
        assert_eq!(json["errors"], serde_json::json!({}));
        assert_eq!(json["ceremonies"]["silent"], 0);
    }

    #[track_caller]
    fn wrong(load: Load, ended_badly: Option<String>, says: &str) {
        let mut report = Report::new(&good(), load);
        ended_badly.into_iter().for_each(|why| report.end_badly(why));
        assert_eq!(report.exit(), Exit::Wrong);
        assert!(report.to_string().contains(says), "{report} doesn't say {says:?}");
    }

    #[test]
    fn whatever_is_wrong_is_said_and_exits_1() {
        let mut records = denied(9);
        records[0] = Record::new(Act::Deny, String::new());
        records[0].challenge = Some("chl_a".to_owned());
        wrong(load(records), None, "1 ceremonies lost");
        let mut records = denied(9);
        records[0].saw(State::Expired);
        wrong(load(records), None, "1 ceremonies doubled");
        let mut records = denied(9);
        records[0].error("poll_timeout");
        wrong(load(records), None, "errors: 1 poll_timeout");
        wrong(load(vec![record(State::Approved)]), None, "1 wrong_decision");
        let overrun = Load { overrun: 2, ..load(denied(9)) };
        wrong(overrun, None, "errors: 2 client_overrun");
        let late = Load { late: 1, ..load(denied(9)) };
        wrong(late, None, "this client can't keep up: it started 11 %");
        let cut = Cut::ServerEnded("signal: 9".to_owned());
        let cut = Load { cut: Some(cut), cut_off: 3, ..load(denied(9)) };
        wrong(cut, None, "the server ended by itself (signal: 9)");
        wrong(load(Vec::new()), None, "no ceremony");
        wrong(load(denied(9)), Some("it had to be killed".to_owned()), "killed");
    }

    #[test]
    fn silent_and_withheld_ones_are_counted_apart_and_right() {
        let mut records = denied(10);
        records[0].silent = true;
        (records[1].silent, records[1].withheld) = (true, true);
        let report = Report::new(&good(), load(records));
        assert_eq!(report.exit(), Exit::Ok);
        assert!(report.to_string().contains("2 silent, 1 withheld until a code passed"));
        let Ceremonies { right, silent, withheld, .. } = report.ceremonies;
        assert_eq!((right, silent, withheld), (10, 2, 1));
    }

    fn limit(cpu_us: f64) -> Limit {
        let rounds = [limit_round(cpu_us, 0.99, 0.5)];
        Limit::of(DEVICES_SIGN, &[limit_parts()], &rounds).expect("a round")
    }

    #[test]
    fn a_run_is_held_against_the_limit_beside_it() {
        let mut report = Report::new(&good(), load(denied(100)));
        assert!(report.to_string().contains("not measured: with --floors"), "{report}");
        report.hold_against(limit(100.0));
        let json = serde_json::to_value(&report).expect("JSON");
        // 5 ms of its own against 0.1
        let near = |name: &str, value: f64| {
            let found = json[name].as_f64().expect("a figure");
            assert!((found - value).abs() < value / 1e3, "{name}: {found}");
        };
        near("limit_ceremonies_per_s", 10_000.0);
        near("ratio", 0.02);
        assert!(json["limit_note"].is_null() && json["floor"]["valid"] == true);
        assert!(report.to_string().contains("the run: 0.020 of it"), "{report}");
    }

    #[test]
    fn what_cant_be_held_against_a_limit_says_why() {
        let mut report = Report::new(&good(), load(denied(9)));
        report.hold_against(limit(500.0));
        assert_eq!((report.limit_ceremonies_per_s, report.ratio), (None, None));
        assert!(report.to_string().contains("is no limit: it costs"), "{report}");
        let elsewhere = Load { server: None, ..load(denied(9)) };
        let mut report = Report::new(&good(), elsewhere);
        report.hold_against(limit(100.0));
        assert!(report.limit_ceremonies_per_s.is_some() && report.ratio.is_none());
        assert!(report.to_string().contains("its CPU isn't known"), "{report}");
        let mut report = Report::new(&good(), load(denied(9)));
        report.miss_limit(&Failure::Cut(Cut::Interrupted));
        assert_eq!(report.exit(), Exit::Wrong);
        assert!(report.to_string().contains("after the run: interrupted"), "{report}");
    }

    #[test]
    fn a_little_lateness_is_told_but_not_wrong() {
        let load = Load { late: 5, ..load(denied(100)) };
        assert_eq!(Report::new(&good(), load).exit(), Exit::Ok);
    }
}
