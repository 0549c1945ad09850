//! Challenges: create, look, wait, code, redeem, cancel.

use std::time::Duration;

use app::{CreateRequest, FirstFactor, RequestContext, Watch};
use axum::extract::{Path, State};
use axum::response::Response;
use domain::create::Detail;
use domain::directory::is_plain;
use http::StatusCode;
use http_limits::{Code, Json, Problem, Query};
use serde::Deserialize;
use statement::ChallengeId;
use utoipa::IntoParams;
use wire::rest;

use crate::asked::Asked;
use crate::auth::{Allowed, Challenges};
use crate::error::Refused;
use crate::idempotency::{Keep, once};
use crate::{Rest, hosted, observe, shapes};

/// Longest long poll, in seconds: below the idle time-out of common proxies (60 s).
const MAX_WAIT_S: u64 = 30;
/// Longest name of a first factor, in characters.
const MAX_FIRST_FACTOR: usize = 64;

/// Ask a user to prove that they are there
///
/// Always answers alike: a user who is unknown, has no factor, or has too many live challenges gets one that
/// nobody can approve by push, unless the integration is registered with `--reveal-users`.
///
/// While it is pending, the same browser session asking for the same thing gets the same challenge again with
/// 200: no second ring, the same expiry. Asking for another thing supersedes it. Another browser session gets
/// its own.
///
/// With a `return_url` that is registered there is a `page_url` too: a hosted page that shows the number, for the
/// first browser that opens it, and leads back with a `return_code`.
#[utoipa::path(
    post,
    path = "/v1/challenges",
    tag = "challenges",
    request_body = rest::CreateChallenge,
    responses(
        (status = 201, description = "A new challenge", body = rest::CreatedChallenge),
        (status = 200, description = "The one that is open already", body = rest::CreatedChallenge),
        (status = 404, description = "`user_unknown`: only with `--reveal-users`", body = rest::Problem),
        (status = 409, description = "`not_enrolled`: only with `--reveal-users`; `in_progress`", body = rest::Problem),
    ),
    security(("key" = ["challenges"]))
)]
pub(crate) async fn create_challenge(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<Challenges>,
    asked: Asked<rest::CreateChallenge>,
) -> Result<(StatusCode, Json<rest::CreatedChallenge>), Refused> {
    let key = asked.replay_key(caller.integration().id);
    let _guard = state.in_progress.enter(key)?;
    let called = called(&asked.body.user);
    let request = read(asked.body)?;
    let return_url = request.return_url.clone();
    let first_factor = request.first_factor.clone();
    let mut call = state.call();
    let created = state.app.create_challenge(&mut call, &caller, request, key).await?;
    let page_url = match return_url {
        Some(url) => {
            let shown = hosted::Shown { created: &created, called, first_factor };
            Some(hosted::page(&state, &call, &caller, shown, url)?)
        }
        None => None,
    };
    let status = if created.merged {
        StatusCode::OK
    } else {
        if !created.replayed {
            observe::created();
        }
        StatusCode::CREATED
    };
    Ok((status, Json(rest::CreatedChallenge { page_url, ..shapes::created(&created) })))
}

/// What a page calls whoever is asked: as the caller does. An id says nothing to anybody, and the name behind it
/// would tell who exists.
fn called(user: &str) -> String {
    user.strip_prefix("name:").map_or_else(String::new, |name| name.trim().to_owned())
}

fn read(asked: rest::CreateChallenge) -> Result<CreateRequest, Problem> {
    let ip = asked.context.ip.map(|ip| {
        ip.parse().map_err(|_| Problem::invalid("context.ip", "must be an IPv4 or IPv6 address"))
    });
    let first_factor = asked.first_factor.map(|first| {
        let length = first.method.chars().count();
        if !(1..=MAX_FIRST_FACTOR).contains(&length) || !first.method.chars().all(is_plain) {
            let why = "must be 1 to 64 plain characters";
            return Err(Problem::invalid("first_factor.method", why));
        }
        Ok(FirstFactor {
            method: first.method,
            at: shapes::parse_time("first_factor.at", &first.at)?,
        })
    });
    let detail = |detail: rest::Detail| Detail { label: detail.label, value: detail.value };
    Ok(CreateRequest {
        user: shapes::user_ref(&asked.user)?,
        context: RequestContext {
            browser_session: asked.context.browser_session,
            ip: ip.transpose()?,
            user_agent: asked.context.user_agent,
            device_cookie: asked.context.device_cookie,
        },
        first_factor: first_factor.transpose()?,
        purpose: asked.purpose.map(shapes::asked_purpose),
        methods: asked.methods.map(shapes::asked_methods),
        ttl: asked.ttl_s.map(|seconds| Duration::from_secs(seconds.into())),
        details: asked.details.into_iter().map(detail).collect(),
        return_url: asked.return_url,
        number: None,
    })
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// Seconds to wait for a change of a pending challenge. Default: 0.
    #[param(minimum = 0, maximum = 30)]
    wait: Option<u64>,
}

