//! Where the log goes. Never to stdout, which is for results.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

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

/// These crates print whole frames at TRACE, numbers and secrets included.
const WHOLE_FRAMES: &str = "tungstenite=off,tokio_tungstenite=off,sqlx=info,hyper=info,rustls=info";

fn start<W>(config: &Config, writer: W) -> Result<(), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // `RUST_LOG` is what people try when they hunt for something
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| config.log_level.clone());
    let filter = EnvFilter::try_new(format!("{filter},{WHOLE_FRAMES}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("info,{WHOLE_FRAMES}")));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer);
    match config.log_format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().finish().try_init()?,
    }
    Ok(())
}
