//! `doctor`: looks at what commonly goes wrong and names one next step.

use std::io;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use statement::Timestamp;

use crate::admin_client::{ClientError, Transport};
use crate::atlas;
use crate::config::{Config, Issues, Loaded};
use crate::data_dir::{holder, open_to_others, socket_path};
use crate::guard;
use crate::tls::TlsConfig;
use crate::webhooks;

/// Descriptors below which a server can't hold even a small company's devices.
const FEW_OPEN_FILES: u64 = 4_096;
/// No clock is right that shows a time before this code was written: 2026-01-01.
const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// Nor one that shows a time past which nobody has run it: 2100-01-01.
const LATEST: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, but better not so.
    Warn,
    /// It doesn't work, or isn't safe.
    Wrong,
}

impl Grade {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: a stable name.
    pub check: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What to do, unless all is well.
    pub next: Option<String>,
}

/// What all the looking found.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
    /// The one thing to do now.
    pub next: String,
}

/// As it should be.
pub(crate) fn ok(check: &'static str, found: impl Into<String>) -> Finding {
    Finding { check, grade: Grade::Ok, found: found.into(), next: None }
}

/// It works, but better not so; and what to do.
pub(crate) fn warn(
    check: &'static str,
    found: impl Into<String>,
    next: impl Into<String>,
) -> Finding {
    Finding { check, grade: Grade::Warn, found: found.into(), next: Some(next.into()) }
}

/// It doesn't work, or isn't safe; and what to do.
pub(crate) fn wrong(
    check: &'static str,
    found: impl Into<String>,
    next: impl Into<String>,
) -> Finding {
    Finding { grade: Grade::Wrong, ..warn(check, found, next) }
}

/// Looks at everything. `now` and `open_files` are what the clock and the process's limit say.
pub async fn examine(loaded: Result<Loaded, Issues>, now: Timestamp, open_files: u64) -> Report {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(issues) => {
            let findings = issues
                .0
                .iter()
                .map(|issue| wrong("config", issue.to_string(), "mend it and run doctor again"))
                .collect();
            return Report::of(findings, None);
        }
    };
    let data = &loaded.config.data;
    let mut findings = vec![ok("config", "the settings can be read")];
    findings.extend(outside(&loaded));
    findings.push(tls(&loaded));
    findings.push(policy(&loaded.config));
    findings.push(places(&loaded.config, now));
    findings.push(clock(now));
    findings.push(descriptors(open_files));
    findings.push(directory(data));
    findings.extend(webhooks::doctor::examine(&loaded.config.webhooks, data));
    let (server, runs) = server(data).await;
    findings.push(server);
    let flag = match *data == Config::default().data {
        true => String::new(),
        false => format!(" --data {}", data.display()),
    };
    let next = match runs {
        true => format!("countersign admin{flag} user list"),
        false => format!("countersign serve{flag}"),
    };
    Report::of(findings, Some(next))
}

impl Report {
    fn of(findings: Vec<Finding>, all_is_well: Option<String>) -> Self {
        let worst = findings
            .iter()
            .filter(|finding| finding.grade != Grade::Ok)
            // the first of the worst: later findings may follow from earlier ones
            .reduce(|worst, other| if other.grade > worst.grade { other } else { worst });
        let next = match worst {
            Some(finding) => finding.next.clone(),
            None => all_is_well,
        };
        Self { next: next.unwrap_or_default(), findings }
    }

    /// Whether nothing is wrong; warnings are no wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(|finding| finding.grade != Grade::Wrong)
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = self
            .findings
            .iter()
            .map(|f| format!("{:5} {:11} {}", f.grade.name(), f.check, f.found))
            .collect();
        lines.push(format!("\nnext: {}", self.next));
        lines.join("\n")
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let checks: Vec<Value> = self
            .findings
            .iter()
            .map(|f| json!({ "check": f.check, "grade": f.grade.name(), "found": f.found, "next": f.next }))
            .collect();
        json!({ "ok": self.is_ok(), "checks": checks, "next": self.next })
    }
}

fn outside(loaded: &Loaded) -> Vec<Finding> {
    let config = &loaded.config;
    let mut findings = Vec::new();
    let seen = match &config.public_url {
        Some(url) => format!("set to be reached as {}", url.as_str()),
        None => format!("set to listen on {}, for this machine only", config.listen),
    };
    let in_the_clear = !config.listen.ip().is_loopback()
        && config.tls_files().is_none()
        && config.trusted_proxies.is_empty();
    findings.push(if in_the_clear {
        warn(
            "outside",
            format!("{seen}, but speaks plain http on {}", config.listen),
            "set tls.cert and tls.key, or name the proxy that speaks TLS in trusted_proxies",
        )
    } else {
        ok("outside", seen)
    });
    if !config.admin_listen.ip().is_loopback() {
        findings.push(warn(
            "admin",
            format!("health and metrics are open on {}", config.admin_listen),
            "set admin.listen to loopback, or keep others from that port",
        ));
    }
    findings
}

