//! The real program on a directory of its own, which outlives it.

use std::fs::File;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use server::demo::child::ChildServer;
use server::demo::http::{Http, Reply};
use statement::ChallengeId;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::sleep;

/// The program under test.
pub(crate) fn countersign() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_countersign"))
}

/// Whether the counts are those of a release and not those of every day.
pub(crate) fn is_full() -> bool {
    std::env::var_os("COUNTERSIGN_TEST_FULL").is_some()
}

/// A data directory, and the log of the servers that ran on it.
pub(crate) struct Home {
    dir: TempDir,
    log: PathBuf,
}

impl Home {
    /// `name` tells its log from that of other tests.
    pub(crate) fn new(name: &str) -> Self {
        let only_ours = Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(only_ours).tempdir().unwrap();
        let logs = std::env::var_os("COUNTERSIGN_TEST_LOGS");
        let log = match logs {
            Some(logs) => {
                Path::new(&logs).join(format!("{name}.{}.server.log", std::process::id()))
            }
            None => dir.path().join("server.log"),
        };
        Self { dir, log }
    }

    /// Its servers log to this file.
    pub(crate) fn logging_to(log: &str) -> Self {
        Self { log: log.into(), ..Self::new("") }
    }

    pub(crate) fn data(&self) -> &Path {
        self.dir.path()
    }

    /// What the servers have logged.
    pub(crate) fn logged(&self) -> String {
        let metadata = std::fs::metadata(&self.log).unwrap();
        // a device has no end
        if metadata.is_file() { std::fs::read_to_string(&self.log).unwrap() } else { String::new() }
    }

    /// Starts a server on a free port.
    pub(crate) async fn serve(&self) -> ChildServer {
        self.serve_by(Command::new(countersign())).await
    }

    /// Starts a server by a command that becomes one.
    pub(crate) async fn serve_by(&self, command: Command) -> ChildServer {
        let listen = "127.0.0.1:0";
        let served =
            ChildServer::launch(command, countersign(), self.data(), listen, &self.log).await;
        served.unwrap_or_else(|error| panic!("{error}\n{}", self.logged()))
    }

    /// Starts a server and kills it after a while, ready or not.
    pub(crate) async fn serve_and_kill(&self, after: Duration) {
        let mut command = Command::new(countersign());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(self.data());
        command.env("COUNTERSIGN__ADMIN__LISTEN", "127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut child = command.stderr(log).kill_on_drop(true).spawn().unwrap();
        // wait: a kill at a given moment is what this is for
        sleep(after).await;
        assert_eq!(child.try_wait().unwrap(), None, "only the kill ends it: {}", self.logged());
        child.kill().await.unwrap();
    }

    /// Runs a command on the directory to its end.
    pub(crate) async fn run(&self, command: &[&str]) -> Output {
        let mut program = Command::new(countersign());
        program.args(command).arg("--data").arg(self.data());
        program.env("COUNTERSIGN__ADMIN__LISTEN", "127.0.0.1:0");
        program.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
    }

    /// What `audit verify` says, which must be that nothing is broken. With `checkpoint`, also that nothing
    /// that it anchors is missing.
    pub(crate) async fn verified(&self, checkpoint: Option<&Path>) -> Value {
        let mut command = vec!["audit", "verify", "--json"];
        let file = checkpoint.map(|file| file.to_str().unwrap());
        command.extend(file.into_iter().flat_map(|file| ["--checkpoint", file]));
        let verified = self.run(&command).await;
        let said = String::from_utf8_lossy(&verified.stdout);
        let complaint = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success(), "audit verify: {said}{complaint}");
        serde_json::from_str(&said).unwrap()
    }
}

/// Registers an integration that may do everything, and hands out its key.
pub(crate) async fn integrate(server: &ChildServer) -> String {
    let mut command = vec!["integration", "create", "--name", "shop", "--verifies-first-factor"];
    for scope in ["challenges", "users:read", "users:write", "events:read", "guard:write"] {
        command.extend(["--scope", scope]);
    }
    let made = server.admin(&command).await.unwrap();
    made["api_key"].as_str().unwrap().to_owned()
}

/// A challenge as its caller got it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) number: String,
    pub(crate) session: String,
}

impl Asked {
    /// Reads the reply to a create that was asked for with `session`.
    pub(crate) fn read(reply: &Reply, session: &str) -> Self {
        assert!(matches!(reply.status, 200 | 201), "create: {reply:?}");
        assert_eq!(reply.text("state"), "pending");
        let (id, number) = (reply.text("id").to_owned(), reply.text("number").to_owned());
        Self { id, number, session: session.to_owned() }
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/challenges/{}{rest}", self.id)
    }

    pub(crate) fn challenge(&self) -> ChallengeId {
        self.id.parse().unwrap()
    }

    /// Its last digit changed.
    pub(crate) fn wrong_number(&self) -> String {
        let (rest, last) = self.number.split_at(self.number.len() - 1);
        format!("{rest}{}", if last == "0" { '1' } else { '0' })
    }
}

/// What is asked for a user in a browser session, with the longest life that there is.
pub(crate) fn request(user: &str, session: &str) -> Value {
    let context = json!({"browser_session": session, "ip": "192.0.2.7"});
    json!({"user": format!("name:{user}"), "context": context, "ttl_s": 300})
}

/// A browser session that must not be seen in any log: the test run searches for it (`xtask/src/stages/canary.rs`).
const CANARY: &str = concat!("CANARY", "-SECRET-4711");

/// Asks for a user in a browser session.
pub(crate) async fn ask(http: &Http, user: &str, session: &str) -> Asked {
    let session = format!("{session:-<10}-{CANARY}");
    let reply = http.send("POST", "/v1/challenges", request(user, &session)).await.unwrap();
    Asked::read(&reply, &session)
}

/// Where a challenge stands.
pub(crate) async fn state(http: &Http, asked: &Asked) -> String {
    let reply = http.send("GET", &asked.path(""), Value::Null).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.text("state").to_owned()
}

/// What readiness says: the status, and the word for it.
pub(crate) async fn ready(server: &ChildServer) -> Result<(u16, String), String> {
    let operations = Http::new(&server.operations, "");
    let reply = operations.send("GET", "/readyz", Value::Null).await?;
    Ok((reply.status, reply.text("state").to_owned()))
}
