//! How much gets done while several times as much is asked for.

use std::fmt;
use std::pin::Pin;

use serde::Serialize;

use crate::failure::Cut;
use crate::fleet::User;
use crate::floors::FULL;
use crate::plan::{self, Plan};
use crate::record::Step;
use crate::report::Report;
use crate::rest::Api;
use crate::run;

/// A rate of which less than this share comes through is more than gets done.
const LEAST_SHARE: f64 = 0.95;
/// The peak is measured at so many times what came through at most: a little more than it can be.
const ABOVE: f64 = 1.1;
/// A rate of which less is really asked is another rate.
const LEAST_ASKED: f64 = 0.95;
/// What must be left of what could be done, once refusing the rest is paid for.
const TARGET: f64 = 0.95;
/// By how much rates rise unless the plan says so.
const FACTOR: f64 = 1.5;
/// No search goes beyond: this program could not keep up.
const MOST_RATE: f64 = 30_000.0;

/// One rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Level {
    /// How many times the peak; `null` where the peak itself was measured.
    pub(crate) times: Option<f64>,
    pub(crate) rate: f64,
    /// How many were really asked for: fewer than `rate` where this program couldn't keep up. And how many times the
    /// peak that was.
    pub(crate) asked_per_s: f64,
    pub(crate) asked_times: Option<f64>,
    /// Right ones that ended while things counted, and that began then, whenever they ended.
    pub(crate) ceremonies_per_s: f64,
    pub(crate) begun_per_s: f64,
    /// Which of both counts: see [`Level::through`].
    pub(crate) through_per_s: f64,
    pub(crate) refused_per_s: f64,
    /// What would come through if a refusal cost no more than an echo, and nothing else were lost.
    pub(crate) ideal_per_s: Option<f64>,
    /// What does come through, by that.
    pub(crate) goodput: Option<f64>,
    /// Milliseconds.
    pub(crate) create_p99: Option<f64>,
    pub(crate) answer_to_waiter_p99: Option<f64>,
    pub(crate) refusal_p99: Option<f64>,
    /// Cores that server and client used.
    pub(crate) server_cores: Option<f64>,
    pub(crate) client_cores: Option<f64>,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// The first thing that is wrong with it, for instance that the client couldn't keep up.
    pub(crate) problem: Option<String>,
    /// Server CPU over all that ended, in microseconds, with the refusals among it.
    #[serde(skip)]
    cpu_us: Option<f64>,
    #[serde(skip)]
    refused_each: f64,
}

impl Level {
    fn new(times: Option<f64>, rate: f64, report: &Report) -> Self {
        let p99 = |step| report.percentiles(step).and_then(|found| found.p99);
        let (lost, doubled) = report.lost_and_doubled();
        let (ended, refused) = report.ended_and_refused();
        let (server_cores, client_cores) = report.cores();
        Self {
            times,
            rate,
            asked_per_s: report.asked_per_s(),
            asked_times: None,
            ceremonies_per_s: report.ceremonies_per_s(),
            begun_per_s: report.begun_per_s(),
            through_per_s: 0.0,
            refused_per_s: report.refused_per_s(),
            ideal_per_s: None,
            goodput: None,
            create_p99: p99(Step::Create),
            answer_to_waiter_p99: p99(Step::AnswerToWaiter),
            refusal_p99: p99(Step::Refusal),
            server_cores,
            client_cores,
            lost,
            doubled,
            problem: report.problem().map(str::to_owned),
            cpu_us: report.server_cpu().map(|cpu| cpu * 1e6),
            refused_each: refused as f64 / ended.max(1) as f64,
        }
    }

    /// What came through, and counts. Those that end in a window are too many by what was left over when it began and too few by
    /// what is left over when it ends, those that begin in it the other way round; an overload's queue is longest right
    /// after its ramp, so that ends alone have shown more than could be. Of an overload the fewer count, of the peak
    /// that it is held against the more.
    pub(crate) fn through(&self) -> f64 {
        let (ended, begun) = (self.ceremonies_per_s, self.begun_per_s);
        if self.times.is_some() { ended.min(begun) } else { ended.max(begun) }
    }

    /// Refusals for each one served, while things counted.
    fn shed_each(&self) -> f64 {
        let through = self.through();
        if through > 0.0 { self.refused_per_s / through } else { 0.0 }
    }

