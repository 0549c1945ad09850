//! Tickets and factors of a user: what lets somebody in from now on.

use app::{Actor, TicketRequest};
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use http_limits::{Code, Json, Problem};
use ports::UserRef;
use statement::{FactorId, TenantId, TicketId};
use wire::rest;

use crate::asked::Asked;
use crate::auth::{Allowed, UsersRead, UsersWrite};
use crate::error::Refused;
use crate::idempotency::{Keep, once};
use crate::{Rest, shapes};

/// Permit one more device
///
/// Single use, five minutes. The device of a user under attack waits, as `waits_for` says. A user who already has a factor takes a `reason`, and their old devices are told.
/// Open tickets of the user are cancelled. Enrolment ends with a number that only the ticket itself shows: read
/// it and give it to the person once their device has claimed the ticket.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/tickets",
    tag = "users",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    request_body = rest::CreateTicket,
    responses(
        (status = 201, description = "The ticket, shown once", body = rest::CreatedTicket),
        (status = 409, description = "`reason_required`: the user has a factor; `already_done`, `in_progress`", body = rest::Problem),
    ),
    security(("key" = ["users:write"]))
)]
pub(crate) async fn create_ticket(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersWrite>,
    Path(user): Path<String>,
    asked: Asked<rest::CreateTicket>,
) -> Result<Response, Refused> {
    let request = TicketRequest {
        user: shapes::user_ref(&user)?,
        confirm: true,
        reason: asked.body.reason.clone(),
    };
    let work = async {
        let (mut call, actor) = (state.call(), caller.actor());
        let ticket = state.app.create_ticket(&mut call, &actor, caller.tenant(), request).await?;
        Ok((StatusCode::CREATED, shapes::created_ticket(&ticket)))
    };
    once(&state, &caller, &asked, Keep::Done, work).await
}

/// Where a ticket stands, and its number
///
/// The number is shown while a device holds the ticket. One wrong try cancels it.
#[utoipa::path(
    get,
    path = "/v1/users/{user}/tickets/{ticket}",
    tag = "users",
    params(
        ("user" = String, Path, description = "An id, or `name:` and the name"),
        ("ticket" = String, Path, description = "The ticket")
    ),
    responses((status = 200, description = "The ticket", body = rest::Ticket)),
    security(("key" = ["users:write"]))
)]
pub(crate) async fn get_ticket(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersWrite>,
    Path((user, ticket)): Path<(String, String)>,
) -> Result<Json<rest::Ticket>, Refused> {
    let not_found = || Problem::from(Code::NotFound);
    let user = shapes::user_ref(&user)?;
    let id: TicketId = ticket.parse().map_err(|_| not_found())?;
    let user = state.app.user(caller.tenant(), user).await?;
    let ticket = state.app.ticket(&state.call(), caller.tenant(), id).await?;
    if ticket.user != user.user.id {
        return Err(not_found().into());
    }
    Ok(Json(shapes::ticket(&ticket)))
}

/// A user's factors beside their devices
#[utoipa::path(
    get,
    path = "/v1/users/{user}/factors",
    tag = "users",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    responses((status = 200, description = "All of them", body = rest::Page<rest::Factor>)),
    security(("key" = ["users:read"]))
)]
pub(crate) async fn list_factors(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersRead>,
    Path(user): Path<String>,
) -> Result<Json<rest::Page<rest::Factor>>, Refused> {
    let user = shapes::user_ref(&user)?;
    let record = state.app.user_record(&state.call(), caller.tenant(), user).await?;
    Ok(Json(shapes::whole(shapes::factors(&record))))
}

/// Make a TOTP secret or recovery codes
///
/// In place of those before. The user's devices are told. Those of a user under attack wait, as `waits_for` says,
/// and those before work on until then.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/factors",
    tag = "users",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    request_body = rest::CreateFactor,
    responses(
        (status = 201, description = "The factor, shown once", body = rest::CreatedFactor),
        (status = 409, description = "`already_done`, `in_progress`", body = rest::Problem),
    ),
    security(("key" = ["users:write"]))
)]
pub(crate) async fn create_factor(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersWrite>,
    Path(user): Path<String>,
    asked: Asked<rest::CreateFactor>,
) -> Result<Response, Refused> {
    let user = shapes::user_ref(&user)?;
    let method = shapes::asked_method(asked.body.r#type);
    let work = async {
        let (mut call, actor) = (state.call(), caller.actor());
        let factor =
            state.app.create_factor(&mut call, &actor, caller.tenant(), user, method).await?;
        Ok((StatusCode::CREATED, shapes::created_factor(factor)))
    };
    once(&state, &caller, &asked, Keep::Done, work).await
}

/// Agree to a factor that waits
///
/// A TOTP secret or recovery codes that were made while their user was under attack don't count at once. Somebody
/// else than who made them, with another key at least, makes them count, in place of those before. One that
/// doesn't wait stays as it is.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/factors/{factor}/approve",
    tag = "users",
    params(
        ("user" = String, Path, description = "An id, or `name:` and the name"),
        ("factor" = String, Path, description = "The factor")
    ),
    responses(
        (status = 200, description = "The factor, which works", body = rest::Factor),
        (status = 409, description = "`second_approver`: you made it; `in_progress`", body = rest::Problem),
    ),
    security(("key" = ["users:write"]))
)]
pub(crate) async fn approve_factor(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersWrite>,
    Path((user, factor)): Path<(String, String)>,
    asked: Asked<rest::Approve>,
) -> Result<Response, Refused> {
    let user = shapes::user_ref(&user)?;
    let work = async {
        let actor = caller.actor();
        let factor = approve(&state, &actor, caller.tenant(), user, &factor).await?;
        Ok((StatusCode::OK, factor))
    };
    once(&state, &caller, &asked, Keep::Reply, work).await
}

/// Agrees to a factor of a user, named by its id.
pub(crate) async fn approve(
    state: &Rest,
    actor: &Actor,
    tenant: TenantId,
    user: UserRef,
    factor: &str,
) -> Result<rest::Factor, Refused> {
    let not_found = || Problem::from(Code::NotFound);
    let id: FactorId = factor.parse().map_err(|_| not_found())?;
    let record = state.app.approve_factor(&state.call(), actor, tenant, user, id).await?;
    let id = id.to_string();
    let factor = shapes::factors(&record).into_iter().find(|factor| factor.factor == id);
    Ok(factor.ok_or_else(not_found)?)
}

/// Remove all factors and devices of a user
///
/// What is live is cancelled, what is approved lapses, and all their browsers are strangers again. Of a user
/// under attack it takes two: the first one's wish is noted and refused, somebody else's within 24 hours is done.
#[utoipa::path(
    delete,
    path = "/v1/users/{user}/factors",
    tag = "users",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    request_body = rest::ResetFactors,
    responses(
        (status = 200, description = "The user, without any factor", body = rest::User),
        (status = 409, description = "`reason_required`; `second_approver`: noted, and somebody else has to ask too", body = rest::Problem),
    ),
    security(("key" = ["users:write"]))
)]
pub(crate) async fn reset_factors(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersWrite>,
    Path(user): Path<String>,
    asked: Asked<rest::ResetFactors>,
) -> Result<Json<rest::User>, Refused> {
    let user = shapes::user_ref(&user)?;
    let (tenant, actor) = (caller.tenant(), caller.actor());
    let (mut call, reason) = (state.call(), asked.body.reason);
    let app = &state.app;
    app.reset_user(&mut call, &actor, tenant, user.clone(), reason).await?;
    let view = app.user(tenant, user).await?;
    Ok(Json(shapes::user(view)))
}
