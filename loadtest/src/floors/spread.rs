//! What several rounds of one measurement come to.

use std::fmt;

use serde::Serialize;

/// The median of rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) rounds: usize,
}

impl Spread {
    /// `None` of nothing, or of what isn't a number.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        if !sorted.iter().all(|value| value.is_finite()) {
            return None;
        }
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max, rounds: sorted.len() })
    }

    /// Of what `value` is in each round.
    pub(crate) fn over<T>(rounds: &[T], value: impl Fn(&T) -> f64) -> Option<Self> {
        Self::of(&rounds.iter().map(value).collect::<Vec<f64>>())
    }
}

/// `8.8 [8.6-9.1]`, with as many decimals as the formatter asks for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let Self { median, min, max, .. } = self;
        write!(f, "{median:.digits$} [{min:.digits$}-{max:.digits$}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_ends_are_the_ends() {
        let odd = Spread::of(&[3.0, 1.0, 20.0]).expect("three");
        assert_eq!((odd.median, odd.min, odd.max, odd.rounds), (3.0, 1.0, 20.0, 3));
        let even = Spread::of(&[4.0, 1.0, 2.0, 9.0]).expect("four");
        assert_eq!((even.median, even.rounds), (3.0, 4));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
        assert_eq!(Spread::of(&[1.0, f64::INFINITY]), None);
    }

    #[test]
    fn it_reads_as_a_median_between_its_ends() {
        let spread = Spread::over(&[1.04, 2.0, 3.0], |value| *value).expect("three");
        assert_eq!(format!("{spread:.1}"), "2.0 [1.0-3.0]");
    }
}