fn tls(loaded: &Loaded) -> Finding {
    let Some((cert, key)) = loaded.config.tls_files() else {
        return ok("tls", "off");
    };
    if let Err(error) = TlsConfig::from_files(cert, key) {
        return wrong("tls", error.to_string(), "mend the file that tls.cert or tls.key names");
    }
    match open_to_others(key) {
        Ok(Some(mode)) => warn(
            "tls",
            format!("others can read the private key (mode {mode:03o})"),
            format!("chmod 600 {}", key.display()),
        ),
        _ => ok("tls", format!("certificate {}", cert.display())),
    }
}

fn clock(now: Timestamp) -> Finding {
    if (EARLIEST..LATEST).contains(&now) {
        ok("clock", "plausible")
    } else {
        wrong(
            "clock",
            "the clock can't be right: challenges and codes live by it",
            "set the clock: timedatectl set-ntp true",
        )
    }
}

fn policy(config: &Config) -> Finding {
    let guards = match guard::load(config) {
        Ok(guards) => guards,
        Err(error) => return wrong("guard", error.to_string(), "mend the guard's policy"),
    };
    if guards.live.has_familiar() {
        let next = "set profile = \"standard\" in the guard's policy, unless you accept that";
        return warn("guard", guard::FAMILIAR, next);
    }
    let beside = if guards.shadow.is_some() { ", and a shadow beside it" } else { "" };
    match &config.guard_policy {
        Some(file) => ok("guard", format!("policy {}{beside}", file.display())),
        None => ok("guard", format!("the default policy{beside}")),
    }
}

fn places(config: &Config, now: Timestamp) -> Finding {
    let atlas = match atlas::open(config) {
        Ok(atlas) => atlas,
        Err(error) => {
            let next = format!("mend the file that {} names, or unset it", error.wanted.setting());
            return wrong("places", error.to_string(), next);
        }
    };
    let found = atlas::describe(&atlas, now);
    match atlas::outdated(&atlas, now) {
        Some(setting) => {
            let next = format!("renew the file that {setting} names, and restart the server");
            warn("places", found, next)
        }
        None => ok("places", found),
    }
}

fn descriptors(open_files: u64) -> Finding {
    let found = format!("{open_files} open files at most, one for each device");
    if open_files < FEW_OPEN_FILES {
        let next = "raise the limit of open files: ulimit -n, or LimitNOFILE= in the unit";
        warn("open files", found, next)
    } else {
        ok("open files", found)
    }
}

fn directory(data: &Path) -> Finding {
    let name = data.display();
    if !data.exists() {
        return ok("data", format!("{name} is not there yet: the first start makes it"));
    }
    match check_directory(data) {
        Ok(None) => ok("data", format!("{name} is its owner's alone")),
        Ok(Some(finding)) => finding,
        Err(error) => wrong(
            "data",
            format!("{name}: {error}"),
            "run doctor as the user that the server runs as",
        ),
    }
}

fn check_directory(data: &Path) -> io::Result<Option<Finding>> {
    if let Some(mode) = open_to_others(data)? {
        let found = format!("{} is open to others (mode {mode:03o})", data.display());
        let next = format!("chmod 700 {}", data.display());
        return Ok(Some(wrong("data", found, next)));
    }
    let keys = data.join("keys");
    if keys.exists() {
        for entry in std::fs::read_dir(&keys)? {
            let path = entry?.path();
            if let Some(mode) = open_to_others(&path)? {
                let found = format!("others can read {} (mode {mode:03o})", path.display());
                let next = format!("chmod 600 {}", path.display());
                return Ok(Some(wrong("data", found, next)));
            }
        }
    } else if data.join("countersign.db").exists() {
        return Ok(Some(wrong(
            "data",
            "there is a database but no keys: TOTP secrets and signing keys can't be read",
            format!("restore {} from a backup", keys.display()),
        )));
    }
    Ok(None)
}

