//! What the whole run logs, at TRACE, holds no secret.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use http::StatusCode;

use crate::world::World;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes into [`LOG`].
struct Recorder;

impl io::Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Records everything from now on. Not times nor what the database took: six digits of those may happen to
/// be a number.
pub(crate) fn record() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        tracing_subscriber::fmt()
            .with_env_filter("trace,sqlx=off")
            .with_ansi(false)
            .without_time()
            .with_writer(|| Recorder)
            .init();
    });
}

#[tokio::test]
async fn no_secret_is_logged() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    let number = browser.get(&path).await.is_pending();
    browser.post(&format!("{path}/code"), "code=918273").await;
    let mut other = world.browser();
    assert_eq!(other.get(&path).await.status, StatusCode::NOT_FOUND);
    world.approve(&number).await;
    assert_eq!(browser.get(&path).await.state(), Some("approved"));
    tracing::info!("the canary sings");

    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("the canary sings"), "the log is recorded");
    let handle = path.trim_start_matches("/sign-in/");
    let cookies = browser.cookies.values().map(String::as_str);
    for secret in cookies.chain([number.as_str(), handle, "918273"]) {
        assert!(!log.contains(secret));
    }
}
