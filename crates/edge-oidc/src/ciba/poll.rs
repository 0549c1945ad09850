//! Fetching what a request came to (§10.1, §11): whoever asks too often is told so, whoever can wait may.

use std::time::Duration;

use app::sign_ins::Passed;
use app::{Call, Caller, ChallengeView};
use axum::response::Response;
use domain::challenge::{Collect, Decided, Decision, State};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use statement::{ChallengeId, Timestamp, sha256};

use super::{AUTH_REQ_ID_CLAIM, Request, about};
use crate::Oidc;
use crate::client::Client;
use crate::grants::Secret;
use crate::oauth::{Code, OAuthError};
use crate::params::Params;
use crate::table::{Key, Table};
use crate::token::Issued;

/// How long a client waits between two polls, from one answer to the next request. Below the default of 5 s: an
/// approval should be seen while the person still looks.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);
/// What is added for whoever polls too soon (RFC 8628 §3.5).
const STEP: Duration = Duration::from_secs(5);
/// The longest that a poll is held; proxies tend to give up at 30 s.
const MAX_WAIT: Duration = Duration::from_secs(25);
/// How long a request's pace is remembered: longer than it can be pending.
const PACE_LIFE: Duration = Duration::from_secs(10 * 60);
/// How many paces are kept; a hundred bytes each. Beyond, nobody is slowed down, which costs a look-up a poll.
const MOST_PACES: usize = 100_000;

/// RFC 7240: for how long the client is ready to wait.
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// When requests were last answered.
pub(crate) struct Pace(Table<(Timestamp, Duration)>);

impl Pace {
    pub(crate) fn new() -> Self {
        Self(Table::new(PACE_LIFE, MOST_PACES))
    }

    fn key(id: ChallengeId) -> Key {
        sha256(&[b"countersign/ciba-pace/v1\0", id.as_bytes()])
    }

    /// Whether a poll comes too soon; then later ones have to wait longer.
    fn hurries(&self, now: Timestamp, id: ChallengeId) -> bool {
        let slowed = self.0.with(now, &Self::key(id), |(answered, interval)| {
            let hurries = now.since(*answered) < *interval;
            if hurries {
                (*answered, *interval) = (now, *interval + STEP);
            }
            hurries
        });
        slowed.unwrap_or(false)
    }

    /// Notes that a poll was answered.
    fn answered(&self, now: Timestamp, id: ChallengeId) {
        let key = Self::key(id);
        if self.0.with(now, &key, |(answered, _)| *answered = now).is_none() {
            self.0.insert(now, key, (now, INTERVAL));
        }
    }
}

pub(crate) async fn collect(
    oidc: &Oidc,
    client: &Client,
    headers: &HeaderMap,
    params: &Params,
) -> Result<Response, OAuthError> {
    let id = params.get("auth_req_id").ok_or(OAuthError::invalid("auth_req_id is missing"))?;
    let request = Request::parse(id).ok_or(UNKNOWN)?;
    let caller = oidc.0.app.page_caller(client.integration.id).await?;
    let wait = patience(headers);
    let (mut call, view) = watched(oidc, &caller, &request, wait.unwrap_or_default()).await?;
    let State::Decided(decided) = view.state else {
        oidc.0.pace.answered(call.now, request.challenge);
        let about = "nobody has answered yet";
        return Err(OAuthError::new(Code::AuthorizationPending, about));
    };
    let passed = match decided.decision {
        Decision::Approved => redeemed(oidc, &mut call, &caller, &request, &decided).await?,
        Decision::Expired => return Err(OAuthError::new(Code::ExpiredToken, about(&decided))),
        _ => return Err(OAuthError::new(Code::AccessDenied, about(&decided))),
    };
    let access = Secret::draw(&mut *call.rng);
    if !oidc.0.grants.admit(call.now, &access, passed.clone()) {
        // the ID token is what was asked for; it was bought already
        tracing::warn!("an access token doesn't work: there are too many");
    }
    let own = Some((AUTH_REQ_ID_CLAIM, request.auth_req_id()));
    let issued = Issued { client: client.id(), passed: &passed, access: &access, own };
    let mut response = issued.tokens(oidc, &call, client.id_token())?;
    if let Some(wait) = wait {
        let applied = HeaderValue::from_str(&format!("wait={}", wait.as_secs()));
        response.headers_mut().extend(applied.ok().map(|value| (PREFERENCE_APPLIED, value)));
    }
    Ok(response)
}

