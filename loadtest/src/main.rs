//! Drives a running Countersign with real authenticators and measures it.
//!
//! Open model, but for plans with `in_flight`: ceremonies start when the plan's schedule says, whatever the server does,
//! and latency counts from that moment. README.md beside this crate says what the figures mean.

mod bombing;
mod browser;
mod ceremony;
mod child;
mod clock;
mod closed;
mod failure;
mod fleet;
mod floors;
mod growth;
mod guard;
mod html;
mod knee;
mod latency;
mod outputs;
mod overload;
mod plan;
mod quiet;
mod ratios;
mod reach;
mod receipt;
mod record;
mod report;
mod rest;
mod run;
mod schedule;
mod series;
mod storm;
mod target;
mod timer;
mod usage;

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use child::Server;
use failure::{Cut, Exit, Failure};
use floors::{Cores, FloorsArgs, ServerArgs};
use growth::GrowthArgs;
use guard::GuardArgs;
use mimalloc::MiMalloc;
use outputs::Outputs;
use plan::Plan;
use report::Report;
use rest::Api;

/// The server's: a floor with a slower allocator would be none.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const ABOUT_RUN: &str = "\
Without --target a server is built and started beside this program, on free ports, with temporary data.
Exit codes: 0 all is well, 1 something was lost, doubled, wrong or late, or the run was cut short, for instance
because the server went away, 2 usage, 3 unreachable from the start, 4 refused.
limit_ceremonies_per_s and ratio are null without --floors, bytes_per_idle_device
without 1,000 `quiet` devices in the plan, and percentiles of too few ceremonies.";

/// Drive a running Countersign with real authenticators and measure it
#[derive(Parser)]
#[command(name = "loadtest", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a plan
    #[command(after_help = ABOUT_RUN)]
    Run(RunArgs),
    /// Measure what no server of this kind can beat on this machine
    #[command(after_help = floors::ABOUT)]
    Floors(FloorsArgs),
    /// Flood simulated users and watch the guard
    #[command(after_help = guard::ABOUT)]
    Guard(GuardArgs),
    /// Measure a server that knows more and more users
    #[command(after_help = growth::ABOUT)]
    Growth(GrowthArgs),
    /// One of the servers that `floors` measures
    #[command(hide = true)]
    FloorServer(ServerArgs),
}

#[derive(Args)]
struct RunArgs {
    /// The plan, such as loadtest/plans/smoke.toml
    plan: PathBuf,
    /// A running server, http://A:P
    #[arg(long, value_name = "URL", requires = "api_key_file")]
    target: Option<String>,
    /// File with an API key of the target that has the scopes challenges and users:write
    #[arg(long, value_name = "FILE", requires = "target")]
    api_key_file: Option<PathBuf>,
    /// The target isn't on this machine, and whoever runs it agrees
    #[arg(long, requires = "target")]
    i_own_this_target: bool,
    /// Write the report as JSON; `-` is stdout. The file is made, or emptied, before the run
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure the limit of this machine before and after, and hold the run against it
    #[arg(long)]
    floors: bool,
    /// Draw the report, as one file, made before the run
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn main() -> Exit {
    let done = match Cli::parse().command {
        Command::Run(args) => start(&args),
        Command::Floors(args) => floors::start(&args),
        Command::Guard(args) => guard::start(&args),
        Command::Growth(args) => growth::start(&args),
        Command::FloorServer(args) => floors::serve(&args),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        failure.exit()
    })
}

fn start(args: &RunArgs) -> Result<Exit, Failure> {
    let plan = Plan::read(&args.plan)?;
    if (plan.pinned || plan.tls) && args.target.is_some() {
        let why = "`pinned` and `tls` are for a server that is started here: how the target runs is its own business";
        return Err(Failure::Usage(why.to_owned()));
    }
    let outputs = Outputs::open(args.json.as_deref(), args.html.as_deref())?;
    raise_open_files();
    let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    quiet::fits(&plan, open_files)?;
    let before = args.floors.then(|| floors::beside(plan.algorithm)).transpose()?;
    let echoes = plan.overload.is_some().then(floors::echoes).transpose()?;
    let mut report = floors::apart(plan.pinned, |cores| {
        floors::runtime(cores)?.block_on(measure(args, &plan, cores))
    })?;
    if let (Some(mut echoes), false) = (echoes, report.was_cut()) {
        echoes.extend(floors::echoes()?);
        report.weigh_overload(floors::median(&echoes));
    }
    match before {
        None => {}
        Some(_) if report.was_cut() => report.leave_limit("the run was cut short"),
        Some(before) => match floors::beside_again(before, plan.algorithm) {
            Ok(limit) => report.hold_against(limit),
            // the run itself is worth its report
            Err(failure) => report.miss_limit(&failure),
        },
    }
    if let (Some(idle), true, false) = (report.idle(), args.floors, report.was_cut()) {
        report.add_idle_floor(idle.floors());
    }
    outputs.publish(&report, || html::page(&plan, &report))?;
    Ok(report.exit())
}

