//! Who may ask for what: every described route, every kind of caller, through the real program.

use authenticator_native::Account;
use serde_json::{Value, json};
use server::clock;

use crate::child::{Asked, request};
use crate::rest::Reply;
use crate::world::{SCOPES, World};

/// One operation of docs/openapi.json and what each kind of caller is told.
struct Row {
    method: &'static str,
    path: &'static str,
    /// The scope that it takes; empty for what everybody may read.
    scope: &'static str,
    /// No key, no key at all, a damaged one, one that ended, one that was revoked.
    dead: &'static str,
    /// Another organisation's key with every scope.
    foreign: &'static str,
    /// A key of the same organisation that has every scope but this one.
    without: &'static str,
    /// Another integration of the same organisation that may only ask for challenges.
    neighbour: &'static str,
    /// Another integration of the same organisation that may do everything.
    peer: &'static str,
    own: &'static str,
}

const fn row(
    method: &'static str,
    path: &'static str,
    scope: &'static str,
    [dead, foreign, without, neighbour, peer, own]: [&'static str; 6],
) -> Row {
    Row { method, path, scope, dead, foreign, without, neighbour, peer, own }
}

const OK: &str = "200";
const MADE: &str = "201";
const NO_KEY: &str = "401 unauthenticated";
const NO_SCOPE: &str = "403 scope_missing";
const NOTHING: &str = "404 not_found";
/// What a challenge's own integration alone is told.
const OWN_ONLY: [&str; 6] = [NO_KEY, NOTHING, NOTHING, NOTHING, NOTHING, OK];
/// What every integration of the organisation with the scope is told.
const BY_SCOPE: [&str; 6] = [NO_KEY, NOTHING, NO_SCOPE, NO_SCOPE, OK, OK];
const MADE_BY_SCOPE: [&str; 6] = [NO_KEY, NOTHING, NO_SCOPE, NO_SCOPE, MADE, MADE];
/// A list holds what is the organisation's own.
const LIST: [&str; 6] = [NO_KEY, OK, NO_SCOPE, NO_SCOPE, OK, OK];

/// A route that isn't here fails the test.
const ROWS: [Row; 23] = [
    row("GET", "/openapi.json", "", [OK; 6]),
    row("GET", "/.well-known/jwks.json", "", [OK; 6]),
    // a stranger to this organisation gets a decoy: it can't tell that the user isn't there
    row("POST", "/v1/challenges", "challenges", [NO_KEY, MADE, MADE, MADE, MADE, MADE]),
    row("GET", "/v1/challenges/{id}", "challenges", OWN_ONLY),
    row("POST", "/v1/challenges/{id}/code", "challenges", OWN_ONLY),
    row("POST", "/v1/challenges/{id}/redeem", "challenges", OWN_ONLY),
    row("DELETE", "/v1/challenges/{id}", "challenges", OWN_ONLY),
    row("GET", "/v1/events", "events:read", LIST),
    row("GET", "/v1/users", "users:read", LIST),
    row("GET", "/v1/users/{user}", "users:read", BY_SCOPE),
    row("PUT", "/v1/users/{user}", "users:write", BY_SCOPE),
    row("GET", "/v1/users/{user}/devices", "users:read", BY_SCOPE),
    row("GET", "/v1/users/{user}/devices/{device}", "users:read", BY_SCOPE),
    row("DELETE", "/v1/users/{user}/devices/{device}", "users:write", BY_SCOPE),
    row("POST", "/v1/devices/{device}/approve", "users:write", BY_SCOPE),
    row("GET", "/v1/users/{user}/factors", "users:read", BY_SCOPE),
    row("POST", "/v1/users/{user}/factors", "users:write", MADE_BY_SCOPE),
    row("DELETE", "/v1/users/{user}/factors", "users:write", BY_SCOPE),
    row("POST", "/v1/users/{user}/factors/{factor}/approve", "users:write", BY_SCOPE),
    row("POST", "/v1/users/{user}/tickets", "users:write", MADE_BY_SCOPE),
    row("GET", "/v1/users/{user}/tickets/{ticket}", "users:write", BY_SCOPE),
    row("POST", "/v1/users/{user}/contain", "guard:write", BY_SCOPE),
    row("POST", "/v1/users/{user}/clear", "guard:write", BY_SCOPE),
];

/// Keys of everybody but the owner.
struct Callers {
    dead: [String; 5],
    foreign: String,
    neighbour: String,
    peer: String,
    /// By the scope that is missing.
    without: Vec<(&'static str, String)>,
}

impl Callers {
    async fn new(world: &World) -> Self {
        let made = world.server.admin(&["tenant", "create", "--name", "elsewhere"]).await;
        made.unwrap();
        let foreign = world.integration("foreign", &SCOPES, &["--tenant", "elsewhere"]).await;
        let neighbour = world.integration("neighbour", &[], &[]).await;
        let peer = world.integration("peer", &SCOPES, &[]).await;
        let mut without = Vec::new();
        for scope in SCOPES {
            let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
            let name = format!("without {scope}");
            without.push((scope, world.integration(&name, &others, &[]).await));
        }
        let garbage = "garbage".to_owned();
        let dead = [
            String::new(),
            garbage,
            damaged(&world.own_key),
            expired(world).await,
            revoked(world).await,
        ];
        Self { dead, foreign, neighbour, peer, without }
    }

    fn without(&self, scope: &str) -> &str {
        let found = self.without.iter().find(|(missing, _)| *missing == scope);
        found.map_or(&self.neighbour, |(_, key)| key)
    }
}

/// One digit of the checksum changed.
fn damaged(key: &str) -> String {
    let (rest, last) = key.split_at(key.len() - 1);
    format!("{rest}{}", if last == "0" { '8' } else { '0' })
}

async fn expired(world: &World) -> String {
    let key = world.short_lived_key("shop").await;
    let until = clock::now().plus(crate::socket::PATIENCE);
    while world.rest.send(&key, "GET", "/v1/users", &Value::Null).await.status == 200 {
        assert!(clock::now() < until, "a key must end when it was told to");
    }
    key
}

async fn revoked(world: &World) -> String {
    let admin = async |args: &[&str]| world.server.admin(args).await.unwrap();
    let made = admin(&["integration", "key", "create", "shop"]).await;
    let key = made["api_key"].as_str().unwrap().to_owned();
    admin(&["integration", "key", "revoke", "shop", &key[..12]]).await;
    key
}

/// Somebody's challenge, ticket and device, all of the owner's.
struct Objects {
    user: String,
    device: String,
    factor: String,
    ticket: String,
    asked: Asked,
    account: Account,
}

impl Objects {
    async fn new(world: &World, name: &str) -> Self {
        let account = world.enrolled(name).await;
        let user = world.get(&format!("/v1/users/name:{name}")).await;
        let user = user["id"].as_str().unwrap().to_owned();
        let tickets = format!("/v1/users/{user}/tickets");
        let ticket = world.own.send("POST", &tickets, json!({"reason": "test"})).await.unwrap();
        let asked = crate::child::ask(&world.own, name, name).await;
        let device = account.device.to_string();
        let factors = world.get(&format!("/v1/users/{user}/factors")).await;
        let factor = factors["data"][0]["factor"].as_str().unwrap().to_owned();
        Self { user, device, factor, ticket: ticket.text("ticket").to_owned(), asked, account }
    }

    /// The same, but nothing of it exists.
    fn unknown(&self) -> Self {
        let other = |id: &str| {
            let (prefix, rest) = id.split_once('_').unwrap();
            format!("{prefix}_{}", "0".repeat(rest.len()))
        };
        Self {
            user: other(&self.user),
            device: other(&self.device),
            factor: other(&self.factor),
            ticket: other(&self.ticket),
            asked: Asked { id: other(&self.asked.id), ..self.asked.clone() },
            account: self.account.clone(),
        }
    }

    fn path(&self, template: &str) -> String {
        template
            .replace("{id}", &self.asked.id)
            .replace("{user}", &self.user)
            .replace("{device}", &self.device)
            .replace("{factor}", &self.factor)
            .replace("{ticket}", &self.ticket)
    }

    /// What would do something if it were allowed.
    fn body(&self, row: &Row) -> Value {
        match (row.method, row.path) {
            ("POST", "/v1/challenges") => {
                let mut body = request("x", "another-browsers-session");
                body["user"] = json!(self.user);
                body
            }
            ("POST", path) if path.ends_with("/code") => {
                let code = self.account.code(clock::now()).unwrap();
                json!({"code": *code.digits})
            }
            ("POST", path) if path.ends_with("/redeem") => {
                json!({"browser_session": self.asked.session})
            }
            ("POST", path) if path.ends_with("/factors") => json!({"type": "recovery_code"}),
            ("POST" | "DELETE", path)
                if path.ends_with("/tickets")
                    | path.ends_with("/factors")
                    | path.ends_with("/contain")
                    | path.ends_with("/clear") =>
            {
                json!({"reason": "test"})
            }
            _ => Value::Null,
        }
    }

    /// Everything that the owner can see of them.
    async fn seen(&self, world: &World) -> Vec<Value> {
        let Self { user, ticket, .. } = self;
        let mut seen = vec![world.get(&self.asked.path("")).await];
        for path in ["", "/devices", "/factors"] {
            seen.push(world.get(&format!("/v1/users/{user}{path}")).await);
        }
        seen.push(world.get(&format!("/v1/users/{user}/tickets/{ticket}")).await);
        seen
    }
}

#[test]
fn every_route_has_its_row() {
    let described: Value = serde_json::from_str(edge_http::openapi_json()).unwrap();
    let mut missing = Vec::new();
    let mut count = 0;
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            count += 1;
            let scope = operation["security"][0]["key"][0].as_str().unwrap_or_default();
            let is_this = |row: &&Row| row.path == path && row.method == method.to_uppercase();
            match ROWS.iter().find(is_this) {
                Some(row) => assert_eq!(row.scope, scope, "{method} {path}"),
                None => missing.push(format!("{method} {path}")),
            }
        }
    }
    assert!(missing.is_empty(), "no row in the table for: {}", missing.join(", "));
    assert_eq!(count, ROWS.len(), "rows for routes that are gone");
}

