//! When ceremonies start and what people do: drawn from the seed beforehand, whatever the server does.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use wire::rest::State;

use crate::plan::{Arrivals, Plan};

/// What the person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// Types the number.
    Approve,
    /// Declines.
    Deny,
    /// Types another number.
    Wrong,
    /// Nothing.
    Ignore,
}

impl Act {
    /// How the challenge must end.
    pub(crate) const fn decides(self) -> State {
        match self {
            Self::Approve => State::Approved,
            Self::Deny => State::Denied,
            Self::Wrong => State::Mismatch,
            Self::Ignore => State::Expired,
        }
    }
}

/// A ceremony to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// When it is to start, from the run's start. Latency counts from here.
    pub(crate) at: Duration,
    pub(crate) act: Act,
    /// How long the person thinks once the device shows the prompt and the page the number.
    pub(crate) think: Duration,
    /// Whether the number is shown by the server's own page.
    pub(crate) hosted: bool,
    /// Which user it is, from the one who signs in most; anybody if all are alike.
    pub(crate) rank: Option<usize>,
    /// Whether it is no fault if the server has no time.
    pub(crate) may_be_refused: bool,
}

impl Arrival {
    /// An approval without thought, by anybody, that no schedule brought.
    pub(crate) const fn approval(may_be_refused: bool) -> Self {
        Self {
            at: Duration::ZERO,
            act: Act::Approve,
            think: Duration::ZERO,
            hosted: false,
            rank: None,
            may_be_refused,
        }
    }
}

/// All ceremonies of a run, in order.
pub(crate) struct Schedule {
    rng: StdRng,
    plan: Plan,
    /// How many should have started, on average, by the last arrival.
    due: f64,
    /// How often the first users sign in, of all, up to each one. Empty if all are alike.
    shares: Vec<f64>,
}

impl Schedule {
    pub(crate) fn new(plan: &Plan) -> Self {
        let rng = StdRng::seed_from_u64(plan.seed);
        Self { rng, plan: plan.clone(), due: 0.0, shares: shares(plan) }
    }

    /// Whose it is, if users aren't alike.
    fn rank(&mut self) -> Option<usize> {
        let all = *self.shares.last()?;
        let drawn = self.rng.random::<f64>() * all;
        Some(self.shares.partition_point(|upto| *upto <= drawn).min(self.shares.len() - 1))
    }

    /// When so many are due: the rate rises linearly over the ramp, then holds.
    fn time(&self, due: f64) -> f64 {
        let (rate, ramp) = (self.plan.rate, self.plan.ramp().as_secs_f64());
        let by_ramp = rate * ramp / 2.0;
        if due < by_ramp { (2.0 * ramp * due / rate).sqrt() } else { ramp + (due - by_ramp) / rate }
    }

    fn act(&mut self) -> Act {
        let mix = self.plan.mix;
        let mut drawn = self.rng.random_range(0..mix.total());
        for (weight, act) in
            [(mix.approve, Act::Approve), (mix.deny, Act::Deny), (mix.wrong, Act::Wrong)]
        {
            if drawn < weight {
                return act;
            }
            drawn -= weight;
        }
        Act::Ignore
    }
}

