//! What `cer_durable` takes, by what a product is held against: so much of each target goes to six rows in SQLite,
//! before anything else is done.

use serde::Serialize;

use super::ceremonies::Round;
use super::durable;
use super::spread::Spread;

/// Durable appends of a ceremony: when the challenge is made, and when it ends.
pub(crate) const APPENDS: f64 = 2.0;

/// Rounds of it, each by those of `cer_raw` and of single appends in the same round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    /// Of a full core: microseconds of CPU, how full it was, and by `cer_raw`'s CPU.
    pub(crate) cpu_us: Spread,
    pub(crate) server_busy: Spread,
    pub(crate) cpu_ratio: Spread,
    /// Create to known at the first load, in milliseconds, and by `cer_raw`'s and two appends.
    pub(crate) p50_ms: Spread,
    pub(crate) p50_ratio: Spread,
    /// The same of the 99th percentile at the second load.
    pub(crate) p99_ms: Spread,
    pub(crate) p99_ratio: Spread,
    /// CPU of a ceremony at both loads, where batches are smaller.
    pub(crate) cpu_us_at: [Spread; 2],
}

impl Figures {
    /// `None` unless every round has all of it.
    pub(crate) fn of(rounds: &[Round], raw: &[Round], appends: &[durable::Round]) -> Option<Self> {
        let open = |round: &Round, load: usize| round.open.get(load).copied();
        let waits = |load| rounds.iter().map(|round| open(round, load)).collect::<Option<Vec<_>>>();
        let raw_waits =
            |load| raw.iter().map(|round| open(round, load)).collect::<Option<Vec<_>>>();
        let by = |values: &[f64], floors: &[f64]| {
            let ratios: Vec<f64> = values.iter().zip(floors).map(|(v, floor)| v / floor).collect();
            Spread::of(&ratios)
        };
        let cpu = |rounds: &[Round]| -> Vec<f64> {
            rounds.iter().map(|round| round.closed.cpu_us()).collect()
        };
        let (light, heavy) = (waits(0)?, waits(1)?);
        let p50: Vec<f64> = light.iter().map(|waits| waits.p50_us / 1e3).collect();
        let p99: Vec<f64> = heavy.iter().map(|waits| waits.p99_us / 1e3).collect();
        let floor = |waits: f64, append: f64| waits / 1e3 + APPENDS * append;
        let (raw_light, raw_heavy) = (raw_waits(0)?, raw_waits(1)?);
        let p50_floor: Vec<f64> = raw_light
            .iter()
            .zip(appends)
            .map(|(waits, append)| floor(waits.p50_us, append.single_p50))
            .collect();
        let p99_floor: Vec<f64> = raw_heavy
            .iter()
            .zip(appends)
            .map(|(waits, append)| floor(waits.p99_us, append.single_p99))
            .collect();
        Some(Self {
            cpu_us: Spread::of(&cpu(rounds))?,
            server_busy: Spread::over(rounds, |round| round.closed.server_busy())?,
            cpu_ratio: by(&cpu(rounds), &cpu(raw))?,
            p50_ms: Spread::of(&p50)?,
            p50_ratio: by(&p50, &p50_floor)?,
            p99_ms: Spread::of(&p99)?,
            p99_ratio: by(&p99, &p99_floor)?,
            cpu_us_at: [
                Spread::over(&light, |waits| waits.cpu_us)?,
                Spread::over(&heavy, |waits| waits.cpu_us)?,
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::limit::tests::round;
    use super::*;

    #[test]
    fn each_round_is_held_against_its_own_floors() {
        let append = durable::Round {
            cpu_us: 0.2,
            per_s: 1e6,
            per_commit: 500.0,
            p50: 0.4,
            p99: 0.5,
            single_cpu_us: 60.0,
            single_p50: 0.125,
            single_p99: 0.3,
        };
        // p50 0.25 ms at 10 %, p99 1.4 ms at 70 %
        let raw = [round(100.0, 0.99, 0.6), round(120.0, 0.99, 0.6)];
        let durable = [round(150.0, 0.95, 0.6), round(150.0, 0.95, 0.6)];
        let figures = Figures::of(&durable, &raw, &[append; 2]).expect("two rounds");
        let close = |a: f64, b: f64| (a - b).abs() < 1e-2;
        assert!(close(figures.cpu_ratio.max, 1.5) && close(figures.cpu_ratio.min, 1.25));
        assert!(close(figures.p50_ratio.median, 0.25 / 0.5), "{figures:?}");
        assert!(close(figures.p99_ratio.median, 1.4 / 2.0), "{figures:?}");
        assert!(Figures::of(&durable, &raw, &[]).is_none());
        let mut without = durable;
        without[0].open.pop();
        assert!(Figures::of(&without, &raw, &[append; 2]).is_none());
    }
}
