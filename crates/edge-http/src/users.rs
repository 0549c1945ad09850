//! Users and their devices.

use axum::extract::{Path, State};
use axum::response::Response;
use domain::directory::Device;
use http::StatusCode;
use http_limits::{Code, Json, Problem, Query};
use ports::Page;
use serde::Deserialize;
use statement::{DeviceId, TenantId};
use utoipa::IntoParams;
use wire::rest;

use crate::asked::{Asked, Perhaps};
use crate::auth::{Allowed, UsersRead, UsersWrite};
use crate::error::Refused;
use crate::idempotency::{Keep, once};
use crate::{Rest, shapes};

/// A stretch of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Stretch {
    /// At most so many. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The users, oldest first
#[utoipa::path(
    get,
    path = "/v1/users",
    tag = "users",
    params(Stretch),
    responses((status = 200, description = "A page of users", body = rest::Page<rest::ListedUser>)),
    security(("key" = ["users:read"]))
)]
pub(crate) async fn list_users(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersRead>,
    Query(stretch): Query<Stretch>,
) -> Result<Json<rest::Page<rest::ListedUser>>, Refused> {
    let page = Page {
        after: shapes::parse_cursor(stretch.cursor.as_deref())?,
        limit: shapes::limit(stretch.limit)?,
    };
    let listed = state.app.users(caller.tenant(), page).await?;
    Ok(Json(shapes::users(listed)))
}

/// Make sure that a user exists
///
/// By `name:NAME` it makes the user unless there is one; by id it only finds. Without a body, or for what the
/// body doesn't say, everything stays as it is.
#[utoipa::path(
    put,
    path = "/v1/users/{user}",
    tag = "users",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    request_body = rest::PutUser,
    responses(
        (status = 201, description = "Made", body = rest::User),
        (status = 200, description = "There already", body = rest::User),
        (status = 409, description = "`second_approver`: under attack, break-glass takes a second person", body = rest::Problem),
        (status = 422, description = "`invalid_request`: not a name that a user can have", body = rest::Problem),
    ),
    security(("key" = ["users:write"]))
)]
pub(crate) async fn put_user(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersWrite>,
    Path(user): Path<String>,
    Perhaps(asked): Perhaps<rest::PutUser>,
) -> Result<(StatusCode, Json<rest::User>), Refused> {
    let (tenant, actor, user) = (caller.tenant(), caller.actor(), shapes::user_ref(&user)?);
    let mut call = state.call();
    let wish = shapes::user_wish(&asked);
    let (view, made) = state.app.put_user(&mut call, &actor, tenant, user, wish).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shapes::user(view))))
}

/// A user, and how they could pass
#[utoipa::path(
    get,
    path = "/v1/users/{user}",
    tag = "users",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    responses((status = 200, description = "The user", body = rest::User)),
    security(("key" = ["users:read"]))
)]
pub(crate) async fn get_user(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersRead>,
    Path(user): Path<String>,
) -> Result<Json<rest::User>, Refused> {
    let user = shapes::user_ref(&user)?;
    let view = state.app.user(caller.tenant(), user).await?;
    Ok(Json(shapes::user(view)))
}

/// A user's devices, revoked ones included
#[utoipa::path(
    get,
    path = "/v1/users/{user}/devices",
    tag = "users",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    responses((status = 200, description = "All of them", body = rest::Page<rest::Device>)),
    security(("key" = ["users:read"]))
)]
pub(crate) async fn list_devices(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersRead>,
    Path(user): Path<String>,
) -> Result<Json<rest::Page<rest::Device>>, Refused> {
    let user = shapes::user_ref(&user)?;
    let devices = state.app.devices(caller.tenant(), user).await?;
    let devices = devices.iter().map(shapes::device).collect();
    Ok(Json(shapes::whole(devices)))
}

/// One device of a user
#[utoipa::path(
    get,
    path = "/v1/users/{user}/devices/{device}",
    tag = "users",
    params(
        ("user" = String, Path, description = "An id, or `name:` and the name"),
        ("device" = String, Path, description = "The device")
    ),
    responses((status = 200, description = "The device", body = rest::Device)),
    security(("key" = ["users:read"]))
)]
pub(crate) async fn get_device(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersRead>,
    Path((user, device)): Path<(String, String)>,
) -> Result<Json<rest::Device>, Refused> {
    let device = find_device(&state, caller.tenant(), &user, &device).await?;
    Ok(Json(shapes::device(&device)))
}

/// Revoke a device
///
/// Its socket closes, its unredeemed approvals lapse, and challenges that nothing else could answer are
/// cancelled. One that is revoked already stays as it is.
#[utoipa::path(
    delete,
    path = "/v1/users/{user}/devices/{device}",
    tag = "users",
    params(
        ("user" = String, Path, description = "An id, or `name:` and the name"),
        ("device" = String, Path, description = "The device")
    ),
    responses((status = 200, description = "The device, revoked", body = rest::Device)),
    security(("key" = ["users:write"]))
)]
pub(crate) async fn revoke_device(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersWrite>,
    Path((user, device)): Path<(String, String)>,
) -> Result<Json<rest::Device>, Refused> {
    let tenant = caller.tenant();
    let mut device = find_device(&state, tenant, &user, &device).await?;
    if device.revoked.is_none() {
        let mut call = state.call();
        let actor = caller.actor();
        state.app.revoke_device(&mut call, &actor, tenant, device.id).await?;
        device = state.app.device(tenant, device.id).await?;
    }
    Ok(Json(shapes::device(&device)))
}

/// Agree to a device that waits
///
/// A device that was enrolled while its user was under attack doesn't count at once. Somebody else than who let
/// it be enrolled, with another key at least, makes it count. One that doesn't wait stays as it is.
#[utoipa::path(
    post,
    path = "/v1/devices/{device}/approve",
    tag = "users",
    params(("device" = String, Path, description = "The device")),
    responses(
        (status = 200, description = "The device, which works", body = rest::Device),
        (status = 409, description = "`second_approver`: you let it be enrolled; `in_progress`", body = rest::Problem),
    ),
    security(("key" = ["users:write"]))
)]
pub(crate) async fn approve_device(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<UsersWrite>,
    Path(device): Path<String>,
    asked: Asked<rest::Approve>,
) -> Result<Response, Refused> {
    let id: DeviceId = device.parse().map_err(|_| Problem::from(Code::NotFound))?;
    let work = async {
        let (call, actor) = (state.call(), caller.actor());
        let device = state.app.approve_device(&call, &actor, caller.tenant(), id).await?;
        Ok((StatusCode::OK, shapes::device(&device)))
    };
    once(&state, &caller, &asked, Keep::Reply, work).await
}

/// A device of that user; anybody else's is not found.
async fn find_device(
    state: &Rest,
    tenant: TenantId,
    user: &str,
    device: &str,
) -> Result<Device, Refused> {
    let not_found = || Problem::from(Code::NotFound);
    let user = shapes::user_ref(user)?;
    let id: DeviceId = device.parse().map_err(|_| not_found())?;
    let devices = state.app.devices(tenant, user).await?;
    let device = devices.into_iter().find(|device| device.id == id);
    Ok(device.ok_or_else(not_found)?)
}
