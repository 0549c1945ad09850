//! Whole ceremonies of users whom no cache holds, and of the same users right after, whom the caches hold by then.
//!
//! After a restart nobody is in memory. Devices that come back are read for their login, and a server keeps the last
//! 1,024 of those for a while: so others log in after them, who take all those places, and who also sign in first, for
//! the process to be warm. Then everybody signs in once, and once again.

use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;

use super::come_back;
use crate::failure::{Cut, Failure};
use crate::fleet::{self, Enrolled, User};
use crate::floors::cpu_of;
use crate::plan::{Arrivals, Plan};
use crate::report::Report;
use crate::rest::Api;
use crate::run;

/// Ceremonies per second: near what a core gets done, and 70 % of it.
const NEAR: u32 = 2_000;
const SEVENTY: u32 = 1_400;
/// Seconds of each. Everybody signs in once, so that takes as many devices as there are ceremonies.
const SECONDS: u32 = 2;
/// Devices that sign in cold.
pub(super) const DEVICES: u32 = (NEAR + SEVENTY) * SECONDS;
/// Devices that log in after them: more than the places for logins (`people.rs` of backend-sql).
pub(super) const OTHERS: u32 = 1_100;
/// At which the others sign in, and everybody for the first time.
const FIRST: u32 = 1_000;

/// One rate.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Pass {
    pub(super) per_s: u32,
    pub(super) ceremonies: u64,
    /// Server CPU of a ceremony in microseconds: of users whom no cache holds, and of the same right after.
    pub(super) cold_us: Option<f64>,
    pub(super) again_us: Option<f64>,
    /// Milliseconds from when a ceremony should have started until the page had its number.
    pub(super) cold_create_p99: Option<f64>,
    pub(super) again_create_p99: Option<f64>,
}

/// Both rates.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cold {
    pub(super) near: Pass,
    pub(super) seventy: Pass,
    pub(super) problem: Option<String>,
}

/// Users who sign in cold, some at each rate.
pub(super) struct Crowd {
    near: Vec<User>,
    seventy: Vec<User>,
}

/// How everything of it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) api: &'a Api,
    pub(super) plan: &'a Plan,
    pub(super) pid: u32,
}

/// What a run of them came to.
struct Done {
    cpu_us: Option<f64>,
    report: Report,
}

impl Crowd {
    /// Makes them, from the `first` on, each with a device that is connected.
    pub(super) async fn enrol(api: &Api, plan: &Plan, first: u32) -> Result<Self, Failure> {
        let mut near = fleet::enrol(api, plan, first..first + DEVICES).await?;
        let seventy = near.split_off((NEAR * SECONDS) as usize);
        Ok(Self { near, seventy })
    }

    /// Everybody signs in for the first time, as people have who are known: a new one's guard and cookie are others.
    pub(super) async fn sign_in(
        &mut self,
        way: Way<'_>,
        mut cut: Pin<&mut impl Future<Output = Cut>>,
    ) -> Result<(), Failure> {
        for users in [&mut self.near, &mut self.seventy] {
            let seconds = u32::try_from(users.len()).unwrap_or(u32::MAX) / FIRST;
            // one more, since the last would arrive when it is over
            let done = way.run(users, FIRST, seconds + 1, cut.as_mut()).await?;
            if let Some(why) = done.report.problem() {
                return Err(Failure::Server(format!("first sign-ins: {why}")));
            }
        }
        Ok(())
    }

    /// Waits until all are connected again after a restart.
    pub(super) async fn come_back(&mut self) -> Result<(), Failure> {
        for user in self.near.iter_mut().chain(&mut self.seventy) {
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
        let warm = way.run(&mut others, FIRST, 1, cut.as_mut()).await?;
        fleet::dismiss(way.api, others, false).await;
        let mut problem = warm.report.problem().map(str::to_owned);
        let mut pass = async |users: &mut Vec<User>, per_s: u32| {
            let cold = way.run(users, per_s, SECONDS, cut.as_mut()).await?;
            let again = way.run(users, per_s, SECONDS, cut.as_mut()).await?;
            let problems = [&cold, &again].into_iter().filter_map(|done| done.report.problem());
            problem = problem.take().or_else(|| problems.map(str::to_owned).next());
            Ok::<_, Failure>(Pass::new(per_s, &cold, &again))
        };
        let near = pass(&mut self.near, NEAR).await?;
        let seventy = pass(&mut self.seventy, SEVENTY).await?;
        Ok(Cold { near, seventy, problem })
    }

    pub(super) async fn dismiss(self, api: &Api) {
        for users in [self.near, self.seventy] {
            fleet::dismiss(api, users, false).await;
        }
    }
}

impl Pass {
    fn new(per_s: u32, cold: &Done, again: &Done) -> Self {
        let p99 = |done: &Done| {
            let found = done.report.percentiles(crate::record::Step::Create);
            found.map(|found| found.p99)
        };
        Self {
            per_s,
            ceremonies: cold.report.ended_and_refused().0,
            cold_us: cold.cpu_us,
            again_us: again.cpu_us,
            cold_create_p99: p99(cold),
            again_create_p99: p99(again),
        }
    }
}

impl Way<'_> {
    /// The users in turn, evenly spaced: none comes twice unless all have. If it is cut, some are gone.
    async fn run(
        self,
        users: &mut Vec<User>,
        per_s: u32,
        seconds: u32,
        cut: Pin<&mut impl Future<Output = Cut>>,
    ) -> Result<Done, Failure> {
        let plan = once(self.plan, per_s, seconds);
        let before = cpu_of(self.pid);
        let given = std::mem::take(users);
        let (mut load, back) = run::run(self.api, given, &plan, Some(self.pid), cut).await;
        let cpu = cpu_of(self.pid).zip(before).map(|(now, before)| now.saturating_sub(before));
        if let Some(why) = load.cut {
            return Err(Failure::Cut(why));
        }
        *users = back;
        load.records = run::audit(self.api, load.records).await;
        let report = Report::new(&plan, load);
        let (ended, _) = report.ended_and_refused();
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / ended as f64;
        Ok(Done { cpu_us: cpu.filter(|_| ended > 0).map(each), report })
    }
}

/// No more arrive than `per_s` x `seconds`, less one.
fn once(plan: &Plan, per_s: u32, seconds: u32) -> Plan {
    Plan {
        rate: per_s.into(),
        ramp_s: 0,
        hold_s: seconds,
        arrivals: Arrivals::Uniform,
        ..plan.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::good;
    use crate::schedule::Schedule;

    #[test]
    fn nobody_signs_in_twice() {
        for (per_s, users) in [(NEAR, NEAR * SECONDS), (SEVENTY, SEVENTY * SECONDS)] {
            let arrivals = Schedule::new(&once(&good(), per_s, SECONDS)).count();
            assert!((users - 2..=users).contains(&(arrivals as u32)), "{arrivals} of {users}");
        }
        let arrivals = Schedule::new(&once(&good(), FIRST, 1)).count();
        assert!(arrivals <= OTHERS as usize, "{arrivals}");
    }
}
