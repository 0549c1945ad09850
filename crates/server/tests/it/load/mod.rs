//! People who sign in, and what they were told: the load under which servers are killed and disks fail.
//!
//! An actor outlives the server. What was under way when it went is taken up again with the next one, by the
//! rules that hold for real callers: ask again with the same browser session, look before answering again.

mod coder;
mod facts;
mod pusher;
mod spender;
mod verdicts;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use authenticator_native::Account;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use server::demo::child::ChildServer;
use server::demo::http::{Http, Reply};
use server::demo::phone;
use server::demo::raw_device::RawDevice;
use statement::{ServerUrl, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::child::{Asked, request};
pub(crate) use coder::Coder;
pub(crate) use facts::Facts;
pub(crate) use pusher::Pusher;
pub(crate) use spender::Spender;
pub(crate) use verdicts::{Checked, Which, free_guesses_leave_the_right_code};

/// No answer: what was asked for may have happened or not.
#[derive(Debug)]
pub(crate) struct Lost;

/// What was said so far, by all servers on one directory.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Facts>>);

impl Told {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What goes to and fro.
#[derive(Default)]
pub(crate) struct Traffic {
    in_flight: AtomicUsize,
    lost: AtomicUsize,
    unavailable: AtomicUsize,
    /// Requests sent and replies received.
    moments: watch::Sender<u64>,
    /// New people who went through all of it.
    newcomers: watch::Sender<u64>,
}

impl Traffic {
    /// Requests that have no reply yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Requests that the server went away under.
    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }

    /// Requests that were answered with 503, or a device's with "retry".
    pub(crate) fn unavailable(&self) -> usize {
        self.unavailable.load(Ordering::SeqCst)
    }

    /// Resolves when so many requests were sent or answered.
    pub(crate) async fn reaches(&self, moments: u64) {
        let mut now = self.moments.subscribe();
        now.wait_for(|now| *now >= moments).await.unwrap();
    }

    /// Resolves when so many new people went through all of it.
    pub(crate) async fn settles(&self, newcomers: u64) {
        let mut now = self.newcomers.subscribe();
        now.wait_for(|now| *now >= newcomers).await.unwrap();
    }
}

/// One run of the server, as its callers see it. Clones see the same.
#[derive(Clone)]
pub(crate) struct Site {
    http: Http,
    url: ServerUrl,
    pub(crate) traffic: Arc<Traffic>,
}

impl Site {
    pub(crate) fn new(server: &ChildServer, key: &str) -> Self {
        let http = Http::new(&server.url, key);
        Self { http, url: server.url.parse().unwrap(), traffic: Arc::default() }
    }

    async fn wire<T>(&self, exchange: impl Future<Output = Result<T, String>>) -> Result<T, Lost> {
        let Traffic { in_flight, lost, moments, .. } = &*self.traffic;
        in_flight.fetch_add(1, Ordering::SeqCst);
        moments.send_modify(|moments| *moments += 1);
        let answered = exchange.await;
        in_flight.fetch_sub(1, Ordering::SeqCst);
        moments.send_modify(|moments| *moments += 1);
        answered.map_err(|error| {
            assert_ne!(error, "nothing came in time", "the server must answer or be gone");
            lost.fetch_add(1, Ordering::SeqCst);
            Lost
        })
    }

    fn unavailable(&self) -> Lost {
        self.traffic.unavailable.fetch_add(1, Ordering::SeqCst);
        Lost
    }

    /// Sends a request. A server that can't is as good as none; any other failure of its own is a fault.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Result<Reply, Lost> {
        let reply = self.wire(self.http.send(method, path, body)).await?;
        if reply.status < 500 {
            return Ok(reply);
        }
        assert_eq!(reply.outcome(), "503 unavailable", "{method} {path}");
        Err(self.unavailable())
    }

    /// Asks for a user in a browser session, or asks again.
    async fn ask(&self, user: &str, session: &str) -> Result<Asked, Lost> {
        let reply = self.send("POST", "/v1/challenges", request(user, session)).await?;
        Ok(Asked::read(&reply, session))
    }

    /// How a challenge reaches its user, as security staff sees it. It wasn't asked for before `since`.
    async fn mode(&self, asked: &Asked, user: &str, since: Timestamp) -> Result<String, Lost> {
        let since = i64::try_from(since.millis()).unwrap();
        let since = jiff::Timestamp::from_millisecond(since).unwrap();
        let path = "/v1/events?type=challenge_created&limit=200";
        let path = format!("{path}&user=name:{user}&since={since}");
        let events = self.send("GET", &path, Value::Null).await?;
        assert_eq!(events.status, 200, "{events:?}");
        let events = events.body["data"].as_array().unwrap();
        let made = events.iter().find(|event| event["challenge"] == asked.id.as_str());
        let made = made.unwrap_or_else(|| panic!("the creation of {} is told", asked.id));
        Ok(made["mode"].as_str().unwrap().to_owned())
    }

    async fn state(&self, asked: &Asked, rest: &str) -> Result<String, Lost> {
        let reply = self.send("GET", &asked.path(rest), Value::Null).await?;
        assert_eq!(reply.status, 200, "{reply:?}");
        Ok(reply.text("state").to_owned())
    }

    async fn enrol(&self, user: &str, told: &Told) -> Result<Account, Lost> {
        let account = match self.wire(phone::enrol(&self.http, user)).await {
            Ok(account) => account,
            Err(lost) => return Err(lost),
        };
        told.lock().enrolled(user, &account);
        Ok(account)
    }

    /// Logs a device in at this run's address.
    async fn log_in(&self, account: &Account) -> Result<RawDevice, String> {
        let account = Account { server: self.url.clone(), ..account.clone() };
        RawDevice::connect(account).await
    }
}

