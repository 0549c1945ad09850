//! Attacks beside honest sign-ins: a stranger who knows the password of a few users asks again and again, each time
//! from elsewhere, and hopes that somebody gives in. Nobody does.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use authenticator_native::Event;
use hyper::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use wire::rest::{BrowserContext, CreateChallenge, CreatedChallenge, FirstFactor};

use crate::ceremony;
use crate::clock;
use crate::failure::Cut;
use crate::fleet::User;
use crate::latency::{Percentiles, or_dash};
use crate::plan::{Attack, Plan};
use crate::record::{Record, Step};
use crate::report::Report;
use crate::rest::Api;
use crate::run::{self, LEAD};
use crate::schedule::Arrival;

/// How often each attacked user signs in themselves.
const SIGN_IN_EVERY: Duration = Duration::from_secs(10);
/// The attacks' own arrivals: another stream of the plan's seed.
const STREAM: u64 = 0x626f_6d62;

/// How long honest sign-ins took, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Waits {
    pub(crate) create: Option<Percentiles>,
    pub(crate) answer_to_waiter: Option<Percentiles>,
}

impl Waits {
    fn of(report: &Report) -> Self {
        let of = |step| report.percentiles(step);
        Self { create: of(Step::Create), answer_to_waiter: of(Step::AnswerToWaiter) }
    }
}

/// What came of the attacks.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Bombing {
    pub(crate) targets: usize,
    /// That the stranger asked for, and what the server answered to those that it didn't create.
    pub(crate) attempts: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    /// That rang on a device, of all and of the one user of whom most did; the rest was silent.
    pub(crate) rang: u64,
    pub(crate) rang_most: u64,
    pub(crate) silent: u64,
    /// The attacked users' own sign-ins: how many there were, went well, and took opening the app.
    pub(crate) own_sign_ins: u64,
    pub(crate) own_right: u64,
    pub(crate) own_silent: u64,
    pub(crate) own_problems: BTreeMap<String, u64>,
    /// Honest sign-ins of everybody else, without the attacks and beside them.
    pub(crate) before: Waits,
    pub(crate) during: Waits,
}

impl Bombing {
    fn new(came: Came, victims: &[Victim], before: Waits, during: Waits) -> Self {
        let Came { attempts, errors } = came;
        let created = attempts - errors.values().sum::<u64>();
        let rang: u64 = victims.iter().map(|victim| victim.rang).sum();
        let records = || victims.iter().flat_map(|victim| &victim.records);
        let mut own_problems = BTreeMap::new();
        for record in records() {
            let judged = record.judge();
            for (kind, n) in [("lost", judged.lost), ("doubled", judged.doubled)] {
                *own_problems.entry(kind.to_owned()).or_default() += u64::from(n);
            }
            judged
                .errors
                .into_iter()
                .for_each(|(kind, n)| *own_problems.entry(kind).or_default() += n);
        }
        own_problems.retain(|_, count| *count > 0);
        let count = |is: fn(&Record) -> bool| records().filter(|record| is(record)).count() as u64;
        Self {
            targets: victims.len(),
            attempts,
            errors,
            rang,
            rang_most: victims.iter().map(|victim| victim.rang).max().unwrap_or_default(),
            silent: created.saturating_sub(rang),
            own_sign_ins: records().count() as u64,
            own_right: count(|record| record.judge().is_right()),
            own_silent: count(|record| record.silent),
            own_problems,
            before,
            during,
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let say = |all: &BTreeMap<String, u64>| {
            let list = all.iter().map(|(kind, count)| format!("{count} {kind}"));
            list.collect::<Vec<_>>().join(", ")
        };
        if !self.errors.is_empty() {
            let why = "attacks that a caller could tell from sign-ins, or that failed";
            problems.push(format!("{why}: {}", say(&self.errors)));
        }
        if !self.own_problems.is_empty() {
            let why = "sign-ins of users under attack went wrong";
            problems.push(format!("{why}: {}", say(&self.own_problems)));
        }
        problems
    }
}

impl fmt::Display for Bombing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { targets, attempts, rang, rang_most, silent, .. } = self;
        writeln!(
            f,
            "{:<20} {attempts} tries on {targets} users: {rang} rang (at most {rang_most} of one user), {silent} silent",
            "attack"
        )?;
        let Self { own_sign_ins, own_right, own_silent, .. } = self;
        let note =
            format!("{own_right} of {own_sign_ins} of the attacked users' own sign-ins right");
        writeln!(f, "{:<20} {note}, {own_silent} by opening the app", "")?;
        let pair = |found: Option<Percentiles>| {
            let say = |found: Percentiles| format!("{:.1} / {}", found.p50, or_dash(found.p99, 1));
            found.map_or("-".to_owned(), say)
        };
        for (name, waits) in [("without it", self.before), ("beside it", self.during)] {
            let (create, known) = (pair(waits.create), pair(waits.answer_to_waiter));
            let all = format!("create {create}, answer to page {known} ms");
            writeln!(f, "{name:<20} everybody else's p50 / p99: {all}")?;
        }
        Ok(())
    }
}

