//! The one place where the tasks read a clock.

use std::time::Instant;

/// Now, for timing a stage.
#[expect(
    clippy::disallowed_methods,
    reason = "the tasks time real commands; nothing here decides anything for a user"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