    /// What this program didn't do.
    fn shortfall(&self) -> Option<String> {
        let Self { asked_per_s, rate, client_cores, .. } = self;
        let times = self.asked_times?;
        (*asked_per_s < LEAST_ASKED * rate).then(|| {
            let cores = client_cores.map_or("-".to_owned(), |cores| format!("{cores:.2}"));
            format!(
                "only {asked_per_s:.0}/s were really asked, {times:.1} x the peak: everybody else was still waiting for an \
                 answer or a refusal, and this client used {cores} of its core"
            )
        })
    }
}

/// All rates of a run: the peak, an overload, the peak again, and so on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Overload {
    /// What came through at most, as it was measured between the overloads.
    pub(crate) peak_per_s: f64,
    /// Server CPU of a ceremony at the peak, in microseconds; `null` where the server is no process of ours.
    pub(crate) cpu_us: Option<f64>,
    /// That of an echo by axum, before and after the run.
    pub(crate) echo_us: Option<f64>,
    pub(crate) levels: Vec<Level>,
    /// Why there is no goodput, or why it is to be doubted.
    pub(crate) note: Option<String>,
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

impl Overload {
    fn new(mut levels: Vec<Level>) -> Self {
        let peaks = levels.iter().filter(|level| level.times.is_none());
        let peak_per_s = mean(peaks.map(Level::through)).unwrap_or_default();
        for level in &mut levels {
            level.through_per_s = level.through();
        }
        for level in levels.iter_mut().filter(|level| level.times.is_some()) {
            level.asked_times = (peak_per_s > 0.0).then_some(level.asked_per_s / peak_per_s);
        }
        let note =
            Some("not measured: the run ended before it was held against an echo".to_owned());
        Self { peak_per_s, cpu_us: None, echo_us: None, levels, note }
    }

    /// Holds what was done against what could have been: peak x c / (c + refusals per served x echo), where c is a
    /// ceremony's CPU at the peak, and the peak is that measured right before and right after.
    pub(crate) fn weigh(&mut self, echo_us: f64) {
        self.echo_us = Some(echo_us);
        let alone = |level: &Level| level.cpu_us.map(|cpu| cpu - level.refused_each * echo_us);
        let peaks = self.levels.iter().filter(|level| level.times.is_none());
        self.cpu_us = mean(peaks.filter_map(alone));
        let Some(cpu_us) = self.cpu_us else {
            self.note = Some("the server is no process of ours: its CPU isn't known".to_owned());
            return;
        };
        // what little is refused at the peak was paid for as well
        let paid = |level: &Level| (cpu_us + level.shed_each() * echo_us) / cpu_us;
        let peaks: Vec<Option<f64>> = self
            .levels
            .iter()
            .map(|level| level.times.is_none().then(|| level.through() * paid(level)))
            .collect();
        for (n, level) in self.levels.iter_mut().enumerate() {
            if level.times.is_none() {
                continue;
            }
            let before = peaks.get(..n).and_then(|before| before.iter().rev().flatten().next());
            let after = peaks.get(n..).and_then(|after| after.iter().flatten().next());
            let peak = mean(before.into_iter().chain(after).copied());
            level.ideal_per_s = peak.map(|peak| peak / paid(level));
            level.goodput = level.ideal_per_s.map(|ideal| level.through() / ideal);
        }
        self.note = self.doubt();
    }

    /// Where somebody else was the bottleneck, it wasn't the server that was overloaded.
    fn doubt(&self) -> Option<String> {
        let full = |level: &&Level| level.server_cores.is_some_and(|cores| cores >= FULL);
        let idle = self.levels.iter().find(|level| !full(level))?;
        let cores = idle.server_cores.unwrap_or_default();
        Some(format!(
            "at {:.0}/s the server used {cores:.2} cores, less than one: the client, or who else used the machine, was \
             the bottleneck there",
            idle.rate
        ))
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for level in &self.levels {
            for why in level.problem.clone().into_iter().chain(level.shortfall()) {
                problems.push(format!("at {:.0}/s: {why}", level.rate));
            }
        }
        problems
    }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |value: Option<f64>| value.map_or("-".to_owned(), |us| format!("{us:.0} us"));
        writeln!(
            f,
            "{:<20} {:.0}/s, {} of CPU a ceremony; an echo takes {}",
            "peak",
            self.peak_per_s,
            us(self.cpu_us),
            us(self.echo_us)
        )?;
        for level in &self.levels {
            let Level { rate, asked_per_s, refused_per_s, .. } = level;
            let through = level.through();
            let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.0}"));
            let what = level.times.map_or("peak".to_owned(), |times| format!("{times} x"));
            write!(
                f,
                "  {what:<6} {rate:>7.0}/s, {asked_per_s:>6.0}/s asked  {through:>6.0}/s come through, \
                 {refused_per_s:>6.0}/s refused; p99 ms: create {}, answer to page {}, refusal {}",
                ms(level.create_p99),
                ms(level.answer_to_waiter_p99),
                ms(level.refusal_p99)
            )?;
            if let (Some(goodput), Some(ideal)) = (level.goodput, level.ideal_per_s) {
                let good = if goodput < TARGET { ", below 95 %" } else { "" };
                write!(f, "; {:.1} % of the {ideal:.0}/s that could{good}", goodput * 100.0)?;
            }
            writeln!(f)?;
        }
        match &self.note {
            Some(note) => writeln!(f, "{:<20} {note}", "overload"),
            None => Ok(()),
        }
    }
}

