//! `cargo xtask test`: the test command, a table of stages.
//!
//! A new stage is a line in [`STAGES`] and a function; the first failure ends the run, and a table
//! at the end says what ran, what it took and what was left out.

mod canary;
mod disk;
mod logged;
mod prerequisites;
mod release;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::clock;

/// How much to run.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Unit tests only, nothing that needs the release build
    #[arg(long, conflicts_with = "full")]
    fast: bool,
    /// Every stage, with full counts (COUNTERSIGN_TEST_FULL=1)
    #[arg(long)]
    full: bool,
    /// Only this stage; may be repeated
    #[arg(long, value_name = "STAGE", value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(STAGES.iter().map(|stage| stage.name))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Fast,
    Normal,
    Full,
}

/// What a stage gets to work with.
struct Bench<'a> {
    root: &'a Path,
    mode: Mode,
    /// Where build output goes.
    target: PathBuf,
    /// The logs of the test stages, which `canary` reads.
    logs: PathBuf,
}

struct Stage {
    name: &'static str,
    /// The least thorough mode that runs it.
    from: Mode,
    /// Programs that it needs beside cargo, see `prerequisites`.
    needs: &'static [&'static str],
    run: fn(&Bench<'_>) -> Result<(), String>,
}

const fn stage(name: &'static str, from: Mode, run: fn(&Bench<'_>) -> Result<(), String>) -> Stage {
    Stage { name, from, needs: &[], run }
}

/// In the order in which they run: cheap ones first, so that a slip is told early.
const STAGES: &[Stage] = &[
    stage("fmt", Mode::Fast, |bench| bench.cargo(&["fmt", "--all", "--check"])),
    stage("layers", Mode::Fast, |bench| crate::layers::run(bench.root, None)),
    stage("tidy", Mode::Fast, |bench| crate::tidy::run(bench.root)),
    stage("clippy", Mode::Fast, |bench| {
        let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        bench.cargo(&args)
    }),
    Stage { name: "test", from: Mode::Fast, needs: &["redis-server"], run: tests },
    stage("doc", Mode::Full, doc),
    stage("release", Mode::Normal, release::build),
    stage("spine", Mode::Normal, release::spine),
    Stage { name: "web", from: Mode::Normal, needs: &["node", "npm", "chromium"], run: web::run },
    stage("load", Mode::Normal, release::load),
    Stage {
        name: "external",
        from: Mode::Normal,
        needs: &["node", "npm", "apache2", "python3", "curl", "jq", "openssl"],
        run: external,
    },
    stage("canary", Mode::Fast, |bench| canary::scan(&bench.logs)),
];

/// Runs the stages that `args` asks for.
pub(crate) fn run(root: &Path, args: &TestArgs) -> Result<(), String> {
    let mode = match (args.fast, args.full) {
        (true, _) => Mode::Fast,
        (_, true) => Mode::Full,
        _ => Mode::Normal,
    };
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let bench = Bench { root, mode, logs: target.join("test-logs"), target };
    let wanted = |stage: &Stage| match args.only.as_slice() {
        [] => stage.from <= mode,
        only => only.iter().any(|name| name == stage.name),
    };
    if args.only.is_empty() && mode > Mode::Fast {
        disk::fits(&bench.target)?;
    }
    let needs: Vec<&str> =
        STAGES.iter().filter(|s| wanted(s)).flat_map(|s| s.needs.iter().copied()).collect();
    prerequisites::provide(&needs)?;
    if args.only.is_empty() {
        // a secret in the log of an earlier run would fail this one; a first run has none to remove
        let _ = std::fs::remove_dir_all(&bench.logs);
    }

    let mut table = Table::default();
    let mut failure = None;
    for stage in STAGES {
        if !wanted(stage) {
            if args.only.is_empty() {
                table.skipped(stage.name, "left out");
            }
            continue;
        }
        if failure.is_some() {
            table.skipped(stage.name, "not run");
            continue;
        }
        println!("==> {}", stage.name);
        let start = clock::now();
        let outcome = (stage.run)(&bench);
        table.ran(stage.name, outcome.is_ok(), start);
        if let Err(message) = outcome {
            eprintln!("{message}");
            failure = Some(stage.name);
        }
    }
    table.print();
    match failure {
        None => Ok(()),
        Some(name) => Err(format!("failed: {name} (again alone: cargo xtask test --only {name})")),
    }
}

#[derive(Default)]
struct Table {
    rows: Vec<(&'static str, &'static str, Option<Duration>)>,
}

