//! Looks for secrets in everything that the tests printed at full trace, and in the logs of the servers that they
//! and the script started. The load test's server is not among them: its log goes with its folder.
//!
//! Secrets are known by their shape. Where a caller chooses one, a browser session, the server's tests choose a
//! canary. Whatever shows up here would be in a customer's log. Secrets without a shape, such as numbers, are
//! searched for by `crates/server/tests/it/secrecy.rs`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::logged::is_noise;

/// Reads every file in `logs`, line by line: a trace can be larger than memory.
pub(super) fn scan(logs: &Path) -> Result<(), String> {
    let missing = || format!("canary: no logs in {}: run the test stage first", logs.display());
    let mut files: Vec<_> = std::fs::read_dir(logs)
        .map_err(|_| missing())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(missing());
    }
    let (mut lines, mut trace, mut findings) = (0_u64, 0_u64, Vec::new());
    for path in &files {
        let broken = |e: std::io::Error| format!("canary: can't read {}: {e}", path.display());
        let mut reader = BufReader::new(File::open(path).map_err(broken)?);
        let (mut bytes, mut number) = (Vec::new(), 0_u64);
        while reader.read_until(b'\n', &mut bytes).map_err(broken)? > 0 {
            number += 1;
            let text = String::from_utf8_lossy(&bytes);
            trace += u64::from(is_noise(&text));
            if let Some((kind, masked)) = secret(text.trim_end()) {
                findings.push(format!("{}:{number}: {kind}: {masked}", path.display()));
            }
            bytes.clear();
        }
        lines += number;
    }
    let clean = format!("{lines} lines in {} logs ({trace} below INFO): no secret", files.len());
    crate::report("canary", &findings, &clean)
}

/// What a secret looks like: how it starts, then at least so many of these characters.
struct Shape {
    kind: &'static str,
    start: &'static str,
    then: fn(char) -> bool,
    at_least: usize,
}

/// Halves, so that a listing of this file in a log is not a finding.
const SHAPES: [Shape; 3] = [
    Shape {
        kind: "an API key",
        start: concat!("cs", "k_"),
        then: |c| c.is_ascii_alphanumeric(),
        at_least: 20,
    },
    Shape {
        kind: "a TOTP secret",
        start: concat!("secret", "="),
        then: |c| matches!(c, 'A'..='Z' | '2'..='7'),
        at_least: 16,
    },
    Shape {
        kind: "a planted canary",
        start: concat!("CANARY", "-SECRET-"),
        then: |c| c.is_ascii_digit(),
        at_least: 1,
    },
];

const PRIVATE_KEY: &str = concat!("PRIVATE", " KEY-----");

/// What kind of secret a line holds, and the line around it with the secret masked.
fn secret(line: &str) -> Option<(&'static str, String)> {
    if let Some((before, _)) = line.split_once(PRIVATE_KEY)
        && let Some((shown, _)) = before.split_once("-----BEGIN ")
    {
        return Some(("a private key", around(shown, "-----BEGIN ***")));
    }
    for shape in &SHAPES {
        for (at, _) in line.match_indices(shape.start) {
            let rest = &line[at + shape.start.len()..];
            if rest.chars().take_while(|&c| (shape.then)(c)).count() >= shape.at_least {
                // nothing behind the secret is shown: another one may follow on the same line
                let masked = format!("{}***", shape.start);
                return Some((shape.kind, around(&line[..at], &masked)));
            }
        }
    }
    None
}

/// The end of what stands before the secret: enough to find the log call, not a whole dump.
fn around(before: &str, masked: &str) -> String {
    const SHOWN_MAX: usize = 160;
    let skipped = before.chars().count().saturating_sub(SHOWN_MAX);
    let dots = if skipped > 0 { "..." } else { "" };
    let shown: String = before.chars().skip(skipped).collect();
    format!("{dots}{shown}{masked}")
}

#[cfg(test)]
mod tests {
    use super::{PRIVATE_KEY, SHAPES, scan, secret};

    fn planted() -> [String; 4] {
        let [key, totp, canary] = SHAPES.map(|shape| shape.start);
        [
            format!("a {key}{}", "a1B2".repeat(5)),
            format!("otpauth://totp/x?{totp}{}&issuer=y", "ABCDEFG7".repeat(2)),
            format!("a {canary}4711"),
            format!("-----BEGIN EC {PRIVATE_KEY}MIIB"),
        ]
    }

    #[test]
    fn each_kind_is_found_and_masked() {
        for line in planted() {
            let (_, masked) = secret(&line).unwrap_or_else(|| panic!("nothing found"));
            assert!(masked.ends_with("***"), "{masked}");
            for hidden in ["a1B2", "ABCDEFG7", "4711", "MIIB"] {
                assert!(!masked.contains(hidden), "{masked}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_one_is_left_alone() {
        let [key, totp, canary] = SHAPES.map(|shape| shape.start);
        for line in [
            format!("{key}short and {key}***"),
            format!("{totp}redacted {totp}ABC"),
            format!("{canary}<digits>"),
            "-----BEGIN PUBLIC KEY-----".to_owned(),
        ] {
            assert_eq!(secret(&line), None, "{line}");
        }
        // the second on the line counts when the first is harmless
        assert!(secret(&format!("{key}x {key}{}", "z".repeat(20))).is_some());
    }

    #[test]
    fn a_scan_names_file_and_line_and_needs_logs() {
        let logs = std::env::temp_dir().join(format!("xtask-canary-{}", std::process::id()));
        assert!(scan(&logs).is_err_and(|why| why.contains("run the test stage first")));
        std::fs::create_dir_all(&logs).expect("a folder");
        let write = |text: &str| std::fs::write(logs.join("test.log"), text).expect("a log");
        write("TRACE all is well\n");
        assert_eq!(scan(&logs), Ok(()));
        write(&format!("TRACE all is well\nTRACE {}\n", planted()[2]));
        let why = scan(&logs).expect_err("a canary");
        assert!(why.contains("test.log:2: a planted canary: TRACE a "), "{why}");
        std::fs::remove_dir_all(&logs).expect("ours to remove");
    }
}
