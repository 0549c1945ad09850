//! Whose people are which users.

use axum::extract::{Path, State};
use http::StatusCode;
use http_limits::Json;
use serde::{Deserialize, Serialize};
use wire::rest::Page;

use super::Admin;
use crate::error::Refused;
use crate::{Rest, shapes};

#[derive(Serialize)]
pub(super) struct Link {
    integration: String,
    subject: String,
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    subject: String,
    user: String,
}

pub(super) async fn list(
    State(state): State<Rest>,
    admin: Admin,
    Path(named): Path<String>,
) -> Result<Json<Page<Link>>, Refused> {
    let found = state.app.find_integration(admin.tenant.id, &named).await?;
    let links = state.app.links(admin.tenant.id, found.id).await?;
    let links = links.into_iter().map(|(subject, user, name)| Link {
        integration: found.id.to_string(),
        subject,
        user: user.to_string(),
        name: Some(name),
    });
    Ok(Json(shapes::whole(links.collect())))
}

pub(super) async fn create(
    State(state): State<Rest>,
    admin: Admin,
    Path(named): Path<String>,
    Json(new): Json<New>,
) -> Result<(StatusCode, Json<Link>), Refused> {
    let found = state.app.find_integration(admin.tenant.id, &named).await?;
    let user = shapes::operators_user_ref(&new.user)?;
    let (call, whose) = (state.call(), (admin.tenant.id, found.id));
    let user = state.app.link_user(&call, &admin.actor, whose, &new.subject, user).await?;
    let (integration, user) = (found.id.to_string(), user.to_string());
    let link = Link { integration, subject: new.subject, user, name: None };
    Ok((StatusCode::CREATED, Json(link)))
}

pub(super) async fn remove(
    State(state): State<Rest>,
    admin: Admin,
    Path((named, subject)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    let found = state.app.find_integration(admin.tenant.id, &named).await?;
    state.app.unlink_user(&admin.actor, (admin.tenant.id, found.id), &subject).await?;
    Ok(StatusCode::NO_CONTENT)
}