#[tokio::test]
async fn every_route_tells_every_caller_what_it_should() {
    let world = World::new("authz").await;
    let callers = Callers::new(&world).await;
    let served = world.rest.send("", "GET", "/openapi.json", &Value::Null).await.json();
    let described: Value = serde_json::from_str(edge_http::openapi_json()).unwrap();
    assert_eq!(served["paths"], described["paths"], "the server serves what the table covers");
    for (number, row) in ROWS.iter().enumerate() {
        let objects = Objects::new(&world, &format!("user{number}")).await;
        if row.path.ends_with("/redeem") {
            let code = objects.account.code(clock::now()).unwrap();
            let code = json!({"code": *code.digits});
            let passed = world.own.send("POST", &objects.asked.path("/code"), code).await.unwrap();
            assert_eq!(passed.text("state"), "approved");
        }
        check(&world, &callers, row, &objects).await;
    }
}

/// Asks for one row as everybody, the owner last.
async fn check(world: &World, callers: &Callers, row: &Row, objects: &Objects) {
    let Callers { dead, foreign, neighbour, peer, .. } = callers;
    let without = callers.without(row.scope);
    let (path, body) = (objects.path(row.path), objects.body(row));
    let ask = async |key: &str, who: &str, expected: &str| {
        let reply = world.rest.send(key, row.method, &path, &body).await;
        assert_eq!(reply.outcome(), expected, "{} {} as {who}: {reply:?}", row.method, row.path);
        reply
    };
    let before = (objects.seen(world).await, world.events(&world.own_key).await);
    let abroad = world.events(foreign).await;
    let kinds = ["no key", "garbage", "a damaged key", "an expired key", "a revoked key"];
    let mut refusals = Vec::new();
    for (key, kind) in dead.iter().zip(kinds) {
        refusals.push(ask(key, kind, row.dead).await.lasting());
    }
    assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]), "{}: {refusals:?}", row.path);
    // more often than a wrong session may be tried
    let tries = if row.foreign == NOTHING { 6 } else { 1 };
    for _ in 0..tries {
        let strangers = ask(foreign, "another organisation", row.foreign).await;
        assert!(!holds(&strangers, objects), "{}: {strangers:?}", row.path);
        for (key, who, expected) in [
            (neighbour.as_str(), "a neighbour", row.neighbour),
            (without, "a key without the scope", row.without),
        ] {
            if row.own == expected {
                continue;
            }
            ask(key, who, expected).await;
        }
        if row.peer != row.own {
            ask(peer, "a peer", row.peer).await;
        }
    }
    if row.foreign == NOTHING {
        compare_with_unknown(world, foreign, row, objects).await;
        assert_eq!(abroad, world.events(foreign).await, "{}: nor in their audit", row.path);
    }
    let after = (objects.seen(world).await, world.events(&world.own_key).await);
    assert_eq!(before, after, "{} {}: what was refused must change nothing", row.method, row.path);
    for (key, who, expected) in [
        (neighbour.as_str(), "a neighbour", row.neighbour),
        (peer.as_str(), "a peer", row.peer),
        (world.own_key.as_str(), "the owner", row.own),
    ] {
        ask(key, who, expected).await;
    }
}

