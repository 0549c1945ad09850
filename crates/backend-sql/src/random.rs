//! The one place where this crate draws randomness: keys, salts, lanes.

/// `N` bytes from the library's CSPRNG.
///
/// # Panics
/// If the system has no randomness to give; nothing can be kept safe then.
pub(crate) fn draw<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::disallowed_methods,
        reason = "keys, salts and lanes are born in the store, which has no rng argument"
    )]
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}
