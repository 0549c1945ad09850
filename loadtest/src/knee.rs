//! The search for the highest rate that holds.

use std::pin::Pin;

use serde::Serialize;

use crate::failure::Cut;
use crate::fleet::User;
use crate::plan::{Knee, Plan};
use crate::record::Step;
use crate::report::Report;
use crate::rest::Api;
use crate::run;

/// What share of its rate a run must bring through to hold: arrivals come in clusters.
const LEAST_SHARE: f64 = 0.95;

/// A run at one rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stage {
    pub(crate) rate: f64,
    pub(crate) holds: bool,
    /// Why it doesn't.
    pub(crate) because: Option<String>,
    pub(crate) ceremonies_per_s: f64,
    /// Milliseconds.
    pub(crate) create_p99: Option<f64>,
    pub(crate) answer_to_waiter_p99: Option<f64>,
    pub(crate) server_cpu_s_per_ceremony: Option<f64>,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
}

impl Stage {
    fn new(rate: f64, knee: Knee, report: &Report) -> Self {
        let p99 = |step| report.percentiles(step).and_then(|found| found.p99);
        let (create, known) = (p99(Step::Create), p99(Step::AnswerToWaiter));
        let slow = |name: &str, p99: Option<f64>| match p99 {
            None => Some(format!("{name} was seen too seldom for a 99th percentile")),
            Some(p99) if p99 > knee.p99_ms => Some(format!("{name} takes {p99:.0} ms at p99")),
            Some(_) => None,
        };
        let through = report.ceremonies_per_s();
        let short = (through < LEAST_SHARE * rate).then(|| format!("{through:.0}/s come through"));
        let because = report
            .problem()
            .map(str::to_owned)
            .or(short)
            .or_else(|| slow("create", create))
            .or_else(|| slow("answer_to_waiter", known));
        let (lost, doubled) = report.lost_and_doubled();
        Self {
            rate,
            holds: because.is_none(),
            because,
            ceremonies_per_s: through,
            create_p99: create,
            answer_to_waiter_p99: known,
            server_cpu_s_per_ceremony: report.server_cpu(),
            lost,
            doubled,
        }
    }
}

/// Which rate comes next.
struct Search {
    knee: Knee,
    halved: u32,
    holds: Option<f64>,
    fails: Option<f64>,
    next: Option<f64>,
}

impl Search {
    fn new(first: f64, knee: Knee) -> Self {
        Self { knee, halved: 0, holds: None, fails: None, next: Some(first) }
    }

    /// Notes whether the rate held.
    fn tell(&mut self, rate: f64, holds: bool) {
        if holds {
            self.holds = Some(rate)
        } else {
            self.fails = Some(rate)
        }
        self.next = match (self.holds, self.fails) {
            (Some(holds), None) => {
                let next = (holds * self.knee.factor).min(Plan::MAX_RATE);
                (next > holds).then_some(next)
            }
            (Some(holds), Some(fails)) if self.halved < self.knee.halvings => {
                self.halved += 1;
                Some((holds * fails).sqrt())
            }
            _ => None,
        };
    }
}

/// Runs the plan at higher and higher rates. The report is that of the highest rate that held, or of the first if
/// none did, with all stages in it.
pub(crate) async fn find(
    api: &Api,
    mut users: Vec<User>,
    plan: &Plan,
    knee: Knee,
    server: Option<u32>,
    mut cut: Pin<&mut impl Future<Output = Cut>>,
) -> (Report, Vec<User>) {
    let mut search = Search::new(plan.rate, knee);
    let mut stages = Vec::new();
    let mut best: Option<Report> = None;
    while let Some(rate) = search.next {
        let at = plan.at(rate);
        eprintln!("trying {rate:.0}/s");
        let (mut load, back) = run::run(api, users, &at, server, cut.as_mut()).await;
        users = back;
        if load.cut.is_none() {
            load.records = run::audit(api, load.records).await;
        }
        let report = Report::new(&at, load);
        let stage = Stage::new(rate, knee, &report);
        let why = stage.because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        eprintln!("{rate:.0}/s {}{why}", if stage.holds { "holds" } else { "doesn't hold" });
        search.tell(rate, stage.holds);
        if report.was_cut() {
            stages.push(stage);
            best = Some(report);
            break;
        }
        if stage.holds || best.is_none() {
            best = Some(report);
        }
        stages.push(stage);
    }
    let mut report = best.expect("the first rate is always tried");
    report.add_stages(stages);
    (report, users)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(knee: Knee, first: f64, limit: f64) -> Vec<u32> {
        let mut search = Search::new(first, knee);
        let mut tried = Vec::new();
        while let Some(rate) = search.next {
            search.tell(rate, rate <= limit);
            tried.push(rate.round() as u32);
            assert!(tried.len() < 50, "{tried:?}");
        }
        tried
    }

    #[test]
    fn rates_rise_until_one_fails_and_then_close_in() {
        let knee = Knee { factor: 2.0, p99_ms: 50.0, halvings: 2 };
        assert_eq!(tried(knee, 100.0, 500.0), [100, 200, 400, 800, 566, 476]);
        assert_eq!(tried(Knee { halvings: 0, ..knee }, 100.0, 500.0), [100, 200, 400, 800]);
        assert_eq!(tried(knee, 100.0, 50.0), [100], "the first rate doesn't hold");
        let top = tried(knee, 6_000.0, 1e9);
        assert_eq!(top, [6_000, 10_000], "no higher than may be planned");
    }
}