/// Whether a reply shows anything of these.
fn holds(reply: &Reply, objects: &Objects) -> bool {
    let body = String::from_utf8_lossy(&reply.body);
    let Objects { user, device, ticket, asked, .. } = objects;
    [user, device, ticket, &asked.id, &asked.number].iter().any(|part| body.contains(*part))
}

/// What isn't there and what is somebody else's are told of in the same bytes.
async fn compare_with_unknown(world: &World, foreign: &str, row: &Row, objects: &Objects) {
    let body = objects.body(row);
    let of_others = world.rest.send(foreign, row.method, &objects.path(row.path), &body).await;
    let unknown = objects.unknown();
    let half = Objects { user: objects.user.clone(), ..objects.unknown() };
    for nothing in [&unknown, &half] {
        let path = nothing.path(row.path);
        if path == objects.path(row.path) {
            continue;
        }
        let of_nobody = world.rest.send(&world.own_key, row.method, &path, &body).await;
        assert_eq!(of_others.lasting(), of_nobody.lasting(), "{} {path}", row.method);
    }
}

/// Other spellings of a challenge's address: `I` stands for its id. What the owner is told; nobody else may
/// ever be told more.
const TRICKS: [(&str, &str, &str); 22] = [
    ("GET", "//v1/challenges/I", NOTHING),
    ("GET", "/v1//challenges/I", NOTHING),
    ("GET", "/v1/challenges//I", NOTHING),
    ("GET", "/v1/challenges/I/", NOTHING),
    ("GET", "/v1/challenges/./I", NOTHING),
    ("GET", "/v1/users/../challenges/I", NOTHING),
    ("GET", "/v1/users/%2e%2e/challenges/I", NOTHING),
    ("GET", "/v1/challenges%2fI", NOTHING),
    ("GET", "/v1%2fchallenges%2fI", NOTHING),
    ("POST", "/v1/challenges/I%2fredeem", "405 method_not_allowed"),
    ("GET", "/v1/%63hallenges/I", NOTHING),
    ("GET", "/V1/challenges/I", NOTHING),
    ("GET", "/v1/CHALLENGES/I", NOTHING),
    ("GET", "/v1/challenges/I%00", NOTHING),
    ("GET", "/v1/challenges/I%20", NOTHING),
    ("GET", "/v1/challenges/I;a=b", NOTHING),
    ("GET", "/v1/challenges/I.json", NOTHING),
    ("GET", "/v1/challenges/%ff%fe", "400 malformed_request"),
    ("GET", "/v1/challenges/I/code", "405 method_not_allowed"),
    ("DELETE", "/v1/challenges", "405 method_not_allowed"),
    ("GET", "/v1/users/name:tricks%2fdevices", NOTHING),
    ("TRACE", "/v1/challenges/I", "405 method_not_allowed"),
];