/// Whether a server runs, by its lock and its socket.
async fn server(data: &Path) -> (Finding, bool) {
    if !data.exists() {
        return (ok("server", "none runs yet"), false);
    }
    // any reply will do; ours says where it is reached
    let asked = Transport::socket(data).request(Method::GET, "/status", None).await;
    let socket = socket_path(data);
    match (asked, holder(data)) {
        (Ok(reply), _) => {
            let reached = reply.body["public_url"].as_str().unwrap_or("?");
            let found = format!("answers on {}, reached as {reached}", socket.display());
            (ok("server", found), true)
        }
        (Err(error), Some(pid)) => {
            let found = format!("process {pid} holds the data directory, but: {error}");
            let next = format!("look at the log of process {pid}; if it hangs, stop it");
            (wrong("server", found, next), true)
        }
        (Err(ClientError::NotRunning(_)), _) => (ok("server", "none runs"), false),
        (Err(error), _) => {
            let next = "run doctor as the user that the server runs as";
            (warn("server", error.to_string(), next), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::sync::watch;

    use super::*;
    use crate::admin_socket::AdminSocket;
    use crate::config::{Sources, load};
    use crate::data_dir::{DataDir, close_to_others};
    use crate::tls::tests::self_signed;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// Looks at a server with these environment variables, and its data in `data`.
    async fn look(data: &Path, env: &[(&str, &str)]) -> Report {
        let sources = Sources {
            data: Some(data.to_owned()),
            env: env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
            ..Sources::default()
        };
        examine(load(&sources), NOW, 20_000).await
    }

    fn private_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        close_to_others(dir.path(), 0o700).unwrap();
        dir
    }

    fn grade(report: &Report, check: &str) -> Grade {
        let finding = report.findings.iter().find(|f| f.check == check);
        finding.unwrap_or_else(|| panic!("{check}")).grade
    }

    #[tokio::test]
    async fn on_a_fresh_machine_the_next_step_is_to_start() {
        let dir = private_dir();
        let data = dir.path().join("data");
        let report = look(&data, &[]).await;
        assert!(report.is_ok(), "{}", report.text());
        assert_eq!(report.next, format!("countersign serve --data {}", data.display()));
        assert!(!data.exists(), "looking changes nothing");
    }

    #[tokio::test]
    async fn wrong_settings_come_first() {
        let dir = private_dir();
        let report = look(dir.path(), &[("COUNTERSIGN__LISEN", "x")]).await;
        assert!(!report.is_ok());
        assert!(report.text().contains("did you mean `listen`"));
        assert!(report.text().ends_with("next: mend it and run doctor again"));
    }

    #[tokio::test]
    async fn a_directory_open_to_others_is_wrong() {
        let dir = private_dir();
        close_to_others(dir.path(), 0o755).unwrap();
        let report = look(dir.path(), &[]).await;
        assert_eq!(grade(&report, "data"), Grade::Wrong);
        assert_eq!(report.next, format!("chmod 700 {}", dir.path().display()));
        assert_eq!(report.json()["ok"], false);
    }

    #[tokio::test]
    async fn a_database_without_keys_is_wrong() {
        let dir = private_dir();
        std::fs::write(dir.path().join("countersign.db"), "").unwrap();
        let report = look(dir.path(), &[]).await;
        assert_eq!(grade(&report, "data"), Grade::Wrong);
    }

    #[tokio::test]
    async fn a_running_server_is_found_and_a_silent_one_too() {
        let dir = private_dir();
        let held = DataDir::take(dir.path()).unwrap();
        let report = look(dir.path(), &[]).await;
        assert_eq!(grade(&report, "server"), Grade::Wrong);

        let socket = AdminSocket::bind(dir.path()).unwrap();
        let (_stop, stopped) = watch::channel(false);
        let running = tokio::spawn(socket.run(Router::new(), stopped));
        let report = look(dir.path(), &[]).await;
        assert!(report.is_ok(), "{}", report.text());
        let next = format!("countersign admin --data {} user list", dir.path().display());
        assert_eq!(report.next, next);
        running.abort();
        drop(held);
    }

    #[tokio::test]
    async fn plain_http_to_the_world_is_warned_of() {
        let dir = private_dir();
        let open = [
            ("COUNTERSIGN__LISTEN", "0.0.0.0:8470"),
            ("COUNTERSIGN__PUBLIC_URL", "https://mfa.example.com"),
            ("COUNTERSIGN__ADMIN__LISTEN", "0.0.0.0:8471"),
        ];
        let report = look(dir.path(), &open).await;
        assert_eq!(grade(&report, "outside"), Grade::Warn);
        assert_eq!(grade(&report, "admin"), Grade::Warn);
        assert!(report.is_ok() && report.next.contains("tls.cert"));
    }

    #[tokio::test]
    async fn a_key_that_others_read_is_warned_of_and_a_wrong_one_is_wrong() {
        let dir = private_dir();
        let (cert, key, _) = self_signed(dir.path());
        close_to_others(&key, 0o644).unwrap();
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let env = [("COUNTERSIGN__TLS__CERT", cert), ("COUNTERSIGN__TLS__KEY", key)];
        assert_eq!(grade(&look(dir.path(), &env).await, "tls"), Grade::Warn);
        let env = [("COUNTERSIGN__TLS__CERT", key), ("COUNTERSIGN__TLS__KEY", key)];
        assert_eq!(grade(&look(dir.path(), &env).await, "tls"), Grade::Wrong);
    }

    #[tokio::test]
    async fn a_clock_that_cannot_be_right_and_few_descriptors_are_told() {
        let dir = private_dir();
        let sources = Sources { data: Some(dir.path().to_owned()), ..Sources::default() };
        let report = examine(load(&sources), Timestamp::ZERO, 1_024).await;
        assert_eq!(grade(&report, "clock"), Grade::Wrong);
        assert_eq!(grade(&report, "open files"), Grade::Warn);
        assert!(report.next.contains("clock"), "the worst comes first");
    }
}
