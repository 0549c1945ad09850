//! `cargo xtask profile`: the profile by which releases are compiled, made anew.
//!
//! Server and load test are built so that they count which ways their code takes, and run under the load test's own
//! plans; what they counted is put together. `pgo/rustc` hands the outcome to the compiler (rustc book,
//! "Profile-guided Optimization"). Functions are found by their names, of which the compiler, the versions and features
//! of a crate and of all it depends on are part: [`unprofiled`] says what a build was compiled without.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use memchr::memmem;

use crate::stages::finish_as as finish;

/// The profile, as LLVM keeps it.
const PROFILE: &str = "pgo/countersign.profdata";
/// What the server does meanwhile: a full core, which is what the profile is for, and what happens seldom.
const PLANS: [&str; 4] = ["saturated", "mixed", "storm", "hosted"];
/// Debian's packages have one for each version. Counts have had the same format since this one.
const OLDEST_LLVM: u32 = 19;
/// Whose code a ceremony spends its time in. Functions of others are found by the same names.
const HOT: [&str; 7] = ["app", "backend_sql", "edge_http", "edge_ws", "hyper", "server", "tokio"];

/// Makes the profile anew; some fifteen minutes on two cores.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let tool = tool()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let target = root.join(target);
    let counting = target.join("profile");
    let counts = counting.join("counts");

    println!("profile: building the load test, and programs that count");
    let build = ["build", "--release", "--locked"];
    finish(cargo(root).args(build).args(["--bin", "loadtest"]), "cargo build --bin loadtest")?;
    let mut all = cargo(root);
    all.args(build).arg("--target-dir").arg(&counting);
    all.env("CARGO_ENCODED_RUSTFLAGS", format!("-Cprofile-generate={}", counts.display()));
    finish(&mut all, "cargo build")?;
    // build scripts count too, and are of no interest
    match fs::remove_dir_all(&counts) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("profile: can't empty {}: {error}", counts.display()));
        }
        _ => {}
    }

    let programs = counting.join("release");
    let load_test = programs.join("loadtest");
    println!("profile: floors, so that they are compiled no worse than what is held against them");
    let dir = counting.display().to_string();
    let floors = ["floors", "--only", "cer_durable", "--quick", "--dir", &dir];
    // the load test and at least one server of its
    counted(root, &load_test, &counts, ("floors", 2), &floors)?;
    // one that doesn't count asks more of a server; it runs the one that lies beside it. Removed first, since cargo's
    // own copy of the program is the same file
    fs::remove_file(&load_test)
        .and_then(|()| fs::copy(target.join("release/loadtest"), &load_test))
        .map_err(|e| format!("profile: can't copy the load test: {e}"))?;
    for plan in PLANS {
        println!("profile: {plan}");
        let plan_file = format!("loadtest/plans/{plan}.toml");
        counted(root, &load_test, &counts, (plan, 1), &["run", &plan_file])?;
    }
    merge(&tool, &counts, &root.join(PROFILE))?;
    println!(
        "profile: made {PROFILE}; `cargo clean --release`, so that every crate is compiled by it"
    );
    Ok(())
}

/// Runs the load test; what it starts leaves its counts under the run's name. A slow program that counts may break a
/// plan's bounds, which says nothing of the product: that counts are there, of at least so many processes, is what
/// matters.
fn counted(
    root: &Path,
    program: &Path,
    counts: &Path,
    (run, least): (&str, usize),
    args: &[&str],
) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(root).stdin(Stdio::null()).stdout(Stdio::null());
    command.env("LLVM_PROFILE_FILE", counts.join(format!("{run}-%p.profraw")));
    let status = command.status();
    let status = status.map_err(|error| format!("profile: can't run {run}: {error}"))?;
    if !status.success() {
        println!("profile: {run}: {status}, for which counting is the likely reason");
    }
    let of_run = |name: &OsStr| name.to_string_lossy().starts_with(&format!("{run}-"));
    let found = fs::read_dir(counts).into_iter().flatten().flatten();
    match found.filter(|entry| of_run(&entry.file_name())).count() {
        found if found < least => {
            Err(format!("profile: {run} left counts of {found} processes, not of {least}"))
        }
        found => {
            println!("profile: {run}: counts of {found} processes");
            Ok(())
        }
    }
}

/// Puts all counts into one profile, without the functions that never ran: those are compiled as if there were none.
fn merge(tool: &Path, counts: &Path, profile: &Path) -> Result<(), String> {
    let broken = |e: std::io::Error| format!("profile: can't write {}: {e}", profile.display());
    let made = profile.with_extension("new");
    let mut command = Command::new(tool);
    command.args(["merge", "--sparse", "--output"]).arg(&made).arg(counts);
    finish(&mut command, "llvm-profdata merge")?;
    fs::rename(&made, profile).map_err(broken)
}

