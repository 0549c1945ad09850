//! The guard against a world of people, broken clients and attackers, on virtual time and in one closed loop:
//! victims answer only what rings or what they find on opening the app; attackers see only what the page shows.

mod attacks;
mod campaign;
mod config;
mod dice;
mod flow;
mod gate;
mod html;
mod jobs;
mod people;
mod plan_day;
mod report;
mod rules;
mod siege;
mod stats;
mod tally;
mod targets;
mod whitebox;
mod world;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use domain::guard::Policy;

use crate::failure::{Exit, Failure};
use config::{Config, Networks};
use jobs::{Findings, Order};
use report::{Report, View};

pub(crate) use config::ConfigError;

pub(crate) const ABOUT: &str = "\
Worlds that are built in: judge.toml (the default), tune.toml (to tune on), shifted.toml (another \
organisation), quick.toml. Runs: benign, outage, m8, m11, baselines, and the attacks a1 to a15, a10n, a10d, \
b1, b4, b5, b6, b7a, b7b, n1, n4, c1, r1, x1, bg. b2 (replays) has no meaning without a network: the \
ceremony tests cover it. Progress goes to stderr. Exit codes: 0 every target holds, 1 one is missed, 2 usage.";

/// What `guard` takes.
#[derive(Args)]
pub(crate) struct GuardArgs {
    /// The world: a file, or the name of one that is built in
    #[arg(long, value_name = "FILE", default_value = "judge.toml")]
    config: PathBuf,
    /// Small and short, for tests
    #[arg(long, conflicts_with = "config")]
    quick: bool,
    /// Instead of the world's own
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// People of the organisation, instead of the world's own number
    #[arg(long)]
    users: Option<u32>,
    /// Only these runs
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// What stands for a network, instead of the world's own; may be repeated
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    networks: Vec<Networks>,
    /// The guard's numbers, in TOML; what is left out keeps its default
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Write the report as JSON; `-` is stdout
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// List false alerts, and victims who could not sign in, on stderr
    #[arg(long)]
    list: bool,
    /// Write each line about this user to stderr: with one seed and one run
    #[arg(long, value_name = "NUMBER")]
    trace: Option<u32>,
    /// Runs at the same time; by default as many as the machine has cores
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the bench.
pub(crate) fn start(args: &GuardArgs) -> Result<Exit, Failure> {
    let (name, config) = world(args)?;
    known_runs(&args.only)?;
    let policy = args.policy.as_deref().map_or_else(|| Ok(Policy::default()), policy)?;
    let threads = args.threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    });
    let started = crate::clock::now();
    let (config, policy, only, trace) = (&config, &policy, args.only.as_slice(), args.trace);
    let run = |networks: &Networks| {
        let is_first = config.run.networks.first() == Some(networks);
        let order = Order { config, policy, only, threads, trace, networks: *networks, is_first };
        let findings = order.run();
        if args.list {
            list(&findings);
        }
        (View::new(*networks, &findings), findings)
    };
    let (views, findings): (Vec<_>, Vec<_>) = config.run.networks.iter().map(run).unzip();
    let seconds = (crate::clock::now() - started).as_secs_f64();
    let report = Report::new(&name, config, views, &findings[0], seconds);
    publish(args, &report)?;
    Ok(if report.missed == 0 { Exit::Ok } else { Exit::Wrong })
}

fn list(findings: &Findings) {
    for line in findings.benign.list.iter().chain(&findings.outage.list) {
        eprintln!("{line}");
    }
    for (user, times) in findings.benign.users_held_often() {
        eprintln!("held {times} times: user {user}");
    }
    let campaigns = findings.attacks.iter().flat_map(|(_, campaigns)| campaigns);
    for it in campaigns.filter(|it| it.own_way < it.own_total || it.own_blocked > 0) {
        let (id, day) = (it.spec.id, dice::day_of(it.starts));
        let (without, blocked) = (it.own_total - it.own_way, it.own_blocked);
        let (users, lost) = (&it.victims[..it.victims.len().min(1)], &it.lost);
        eprintln!(
            "{id} from day {day} on {users:?}: {without} without a way, {blocked} blocked: {lost:?}"
        );
    }
}

fn world(args: &GuardArgs) -> Result<(String, Config), Failure> {
    let quick = Path::new("quick.toml");
    let path = if args.quick { quick } else { &args.config };
    let name = path.display().to_string();
    let mut config = if path.exists() { Config::read(path)? } else { Config::built_in(&name)? };
    if !args.seeds.is_empty() {
        config.run.seeds.clone_from(&args.seeds);
    }
    config.run.users = args.users.unwrap_or(config.run.users);
    if !args.networks.is_empty() {
        config.run.networks.clone_from(&args.networks);
    }
    match config.problem() {
        Some(problem) => Err(Failure::Usage(problem)),
        None => Ok((name, config)),
    }
}

fn known_runs(only: &[String]) -> Result<(), Failure> {
    let known = |id: &str| {
        matches!(id, "benign" | "outage" | "m8" | "baselines")
            || id == attacks::RECOVERY.id
            || attacks::ATTACKS.iter().any(|spec| spec.id == id)
    };
    match only.iter().find(|id| !known(id)) {
        Some(id) => Err(Failure::Usage(format!("--only: there is no run {id:?}"))),
        None => Ok(()),
    }
}

fn policy(file: &Path) -> Result<Policy, Failure> {
    let wrong = |why: String| Failure::Usage(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let policy: Policy = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    policy.check().map_err(|error| wrong(error.to_string()))?;
    Ok(policy)
}

fn publish(args: &GuardArgs, report: &Report) -> Result<(), Failure> {
    let failed = |file: &Path| {
        let file = file.display().to_string();
        move |error| Failure::Write(file, error)
    };
    if let Some(file) = &args.html {
        std::fs::write(file, html::page(report)).map_err(failed(file))?;
    }
    let Some(file) = &args.json else {
        print!("{}", report.text());
        return Ok(());
    };
    let json = serde_json::to_string(report).expect("a report has nothing that JSON can't hold");
    if file == Path::new("-") {
        eprint!("{}", report.text());
        return writeln!(std::io::stdout().lock(), "{json}").map_err(failed(file));
    }
    print!("{}", report.text());
    std::fs::write(file, json + "\n").map_err(failed(file))
}

#[cfg(test)]
mod tests;
