//! Chance and time of the simulated world: both come from the seed.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Milliseconds since the simulated world began.
pub(crate) type Ms = u64;

pub(crate) const SECOND: Ms = 1_000;
pub(crate) const MINUTE: Ms = 60 * SECOND;
pub(crate) const HOUR: Ms = 60 * MINUTE;
pub(crate) const DAY: Ms = 24 * HOUR;

/// When it began, since the epoch: Monday 2 November 2026, 00:00 UTC.
pub(crate) const EPOCH: Ms = 1_793_577_600_000;

/// The day, 0 being the first Monday.
pub(crate) fn day_of(t: Ms) -> u32 {
    u32::try_from(t / DAY).unwrap_or(u32::MAX)
}

/// The hour of the day.
pub(crate) fn hour_of(t: Ms) -> u32 {
    u32::try_from(t % DAY / HOUR).unwrap_or(0)
}

pub(crate) const fn is_weekend(day: u32) -> bool {
    day % 7 >= 5
}

/// A duration from a drawn number; none is negative.
pub(crate) fn ms(seconds: f64) -> Ms {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "durations are small and not negative; a cast saturates"
    )]
    let ms = (seconds.max(0.0) * 1_000.0) as Ms;
    ms
}

/// Everything that is drawn.
pub(crate) struct Dice(StdRng);

impl Dice {
    /// A stream of its own for each pair: what one draws doesn't shift another.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // an odd multiplier keeps pairs apart
        Self(StdRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.share() < p
    }

    /// From 0, below `end`.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.0.random_range(0..end.max(1))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.random()
    }

    /// Both ends included.
    pub(crate) fn whole(&mut self, (least, most): (u32, u32)) -> u32 {
        self.0.random_range(least..=most.max(least))
    }

    pub(crate) fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.share()
    }

    /// Mean 0, deviation 1 (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.share(), self.share());
        (-2.0 * a.ln()).sqrt() * (core::f64::consts::TAU * b).cos()
    }

    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// How many of something that happens `mean` times on average (Knuth; means here are small).
    pub(crate) fn poisson(&mut self, mean: f64) -> u32 {
        let floor = (-mean.min(50.0)).exp();
        let (mut count, mut product) = (0, self.share());
        while product > floor {
            count += 1;
            product *= self.share();
        }
        count
    }

    /// The index of a weight.
    pub(crate) fn pick(&mut self, weights: &[f64]) -> usize {
        let mut left = self.share() * weights.iter().sum::<f64>();
        for (at, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return at;
            }
        }
        weights.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_their_means_and_repeat() {
        let mut dice = Dice::new(1, 2);
        let n = 20_000;
        let mean =
            |mut draw: Box<dyn FnMut() -> f64>| (0..n).map(|_| draw()).sum::<f64>() / f64::from(n);
        let mut other = Dice::new(1, 3);
        let poisson = mean(Box::new(move || f64::from(other.poisson(1.3))));
        assert!((poisson - 1.3).abs() < 0.03, "{poisson}");
        let mut other = Dice::new(1, 4);
        let normal = mean(Box::new(move || other.normal().powi(2)));
        assert!((normal - 1.0).abs() < 0.04, "{normal}");
        let mut other = Dice::new(1, 5);
        let below = mean(Box::new(move || f64::from(u8::from(other.lognormal(7.0, 0.6) < 7.0))));
        assert!((below - 0.5).abs() < 0.02, "{below}");
        let mut other = Dice::new(1, 6);
        let second = mean(Box::new(move || f64::from(u8::from(other.pick(&[1.0, 3.0]) == 1))));
        assert!((second - 0.75).abs() < 0.02, "{second}");
        let mut same = Dice::new(1, 2);
        assert!((0..100).all(|_| same.bits() == dice.bits()));
    }

    #[test]
    fn the_world_begins_on_a_monday() {
        let monday = jiff::Timestamp::from_millisecond(i64::try_from(EPOCH).unwrap()).unwrap();
        let zoned = monday.to_zoned(jiff::tz::TimeZone::UTC);
        assert_eq!(zoned.weekday(), jiff::civil::Weekday::Monday);
        assert!(!is_weekend(4) && is_weekend(5) && is_weekend(6) && !is_weekend(7));
        assert_eq!((day_of(DAY * 2 + HOUR), hour_of(DAY * 2 + HOUR)), (2, 1));
    }
}
