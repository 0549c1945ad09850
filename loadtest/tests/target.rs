//! A run against a server that somebody else started.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const PLAN: &str = "name = 'gone'\nseed = 1\narrivals = 'uniform'\nrate = 20\nramp_s = 0\nhold_s = 60\n\
                    devices = 20\nttl_s = 30\n[mix]\napprove = 1\n";

/// Nobody is known here: to the default numbers that is an attack, and nothing would ring.
const POLICY: &str = "surge_users = 100\nsurge_share = 0.5\nsurge_sigma = 10\n";

/// The server, built beside the load test; by whoever tests the whole workspace, or else here.
fn program() -> PathBuf {
    let loadtest = Path::new(env!("CARGO_BIN_EXE_loadtest"));
    let dir = loadtest.parent().expect("a program is in a folder");
    let program = dir.join("countersign");
    if !program.is_file() {
        let release = dir.ends_with("release").then_some("--release");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--bin", "countersign", "--target-dir"])
            .arg(dir.parent().expect("a profile's folder is in another"))
            .args(release)
            // which packages are built by default is only known there
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"))
            .status();
        assert!(built.expect("cargo runs").success());
    }
    program
}

/// A running server, ended when dropped.
struct Target {
    child: Child,
    dir: TempDir,
    url: String,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Target {
    fn start() -> Self {
        let dir = TempDir::new().expect("a folder");
        let policy = dir.path().join("guard.toml");
        std::fs::write(&policy, POLICY).expect("written");
        let mut child = Command::new(program())
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("data"))
            .env("COUNTERSIGN__ADMIN__LISTEN", "127.0.0.1:0")
            .env("COUNTERSIGN__GUARD__POLICY", policy)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let mut first = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut first).expect("text");
        let url = first.trim().strip_prefix("listening on ").expect(&first).to_owned();
        Self { child, dir, url }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A key for the load test, in a file.
    fn key_file(&self) -> PathBuf {
        let made = Command::new(program())
            .args(["--json", "admin", "--data"])
            .arg(self.file("data"))
            .args(["integration", "create", "--name", "loadtest", "--scope"])
            .arg("challenges,users:write")
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&made.stderr);
        let reply: Value = serde_json::from_slice(&made.stdout).expect(&said);
        let file = self.file("key");
        std::fs::write(&file, reply["api_key"].as_str().expect("a key")).expect("written");
        file
    }

    /// The load test against it.
    fn loadtest(&self, plan: &Path, json: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.arg("run").arg(plan).args(["--target", &self.url, "--api-key-file"]);
        command.arg(self.key_file()).arg("--json").arg(json).stdin(Stdio::null());
        command
    }

    fn kill(&mut self) {
        // an error means that it has been done
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_target_that_dies_ends_the_run_and_leaves_no_pretty_figure() {
    let mut target = Target::start();
    let (plan, json) = (target.file("gone.toml"), target.file("report.json"));
    std::fs::write(&plan, PLAN).expect("written");
    let mut run = target.loadtest(&plan, &json).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stderr = BufReader::new(run.stderr.take().expect("it is piped"));
    let mut said = String::new();
    while !said.contains("   3 s  ") {
        let read = stderr.read_line(&mut said).expect("text");
        assert!(read > 0, "it ended by itself: {said}");
    }
    target.kill();
    stderr.read_to_string(&mut said).expect("text");
    assert_eq!(run.wait().expect("a child").code(), Some(1), "{said}");
    let why = format!("cut short: the server at {} can't be reached any more: ", target.url);
    assert!(said.contains(&why), "{said}");
    let report = std::fs::read(json).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["ok"], false);
    // of the time until then: over the whole run it would be half of that at most
    let rate = report["ceremonies_per_s"].as_f64().expect("it held for three seconds");
    assert!((15.0..=21.0).contains(&rate), "{rate}: {said}");
    let seconds = report["seconds"].as_array().expect("a list").len();
    assert!((7..30).contains(&seconds), "{seconds} s: {said}");
    assert!(report["client"]["cpu_s_per_ceremony"].is_null(), "{said}");
    assert!(report["errors"]["create_unreachable"].as_u64() > Some(50), "{said}");
}

#[test]
fn a_closed_loop_asks_again_as_soon_as_it_is_answered() {
    let target = Target::start();
    let (plan, json) = (target.file("closed.toml"), target.file("report.json"));
    let text = PLAN
        .lines()
        .map(|line| match line.split(' ').next() {
            Some("name") => "name = 'closed'",
            Some("arrivals") => "",
            Some("rate") => "in_flight = 1",
            Some("ramp_s") => "ramp_s = 1",
            Some("hold_s") => "hold_s = 2",
            // fewer would each be asked more often than a server takes frames of one
            Some("devices") => "devices = 200",
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    std::fs::write(&plan, text).expect("written");
    let run = target.loadtest(&plan, &json).output().expect("it runs");
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(0), "{said}");
    assert!(said.contains("1 at a time, each after the one before, for 2 s"), "{said}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(json).expect("a report")).expect("JSON");
    let all = &report["ceremonies"];
    assert_eq!(all["arrived"], all["right"], "{said}");
    // what ended in the first of three seconds doesn't count
    let counted = report["ceremonies_per_s"].as_f64().expect("a rate") * 2.0;
    assert!(counted >= 2.0 && counted < all["right"].as_f64().expect("a count"), "{said}");
}

#[test]
fn a_report_that_cant_be_written_is_said_before_the_run() {
    let dir = TempDir::new().expect("a folder");
    let plan = dir.path().join("gone.toml");
    std::fs::write(&plan, PLAN).expect("written");
    for option in ["--json", "--html"] {
        // no server is started for this: that would take longer, and say so
        let refused = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .arg("run")
            .arg(&plan)
            .arg(option)
            .arg(dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        let why = format!("error: {option}: {}: Is a directory", dir.path().display());
        assert!(said.starts_with(&why), "{said}");
    }
}
