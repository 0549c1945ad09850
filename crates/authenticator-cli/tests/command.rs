//! The command line without a server: what it refuses, and how.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const LINK: &str = "http://127.0.0.1:1/enrol#v1.FhYWFhYWFhYWFhYWFhYWFg.0t1ugaABtwoTYH9vu7OxKf82chb8H4465T5jl2v1c6I";

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(home: &Path, passphrase: Option<&str>, args: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-authenticator"));
    command.arg("--home").arg(home).args(args).stdin(Stdio::null());
    command.env_remove("COUNTERSIGN_PASSPHRASE").env_remove("COUNTERSIGN_LOG");
    if let Some(passphrase) = passphrase {
        command.env("COUNTERSIGN_PASSPHRASE", passphrase);
    }
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    Run {
        code: status.code(),
        out: String::from_utf8(stdout).expect("text"),
        err: String::from_utf8(stderr).expect("text"),
    }
}

#[test]
fn without_a_passphrase_and_a_terminal_it_says_what_to_do() {
    let home = tempfile::tempdir().expect("a folder");
    let refused = run(home.path(), None, &["enrol", LINK]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(
        refused.err.contains("--passphrase-file") && refused.err.contains("COUNTERSIGN_PASSPHRASE")
    );
    assert!(!home.path().join("accounts.sealed").exists());
}

#[test]
fn a_link_is_read_before_anything_is_made() {
    let home = tempfile::tempdir().expect("a folder");
    for args in [
        &["enrol", &LINK[..60]][..],
        &["enroll", "https://example.org"],
        &["enrol", "--server", "http://example.org", "--user", "a", "--code", "K9T02XQ7"],
        &["enrol", "--server", "http://127.0.0.1:1", "--user", "a", "--code", "short"],
        &["enrol", "--server", "http://127.0.0.1:1"],
        &["enrol"],
        &["listen"],
        &["code", "alice"],
        &["nonsense"],
    ] {
        let refused = run(home.path(), Some("one"), args);
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.err);
    }
    assert!(!home.path().join("accounts.sealed").exists());
}

#[test]
fn nobody_there_and_a_wrong_passphrase_have_codes_of_their_own() {
    let home = tempfile::tempdir().expect("a folder");
    let unreachable = run(home.path(), Some("one"), &["enrol", LINK]);
    assert_eq!(unreachable.code, Some(3), "{}", unreachable.err);
    // the secret of the link is in no message
    assert!(!unreachable.err.contains("FhYW") && !unreachable.out.contains("FhYW"));

    let wrong = run(home.path(), Some("two"), &["accounts", "--json"]);
    assert_eq!(wrong.code, Some(4));
    let line: serde_json::Value = serde_json::from_str(wrong.out.trim()).expect("one JSON line");
    assert_eq!((&line["event"], &line["code"]), (&"error".into(), &"wrong_passphrase".into()));

    let right = run(home.path(), Some("one"), &["accounts", "--json"]);
    assert_eq!((right.code, right.out.trim()), (Some(0), r#"{"data":[]}"#));
    let file = home.path().join("passphrase");
    std::fs::write(&file, "one\n").expect("written");
    let by_file = run(
        home.path(),
        Some("two"),
        &["--passphrase-file", file.to_str().expect("text"), "accounts"],
    );
    assert_eq!(by_file.code, Some(0), "{}", by_file.err);
}

#[test]
fn help_is_on_stdout() {
    let home = tempfile::tempdir().expect("a folder");
    let help = run(home.path(), None, &["--help"]);
    assert_eq!(help.code, Some(0));
    for word in ["enrol", "listen", "accounts", "code", "remove", "--home", "Exit codes"] {
        assert!(help.out.contains(word), "{word}");
    }
}
