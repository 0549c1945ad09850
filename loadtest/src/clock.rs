//! The one place where the load test reads clocks and draws what must not repeat between runs.

use rand::{Rng as _, RngExt as _};
use tokio::time::Instant;

/// Now, for measuring.
#[expect(
    clippy::disallowed_methods,
    reason = "a load test measures time; nothing here decides anything for a user"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Now, in RFC 3339, for the first factor that a relying party would have checked.
#[expect(
    clippy::disallowed_methods,
    reason = "the relying party that is played here has a clock of its own"
)]
pub(crate) fn wall() -> String {
    jiff::Timestamp::now().to_string()
}

/// The TOTP step that is on.
pub(crate) fn totp_step() -> u64 {
    authenticator_native::unix_time().seconds() / 30
}

/// A browser session: 192 random bits, new in every run, as a relying party makes them.
#[expect(clippy::disallowed_methods, reason = "sessions must differ between runs of the same seed")]
pub(crate) fn browser_session() -> String {
    let bytes: [u8; 24] = rand::rng().random();
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

/// Now, in milliseconds since the Unix epoch, for a floor that plays a server.
pub(crate) fn unix_ms() -> u64 {
    authenticator_native::unix_time().millis()
}

/// Random bytes for ids, nonces, numbers and keys.
#[expect(clippy::disallowed_methods, reason = "a floor draws like a server: from a CSPRNG")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
