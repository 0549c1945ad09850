//! What commands say by how they end, and what they advise.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::child::{Home, countersign, integrate, request};
use crate::rest::Rest;
use crate::socket::PATIENCE;
use crate::world::World;

/// How `countersign` ends with these arguments and settings.
async fn ends(args: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(countersign());
    command.args(args).envs(settings.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(PATIENCE, command.output()).await.expect("it must end").unwrap();
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

/// systemd doesn't start it again after these: the unit says so.
#[tokio::test]
async fn what_only_an_operator_can_mend_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key) = (file("cert.pem", b"no certificate"), file("key.pem", b"no key"));
    let home = Home::new("usage");
    let data = home.data().to_str().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data];
    let operators = ("COUNTERSIGN__ADMIN__LISTEN", "127.0.0.1:0");
    let tls = [operators, ("COUNTERSIGN__TLS__CERT", &*cert), ("COUNTERSIGN__TLS__KEY", &*key)];
    let (code, said) = ends(&serve, &tls).await;
    assert_eq!(code, Some(2), "{said}");

    // a store under another master key
    home.serve().await.kill().await.unwrap();
    let master = home.data().join("keys/master.key");
    let kept = std::fs::read(&master).unwrap();
    std::fs::write(&master, [7; 32]).unwrap();
    let (code, said) = ends(&serve, &[operators]).await;
    assert_eq!(code, Some(2), "{said}");
    std::fs::write(&master, [7; 31]).unwrap();
    let (code, said) = ends(&serve, &[operators]).await;
    assert_eq!(code, Some(2), "{said}");
    std::fs::write(&master, kept).unwrap();

    // open to others
    std::fs::set_permissions(home.data(), Permissions::from_mode(0o755)).unwrap();
    let (code, said) = ends(&serve, &[operators]).await;
    assert_eq!(code, Some(2), "{said}");
    std::fs::set_permissions(home.data(), Permissions::from_mode(0o700)).unwrap();

    // taken for now: that is over once the other one stops
    let server = home.serve().await;
    let (code, said) = ends(&serve, &[operators]).await;
    assert_eq!(code, Some(3), "{said}");
    server.kill().await.unwrap();
}

#[tokio::test]
async fn a_script_takes_no_address() {
    let (code, said) = ends(&["demo", "--script", "--listen", "127.0.0.1:0"], &[]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--listen"), "{said}");
}

#[tokio::test]
async fn events_end_when_nobody_reads_them() {
    let home = Home::new("closed-pipe");
    let server = home.serve().await;
    integrate(&server).await;
    let mut command = Command::new(countersign());
    command.args(["events", "--follow", "--data"]).arg(home.data());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut follower = command.spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert!(timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().is_some());
    drop(lines);
    // something more to tell, into a pipe that is closed
    server.admin(&["user", "create", "--name", "alice"]).await.unwrap();
    let ended = timeout(PATIENCE, follower.wait()).await.expect("it must notice").unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn the_doctor_s_next_step_works_for_this_data_directory() {
    let home = Home::new("doctor");
    let data = format!(" --data {}", home.data().display());
    let next = async || {
        let said = home.run(&["doctor", "--json"]).await;
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        report["next"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned()
    };
    let server = home.serve().await;
    let running = next().await;
    assert!(running.starts_with("countersign admin") && running.contains(&data), "{running}");
    server.kill().await.unwrap();
    let stopped = next().await;
    assert!(stopped.starts_with("countersign serve") && stopped.contains(&data), "{stopped}");
}

#[tokio::test]
async fn a_replay_is_no_new_challenge_to_the_metrics() {
    let world = World::new("metrics-replay").await;
    let body = request("alice", "a-browser-session-0001");
    for _ in 0..3 {
        let headers = [("idempotency-key", "once")];
        let made = world.rest.send_with(&world.own_key, "POST", "/v1/challenges", &body, &headers);
        assert_eq!(made.await.status, 201);
    }
    let operations = Rest::new(&world.server.operations);
    let metrics = operations.send("", "GET", "/metrics", &json!(null)).await.body;
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    let line = metrics.lines().find(|l| l.starts_with("countersign_challenges_created_total"));
    assert_eq!(line, Some("countersign_challenges_created_total 1"));
}
