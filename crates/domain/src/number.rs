//! The number that the sign-in page shows and the person types.

use std::fmt;

use rand::{CryptoRng, RngExt};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Digits by default: NIST 800-63B-4 §3.1.3.2 wants at least six.
pub const DEFAULT_DIGITS: u8 = 6;
/// The most digits that a number can have.
pub const MAX_DIGITS: u8 = 8;

/// Digits of fixed width, leading zeros kept. Compared in constant time, never printed by `Debug`.
#[derive(Clone)]
pub struct Number {
    digits: [u8; MAX_DIGITS as usize],
    len: u8,
}

impl Number {
    /// Draws a uniform number of `digits` (clamped to 2..=8) that differs from all of `taken`: two live
    /// numbers of one user are never alike, so that a typed number names at most one challenge.
    ///
    /// Ends because at most a few dozen numbers are live per user.
    #[must_use]
    pub fn draw(rng: &mut dyn CryptoRng, digits: u8, taken: &[Self]) -> Self {
        let len = digits.clamp(2, MAX_DIGITS);
        loop {
            let value = rng.random_range(0..10u32.pow(u32::from(len)));
            let number = Self::from_value(value, len);
            if taken.len() >= 90 || !taken.iter().any(|other| other.matches(number.as_str())) {
                return number;
            }
        }
    }

    fn from_value(mut value: u32, len: u8) -> Self {
        let mut digits = [0; MAX_DIGITS as usize];
        for slot in digits[..usize::from(len)].iter_mut().rev() {
            *slot = b'0' + u8::try_from(value % 10).unwrap_or(0);
            value /= 10;
        }
        Self { digits, len }
    }

    /// From the digits as text; `None` if it isn't 2 to 8 ASCII digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if !(2..=usize::from(MAX_DIGITS)).contains(&bytes.len())
            || !bytes.iter().all(u8::is_ascii_digit)
        {
            return None;
        }
        let mut digits = [0; MAX_DIGITS as usize];
        digits[..bytes.len()].copy_from_slice(bytes);
        Some(Self { digits, len: u8::try_from(bytes.len()).ok()? })
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..usize::from(self.len)]).unwrap_or_default()
    }

    /// How many digits it has.
    #[must_use]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Never: a number has at least two digits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `typed` is this number, in constant time for equal lengths (ASVS 5.0 11.2.4).
    #[must_use]
    pub fn matches(&self, typed: &str) -> bool {
        self.as_str().as_bytes().ct_eq(typed.as_bytes()).into()
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Number({} digits, redacted)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn numbers_are_uniform_with_leading_zeros() {
        let mut rng = StdRng::seed_from_u64(1);
        let draws = 100_000u32;
        let mut first = [0u32; 10];
        let mut last = [0u32; 10];
        for _ in 0..draws {
            let number = Number::draw(&mut rng, 6, &[]);
            let text = number.as_str().as_bytes();
            assert_eq!(text.len(), 6);
            first[usize::from(text[0] - b'0')] += 1;
            last[usize::from(text[5] - b'0')] += 1;
        }
        // chi-squared with 9 degrees of freedom: 33.7 is passed by chance once in 10,000
        for counts in [first, last] {
            let expected = f64::from(draws) / 10.0;
            let chi: f64 =
                counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
            assert!(chi < 33.7, "chi-squared {chi} of {counts:?}");
        }
    }

    #[test]
    fn a_taken_number_is_never_drawn() {
        let mut rng = StdRng::seed_from_u64(2);
        let taken: Vec<Number> =
            (0..89).map(|n| Number::parse(&format!("{n:02}")).expect("two digits")).collect();
        for _ in 0..200 {
            let number = Number::draw(&mut rng, 2, &taken);
            assert!(!taken.iter().any(|other| other.matches(number.as_str())));
        }
    }

    #[test]
    fn debug_hides_the_digits_and_parse_is_strict() {
        let number = Number::parse("042137").expect("six digits");
        assert!(!format!("{number:?}").contains("042137"));
        assert!(number.matches("042137") && !number.matches("42137") && !number.matches("0421370"));
        for bad in ["", "1", "123456789", "12 456", "١٢٣٤٥٦", "-12345"] {
            assert!(Number::parse(bad).is_none(), "{bad}");
        }
    }
}