impl Table {
    fn ran(&mut self, name: &'static str, ok: bool, start: Instant) {
        let took = clock::now().duration_since(start);
        self.rows.push((name, if ok { "ok" } else { "FAILED" }, Some(took)));
    }

    fn skipped(&mut self, name: &'static str, why: &'static str) {
        self.rows.push((name, why, None));
    }

    fn print(&self) {
        println!("\n{:<10} {:<8} {:>9}", "stage", "result", "seconds");
        for (name, result, took) in &self.rows {
            let seconds = took.map_or(String::new(), |took| format!("{:.1}", took.as_secs_f64()));
            println!("{name:<10} {result:<8} {seconds:>9}");
        }
    }
}

impl Bench<'_> {
    /// A command in the workspace; without stdin, so that nothing waits for an answer.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root).stdin(Stdio::null());
        if self.mode == Mode::Full {
            command.env("COUNTERSIGN_TEST_FULL", "1");
        }
        command
    }

    /// Cargo, the one that runs us, with `args`.
    fn cargo_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(crate::cargo());
        command.args(args);
        command
    }

    fn cargo(&self, args: &[&str]) -> Result<(), String> {
        finish(&mut self.cargo_command(args), &args.join(" "))
    }
}

/// Runs a command that speaks for itself on the console.
fn finish(command: &mut Command, what: &str) -> Result<(), String> {
    finish_as(command, &format!("cargo {what}"))
}

pub(crate) fn finish_as(command: &mut Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(error) => Err(format!("can't run {what}: {error}")),
    }
}

/// Unit and integration tests; `--show-output` brings what passing tests print, their trace
/// included, into the log.
fn tests(bench: &Bench<'_>) -> Result<(), String> {
    let mut args = vec!["test", "--workspace", "--locked"];
    if bench.mode == Mode::Fast {
        args.extend(["--lib", "--bins"]);
    }
    args.extend(["--", "--show-output"]);
    logged::run(bench, "test", bench.cargo_command(&args))?
        .success()
        .map(|_| ())
        .map_err(|status| format!("cargo {}: {status}", args.join(" ")))
}

/// Clients that nobody here wrote, against a running server; what they need is pinned by a lock file.
fn external(bench: &Bench<'_>) -> Result<(), String> {
    for folder in ["tests/clients", "sdk/typescript"] {
        let mut npm = bench.command("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        finish_as(npm.current_dir(bench.root.join(folder)), "npm ci")?;
    }
    let mut built = bench.command("npm");
    built.args(["run", "build"]).current_dir(bench.root.join("sdk/typescript"));
    finish_as(&mut built, "npm run build")?;
    let venv = bench.target.join("clients-venv");
    let mut made = bench.command("python3");
    finish_as(made.args(["-m", "venv"]).arg(&venv), "python3 -m venv")?;
    let python = venv.join("bin/python");
    let mut pip = bench.command(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--requirement",
        "tests/clients/requirements.txt",
    ]);
    finish_as(&mut pip, "pip install")?;
    // what the commands of the documentation call
    let programs = ["build", "-p", "server", "-p", "authenticator-cli", "--locked"];
    finish(&mut bench.cargo_command(&programs), &programs.join(" "))?;
    let args = ["test", "-p", "server", "--test", "it", "--locked", "--", "external", "--ignored"];
    let mut command = bench.cargo_command(&args);
    command.env("COUNTERSIGN_TEST_PYTHON", python);
    logged::run(bench, "external", command)?
        .success()
        .map(|_| ())
        .map_err(|status| format!("cargo {}: {status}", args.join(" ")))
}

fn doc(bench: &Bench<'_>) -> Result<(), String> {
    let args = ["doc", "--no-deps", "--workspace", "--locked"];
    let mut command = bench.cargo_command(&args);
    finish(command.env("RUSTDOCFLAGS", "-D warnings"), &args.join(" "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Mode, STAGES, prerequisites};

    #[test]
    fn every_stage_has_its_own_name_and_known_needs() {
        let names: BTreeSet<&str> = STAGES.iter().map(|stage| stage.name).collect();
        assert_eq!(names.len(), STAGES.len());
        for program in STAGES.iter().flat_map(|stage| stage.needs) {
            assert!(prerequisites::is_known(program), "{program}");
        }
    }

    #[test]
    fn the_scan_for_secrets_comes_last_and_always() {
        let last = STAGES.last().expect("there are stages");
        assert!(last.name == "canary" && last.from == Mode::Fast);
    }
}
