//! Tickets and factors of a user: what lets somebody in from now on.

use app::TicketRequest;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use http_limits::{Code, Json, Problem};
use statement::TicketId;
use wire::rest;

use crate::asked::Asked;
use crate::auth::{Allowed, UsersRead, UsersWrite};
use crate::error::Refused;
use crate::idempotency::{Keep, once};
use crate::{Rest, shapes};

/// Permit one more device
///
/// Single use, five minutes. A user who already has a factor takes a `reason`, and their old devices are told.
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
    let record = state.app.user_record(caller.tenant(), user).await?;
    Ok(Json(shapes::whole(shapes::factors(&record))))
}

/// Make a TOTP secret or recovery codes
///
/// In place of those before. The user's devices are told.
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

/// Remove all factors and devices of a user
///
/// What is live is cancelled, what is approved lapses, and all their browsers are strangers again.
#[utoipa::path(
    delete,
    path = "/v1/users/{user}/factors",
    tag = "users",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    request_body = rest::ResetFactors,
    responses(
        (status = 200, description = "The user, without any factor", body = rest::User),
        (status = 409, description = "`reason_required`", body = rest::Problem),
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
