//! `countersign serve` and `countersign demo`.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Demo, Serve};
use crate::commands::show;
use crate::config::{self, Config, Sources};
use crate::demo::{self, Invitation, attack, script};
use crate::exit::Exit;
use crate::logging;
use crate::node::{Core, Node, StartError, Trial};

/// Where the demo's web authenticator is, unless told otherwise.
const AUTHENTICATOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8472);

/// Runs `countersign serve`.
pub(crate) async fn serve(command: Serve) -> Exit {
    let sources = Sources {
        file: command.place.config,
        env: std::env::vars_os().collect(),
        listen: command.listen,
        data: command.place.data,
    };
    let config = match config::load(&sources) {
        Ok(loaded) => loaded.config,
        Err(issues) => {
            eprintln!("{issues}");
            return Exit::Usage;
        }
    };
    if let Err(error) = logging::to_stderr(&config) {
        eprintln!("error: {error}");
        return Exit::Usage;
    }
    let first = !config.data.join("countersign.db").exists();
    let node = match Node::start(&config, None).await {
        Ok(node) => node,
        Err(error) => return refuse(&error),
    };
    // before anybody is told that it is ready, and so might tell it to stop
    let stop = stop_signal();
    announce(&node);
    if first {
        // `eprint!` would panic where nobody can read it
        let _ = io::stderr().write_all(next_commands(&config.data).as_bytes());
    }
    match node.run(stop).await {
        Ok(()) => Exit::Ok,
        // `eprintln!` would panic where nobody can read it
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: stopped without a last checkpoint: {error}");
            Exit::Unreachable
        }
    }
}

fn announce(node: &Node) {
    let (scheme, address) = node.address();
    show(&format!("listening on {scheme}://{address}"));
    show(&format!("admin on http://{}", node.operations_address()));
    if let Some((_, (scheme, address))) = node.authenticator() {
        show(&format!("authenticator on {scheme}://{address}"));
    }
}

fn next_commands(data: &Path) -> String {
    let flag = match data == Path::new("countersign-data") {
        true => String::new(),
        false => format!(" --data {}", data.display()),
    };
    format!(
        "\nNew data directory {}. Its keys/ opens every sealed TOTP secret and signing key: back it up \
         apart from the database; without it they are lost.\nNext:\n\
         \x20 countersign admin{flag} integration create --name my-app --verifies-first-factor\n\
         \x20 countersign admin{flag} user create --name alice\n\
         \x20 countersign admin{flag} ticket create --user alice\n\n",
        data.display()
    )
}

/// Says why there is no server, and how that is mended.
fn refuse(error: &StartError) -> Exit {
    eprintln!("error: {error}");
    error.exit()
}

/// Resolves when somebody asks this process to stop. From the call on, not only once it is awaited, the signal
/// isn't the process's end any more.
fn stop_signal() -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut term), Ok(mut int)) = signals else {
            // without signals only a kill stops it, which loses nothing
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
}

/// Runs `countersign demo`.
pub(crate) async fn demo(command: Demo, json: bool) -> Exit {
    if command.attack {
        return attacked(json);
    }
    // nobody else's, and removed at the end
    let private = std::fs::Permissions::from_mode(0o700);
    let mut builder = tempfile::Builder::new();
    builder.prefix("countersign-demo-").permissions(private);
    let data = match builder.tempdir() {
        Ok(data) => data,
        Err(error) => {
            eprintln!("error: no temporary directory: {error}");
            return Exit::Unreachable;
        }
    };
    if command.script {
        let log = command.server_log.unwrap_or_else(|| data.path().join(demo::child::LOG));
        return scripted(data.path(), &log, json).await;
    }
    let listen = command.listen.unwrap_or(Config::default().listen);
    let authenticator = command.authenticator.unwrap_or(match command.listen {
        None => AUTHENTICATOR,
        Some(listen) => SocketAddr::new(listen.ip(), 0),
    });
    for (flag, address) in [("--listen", listen), ("--authenticator", authenticator)] {
        if !address.ip().is_loopback() {
            eprintln!(
                "error: the demo stays on this machine: choose a loopback address for {flag}"
            );
            return Exit::Usage;
        }
    }
    if listen == authenticator && listen.port() != 0 {
        eprintln!(
            "error: the web authenticator needs an origin of its own: choose another --authenticator"
        );
        return Exit::Usage;
    }
    with_person(data.path(), listen, authenticator).await
}

