//! A caller can't tell a real user from one who isn't enrolled or isn't there: every reply of a challenge's
//! whole life has the same status, headers, shape and length.

use std::time::Duration;

use authenticator_native::{Client, Reconnect};
use domain::recovery::RecoveryCode;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use server::clock;
use statement::Timestamp;

use crate::child::is_full;
use crate::rest::Reply;
use crate::world::World;

/// How late an end may be told: the sweep's promise, and some for a busy machine.
const LATE: Duration = Duration::from_secs(4);
/// What differs between any two replies and says nothing of the user.
const DIFFERS: [&str; 4] = ["id", "number", "expires_at", "request_id"];

/// How a user is named, by what they are.
const BY_NAME: [&str; 3] = ["name:enrolled", "name:unenrolled", "name:not-there"];

/// What can be seen of a reply, without what differs between any two.
#[derive(Debug, PartialEq)]
struct Seen {
    step: &'static str,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn of(step: &'static str, reply: &Reply) -> Self {
        let mut body = String::from_utf8(reply.body.to_vec()).unwrap();
        let json = reply.json();
        for member in DIFFERS {
            if let Some(value) = json[member].as_str() {
                body = body.replace(&format!("\"{value}\""), &format!("{}", value.len()));
            }
        }
        Self { step, status: reply.status, headers: reply.lasting_headers(), body }
    }
}

/// Somebody who asks about one user.
struct Asker<'a> {
    world: &'a World,
    key: &'a str,
    user: String,
    seen: Vec<Seen>,
}

impl<'a> Asker<'a> {
    fn new(world: &'a World, key: &'a str, user: &str) -> Self {
        Self { world, key, user: user.to_owned(), seen: Vec::new() }
    }

    async fn send(&mut self, step: &'static str, method: &str, path: &str, body: Value) -> Reply {
        let reply = self.world.rest.send(self.key, method, path, &body).await;
        self.seen.push(Seen::of(step, &reply));
        reply
    }

    /// Creates and hands out the path.
    async fn create(&mut self, step: &'static str, session: &str, more: Value) -> String {
        let reply = self.send(step, "POST", "/v1/challenges", self.asking(session, more)).await;
        format!("/v1/challenges/{}", reply.json()["id"].as_str().unwrap_or_default())
    }

