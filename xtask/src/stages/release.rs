//! The release build, and what runs it.

use serde::Deserialize;
use serde_json::Value;

use super::{Bench, logged};

pub(super) fn build(bench: &Bench<'_>) -> Result<(), String> {
    // what the workspace builds by default: other packages give crates other features, and so names without a profile
    let args = ["build", "--release", "--locked"];
    bench.cargo(&args)?;
    let program = bench.target.join("release/countersign");
    let without = crate::profile::unprofiled(bench.root, &program)?;
    let wrapper = ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"];
    if let Some(name) = wrapper.into_iter().find(|name| std::env::var_os(name).is_some()) {
        println!("    slower than it could be: {name} is set, so no profile was used");
    } else if without.is_empty() {
        println!("    the profile fits");
    } else {
        let without = without.join(", ");
        println!("    slower than it could be: no profile of {without}; `cargo xtask profile`");
    }
    Ok(())
}

/// Every ceremony once, through real sockets.
pub(super) fn spine(bench: &Bench<'_>) -> Result<(), String> {
    let mut command = bench.command(bench.target.join("release/countersign"));
    // its server's log is searched for secrets too
    command.args(["demo", "--script", "--json", "--server-log"]);
    command.arg(bench.logs.join("spine.server.log"));
    let ended = logged::run(bench, "spine", command)?;
    // the steps say more than the exit status, so they are told first
    println!("    {}", judge_spine(&ended.stdout)?);
    ended.success().map(|_| ()).map_err(|status| format!("spine: every step passed, but {status}"))
}

/// Real devices against a server of its own, briefly: nothing lost, nothing decided twice.
pub(super) fn load(bench: &Bench<'_>) -> Result<(), String> {
    let mut command = bench.command(bench.target.join("release/loadtest"));
    command.args(["run", "loadtest/plans/smoke.toml", "--json", "-"]);
    let ended = logged::run(bench, "load", command)?;
    println!("    {}", judge_load(&ended.stdout)?);
    ended
        .success()
        .map(|_| ())
        .map_err(|status| format!("load: the numbers are fine, but {status}"))
}

#[derive(Deserialize)]
struct Spine {
    ok: bool,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    name: String,
    expected: Value,
    got: Value,
}

fn judge_spine(stdout: &str) -> Result<String, String> {
    let spine: Spine = parse("spine", stdout)?;
    let wrong: Vec<String> = spine
        .steps
        .iter()
        .filter(|step| step.expected != step.got)
        .map(|step| format!("spine: {}: expected {}, got {}", step.name, step.expected, step.got))
        .collect();
    match (spine.ok, wrong.is_empty(), spine.steps.len()) {
        (_, _, 0) => Err("spine: no step ran".to_owned()),
        (true, true, count) => Ok(format!("{count} steps as expected")),
        (false, true, _) => Err("spine: it says ok:false without a wrong step".to_owned()),
        (_, false, _) => Err(wrong.join("\n")),
    }
}

#[derive(Deserialize)]
struct Load {
    ceremonies_per_s: Option<f64>,
    lost: u64,
    doubled: u64,
}

fn judge_load(stdout: &str) -> Result<String, String> {
    let load: Load = parse("load", stdout)?;
    if load.lost != 0 || load.doubled != 0 {
        return Err(format!("load: {} lost, {} decided twice", load.lost, load.doubled));
    }
    let rate = load.ceremonies_per_s.ok_or("load: no rate: the run was cut short")?;
    Ok(format!("{rate:.1} ceremonies/s, none lost, none decided twice"))
}

/// The JSON value that stdout is, or that stands on its last line.
fn parse<T: for<'a> Deserialize<'a>>(stage: &str, stdout: &str) -> Result<T, String> {
    let last = stdout.trim_end().lines().next_back().unwrap_or_default();
    serde_json::from_str(stdout)
        .or_else(|whole| serde_json::from_str(last).map_err(|_| whole))
        .map_err(|e| format!("{stage}: its stdout is not the JSON that was promised: {e}"))
}

#[cfg(test)]
mod tests {
    use super::{judge_load, judge_spine};

    #[test]
    fn a_spine_is_judged_by_its_steps() {
        let good =
            r#"{"ok":true,"steps":[{"name":"deny","expected":"denied","got":"denied","ms":9}]}"#;
        assert_eq!(judge_spine(good).as_deref(), Ok("1 steps as expected"));
        let wrong = good.replace(r#""got":"denied""#, r#""got":"approved""#);
        let why = judge_spine(&wrong).expect_err("a wrong step, whatever ok says");
        assert!(why.contains(r#"deny: expected "denied", got "approved""#), "{why}");
        assert!(judge_spine(&good.replace("true", "false")).is_err());
        assert!(judge_spine(r#"{"ok":true,"steps":[]}"#).is_err());
        assert!(judge_spine("").is_err());
    }

    #[test]
    fn a_load_run_loses_and_doubles_nothing() {
        let good = "plan smoke\n{\"ceremonies_per_s\":12.5,\"lost\":0,\"doubled\":0}\n";
        assert!(judge_load(good).is_ok());
        assert!(judge_load(&good.replace("\"lost\":0", "\"lost\":1")).is_err());
        assert!(judge_load(&good.replace("\"doubled\":0", "\"doubled\":2")).is_err());
        let cut = judge_load(&good.replace("12.5", "null")).expect_err("no rate");
        assert!(cut.contains("cut short"), "{cut}");
        assert!(judge_load("{}").is_err());
    }
}
