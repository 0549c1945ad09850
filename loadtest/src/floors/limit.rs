//! The limit: what one ceremony costs where nothing but its calls and signatures is done, and whether that figure can
//! be believed.

use serde::Serialize;
use statement::Algorithm;

use super::ceremonies::{self, Round, Served, Waits};
use super::cores::Cores;
use super::crypto;
use super::echo::{self, Bound, Figures};
use super::serve::Kind;
use super::spread::Spread;
use super::{Pace, say};
use crate::failure::Failure;

/// A floor that is further above the sum of its parts does more than it has to.
pub(crate) const MOST_OF_PARTS: f64 = 1.25;
/// HTTP calls of a ceremony: create, poll, redeem.
const CALLS: f64 = 3.0;
/// More late or missed starts than this, and waits aren't those of all.
const MOST_LATE: f64 = 0.05;
/// The algorithm of devices unless a plan says otherwise, and of every authenticator of ours whose key is in software.
pub(crate) const DEVICES_SIGN: Algorithm = Algorithm::Ed25519;

/// What parts cost in one round, in microseconds of server CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) http_call: f64,
    /// An answer read, and a prompt and a result written.
    pub(crate) ws_messages: f64,
    pub(crate) crypto: crypto::Round,
}

impl Parts {
    /// Of a ceremony of a device that signs so.
    fn sum(&self, algorithm: Algorithm) -> f64 {
        let crypto = self.crypto;
        let verify = match algorithm {
            Algorithm::Ed25519 => crypto.ed25519_verify,
            Algorithm::P256 => crypto.p256_verify,
        };
        let signatures = verify + crypto.ed25519_sign + crypto.p256_sign;
        CALLS * self.http_call + self.ws_messages + signatures + crypto.bookkeeping
    }
}

/// Rounds of `cer_raw` with one algorithm.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Limit {
    pub(crate) cpu_us: Spread,
    pub(crate) per_s: Spread,
    pub(crate) server_busy: Spread,
    pub(crate) generator_busy: Spread,
    pub(crate) bound_by: Bound,
    /// Ceremonies that one core can do: the inverse of `cpu_us`.
    pub(crate) ceremonies_per_s: f64,
    pub(crate) parts_us: Spread,
    pub(crate) ratio_to_parts: Spread,
    pub(crate) valid: bool,
    /// Why it isn't; empty if it is.
    pub(crate) invalid_because: Vec<String>,
    /// Of polls, those that had to wait.
    pub(crate) parked: f64,
    /// Create to known, at 10 % and 70 % of a core.
    pub(crate) open: Vec<Open>,
}

/// Rounds of one open load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Open {
    pub(crate) load_percent: u32,
    pub(crate) rate: Spread,
    pub(crate) p50_ms: Spread,
    pub(crate) p99_ms: Spread,
    pub(crate) cpu_us: Spread,
    /// Share of ceremonies that the generator started late.
    pub(crate) late: Spread,
    /// Share that found all 256 devices busy, and wasn't started.
    pub(crate) overrun: Spread,
    pub(crate) valid: bool,
}

impl Open {
    pub(crate) fn of(waits: &[Waits]) -> Option<Self> {
        let late = Spread::over(waits, |waits| waits.late)?;
        let overrun = Spread::over(waits, |waits| waits.overrun)?;
        Some(Self {
            load_percent: waits.first()?.load,
            rate: Spread::over(waits, |waits| waits.rate)?,
            p50_ms: Spread::over(waits, |waits| waits.p50_us / 1e3)?,
            p99_ms: Spread::over(waits, |waits| waits.p99_us / 1e3)?,
            cpu_us: Spread::over(waits, |waits| waits.cpu_us)?,
            valid: late.median <= MOST_LATE && overrun.median <= MOST_LATE,
            late,
            overrun,
        })
    }

    /// What is wrong with its arrivals.
    pub(crate) fn late(&self) -> Option<String> {
        let (late, overrun) = (self.late.median * 100.0, self.overrun.median * 100.0);
        (!self.valid).then(|| {
            format!(
                "at {} % arrivals didn't go as planned: {late:.0} % late, {overrun:.0} % not started",
                self.load_percent
            )
        })
    }
}

impl Limit {
    /// `parts` and `rounds` were taken in turns.
    pub(crate) fn of(algorithm: Algorithm, parts: &[Parts], rounds: &[Round]) -> Option<Self> {
        let samples: Vec<_> = rounds.iter().map(|round| round.closed).collect();
        let figures = Figures::of(&samples)?;
        let Figures { cpu_us, per_s, server_busy, generator_busy, bound_by } = figures;
        let sums: Vec<f64> = parts.iter().map(|parts| parts.sum(algorithm)).collect();
        let ratios: Vec<f64> =
            sums.iter().zip(&samples).map(|(sum, sample)| sample.cpu_us() / sum).collect();
        let ratio_to_parts = Spread::of(&ratios)?;
        let mut invalid_because = Vec::new();
        if ratio_to_parts.median > MOST_OF_PARTS {
            invalid_because.push(format!(
                "it costs {:.2} x the sum of its parts, more than {MOST_OF_PARTS}",
                ratio_to_parts.median
            ));
        }
        invalid_because.extend(figures.unsaturated());
        let loads = rounds.first()?.open.len();
        let open = (0..loads).filter_map(|n| {
            let waits: Vec<Waits> =
                rounds.iter().filter_map(|round| round.open.get(n)).copied().collect();
            Open::of(&waits)
        });
        let count = |value: fn(&Round) -> u64| rounds.iter().map(value).sum::<u64>() as f64;
        let (parked, created) =
            (count(|round| round.counts.parked), count(|round| round.counts.created));
        Some(Self {
            cpu_us,
            per_s,
            server_busy,
            generator_busy,
            bound_by,
            ceremonies_per_s: 1e6 / cpu_us.median,
            parts_us: Spread::of(&sums)?,
            ratio_to_parts,
            valid: invalid_because.is_empty(),
            invalid_because,
            parked: parked / created,
            open: open.collect(),
        })
    }
}

