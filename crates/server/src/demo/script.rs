//! `demo --script`: every ceremony, with nobody at the keyboard.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use serde::Serialize;
use serde_json::Value;

use super::child::{ChildError, ChildServer};
use super::http::Http;
use super::steps::{self, Seen, Stage};
use crate::clock;

/// One ceremony and what came of it.
#[derive(Debug, Serialize)]
pub struct StepResult {
    /// Its name.
    pub name: &'static str,
    /// What should be seen.
    pub expected: &'static str,
    /// What was.
    pub got: String,
    /// How long it took.
    pub ms: u64,
}

/// All ceremonies.
#[derive(Debug, Serialize)]
pub struct ScriptResult {
    /// Whether all went as expected.
    pub ok: bool,
    /// One by one.
    pub steps: Vec<StepResult>,
}

type Step = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = Seen> + Send + 'a>>;

/// Names fixed for outside use, and what each must show.
const STEPS: [(&str, &str, Step); 16] = [
    ("approve", "approved, receipt of 3 parts", |s| Box::pin(steps::approve(s))),
    ("mismatch", "mismatch, 409 not_approved", |s| Box::pin(steps::mismatch(s))),
    ("deny", "denied", |s| Box::pin(steps::deny(s))),
    ("report", "reported", |s| Box::pin(steps::report(s))),
    ("expire", "expired", |s| Box::pin(steps::expire(s))),
    ("totp", "approved by totp, 200", |s| Box::pin(steps::totp(s))),
    ("totp_replay", "approved, 422 code_wrong", |s| Box::pin(steps::totp_replay(s))),
    ("recovery_code", "10 codes, approved by recovery_code, then 422 code_wrong", |s| {
        Box::pin(steps::recovery_code(s))
    }),
    ("answer_replay", "approved, approved, refused, pending", |s| {
        Box::pin(steps::answer_replay(s))
    }),
    ("answer_forged", "refused, pending", |s| Box::pin(steps::answer_forged(s))),
    ("redeem_twice", "200, 409 already_redeemed", |s| Box::pin(steps::redeem_twice(s))),
    ("redeem_wrong_session", "403 wrong_session, 200", |s| {
        Box::pin(steps::redeem_wrong_session(s))
    }),
    ("cross_tenant", "404 not_found, 404 not_found, 404 not_found, pending", |s| {
        Box::pin(steps::cross_tenant(s))
    }),
    ("cross_integration", "404 not_found, 404 not_found, 404 not_found, pending", |s| {
        Box::pin(steps::cross_integration(s))
    }),
    ("supersede", "superseded, superseded, approved", |s| Box::pin(steps::supersede(s))),
    ("reconnect", "approved", |s| Box::pin(steps::reconnect(s))),
];
const RESTART: (&str, &str) = ("restart", "pending, 409 already_redeemed, approved, 200");

/// Runs the script on a fresh server in a process of its own, which logs to `log`; `tell` hears of each step as it
/// ends.
///
/// # Errors
/// [`ChildError`] if the server can't be set up; a step that fails is a result.
pub async fn run(
    data: &Path,
    log: &Path,
    tell: impl Fn(&StepResult),
) -> Result<ScriptResult, ChildError> {
    let server = ChildServer::start(data, "127.0.0.1:0", log).await?;
    let stage = set_up(&server).await?;
    let mut results = Vec::with_capacity(STEPS.len() + 1);
    // an expiry takes half a minute: it runs beside the others
    let (expiring, others): (Vec<_>, Vec<_>) =
        STEPS.iter().partition(|(name, ..)| *name == "expire");
    let in_order = async {
        let mut results = Vec::new();
        for (name, expected, step) in others {
            let result = timed(name, expected, step(&stage)).await;
            tell(&result);
            results.push(result);
        }
        results
    };
    let beside = async {
        let mut results = Vec::new();
        for (name, expected, step) in expiring {
            let result = timed(name, expected, step(&stage)).await;
            tell(&result);
            results.push(result);
        }
        results
    };
    let (in_order, beside) = tokio::join!(in_order, beside);
    results.extend(in_order);
    results.extend(beside);
    results.sort_by_key(|result| STEPS.iter().position(|(name, ..)| *name == result.name));
    let (name, expected) = RESTART;
    let restarted = timed(name, expected, restart(&stage, server, (data, log))).await;
    tell(&restarted);
    results.push(restarted);
    let ok = results.iter().all(|result| result.got == result.expected);
    Ok(ScriptResult { ok, steps: results })
}

async fn timed(
    name: &'static str,
    expected: &'static str,
    step: impl Future<Output = Seen>,
) -> StepResult {
    let start = clock::now();
    let got = step.await.unwrap_or_else(|problem| format!("failed: {problem}"));
    let ms = u64::try_from(clock::now().since(start).as_millis()).unwrap_or(u64::MAX);
    StepResult { name, expected, got, ms }
}

async fn restart(stage: &Stage, server: ChildServer, (data, log): (&Path, &Path)) -> Seen {
    let before = steps::before_restart(stage).await?;
    let listen = server.url.trim_start_matches("http://").to_owned();
    server.kill().await.map_err(|error| error.to_string())?;
    let server = ChildServer::start(data, &listen, log).await;
    let server = server.map_err(|error| error.to_string())?;
    let seen = steps::after_restart(stage, before).await;
    drop(server);
    seen
}

async fn set_up(server: &ChildServer) -> Result<Stage, ChildError> {
    let integration = |args: &[&str]| {
        let args: Vec<String> =
            ["integration", "create"].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        async move {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let made: Value = server.admin(&args).await?;
            let key = made["api_key"].as_str().unwrap_or_default();
            Ok::<_, ChildError>(Http::new(&server.url, key))
        }
    };
    let app = ["--name", "demo", "--verifies-first-factor", "--scope", "challenges,users:write"];
    let app = integration(&app).await?;
    let neighbour = integration(&["--name", "neighbour", "--verifies-first-factor"]).await?;
    server.admin(&["tenant", "create", "--name", "elsewhere"]).await?;
    let foreign = ["--name", "foreign", "--tenant", "elsewhere", "--verifies-first-factor"];
    let foreign = integration(&foreign).await?;
    Ok(Stage { app, neighbour, foreign })
}
