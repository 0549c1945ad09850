//! Users, tickets, factors and devices.

use app::TicketRequest;
use axum::extract::{Path, State};
use domain::directory::Device;
use http::StatusCode;
use http_limits::{Code, Json, Problem};
use serde::{Deserialize, Serialize};
use statement::{DeviceId, TicketId};
use wire::rest::{self, Page};

use super::Admin;
use crate::error::Refused;
use crate::{Rest, shapes};

#[derive(Serialize)]
pub(super) struct ListedUser {
    user: String,
    name: String,
    break_glass: bool,
    created_at: String,
}

pub(super) async fn list_users(
    State(state): State<Rest>,
    admin: Admin,
) -> Result<Json<Page<ListedUser>>, Refused> {
    let page = ports::Page {
        after: shapes::parse_cursor(admin.asked.cursor.as_deref())?,
        limit: shapes::limit(admin.asked.limit)?,
    };
    let listed = shapes::users(state.app.users(admin.tenant.id, page).await?);
    let user = |user: rest::ListedUser| ListedUser {
        user: user.id,
        name: user.name,
        break_glass: user.break_glass,
        created_at: user.created_at,
    };
    Ok(Json(Page {
        data: listed.data.into_iter().map(user).collect(),
        next_cursor: listed.next_cursor,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    name: String,
    #[serde(default)]
    break_glass: bool,
    ttl_s: Option<u32>,
}

#[derive(Serialize)]
pub(super) struct CreatedUser {
    user: String,
}

pub(super) async fn create_user(
    State(state): State<Rest>,
    admin: Admin,
    Json(new): Json<NewUser>,
) -> Result<(StatusCode, Json<CreatedUser>), Refused> {
    let mut call = state.call();
    let (actor, tenant) = (&admin.actor, admin.tenant.id);
    let wish = rest::PutUser { break_glass: Some(new.break_glass), ttl_s: new.ttl_s };
    let wish = shapes::user_wish(&wish);
    let (view, made) = state.app.make_user(&mut call, actor, tenant, &new.name, wish).await?;
    if !made {
        return Err(Problem::from(Code::NameTaken).into());
    }
    let user = view.user.id.to_string();
    Ok((StatusCode::CREATED, Json(CreatedUser { user })))
}

#[derive(Serialize)]
pub(super) struct ShownUser {
    user: String,
    name: String,
    enrolled: bool,
    methods: Vec<rest::Method>,
    break_glass: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_s: Option<u32>,
    created_at: String,
}

impl From<rest::User> for ShownUser {
    fn from(user: rest::User) -> Self {
        Self {
            user: user.id,
            name: user.name,
            enrolled: user.enrolled,
            methods: user.methods,
            break_glass: user.break_glass,
            ttl_s: user.ttl_s,
            created_at: user.created_at,
        }
    }
}

pub(super) async fn show_user(
    State(state): State<Rest>,
    admin: Admin,
    Path(user): Path<String>,
) -> Result<Json<ShownUser>, Refused> {
    let user = shapes::operators_user_ref(&user)?;
    let view = state.app.user(admin.tenant.id, user).await?;
    Ok(Json(shapes::user(view).into()))
}

/// Changes a user who is there; nobody is made by a slip of the pen.
pub(super) async fn update_user(
    State(state): State<Rest>,
    admin: Admin,
    Path(user): Path<String>,
    Json(asked): Json<rest::PutUser>,
) -> Result<Json<ShownUser>, Refused> {
    let (mut call, tenant) = (state.call(), admin.tenant.id);
    let found = state.app.user(tenant, shapes::operators_user_ref(&user)?).await?;
    let (id, wish) = (ports::UserRef::Id(found.user.id), shapes::user_wish(&asked));
    let (view, _) = state.app.put_user(&mut call, &admin.actor, tenant, id, wish).await?;
    Ok(Json(shapes::user(view).into()))
}

#[derive(Serialize)]
pub(super) struct UserCode {
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_code: Option<String>,
}

pub(super) async fn draw_user_code(
    State(state): State<Rest>,
    admin: Admin,
    Path(user): Path<String>,
) -> Result<(StatusCode, Json<UserCode>), Refused> {
    let user = shapes::operators_user_ref(&user)?;
    let (mut call, tenant) = (state.call(), admin.tenant.id);
    let drawn = state.app.draw_user_code(&mut call, &admin.actor, tenant, user).await?;
    let (user, code) = (drawn.0.to_string(), drawn.1.as_str().to_owned());
    Ok((StatusCode::CREATED, Json(UserCode { user, user_code: Some(code) })))
}

pub(super) async fn remove_user_code(
    State(state): State<Rest>,
    admin: Admin,
    Path(user): Path<String>,
) -> Result<Json<UserCode>, Refused> {
    let user = shapes::operators_user_ref(&user)?;
    let user = state.app.remove_user_code(&admin.actor, admin.tenant.id, user).await?;
    Ok(Json(UserCode { user: user.to_string(), user_code: None }))
}

pub(super) async fn contain_user(
    State(state): State<Rest>,
    admin: Admin,
    Path(user): Path<String>,
    Json(asked): Json<rest::ContainUser>,
) -> Result<Json<rest::Standing>, Refused> {
    let user = shapes::operators_user_ref(&user)?;
    let (mut call, tenant) = (state.call(), admin.tenant.id);
    let app = &state.app;
    let standing = app.contain_user(&mut call, &admin.actor, tenant, user, asked.reason).await?;
    Ok(Json(shapes::standing(&standing)))
}

pub(super) async fn clear_user(
    State(state): State<Rest>,
    admin: Admin,
    Path(user): Path<String>,
    Json(asked): Json<rest::ClearUser>,
) -> Result<Json<rest::Standing>, Refused> {
    let user = shapes::operators_user_ref(&user)?;
    let (mut call, tenant) = (state.call(), admin.tenant.id);
    let app = &state.app;
    let standing = app.clear_user(&mut call, &admin.actor, tenant, user, asked.reason).await?;
    Ok(Json(shapes::standing(&standing)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTicket {
    user: String,
    #[serde(default)]
    no_confirm: bool,
    reason: Option<String>,
}

pub(super) async fn create_ticket(
    State(state): State<Rest>,
    admin: Admin,
    Json(new): Json<NewTicket>,
) -> Result<(StatusCode, Json<rest::CreatedTicket>), Refused> {
    let request = TicketRequest {
        user: shapes::operators_user_ref(&new.user)?,
        confirm: !new.no_confirm,
        reason: new.reason,
    };
    let mut call = state.call();
    let ticket = state.app.create_ticket(&mut call, &admin.actor, admin.tenant.id, request).await?;
    Ok((StatusCode::CREATED, Json(shapes::created_ticket(&ticket))))
}

/// A user's tickets of the last day. Numbers are for whoever shows the one ticket.
pub(super) async fn list_tickets(
    State(state): State<Rest>,
    admin: Admin,
) -> Result<Json<Page<rest::Ticket>>, Refused> {
    let (call, user) = (state.call(), admin.user()?);
    let views = state.app.tickets(&call, admin.tenant.id, user).await?;
    let tickets = views.iter().map(|view| rest::Ticket { number: None, ..shapes::ticket(view) });
    Ok(Json(shapes::whole(tickets.collect())))
}

pub(super) async fn show_ticket(
    State(state): State<Rest>,
    admin: Admin,
    Path(ticket): Path<String>,
) -> Result<Json<rest::Ticket>, Refused> {
    let id: TicketId = ticket.parse().map_err(|_| not_found())?;
    let call = state.call();
    let view = state.app.ticket(&call, admin.tenant.id, id).await?;
    Ok(Json(shapes::ticket(&view)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFactor {
    user: String,
    r#type: rest::Method,
}

pub(super) async fn create_factor(
    State(state): State<Rest>,
    admin: Admin,
    Json(new): Json<NewFactor>,
) -> Result<(StatusCode, Json<rest::CreatedFactor>), Refused> {
    let user = shapes::operators_user_ref(&new.user)?;
    let method = shapes::asked_method(new.r#type);
    let mut call = state.call();
    let factor =
        state.app.create_factor(&mut call, &admin.actor, admin.tenant.id, user, method).await?;
    Ok((StatusCode::CREATED, Json(shapes::created_factor(factor))))
}

pub(super) async fn list_factors(
    State(state): State<Rest>,
    admin: Admin,
) -> Result<Json<Page<rest::Factor>>, Refused> {
    let record = state.app.user_record(&state.call(), admin.tenant.id, admin.user()?).await?;
    Ok(Json(shapes::whole(shapes::factors(&record))))
}

/// A factor of the user whom the query names, by id or type.
pub(super) async fn show_factor(
    State(state): State<Rest>,
    admin: Admin,
    Path(named): Path<String>,
) -> Result<Json<rest::Factor>, Refused> {
    let record = state.app.user_record(&state.call(), admin.tenant.id, admin.user()?).await?;
    let is_named = |factor: &rest::Factor| {
        factor.factor == named || shapes::asked_method(factor.r#type).name() == named
    };
    let factor = shapes::factors(&record).into_iter().find(is_named);
    Ok(Json(factor.ok_or_else(not_found)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reset {
    user: String,
    reason: Option<String>,
}

pub(super) async fn reset_factors(
    State(state): State<Rest>,
    admin: Admin,
    Json(reset): Json<Reset>,
) -> Result<Json<ShownUser>, Refused> {
    let user = shapes::operators_user_ref(&reset.user)?;
    let (mut call, tenant) = (state.call(), admin.tenant.id);
    let app = &state.app;
    app.reset_user(&mut call, &admin.actor, tenant, user.clone(), reset.reason).await?;
    let view = app.user(tenant, user).await?;
    Ok(Json(shapes::user(view).into()))
}

#[derive(Serialize)]
pub(super) struct ShownDevice {
    device: String,
    user: String,
    name: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<rest::WaitsFor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usable_from: Option<String>,
}

impl From<&Device> for ShownDevice {
    fn from(device: &Device) -> Self {
        let (waits_for, usable_from) = shapes::waiting(device.wait.as_ref());
        Self {
            device: device.id.to_string(),
            user: device.user.to_string(),
            name: device.name.clone(),
            created_at: shapes::time(device.created),
            revoked_at: device.revoked.map(shapes::time),
            waits_for,
            usable_from,
        }
    }
}

pub(super) async fn list_devices(
    State(state): State<Rest>,
    admin: Admin,
) -> Result<Json<Page<ShownDevice>>, Refused> {
    let devices = state.app.devices(admin.tenant.id, admin.user()?).await?;
    let devices = devices.iter().map(ShownDevice::from).collect();
    Ok(Json(shapes::whole(devices)))
}

pub(super) async fn show_device(
    State(state): State<Rest>,
    admin: Admin,
    Path(device): Path<String>,
) -> Result<Json<ShownDevice>, Refused> {
    let id: DeviceId = device.parse().map_err(|_| not_found())?;
    let device = state.app.device(admin.tenant.id, id).await?;
    Ok(Json(ShownDevice::from(&device)))
}

/// Revokes a device; one that is revoked already stays as it is.
pub(super) async fn revoke_device(
    State(state): State<Rest>,
    admin: Admin,
    Path(device): Path<String>,
) -> Result<Json<ShownDevice>, Refused> {
    let id: DeviceId = device.parse().map_err(|_| not_found())?;
    let tenant = admin.tenant.id;
    let mut device = state.app.device(tenant, id).await?;
    if device.revoked.is_none() {
        let mut call = state.call();
        let app = &state.app;
        app.revoke_device(&mut call, &admin.actor, tenant, id).await?;
        device = app.device(tenant, id).await?;
    }
    Ok(Json(ShownDevice::from(&device)))
}

/// Agrees to a device that waits; one that doesn't stays as it is.
pub(super) async fn approve_device(
    State(state): State<Rest>,
    admin: Admin,
    Path(device): Path<String>,
) -> Result<Json<ShownDevice>, Refused> {
    let id: DeviceId = device.parse().map_err(|_| not_found())?;
    let (call, tenant) = (state.call(), admin.tenant.id);
    let device = state.app.approve_device(&call, &admin.actor, tenant, id).await?;
    Ok(Json(ShownDevice::from(&device)))
}

/// Agrees to a factor that waits, of the user whom the query names.
pub(super) async fn approve_factor(
    State(state): State<Rest>,
    admin: Admin,
    Path(factor): Path<String>,
) -> Result<Json<rest::Factor>, Refused> {
    let (user, tenant) = (admin.user()?, admin.tenant.id);
    let factor = crate::factors::approve(&state, &admin.actor, tenant, user, &factor).await?;
    Ok(Json(factor))
}

fn not_found() -> Problem {
    Code::NotFound.into()
}
