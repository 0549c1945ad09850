//! One webhook's deliveries: in order, each until it succeeds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use app::{App, EventView};
use http::StatusCode;
use metrics::{counter, gauge};
use rand::{Rng, RngExt as _};
use serde_json::{Value, json};
use statement::{TenantId, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::body::{self, rfc3339};
use super::feed::{self, Next};
use super::post::{Failure, Message, Sender, TIMEOUT};
use super::settings::Endpoint;
use super::state::{Disabled, Kept, State};
use super::{DELIVERIES, DISABLED, OLDEST};
use crate::clock;

/// How long a delivery under way may take once the server stops. Cut off, it comes again after the start, with
/// the same id.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How much longer or shorter than planned a wait is, in per cent, so that webhooks don't come back in step.
const JITTER: u32 = 20;

/// What deliveries wait for. A value, so that tests need not wait.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often the audit is looked at.
    pub poll: Duration,
    /// Waits after the first failures; the last is that after each further one.
    pub retries: &'static [Duration],
    /// How long a receiver may fail before nothing is sent any more.
    pub give_up: Duration,
    /// Failures of one message after which it is skipped if a test message goes through.
    pub skip_after: u32,
    /// How long one delivery may take.
    pub timeout: Duration,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

impl Default for Pace {
    /// Quick at first, for a receiver that restarts; then slow, for one that is mended by a person. Five days
    /// span a long weekend.
    fn default() -> Self {
        const RETRIES: [Duration; 8] = [
            Duration::from_secs(5),
            Duration::from_secs(30),
            Duration::from_secs(2 * MINUTE),
            Duration::from_secs(10 * MINUTE),
            Duration::from_secs(30 * MINUTE),
            Duration::from_secs(HOUR),
            Duration::from_secs(3 * HOUR),
            Duration::from_secs(6 * HOUR),
        ];
        Self {
            poll: Duration::from_secs(1),
            retries: &RETRIES,
            give_up: Duration::from_secs(5 * 24 * HOUR),
            // five hours: a receiver that is mended in a working day is told everything
            skip_after: 8,
            timeout: TIMEOUT,
        }
    }
}

impl Pace {
    /// The wait after so many failures.
    fn wait(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        let planned = self.retries.get(at).or(self.retries.last()).copied().unwrap_or(self.poll);
        planned * rng.random_range(100 - JITTER..=100 + JITTER) / 100
    }

    /// No wait is longer than this: a clock set back must not make one.
    fn longest(&self) -> Duration {
        self.retries.last().copied().unwrap_or(self.poll) * (100 + JITTER) / 100
    }
}

/// A webhook at work.
pub(super) struct Worker {
    sender: Sender,
    kept: Kept,
    pace: Pace,
    /// Rung when an operator enabled it.
    wake: Notify,
}

impl Worker {
    pub(super) fn new(sender: Sender, kept: Kept, pace: Pace) -> Self {
        Self { sender, kept, pace, wake: Notify::new() }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.sender.endpoint()
    }

    /// Delivers until the server stops.
    pub(super) async fn run(self: Arc<Self>, app: Arc<App>, mut stop: watch::Receiver<bool>) {
        let mut queue = VecDeque::new();
        loop {
            let mut stopping = stop.clone();
            let stopped = async {
                // a sender that is gone means that it stops, too
                let _ = stopping.wait_for(|stop| *stop).await;
                timeout(STOP_GRACE, std::future::pending::<()>()).await
            };
            let pause = tokio::select! {
                biased;
                pause = self.step(&app, &mut queue) => pause,
                _ = stopped => break,
            };
            self.observe();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
        self.kept.save().await;
    }

    /// Does the next thing that there is to do; returns how long there is nothing else.
    async fn step(&self, app: &App, queue: &mut VecDeque<Next>) -> Duration {
        let state = self.kept.get();
        if state.disabled.is_some() {
            // what was read is read again once it is enabled
            queue.clear();
            return self.pace.poll;
        }
        let left = state.next_try.map_or(Duration::ZERO, |at| at.since(clock::now()));
        if !left.is_zero() {
            return left.min(self.pace.poll).min(self.pace.longest());
        }
        match queue.pop_front() {
            Some(Next::Passed(tenant, row)) => {
                self.kept.note(|state| {
                    state.cursors.insert(tenant, row);
                });
                Duration::ZERO
            }
            Some(next @ Next::Event { .. }) => self.deliver(app, next, queue).await,
            None => self.refill(app, &state, queue).await,
        }
    }

    async fn refill(&self, app: &App, state: &State, queue: &mut VecDeque<Next>) -> Duration {
        match feed::read(app, self.endpoint(), state).await {
            Ok(read) => {
                queue.extend(read.next);
                if queue.is_empty() {
                    self.kept.save().await;
                    return self.pace.poll;
                }
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(%error, webhook = self.name(), "the audit can't be read just now");
                self.pace.poll
            }
        }
    }

    async fn deliver(&self, app: &App, next: Next, queue: &mut VecDeque<Next>) -> Duration {
        let Next::Event { tenant, tenant_name, event } = &next else { return Duration::ZERO };
        let message = match self.endpoint().integration {
            Some(_) => body::decision(event),
            None => body::message(event, tenant_name.as_deref(), app.public_url()),
        };
        let now = clock::now();
        match self.send(&message, now).await {
            Ok(_) => {
                self.kept.note(|state| {
                    if state.failures > 0 {
                        tracing::info!(webhook = self.name(), "the webhook works again");
                    }
                    state.clear();
                    state.cursors.insert(*tenant, event.id);
                    state.waiting_since = None;
                    state.delivered_at = Some(now);
                });
                self.kept.save().await;
                Duration::ZERO
            }
            Err(failure) => {
                let at = event.at;
                if self.rejects_this(&failure).await
                    && self.skip(app, *tenant, event, &failure).await
                {
                    return Duration::ZERO;
                }
                queue.push_front(next);
                self.failed(&failure, at).await
            }
        }
    }

    /// Whether it is this message that the receiver doesn't take: it has failed often, and a test message passes.
    async fn rejects_this(&self, failure: &Failure) -> bool {
        let failures = self.kept.get().failures.saturating_add(1);
        !failure.is_gone() && failures >= self.pace.skip_after && self.test().await.is_ok()
    }

    /// Goes on behind a message that its receiver never takes, or it would keep all later ones back. `false` if
    /// that can't be written down.
    async fn skip(&self, app: &App, tenant: TenantId, event: &EventView, why: &Failure) -> bool {
        let skipped = app.note_skipped(tenant, self.name(), event.id, &why.to_string()).await;
        if let Err(error) = skipped {
            tracing::warn!(%error, webhook = self.name(), "a message isn't skipped just now");
            return false;
        }
        tracing::error!(
            webhook = self.name(),
            event = %event.id,
            error = %why,
            "the receiver takes a test message and not this one: it is skipped"
        );
        self.kept.note(|state| {
            state.clear();
            state.cursors.insert(tenant, event.id);
            state.waiting_since = None;
        });
        self.kept.save().await;
        true
    }

    /// Counts a failure of a message about something that happened at `at`.
    async fn failed(&self, failure: &Failure, at: Timestamp) -> Duration {
        let now = clock::now();
        let mut wait = self.pace.poll;
        self.kept.note(|state| {
            state.failed(&failure.to_string());
            state.waiting_since = Some(at);
            let since = *state.failing_since.get_or_insert(now);
            state.disabled = match failure {
                failure if failure.is_gone() => Some(Disabled::Gone),
                _ if now.since(since) >= self.pace.give_up => Some(Disabled::Failing),
                _ => None,
            };
            wait = self.pace.wait(state.failures, &mut clock::rng());
            state.next_try = state.disabled.is_none().then(|| now.plus(wait));
        });
        let state = self.kept.get();
        match state.disabled {
            Some(why) => tracing::warn!(
                webhook = self.name(),
                error = %failure,
                "the webhook is disabled: {}; countersign admin webhook enable {}",
                why.why(),
                self.name(),
            ),
            None => tracing::warn!(
                webhook = self.name(),
                error = %failure,
                failures = state.failures,
                wait_s = wait.as_secs(),
                "a webhook message wasn't delivered"
            ),
        }
        self.kept.save().await;
        wait.min(self.pace.poll)
    }

    async fn send(&self, message: &Message, now: Timestamp) -> Result<StatusCode, Failure> {
        let sent = self.sender.send(message, now).await;
        let outcome = sent.as_ref().map_or_else(Failure::outcome, |_| "delivered");
        counter!(DELIVERIES, "webhook" => self.name().to_owned(), "outcome" => outcome)
            .increment(1);
        sent
    }

    /// Sends a message that says only that messages arrive. Changes nothing else.
    pub(super) async fn test(&self) -> Result<StatusCode, Failure> {
        let now = clock::now();
        let id = format!("test_{:016x}{:016x}", clock::seed(), clock::seed());
        self.send(&body::test(id, self.name(), now), now).await
    }

    /// Tries again at once, whatever was before.
    pub(super) async fn enable(&self) {
        self.kept.note(State::clear);
        self.kept.save().await;
        self.wake.notify_one();
    }

    fn name(&self) -> &str {
        &self.endpoint().name
    }

    fn observe(&self) {
        let state = self.kept.get();
        let oldest = state.waiting_since.map_or(Duration::ZERO, |at| clock::now().since(at));
        gauge!(OLDEST, "webhook" => self.name().to_owned()).set(oldest.as_secs_f64());
        let disabled = if state.disabled.is_some() { 1.0 } else { 0.0 };
        gauge!(DISABLED, "webhook" => self.name().to_owned()).set(disabled);
    }

    /// How it is, for an operator.
    pub(super) fn status(&self) -> Value {
        let (endpoint, state) = (self.endpoint(), self.kept.get());
        let time = |at: Option<Timestamp>| at.map(rfc3339);
        json!({
            "name": endpoint.name,
            "url": format!("{:?}", endpoint.url),
            "types": endpoint.types.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
            "integration": endpoint.integration,
            "state": state.condition(),
            "failures": state.failures,
            "failing_since": time(state.failing_since),
            "waiting_since": time(state.waiting_since),
            "next_try": time(state.next_try),
            "last_error": state.last_error,
            "delivered_at": time(state.delivered_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_six_hours_and_differ() {
        let pace = Pace::default();
        let mut rng = clock::rng();
        for (failures, seconds) in [
            (1, 5),
            (2, 30),
            (3, 120),
            (4, 600),
            (5, 1_800),
            (6, 3_600),
            (7, 10_800),
            (8, 21_600),
            (9, 21_600),
            (u32::MAX, 21_600),
        ] {
            let planned = Duration::from_secs(seconds);
            let waits: Vec<Duration> = (0..50).map(|_| pace.wait(failures, &mut rng)).collect();
            assert!(
                waits.iter().all(|wait| *wait >= planned * 8 / 10 && *wait <= planned * 12 / 10)
            );
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{failures}");
            assert!(waits.iter().all(|wait| *wait <= pace.longest()));
        }
    }
}