/// Everybody who makes load. Each has a task of its own while a server runs.
pub(crate) struct Cast {
    pushers: Vec<Pusher>,
    coders: Vec<Coder>,
    spenders: Vec<Spender>,
}

enum Actor {
    Pusher(Pusher),
    Coder(Coder),
    Spender(Spender),
}

impl Cast {
    /// Enrols the pushers.
    pub(crate) async fn assemble(site: &Site, told: &Told, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pushers = Vec::new();
        for name in ["ada", "ben", "cleo", "dan"] {
            let account = site.enrol(name, told).await.unwrap();
            pushers.push(Pusher::new(name, account, rng.random()));
        }
        let coders = ["eve", "fay"].map(|name| Coder::new(name, rng.random())).into();
        let spenders = ["gus"].map(Spender::new).into();
        Self { pushers, coders, spenders }
    }

    /// Lets them go on until the server is no more, or doesn't serve.
    pub(crate) fn play(self, site: &Site, told: &Told) -> Playing {
        let mut tasks = JoinSet::new();
        for mut pusher in self.pushers {
            let (site, told) = (site.clone(), told.clone());
            tasks.spawn(async move {
                pusher.run(&site, &told).await;
                Actor::Pusher(pusher)
            });
        }
        for mut coder in self.coders {
            let (site, told) = (site.clone(), told.clone());
            tasks.spawn(async move {
                coder.run(&site, &told).await;
                Actor::Coder(coder)
            });
        }
        for mut spender in self.spenders {
            let (site, told) = (site.clone(), told.clone());
            tasks.spawn(async move {
                spender.run(&site, &told).await;
                Actor::Spender(spender)
            });
        }
        Playing(tasks)
    }
}

/// A cast at work.
pub(crate) struct Playing(JoinSet<Actor>);

impl Playing {
    /// Waits until none of them gets anywhere any more.
    pub(crate) async fn end(mut self) -> Cast {
        let mut cast = Cast { pushers: Vec::new(), coders: Vec::new(), spenders: Vec::new() };
        while let Some(actor) = self.0.join_next().await {
            match actor.expect("no actor saw a fault") {
                Actor::Pusher(pusher) => cast.pushers.push(pusher),
                Actor::Coder(coder) => cast.coders.push(coder),
                Actor::Spender(spender) => cast.spenders.push(spender),
            }
        }
        cast
    }
}