#[tokio::test]
async fn other_spellings_lead_nowhere_else() {
    let world = World::new("authz-tricks").await;
    let foreign = world.integration("neighbour", &[], &[]).await;
    let objects = Objects::new(&world, "tricks").await;
    let before = (objects.seen(&world).await, happened(&world).await);
    let session = json!({"browser_session": objects.asked.session});
    for (method, template, expected) in TRICKS {
        let path = template.replace('I', &objects.asked.id);
        let body = if method == "POST" { &session } else { &Value::Null };
        let own = world.rest.send(&world.own_key, method, &path, body).await;
        assert_eq!(own.outcome(), expected, "{method} {template}: {own:?}");
        for key in ["", &foreign] {
            let reply = world.rest.send(key, method, &path, body).await;
            assert!(reply.status >= 400, "{method} {template}: {reply:?}");
            assert!(!holds(&reply, &objects), "{method} {template}: {reply:?}");
        }
    }
    let after = (objects.seen(&world).await, happened(&world).await);
    assert_eq!(before, after);
}

/// All events but those of the keys that a server draws by itself after its first start.
async fn happened(world: &World) -> Vec<Value> {
    let mut events = world.events(&world.own_key).await;
    events.retain(|event| event["type"] != "token_key_created");
    events
}

#[tokio::test]
async fn an_id_reads_the_same_however_it_is_written() {
    let world = World::new("authz-ids").await;
    let neighbour = world.integration("neighbour", &[], &[]).await;
    let asked = crate::child::ask(&world.own, "nobody", "ids").await;
    let (prefix, rest) = asked.id.split_once('_').unwrap();
    let encoded: String = asked.id.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for id in [encoded, format!("{prefix}_{}", rest.to_uppercase()), asked.id.to_uppercase()] {
        let path = format!("/v1/challenges/{id}");
        let own = world.rest.send(&world.own_key, "GET", &path, &Value::Null).await;
        match own.status {
            200 => assert_eq!(own.json()["id"], json!(asked.id)),
            _ => assert_eq!(own.outcome(), NOTHING, "{id}"),
        }
        let others = world.rest.send(&neighbour, "GET", &path, &Value::Null).await;
        assert_eq!(others.outcome(), NOTHING, "{id}");
    }
}