    fn asking(&self, session: &str, more: Value) -> Value {
        let context = json!({"browser_session": format!("{session:-<22}")});
        let mut body = json!({"user": self.user, "context": context, "ttl_s": 300});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    /// Everything that can be done with a challenge that stands anyhow.
    async fn handle(&mut self, path: &str, session: &str) {
        let session = format!("{session:-<22}");
        let recovery = RecoveryCode::draw(&mut StdRng::seed_from_u64(1)).print();
        let code = format!("{path}/code");
        let redeem = format!("{path}/redeem");
        self.send("get", "GET", path, Value::Null).await;
        self.send("get at once", "GET", &format!("{path}?wait=0"), Value::Null).await;
        self.send("a wrong TOTP code", "POST", &code, json!({"code": "000000"})).await;
        self.send("a wrong recovery code", "POST", &code, json!({"code": *recovery})).await;
        self.send("not a code", "POST", &code, json!({"code": "open sesame"})).await;
        self.send("redeem", "POST", &redeem, json!({"browser_session": session})).await;
        let other = json!({"browser_session": "another-browser-session"});
        self.send("redeem from elsewhere", "POST", &redeem, other).await;
    }

    /// One attempt: a life from create to its end, in every way that needs no waiting.
    async fn attempt(&mut self, attempt: usize) {
        let session = format!("s{attempt}");
        let first = self.create("create", &session, json!({})).await;
        let again = self.create("merge", &session, json!({})).await;
        assert_eq!(first, again);
        self.handle(&first, &session).await;
        let other = self.create("another browser", &format!("o{attempt}"), json!({})).await;
        let second = self.create("supersede", &session, json!({"purpose": "step_up"})).await;
        assert_ne!(first, second);
        self.handle(&first, &session).await;
        self.send("cancel the superseded", "DELETE", &first, Value::Null).await;
        self.send("cancel", "DELETE", &second, Value::Null).await;
        self.handle(&second, &session).await;
        self.send("cancel again", "DELETE", &second, Value::Null).await;
        let details = json!([{"label": "Order", "value": "4711"}]);
        let more = json!({"details": details, "methods": ["push"]});
        let third = self.create("with details", &session, more).await;
        self.send("refused", "POST", "/v1/challenges", self.asking("x", json!({"ttl_s": 1}))).await;
        for path in [third, other] {
            self.send("cancel the rest", "DELETE", &path, Value::Null).await;
        }
        self.replay(attempt).await;
    }

    /// The same request under an idempotency key, before and after the end.
    async fn replay(&mut self, attempt: usize) {
        let key = format!("{}-{attempt}", self.user.replace(':', "-"));
        let body = self.asking(&format!("r{attempt}"), json!({}));
        let header = [("idempotency-key", key.as_str())];
        let mut path = String::new();
        for step in ["create with a key", "replay", "replay of the decided"] {
            let rest = &self.world.rest;
            let made = rest.send_with(self.key, "POST", "/v1/challenges", &body, &header).await;
            self.seen.push(Seen::of(step, &made));
            path = format!("/v1/challenges/{}", made.json()["id"].as_str().unwrap());
            if step == "replay" {
                self.send("cancel", "DELETE", &path, Value::Null).await;
            }
        }
        self.send("get", "GET", &path, Value::Null).await;
    }
}

/// All of them must have seen the same.
fn compare(askers: &[Asker<'_>]) {
    let [first, others @ ..] = askers else { return };
    for other in others {
        assert_eq!(first.seen.len(), other.seen.len());
        for (one, another) in first.seen.iter().zip(&other.seen) {
            assert_eq!(one, another, "{} and {}", first.user, other.user);
        }
    }
}

/// A guard that holds nothing against one user: whatever isn't beside another one rings, until as many rang
/// without success as may in a whole organisation.
const LENIENT: &str = "
    fast_weight = 0
    day_weight = 0
    week_weight = 0
    month_weight = 0
    nowhere_day_weight = 0
    nowhere_long_weight = 0
    surge_users = 100
";
/// How many of those ring, then.
const RINGS: usize = 90;

/// A server on which one user is enrolled and connected, and one is only there.
async fn world(name: &str) -> World {
    with_users(World::new(name).await).await
}

async fn with_users(world: World) -> World {
    let account = world.enrolled("enrolled").await;
    let mut session = Client::new("test").connect(account, Reconnect::Forever);
    tokio::spawn(async move {
        // its handle ends it when dropped
        while session.events.recv().await.is_some() {}
        drop(session.handle);
    });
    let put = world.own.send("PUT", "/v1/users/name:unenrolled", Value::Null).await;
    assert_eq!(put.unwrap().status, 201);
    world
}

/// The same users by their ids.
async fn by_id(world: &World) -> [String; 3] {
    let id = async |name: &str| {
        let user = world.get(&format!("/v1/users/name:{name}")).await;
        user["id"].as_str().unwrap().to_owned()
    };
    let (enrolled, unenrolled) = (id("enrolled").await, id("unenrolled").await);
    let nobody = format!("usr_{}", "0".repeat(enrolled.len() - 4));
    [enrolled, unenrolled, nobody]
}

/// How often challenges were created in a mode, which only security staff are told.
async fn made(world: &World, mode: &str) -> usize {
    let events = world.events(&world.own_key).await;
    let in_mode = |event: &&Value| event["type"] == "challenge_created" && event["mode"] == mode;
    events.iter().filter(in_mode).count()
}

#[tokio::test]
async fn all_users_look_alike_through_a_challenge_s_life() {
    let world = with_users(World::guarded("likeness-life", LENIENT).await).await;
    let attempts = if is_full() { 200 } else { 40 };
    let mut askers = BY_NAME.map(|user| Asker::new(&world, &world.own_key, user));
    for attempt in 0..attempts {
        for asker in &mut askers {
            asker.attempt(attempt).await;
        }
        compare(&askers);
        for asker in &mut askers {
            asker.seen.clear();
        }
    }
    let ids = by_id(&world).await;
    let mut askers = ids.each_ref().map(|user| Asker::new(&world, &world.own_key, user));
    for asker in &mut askers {
        asker.attempt(attempts).await;
    }
    compare(&askers);
    let (rang, silent) = (made(&world, "ring").await, made(&world, "silent").await);
    let decoys = made(&world, "decoy").await;
    let told = format!("{rang} rang, {silent} were silent, {decoys} were decoys");
    println!("counted: {attempts} attempts on each kind of user look alike: {told}");
    assert!(rang >= RINGS && silent > attempts && decoys > 2 * attempts, "{told}");
}

#[tokio::test]
async fn who_vouches_for_no_first_factor_sees_them_alike_too() {
    let world = world("likeness-no-first-factor").await;
    let made = world.server.admin(&["integration", "create", "--name", "no first factor"]).await;
    let key = made.unwrap()["api_key"].as_str().unwrap().to_owned();
    let mut askers = BY_NAME.map(|user| Asker::new(&world, &key, user));
    for asker in &mut askers {
        for attempt in 0..4 {
            asker.attempt(attempt).await;
        }
    }
    compare(&askers);
}

#[tokio::test]
async fn one_more_than_may_live_looks_like_the_others() {
    let world = world("likeness-bound").await;
    let mut askers = BY_NAME.map(|user| Asker::new(&world, &world.own_key, user));
    for asker in &mut askers {
        let mut paths = Vec::new();
        for session in 0..20 {
            let session = format!("live{session:02}");
            let path = asker.create("create", &session, json!({})).await;
            assert!(!paths.contains(&path));
            assert_eq!(asker.create("merge", &session, json!({})).await, path);
            paths.push(path);
        }
        for path in &paths {
            asker.handle(path, "live").await;
        }
        let [first, second, ..] = asker.seen.as_slice() else { panic!("nothing seen") };
        let created = |seen: &&Seen| seen.step == first.step;
        let merged = |seen: &&Seen| seen.step == second.step;
        assert!(asker.seen.iter().filter(created).all(|seen| seen == first));
        assert!(asker.seen.iter().filter(merged).all(|seen| seen == second));
    }
    compare(&askers);
    let modes = (made(&world, "ring").await, made(&world, "silent").await);
    assert_eq!(modes, (1, 19), "of the enrolled user's, of whom the app shows eight");
}

/// Takes half a minute: no challenge lives shorter.
#[tokio::test]
async fn they_end_alike_and_as_soon() {
    let world = world("likeness-expiry").await;
    let mut askers = BY_NAME.map(|user| Asker::new(&world, &world.own_key, user));
    let [one, two, three] = &mut askers;
    let ended = tokio::join!(expire(one), expire(two), expire(three));
    for (expires, told) in [ended.0, ended.1, ended.2] {
        assert!(told >= expires, "nobody is told before");
        assert!(told.since(expires) < LATE, "{:?} late", told.since(expires));
    }
    compare(&askers);
}

/// Waits for a challenge's end: when it should have been, and when it was told.
async fn expire(asker: &mut Asker<'_>) -> (Timestamp, Timestamp) {
    let path = asker.create("create", "expires", json!({"ttl_s": 30})).await;
    let view = asker.world.rest.send(asker.key, "GET", &path, &Value::Null).await.json();
    let expires: jiff::Timestamp = view["expires_at"].as_str().unwrap().parse().unwrap();
    let expires = Timestamp::from_millis(u64::try_from(expires.as_millisecond()).unwrap());
    let waiting = format!("{path}?wait=30");
    let told = loop {
        let reply = asker.world.rest.send(asker.key, "GET", &waiting, &Value::Null).await;
        if reply.json()["state"] != "pending" {
            assert_eq!(reply.json()["state"], "expired");
            asker.seen.push(Seen::of("the end", &reply));
            break clock::now();
        }
    };
    asker.handle(&path, "expires").await;
    asker.send("cancel", "DELETE", &path, Value::Null).await;
    asker.create("create anew", "expires", json!({"ttl_s": 30})).await;
    (expires, told)
}
