//! Tenants, integrations and their keys.

use app::NewIntegration;
use axum::extract::{Path, State};
use domain::challenge::Methods;
use domain::directory::{ApiKey, Integration, Scope, Tenant};
use http::StatusCode;
use http_limits::{Code, Json, Problem};
use serde::{Deserialize, Serialize};
use statement::Timestamp;
use wire::rest::{self, Page};

use super::Admin;
use crate::error::Refused;
use crate::{Rest, shapes};

#[derive(Serialize)]
pub(super) struct ShownTenant {
    tenant: String,
    name: String,
    created_at: String,
}

impl From<&Tenant> for ShownTenant {
    fn from(tenant: &Tenant) -> Self {
        Self {
            tenant: tenant.id.to_string(),
            name: tenant.name.clone(),
            created_at: shapes::time(tenant.created),
        }
    }
}

pub(super) async fn list_tenants(
    State(state): State<Rest>,
    _: Admin,
) -> Result<Json<Page<ShownTenant>>, Refused> {
    let tenants = state.app.tenants().await?;
    Ok(Json(shapes::whole(tenants.iter().map(ShownTenant::from).collect())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

#[derive(Serialize)]
pub(super) struct CreatedTenant {
    tenant: String,
}

pub(super) async fn create_tenant(
    State(state): State<Rest>,
    admin: Admin,
    Json(new): Json<Named>,
) -> Result<(StatusCode, Json<CreatedTenant>), Refused> {
    let mut call = state.call();
    let tenant = state.app.create_tenant(&mut call, &admin.actor, &new.name).await?;
    let tenant = tenant.id.to_string();
    Ok((StatusCode::CREATED, Json(CreatedTenant { tenant })))
}

pub(super) async fn show_tenant(
    State(state): State<Rest>,
    _: Admin,
    Path(tenant): Path<String>,
) -> Result<Json<ShownTenant>, Refused> {
    let tenant = state.app.find_tenant(Some(&tenant)).await?;
    Ok(Json(ShownTenant::from(&tenant)))
}

#[derive(Serialize)]
pub(super) struct Shown {
    integration: String,
    name: String,
    kind: &'static str,
    purposes: Vec<rest::Purpose>,
    methods: Vec<rest::Method>,
    scopes: Vec<&'static str>,
    verifies_first_factor: bool,
    reveal_users: bool,
    created_at: String,
}

impl From<&Integration> for Shown {
    fn from(integration: &Integration) -> Self {
        Self {
            integration: integration.id.to_string(),
            name: integration.name.clone(),
            kind: API,
            purposes: integration.purposes.iter().copied().map(shapes::purpose).collect(),
            methods: shapes::methods(integration.methods),
            scopes: integration.scopes.iter().map(|scope| scope.name()).collect(),
            verifies_first_factor: integration.verifies_first_factor,
            reveal_users: integration.reveal_users,
            created_at: shapes::time(integration.created),
        }
    }
}

/// The only kind of integration in this version.
const API: &str = "api";

pub(super) async fn list(
    State(state): State<Rest>,
    admin: Admin,
) -> Result<Json<Page<Shown>>, Refused> {
    let all = state.app.integrations(admin.tenant.id).await?;
    Ok(Json(shapes::whole(all.iter().map(Shown::from).collect())))
}

pub(super) async fn show(
    State(state): State<Rest>,
    admin: Admin,
    Path(named): Path<String>,
) -> Result<Json<Shown>, Refused> {
    let found = state.app.find_integration(admin.tenant.id, &named).await?;
    Ok(Json(Shown::from(&*found)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    name: String,
    kind: Option<String>,
    #[serde(default)]
    purposes: Vec<rest::Purpose>,
    methods: Option<Vec<rest::Method>>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    verifies_first_factor: bool,
    #[serde(default)]
    reveal_users: bool,
}

#[derive(Serialize)]
pub(super) struct CreatedKey {
    integration: String,
    api_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
}

pub(super) async fn create(
    State(state): State<Rest>,
    admin: Admin,
    Json(new): Json<New>,
) -> Result<(StatusCode, Json<CreatedKey>), Refused> {
    if new.kind.as_deref().is_some_and(|kind| kind != API) {
        let why = "only api: the other kinds aren't built yet";
        return Err(Problem::invalid("kind", why).into());
    }
    let scopes = read_scopes(&new.scopes)?;
    let warning = scopes.contains(&Scope::UsersWrite).then_some(
        "the scope users:write lets this key enrol devices for any user: whoever holds it can sign in as \
         them",
    );
    let new = NewIntegration {
        name: new.name,
        purposes: new.purposes.into_iter().map(shapes::asked_purpose).collect(),
        methods: new.methods.map_or(Methods::ALL, shapes::asked_methods),
        scopes,
        verifies_first_factor: new.verifies_first_factor,
        reveal_users: new.reveal_users,
    };
    let mut call = state.call();
    let key = state.app.create_integration(&mut call, &admin.actor, admin.tenant.id, new).await?;
    let created = CreatedKey {
        integration: key.integration.to_string(),
        api_key: key.key.reveal().to_owned(),
        warning,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Challenges always, and what else was asked for, each once.
fn read_scopes(asked: &[String]) -> Result<Vec<Scope>, Problem> {
    let mut scopes = vec![Scope::Challenges];
    for name in asked {
        let why = "must be challenges, users:read, users:write or events:read";
        let scope = Scope::from_name(name).ok_or_else(|| Problem::invalid("scopes", why))?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

#[derive(Serialize)]
pub(super) struct ShownKey {
    key: String,
    live: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

impl ShownKey {
    fn of(key: &ApiKey, now: Timestamp) -> Self {
        Self {
            key: key.hint.clone(),
            live: key.is_live(now),
            created_at: shapes::time(key.created),
            expires_at: key.expires.map(shapes::time),
            revoked_at: key.revoked.map(shapes::time),
        }
    }
}

pub(super) async fn list_keys(
    State(state): State<Rest>,
    admin: Admin,
    Path(named): Path<String>,
) -> Result<Json<Page<ShownKey>>, Refused> {
    let found = state.app.find_integration(admin.tenant.id, &named).await?;
    let keys = state.app.keys(found.id).await?;
    let now = state.call().now;
    let keys = keys.iter().map(|key| ShownKey::of(key, now)).collect();
    Ok(Json(shapes::whole(keys)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    expires_at: Option<String>,
}

pub(super) async fn create_key(
    State(state): State<Rest>,
    admin: Admin,
    Path(named): Path<String>,
    Json(new): Json<NewKey>,
) -> Result<(StatusCode, Json<CreatedKey>), Refused> {
    let found = state.app.find_integration(admin.tenant.id, &named).await?;
    let mut call = state.call();
    let expires = new.expires_at.as_deref();
    let expires = expires.map(|at| shapes::parse_time("expires_at", at)).transpose()?;
    if expires.is_some_and(|expires| expires <= call.now) {
        return Err(Problem::invalid("expires_at", "must be in the future").into());
    }
    let key = state.app.create_key(&mut call, &admin.actor, &found, expires).await?;
    let created = CreatedKey {
        integration: key.integration.to_string(),
        api_key: key.key.reveal().to_owned(),
        warning: None,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

pub(super) async fn show_key(
    State(state): State<Rest>,
    admin: Admin,
    Path((named, hint)): Path<(String, String)>,
) -> Result<Json<ShownKey>, Refused> {
    let found = state.app.find_integration(admin.tenant.id, &named).await?;
    let keys = state.app.keys(found.id).await?;
    let key = keys.iter().find(|key| key.hint == hint);
    let key = key.ok_or(Problem::from(Code::NotFound))?;
    Ok(Json(ShownKey::of(key, state.call().now)))
}

/// Ends a key, named by its first characters as `list` shows them.
pub(super) async fn revoke_key(
    State(state): State<Rest>,
    admin: Admin,
    Path((named, hint)): Path<(String, String)>,
) -> Result<Json<ShownKey>, Refused> {
    let found = state.app.find_integration(admin.tenant.id, &named).await?;
    let call = state.call();
    state.app.revoke_key(&call, &admin.actor, &found, &hint).await?;
    show_key(State(state), admin, Path((named, hint))).await
}