#[tokio::test]
async fn a_header_can_t_make_up_an_address() {
    let world = World::new("authz-address").await;
    let forged = "198.51.100.66";
    let headers = [
        ("x-forwarded-for", forged),
        ("x-forwarded-for", "198.51.100.66, 198.51.100.66"),
        ("forwarded", "for=198.51.100.66"),
        ("x-real-ip", forged),
        ("cf-connecting-ip", forged),
    ];
    for (user, told) in [("without", None), ("with", Some("203.0.113.9"))] {
        world.enrolled(user).await;
        let mut body = request(user, &format!("{user:-<22}"));
        body["context"]["ip"] = json!(told);
        if told.is_none() {
            body["context"].as_object_mut().unwrap().remove("ip");
        }
        let key = &world.own_key;
        let made = world.rest.send_with(key, "POST", "/v1/challenges", &body, &headers).await;
        let id = made.json()["id"].clone();
        let path = format!("/v1/challenges/{}", id.as_str().unwrap());
        for method in ["GET", "DELETE"] {
            world.rest.send_with(key, method, &path, &Value::Null, &headers).await;
        }
        let events = world.events(key).await;
        let created = events.iter().find(|e| e["challenge"] == id).unwrap();
        assert_eq!(created["private"]["address"].as_str(), told);
        assert!(!json!(events).to_string().contains(forged));
    }
    let log = world.home.logged();
    assert!(!log.contains(forged), "a client's word isn't logged as an address: {log}");
}

#[tokio::test]
async fn an_idempotency_key_is_nobody_else_s() {
    let world = World::new("authz-idempotency").await;
    let neighbour = world.integration("neighbour", &[], &[]).await;
    world.server.admin(&["tenant", "create", "--name", "elsewhere"]).await.unwrap();
    let foreign = world.integration("foreign", &[], &["--tenant", "elsewhere"]).await;
    world.enrolled("alice").await;
    let body = request("alice", "the-same-browser-session");
    let header = [("idempotency-key", "the-same-key")];
    let mut seen = Vec::new();
    for key in [&world.own_key, &neighbour, &foreign, &world.own_key] {
        let made = world.rest.send_with(key, "POST", "/v1/challenges", &body, &header).await;
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        seen.push((made["id"].clone(), made["number"].clone()));
    }
    assert_eq!(seen[0], seen[3], "its own replay");
    assert_ne!(seen[0].0, seen[1].0);
    assert_ne!(seen[0].0, seen[2].0);
    assert_ne!(seen[1].0, seen[2].0);
}
