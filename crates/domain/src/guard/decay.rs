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
    // Taylor series of e^x for -0.7 < x <= 0: the error is far below one bit of single precision
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1_u8..=12 {
        term *= x / f64::from(n);
        sum += term;
    }
    let halved = f64::from_bits(u64::from(1023 - whole) << 52);
    #[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
    let faded = (sum * halved) as f32;
    faded
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