/// The parts, once.
pub(crate) async fn parts(cores: Cores, pace: Pace) -> Result<Parts, Failure> {
    let http_call = echo::measure(Kind::HttpRaw, cores, pace).await?.cpu_us();
    let ws_messages = echo::measure(Kind::WsRawTwice, cores, pace).await?.cpu_us();
    let crypto = tokio::task::spawn_blocking(move || crypto::measure(pace)).await;
    let crypto = crypto.map_err(|error| Failure::Server(error.to_string()))?;
    Ok(Parts { http_call, ws_messages, crypto })
}

/// `cer_raw` and its parts in turns, for `loadtest run` to be held against.
pub(crate) async fn rounds(
    cores: Cores,
    pace: Pace,
    count: u32,
    algorithm: Algorithm,
) -> Result<(Vec<Parts>, Vec<Round>), Failure> {
    let (mut all, mut rounds) = (Vec::new(), Vec::new());
    for n in 1..=count {
        all.push(parts(cores, pace).await?);
        let round =
            ceremonies::measure(Served::raw(algorithm), cores, pace, &[], u64::from(n)).await?;
        say(&format!("floor {n}/{count}: cer_raw {:.1} us a ceremony", round.closed.cpu_us()));
        rounds.push(round);
    }
    Ok((all, rounds))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::super::ceremony::Counts;
    use super::super::echo::Sample;
    use super::*;

    pub(crate) fn parts() -> Parts {
        let crypto = crypto::Round {
            p256_verify: 57.0,
            p256_sign: 18.0,
            ed25519_verify: 40.0,
            ed25519_sign: 11.0,
            bookkeeping: 8.0,
        };
        Parts { http_call: 6.5, ws_messages: 10.0, crypto }
    }

    /// A round with so many microseconds of server CPU for each ceremony.
    pub(crate) fn round(cpu_us: f64, server_busy: f64, generator_busy: f64) -> Round {
        let done = (server_busy * 1e6 / cpu_us).round();
        let closed = Sample {
            done: done as u64,
            wall: Duration::from_secs(1),
            server: Duration::from_secs_f64(done * cpu_us / 1e6),
            generator: Duration::from_secs_f64(generator_busy),
        };
        let waits = |load, late| Waits {
            load,
            rate: 1_000.0,
            p50_us: 250.0,
            p99_us: 1_400.0,
            count: 1_000,
            cpu_us: 150.0,
            late,
            overrun: 0.0,
        };
        let counts = Counts { created: 100, parked: 90, ..Counts::default() };
        Round { closed, open: vec![waits(10, 0.0), waits(70, 0.2)], counts }
    }

    #[test]
    fn a_ceremony_is_the_sum_of_its_parts() {
        // 3 x 6.5 + 10 + verify + 11 + 18 + 8
        assert!((parts().sum(Algorithm::Ed25519) - 106.5).abs() < 1e-9);
        assert!((parts().sum(Algorithm::P256) - 123.5).abs() < 1e-9);
    }

    #[test]
    fn the_limit_is_the_inverse_of_the_median() {
        let rounds = [round(120.0, 0.99, 0.7), round(100.0, 0.99, 0.7), round(110.0, 0.99, 0.7)];
        let limit = Limit::of(Algorithm::Ed25519, &[parts(); 3], &rounds).expect("three rounds");
        assert!((limit.ceremonies_per_s - 1e6 / 110.0).abs() < 1.0, "{limit:?}");
        assert!((limit.ratio_to_parts.median - 110.0 / 106.5).abs() < 1e-3);
        assert!(limit.valid && limit.bound_by == Bound::Server);
        assert!((limit.parked - 0.9).abs() < 1e-9);
        let [low, high] = &limit.open[..] else { panic!("two loads") };
        assert_eq!((low.load_percent, low.valid, low.p50_ms.median), (10, true, 0.25));
        assert!(!high.valid, "the generator started a fifth late");
        assert!(Limit::of(Algorithm::Ed25519, &[], &[]).is_none());
    }

    #[test]
    fn a_floor_that_isnt_one_says_why() {
        let of = |round: Round| {
            let limit = Limit::of(Algorithm::Ed25519, &[parts()], &[round]).expect("a round");
            assert!(!limit.valid);
            limit.invalid_because.join("; ")
        };
        assert!(of(round(140.0, 0.99, 0.7)).contains("1.31 x the sum of its parts"));
        assert!(of(round(100.0, 0.8, 0.97)).contains("generator was the bottleneck: 97 %"));
        assert!(of(round(100.0, 0.5, 0.5)).contains("wasn't saturated: 50 %"));
    }
}
