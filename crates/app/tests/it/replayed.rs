//! The audit judged again by the rules that were live comes out bit for bit as it was.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use app::{Caller, Created, EventFilter, Guards};
use domain::attempts::Lane;
use domain::audit::Event;
use domain::challenge::{Methods, Purpose};
use domain::guard::{AlertKind, Change, KNOBS, Policies, Replay, Row, Rules, Totals, Tries, What};
use ports::UserRef;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use statement::AnswerDecision;

use crate::world::{OPERATOR, Person, World, runs, wrong_number};

const PEOPLE: usize = 7;
const MOVES: usize = 160;

/// People, attackers and their sign-ins.
struct Traffic<'w> {
    world: &'w World,
    apps: Vec<Caller>,
    people: Vec<(String, Person)>,
    open: Vec<(usize, usize, String, Created)>,
    cookies: Vec<Vec<(usize, String)>>,
    rng: StdRng,
    sessions: u32,
}

impl Traffic<'_> {
    fn pick(&mut self, of: usize) -> usize {
        self.rng.random_range(0..of)
    }

    /// Home, an office that two share, strangers' addresses, a new one each time, or none.
    fn place(&mut self, user: usize) -> Option<IpAddr> {
        let at = |a, b| Some(IpAddr::V4(Ipv4Addr::new(203, 0, a, b)));
        match self.pick(10) {
            0..4 => at(113, u8::try_from(user).expect("few people")),
            4 => at(113, 99),
            5..7 => at(7, u8::try_from(self.pick(3)).expect("three")),
            7 => at(u8::try_from(self.pick(200)).expect("a byte"), 1),
            _ => None,
        }
    }

    async fn create(&mut self) {
        let (user, caller) = (self.pick(PEOPLE + 1), self.pick(self.apps.len()));
        let again = self.pick(5) == 0;
        let open = (!self.open.is_empty() && again).then(|| self.pick(self.open.len()));
        let (user, caller, session) = match open {
            Some(at) => {
                let (user, caller, session, _) = &self.open[at];
                (*user, *caller, session.clone())
            }
            None => {
                self.sessions += 1;
                (user, caller, format!("s{}", self.sessions))
            }
        };
        // one of them doesn't exist
        let name = self.people.get(user).map_or("nobody", |(name, _)| name.as_str()).to_owned();
        let mut request = self.world.request(&name, &session);
        request.context.ip = self.place(user);
        let brings = self.pick(10) < 3;
        if let (Some(cookies), true) = (self.cookies.get(user), brings) {
            let own = cookies.iter().rev().find(|(app, _)| *app == caller);
            request.context.device_cookie = own.map(|(_, cookie)| cookie.clone());
        }
        request.first_factor = request.first_factor.filter(|_| self.pick(12) > 0);
        request.purpose = (self.pick(6) == 0).then_some(Purpose::StepUp);
        request.methods = (request.first_factor.is_some() && self.pick(15) == 0)
            .then_some(Methods::default().with(domain::challenge::Method::Totp));
        let created = self.world.create_with(&self.apps[caller], request).await;
        let created = created.expect("a challenge");
        if !created.merged {
            self.open.push((user, caller, session, created));
        }
    }

    async fn end(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let (user, caller, session, created) = {
            let at = self.pick(self.open.len());
            self.open.swap_remove(at)
        };
        let app = &self.apps[caller];
        let id = created.view.id;
        let Some((_, person)) = self.people.get(user) else { return };
        let kind = self.rng.random_range(0..12);
        let device = &person.device;
        let shown = self.world.cards(device, true).await.iter().any(|(card, _)| *card == id);
        match kind {
            0..5 if shown => {
                self.world.approve(device, &created).await;
            }
            5 if shown => {
                self.world.decide(device, &created, AnswerDecision::Deny, "").await;
            }
            6 if shown && self.rng.random_bool(0.3) => {
                self.world.decide(device, &created, AnswerDecision::Report, "").await;
            }
            7 if shown => {
                let all: Vec<&Created> =
                    self.open.iter().map(|(.., c)| c).chain([&created]).collect();
                let number = wrong_number(&all);
                self.world.decide(device, &created, AnswerDecision::Approve, &number).await;
            }
            8 => {
                let mut call = self.world.call();
                let cancelled = self.world.app.cancel_challenge(&mut call, app, id).await;
                cancelled.expect("a state");
            }
            9 | 10 => {
                let right = domain::totp::code(&device.totp, self.world.now());
                let code = if kind == 9 { right.as_str() } else { "000000" };
                let mut call = self.world.call();
                // wrong, spent, decided before: all are something to remember
                drop(self.world.app.submit_code(&mut call, app, id, code).await);
            }
            // left to expire, and reported once that was seen
            _ if self.rng.random_bool(0.1) && shown => {
                let report = self.world.signed(device, id, AnswerDecision::Report, "").await;
                self.world.pass(Duration::from_secs(100));
                self.world.state(app, id).await;
                self.world.answer(device, report).await;
            }
            _ => {}
        }
        if let Ok(receipt) = self.world.redeem(app, id, &session).await {
            self.cookies[user].push((caller, receipt.device_cookie));
        }
    }

    /// Everybody signs in at home and nobody's phone rings, over and over.
    async fn blackout(&mut self) {
        for round in 0..6 {
            for user in 0..PEOPLE {
                self.sessions += 1;
                let mut request =
                    self.world.request(&self.people[user].0, &format!("s{}", self.sessions));
                let home = Ipv4Addr::new(203, 0, 113, u8::try_from(user).expect("few people"));
                request.context.ip = Some(IpAddr::V4(home));
                let app = &self.apps[(user + round) % self.apps.len()];
                self.world.create_with(app, request).await.expect("a challenge");
            }
            self.world.pass(Duration::from_secs(95));
            while self.world.app.expire_due(&mut self.world.call()).await.expect("works") {}
        }
    }

    /// Everybody signs in at home, and succeeds.
    async fn morning(&mut self) {
        for user in 0..PEOPLE {
            for app in 0..self.apps.len() {
                self.sessions += 1;
                let (name, person) = &self.people[user];
                let mut request = self.world.request(name, &format!("s{}", self.sessions));
                let home = Ipv4Addr::new(203, 0, 113, u8::try_from(user).expect("few people"));
                request.context.ip = Some(IpAddr::V4(home));
                let created = self.world.create_with(&self.apps[app], request).await;
                self.world.approve(&person.device, &created.expect("a challenge")).await;
            }
        }
        self.world.pass(Duration::from_secs(2 * 24 * 60 * 60));
    }

    async fn step(&mut self) {
        match self.pick(20) {
            0..8 => self.create().await,
            8..15 => self.end().await,
            15 => {
                let (name, _) = &self.people[self.rng.random_range(0..PEOPLE)];
                let user = UserRef::Name(name.clone());
                let (mut call, tenant) = (self.world.call(), self.world.tenant);
                let why = Some("a test".to_owned());
                let contain = self.rng.random_bool(0.2);
                let app = &self.world.app;
                if contain {
                    app.contain_user(&mut call, &OPERATOR, tenant, user, why).await.expect("done");
                } else if self.rng.random_bool(0.1) {
                    app.clear_user(&mut call, &OPERATOR, tenant, user, why).await.expect("done");
                }
            }
            17 if self.rng.random_bool(0.4) => self.blackout().await,
            16 => while self.world.app.expire_due(&mut self.world.call()).await.expect("works") {},
            _ => {
                let scale =
                    [100, 5_000, 60_000, 3_600_000, 86_400_000][self.rng.random_range(0..5)];
                let millis = self.rng.random_range(0..scale);
                self.world.pass(Duration::from_millis(millis));
            }
        }
    }
}