/// Zipf's law: the user of rank n signs in n^-skew times as often as the first.
fn shares(plan: &Plan) -> Vec<f64> {
    if plan.skew == 0.0 {
        return Vec::new();
    }
    let weights = (1..=plan.devices).map(|rank| f64::from(rank).powf(-plan.skew));
    let sum = |all: &mut f64, weight| {
        *all += weight;
        Some(*all)
    };
    weights.scan(0.0, sum).collect()
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.due += match self.plan.arrivals {
            // a Poisson process of any rate is one of rate 1 with its time stretched
            Arrivals::Poisson => -(1.0 - self.rng.random::<f64>()).ln(),
            Arrivals::Uniform => 1.0,
        };
        let at = Duration::from_secs_f64(self.time(self.due));
        if at >= self.plan.ramp() + self.plan.hold() {
            return None;
        }
        let [least, most] = self.plan.think_ms;
        Some(Arrival {
            at,
            act: self.act(),
            think: Duration::from_millis(self.rng.random_range(least..=most).into()),
            // drawn only where it matters: other plans keep their arrivals
            hosted: self.plan.hosted > 0.0 && self.rng.random::<f64>() < self.plan.hosted,
            rank: self.rank(),
            may_be_refused: self.plan.may_be_refused(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::good;

    fn all(plan: &Plan) -> Vec<Arrival> {
        Schedule::new(plan).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_run_and_another_doesnt() {
        let plan = good();
        assert_eq!(all(&plan), all(&plan));
        let other = Plan { seed: 2, ..plan.clone() };
        assert_ne!(all(&plan), all(&other));
    }

    #[test]
    fn the_rate_rises_and_holds() {
        for arrivals in [Arrivals::Poisson, Arrivals::Uniform] {
            let plan = Plan { arrivals, rate: 400.0, ..good() };
            let list = all(&plan);
            assert!(list.is_sorted_by_key(|arrival| arrival.at));
            // 5 s of ramp hold 1,000, 20 s hold 8,000; five standard deviations are 5 * sqrt(n)
            let (ramp, hold): (Vec<&Arrival>, Vec<&Arrival>) =
                list.iter().partition(|a| a.at < plan.ramp());
            assert!(ramp.len().abs_diff(1_000) < 160, "{arrivals:?}: {}", ramp.len());
            assert!(hold.len().abs_diff(8_000) < 450, "{arrivals:?}: {}", hold.len());
            let early = ramp.iter().filter(|a| a.at < plan.ramp() / 2).count();
            assert!(early.abs_diff(250) < 80, "{arrivals:?}: {early}");
            assert!(list.iter().all(|a| a.at < plan.ramp() + plan.hold()));
        }
    }

    #[test]
    fn poisson_comes_in_clusters_and_uniform_doesnt() {
        let spread = |arrivals| {
            let plan = Plan { arrivals, rate: 400.0, ramp_s: 0, ..good() };
            let list = all(&plan);
            let gaps: Vec<f64> =
                list.windows(2).map(|w| (w[1].at - w[0].at).as_secs_f64()).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance =
                gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            variance.sqrt() / mean
        };
        assert!((spread(Arrivals::Poisson) - 1.0).abs() < 0.1);
        assert!(spread(Arrivals::Uniform) < 0.01);
    }

    #[test]
    fn some_users_sign_in_more_often_if_the_plan_says_so() {
        let plan = Plan { rate: 400.0, ..good() };
        assert!(all(&plan).iter().all(|arrival| arrival.rank.is_none()));
        let plan = Plan { skew: 1.0, ..plan };
        let list = all(&plan);
        let share = |rank| {
            let count = list.iter().filter(|arrival| arrival.rank == Some(rank)).count();
            count as f64 / list.len() as f64
        };
        // of 50 users: 1 / (1 + 1/2 + .. + 1/50) is the first one's
        assert!((share(0) - 0.2223).abs() < 0.02, "{}", share(0));
        assert!((share(1) - 0.1111).abs() < 0.015, "{}", share(1));
        assert!((share(49) - 0.0044).abs() < 0.004, "{}", share(49));
        assert!(list.iter().all(|arrival| arrival.rank.is_some_and(|rank| rank < 50)));
    }

    #[test]
    fn people_do_what_the_mix_says() {
        let mut plan = Plan { rate: 400.0, think_ms: [10, 30], ..good() };
        plan.mix.wrong = 2;
        plan.mix.ignore = 0;
        let list = all(&plan);
        let share = |act| {
            let count = list.iter().filter(|arrival| arrival.act == act).count();
            count as f64 / list.len() as f64
        };
        assert!((share(Act::Approve) - 0.5).abs() < 0.03);
        assert!((share(Act::Deny) - 1.0 / 6.0).abs() < 0.03);
        assert!((share(Act::Wrong) - 1.0 / 3.0).abs() < 0.03);
        assert!(share(Act::Ignore) == 0.0);
        let thought = list.iter().map(|arrival| arrival.think.as_millis());
        assert_eq!((thought.clone().min(), thought.max()), (Some(10), Some(30)));
    }
}
