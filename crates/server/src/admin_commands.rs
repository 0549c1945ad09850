//! `countersign admin`, `events` and `why`: a request to the operators' routes, and its reply for a person or a
//! program.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use places::Atlas;
use serde_json::{Map, Value, json};

use crate::admin_client::{ClientError, Reply, Transport};
use crate::cli::{
    Admin, Device, Events, Factor, Integration, Key, Keys, Link, Listing, NewIntegration, Noun,
    Tenant, Ticket, User, Webhook, Where, Why, api_name,
};
use crate::commands::{is_shown, settings, show};
use crate::exit::Exit;
use crate::node::{Core, StartError};
use crate::{clock, qr};

/// How often `events --follow` looks for more.
const FOLLOW: Duration = Duration::from_secs(1);

/// Where the running server's webhooks are.
const WEBHOOKS: &str = "/webhooks";

/// Lists up to this length, such as methods and scopes, stay on their line.
const SHORT_LIST: usize = 4;

/// A request to the operators' routes.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), query: Vec::new(), body: None }
    }

    fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(path) }
    }

    fn put(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::PUT, ..Self::post(path, body) }
    }

    fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    fn with(mut self, name: &'static str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    fn target(&self) -> String {
        let query: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        match query.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{}", self.path, query.join("&")),
        }
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Runs `countersign admin`.
pub(crate) async fn admin(command: Admin, json: bool) -> Exit {
    let jwks = match client_keys(&command.noun) {
        Ok(jwks) => jwks,
        Err(why) => {
            eprintln!("error: {why}");
            return Exit::Usage;
        }
    };
    let mut ask = asked(command.noun);
    if let (Some(jwks), Some(body)) = (jwks, &mut ask.body) {
        body["jwks"] = jwks;
    }
    let ask = ask.with("tenant", command.tenant);
    let link = ask.path == "/tickets" && ask.method == Method::POST;
    match send(&command.place, ask).await {
        Ok(reply) if json => present(&reply, |body| show(&body.to_string())),
        Ok(reply) => present(&reply, |body| {
            show(&readable(body));
            if let (true, Some(link)) = (link, body["link"].as_str()) {
                show(&qr::terminal(link).unwrap_or_default());
            }
            Exit::Ok
        }),
        Err(exit) => exit,
    }
}

/// The key set that a new integration's command names.
fn client_keys(noun: &Noun) -> Result<Option<Value>, String> {
    let Noun::Integration(Integration::Create(new)) = noun else { return Ok(None) };
    let Some(file) = &new.jwks else { return Ok(None) };
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    serde_json::from_str(&text).map(Some).map_err(|error| format!("{shown}: {error}"))
}

/// Runs `countersign why`.
pub(crate) async fn why(command: Why, json: bool) -> Exit {
    let path = format!("/why/{}", encode(&command.challenge));
    match send(&command.place, Ask::get(path).with("tenant", command.tenant)).await {
        Ok(reply) => present(&reply, |body| match (json, body["why"].as_str()) {
            (false, Some(sentence)) => show(sentence),
            _ => show(&body.to_string()),
        }),
        Err(exit) => exit,
    }
}

/// Runs `countersign events`.
pub(crate) async fn events(command: Events, json: bool) -> Exit {
    let mut cursor: Option<String> = None;
    let mut left = command.limit;
    loop {
        let ask = Ask::get("/events")
            .with("tenant", command.tenant.clone())
            .with("user", command.user.clone())
            .with("type", command.r#type.clone())
            .with("integration", command.integration.clone())
            .with("since", command.since.clone())
            .with("limit", left.map(|left| left.min(100).to_string()))
            .with("cursor", cursor.clone());
        let reply = match send(&command.place, ask).await {
            Ok(reply) if reply.status.is_success() => reply,
            Ok(reply) => return present(&reply, |_| Exit::Ok),
            Err(exit) => return exit,
        };
        let rows = reply.body["data"].as_array().cloned().unwrap_or_default();
        for row in &rows {
            if !is_shown(&if json { row.to_string() } else { event_line(row) }) {
                return Exit::Ok;
            }
            cursor = row["id"].as_str().map(str::to_owned).or(cursor);
        }
        left = left.map(|left| left.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX)));
        let done = reply.body["next_cursor"].is_null() || rows.is_empty();
        if left == Some(0) || (done && !command.follow) {
            return Exit::Ok;
        }
        if done {
            tokio::time::sleep(FOLLOW).await;
        }
    }
}

