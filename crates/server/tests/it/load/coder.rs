//! A new person, again and again: enrols, passes by code, by recovery code, changes device.

use std::convert::Infallible;

use authenticator_native::Account;
use domain::totp::PERIOD_S;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use server::clock;
use statement::Timestamp;

use super::{Lost, Site, Told};
use crate::child::Asked;

pub(crate) struct Coder {
    name: String,
    rng: StdRng,
    made: u64,
    newcomer: Option<Newcomer>,
}

struct Newcomer {
    user: String,
    /// The first one is revoked, the second stays.
    devices: Vec<Account>,
    by_totp: Passing,
    codes: Vec<String>,
    by_recovery: Passing,
    moves: bool,
}

/// A sign-in by code until its outcome is known.
struct Passing {
    session: String,
    asked: Option<Asked>,
    /// Submitted, perhaps in vain.
    code: Option<Code>,
    passed: bool,
}

#[derive(Clone)]
pub(super) struct Code {
    pub(super) digits: String,
    /// When a TOTP code stops being one.
    pub(super) until: Option<Timestamp>,
}

impl Code {
    /// Whether nothing but its use speaks against it.
    pub(super) fn is_good(&self) -> bool {
        // some time for the way
        self.until.is_none_or(|until| until.since(clock::now()).as_secs() > 5)
    }
}

/// The code that the device shows.
pub(super) fn shown(account: &Account) -> Code {
    let now = clock::now();
    let code = account.code(now).expect("a TOTP secret comes with the device");
    // the server takes a code for one more step
    let until = now.seconds() + code.seconds_left + PERIOD_S;
    Code { digits: code.digits.to_string(), until: Some(Timestamp::from_millis(until * 1000)) }
}

impl Passing {
    fn new(user: &str, way: &str) -> Self {
        let session = format!("{user}-{way}");
        let session = format!("{session:-<22}");
        Self { session, asked: None, code: None, passed: false }
    }

    /// Passes by `fresh`, or by the code that was submitted before: it is used up if and only if it passed.
    async fn pass(
        &mut self,
        site: &Site,
        told: &Told,
        user: &str,
        fresh: Code,
    ) -> Result<(), Lost> {
        if self.passed {
            return Ok(());
        }
        let asked = match &self.asked {
            Some(asked) => asked.clone(),
            None => self.asked.insert(site.ask(user, &self.session).await?).clone(),
        };
        let mut state = site.state(&asked, "").await?;
        let code = match self.code.take() {
            Some(code) if state == "approved" || code.is_good() => code,
            _ => fresh,
        };
        let code = self.code.insert(code);
        if state == "pending" {
            let body = json!({"code": code.digits});
            let reply = site.send("POST", &asked.path("/code"), body).await?;
            assert_eq!(reply.outcome(), "200", "a right code of {user}");
            state = reply.text("state").to_owned();
        }
        assert_eq!(state, "approved", "{}", asked.id);
        let mut facts = told.lock();
        facts.decided(&asked, &state, clock::now());
        facts.used(user, code.clone());
        self.passed = true;
        Ok(())
    }
}

impl Coder {
    pub(super) fn new(name: &str, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { name: name.to_owned(), rng, made: 0, newcomer: None }
    }

    pub(super) async fn run(&mut self, site: &Site, told: &Told) {
        match self.go_on(site, told).await {
            Err(Lost) => {}
            Ok(never) => match never {},
        }
    }

    async fn go_on(&mut self, site: &Site, told: &Told) -> Result<Infallible, Lost> {
        loop {
            let mut newcomer = match self.newcomer.take() {
                Some(newcomer) => newcomer,
                None => self.meet(site, told).await?,
            };
            let over = newcomer.settle_in(site, told).await;
            if let Err(lost) = over {
                self.newcomer = Some(newcomer);
                return Err(lost);
            }
            site.traffic.newcomers.send_modify(|newcomers| *newcomers += 1);
        }
    }

    /// A key whose enrolment wasn't confirmed is gone with the attempt, so each has another name.
    async fn meet(&mut self, site: &Site, told: &Told) -> Result<Newcomer, Lost> {
        self.made += 1;
        let user = format!("{}-{}", self.name, self.made);
        let first = site.enrol(&user, told).await?;
        Ok(Newcomer {
            devices: vec![first],
            by_totp: Passing::new(&user, "totp"),
            codes: Vec::new(),
            by_recovery: Passing::new(&user, "recovery"),
            moves: self.rng.random_bool(0.6),
            user,
        })
    }
}

impl Newcomer {
    async fn settle_in(&mut self, site: &Site, told: &Told) -> Result<(), Lost> {
        let user = format!("/v1/users/name:{}", self.user);
        // before any sign-in: those of a user whom somebody pesters would wait
        if self.codes.is_empty() {
            // made twice if the first reply was lost: then these are the ones that count
            let body = json!({"type": "recovery_code"});
            let made = site.send("POST", &format!("{user}/factors"), body).await?;
            let codes = made.body["codes"].as_array().expect("codes").iter();
            self.codes = codes.map(|code| code.as_str().unwrap().to_owned()).collect();
        }
        self.by_totp.pass(site, told, &self.user, shown(&self.devices[0])).await?;
        let digits = self.codes[0].clone();
        let code = Code { digits, until: None };
        self.by_recovery.pass(site, told, &self.user, code).await?;
        if !self.moves {
            return Ok(());
        }
        if self.devices.len() < 2 {
            self.devices.push(site.enrol(&self.user, told).await?);
        }
        let old = self.devices[0].device;
        told.lock().revoking(old);
        let path = format!("{user}/devices/{old}");
        let reply = site.send("DELETE", &path, Value::Null).await?;
        assert_eq!(reply.status, 200, "{reply:?}");
        told.lock().revoked(old);
        Ok(())
    }
}