/// Unknown, somebody else's, or fetched before.
const UNKNOWN: OAuthError =
    OAuthError::new(Code::InvalidGrant, "auth_req_id is unknown, used, or another client's");

/// How long the client says that it can wait (RFC 7240 §4.3).
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let prefer = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut asked = prefer.flat_map(|value| value.split([',', ';'])).filter_map(|one| {
        let (name, value) = one.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("wait").then_some(Duration::from_secs(seconds))
    });
    Some(asked.next()?.min(MAX_WAIT))
}

/// Where a request stands: now, or as soon as it is decided within `wait`.
async fn watched(
    oidc: &Oidc,
    caller: &Caller,
    request: &Request,
    wait: Duration,
) -> Result<(Call, ChallengeView), OAuthError> {
    let mut patience = std::pin::pin!(tokio::time::sleep(wait));
    let (mut first, mut patient) = (true, !wait.is_zero());
    loop {
        let mut call = oidc.call();
        let (id, session) = (request.challenge, request.session.reveal());
        let watch = oidc.0.app.watch_session(&mut call, caller, id, &session).await;
        let watch = watch.map_err(|error| match error {
            app::Error::NotFound => UNKNOWN,
            error => error.into(),
        })?;
        let pending = watch.view.state == State::Pending;
        if pending && first && oidc.0.pace.hurries(call.now, id) {
            let about = "poll less often: five seconds more between two polls";
            return Err(OAuthError::new(Code::SlowDown, about));
        }
        first = false;
        let change = match watch.change {
            Some(change) if pending && patient => change,
            _ => return Ok((call, watch.view)),
        };
        let mut stopping = oidc.0.stopping.clone();
        tokio::select! {
            () = change => {}
            () = &mut patience => patient = false,
            // the client comes again, to whoever runs then
            _ = stopping.wait_for(|stop| *stop) => return Ok((oidc.call(), watch.view)),
        }
    }
}

/// Takes an approval, of any number of callers once.
pub(crate) async fn redeemed(
    oidc: &Oidc,
    call: &mut Call,
    caller: &Caller,
    request: &Request,
    decided: &Decided,
) -> Result<Passed, OAuthError> {
    let session = request.session.reveal();
    match oidc.0.app.redeem(call, caller, request.challenge, &session, None).await {
        Ok(receipt) => Ok(Passed::from(&receipt)),
        Err(app::Error::Lapsed) if decided.collect == Collect::Open => {
            Err(OAuthError::new(Code::ExpiredToken, "the approval was not fetched in time"))
        }
        Err(app::Error::Lapsed) => {
            Err(OAuthError::new(Code::AccessDenied, "the approval was taken back"))
        }
        Err(
            app::Error::AlreadyRedeemed
            | app::Error::NotFound
            | app::Error::NotApproved
            | app::Error::WrongSession,
        ) => Err(UNKNOWN),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_polls_too_soon_waits_longer() {
        let (pace, id) = (Pace::new(), ChallengeId::from_bytes([1; 24]));
        let at = |seconds: u64| Timestamp::from_millis(1_000_000 + seconds * 1000);
        assert!(!pace.hurries(at(0), id), "the first poll may come at once");
        pace.answered(at(0), id);
        assert!(pace.hurries(at(1), id));
        assert!(pace.hurries(at(7), id), "two seconds and five more");
        assert!(!pace.hurries(at(19), id));
        pace.answered(at(19), id);
        assert!(pace.hurries(at(30), id), "for good");
    }

    #[test]
    fn patience_is_what_the_client_prefers_up_to_a_bound() {
        let wait = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, HeaderValue::from_static(text));
            patience(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(patience(&HeaderMap::new()), None);
        assert_eq!(wait("wait=10"), Some(10));
        assert_eq!(wait("respond-async, Wait = \"99\""), Some(25));
        assert_eq!(wait("wait=soon"), None);
    }
}