fn asked(noun: Noun) -> Ask {
    match noun {
        Noun::Tenant(Tenant::Create { name }) => Ask::post("/tenants", json!({"name": name})),
        Noun::Tenant(Tenant::List) => Ask::get("/tenants"),
        Noun::Tenant(Tenant::Show { tenant }) => Ask::get(format!("/tenants/{}", encode(&tenant))),
        Noun::Integration(integration) => about_integration(integration),
        Noun::User(user) => about_user(user),
        Noun::Ticket(ticket) => about_ticket(ticket),
        Noun::Factor(factor) => about_factor(factor),
        Noun::Device(Device::List(of)) => Ask::get("/devices").with("user", Some(of.user)),
        Noun::Device(Device::Show { device }) => Ask::get(format!("/devices/{}", encode(&device))),
        Noun::Device(Device::Revoke { device }) => {
            Ask::delete(format!("/devices/{}", encode(&device)))
        }
        Noun::Device(Device::Approve { device }) => {
            Ask::post(format!("/devices/{}/approve", encode(&device)), json!({}))
        }
        Noun::Webhook(webhook) => about_webhook(webhook),
        Noun::Link(link) => about_link(link),
        Noun::Keys { verb: Some(Keys::Rotate) } => Ask::post("/keys/rotate", json!({})),
        Noun::Keys { verb: None | Some(Keys::List | Keys::Show) } => Ask::get("/keys"),
    }
}

fn about_webhook(webhook: Webhook) -> Ask {
    let path = |name: &str, verb: &str| format!("{WEBHOOKS}/{}{verb}", encode(name));
    match webhook {
        Webhook::List => Ask::get(WEBHOOKS),
        Webhook::Show { name } => Ask::get(path(&name, "")),
        Webhook::Test { name } => Ask::post(path(&name, "/test"), json!({})),
        Webhook::Enable { name } => Ask::post(path(&name, "/enable"), json!({})),
    }
}

fn about_integration(integration: Integration) -> Ask {
    let path = |name: &str| format!("/integrations/{}", encode(name));
    match integration {
        Integration::Create(new) => Ask::post("/integrations", new_integration(*new)),
        Integration::List => Ask::get("/integrations"),
        Integration::Show { integration } => Ask::get(path(&integration)),
        Integration::Key(Key::Create { integration, expires_in_days }) => {
            let days = expires_in_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
            let expires = days.map(|days| rfc3339(clock::now().plus(days)));
            let mut body = Map::new();
            body.extend(expires.map(|at| ("expires_at".to_owned(), Value::String(at))));
            Ask::post(format!("{}/keys", path(&integration)), Value::Object(body))
        }
        Integration::Key(Key::List { integration }) => {
            Ask::get(format!("{}/keys", path(&integration)))
        }
        Integration::Key(Key::Revoke { integration, key }) => {
            Ask::delete(format!("{}/keys/{}", path(&integration), encode(&key)))
        }
    }
}

fn about_link(link: Link) -> Ask {
    let path = |integration: &str| format!("/integrations/{}/links", encode(integration));
    match link {
        Link::Create { integration, subject, user } => {
            Ask::post(path(&integration), json!({"subject": subject, "user": user}))
        }
        Link::List { integration } => Ask::get(path(&integration)),
        Link::Remove { integration, subject } => {
            Ask::delete(format!("{}/{}", path(&integration), encode(&subject)))
        }
    }
}

fn rfc3339(at: statement::Timestamp) -> String {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).to_string()
}

