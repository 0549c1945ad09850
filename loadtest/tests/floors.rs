//! The program from outside: what it refuses, what it writes, and what it says when something ends it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn loadtest(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    loadtest(args).output().expect("it runs")
}

#[test]
fn nonsense_is_a_usage_error() {
    for (args, says) in [
        (["--seconds", "0"], "1..=60"),
        (["--only", "nothing"], "possible values: http, ws, crypto, durable, idle, cer_raw"),
    ] {
        let refused = run(&[&["floors"][..], &args].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said:?} doesn't say {says:?}");
    }
}

#[test]
fn figures_are_written_with_their_spread_and_whatever_is_wrong_with_them() {
    let only = ["floors", "--quick", "--only", "http,durable", "--json", "-"];
    // a folder that is on a disk wherever this is built
    let dir = ["--dir", env!("CARGO_TARGET_TMPDIR")];
    let done = run(&[&only[..], &dir].concat());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let json: Value = serde_json::from_slice(&done.stdout).expect(&said);
    let ok = json["ok"].as_bool().expect("a verdict");
    assert_eq!(done.status.code(), Some(i32::from(!ok)), "{said}");
    assert_eq!(ok, json["problems"].as_array().is_some_and(Vec::is_empty));
    assert_eq!(json["setting"]["quick"], true);
    for kind in ["http_raw", "http_axum"] {
        let cpu = &json["echo"][kind]["cpu_us"];
        assert_eq!(cpu["rounds"], 2, "{json}");
        let figure = |name: &str| cpu[name].as_f64().expect("a figure");
        assert!(figure("min") > 0.0 && figure("min") <= figure("median"));
        assert!(figure("median") <= figure("max"));
    }
    assert!(json["durable"]["p50_ms"]["median"].as_f64().is_some_and(|ms| ms > 0.0));
    assert!(json["limit_ceremonies_per_s"].is_null(), "nobody asked for it");
    assert!(said.contains("round 2/2  http-axum"), "{said}");
    assert!(said.contains("quick: not to rely on"), "{said}");
}

/// A run with a server that is under load, and that server's pid.
fn under_way() -> (Child, Pid) {
    let mut run =
        loadtest(&["floors", "--only", "cer_raw", "--seconds", "60"]).spawn().expect("it runs");
    let ours = run.id().to_string();
    loop {
        assert!(run.try_wait().expect("a child").is_none(), "it ended by itself");
        if let Some(server) = child_of(&ours) {
            return (run, server);
        }
        std::thread::yield_now();
    }
}

fn child_of(parent: &str) -> Option<Pid> {
    for entry in std::fs::read_dir("/proc").ok()? {
        let path = entry.ok()?.path();
        let Ok(stat) = std::fs::read_to_string(path.join("stat")) else { continue };
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        let (state, its_parent) = (fields.next()?, fields.next()?);
        if its_parent == parent && state != "Z" {
            let pid = path.file_name()?.to_str()?.parse().ok()?;
            return Pid::from_raw(pid);
        }
    }
    None
}

fn ended(mut run: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    let mut stderr = BufReader::new(run.stderr.take().expect("it is piped"));
    stderr.read_to_string(&mut said).expect("text");
    (run.wait().expect("a child").code(), said)
}

#[test]
fn a_server_that_dies_is_said() {
    let (run, server) = under_way();
    kill_process(server, Signal::KILL).expect("it is there");
    let (code, said) = ended(run);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("the server ended by itself") || said.contains("before it listened"),
        "{said}"
    );
}

#[test]
fn an_interruption_is_said_and_leaves_no_server_behind() {
    let (mut run, server) = under_way();
    // a first line: its signals are in place
    let mut stderr = BufReader::new(run.stderr.take().expect("it is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("text");
    let pid = Pid::from_raw(i32::try_from(run.id()).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::INT).expect("it is there");
    let mut said = String::new();
    stderr.read_to_string(&mut said).expect("text");
    assert_eq!(run.wait().expect("a child").code(), Some(1), "{said}");
    assert!(said.contains("error: interrupted"), "{said}");
    // killed and awaited with it, or gone with its standard input
    while is_running(server) {
        std::thread::yield_now();
    }
}

fn is_running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z")))
}

#[test]
fn a_server_ends_with_its_standard_input() {
    let mut server = loadtest(&["floor-server", "tcp"]);
    let mut server = server.stdin(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).expect("text");
    assert!(line.starts_with("listening on 127.0.0.1:"), "{line}");
    drop(server.stdin.take());
    assert!(server.wait().expect("a child").success());
}
