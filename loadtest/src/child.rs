//! A server of our own: started on free ports with data in a temporary folder, ended by its own pid.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::clock;
use crate::failure::{Cut, Failure};
use crate::floors::{self, Cores};
use crate::plan::Plan;

/// The program, built beside this one.
const PROGRAM: &str = "countersign";
/// What a first start may take: it makes keys and a database.
const START_WITHIN: Duration = Duration::from_secs(30);
/// What a command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);
/// The server drains for at most 25 s.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// How much of its log is shown where it went wrong.
const LOG_LINES: usize = 20;

/// Everybody is new here and many sign in at once, of whom some say no: to the default numbers that is an attack on
/// the whole organisation, and nothing would ring. What is held against single users and places stays.
const POLICY: &str = "surge_users = 100\nsurge_share = 0.5\nsurge_sigma = 10\n";

/// Where hosted pages lead back to. Nobody goes there: the browser that is played here stops at its form.
pub(crate) const RETURN_URL: &str = "https://rp.example/back";

/// How a server is started.
struct Setup {
    program: PathBuf,
    /// Emptied when this is dropped.
    dir: TempDir,
    scheme: &'static str,
    environment: Vec<(String, OsString)>,
    cores: Option<Cores>,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    setup: Setup,
    address: SocketAddr,
    /// `http://A:P` or `https://A:P`
    pub(crate) url: String,
    /// Whom it is vouched for by, as DER.
    pub(crate) roots: Vec<Vec<u8>>,
    pub(crate) pid: u32,
    /// Open for as long as the server may write to it.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts one and waits until it is ready; with `cores` apart from this program.
    pub(crate) async fn start(plan: &Plan, cores: Option<Cores>) -> Result<Self, Failure> {
        let program = program().await?;
        let dir =
            TempDir::with_prefix("countersign-loadtest-").map_err(failed("temporary folder"))?;
        std::fs::write(policy(dir.path()), POLICY).map_err(failed("temporary folder"))?;
        let (scheme, mut environment, mut roots) = ("http", Vec::new(), Vec::new());
        let mut setup = Setup { program, dir, scheme, environment: Vec::new(), cores };
        if plan.tls {
            setup.scheme = "https";
            (environment, roots) = self_signed(setup.dir.path())?;
        }
        if plan.quiet > 0 {
            // memory would be seen in steps of 2 MiB, which is some hundred devices
            let (name, value) = floors::SMALL_PAGES;
            environment.push((name.to_owned(), value.into()));
        }
        setup.environment = environment;
        Self::launch(setup, roots, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    async fn launch(
        setup: Setup,
        roots: Vec<Vec<u8>>,
        listen: SocketAddr,
    ) -> Result<Self, Failure> {
        let dir = setup.dir.path();
        let log = File::create(log_path(dir)).map_err(failed("temporary folder"))?;
        let mut serve = command(&setup.program, dir);
        serve
            .envs(setup.environment.iter().map(|(name, value)| (name, value)))
            .args(["serve", "--listen", &listen.to_string(), "--data"])
            .arg(data(dir))
            .stdout(Stdio::piped())
            .stderr(log);
        // a child is where whoever starts it was
        let spawned = floors::elsewhere(setup.cores, || serve.spawn());
        let mut child = spawned.map_err(failed(PROGRAM))?;
        let stdout = child.stdout.take().expect("it is piped");
        let mut stdout = BufReader::new(stdout).lines();
        let ready = timeout(START_WITHIN, read_address(setup.scheme, &mut stdout)).await;
        let (Ok(Some(address)), Some(pid)) = (&ready, child.id()) else {
            let why = match ready {
                Err(_) => "isn't ready after 30 s".to_owned(),
                Ok(_) => {
                    "ended before it was ready, or said something else than it should".to_owned()
                }
            };
            end(&mut child).await;
            let log = tail(dir);
            return Err(Failure::Server(format!("the server {why}\n{log}")));
        };
        let (address, url) = (*address, format!("{}://{address}", setup.scheme));
        Ok(Self { child, setup, address, url, roots, pid, _stdout: stdout })
    }

    /// Ends it, does `work` in between, and starts it again on the same data and address. Also says how long the
    /// start took until it was ready.
    pub(crate) async fn restart<T>(
        self,
        work: impl AsyncFnOnce(&Path, &Path) -> Result<T, Failure>,
    ) -> Result<(Self, T, Duration), Failure> {
        let Self { mut child, setup, address, roots, .. } = self;
        end(&mut child).await;
        let done = work(&setup.program, &data(setup.dir.path())).await?;
        let begin = clock::now();
        let server = Self::launch(setup, roots, address).await?;
        Ok((server, done, clock::now() - begin))
    }

    /// Registers an integration that may enrol devices, and gives its API key.
    pub(crate) async fn integration(&self) -> Result<String, Failure> {
        let scopes = "challenges,users:write";
        let output = command(&self.setup.program, self.setup.dir.path())
            .args(["--json", "admin", "--data"])
            .arg(data(self.setup.dir.path()))
            .args(["integration", "create", "--name", "loadtest", "--scope", scopes])
            .args(["--return-url", RETURN_URL])
            .stdin(Stdio::null())
            .output();
        let output = timeout(COMMAND_WITHIN, output)
            .await
            .map_err(|_| Failure::Server("`admin integration create` takes too long".to_owned()))?
            .map_err(failed(PROGRAM))?;
        let reply: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let key = reply.get("api_key").and_then(serde_json::Value::as_str);
        match key {
            Some(key) if output.status.success() => Ok(key.to_owned()),
            _ => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let why = format!("`admin integration create`: {}\n{said}", output.status);
                Err(Failure::Server(why))
            }
        }
    }

    /// What its data takes on disk.
    pub(crate) fn data_bytes(&self) -> u64 {
        let files = std::fs::read_dir(data(self.setup.dir.path()));
        let sizes = files.into_iter().flatten().flatten().filter_map(|file| file.metadata().ok());
        sizes.filter(|file| file.is_file()).map(|file| file.len()).sum()
    }

    /// Resolves if the server ends by itself.
    pub(crate) async fn ended(&mut self) -> Cut {
        Cut::ended(self.child.wait().await)
    }

    /// The end of its log, for whoever has to find out what went wrong.
    pub(crate) fn log(&self) -> String {
        tail(self.setup.dir.path())
    }

    /// Ends it, and says if it didn't end well.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        let status = end(&mut self.child).await;
        if status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let status = status.map_or_else(|| "killed".to_owned(), |status| status.to_string());
        Err(format!("the server didn't end well: {status}"))
    }
}

