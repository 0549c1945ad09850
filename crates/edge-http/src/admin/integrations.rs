//! Tenants, integrations and their keys.

use app::NewIntegration;
use axum::extract::{Path, State};
use domain::challenge::Methods;
use domain::directory::{ApiKey, Integration, Scope, Tenant};
use domain::protocol::{
    ApiClient, CibaClient, Cloud, EntraClient, KeycloakRealm, OidcClient, Protocol, TokenAlgorithm,
};
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    redirect_uris: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    return_urls: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tenant_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_audience: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_code: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_enrolment: Option<bool>,
    purposes: Vec<rest::Purpose>,
    methods: Vec<rest::Method>,
    scopes: Vec<&'static str>,
    verifies_first_factor: bool,
    reveal_users: bool,
    created_at: String,
}

impl From<&Integration> for Shown {
    fn from(integration: &Integration) -> Self {
        let (ciba, keycloak, entra) = match &integration.protocol {
            Protocol::Ciba(client) => (Some(client), None, None),
            Protocol::KeycloakCiba(realm) => (None, Some(realm), None),
            Protocol::Entra(client) => (None, None, Some(client)),
            Protocol::Api(_) | Protocol::Oidc(_) => (None, None, None),
        };
        Self {
            integration: integration.id.to_string(),
            name: integration.name.clone(),
            kind: integration.protocol.name(),
            redirect_uris: match &integration.protocol {
                Protocol::Oidc(client) => client.redirect_uris.clone(),
                _ => Vec::new(),
            },
            return_urls: match &integration.protocol {
                Protocol::Api(client) => client.return_urls.clone(),
                _ => Vec::new(),
            },
            tenant_ids: entra.map(|client| client.directories.clone()).unwrap_or_default(),
            app_id: entra.map(|client| client.app_id.clone()),
            other_audience: entra.and_then(|client| client.other_audience.clone()),
            authority: entra.map(|client| client.authority().to_owned()),
            mode: ciba.map(mode),
            notification_url: ciba.and_then(|client| client.notification_url.clone()),
            user_code: ciba.map(|client| client.user_code),
            issuer: keycloak.map(|realm| realm.issuer.clone()),
            callback_url: keycloak.map(|realm| realm.callback_url.clone()),
            number: integration.protocol.brings_number().then_some("chosen by client"),
            inline_enrolment: entra.map(|client| client.inline_enrolment),
            purposes: integration.purposes.iter().copied().map(shapes::purpose).collect(),
            methods: shapes::methods(integration.methods),
            scopes: integration.scopes.iter().map(|scope| scope.name()).collect(),
            verifies_first_factor: integration.verifies_first_factor,
            reveal_users: integration.reveal_users,
            created_at: shapes::time(integration.created),
        }
    }
}

