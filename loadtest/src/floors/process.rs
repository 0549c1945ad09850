//! A floor server in a process of its own, and whatever is done to it while it lives.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::cores::Cores;
use super::serve::Kind;
use crate::failure::{Cut, Failure};

/// What a start and an end may take.
const START_WITHIN: Duration = Duration::from_secs(10);
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of a server may take to be known after its sockets broke.
const BURIED_WITHIN: Duration = Duration::from_millis(500);

/// A running floor server.
pub(crate) struct FloorServer {
    child: Child,
    kind: Kind,
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
    /// It ends when this is closed, even if we are killed.
    stdin: Option<ChildStdin>,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl FloorServer {
    /// Starts one on its core and waits until it listens.
    pub(crate) async fn start(kind: Kind, cores: Cores) -> Result<Self, Failure> {
        Self::start_with::<&OsStr>(kind, cores, &[]).await
    }

    /// The same with these in its environment.
    pub(crate) async fn start_with<V: AsRef<OsStr>>(
        kind: Kind,
        cores: Cores,
        environment: &[(&str, V)],
    ) -> Result<Self, Failure> {
        let name = kind.name();
        let failed = |why: String| Failure::Server(format!("floor server {name}: {why}"));
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(program);
        command
            .args(["floor-server", &name])
            .envs(environment.iter().map(|(name, value)| (name, value)));
        if let Some(core) = cores.server {
            command.args(["--core", &core.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut stdout = BufReader::new(stdout.expect("it is piped")).lines();
        let line = timeout(START_WITHIN, stdout.next_line()).await;
        let line = line.map_err(|_| failed("doesn't listen after 10 s".to_owned()))?;
        let address = line.ok().flatten().and_then(|line| address(&line));
        let (Some(address), Some(pid)) = (address, child.id()) else {
            return Err(failed("ended before it listened, or said something else".to_owned()));
        };
        Ok(Self { child, kind, pid, address, stdin, _stdout: stdout })
    }

    /// Does `work` to it. If it ends meanwhile, that is the failure, and not what follows from it.
    pub(crate) async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let done = tokio::select! {
            biased;
            status = self.child.wait() => {
                return Err(Failure::Cut(Cut::ended(status)));
            }
            done = work => done,
        };
        if done.is_err()
            && let Ok(status) = timeout(BURIED_WITHIN, self.child.wait()).await
        {
            return Err(Failure::Cut(Cut::ended(status)));
        }
        done.map_err(|failure| match failure {
            Failure::Server(why) => {
                Failure::Server(format!("floor server {}: {why}", self.kind.name()))
            }
            other => other,
        })
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        drop(self.stdin.take());
        let name = self.kind.name();
        match timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Cut(Cut::ended(status))),
            Err(_) => {
                let _ = self.child.kill().await;
                Err(Failure::Server(format!("floor server {name}: had to be killed")))
            }
        }
    }
}

/// Reads `listening on A:P`.
fn address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("listening on ")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read() {
        assert_eq!(address("listening on 127.0.0.1:81"), "127.0.0.1:81".parse().ok());
        assert_eq!(address("listening on port 81"), None);
        assert_eq!(address(""), None);
    }
}
