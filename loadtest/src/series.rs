//! What happened in each second of a run.

use std::time::Duration;

use serde::Serialize;

use crate::latency::{Percentiles, Times};
use crate::record::{Record, Step};
use crate::usage::{self, Usage};

/// One second.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Second {
    /// Seconds since the run began.
    pub(crate) at_s: u64,
    /// Ceremonies that should have started.
    pub(crate) started: u64,
    /// That ended, and how many of them as they should.
    pub(crate) ended: u64,
    pub(crate) right: u64,
    /// Of those that ended.
    pub(crate) create: Option<Percentiles>,
    pub(crate) answer_to_waiter: Option<Percentiles>,
    /// `null` where the server isn't a process of ours.
    pub(crate) server: Option<Spent>,
    pub(crate) client: Option<Spent>,
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
            times: Times::default(),
            seconds: Vec::new(),
        }
    }

    fn usage(server: Option<u32>) -> [Option<Usage>; 2] {
        [server.and_then(usage::of), usage::own()]
    }

    /// Counts a ceremony that ended.
    pub(crate) fn add(&mut self, record: &Record, is_right: bool) {
        self.ended += 1;
        self.right += u64::from(is_right);
        self.times.add_any(record);
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
            at_s: since.as_secs(),
            started: started - self.last.1,
            ended: std::mem::take(&mut self.ended),
            right: std::mem::take(&mut self.right),
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
        series.add(&record, true);
        series.add(&record, false);
        series.tick(Duration::from_secs(1), 5);
        series.tick(Duration::from_secs(2), 6);
        series.tick(Duration::from_millis(2_050), 6);
        let seconds = series.finish();
        assert_eq!(seconds.len(), 2, "no second for what is left over");
        let counts = |second: &Second| (second.at_s, second.started, second.ended, second.right);
        assert_eq!(seconds.iter().map(counts).collect::<Vec<_>>(), [(1, 5, 2, 1), (2, 1, 0, 0)]);
        assert!(seconds[0].create.is_some_and(|found| found.count == 2));
        assert!(seconds[1].create.is_none());
        assert!(seconds[0].server.is_none() && seconds[0].client.is_some());
    }
}