/// The guard against two attacks, on virtual time.
fn attacked(json: bool) -> Exit {
    let acts = match attack::run() {
        Ok(acts) => acts,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Wrong;
        }
    };
    let ok = acts.iter().all(|act| act.ok);
    if json {
        show(&serde_json::json!({ "ok": ok, "acts": acts }).to_string());
    } else {
        let texts: Vec<String> = acts.iter().map(attack::Act::text).collect();
        show(&texts.join("\n\n"));
        show(
            "\nYour own traffic: countersign guard lab. Many attacks: cargo run --release --bin loadtest -- guard",
        );
    }
    if ok { Exit::Ok } else { Exit::Wrong }
}

async fn scripted(data: &Path, log: &Path, json: bool) -> Exit {
    let tell = |step: &script::StepResult| {
        let mark = if step.got == step.expected { "ok  " } else { "FAIL" };
        let line = format!("{mark} {:<22} {:>6} ms  {}", step.name, step.ms, step.got);
        if json {
            eprintln!("{line}");
        } else {
            show(&line);
        }
    };
    match script::run(data, log, tell).await {
        Ok(result) => {
            if json {
                show(&serde_json::to_string(&result).unwrap_or_default());
            }
            if result.ok { Exit::Ok } else { Exit::Wrong }
        }
        Err(error) => {
            eprintln!("error: {error}");
            Exit::Unreachable
        }
    }
}

async fn with_person(data: &Path, listen: SocketAddr, authenticator: SocketAddr) -> Exit {
    let config = Config {
        listen,
        data: data.join("data"),
        admin_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        authenticator_listen: Some(authenticator),
        ..Config::default()
    };
    let log = data.join("demo.log");
    if let Err(error) = logging::to_file(&config, &log) {
        eprintln!("error: {error}");
        return Exit::Unreachable;
    }
    if let Err(error) = prepare(&config).await {
        return refuse(&error);
    }
    let trial = Trial { user: demo::USER.to_owned() };
    let node = match Node::start(&config, Some(trial)).await {
        Ok(node) => node,
        Err(error) => return refuse(&error),
    };
    let (scheme, address) = node.address();
    let web = node.authenticator().map(|(url, _)| url.clone());
    let app = std::sync::Arc::clone(&node.app);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(node.run(async {
        tokio::select! {
            () = stop_signal() => {}
            _ = stopped => {}
        }
    }));
    let account = match demo::enrol(&app).await {
        Ok(account) => account,
        Err(error) => {
            eprintln!("error: the demo's authenticator: {error}");
            return Exit::Unreachable;
        }
    };
    let (invitation, link) = match Invitation::new(&app, web.as_ref()).await {
        Ok(made) => made,
        Err(error) => {
            eprintln!("error: the demo's enrolment link: {error}");
            return Exit::Unreachable;
        }
    };
    // only now: a page that is opened before the authenticator is enrolled would never ring
    show(&format!(
        "Countersign demo\n\n  1. Open {scheme}://{address}/ in a browser and sign in.\n  \
         2. Type the number that the page shows here, or into the web authenticator. To have one, open\n     \
         {link}\n     \
         beside it, and type the number that appears here then. The link works once, for five minutes.\n\n  \
         If nothing rings, p opens the app. e makes a new link, q quits. Data and log are in {} and go away at the end.",
        data.display()
    ));
    let terminal = tokio::spawn(demo::answer_in_terminal(account, invitation));
    let mut serving = serving;
    tokio::select! {
        _ = &mut serving => return Exit::Ok,
        ended = terminal => {
            if let Ok(Err(error)) = ended {
                eprintln!("error: {error}");
            }
        }
    }
    // an error means that it has stopped already
    let _ = stop.send(());
    drop(serving.await);
    Exit::Ok
}

/// The demo's integration and user, made before the server opens the same data.
async fn prepare(config: &Config) -> Result<(), StartError> {
    let origin = config.origin(config.listen)?;
    let places = std::sync::Arc::new(places::Atlas::default());
    let core = Core::open(&config.data, origin, app::Guards::default(), places).await?;
    demo::set_up(&core.app).await?;
    core.close().await.map_err(app::Error::from)?;
    Ok(())
}