/// Those of the crates that a ceremony spends its time in of which the profile has nothing under the names that they
/// have in `program`: because of another compiler, other dependencies or another choice of packages. Whether the build
/// used what fits, a program doesn't say.
pub(crate) fn unprofiled(root: &Path, program: &Path) -> Result<Vec<&'static str>, String> {
    let read = |path: &Path| {
        fs::read(path).map_err(|e| format!("profile: can't read {}: {e}", path.display()))
    };
    let (program, profile) = (read(program)?, read(&root.join(PROFILE))?);
    Ok(HOT.into_iter().filter(|name| !is_profiled(name, &program, &profile)).collect())
}

/// Whether the profile has functions of the crate under the hash that it has in the program, where debug information
/// names what it was compiled in pieces as: `src/lib.rs/@/tokio.8b841b7a536227be-cgu.3`.
fn is_profiled(name: &str, program: &[u8], profile: &[u8]) -> bool {
    const HASH: usize = 16;
    let start = format!("@/{name}.");
    let unit = memmem::find(program, start.as_bytes())
        .and_then(|at| program.get(at + 2..at + start.len() + HASH + "-cgu".len()));
    unit.is_some_and(|unit| unit.ends_with(b"-cgu") && memmem::find(profile, unit).is_some())
}

/// `llvm-profdata`: the compiler's own where rustup has it, else Debian's newest that writes what the compiler reads.
fn tool() -> Result<PathBuf, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let ask = |args: &[&str]| {
        let output = Command::new(&rustc).args(args).stdin(Stdio::null()).output();
        let output = output.map_err(|e| format!("profile: can't run rustc: {e}"))?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let version = ask(&["-vV"])?;
    let newest = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let newest = newest.and_then(|version| version.split('.').next()?.parse().ok());
    let newest: u32 = newest.ok_or("profile: rustc -vV doesn't say which LLVM it has")?;
    let own = PathBuf::from(ask(&["--print", "target-libdir"])?).with_file_name("bin");
    let versions = (OLDEST_LLVM..=newest).rev();
    let names = versions.map(|n| PathBuf::from(format!("llvm-profdata-{n}")));
    let runs = |name: &PathBuf| {
        let mut command = Command::new(name);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    std::iter::once(own.join("llvm-profdata")).chain(names).find(runs).ok_or_else(|| {
        format!(
            "profile: there is no llvm-profdata of version {OLDEST_LLVM} to {newest}: \
             `rustup component add llvm-tools`, or Debian's llvm-{OLDEST_LLVM}"
        )
    })
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(crate::cargo());
    command.current_dir(root).stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_profiled_under_the_hash_that_the_program_has() {
        let program = b"\0src/lib.rs/@/app.0123456789abcdef-cgu.0\0src/lib.rs/@/tokio.00ff-cgu.0\0";
        let profile = b"\0app.0123456789abcdef-cgu.1;name\0tokio.00ff-cgu.1;name";
        assert!(is_profiled("app", program, profile));
        assert!(!is_profiled("app", program, b"app.0123456789abcdee-cgu.1;name"));
        assert!(!is_profiled("server", program, profile), "not in the program");
        assert!(!is_profiled("tokio", program, profile), "no hash");
        assert!(!is_profiled("app", b"@/app.0123", profile), "cut off");
    }

    #[test]
    fn the_wrapper_gives_the_profile_to_what_is_optimised_and_to_nothing_else() {
        let root = crate::workspace_root().expect("tests run inside the workspace");
        let told = |arguments: &[&str]| {
            let mut command = Command::new(root.join("pgo/rustc"));
            let output = command.arg("echo").args(arguments).output().expect("bash runs");
            String::from_utf8(output.stdout).expect("paths here are text").trim().to_owned()
        };
        let optimised = told(&["-C", "opt-level=3", "-C", "lto=thin"]);
        let profile = root.join(PROFILE);
        assert!(profile.is_file());
        assert!(optimised.contains(&format!("-Cprofile-use={}", profile.display())), "{optimised}");
        let mut environment = Command::new(root.join("pgo/rustc"));
        let output = environment.arg("env").env("CARGO_BIN_EXE_a-b", "kept").output();
        let output = output.expect("bash runs").stdout;
        assert!(memmem::find(&output, b"CARGO_BIN_EXE_a-b=kept").is_some(), "lost on the way");
        for other in [
            &["-C", "debuginfo=2"][..],
            &["-C", "opt-level=3", "-Cprofile-generate=counts"],
            &["-vV"],
        ] {
            assert_eq!(told(other), other.join(" "));
        }
    }
}
