//! Where the log goes. Never to stdout, which is for results.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use http_limits::request_id;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
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
    registry().with(lines(config.log_format, writer).with_filter(filter)).try_init()?;
    Ok(())
}

fn lines<S, W>(form: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_ansi(false).with_writer(writer);
    match form {
        LogFormat::Text => lines.map_event_format(|format| WithRequest { format, form }).boxed(),
        LogFormat::Json => {
            lines.json().map_event_format(|format| WithRequest { format, form }).boxed()
        }
    }
}

/// Ends each line with the request that it is about.
struct WithRequest<F> {
    format: F,
    form: LogFormat,
}

impl<S, N, F> FormatEvent<S, N> for WithRequest<F>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'f> FormatFields<'f> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let Some(id) = request_id() else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        // an id has nothing in it that would have to be escaped
        match (self.form, line.strip_suffix('}')) {
            (LogFormat::Json, Some(object)) => writeln!(writer, r#"{object},"request":"{id}"}}"#),
            _ => writeln!(writer, "{line} request={id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::Request;
    use http_limits::{Front, RequestIds, front};

    use super::*;

    /// What a request that logs a line leaves in the log.
    async fn logged(form: LogFormat) -> String {
        let mut file = tempfile::tempfile().unwrap();
        let writer = Mutex::new(file.try_clone().unwrap());
        let _log = tracing::subscriber::set_default(registry().with(lines(form, writer)));
        let logs = async || tracing::warn!(count = 3, "seen");
        let trusted_proxies = [].into();
        let fronted = Front { trusted_proxies, ids: RequestIds::new(7), hosts: None, shed: None };
        let service = front(Router::new().route("/", get(logs)), fronted);
        let request = Request::get("/").header("x-request-id", "abc-1").body(Body::empty());
        service.answer(request.unwrap(), &()).await;
        tracing::warn!("of nobody");
        let mut text = String::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test]
    async fn a_line_says_which_request_it_is_about() {
        let text = logged(LogFormat::Text).await;
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("seen count=3 request=abc-1"), "{text}");
        assert!(lines[1].ends_with("of nobody"), "{text}");
        let json = logged(LogFormat::Json).await;
        let lines: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["request"], "abc-1");
        assert_eq!(lines[0]["fields"]["count"], 3);
        assert!(lines[1].get("request").is_none());
    }
}