async fn traffic(world: &World, seed: u64) {
    let apps = vec![
        world
            .integration_with(world.tenant, &format!("vpn{seed}"), |new| {
                new.purposes.push(Purpose::StepUp);
            })
            .await,
        world
            .integration_with(world.tenant, &format!("mail{seed}"), |new| {
                new.purposes.push(Purpose::StepUp);
            })
            .await,
    ];
    let mut people = Vec::new();
    for at in 0..PEOPLE {
        let name = format!("u{seed}-{at}");
        let person = world.enrolled(&name).await;
        people.push((name, person));
    }
    let mut traffic = Traffic {
        world,
        apps,
        cookies: people.iter().map(|_| Vec::new()).collect(),
        people,
        open: Vec::new(),
        rng: StdRng::seed_from_u64(seed),
        sessions: 0,
    };
    traffic.morning().await;
    for _ in 0..MOVES {
        traffic.step().await;
    }
}

/// Replays the whole audit by `rules`.
async fn replay(world: &World, rules: &Rules) -> (Totals, Vec<What>) {
    let mut replay = Replay::default();
    let (mut after, mut findings) = (None, Vec::new());
    loop {
        let filter = EventFilter { after, limit: 1_000, ..EventFilter::default() };
        let events = world.app.events(world.tenant, filter).await.expect("the log");
        let Some(last) = events.last() else { break };
        after = Some(last.id);
        for event in &events {
            let row = Row { tenant: world.tenant, at: event.at, public: &event.public };
            findings.extend(replay.step(rules, row, false));
        }
    }
    let (totals, days) = replay.finish();
    findings.extend(days);
    (totals, findings.into_iter().map(|finding| finding.what).collect())
}

fn changed(changes: &[(&str, f32)]) -> Rules {
    let changes: Vec<Change> = changes
        .iter()
        .map(|(name, value)| {
            let knob = KNOBS.iter().find(|knob| knob.name == *name).expect("a number");
            Change::Number(knob, *value)
        })
        .collect();
    Rules::with(&changes).expect("a policy")
}