/// How tokens reach a client (CIBA Core §5).
fn mode(client: &CibaClient) -> &'static str {
    if client.notification_url.is_some() { "ping" } else { "poll" }
}

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
    redirect_uris: Vec<String>,
    #[serde(default)]
    return_urls: Vec<String>,
    jwks: Option<serde_json::Value>,
    id_token_alg: Option<String>,
    #[serde(default)]
    tenant_ids: Vec<String>,
    app_id: Option<String>,
    other_audience: Option<String>,
    cloud: Option<String>,
    fake: Option<String>,
    #[serde(default)]
    inline_enrolment: bool,
    mode: Option<String>,
    notification_url: Option<String>,
    #[serde(default)]
    user_code: bool,
    callback_url: Option<String>,
    issuer: Option<String>,
    #[serde(default)]
    allow_private: bool,
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
pub(super) struct Created {
    integration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
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
    Json(mut new): Json<New>,
) -> Result<(StatusCode, Json<Created>), Refused> {
    let protocol = read_protocol(&mut new)?;
    let scopes = read_scopes(&new.scopes)?;
    let mut warning = scopes.contains(&Scope::UsersWrite).then_some(
        "the scope users:write lets this key enrol devices for any user: whoever holds it can sign in as \
         them",
    );
    let entra = matches!(protocol, Protocol::Entra(_));
    let hosted = !matches!(protocol, Protocol::Api(_));
    let channel = matches!(protocol, Protocol::KeycloakCiba(_));
    let has_secret = !protocol.has_no_secret();
    if protocol.brings_number() {
        warning =
            Some("the number is chosen by the client: it must be random, and new for each request");
    }
    if new.inline_enrolment {
        warning = Some(
            "whoever has the password of a linked user who never had an authenticator can enrol one: link users \
             shortly before they enrol",
        );
    }
    let new = NewIntegration {
        name: new.name,
        protocol,
        purposes: new.purposes.into_iter().map(shapes::asked_purpose).collect(),
        methods: new.methods.map_or(Methods::ALL, shapes::asked_methods),
        scopes,
        verifies_first_factor: new.verifies_first_factor,
        reveal_users: new.reveal_users,
    };
    let mut call = state.call();
    let key = state.app.create_integration(&mut call, &admin.actor, admin.tenant.id, new).await?;
    let integration = key.integration.to_string();
    let secret = Some(key.key.reveal().to_owned());
    let url = state.app.public_url();
    let issuer = if entra { format!("{url}/entra") } else { url.to_owned() };
    let created = Created {
        client_id: hosted.then(|| integration.clone()),
        discovery_url: (hosted && !channel)
            .then(|| format!("{issuer}/.well-known/openid-configuration")),
        channel_url: channel.then(|| format!("{url}/keycloak/{integration}/ciba")),
        api_key: secret.clone().filter(|_| !hosted),
        client_secret: secret.filter(|_| hosted && has_secret),
        integration,
        warning,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// What an integration of the asked kind registers; fields of another kind are refused.
fn read_protocol(new: &mut New) -> Result<Protocol, Problem> {
    let kind = new.kind.clone().unwrap_or_else(|| "api".to_owned());
    let tokens: &[&str] = &["oidc", "ciba"];
    let given: [(bool, &[&str]); 15] = [
        (!new.redirect_uris.is_empty(), &["oidc"]),
        (!new.return_urls.is_empty(), &["api"]),
        (new.jwks.is_some(), tokens),
        (new.id_token_alg.is_some(), tokens),
        (!new.tenant_ids.is_empty(), &["entra"]),
        (new.app_id.is_some(), &["entra"]),
        (new.other_audience.is_some(), &["entra"]),
        (new.cloud.is_some(), &["entra"]),
        (new.fake.is_some(), &["entra"]),
        (new.inline_enrolment, &["entra"]),
        (new.mode.is_some() || new.user_code, &["ciba"]),
        (new.notification_url.is_some(), &["ciba"]),
        (new.callback_url.is_some(), &["keycloak_ciba"]),
        (new.issuer.is_some(), &["keycloak_ciba"]),
        (new.allow_private, &["ciba", "keycloak_ciba"]),
    ];
    if given.iter().any(|(there, kinds)| *there && !kinds.contains(&kind.as_str())) {
        return Err(Problem::invalid("kind", "a field of another kind was given"));
    }
    match kind.as_str() {
        "api" => Ok(Protocol::Api(ApiClient { return_urls: std::mem::take(&mut new.return_urls) })),
        "oidc" => Ok(Protocol::Oidc(OidcClient {
            redirect_uris: std::mem::take(&mut new.redirect_uris),
            jwks: new.jwks.as_ref().map(ToString::to_string),
            id_token: read_algorithm(new)?,
        })),
        "entra" => read_entra(new),
        "ciba" => read_ciba(new),
        "keycloak_ciba" => {
            let trimmed =
                |url: Option<String>| url.unwrap_or_default().trim_end_matches('/').to_owned();
            let realm = KeycloakRealm {
                issuer: trimmed(new.issuer.take()),
                callback_url: trimmed(new.callback_url.take()),
                allow_private: new.allow_private,
            };
            Ok(Protocol::KeycloakCiba(realm.completed()))
        }
        _ => Err(Problem::invalid("kind", "must be api, oidc, entra, ciba or keycloak_ciba")),
    }
}

fn read_algorithm(new: &New) -> Result<TokenAlgorithm, Problem> {
    let name = new.id_token_alg.as_deref().unwrap_or("RS256");
    TokenAlgorithm::from_name(name)
        .ok_or_else(|| Problem::invalid("id_token_alg", "must be RS256 or ES256"))
}

fn read_entra(new: &mut New) -> Result<Protocol, Problem> {
    let name = new.cloud.as_deref().unwrap_or("global");
    let cloud = Cloud::from_name(name)
        .ok_or_else(|| Problem::invalid("cloud", "must be global, us_gov, china or fake"))?;
    let lower = |id: &String| id.to_ascii_lowercase();
    Ok(Protocol::Entra(EntraClient {
        cloud,
        directories: new.tenant_ids.iter().map(lower).collect(),
        app_id: new.app_id.take().unwrap_or_default(),
        other_audience: new.other_audience.take(),
        fake: new.fake.take(),
        inline_enrolment: new.inline_enrolment,
    }))
}

fn read_ciba(new: &mut New) -> Result<Protocol, Problem> {
    let notification_url = new.notification_url.take();
    match (new.mode.as_deref(), &notification_url) {
        (None | Some("poll"), None) | (Some("ping"), Some(_)) => {}
        (Some("ping"), None) => {
            return Err(Problem::invalid("notification_url", "is needed for the mode ping"));
        }
        (None | Some("poll"), Some(_)) => {
            return Err(Problem::invalid("notification_url", "is for the mode ping alone"));
        }
        (Some(_), _) => return Err(Problem::invalid("mode", "must be poll or ping")),
    }
    Ok(Protocol::Ciba(CibaClient {
        notification_url,
        allow_private: new.allow_private,
        user_code: new.user_code,
        jwks: new.jwks.as_ref().map(ToString::to_string),
        id_token: read_algorithm(new)?,
    }))
}

/// What was asked for, each once; challenges if nothing was. A key that only reads must not make phones ring.
fn read_scopes(asked: &[String]) -> Result<Vec<Scope>, Problem> {
    if asked.is_empty() {
        return Ok(vec![Scope::Challenges]);
    }
    let mut scopes = Vec::with_capacity(asked.len());
    for name in asked {
        let why = || format!("must be one of {}", Scope::ALL.map(Scope::name).join(", "));
        let scope = Scope::from_name(name).ok_or_else(|| Problem::invalid("scopes", why()))?;
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
