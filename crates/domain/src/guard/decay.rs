//! How evidence fades: by half each half-life, to the same bits on every machine.

/// Whole seconds since the epoch; enough until 2106.
pub type Seconds = u32;

/// `2^-(elapsed / half_life)`. Only additions, multiplications and one division of IEEE doubles, so that a
/// replay on another machine comes to the same bits (`exp` of a platform's library need not).
#[must_use]
pub fn fade(elapsed: Seconds, half_life: Seconds) -> f32 {
    let half_life = half_life.max(1);
    let whole = elapsed / half_life;
    // below the smallest thing that any threshold can notice
    if whole >= 64 {
        return 0.0;
    }
    let x = f64::from(elapsed % half_life) / f64::from(half_life) * -core::f64::consts::LN_2;
    let halved = f64::from_bits(u64::from(1023 - whole) << 52);
    #[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
    let faded = (exp(x) * halved) as f32;
    faded
}

/// `1 / n!`.
const INVERSE_FACTORIALS: [f64; 13] = [
    1.0,
    1.0,
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5_040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
];

/// `e^x` for -0.7 < x <= 0 by its Taylor series: the error is far below one bit of single precision. Pairs are
/// summed before they are multiplied, so that the processor does several at once.
fn exp(x: f64) -> f64 {
    const C: [f64; 13] = INVERSE_FACTORIALS;
    let pair = |n: usize| C[n] + C[n + 1] * x;
    let x2 = x * x;
    let x4 = x2 * x2;
    let low = (pair(0) + pair(2) * x2) + (pair(4) + pair(6) * x2) * x4;
    let high = (pair(8) + pair(10) * x2) + C[12] * x4;
    low + high * (x4 * x4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_left_after_each_half_life() {
        assert_eq!(fade(0, 600), 1.0);
        assert_eq!(fade(600, 600), 0.5);
        assert_eq!(fade(1200, 600), 0.25);
        assert_eq!(fade(u32::MAX, 600), 0.0);
        assert_eq!(fade(5, 0), 1.0 / 32.0);
    }

    #[test]
    fn it_follows_the_exponential_and_never_grows() {
        let mut last = 1.0;
        for elapsed in 0..10_000 {
            let faded = fade(elapsed, 700);
            let exact = (-f64::from(elapsed) / 700.0).exp2();
            assert!((f64::from(faded) - exact).abs() < 1e-7, "{elapsed}: {faded} {exact}");
            assert!(faded <= last);
            last = faded;
        }
    }
}
