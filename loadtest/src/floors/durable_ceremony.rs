//! What `cer_durable` takes, by what a product is held against: so much of each target goes to six rows in SQLite,
//! before anything else is done.

use serde::Serialize;

use super::ceremonies::{Round, Waits};
use super::durable;
use super::echo;
use super::limit::Open;
use super::spread::Spread;

/// Durable appends of a ceremony: when the challenge is made, and when it ends.
pub(crate) const APPENDS: f64 = 2.0;

/// Rounds of it, each by those of `cer_raw` and of single appends in the same round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    /// Of a full core: microseconds of CPU, and how full it was.
    pub(crate) cpu_us: Spread,
    pub(crate) server_busy: Spread,
    /// By `cer_raw`'s CPU.
    pub(crate) cpu_ratio: Spread,
    /// Create to known at 10 %, by `cer_raw`'s and two appends.
    pub(crate) p50_ratio: Spread,
    /// The same of the 99th percentile at 70 %.
    pub(crate) p99_ratio: Spread,
    pub(crate) light: Open,
    pub(crate) heavy: Open,
    /// Why it can't be relied on; empty if it can.
    pub(crate) invalid_because: Vec<String>,
}

impl Figures {
    /// `None` unless every round has all of it.
    pub(crate) fn of(rounds: &[Round], raw: &[Round], appends: &[durable::Round]) -> Option<Self> {
        let at = |rounds: &[Round], load: usize| -> Option<Vec<Waits>> {
            rounds.iter().map(|round| round.open.get(load).copied()).collect()
        };
        let by_floors = |load, wait: fn(&Waits) -> f64, append: fn(&durable::Round) -> f64| {
            let raw = at(raw, load)?.into_iter().zip(appends);
            // microseconds, and milliseconds
            let floors = raw.map(|(raw, one)| wait(&raw) / 1e3 + APPENDS * append(one));
            let waits = at(rounds, load)?.into_iter().map(|waits| wait(&waits) / 1e3);
            by(waits, floors.collect())
        };
        let cpu = |round: &Round| round.closed.cpu_us();
        let (light, heavy) = (Open::of(&at(rounds, 0)?)?, Open::of(&at(rounds, 1)?)?);
        let full = full(rounds)?;
        Some(Self {
            cpu_us: full.cpu_us,
            server_busy: full.server_busy,
            cpu_ratio: by(rounds.iter().map(cpu), raw.iter().map(cpu).collect())?,
            p50_ratio: by_floors(0, |waits| waits.p50_us, |append| append.single_p50)?,
            p99_ratio: by_floors(1, |waits| waits.p99_us, |append| append.single_p99)?,
            invalid_because: wrong(&full, [&light, &heavy]),
            light,
            heavy,
        })
    }
}

/// `None` unless each value has its floor.
fn by(values: impl ExactSizeIterator<Item = f64>, floors: Vec<f64>) -> Option<Spread> {
    let same = values.len() == floors.len();
    let ratios: Vec<f64> = values.zip(floors).map(|(value, floor)| value / floor).collect();
    Spread::of(&ratios).filter(|_| same)
}

/// What it took in one round, for a server to be put beside. Microseconds of CPU, and milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Once {
    pub(crate) cpu_us: f64,
    pub(crate) p50_at_10: f64,
    pub(crate) p99_at_70: f64,
    /// How busy its core was then.
    pub(crate) busy_at_70: f64,
}

impl Once {
    /// Or why it can't be relied on.
    pub(crate) fn of(round: &Round) -> Result<Self, String> {
        let [light, heavy] = round.open[..] else { return Err("waits are missing".to_owned()) };
        let nothing = "nothing was done";
        let full = full(std::slice::from_ref(round)).ok_or(nothing)?;
        let open = |waits| Open::of(&[waits]).ok_or(nothing);
        let wrong = wrong(&full, [&open(light)?, &open(heavy)?]);
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        Ok(Self {
            cpu_us: round.closed.cpu_us(),
            p50_at_10: light.p50_us / 1e3,
            p99_at_70: heavy.p99_us / 1e3,
            busy_at_70: heavy.busy(),
        })
    }
}

fn full(rounds: &[Round]) -> Option<echo::Figures> {
    echo::Figures::of(&rounds.iter().map(|round| round.closed).collect::<Vec<_>>())
}

fn wrong(full: &echo::Figures, open: [&Open; 2]) -> Vec<String> {
    full.unsaturated().into_iter().chain(open.into_iter().filter_map(Open::late)).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::limit::tests::round;
    use super::*;

    pub(crate) const APPEND: durable::Round = durable::Round {
        cpu_us: 0.2,
        per_s: 1e6,
        per_commit: 500.0,
        p50: 0.4,
        p99: 0.5,
        single_cpu_us: 60.0,
        single_p50: 0.125,
        single_p99: 0.3,
    };

    /// p50 0.25 ms at 10 %, p99 1.4 ms at 70 %.
    fn in_time(cpu_us: f64, server_busy: f64) -> Round {
        let mut round = round(cpu_us, server_busy, 0.6);
        round.open[1].late = 0.0;
        round
    }

    #[test]
    fn each_round_is_held_against_its_own_floors() {
        let raw = [in_time(100.0, 0.99), in_time(120.0, 0.99)];
        let durable = [in_time(150.0, 0.97), in_time(150.0, 0.97)];
        let figures = Figures::of(&durable, &raw, &[APPEND; 2]).expect("two rounds");
        let close = |a: f64, b: f64| (a - b).abs() < 1e-2;
        assert!(close(figures.cpu_ratio.max, 1.5) && close(figures.cpu_ratio.min, 1.25));
        assert!(close(figures.p50_ratio.median, 0.25 / 0.5), "{figures:?}");
        assert!(close(figures.p99_ratio.median, 1.4 / 2.0), "{figures:?}");
        assert!(figures.invalid_because.is_empty(), "{figures:?}");
        assert!(Figures::of(&durable, &raw, &[APPEND]).is_none(), "a floor is missing");
        let mut without = durable;
        without[0].open.pop();
        assert!(Figures::of(&without, &raw, &[APPEND; 2]).is_none());
        assert!(Once::of(&without[0]).is_err());
    }

    #[test]
    fn an_idle_core_and_late_arrivals_are_said() {
        let mut late = in_time(150.0, 0.5);
        late.open[1].late = 0.2;
        let why = Once::of(&late).expect_err("it is no figure");
        assert!(why.contains("50 % of its core") && why.contains("at 70 %"), "{why}");
        let figures = Figures::of(&[late], &[in_time(100.0, 0.99)], &[APPEND]).expect("a round");
        assert_eq!(figures.invalid_because.join("; "), why);
        assert!(Once::of(&in_time(150.0, 0.97)).is_ok());
    }
}