/// Against the target, or against a server of our own.
async fn measure(args: &RunArgs, plan: &Plan, cores: Option<Cores>) -> Result<Report, Failure> {
    let mut stop = pin!(interruption()?);
    let target = match (&args.target, &args.api_key_file) {
        (Some(url), Some(file)) => Some(target::open(url, file, args.i_own_this_target)?),
        _ => None,
    };
    eprintln!("{}", report::describe(plan));
    if let Some(api) = target {
        let cut = pin!(async {
            tokio::select! {
                why = api.gone() => why,
                why = stop => why,
            }
        });
        return drive(&api, plan, (None, cores), cut).await;
    }
    let mut server = tokio::select! {
        server = Server::start(plan, cores) => server?,
        why = stop.as_mut() => return Err(Failure::Cut(why)),
    };
    let outcome = drive_own(&mut server, (plan, cores), stop).await;
    let interrupted = match &outcome {
        Ok(report) => report.was_interrupted(),
        Err(failure) => matches!(failure, Failure::Cut(Cut::Interrupted)),
    };
    let log = server.log();
    let ended = server.stop().await;
    let found = outcome.map(|mut report| {
        ended.err().into_iter().for_each(|why| report.end_badly(why));
        report
    });
    if !interrupted && !found.as_ref().is_ok_and(|report| report.exit() == Exit::Ok) {
        eprintln!("{log}");
    }
    found
}

async fn drive_own(
    server: &mut Server,
    (plan, cores): (&Plan, Option<Cores>),
    stop: Pin<&mut impl Future<Output = Cut>>,
) -> Result<Report, Failure> {
    let (pid, url) = (server.pid, server.url.clone());
    eprintln!("started a server on {url}, pid {pid}");
    let key = server.integration().await?;
    let api = Api::new(&url, &key, &server.roots).expect("our server's keys are plain text");
    let cut = pin!(async {
        tokio::select! {
            why = server.ended() => why,
            why = stop => why,
        }
    });
    drive(&api, plan, (Some(pid), cores), cut).await
}

/// Makes users, runs the plan, checks what came of it, and lets the users go. `server` is its pid if it is ours.
async fn drive(
    api: &Api,
    plan: &Plan,
    (server, cores): (Option<u32>, Option<Cores>),
    mut cut: Pin<&mut impl Future<Output = Cut>>,
) -> Result<Report, Failure> {
    let enrolled = async {
        let users = fleet::enrol(api, plan, 0..plan.devices).await?;
        let (quiet, each) = quiet::connect(api, plan, server).await?;
        let first = plan.devices + plan.quiet;
        let targets = plan.attack.map_or(0, |attack| attack.targets);
        let targets = fleet::enrol(api, plan, first..first + targets).await?;
        Ok::<_, Failure>((users, quiet, targets, each))
    };
    let (users, quiet, targets, each) = tokio::select! {
        biased;
        why = cut.as_mut() => return Err(Failure::Cut(why)),
        enrolled = enrolled => enrolled?,
    };
    eprintln!("{} devices are connected", users.len() + quiet.len() + targets.len());
    let begin = clock::now();
    let storm = plan.storm.map(|storm| begin + Duration::from_secs(storm.at_s.into()));
    let (quiet, storm) = match storm {
        Some(at) => (Vec::new(), Some(tokio::spawn(storm::run(quiet, at)))),
        None => (quiet, None),
    };
    let mut creates = Vec::new();
    let (mut report, mut users) = if let Some(knee) = plan.knee {
        knee::find(api, users, plan, knee, server, cut).await
    } else if let Some(overload) = &plan.overload {
        overload::find(api, users, plan, overload, server, cut).await
    } else if let (Some(wanted), Some(cores)) = (plan.ratios, cores) {
        ratios::find(api, users, plan, wanted, (server, cores), cut).await
    } else if let Some(attack) = plan.attack {
        bombing::find(api, (users, targets), plan, attack, server, cut).await
    } else if let Some(in_flight) = plan.in_flight {
        closed::find(api, users, plan, in_flight, server, cut).await
    } else {
        let (mut load, users) = run::run(api, users, plan, server, cut).await;
        if load.cut.is_none() {
            load.records = run::audit(api, load.records).await;
        }
        if storm.is_some() {
            creates = storm::creates(&load.records);
        }
        (Report::new(plan, load), users)
    };
    report.add_idle_device(plan.quiet, each);
    users.extend(quiet);
    if let Some(storm) = storm {
        if report.was_cut() {
            storm.abort();
        }
        if let Ok((quiet, back)) = storm.await {
            users.extend(quiet);
            report.add_storm(back.map(|back| back.beside(&creates)));
        }
    }
    let gone = report.is_without_server();
    let kept = fleet::dismiss(api, users, server.is_none() && !gone).await;
    if gone && server.is_none() {
        eprintln!("no device was revoked: they are called \"loadtest\"");
    }
    if kept > 0 {
        eprintln!("{kept} devices could not be revoked: they are called \"loadtest\"");
    }
    Ok(report)
}

/// Resolves when somebody wants us to stop; from now on that no longer ends the process by itself.
fn interruption() -> Result<impl Future<Output = Cut>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::Server(format!("signals: {error}")));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Cut::Interrupted
    })
}

/// In words for people, and as JSON where it was asked for.
fn publish(json: Option<&Path>, report: &(impl fmt::Display + Serialize)) -> Result<(), Failure> {
    match Outputs::open(json, None) {
        Ok(outputs) => outputs.publish(report, String::new),
        Err(failure) => {
            eprint!("{report}");
            Err(failure)
        }
    }
}

/// Shells start programs with 1,024 open files; each device takes up to three.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    let wanted = Rlimit { current: most, maximum: most };
    // if it may not be raised, connections say so where they fail
    let _ = setrlimit(Resource::Nofile, wanted);
}
