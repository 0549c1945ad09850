//! Runs a command with everything it prints going to a log, and the gist of it to the console.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::Bench;
use crate::clock;

/// No stage takes this long unless it hangs.
const STAGE_MAX: Duration = Duration::from_secs(60 * 60);

/// How long the output may stay open after the command has ended.
const CLOSE_MAX: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(100);

/// A line of one of the two streams, with its newline.
enum Line {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// How a command ended.
pub(super) struct Ended {
    status: ExitStatus,
    pub(super) stdout: String,
}

impl Ended {
    /// Its stdout, if it says that it succeeded.
    pub(super) fn success(self) -> Result<String, String> {
        if self.status.success() { Ok(self.stdout) } else { Err(self.status.to_string()) }
    }
}

/// Runs `command` to its end, with full tracing into `<logs>/<name>.log`.
pub(super) fn run(bench: &Bench<'_>, name: &str, mut command: Command) -> Result<Ended, String> {
    let path = bench.logs.join(format!("{name}.log"));
    let broken = |e: std::io::Error| format!("{name}: can't write {}: {e}", path.display());
    std::fs::create_dir_all(&bench.logs).map_err(broken)?;
    let mut log = BufWriter::new(File::create(&path).map_err(broken)?);
    let mut child = command
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "1")
        // a server that a test starts may keep its own log where the scan for secrets finds it
        .env("COUNTERSIGN_TEST_LOGS", &bench.logs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{name}: can't start {}: {e}", command.get_program().display()))?;
    let lines = read(&mut child);
    let outcome = pump(&mut child, &lines, &mut log);
    log.flush().map_err(broken)?;
    println!("    full log: {}", path.display());
    outcome.map_err(|why| format!("{name}: {why}"))
}

/// One thread a stream, so that neither can fill up and stall the child.
fn read(child: &mut Child) -> Receiver<Line> {
    let (sender, lines) = channel();
    if let Some(stream) = child.stdout.take() {
        forward(stream, Line::Out, sender.clone());
    }
    if let Some(stream) = child.stderr.take() {
        forward(stream, Line::Err, sender);
    }
    lines
}

fn forward(stream: impl Read + Send + 'static, wrap: fn(Vec<u8>) -> Line, sender: Sender<Line>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(1..) if sender.send(wrap(line)).is_ok() => {}
                _ => return,
            }
        }
    });
}

fn pump(child: &mut Child, lines: &Receiver<Line>, log: &mut impl Write) -> Result<Ended, String> {
    let start = clock::now();
    let mut ended = None;
    let mut stdout = Vec::new();
    let mut filter = Filter::default();
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                let (Line::Out(bytes) | Line::Err(bytes)) = &line;
                log.write_all(bytes).map_err(|e| format!("can't write the log: {e}"))?;
                let text = String::from_utf8_lossy(bytes);
                if filter.shows(text.trim_end()) {
                    eprint!("{text}");
                }
                if let Line::Out(bytes) = line {
                    stdout.extend(bytes);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = clock::now();
        if ended.is_none() && child.try_wait().is_ok_and(|status| status.is_some()) {
            ended = Some(now);
        }
        if ended.is_some_and(|at| now.duration_since(at) > CLOSE_MAX) {
            return Err("it ended, but something it started still runs and holds its output".into());
        }
        if now.duration_since(start) > STAGE_MAX {
            // what it started in turn may survive this; the log says what that was
            let _ = child.kill();
            return Err(format!("no end in sight after {} minutes", STAGE_MAX.as_secs() / 60));
        }
    }
    let status = child.wait().map_err(|e| format!("can't tell how it ended: {e}"))?;
    Ok(Ended { status, stdout: String::from_utf8_lossy(&stdout).into_owned() })
}

/// How lines of tests begin that say how much was tried: the console shows them too.
const COUNTED: &str = "counted: ";

/// What the console shows: no trace and no debug lines, and of the output of tests that passed only what they
/// counted.
#[derive(Default)]
struct Filter {
    in_successes: bool,
}

impl Filter {
    fn shows(&mut self, line: &str) -> bool {
        match line {
            // the test harness repeats what passing tests printed under this heading
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            line if line.starts_with("test result:") => self.in_successes = false,
            _ => {}
        }
        line.starts_with(COUNTED) || !self.in_successes && !is_noise(line)
    }
}

/// Lines of `tracing-subscriber`, plain, coloured or JSON, below INFO.
pub(super) fn is_noise(line: &str) -> bool {
    let plain = without_colour(line);
    plain.split_whitespace().take(3).any(|word| matches!(word, "TRACE" | "DEBUG"))
        || [r#""level":"TRACE""#, r#""level":"DEBUG""#].iter().any(|mark| plain.contains(mark))
}

/// The line without terminal escapes such as `ESC [ 3 2 m`.
fn without_colour(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, text)| text));
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::super::{Bench, Mode};
    use super::{Ended, Filter, run};

    #[test]
    fn the_console_is_spared_the_trace() {
        let mut filter = Filter::default();
        for line in [
            "2026-01-01T00:00:00Z TRACE hyper: x",
            " DEBUG sqlx: y",
            "\u{1b}[2m2026-01-01T00:00:00Z\u{1b}[0m \u{1b}[35mTRACE\u{1b}[0m z",
            r#"{"timestamp":"t","level":"DEBUG","fields":{}}"#,
        ] {
            assert!(!filter.shows(line), "{line}");
        }
        for line in ["test a ... ok", "2026-01-01T00:00:00Z  WARN a: TRACE is on", "FAILED"] {
            assert!(filter.shows(line), "{line}");
        }
    }

    #[test]
    fn passing_tests_keep_their_output_to_the_log() {
        let mut filter = Filter::default();
        let counted = "counted: 40 races, one winner each";
        let lines =
            ["test a ... ok", "successes:", "---- a stdout ----", "hello", counted, "failures:"];
        let shown: Vec<&str> = lines.into_iter().filter(|line| filter.shows(line)).collect();
        assert_eq!(shown, ["test a ... ok", counted, "failures:"]);
        assert!(!filter.shows("successes:"));
        assert!(filter.shows("test result: ok. 1 passed"));
    }

    #[test]
    fn both_streams_reach_the_log_and_stdout_comes_back() {
        let logs = std::env::temp_dir().join(format!("xtask-logged-{}", std::process::id()));
        let target = logs.clone();
        let bench = Bench { root: Path::new("."), mode: Mode::Fast, target, logs };
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let script = shell("echo TRACE one; echo TRACE $RUST_LOG >&2");
        let out = run(&bench, "good", script).and_then(Ended::success);
        assert_eq!(out.as_deref(), Ok("TRACE one\n"));
        let log = std::fs::read_to_string(bench.logs.join("good.log")).expect("a log");
        assert!(log.contains("TRACE one\n") && log.contains("TRACE trace\n"), "{log}");
        let bad = run(&bench, "bad", shell("exit 3")).and_then(Ended::success);
        let bad = bad.expect_err("it failed");
        assert!(bad.contains("exit status: 3"), "{bad}");
        std::fs::remove_dir_all(&bench.logs).expect("ours to remove");
    }
}
