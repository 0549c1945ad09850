//! Whole ceremonies of users whom no cache holds, and of the same users right after, whom the caches hold by then.
//!
//! After a restart nobody is in memory. Devices that come back are read for their login, and a server keeps the last
//! 1,024 of those for a while: so others log in after them, who take all those places, and who also sign in first, for
//! the process to be warm. Then everybody signs in once, and once again: some while the core is full, so many at a time,
//! and others evenly spaced, at 70 % of what came through then.

use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::come_back;
use crate::clock;
use crate::closed;
use crate::failure::{Cut, Failure};
use crate::fleet::{self, Enrolled, User};
use crate::floors::cpu_of;
use crate::plan::{Arrivals, Plan};
use crate::record::Step;
use crate::report::Report;
use crate::rest::Api;
use crate::run;

/// Devices that sign in while the core is full: for a second or two.
const FULL: u32 = 4_000;
/// Devices that sign in at a part of that.
const SEVENTY: u32 = 2_800;
const PART: f64 = 0.7;
/// Devices that sign in cold.
pub(super) const DEVICES: u32 = FULL + SEVENTY;
/// Devices that log in after them: more than the places for logins (`people.rs` of backend-sql).
pub(super) const OTHERS: u32 = 1_100;
/// One load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Pass {
    pub(super) cold: Done,
    /// Of the same users right after.
    pub(super) again: Done,
}

/// What came of a load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Done {
    pub(super) ceremonies: u64,
    /// Whose CPU is in it.
    pub(super) refused: u64,
    pub(super) per_s: f64,
    /// Server CPU of each, in microseconds, and cores that it was.
    pub(super) cpu_us: Option<f64>,
    pub(super) server_cores: Option<f64>,
    /// Milliseconds from when a ceremony should have started until the page had its number.
    pub(super) create_p99: Option<f64>,
    #[serde(skip)]
    pub(super) problem: Option<String>,
}

impl Pass {
    fn problem(&self) -> Option<String> {
        self.cold.problem.clone().or_else(|| self.again.problem.clone())
    }
}

/// Both loads.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cold {
    pub(super) full: Pass,
    pub(super) at_70_percent: Pass,
    pub(super) problem: Option<String>,
}

/// Users who sign in cold.
pub(super) struct Crowd {
    full: Vec<User>,
    seventy: Vec<User>,
}

/// How everything of it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) api: &'a Api,
    pub(super) plan: &'a Plan,
    pub(super) pid: u32,
}

impl Crowd {
    /// Makes them, from the `first` on, each with a device that is connected.
    pub(super) async fn enrol(api: &Api, plan: &Plan, first: u32) -> Result<Self, Failure> {
        let mut full = fleet::enrol(api, plan, first..first + DEVICES).await?;
        let seventy = full.split_off(FULL as usize);
        Ok(Self { full, seventy })
    }

    /// Everybody signs in for the first time, as people have who are known: a new one's guard and cookie are others.
    pub(super) async fn sign_in(
        &mut self,
        way: Way<'_>,
        mut cut: Pin<&mut impl Future<Output = Cut>>,
    ) -> Result<(), Failure> {
        for users in [&mut self.full, &mut self.seventy] {
            let done = way.full(users, cut.as_mut()).await?;
            if let Some(why) = done.problem {
                return Err(Failure::Server(format!("first sign-ins: {why}")));
            }
        }
        Ok(())
    }

    /// Waits until all are connected again after a restart.
    pub(super) async fn come_back(&mut self) -> Result<(), Failure> {
        for user in self.full.iter_mut().chain(&mut self.seventy) {
            come_back(user).await?;
        }
        Ok(())
    }

    /// Once all are back: lets the others log in and sign in, and then measures.
    pub(super) async fn measure(
        &mut self,
        way: Way<'_>,
        others: Vec<Enrolled>,
        mut cut: Pin<&mut impl Future<Output = Cut>>,
    ) -> Result<Cold, Failure> {
        let mut others = fleet::connect_all(way.api, others).await?;
        let warm = way.full(&mut others, cut.as_mut()).await?;
        fleet::dismiss(way.api, others, false).await;
        let cold = way.full(&mut self.full, cut.as_mut()).await?;
        let again = way.full(&mut self.full, cut.as_mut()).await?;
        let full = Pass { cold, again };
        let rate = full.cold.per_s * PART;
        let cold = way.open(&mut self.seventy, rate, cut.as_mut()).await?;
        let again = way.open(&mut self.seventy, rate, cut.as_mut()).await?;
        let at_70_percent = Pass { cold, again };
        let problem = warm.problem.or_else(|| full.problem()).or_else(|| at_70_percent.problem());
        Ok(Cold { full, at_70_percent, problem })
    }