fn new_integration(new: NewIntegration) -> Value {
    let mut body = json!({
        "name": new.name,
        "kind": new.kind,
        "verifies_first_factor": new.verifies_first_factor,
        "reveal_users": new.reveal_users,
    });
    let names = |names: Vec<String>| Value::from(names);
    if !new.purpose.is_empty() {
        body["purposes"] = names(new.purpose.iter().map(api_name).collect());
    }
    if !new.scope.is_empty() {
        let challenges = (!new.no_challenges).then(|| api_name(&crate::cli::Scope::Challenges));
        let mut scopes: Vec<String> = new.scope.iter().map(api_name).collect();
        scopes.extend(challenges.filter(|name| !scopes.contains(name)));
        body["scopes"] = names(scopes);
    }
    for (name, values) in [
        ("redirect_uris", new.redirect_uri),
        ("return_urls", new.return_url),
        ("tenant_ids", new.directory_id),
    ] {
        if !values.is_empty() {
            body[name] = names(values);
        }
    }
    for (name, value) in [
        ("id_token_alg", new.id_token_alg),
        ("app_id", new.app_id),
        ("other_audience", new.other_audience),
        ("cloud", new.cloud),
        ("fake", new.fake),
        ("mode", new.mode),
        ("notification_url", new.notification_url),
        ("callback_url", new.callback_url),
        ("issuer", new.issuer),
    ] {
        if let Some(value) = value {
            body[name] = Value::String(value);
        }
    }
    for (name, on) in [
        ("user_code", new.user_code),
        ("allow_private", new.allow_private),
        ("inline_enrolment", new.inline_enrolment),
    ] {
        if on {
            body[name] = Value::Bool(true);
        }
    }
    if !new.method.is_empty() {
        body["methods"] = names(new.method.iter().map(api_name).collect());
    }
    body
}

fn about_user(user: User) -> Ask {
    match user {
        User::Create { name, break_glass, ttl_s } => {
            let mut body = json!({"name": name, "break_glass": break_glass});
            if let Some(seconds) = ttl_s {
                body["ttl_s"] = seconds.into();
            }
            Ask::post("/users", body)
        }
        User::Update { user, ttl_s } => {
            Ask::put(format!("/users/{}", encode(&user)), json!({"ttl_s": ttl_s}))
        }
        User::List(Listing { limit, cursor }) => Ask::get("/users")
            .with("limit", limit.map(|limit| limit.to_string()))
            .with("cursor", cursor),
        User::Show { user } => Ask::get(format!("/users/{}", encode(&user))),
        User::Code { user, remove } => {
            let path = format!("/users/{}/code", encode(&user));
            if remove { Ask::delete(path) } else { Ask::post(path, json!({})) }
        }
        User::Contain { user, reason } => {
            let body = reason.map_or_else(|| json!({}), |reason| json!({"reason": reason}));
            Ask::post(format!("/users/{}/contain", encode(&user)), body)
        }
        User::Clear { user, reason } => {
            Ask::post(format!("/users/{}/clear", encode(&user)), json!({"reason": reason}))
        }
    }
}

fn about_ticket(ticket: Ticket) -> Ask {
    match ticket {
        Ticket::Create { user, no_confirm, reason } => {
            let mut body = json!({"user": user, "no_confirm": no_confirm});
            if let Some(reason) = reason {
                body["reason"] = Value::String(reason);
            }
            Ask::post("/tickets", body)
        }
        Ticket::List(of) => Ask::get("/tickets").with("user", Some(of.user)),
        Ticket::Show { ticket } => Ask::get(format!("/tickets/{}", encode(&ticket))),
    }
}

