//! Webhooks: tells receivers of events, signed by Standard Webhooks, at least once and in order.
//!
//! Each webhook reads the audit from where it stands, as `events --follow` does: what isn't in the audit isn't
//! told, and there is no other list of things to tell. A slow receiver keeps nobody else waiting.

mod addresses;
mod body;
pub(crate) mod doctor;
mod feed;
mod post;
mod routes;
mod settings;
mod signer;
mod state;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use app::App;
use axum::Router;
use metrics::{Unit, describe_counter, describe_gauge};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use post::{RootsError, Sender};
use state::Kept;
use worker::Worker;

pub(crate) use post::{AGENT, Failure, carry, connect, trust};
pub use settings::{Endpoint, SecretLoadError, SecretSource, Target};
pub(crate) use settings::{Wrong, read};
pub use signer::SecretError;
pub use worker::Pace;

/// Deliveries by webhook and outcome.
const DELIVERIES: &str = "countersign_webhook_deliveries_total";
/// Age of the oldest event that a webhook couldn't deliver.
const OLDEST: &str = "countersign_webhook_oldest_seconds";
/// Whether a webhook is disabled.
const DISABLED: &str = "countersign_webhook_disabled";

/// Why a webhook can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Its secret isn't there.
    #[error("webhook {0}: {1}")]
    Secret(String, SecretLoadError),
    /// Its authorities can't be trusted.
    #[error("webhook {0}: {1}")]
    Roots(String, RootsError),
    /// Its state can't be taken up.
    #[error(
        "webhook {name}: {file}: {error}; removed, the webhook starts with what happens from then on",
        file = file.display()
    )]
    State {
        /// Its name.
        name: String,
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// All webhooks of a server.
pub struct Webhooks(Vec<Arc<Worker>>);

impl Webhooks {
    /// Takes up where each webhook was left; nothing is sent before [`Webhooks::run`]. The caller holds the data
    /// directory.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn open(endpoints: &[Endpoint], data: &Path, pace: Pace) -> Result<Self, SetupError> {
        describe_counter!(DELIVERIES, "Webhook deliveries by webhook and outcome");
        describe_gauge!(OLDEST, Unit::Seconds, "Age of the oldest undelivered event, by webhook");
        describe_gauge!(DISABLED, "1 where nothing is sent any more, by webhook");
        let worker = |endpoint: &Endpoint| {
            let name = || endpoint.name.clone();
            let signer = endpoint.secret.load();
            let signer = signer.map_err(|error| SetupError::Secret(name(), error))?;
            let sender = Sender::new(endpoint.clone(), signer, pace.timeout);
            let sender = sender.map_err(|error| SetupError::Roots(name(), error))?;
            let kept = Kept::open(data, &endpoint.name, &endpoint.url, clock::now());
            let kept = kept.map_err(|error| {
                let file = state::path(data, &endpoint.name);
                SetupError::State { name: name(), file, error }
            })?;
            Ok(Arc::new(Worker::new(sender, kept, pace)))
        };
        Ok(Self(endpoints.iter().map(worker).collect::<Result<_, _>>()?))
    }

    /// The operators' routes: `/webhooks` and what can be done with one.
    pub fn router(&self) -> Router {
        routes::router(self.0.clone())
    }

    /// Delivers, in tasks of `work`, until `stop` turns true.
    pub fn run(self, app: &Arc<App>, stop: &watch::Receiver<bool>, work: &mut JoinSet<()>) {
        for worker in self.0 {
            work.spawn(worker.run(Arc::clone(app), stop.clone()));
        }
    }
}
