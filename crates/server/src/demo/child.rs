//! A server in a process of its own, as an operator would start it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How long a start may take: migrations and keys on a slow disk.
const START: Duration = Duration::from_secs(30);

/// The file in the data directory that it logs to.
pub const LOG: &str = "server.log";

/// Why the child isn't there.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It couldn't be started or spoken to.
    #[error("the server process: {0}")]
    Io(#[from] io::Error),
    /// It ended, or said nothing, before it was ready.
    #[error("the server did not become ready; its log is {0}")]
    NotReady(PathBuf),
    /// An admin command failed.
    #[error("countersign admin {0}: {1}")]
    Admin(String, String),
}

/// A running child. Killed when dropped.
pub struct ChildServer {
    process: Child,
    data: PathBuf,
    program: PathBuf,
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    /// Where its health and metrics are.
    pub operations: String,
}

impl ChildServer {
    /// Starts this program's `serve` on `data`, logging to the end of `log`; `listen` may end in `:0`.
    ///
    /// # Errors
    /// [`ChildError`].
    pub async fn start(data: &Path, listen: &str, log: &Path) -> Result<Self, ChildError> {
        let program = std::env::current_exe()?;
        Self::launch(Command::new(&program), &program, data, listen, log).await
    }

    /// Starts `serve` of the `countersign` at `program`, with `settings` in its environment.
    ///
    /// # Errors
    /// [`ChildError`].
    pub async fn start_program(
        program: &Path,
        data: &Path,
        listen: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self, ChildError> {
        let mut command = Command::new(program);
        command.envs(settings.iter().copied());
        Self::launch(command, program, data, listen, &data.join(LOG)).await
    }

    /// Starts `command`, which is `program` or something that becomes it, with the arguments of `serve` behind
    /// its own; stderr goes to the end of `log`.
    ///
    /// # Errors
    /// [`ChildError`].
    pub async fn launch(
        mut command: Command,
        program: &Path,
        data: &Path,
        listen: &str,
        log: &Path,
    ) -> Result<Self, ChildError> {
        let stderr = std::fs::File::options().create(true).append(true).open(log)?;
        let mut process = command
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .env("COUNTERSIGN__ADMIN__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or_else(|| ChildError::NotReady(log.to_owned()))?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            let mut url = None;
            while let Some(line) = lines.next_line().await? {
                if let Some(listening) = line.strip_prefix("listening on ") {
                    url = Some(listening.to_owned());
                } else if let Some(operations) = line.strip_prefix("admin on ") {
                    return Ok::<_, io::Error>(url.map(|url| (url, operations.to_owned())));
                }
            }
            Ok(None)
        };
        let ready = tokio::time::timeout(START, ready).await;
        let Ok(Ok(Some((url, operations)))) = ready else {
            return Err(ChildError::NotReady(log.to_owned()));
        };
        // keep reading, so that the child never blocks on a full pipe
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let (data, program) = (data.to_owned(), program.to_owned());
        Ok(Self { process, data, program, url, operations })
    }

    /// Its process id; `None` once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    }

    /// Asks it to stop, as an operator or service manager would.
    ///
    /// # Errors
    /// [`ChildError::Io`], also if it has ended.
    pub fn terminate(&self) -> Result<(), ChildError> {
        let pid = self.pid().ok_or(io::ErrorKind::NotFound);
        let sent = pid.map_err(io::Error::from).and_then(|pid| {
            rustix::process::kill_process(pid, Signal::TERM).map_err(io::Error::from)
        });
        Ok(sent?)
    }

    /// Waits for its end, at most `within`.
    ///
    /// # Errors
    /// [`ChildError::Io`], also if it goes on.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus, ChildError> {
        match tokio::time::timeout(within, self.process.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    /// Kills it as a crash would: no signal that it could act on.
    ///
    /// # Errors
    /// [`ChildError::Io`].
    pub async fn kill(mut self) -> Result<(), ChildError> {
        Ok(self.process.kill().await?)
    }

    /// Runs an admin command against it.
    ///
    /// # Errors
    /// [`ChildError::Admin`] with what the command said.
    pub async fn admin(&self, args: &[&str]) -> Result<Value, ChildError> {
        let output = Command::new(&self.program)
            .args(["admin", "--json", "--data"])
            .arg(&self.data)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .await?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        serde_json::from_slice(&output.stdout)
            .ok()
            .filter(|_| output.status.success())
            .ok_or_else(|| ChildError::Admin(args.join(" "), said(&output.stderr)))
    }
}