fn about_factor(factor: Factor) -> Ask {
    match factor {
        Factor::Create { user, r#type } => {
            Ask::post("/factors", json!({"user": user, "type": api_name(&r#type)}))
        }
        Factor::Reset { user, reason } => {
            Ask::post("/factors/reset", json!({"user": user, "reason": reason}))
        }
        Factor::List(of) => Ask::get("/factors").with("user", Some(of.user)),
        Factor::Approve { factor, user } => {
            Ask::post(format!("/factors/{}/approve", encode(&factor)), json!({}))
                .with("user", Some(user))
        }
        Factor::Show { factor, user } => {
            Ask::get(format!("/factors/{}", encode(&factor))).with("user", Some(user))
        }
    }
}

/// Sends a request through the server's socket; without a server, opens the store in this process.
pub(crate) async fn send(place: &Where, ask: Ask) -> Result<Reply, Exit> {
    let loaded = settings(place).map_err(|issues| {
        eprintln!("{issues}");
        Exit::Usage
    })?;
    let config = loaded.config;
    let (target, body) = (ask.target(), ask.body.as_ref());
    let socket = Transport::socket(&config.data);
    match socket.request(ask.method.clone(), &target, body).await {
        Ok(reply) => return Ok(reply),
        // only a running server sends any
        Err(error @ ClientError::NotRunning(_)) if ask.path.starts_with(WEBHOOKS) => {
            eprintln!("error: {error}");
            return Err(Exit::Unreachable);
        }
        Err(ClientError::NotRunning(_)) => {}
        Err(error) => {
            eprintln!("error: {error}");
            return Err(Exit::Unreachable);
        }
    }
    demand_store(&config.data)?;
    let failed = |error: StartError| {
        eprintln!("error: {error}");
        Exit::Unreachable
    };
    let origin = config.origin(config.listen).map_err(|error| failed(error.into()))?;
    let guard = crate::guard::load(&config)
        .map_err(|error| failed(StartError::Policy(error.to_string())))?;
    // nobody signs in here
    let places = Arc::new(Atlas::default());
    let core = Core::open(&config.data, origin, guard, places).await.map_err(failed)?;
    let uid = rustix::process::getuid().as_raw();
    let offline = Transport::InProcess(core.admin(uid));
    let reply = offline.request(ask.method, &target, body).await;
    drop(offline);
    // what was asked for is stored, and said; the next checkpoint anchors it
    let _ = core.close().await;
    reply.map_err(|error| {
        eprintln!("error: {error}");
        Exit::Unreachable
    })
}

/// Without a store there is nothing to ask, and none is made by asking.
pub(crate) fn demand_store(data: &Path) -> Result<(), Exit> {
    if data.join("countersign.db").exists() {
        return Ok(());
    }
    let dir = data.display();
    eprintln!("error: there is no data in {dir}: start `countersign serve`, or name --data");
    Err(Exit::Unreachable)
}

/// Shows a success by `print`, and a refusal with what to do.
pub(crate) fn present(reply: &Reply, print: impl FnOnce(&Value) -> Exit) -> Exit {
    if reply.status.is_success() {
        return print(&reply.body);
    }
    let text = |member: &str| reply.body[member].as_str().unwrap_or_default();
    let field = match text("field") {
        "" => String::new(),
        field => format!(" ({field})"),
    };
    let detail = if text("detail").is_empty() { text("title") } else { text("detail") };
    eprintln!("error: {}{field}: {detail}", text("code"));
    match reply.status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Exit::Usage,
        status if status.is_server_error() => Exit::Unreachable,
        _ => Exit::Refused,
    }
}

/// `name: value` lines; a list is one line an item.
fn readable(body: &Value) -> String {
    let line = |(name, value): (&String, &Value)| format!("{name}: {}", plain(value));
    match body {
        Value::Object(members) if members.get("data").is_some_and(Value::is_array) => {
            let rows = members["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            rows.iter().map(row).collect::<Vec<_>>().join("\n")
        }
        Value::Object(members) => members.iter().map(line).collect::<Vec<_>>().join("\n"),
        other => plain(other),
    }
}

fn row(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let parts: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
            parts.join("  ")
        }
        other => plain(other),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // one a line only where they are long, such as recovery codes
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(plain).collect();
            let separator = if texts.len() > SHORT_LIST { "\n  " } else { "," };
            texts.join(separator)
        }
        other => other.to_string(),
    }
}

/// One event for a person: when, what, and whatever it says.
fn event_line(event: &Value) -> String {
    let Value::Object(members) = event else {
        return event.to_string();
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let rest: Vec<String> = members
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "id" | "at" | "type"))
        .map(|(name, value)| format!("{name}={}", plain(value)))
        .collect();
    format!("{}  {}  {}", text("at"), text("type"), rest.join("  "))
}
