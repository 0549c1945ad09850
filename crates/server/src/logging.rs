//! Where the log goes. Never to stdout, which is for results.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, registry};

use crate::config::{Config, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file can't be written.
    #[error("the log can't be written: {0}")]
    File(#[from] io::Error),
    /// A log was started before.
    #[error("the log can't be started: {0}")]
    Started(#[from] TryInitError),
}

/// Starts the log, to stderr.
///
/// # Errors
/// [`LogError`].
pub fn to_stderr(config: &Config) -> Result<(), LogError> {
    start(config, io::stderr)
}

/// Starts the log, to a file of the owner's alone, so that a terminal stays readable.
///
/// # Errors
/// [`LogError`].
pub fn to_file(config: &Config, path: &Path) -> Result<(), LogError> {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(0o600).open(path)?;
    start(config, Mutex::new(file))
}

/// These crates print whole frames, headers and statements below INFO, numbers and secrets included. No
/// setting brings that back, also none that asks for one of them by name.
const WHOLE_FRAMES: [&str; 5] = ["tungstenite", "tokio_tungstenite", "sqlx", "hyper", "rustls"];

fn is_fit_to_print(metadata: &Metadata<'_>) -> bool {
    let whole_frames = || WHOLE_FRAMES.iter().any(|name| metadata.target().starts_with(name));
    *metadata.level() <= Level::INFO || !whole_frames()
}

fn start<W>(config: &Config, writer: W) -> Result<(), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // `RUST_LOG` is what people try when they hunt for something
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| config.log_level.clone());
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // without a hint of its own the second filter would have every crate ask whether its traces are wanted
    let finest = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let filter = filter.and(filter_fn(is_fit_to_print).with_max_level_hint(finest));
    let lines = fmt::layer().with_ansi(false).with_writer(writer);
    match config.log_format {
        LogFormat::Text => registry().with(lines.with_filter(filter)).try_init()?,
        LogFormat::Json => registry().with(lines.json().with_filter(filter)).try_init()?,
    }
    Ok(())
}