    pub(super) async fn dismiss(self, api: &Api) {
        for users in [self.full, self.seventy] {
            fleet::dismiss(api, users, false).await;
        }
    }
}

impl Done {
    /// Of a load that began with the server's CPU and the clock there, and has just ended.
    fn new((cpu, begin): Mark, now: Mark, report: &Report) -> Self {
        let (ended, refused) = report.ended_and_refused();
        let wall = now.1.saturating_duration_since(begin).as_secs_f64();
        let used = now.0.zip(cpu).map(|(now, before)| now.saturating_sub(before).as_secs_f64());
        Self {
            ceremonies: ended,
            refused,
            per_s: ended as f64 / wall,
            cpu_us: used.filter(|_| ended > 0).map(|used| used * 1e6 / ended as f64),
            server_cores: used.map(|used| used / wall),
            create_p99: report.percentiles(Step::Create).and_then(|found| found.p99),
            problem: report.problem().map(str::to_owned),
        }
    }
}

/// CPU of the server, and when.
type Mark = (Option<Duration>, Instant);

impl Way<'_> {
    fn mark(self) -> Mark {
        (cpu_of(self.pid), clock::now())
    }

    /// All users once, as many at a time as fill a core. If it is cut, they are gone.
    async fn full(
        self,
        users: &mut Vec<User>,
        cut: Pin<&mut impl Future<Output = Cut>>,
    ) -> Result<Done, Failure> {
        let (given, ttl) = (std::mem::take(users), self.plan.ttl());
        let before = self.mark();
        let (back, records) = closed::each_once(self.api, given, ttl, cut).await?;
        let now = self.mark();
        *users = back;
        let (held, count) = (now.1.saturating_duration_since(before.1), records.len() as u64);
        let records = run::audit(self.api, records).await;
        let report = Report::new(self.plan, closed::load(records, count, held, None));
        let mut done = Done::new(before, now, &report);
        let away = users.len() as u64 - done.ceremonies.min(users.len() as u64);
        let away = (away > 0).then(|| format!("{away} users were refused to the end"));
        done.problem = done.problem.or(away);
        Ok(done)
    }

    /// Users in turn, evenly spaced, so that none comes twice. If it is cut, some are gone.
    async fn open(
        self,
        users: &mut Vec<User>,
        rate: f64,
        cut: Pin<&mut impl Future<Output = Cut>>,
    ) -> Result<Done, Failure> {
        let plan = once(self.plan, rate, users.len());
        let given = std::mem::take(users);
        let before = self.mark();
        let (mut load, back) = run::run(self.api, given, &plan, Some(self.pid), cut).await;
        let now = self.mark();
        if let Some(why) = load.cut {
            return Err(Failure::Cut(why));
        }
        *users = back;
        load.records = run::audit(self.api, load.records).await;
        Ok(Done::new(before, now, &Report::new(&plan, load)))
    }
}

/// At `rate`, or less if the users didn't last for a second; no more arrive than there are.
fn once(plan: &Plan, rate: f64, users: usize) -> Plan {
    let rate = rate.min(users as f64);
    let hold_s = ((users as f64 / rate) as u32).max(1);
    Plan { rate, ramp_s: 0, hold_s, arrivals: Arrivals::Uniform, ..plan.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::good;
    use crate::schedule::Schedule;

    #[test]
    fn nobody_signs_in_twice() {
        for (rate, arrive) in [(1_400.0, 2_799), (1_401.0, 1_400), (9_000.0, 2_799), (0.5, 2_799)] {
            let arrivals = Schedule::new(&once(&good(), rate, SEVENTY as usize)).count();
            assert!((arrive - 1..=arrive + 1).contains(&arrivals), "{rate}: {arrivals}");
            assert!(arrivals <= SEVENTY as usize, "{rate}: {arrivals}");
        }
    }
}