#[tokio::test]
async fn the_audit_judged_again_comes_out_as_it_was() {
    let (mut judged, mut forgiven) = (0, 0);
    for seed in 0..u64::try_from(runs(6, 300)).expect("a count") {
        let world = World::new().await;
        traffic(&world, seed).await;
        let (totals, findings) = replay(&world, &Rules::default()).await;
        assert_eq!(findings, [], "seed {seed}");
        assert_eq!((totals.equal, totals.skipped), (totals.judged, 0), "seed {seed}");
        assert_eq!((totals.was, totals.alerts_were), (totals.is, totals.alerts_are));
        assert!(totals.judged > 20, "seed {seed}: {totals:?}");
        judged += totals.judged;
        let filter = EventFilter {
            event: Some(Event::TimeOutForgiven),
            limit: 10_000,
            ..EventFilter::default()
        };
        forgiven += world.app.events(world.tenant, filter).await.expect("the log").len();
    }
    assert!(forgiven > 0, "an outage has to come about");
    println!(
        "counted: {judged} decisions came out bit for bit as they were, {forgiven} time-outs forgiven"
    );
}

#[tokio::test]
async fn another_policy_shows_whom_it_would_have_held() {
    let world = World::new().await;
    for seed in 0..4 {
        traffic(&world, seed).await;
    }
    let strict = changed(&[("silent_at", 0.3), ("ring", 2.0), ("nowhere_silent_at", 0.4)]);
    let (totals, findings) = replay(&world, &strict).await;
    let held = findings.iter().filter(|what| {
        use domain::challenge::Mode::{Ring, Silent};
        matches!(what, What::Mode { was: Ring, is: Silent, .. })
    });
    assert!(held.count() > 0, "{totals:?}");
    assert!(totals.is[0] < totals.was[0], "{totals:?}");
    assert_eq!(totals.was.iter().sum::<u64>(), totals.is.iter().sum::<u64>());
}

#[tokio::test]
async fn a_shadow_is_written_down_where_it_differs_and_changes_nothing() {
    let strict = changed(&[("silent_at", 0.3), ("ring", 2.0), ("nowhere_silent_at", 0.4)]);
    let guard = Guards { live: Policies::default(), shadow: Some(Policies::from(strict)) };
    let plain = World::new().await;
    let shadowed = World::with(guard).await;
    traffic(&plain, 2).await;
    traffic(&shadowed, 2).await;
    let rows = |world: &World| {
        let app = std::sync::Arc::clone(&world.app);
        let tenant = world.tenant;
        async move {
            let filter = EventFilter { limit: 10_000, ..EventFilter::default() };
            app.events(tenant, filter).await.expect("the log")
        }
    };
    let (plain, rows) = (rows(&plain).await, rows(&shadowed).await);
    let modes = |rows: &[app::EventView]| {
        rows.iter().map(|row| (row.public.mode, row.public.decision)).collect::<Vec<_>>()
    };
    assert_eq!(modes(&plain), modes(&rows));
    assert!(plain.iter().all(|row| row.public.shadow.is_none()));
    let noted = rows.iter().filter(|row| row.public.shadow.is_some()).count();
    let counted: u64 = shadowed.app.shadow_differences().iter().map(|(_, count)| count).sum();
    assert!(noted > 0);
    assert_eq!(u64::try_from(noted).expect("a count"), counted);
}

/// A shadow once said nothing of alerts and codes.
#[tokio::test]
async fn a_shadow_says_what_it_would_alert_of_and_which_codes_it_would_not_compare() {
    let knob = |name: &str| KNOBS.iter().find(|knob| knob.name == name).expect("a number");
    let strict = Rules::with(&[
        Change::Number(knob("alert_at"), 1.0),
        Change::Number(knob("alert_at_once"), 1.5),
        Change::Budget(Lane::Unknown, Tries::DayBurst, 1),
    ]);
    let strict = Policies::from(strict.expect("a policy"));
    let world = World::with(Guards { live: Policies::default(), shadow: Some(strict) }).await;
    let app = world.integration("vpn").await;
    world.enrolled("alice").await;
    for n in 0..2 {
        let mut request = world.request("alice", &format!("s{n}"));
        request.context.ip = "203.0.113.9".parse().ok();
        let id = world.create_with(&app, request).await.expect("a challenge").view.id;
        let mut call = world.call();
        world.app.submit_code(&mut call, &app, id, "000000").await.expect_err("a wrong code");
        world.app.cancel_challenge(&mut call, &app, id).await.expect("pending");
    }
    let filter = EventFilter { limit: 100, ..EventFilter::default() };
    let events = world.app.events(world.tenant, filter).await.expect("the log");
    let shadows = |event: Event| {
        let of = events.iter().filter(move |row| row.public.event == event);
        of.map(|row| row.public.shadow.clone().unwrap_or_default()).collect::<Vec<_>>()
    };
    let created = shadows(Event::ChallengeCreated);
    assert_eq!(created[0].alerts, None);
    assert_eq!(created[1].alerts, Some(vec![AlertKind::Bombing]));
    let refused: Vec<_> = shadows(Event::CodeFailed).iter().map(|shadow| shadow.refused).collect();
    assert_eq!(refused, [None, Some(true)]);
    assert!(shadows(Event::Alert).is_empty(), "the live policy is calm");
    let noted = events.iter().filter(|row| row.public.shadow.is_some()).count() as u64;
    let counted: u64 = world.app.shadow_differences().iter().map(|(_, count)| count).sum();
    assert_eq!(noted, counted);
}