/// What the stranger got.
#[derive(Debug, Default)]
struct Came {
    attempts: u64,
    errors: BTreeMap<String, u64>,
}

/// An attacked user, and what their device did.
struct Victim {
    user: User,
    rang: u64,
    records: Vec<Record>,
}

/// Runs the plan twice: first without the attacks, then beside them. The report is that of the second.
pub(crate) async fn find(
    api: &Api,
    (users, targets): (Vec<User>, Vec<User>),
    plan: &Plan,
    attack: Attack,
    server: Option<u32>,
    mut cut: Pin<&mut impl Future<Output = Cut>>,
) -> (Report, Vec<User>) {
    let honest = plan.at(plan.rate * (1.0 - attack.share));
    let mut targets: Vec<Victim> =
        targets.into_iter().map(|user| Victim { user, rang: 0, records: Vec::new() }).collect();
    // so that their browsers are known
    for victim in &mut targets {
        victim.sign_in(api, plan).await;
    }
    eprintln!("without attacks");
    let (mut load, users) = run::run(api, users, &honest, server, cut.as_mut()).await;
    if load.cut.is_some() {
        return (Report::new(&honest, load), users);
    }
    load.records = run::audit(api, load.records).await;
    let first = Report::new(&honest, load);
    let (before, (lost, doubled)) = (Waits::of(&first), first.lost_and_doubled());
    eprintln!("with attacks");
    let (stop, stopped) = watch::channel(false);
    let ids = targets.iter().map(|victim| victim.user.id.clone()).collect();
    let mut victims = JoinSet::new();
    let begin = clock::now() + LEAD;
    for victim in targets {
        victims.spawn(victim.live(api.clone(), plan.clone(), begin, stopped.clone()));
    }
    let stranger = tokio::spawn(bomb(api.clone(), plan.clone(), attack, ids, begin));
    let (mut load, mut users) = run::run(api, users, &honest, server, cut).await;
    if load.cut.is_some() {
        stranger.abort();
        return (Report::new(&honest, load), users);
    }
    load.records = run::audit(api, load.records).await;
    let came = stranger.await.expect("no stranger panics");
    stop.send_replace(true);
    let mut victims = victims.join_all().await;
    for victim in &mut victims {
        let records = std::mem::take(&mut victim.records);
        victim.records = run::audit(api, records).await;
    }
    let mut report = Report::new(&honest, load);
    report.add_attack(Bombing::new(came, &victims, before, Waits::of(&report)));
    let again = report.lost_and_doubled();
    report.add_broken("with and without attacks", (lost + again.0, doubled + again.1));
    users.extend(victims.into_iter().map(|victim| victim.user));
    (report, users)
}

