//! `Idempotency-Key` on POSTs: what was done is answered again, not done again.
//!
//! What changed nothing isn't kept: a request that was refused may be mended, or sent again later, under the
//! same key. Creating a challenge keeps its own replies in the ledger's transaction; see `app`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use app::{App, Caller};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_limits::{Code, Problem};
use ports::{Replay, ReplayKey};
use serde::Serialize;
use statement::IntegrationId;

use crate::Rest;
use crate::asked::Asked;
use crate::error::Refused;

type Entry = (IntegrationId, [u8; 32]);

/// The keys whose requests are being handled here. As large as there are requests at once.
#[derive(Clone, Default)]
pub(crate) struct InProgress(Arc<Mutex<HashSet<Entry>>>);

impl InProgress {
    /// Enters a key until the guard is dropped.
    pub(crate) fn enter(&self, key: Option<ReplayKey>) -> Result<Option<Guard>, Problem> {
        let Some(key) = key else { return Ok(None) };
        let entry = (key.integration, key.key);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !entries.insert(entry) {
            return Err(Code::InProgress.into());
        }
        Ok(Some(Guard { entries: self.clone(), entry }))
    }
}

/// Leaves its key when dropped: also when the caller hangs up and the handler goes.
pub(crate) struct Guard {
    entries: InProgress,
    entry: Entry,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut entries = self.entries.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(&self.entry);
    }
}

/// What is kept of a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Status and body.
    Reply,
    /// That it was done: the body holds a secret.
    Done,
}

/// Does `work` once for its idempotency key.
pub(crate) async fn once<B, T: Serialize>(
    state: &Rest,
    caller: &Caller,
    asked: &Asked<B>,
    keep: Keep,
    work: impl Future<Output = Result<(StatusCode, T), Refused>>,
) -> Result<Response, Refused> {
    let key = asked.replay_key(caller.integration().id);
    let _guard = state.in_progress.enter(key)?;
    if let Some(key) = key
        && let Some(replay) = state.app.recall(key).await?
    {
        return repeat(replay);
    }
    match work.await {
        Ok((status, reply)) => {
            let body = serde_json::to_string(&reply).map_err(Problem::internal)?;
            if let Some(key) = key {
                let kept = (keep == Keep::Reply).then(|| body.clone());
                remember(&state.app, key, status, kept).await;
            }
            Ok(json(status, body))
        }
        Err(Refused(problem)) => {
            let code = problem.code();
            // these were counted: the count must not go up for a lost reply
            if let Some(key) = key
                && matches!(code, Code::CodeWrong | Code::WrongSession)
            {
                remember(&state.app, key, code.status(), Some(code.name().to_owned())).await;
            }
            Err(Refused(problem))
        }
    }
}

/// A reply that can't be kept is sent all the same: what it tells has happened. Every POST is safe to repeat.
async fn remember(app: &App, key: ReplayKey, status: StatusCode, body: Option<String>) {
    if let Err(error) = app.remember(key, status.as_u16(), body).await {
        tracing::warn!(%error, "a reply was not kept under its idempotency key");
    }
}

fn repeat(replay: Replay) -> Result<Response, Refused> {
    match replay {
        Replay::Reply { status, body } => {
            let status = StatusCode::from_u16(status).map_err(Problem::internal)?;
            let Some(body) = body else {
                return Err(Problem::new(Code::AlreadyDone).into());
            };
            if status.is_success() {
                return Ok(json(status, body));
            }
            let code = Code::ALL.iter().find(|code| code.name() == body);
            Err(Problem::new(*code.unwrap_or(&Code::AlreadyDone)).into())
        }
        Replay::Challenge(_) | Replay::OtherRequest => {
            Err(Problem::new(Code::IdempotencyKeyReused).into())
        }
    }
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_progress_until_its_guard_goes() {
        let entries = InProgress::default();
        let key = |byte| {
            Some(ReplayKey {
                integration: IntegrationId::from_bytes([1; 16]),
                key: [byte; 32],
                request: [0; 32],
            })
        };
        let guard = entries.enter(key(1)).unwrap();
        let refused = entries.enter(key(1)).err().unwrap();
        assert_eq!(refused.code(), Code::InProgress);
        assert!(entries.enter(key(2)).is_ok());
        assert!(entries.enter(None).unwrap().is_none());
        drop(guard);
        assert!(entries.enter(key(1)).is_ok());
    }
}