/// Where a challenge stands
///
/// Answers at once, or with `wait` as soon as it changes. `approved` is not yet proof: redeem it.
#[utoipa::path(
    get,
    path = "/v1/challenges/{id}",
    tag = "challenges",
    params(("id" = String, Path, description = "The challenge"), Wait),
    responses((status = 200, description = "Its state", body = rest::Challenge)),
    security(("key" = ["challenges"]))
)]
pub(crate) async fn get_challenge(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<Challenges>,
    Path(id): Path<String>,
    Query(Wait { wait }): Query<Wait>,
) -> Result<Json<rest::Challenge>, Refused> {
    let id = parse(&id)?;
    let wait = wait.unwrap_or(0);
    if wait > MAX_WAIT_S {
        return Err(Problem::invalid("wait", "must be between 0 and 30").into());
    }
    let app = &state.app;
    let mut call = state.call();
    let Watch { mut view, change } = app.watch_challenge(&mut call, &caller, id).await?;
    // it changes at its expiry too, even if nobody sweeps
    let wait = Duration::from_secs(wait).min(view.expires.since(call.now));
    // a timer of no time still takes a millisecond
    let mut change = change.filter(|_| !wait.is_zero());
    let mut shutdown = state.shutdown.clone();
    // boxed: a timer is large, and most requests don't come here
    let mut deadline = change.is_some().then(|| Box::pin(tokio::time::sleep(wait)));
    while let (Some(changed), Some(deadline)) = (change, deadline.as_mut()) {
        let over = tokio::select! {
            () = changed => false,
            () = deadline => true,
            _ = shutdown.wait_for(|stopping| *stopping) => true,
        };
        let watch = app.watch_challenge(&mut state.call(), &caller, id).await?;
        view = watch.view;
        change = watch.change.filter(|_| !over);
    }
    Ok(Json(shapes::challenge(&view)))
}

/// Pass a challenge by a code
///
/// A TOTP or recovery code for the same sign-in. Answers 200 with the state; if it was decided already, the
/// code isn't used up.
#[utoipa::path(
    post,
    path = "/v1/challenges/{id}/code",
    tag = "challenges",
    params(("id" = String, Path, description = "The challenge")),
    request_body = rest::SubmitCode,
    responses(
        (status = 200, description = "Its state", body = rest::Challenge),
        (status = 422, description = "`code_wrong`: wrong, used, or none are looked at for now; `invalid_request`, `idempotency_key_reused`", body = rest::Problem),
    ),
    security(("key" = ["challenges"]))
)]
pub(crate) async fn submit_code(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<Challenges>,
    Path(id): Path<String>,
    asked: Asked<rest::SubmitCode>,
) -> Result<Response, Refused> {
    let id = parse(&id)?;
    let work = async {
        let (mut call, code) = (state.call(), &asked.body.code);
        let view = state.app.submit_code(&mut call, &caller, id, code).await?;
        Ok((StatusCode::OK, shapes::challenge(&view)))
    };
    once(&state, &caller, &asked, Keep::Reply, work).await
}

/// Collect an approval
///
/// Exactly once, within 60 seconds of the approval, for the browser session that asked; with the `return_code` that
/// it brought back, if the challenge has a hosted page.
#[utoipa::path(
    post,
    path = "/v1/challenges/{id}/redeem",
    tag = "challenges",
    params(("id" = String, Path, description = "The challenge")),
    request_body = rest::RedeemChallenge,
    responses(
        (status = 200, description = "Signed proof, and a cookie for the browser", body = rest::Redeemed),
        (status = 403, description = "`wrong_session`: nothing is consumed, the fifth time lapses the approval; `scope_missing`", body = rest::Problem),
        (status = 409, description = "`not_approved`; `already_redeemed`; `lapsed`: too late, or reported, revoked or reset meanwhile; `already_done`, `in_progress`", body = rest::Problem),
    ),
    security(("key" = ["challenges"]))
)]
pub(crate) async fn redeem_challenge(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<Challenges>,
    Path(id): Path<String>,
    asked: Asked<rest::RedeemChallenge>,
) -> Result<Response, Refused> {
    let id = parse(&id)?;
    let work = async {
        let (mut call, session) = (state.call(), &asked.body.browser_session);
        let code = asked.body.return_code.as_deref();
        let receipt = state.app.redeem(&mut call, &caller, id, session, code).await?;
        observe::redeemed();
        let redeemed =
            rest::Redeemed { receipt: receipt.receipt, device_cookie: receipt.device_cookie };
        Ok((StatusCode::OK, redeemed))
    };
    once(&state, &caller, &asked, Keep::Done, work).await
}

/// Take a challenge back
///
/// One that is decided already stays as it is.
#[utoipa::path(
    delete,
    path = "/v1/challenges/{id}",
    tag = "challenges",
    params(("id" = String, Path, description = "The challenge")),
    responses((status = 200, description = "Its state", body = rest::Challenge)),
    security(("key" = ["challenges"]))
)]
pub(crate) async fn cancel_challenge(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<Challenges>,
    Path(id): Path<String>,
) -> Result<Json<rest::Challenge>, Refused> {
    let id = parse(&id)?;
    let mut call = state.call();
    let view = state.app.cancel_challenge(&mut call, &caller, id).await?;
    Ok(Json(shapes::challenge(&view)))
}

/// What can't be an id is not found, like one that isn't there.
fn parse(id: &str) -> Result<ChallengeId, Problem> {
    id.parse().map_err(|_| Code::NotFound.into())
}