/// Finds the peak, then offers the plan's multiples of it, each between two measurements of the peak. The report is
/// that of the last overload, with all rates in it.
pub(crate) async fn find(
    api: &Api,
    users: Vec<User>,
    plan: &Plan,
    overload: &plan::Overload,
    server: Option<u32>,
    cut: Pin<&mut impl Future<Output = Cut>>,
) -> (Report, Vec<User>) {
    let mut tries = Tries::new(api, users, plan, server, cut);
    let (mut last, most) = saturate(&mut tries, plan).await;
    let mut levels = Vec::new();
    if most <= 0.0 {
        return tries.end(last, most);
    }
    let steps = overload.times.iter().flat_map(|times| [Some(*times), None]);
    for times in [None].into_iter().chain(steps) {
        if last.was_cut() {
            break;
        }
        let rate = most * times.unwrap_or(ABOVE);
        let report = tries.at(rate).await;
        levels.push(Level::new(times, rate, &report));
        // of a peak in between there is its line, unless that is where it ended
        if times.is_some() || report.was_cut() {
            last = report;
        }
    }
    last.add_overload(Overload::new(levels));
    tries.end(last, most)
}

/// Raises the rate until less comes through than arrives. Gives the report of that rate, and what came through at most.
pub(crate) async fn saturate<C: Future<Output = Cut>>(
    tries: &mut Tries<'_, C>,
    plan: &Plan,
) -> (Report, f64) {
    let factor = plan.overload.as_ref().map_or(FACTOR, |overload| overload.factor);
    let (mut rate, mut most) = (plan.rate, 0.0_f64);
    loop {
        let report = tries.at(rate).await;
        let through = report.ceremonies_per_s();
        most = most.max(through);
        if through < LEAST_SHARE * rate || report.was_cut() || rate > MOST_RATE {
            return (report, most);
        }
        rate *= factor;
    }
}

/// The plan at one rate after the other.
pub(crate) struct Tries<'a, C> {
    pub(crate) api: &'a Api,
    pub(crate) users: Vec<User>,
    pub(crate) plan: &'a Plan,
    pub(crate) server: Option<u32>,
    pub(crate) cut: Pin<&'a mut C>,
    /// Lost and doubled ceremonies of all runs.
    broken: (u64, u64),
}

impl<'a, C: Future<Output = Cut>> Tries<'a, C> {
    /// With `server`'s pid, if it is ours.
    pub(crate) const fn new(
        api: &'a Api,
        users: Vec<User>,
        plan: &'a Plan,
        server: Option<u32>,
        cut: Pin<&'a mut C>,
    ) -> Self {
        Self { api, users, plan, server, cut, broken: (0, 0) }
    }

    /// Notes what no search may hide.
    pub(crate) fn note(&mut self, report: &Report) {
        let (lost, doubled) = report.lost_and_doubled();
        self.broken = (self.broken.0 + lost, self.broken.1 + doubled);
    }

    /// The report of all, with what came through at most, and the users.
    pub(crate) fn end(self, mut last: Report, most: f64) -> (Report, Vec<User>) {
        if most <= 0.0 && !last.was_cut() {
            last.add_problem(format!("nothing came through at {}/s", self.plan.rate));
        }
        last.add_broken("in all runs of the search", self.broken);
        (last, self.users)
    }

