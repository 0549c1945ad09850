//! The web authenticator: its sources against what is built in, its tests, and people's ways in a real browser.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bench, logged};

/// Where its sources are, from the root.
const SOURCES: &str = "crates/authenticator-web/web";
/// What they were built into.
const DIST: &str = "crates/authenticator-web/dist";
/// The oldest Node that its tools run on.
const NODE: u32 = 20;

pub(super) fn run(bench: &Bench<'_>) -> Result<(), String> {
    node_is_new_enough(bench)?;
    install(bench)?;
    step(bench, "web-check", "npm", &["run", "--silent", "check"])?;
    let built = bench.target.join("web-dist");
    let out = built.display().to_string();
    step(bench, "web-build", "node", &["build.mjs", &out])?;
    same(&files(&bench.root.join(DIST))?, &files(&built)?)?;
    step(bench, "web-test", "npm", &["run", "--silent", "test"])?;
    let artefacts = bench.target.join("web-artefacts");
    let mut command = tool(bench, "npm", &["run", "--silent", "e2e"]);
    command
        .env("COUNTERSIGN", bench.target.join("release/countersign"))
        .env("CHROMIUM", program("chromium")?)
        .env("ARTEFACTS", &artefacts);
    finish(bench, "web-e2e", command)?;
    println!("    screenshots: {}", artefacts.display());
    Ok(())
}

/// A program in the folder of the sources.
fn tool(bench: &Bench<'_>, program: &str, args: &[&str]) -> Command {
    let mut command = bench.command(program);
    command.current_dir(bench.root.join(SOURCES)).args(args);
    command
}

fn step(bench: &Bench<'_>, name: &str, program: &str, args: &[&str]) -> Result<(), String> {
    finish(bench, name, tool(bench, program, args))
}

fn finish(bench: &Bench<'_>, name: &str, command: Command) -> Result<(), String> {
    let ended = logged::run(bench, name, command)?;
    ended.success().map(|_| ()).map_err(|status| format!("{name}: {status}"))
}

fn node_is_new_enough(bench: &Bench<'_>) -> Result<(), String> {
    let output = tool(bench, "node", &["--version"]).output();
    let output = output.map_err(|error| format!("web: can't run node: {error}"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match major(&version) {
        Some(major) if major >= NODE => Ok(()),
        _ => Err(format!("web: Node {NODE} or newer is needed, this is {version}")),
    }
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// The packages that the lock file names, unless they are there already.
fn install(bench: &Bench<'_>) -> Result<(), String> {
    let sources = bench.root.join(SOURCES);
    let lock = fs::read(sources.join("package-lock.json"))
        .map_err(|error| format!("web: can't read package-lock.json: {error}"))?;
    let stamp = sources.join("node_modules/.installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    step(bench, "web-install", "npm", &["ci", "--ignore-scripts"])?;
    fs::write(&stamp, lock)
        .map_err(|error| format!("web: can't write {}: {error}", stamp.display()))
}

/// Where a program is, as `PATH` says.
fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("web: {name} is not in PATH"))
}

/// Every file under `root`, by its path from there.
fn files(root: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let broken = |error| format!("web: can't read {}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(broken)? {
            let path = entry.map_err(broken)?.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(name) = path.strip_prefix(root) {
                found.insert(name.display().to_string(), fs::read(&path).map_err(broken)?);
            }
        }
    }
    Ok(found)
}

/// Whether what is built in is what the sources give.
fn same(
    committed: &BTreeMap<String, Vec<u8>>,
    built: &BTreeMap<String, Vec<u8>>,
) -> Result<(), String> {
    let names: std::collections::BTreeSet<&String> = committed.keys().chain(built.keys()).collect();
    let differ: Vec<&str> = names
        .into_iter()
        .filter(|name| committed.get(*name) != built.get(*name))
        .map(String::as_str)
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    Err(format!(
        "web: {DIST} is not what {SOURCES} gives: {}\nrun `npm ci && npm run build` there and commit it",
        differ.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{major, same};

    #[test]
    fn drift_is_named() {
        let tree = |files: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
            files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
                .collect()
        };
        let committed = tree(&[("a.js", "1"), ("b.js", "2")]);
        assert_eq!(same(&committed, &committed), Ok(()));
        let why = same(&committed, &tree(&[("a.js", "1"), ("c.js", "2")])).expect_err("drift");
        assert!(why.contains("b.js, c.js") && !why.contains("a.js"), "{why}");
        assert!(same(&committed, &tree(&[("a.js", "0"), ("b.js", "2")])).is_err());
    }

    #[test]
    fn a_version_of_node_is_read() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("18"), None);
        assert_eq!(major(""), None);
    }
}
