//! Requests whose end is told: to a client in ping mode (§10.2), and to Keycloak.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use app::{Call, Caller};
use domain::challenge::{Decided, State};
use statement::IntegrationId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Request;
use crate::oauth::{Code, OAuthError};
use crate::{Oidc, Post};

/// How many requests are followed at once, a few hundred bytes each.
pub const MAX_FOLLOWED: usize = 20_000;
/// How long to wait where too many wait for a change to be woken.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Waits before each try to tell. An approval is of use for a minute: what comes later is told to nobody.
pub(crate) const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// Room for requests that are followed, bounded.
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// For one more. To be taken before anybody is asked: whoever isn't followed would never be told.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn take(&self) -> Result<OwnedSemaphorePermit, OAuthError> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            tracing::warn!("nobody is asked: too many requests are followed");
            OAuthError::new(Code::TemporarilyUnavailable, "try again in a few seconds")
        })
    }
}

/// A request, and who is told of its end. Redacted in `Debug`.
pub(crate) struct Followed {
    pub(crate) integration: IntegrationId,
    pub(crate) request: Request,
    pub(crate) url: String,
    pub(crate) private: bool,
    /// What proves that it is told by whom it was asked.
    pub(crate) token: String,
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Followed(redacted)")
    }
}

impl Followed {
    /// Waits for the end. `None` if the server stops first, or can't tell: then it is told to nobody.
    pub(crate) async fn end(&self, oidc: &Oidc) -> Option<(Call, Caller, Decided)> {
        let mut stopping = oidc.0.stopping.clone();
        let caller = oidc.0.app.page_caller(self.integration).await.ok()?;
        let session = self.request.session.reveal();
        loop {
            let mut call = oidc.call();
            let id = self.request.challenge;
            let watch = oidc.0.app.watch_session(&mut call, &caller, id, &session).await;
            let change = match watch {
                Ok(watch) => match watch.view.state {
                    State::Decided(decided) => return Some((call, caller, decided)),
                    State::Pending => watch.change,
                },
                Err(app::Error::Store(_)) => None,
                Err(_) => return None,
            };
            let changed = async {
                match change {
                    Some(change) => change.await,
                    None => tokio::time::sleep(LOOK_AGAIN).await,
                }
            };
            tokio::select! {
                () = changed => {}
                _ = stopping.wait_for(|stop| *stop) => return None,
            }
        }
    }
}

/// Tells a client, once there is something, that it can fetch it: approved, declined or expired.
pub(super) fn ping(oidc: &Oidc, place: OwnedSemaphorePermit, followed: Followed) {
    let oidc = oidc.clone();
    tokio::spawn(async move {
        if followed.end(&oidc).await.is_some() {
            let body = serde_json::json!({"auth_req_id": followed.request.auth_req_id()});
            deliver(&oidc, &followed, &body.to_string()).await;
        }
        drop(place);
    });
}

/// Sends a body to who is to be told, until it is taken or refused.
pub(crate) async fn deliver(oidc: &Oidc, followed: &Followed, body: &str) {
    for pause in PAUSES {
        tokio::time::sleep(pause).await;
        let sent = oidc.0.outgoing.post(Post {
            url: followed.url.clone(),
            allow_private: followed.private,
            bearer: followed.token.clone(),
            body: body.to_owned(),
        });
        match sent.await {
            Ok(200..=299) => return,
            // whoever speaks so means it; a redirect would lead past the look at the address
            Ok(status @ 300..=499) => {
                tracing::warn!(status, integration = %followed.integration, "an end was refused");
                return;
            }
            Ok(status) => {
                tracing::warn!(status, integration = %followed.integration, "an end wasn't taken");
            }
            Err(error) => {
                tracing::warn!(%error, integration = %followed.integration, "an end wasn't told");
            }
        }
    }
}