    /// Runs it.
    pub(crate) async fn at(&mut self, rate: f64) -> Report {
        eprintln!("trying {rate:.0}/s");
        let at = self.plan.at(rate);
        let users = std::mem::take(&mut self.users);
        let (mut load, back) = run::run(self.api, users, &at, self.server, self.cut.as_mut()).await;
        self.users = back;
        if load.cut.is_none() {
            load.records = run::audit(self.api, load.records).await;
        }
        let report = Report::new(&at, load);
        self.note(&report);
        let (through, refused) = (report.ceremonies_per_s(), report.refused_per_s());
        eprintln!("{rate:.0}/s: {through:.0}/s come through, {refused:.0}/s are refused");
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(times: Option<f64>, through: f64, refused_each: f64) -> Level {
        Level {
            times,
            rate: 1_000.0 * times.unwrap_or(ABOVE),
            asked_per_s: 1_000.0 * times.unwrap_or(ABOVE),
            asked_times: None,
            ceremonies_per_s: through,
            begun_per_s: through,
            through_per_s: 0.0,
            refused_per_s: through * refused_each,
            ideal_per_s: None,
            goodput: None,
            create_p99: Some(80.0),
            answer_to_waiter_p99: Some(90.0),
            refusal_p99: None,
            server_cores: Some(0.99),
            client_cores: Some(0.7),
            lost: 0,
            doubled: 0,
            problem: None,
            cpu_us: Some(400.0 + refused_each * 10.0),
            refused_each,
        }
    }

    #[test]
    fn goodput_is_what_is_left_beside_the_price_of_refusing() {
        let levels = vec![
            level(None, 990.0, 0.0),
            level(Some(2.0), 980.0, 1.0),
            level(None, 1_010.0, 0.0),
            level(Some(5.0), 800.0, 5.0),
            level(None, 1_000.0, 0.1),
        ];
        let mut overload = Overload::new(levels);
        assert!((overload.peak_per_s - 1_000.0).abs() < 1e-9);
        assert!(overload.to_string().contains("not measured"), "{overload}");
        overload.weigh(10.0);
        assert_eq!(overload.cpu_us, Some(400.0));
        let ideal = |n: usize| overload.levels[n].ideal_per_s.expect("an overload");
        assert!((ideal(1) - 1_000.0 * 400.0 / 410.0).abs() < 1e-6);
        assert!((ideal(3) - 1_006.25 * 400.0 / 450.0).abs() < 1e-6, "{}", ideal(3));
        assert!(overload.levels[0].goodput.is_none());
        let text = overload.to_string();
        assert!(text.contains("100.4 % of the 976/s that could"), "{text}");
        assert!(text.contains("89.4 % of the 894/s that could, below 95 %"), "{text}");
        assert_eq!(overload.note, None);
    }

    #[test]
    fn what_is_left_over_from_the_ramp_is_no_goodput() {
        let mut after_ramp = level(Some(5.0), 1_100.0, 0.0);
        after_ramp.begun_per_s = 900.0;
        let mut peak = level(None, 960.0, 0.0);
        peak.begun_per_s = 1_000.0;
        let mut overload = Overload::new(vec![peak, after_ramp]);
        overload.weigh(10.0);
        assert_eq!(overload.levels[1].goodput, Some(0.9));
        assert!(overload.to_string().contains("900/s come through"), "{overload}");
    }

    #[test]
    fn how_much_was_really_asked_is_said() {
        let mut behind = level(Some(5.0), 900.0, 3.0);
        behind.asked_per_s = 3_600.0;
        let overload = Overload::new(vec![level(None, 1_000.0, 0.0), behind]);
        assert_eq!(overload.levels[1].asked_times, Some(3.6));
        assert!(overload.to_string().contains("5000/s,   3600/s asked"), "{overload}");
        let problems = overload.problems().join("; ");
        assert!(
            problems.starts_with("at 5000/s: only 3600/s were really asked, 3.6 x"),
            "{problems}"
        );
        assert!(Overload::new(vec![level(Some(5.0), 900.0, 3.0)]).problems().is_empty());
    }

    #[test]
    fn what_isnt_the_servers_doing_is_said() {
        let mut slow = level(Some(5.0), 500.0, 0.0);
        slow.server_cores = Some(0.6);
        slow.problem = Some("this client can't keep up".to_owned());
        let mut overload = Overload::new(vec![level(None, 1_000.0, 0.0), slow]);
        overload.weigh(10.0);
        assert!(overload.to_string().contains("the server used 0.60 cores"), "{overload}");
        assert_eq!(overload.problems(), ["at 5000/s: this client can't keep up"]);
        let mut elsewhere = level(None, 1_000.0, 0.0);
        elsewhere.cpu_us = None;
        let mut overload = Overload::new(vec![elsewhere]);
        overload.weigh(10.0);
        assert!(overload.to_string().contains("is no process of ours"), "{overload}");
    }
}
