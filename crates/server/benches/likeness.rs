//! How alike in time real users and others are, to a caller on the same machine, where nothing blurs it:
//! `cargo bench -p server --bench likeness [-- --quick]`.
//!
//! Kinds of users take turns in random order, so that drift and load fall on all alike. The
//! Kolmogorov-Smirnov distance of two samples is the largest difference of their distribution functions: 0 for
//! the same, 1 for two that a single request tells apart. The row "enrolled, enrolled" is its floor.
//!
//! Each request of an enrolled user rings, which is what costs most: the guard holds nothing against one user, and
//! each organisation is so small that so many rings in vain are no attack on it.

#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on says where")]

use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use server::demo::child::ChildServer;
use server::demo::http::Http;

/// Organisations.
const TENANTS: usize = 34;
/// Users of each kind in one of them.
const USERS: usize = 12;
/// Attempts for each user: as many as codes are compared at once.
const ROUNDS: usize = 3;
/// The most that a policy lets ring in vain in an organisation.
const SURGE: usize = 100;
const _: () = assert!(2 * USERS * ROUNDS < SURGE, "all enrolled users must ring");
const KINDS: [&str; 4] = ["enrolled", "enrolled, again", "not enrolled", "not there"];
const STEPS: [&str; 4] = ["create", "look", "wrong code", "cancel"];

/// Samples in microseconds, by kind and step.
type Samples = [[Vec<f64>; STEPS.len()]; KINDS.len()];

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock; no rule is judged by it"
)]
fn now() -> Instant {
    Instant::now()
}

/// A guard that rings who isn't rung already, and compares each code.
fn policy() -> String {
    let weights = ["fast", "day", "week", "month", "nowhere_day", "nowhere_long"];
    let weights: String = weights.iter().map(|name| format!("{name}_weight = 0\n")).collect();
    let codes = format!("[codes.nowhere]\nday = {{ burst = {ROUNDS}, refill = {ROUNDS} }}\n");
    format!("{weights}surge_users = {SURGE}\n{codes}")
}

fn name(kind: usize, user: usize) -> String {
    format!("user-{kind}-{user}")
}

async fn ask(http: &Http, method: &str, path: &str, body: Value) -> (Duration, Value) {
    let start = now();
    let reply = http.send(method, path, body).await.unwrap();
    (now().saturating_duration_since(start), reply.body)
}

/// One sign-in that nobody answers.
async fn attempt(http: &Http, kind: usize, user: usize, session: &str) -> [Duration; STEPS.len()] {
    let context = json!({"browser_session": session});
    let body = json!({"user": format!("name:{}", name(kind, user)), "context": context});
    let (create, made) = ask(http, "POST", "/v1/challenges", body).await;
    let path = format!("/v1/challenges/{}", made["id"].as_str().unwrap());
    let (look, _) = ask(http, "GET", &path, Value::Null).await;
    let (code, _) = ask(http, "POST", &format!("{path}/code"), json!({"code": "000000"})).await;
    let (cancel, _) = ask(http, "DELETE", &path, Value::Null).await;
    [create, look, code, cancel]
}

/// Two kinds are enrolled, one is only there, one isn't.
async fn set_up(http: &Http) {
    for kind in 0..3 {
        for user in 0..USERS {
            let path = format!("/v1/users/name:{}", name(kind, user));
            http.send("PUT", &path, Value::Null).await.unwrap();
            if kind < 2 {
                let body = json!({"type": "totp"});
                http.send("POST", &format!("{path}/factors"), body).await.unwrap();
            }
        }
    }
}

async fn measure(tenants: &[Http]) -> Samples {
    let mut rng = StdRng::seed_from_u64(1);
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        for (http, user) in tenants.iter().flat_map(|http| (0..USERS).map(move |user| (http, user)))
        {
            let mut kinds: Vec<usize> = (0..KINDS.len()).collect();
            kinds.shuffle(&mut rng);
            for kind in kinds {
                let session = format!("{:032x}", rng.random::<u128>());
                let took = attempt(http, kind, user, &session).await;
                for (step, took) in took.into_iter().enumerate() {
                    samples[kind][step].push(took.as_secs_f64() * 1e6);
                }
            }
        }
    }
    samples.iter_mut().flatten().for_each(|sample| sample.sort_by(f64::total_cmp));
    samples
}

/// Whether they rang whom they could.
async fn check(http: &Http) {
    let made = "/v1/events?type=challenge_created&limit=200";
    let made = http.send("GET", made, Value::Null).await.unwrap().body;
    let modes = made["data"].as_array().unwrap().iter().map(|event| &event["mode"]);
    assert_eq!(modes.filter(|mode| *mode == "ring").count(), 2 * USERS * ROUNDS, "who rang");
}

/// The Kolmogorov-Smirnov distance of two sorted samples.
fn distance(one: &[f64], other: &[f64]) -> f64 {
    let below = |sample: &[f64], at: f64| {
        sample.partition_point(|value| *value <= at) as f64 / sample.len() as f64
    };
    let gap = |at: &f64| (below(one, *at) - below(other, *at)).abs();
    one.iter().chain(other).map(gap).fold(0.0, f64::max)
}

#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn report(samples: &Samples) {
    let count = samples[0][0].len();
    println!("{count} samples each, microseconds\n");
    println!("| step | kind | p25 | p50 | p75 | p99 |\n|---|---|---|---|---|---|");
    for (step, name) in STEPS.iter().enumerate() {
        for (kind, sample) in KINDS.iter().zip(samples.iter().map(|kind| &kind[step])) {
            let at = |share: usize| sample[(sample.len() - 1) * share / 100];
            let [p25, p50, p75, p99] = [25, 50, 75, 99].map(at);
            println!("| {name} | {kind} | {p25:.0} | {p50:.0} | {p75:.0} | {p99:.0} |");
        }
    }
    println!("\n| step | enrolled, enrolled | enrolled, not enrolled | enrolled, not there |");
    println!("|---|---|---|---|");
    for (step, name) in STEPS.iter().enumerate() {
        let to = |kind: usize| distance(&samples[0][step], &samples[kind][step]);
        println!("| {name} | {:.3} | {:.3} | {:.3} |", to(1), to(2), to(3));
    }
    // two-sided, equal samples: c(alpha) * sqrt(2 / n)
    let by_chance = 1.358 * (2.0 / count as f64).sqrt();
    println!("\nBy chance at most {by_chance:.3} in 19 of 20 runs.");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let count = if quick { 2 } else { TENANTS };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&data, private).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_countersign"));
    let file = dir.path().join("guard.toml");
    std::fs::write(&file, policy()).unwrap();
    let settings = [("RUST_LOG", "warn"), ("COUNTERSIGN__GUARD__POLICY", file.to_str().unwrap())];
    let server = ChildServer::start_program(program, &data, "127.0.0.1:0", &settings).await;
    let server = server.unwrap();
    let mut tenants = Vec::new();
    for tenant in 0..count {
        let tenant = format!("t{tenant}");
        server.admin(&["tenant", "create", "--name", &tenant]).await.unwrap();
        let command = ["integration", "create", "--name", "bench", "--verifies-first-factor"];
        let more = ["--tenant", &tenant, "--scope", "challenges,users:write,events:read"];
        let made = server.admin(&[&command[..], &more].concat()).await.unwrap();
        let http = Http::new(&server.url, made["api_key"].as_str().unwrap());
        set_up(&http).await;
        tenants.push(http);
    }
    report(&measure(&tenants).await);
    for http in &tenants {
        check(http).await;
    }
    server.kill().await.unwrap();
}