impl Victim {
    async fn sign_in(&mut self, api: &Api, plan: &Plan) {
        let arrival = Arrival::approval(false);
        let record = ceremony::run(api, &mut self.user, arrival, clock::now(), plan.ttl()).await;
        self.rang += record.rang_besides;
        self.records.push(record);
    }

    /// Hears the device ring, and signs in now and then.
    async fn live(
        mut self,
        api: Api,
        plan: Plan,
        begin: Instant,
        mut stop: watch::Receiver<bool>,
    ) -> Self {
        let mut next = begin + SIGN_IN_EVERY / 2;
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return self,
                event = self.user.session.events.recv() => match event {
                    Some((_, Event::Prompt(card))) => self.rang += u64::from(card.alert),
                    Some(_) => {}
                    None => return self,
                },
                () = sleep_until(next) => {
                    self.sign_in(&api, &plan).await;
                    next += SIGN_IN_EVERY;
                }
            }
        }
    }
}

/// Asks for sign-ins of these users, at times of its own.
async fn bomb(api: Api, plan: Plan, attack: Attack, users: Vec<String>, begin: Instant) -> Came {
    let mut rng = StdRng::seed_from_u64(plan.seed ^ STREAM);
    let rate = plan.rate * attack.share;
    let end = begin + plan.ramp() + plan.hold();
    let (mut came, mut tries) = (Came::default(), JoinSet::new());
    let mut next = begin + plan.ramp();
    loop {
        next += Duration::from_secs_f64(-(1.0 - rng.random::<f64>()).ln() / rate);
        if next >= end {
            break;
        }
        sleep_until(next).await;
        let user = users[rng.random_range(0..users.len())].clone();
        // shared address space (RFC 6598): nobody's home, and hardly ever the same twice
        let ip = format!(
            "100.{}.{}.{}",
            rng.random_range(64..128),
            rng.random_range(0..256),
            rng.random_range(1..255)
        );
        let api = api.clone();
        came.attempts += 1;
        let ttl_s = Some(plan.ttl_s);
        tries.spawn(async move {
            let asked = request(user, ip, ttl_s);
            let path = "/v1/challenges";
            api.send::<CreatedChallenge>(Method::POST, path, Some(&asked)).await.map(drop)
        });
    }
    for tried in tries.join_all().await {
        if let Err(error) = tried {
            *came.errors.entry(error.kind()).or_default() += 1;
        }
    }
    came
}

fn request(user: String, ip: String, ttl_s: Option<u32>) -> CreateChallenge {
    CreateChallenge {
        user,
        context: BrowserContext {
            browser_session: clock::browser_session(),
            ip: Some(ip),
            user_agent: Some("curl/8.0".to_owned()),
            device_cookie: None,
        },
        first_factor: Some(FirstFactor { method: "password".to_owned(), at: clock::wall() }),
        purpose: None,
        methods: None,
        ttl_s,
        details: Vec::new(),
        return_url: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits() -> Waits {
        let found =
            Some(Percentiles { p50: 1.5, p99: Some(9.25), p999: None, max: 10.0, count: 100 });
        Waits { create: found, answer_to_waiter: found }
    }

    fn came(errors: &[(&str, u64)]) -> Came {
        let errors = errors.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        Came { attempts: 90, errors }
    }

    #[test]
    fn what_failed_was_neither_heard_nor_silent() {
        let bombing = Bombing::new(came(&[("timeout", 4)]), &[], waits(), waits());
        assert_eq!((bombing.rang, bombing.silent), (0, 86));
        assert_eq!(bombing.problems().len(), 1);
        assert!(bombing.problems()[0].ends_with("4 timeout"), "{:?}", bombing.problems());
        let text = bombing.to_string();
        assert!(text.contains("90 tries on 0 users: 0 rang"), "{text}");
        assert!(text.contains("beside it            everybody else's p50 / p99: create 1.5 / 9.2"));
        let fine = Bombing::new(came(&[]), &[], waits(), waits());
        assert!(fine.problems().is_empty());
    }
}
