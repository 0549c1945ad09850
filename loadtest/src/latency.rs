//! How long the steps took.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::record::{Record, Step};

/// Microseconds: from one to ten minutes, longer than any ceremony lives, with three digits.
const LONGEST: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// How many there must be for a 99th percentile, and for one of 99.9: of fewer, it is the longest.
pub(crate) const FOR_P99: u64 = 100;
pub(crate) const FOR_P999: u64 = 1_000;

/// In milliseconds. `null` where so few were seen that it would be the longest of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) max: f64,
    /// Of how many.
    pub(crate) count: u64,
}

/// The measured ceremonies' times, a histogram a step.
pub(crate) struct Times(Vec<Histogram<u64>>);

impl Default for Times {
    fn default() -> Self {
        let empty = || {
            Histogram::new_with_bounds(1, LONGEST, DIGITS)
                .expect("the bounds are constants that fit")
        };
        Self(Step::ALL.iter().map(|_| empty()).collect())
    }
}

impl Times {
    /// Adds a ceremony, if it started after the ramp.
    pub(crate) fn add(&mut self, record: &Record) {
        if record.measured {
            self.add_any(record);
        }
    }

    /// Adds a ceremony whenever it started.
    pub(crate) fn add_any(&mut self, record: &Record) {
        for (step, micros) in &record.times {
            self.add_one(*step, *micros);
        }
    }

    pub(crate) fn add_one(&mut self, step: Step, micros: u64) {
        self.0[step as usize].saturating_record(micros);
    }

    /// `None` if no ceremony came that far.
    pub(crate) fn percentiles(&self, step: Step) -> Option<Percentiles> {
        let histogram = &self.0[step as usize];
        let at = |part| histogram.value_at_quantile(part) as f64 / 1e3;
        let count = histogram.len();
        (count > 0).then(|| Percentiles {
            p50: at(0.5),
            p99: (count >= FOR_P99).then(|| at(0.99)),
            p999: (count >= FOR_P999).then(|| at(0.999)),
            max: histogram.max() as f64 / 1e3,
            count,
        })
    }
}

/// A figure, or `-` where it isn't known.
pub(crate) fn or_dash(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Act;

    #[test]
    fn only_what_started_after_the_ramp_counts() {
        let mut times = Times::default();
        let mut record = Record::new(Act::Approve, String::new());
        record.times.push((Step::Create, 5_000));
        times.add(&record);
        assert_eq!(times.percentiles(Step::Create), None);
        record.measured = true;
        times.add(&record);
        let found = times.percentiles(Step::Create).expect("one");
        assert_eq!(found.count, 1);
        assert!((found.p50 - 5.0).abs() < 0.01 && (found.max - 5.0).abs() < 0.01);
        assert_eq!(times.percentiles(Step::Redeem), None);
    }

    #[test]
    fn too_few_have_no_percentile_that_is_their_longest() {
        let mut times = Times::default();
        let mut known = Vec::new();
        for n in 1..=1_000 {
            let mut record = Record::new(Act::Approve, String::new());
            record.times.push((Step::Create, n * 1_000));
            times.add_any(&record);
            let found = times.percentiles(Step::Create).expect("some");
            known.push((found.p99.is_some(), found.p999.is_some()));
        }
        assert_eq!((known[98], known[99]), ((false, false), (true, false)));
        assert_eq!((known[998], known[999]), ((true, false), (true, true)));
        let json = serde_json::to_value(Times::default().percentiles(Step::Create));
        assert!(json.expect("JSON").is_null());
        assert_eq!((&*or_dash(None, 2), &*or_dash(Some(1.0), 2)), ("-", "1.00"));
    }

    #[test]
    fn steps_stand_in_their_own_place() {
        for (place, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, place);
        }
    }
}