/// SIGTERM, and SIGKILL if that isn't heard. `None` if it had to be killed.
async fn end(child: &mut Child) -> Option<ExitStatus> {
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        // it may be gone already
        let _ = kill_process(pid, Signal::TERM);
    }
    if let Ok(status) = timeout(STOP_WITHIN, child.wait()).await {
        return status.ok();
    }
    let _ = child.kill().await;
    None
}

/// Reads `listening on http://A:P` and `admin on http://A:P`.
async fn read_address(
    scheme: &str,
    stdout: &mut Lines<BufReader<ChildStdout>>,
) -> Option<SocketAddr> {
    let line = stdout.next_line().await.ok()??;
    let address = line.strip_prefix("listening on ")?.strip_prefix(scheme)?.strip_prefix("://")?;
    let address = address.trim().parse().ok()?;
    let admin = stdout.next_line().await.ok()??;
    admin.starts_with("admin on http://").then_some(address)
}

fn command(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        // somebody's own settings would make this another server
        if name.to_string_lossy().starts_with("COUNTERSIGN") {
            command.env_remove(name);
        }
    }
    command
        .env("COUNTERSIGN__ADMIN__LISTEN", "127.0.0.1:0")
        .env("COUNTERSIGN__GUARD__POLICY", policy(dir))
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What a server is to be told, and whom it is vouched for by.
type Vouched = (Vec<(String, OsString)>, Vec<Vec<u8>>);

/// Makes a certificate for this machine.
fn self_signed(dir: &Path) -> Result<Vouched, Failure> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
        .map_err(|error| Failure::Server(format!("a certificate: {error}")))?;
    let mut environment = Vec::new();
    for (setting, name, pem) in [
        ("CERT", "cert.pem", made.cert.pem()),
        ("KEY", "key.pem", made.signing_key.serialize_pem()),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, pem).map_err(failed("temporary folder"))?;
        environment.push((format!("COUNTERSIGN__TLS__{setting}"), path.into()));
    }
    Ok((environment, vec![made.cert.der().to_vec()]))
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn policy(dir: &Path) -> PathBuf {
    dir.join("guard.toml")
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("server.log")
}

fn tail(dir: &Path) -> String {
    let log = std::fs::read(log_path(dir)).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    if last.is_empty() {
        return "the server's log is empty".to_owned();
    }
    format!("the server's log ends:\n  {}", last.join("\n  "))
}

/// The program beside this one, so that both are of the same build. Under `cargo run` it is built first, like
/// this one was: what is measured is what the sources say. Elsewhere it is built only if it is missing.
async fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(failed("this program"))?;
    let dir = own.parent().unwrap_or(Path::new("."));
    let path = dir.join(PROGRAM);
    // cargo names the package that it runs; under `cargo xtask` it is another one
    let cargo_runs_us =
        std::env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"));
    if cargo_runs_us || !path.is_file() {
        build(dir).await?;
    }
    Ok(path)
}

/// Builds the program into `dir`, the folder of a cargo profile.
async fn build(dir: &Path) -> Result<(), Failure> {
    let release = dir.ends_with("release").then_some("--release");
    let why_not = |what: &str| {
        Failure::Usage(format!(
            "{what}: build it with `cargo build {} --bin {PROGRAM}`, so that it is in {}, or name a running \
             one with --target",
            release.unwrap_or_default(),
            dir.display()
        ))
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let target = dir.parent().unwrap_or(dir);
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--bin", PROGRAM])
        .args(release)
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        // where the settings of the build are looked for
        .current_dir(workspace)
        .stdin(Stdio::null())
        // stdout is for the report
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| {
            why_not(&format!("{PROGRAM} isn't built, and cargo can't be run: {error}"))
        })?;
    if built.success() && dir.join(PROGRAM).is_file() {
        return Ok(());
    }
    Err(why_not(&format!("{PROGRAM} could not be built ({built})")))
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> Failure {
    let what = what.to_owned();
    move |error| Failure::Server(format!("{what}: {error}"))
}
