//! A server of its own with everybody who might call it.

use std::net::SocketAddr;
use std::time::Duration;

use authenticator_native::{Account, AnswerOutcome, Choice, Decision};
use http::Method;
use serde_json::{Value, json};
use server::admin_client::Transport;
use server::clock;
use server::demo::child::ChildServer;
use server::demo::http::Http;
use server::demo::phone::{Phone, enrol};
use tokio::process::Command;

use crate::child::{Asked, Home, ask, countersign};
use crate::rest::Rest;

/// All scopes that a key can have beside the one that it always has.
pub(crate) const SCOPES: [&str; 4] = ["users:read", "users:write", "events:read", "guard:write"];

pub(crate) struct World {
    pub(crate) home: Home,
    pub(crate) server: ChildServer,
    /// The integration under test, which may do everything.
    pub(crate) own: Http,
    pub(crate) own_key: String,
    pub(crate) rest: Rest,
}

impl World {
    /// `name` tells its log from that of other tests.
    pub(crate) async fn new(name: &str) -> Self {
        let home = Home::new(name);
        let server = home.serve().await;
        Self::on(home, server).await
    }

    /// With other numbers for the guard.
    pub(crate) async fn guarded(name: &str, policy: &str) -> Self {
        let home = Home::new(name);
        let file = home.data().join("guard.toml");
        std::fs::write(&file, policy).unwrap();
        let mut command = Command::new(countersign());
        command.env("COUNTERSIGN__GUARD__POLICY", file);
        let server = home.serve_by(command).await;
        Self::on(home, server).await
    }

    /// By a command of its own.
    pub(crate) async fn by(name: &str, command: Command) -> Self {
        let home = Home::new(name);
        let server = home.serve_by(command).await;
        Self::on(home, server).await
    }

    async fn on(home: Home, server: ChildServer) -> Self {
        let own_key = crate::child::integrate(&server).await;
        let own = Http::new(&server.url, &own_key);
        let rest = Rest::new(&server.url);
        Self { home, server, own, own_key, rest }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.url.trim_start_matches("http://").parse().unwrap()
    }

    /// Stops the server and starts another one on the same data and address.
    pub(crate) async fn restart(&mut self) {
        let listen = self.address().to_string();
        self.server.terminate().unwrap();
        self.server.ended(Duration::from_secs(20)).await.unwrap();
        let (program, data) = (countersign(), self.home.data());
        let server = ChildServer::start_program(program, data, &listen, &[]).await;
        self.server = server.unwrap();
    }

    /// Registers an integration and hands out its key.
    pub(crate) async fn integration(&self, name: &str, scopes: &[&str], more: &[&str]) -> String {
        let mut command = vec!["integration", "create", "--name", name];
        command.push("--verifies-first-factor");
        command.extend(more);
        for scope in scopes {
            command.extend(["--scope", scope]);
        }
        let made = self.server.admin(&command).await.unwrap();
        made["api_key"].as_str().unwrap().to_owned()
    }

    /// A second key of an integration, which ends a second from now.
    pub(crate) async fn short_lived_key(&self, integration: &str) -> String {
        let soon = clock::now().plus(Duration::from_secs(1)).millis();
        let soon = jiff::Timestamp::from_millisecond(i64::try_from(soon).unwrap()).unwrap();
        let path = format!("/integrations/{integration}/keys");
        let body = json!({"expires_at": soon.to_string()});
        let socket = Transport::socket(self.home.data());
        let made = socket.request(Method::POST, &path, Some(&body)).await.unwrap();
        made.body["api_key"].as_str().unwrap().to_owned()
    }

    /// A user with an authenticator, not connected.
    pub(crate) async fn enrolled(&self, user: &str) -> Account {
        enrol(&self.own, user).await.unwrap()
    }

    /// A reply that must be JSON and a success.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let reply = self.own.send("GET", path, Value::Null).await.unwrap();
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.body
    }

    /// All that the audit holds of the tenant whose `key` this is.
    pub(crate) async fn events(&self, key: &str) -> Vec<Value> {
        let mut events = Vec::new();
        let mut path = "/v1/events?limit=200".to_owned();
        loop {
            let page = self.rest.send(key, "GET", &path, &Value::Null).await;
            assert_eq!(page.status, 200, "{page:?}");
            let page = page.json();
            events.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/events?limit=200&cursor={cursor}"),
                None => return events,
            }
        }
    }
}

/// Somebody who can sign in, to show that one still can.
pub(crate) struct Witness {
    phone: Phone,
    user: String,
    count: u32,
}

impl Witness {
    pub(crate) async fn new(world: &World) -> Self {
        let user = "witness".to_owned();
        let phone = Phone::connect(world.enrolled(&user).await).await.unwrap();
        Self { phone, user, count: 0 }
    }

    /// A whole ceremony, which must succeed.
    pub(crate) async fn signs_in(&mut self, world: &World) -> Asked {
        self.count += 1;
        let session = format!("{}-{}", self.user, self.count);
        let asked = ask(&world.own, &self.user, &session).await;
        let card = self.phone.prompt().await.unwrap();
        assert_eq!(card.challenge, asked.challenge());
        let choice = Choice::approve(&asked.number);
        let outcome = self.phone.answer(card.challenge, choice).await.unwrap();
        assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
        let body = json!({"browser_session": asked.session});
        let redeemed = world.own.send("POST", &asked.path("/redeem"), body).await.unwrap();
        assert_eq!(redeemed.status, 200, "{redeemed:?}");
        asked
    }
}
