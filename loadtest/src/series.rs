//! What happened in each second of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::latency::{Percentiles, Times};
use crate::record::{Judgement, Record, Step};
use crate::usage::{self, Usage};

/// What is shorter is no second, and its counts aren't those of one.
const WHOLE_S: f64 = 0.9;

/// One second; the last one of a run ends with it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Second {
    /// Seconds since the run began, at its end.
    pub(crate) at_s: u64,
    pub(crate) lasted_s: f64,
    /// Ceremonies that should have started.
    pub(crate) started: u64,
    /// That ended, and how many of them as they should.
    pub(crate) ended: u64,
    pub(crate) right: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    /// Of those that ended.
    pub(crate) create: Option<Percentiles>,
    pub(crate) answer_to_waiter: Option<Percentiles>,
    /// `null` where the server isn't a process of ours.
    pub(crate) server: Option<Spent>,
    pub(crate) client: Option<Spent>,
}

impl Second {
    /// Whether it is one: the last may have hardly begun.
    pub(crate) const fn is_whole(&self) -> bool {
        self.lasted_s >= WHOLE_S
    }

    /// So many in it, for each second.
    pub(crate) fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.lasted_s
    }
}

/// What a process used.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spent {
    /// Cores: seconds of CPU a second.
    pub(crate) cores: f64,
    pub(crate) rss_bytes: u64,
}

/// Seconds, gathered while a run goes on.
pub(crate) struct Series {
    server: Option<u32>,
    before: [Option<Usage>; 2],
    last: (Duration, u64),
    ended: u64,
    right: u64,
    errors: BTreeMap<String, u64>,
    times: Times,
    seconds: Vec<Second>,
}

impl Series {
    /// `server` is its pid, if it is ours.
    pub(crate) fn new(server: Option<u32>) -> Self {
        Self {
            server,
            before: Self::usage(server),
            last: (Duration::ZERO, 0),
            ended: 0,
            right: 0,
            errors: BTreeMap::new(),
            times: Times::default(),
            seconds: Vec::new(),
        }
    }

    fn usage(server: Option<u32>) -> [Option<Usage>; 2] {
        [server.and_then(usage::of), usage::own()]
    }

    /// Counts a ceremony that ended.
    pub(crate) fn add(&mut self, record: &Record, judgement: Judgement) {
        self.ended += 1;
        self.right += u64::from(judgement.is_right());
        for (kind, count) in judgement.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.times.add_any(record);
    }

    /// Counts what kept a ceremony from starting.
    pub(crate) fn error(&mut self, kind: &str) {
        *self.errors.entry(kind.to_owned()).or_default() += 1;
    }

    /// Ends a second: so long after the run began, with so many started since.
    pub(crate) fn tick(&mut self, since: Duration, started: u64) {
        let took = since.saturating_sub(self.last.0).as_secs_f64();
        if took < 0.2 {
            // the last, and hardly begun
            return;
        }
        let now = Self::usage(self.server);
        let spent = |which: usize| {
            let (before, now) = (self.before[which]?, now[which]?);
            let cpu = now.cpu.saturating_sub(before.cpu).as_secs_f64();
            Some(Spent { cores: cpu / took, rss_bytes: now.rss_bytes })
        };
        self.seconds.push(Second {
            // the last, which is none, doesn't stand where the one before it does
            at_s: since.as_secs().max(self.seconds.last().map_or(0, |last| last.at_s + 1)),
            lasted_s: took,
            started: started - self.last.1,
            ended: std::mem::take(&mut self.ended),
            right: std::mem::take(&mut self.right),
            errors: std::mem::take(&mut self.errors),
            create: self.times.percentiles(Step::Create),
            answer_to_waiter: self.times.percentiles(Step::AnswerToWaiter),
            server: spent(0),
            client: spent(1),
        });
        (self.before, self.last) = (now, (since, started));
        self.times = Times::default();
    }

    pub(crate) fn finish(self) -> Vec<Second> {
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Act;

    #[test]
    fn each_second_has_its_own_counts_and_times() {
        let mut series = Series::new(None);
        let mut record = Record::new(Act::Approve, String::new());
        record.times.push((Step::Create, 4_000));
        series.add(&record, Judgement::default());
        record.error("poll_timeout");
        series.add(&record, record.judge());
        series.error("client_overrun");
        series.tick(Duration::from_secs(1), 5);
        series.tick(Duration::from_secs(2), 6);
        series.tick(Duration::from_millis(2_050), 6);
        assert_eq!(series.seconds.len(), 2, "no second for what is left over");
        series.tick(Duration::from_millis(2_500), 9);
        let seconds = series.finish();
        let counts = |second: &Second| (second.at_s, second.started, second.ended, second.right);
        assert_eq!(
            seconds.iter().map(counts).collect::<Vec<_>>(),
            [(1, 5, 2, 1), (2, 1, 0, 0), (3, 3, 0, 0)]
        );
        let whole: Vec<bool> = seconds.iter().map(Second::is_whole).collect();
        assert_eq!(whole, [true, true, false]);
        assert!((seconds[2].per_s(3) - 6.0).abs() < 1e-9, "three in half a second");
        assert_eq!(
            serde_json::json!(seconds[0].errors),
            serde_json::json!({"client_overrun": 1, "poll_timeout": 1})
        );
        assert!(seconds[1].errors.is_empty());
        assert!(seconds[0].create.is_some_and(|found| found.count == 2));
        assert!(seconds[1].create.is_none());
        assert!(seconds[0].server.is_none() && seconds[0].client.is_some());
    }
}
