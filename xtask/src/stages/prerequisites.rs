//! Programs that stages need beside cargo: found in PATH, or installed where that is ours to do
//! (root on Debian, as in a CI container), or named so that a person can install them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Program {
    name: &'static str,
    /// The packages that bring it, separated by spaces.
    debian: &'static str,
    /// Whether its package starts a service.
    serves: bool,
}

const PROGRAMS: &[Program] = &[
    Program { name: "redis-server", debian: "redis-server", serves: true },
    // a browser without a font draws nothing that a person could look at
    Program { name: "chromium", debian: "chromium fonts-dejavu-core", serves: false },
    // the module brings the server along
    Program { name: "apache2", debian: "libapache2-mod-auth-openidc", serves: true },
    Program { name: "curl", debian: "curl", serves: false },
    Program { name: "jq", debian: "jq", serves: false },
    Program { name: "openssl", debian: "openssl", serves: false },
    Program { name: "node", debian: "nodejs", serves: false },
    Program { name: "npm", debian: "npm", serves: false },
    Program { name: "python3", debian: "python3-venv", serves: false },
];

/// Debian asks this script before a package starts its service; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What to do about programs that are missing.
#[derive(Debug, PartialEq)]
enum Plan {
    Nothing,
    Install(Vec<&'static str>),
    Ask(String),
}

#[cfg(test)]
pub(super) fn is_known(program: &str) -> bool {
    PROGRAMS.iter().any(|known| known.name == program)
}

/// Makes sure that every program in `needs` is there.
pub(super) fn provide(needs: &[&str]) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<&Program> = PROGRAMS
        .iter()
        .filter(|program| needs.contains(&program.name) && !is_in(&path, program.name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let may_install = is_in(&path, "apt-get") && is_debian() && is_root();
    match plan(&missing, may_install) {
        Plan::Nothing => Ok(()),
        Plan::Ask(message) => Err(message),
        Plan::Install(packages) => {
            install(&packages)?;
            match missing.iter().find(|program| !is_in(&path, program.name)) {
                None => Ok(()),
                Some(program) => Err(format!("{} is installed but not in PATH", program.name)),
            }
        }
    }
}

fn plan(missing: &[&Program], may_install: bool) -> Plan {
    let packages: Vec<&'static str> =
        missing.iter().flat_map(|program| program.debian.split(' ')).collect();
    match (packages.is_empty(), may_install) {
        (true, _) => Plan::Nothing,
        (_, true) => Plan::Install(packages),
        (_, false) => {
            let names: Vec<&str> = missing.iter().map(|program| program.name).collect();
            Plan::Ask(format!(
                "not in PATH, but needed: {}\ninstall it first; on Debian or Ubuntu: sudo apt-get \
                 install --no-install-recommends {}",
                names.join(", "),
                packages.join(" "),
            ))
        }
    }
}

fn is_in(path: &OsStr, program: &str) -> bool {
    std::env::split_paths(path).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Debian or one of its children.
fn is_debian() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| {
        let family = line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE="));
        family.is_some_and(|names| names.trim_matches('"').split(' ').any(|name| name == "debian"))
    })
}

fn install(packages: &[&'static str]) -> Result<(), String> {
    println!("==> prerequisites: installing {}", packages.join(", "));
    let before = services();
    {
        let _quiet = NoServices::hold()?;
        // package lists are often absent in a container and stale elsewhere
        if apt(&["install", "-y", "--no-install-recommends"], packages).is_err() {
            apt(&["update"], &[])?;
            apt(&["install", "-y", "--no-install-recommends"], packages)?;
        }
    }
    match services().difference(&before).next() {
        None => Ok(()),
        Some((name, pid)) => Err(format!(
            "the installation left {name} running (process {pid}): stop it, tests start their own"
        )),
    }
}

fn apt(verb: &[&str], packages: &[&str]) -> Result<(), String> {
    let status = Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=120"])
        .args(verb)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // scripts that do not ask policy-rc.d do nothing in single-user mode
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("can't run apt-get: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("apt-get {}: {status}", verb.join(" "))) }
}

/// Keeps packages from starting their services for as long as it lives.
struct NoServices {
    ours: Option<PathBuf>,
}

impl NoServices {
    fn hold() -> Result<Self, String> {
        let policy = Path::new(POLICY);
        // container images bring their own, which says the same
        if policy.exists() {
            return Ok(NoServices { ours: None });
        }
        let broken = |e: std::io::Error| format!("can't write {POLICY}: {e}");
        std::fs::write(policy, "#!/bin/sh\nexit 101\n").map_err(broken)?;
        let held = NoServices { ours: Some(policy.to_owned()) };
        std::fs::set_permissions(policy, Permissions::from_mode(0o755)).map_err(broken)?;
        Ok(held)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = &self.ours
            && let Err(error) = std::fs::remove_file(policy)
        {
            eprintln!("remove {} by hand: {error}", policy.display());
        }
    }
}

/// Running processes of the services we install, by name and process id.
fn services() -> BTreeSet<(String, String)> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            let known = PROGRAMS
                .iter()
                .find(|program| program.serves && program.name == name.trim_end())?;
            Some((known.name.to_owned(), entry.file_name().to_string_lossy().into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{PROGRAMS, Plan, is_in, plan};

    #[test]
    fn what_is_missing_is_installed_or_asked_for() {
        let missing: Vec<_> = PROGRAMS.iter().take(1).collect();
        assert_eq!(plan(&[], true), Plan::Nothing);
        assert_eq!(plan(&missing, true), Plan::Install(vec!["redis-server"]));
        let Plan::Ask(message) = plan(&missing, false) else {
            panic!("nobody but root can install");
        };
        assert!(message.contains("sudo apt-get install") && message.contains("redis-server"));
    }

    #[test]
    fn a_program_is_a_file_in_one_of_the_folders() {
        let path = std::env::var_os("PATH").expect("tests have a PATH");
        assert!(is_in(&path, "sh"));
        assert!(!is_in(&path, "no-such-program-here"));
    }
}
