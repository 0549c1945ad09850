//! How long people wait at a tenth and at seven tenths of what the server gets done, beside what no server of this kind
//! can beat on this machine: `cer_raw`, and two durable appends, one when the challenge is made and one when it ends.

use std::fmt;
use std::pin::Pin;

use serde::Serialize;

use crate::failure::{Cut, Failure};
use crate::fleet::User;
use crate::floors::{self, Beside, Cores, Spread};
use crate::overload::{self, Tries};
use crate::plan::{Plan, Ratios as Wanted};
use crate::record::Step;
use crate::report::Report;
use crate::rest::Api;

/// Shares of what the server gets done.
const LIGHT: f64 = 0.1;
const HEAVY: f64 = 0.7;
/// Durable appends of a ceremony.
const APPENDS: f64 = 2.0;
/// What the waits may be of their floors.
const MOST_P50: f64 = 1.5;
const MOST_P99: f64 = 2.0;

/// One wait and its floor, measured right before and right after, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pair {
    pub(crate) wait: f64,
    pub(crate) cer_raw: f64,
    pub(crate) append: f64,
    pub(crate) ratio: f64,
}

impl Pair {
    fn new(wait: f64, cer_raw: f64, append: f64) -> Self {
        Self { wait, cer_raw, append, ratio: wait / (cer_raw + APPENDS * append) }
    }
}

/// Pairs of one load, the ratio of the median pair with its spread.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Held {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) ratio: Option<Spread>,
}

impl Held {
    fn of(pairs: Vec<Pair>) -> Self {
        let ratio = Spread::over(&pairs, |pair| pair.ratio);
        Self { pairs, ratio }
    }

    fn say(&self, f: &mut fmt::Formatter<'_>, what: &str, most: f64) -> fmt::Result {
        let Some(ratio) = self.ratio else { return writeln!(f, "{what:<20} not measured") };
        let middle = |value: fn(&Pair) -> f64| Spread::over(&self.pairs, value);
        let (Some(wait), Some(raw), Some(append)) =
            (middle(|pair| pair.wait), middle(|pair| pair.cer_raw), middle(|pair| pair.append))
        else {
            return Ok(());
        };
        let above = if ratio.median > most { format!(", above {most}") } else { String::new() };
        writeln!(
            f,
            "{what:<20} {ratio:.2} x its floor{above}: {wait:.2} ms; cer_raw {raw:.2}, one append {append:.2}"
        )
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ratios {
    /// What the server got done at most.
    pub(crate) saturation_per_s: f64,
    /// Server CPU of a ceremony there, by that of `cer_raw`.
    pub(crate) cpu: Option<Spread>,
    /// From when the ceremony should have started until the page knows its end.
    pub(crate) p50_at_10_percent: Held,
    pub(crate) p99_at_70_percent: Held,
}

impl Ratios {
    /// Nobody waits for less than the least that is possible: then something else had the cores.
    pub(crate) fn problems(&self) -> Vec<String> {
        let all =
            [("p50 at 10 %", &self.p50_at_10_percent), ("p99 at 70 %", &self.p99_at_70_percent)];
        let below = all.into_iter().filter(|(_, held)| held.ratio.is_some_and(|r| r.median < 1.0));
        let say = |(what, _): (&str, _)| {
            format!(
                "{what} is below its floor: something else had the cores while that was measured"
            )
        };
        below.map(say).collect()
    }
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:.0}/s", "saturated", self.saturation_per_s)?;
        if let Some(cpu) = self.cpu {
            writeln!(f, "{:<20} {cpu:.2} x cer_raw's, saturated", "server CPU")?;
        }
        self.p50_at_10_percent.say(f, "p50 at 10 %", MOST_P50)?;
        self.p99_at_70_percent.say(f, "p99 at 70 %", MOST_P99)
    }
}

/// Looks for what the server gets done, then measures floors and waits in turns. The report is that of the last run at
/// seven tenths.
pub(crate) async fn find(
    api: &Api,
    users: Vec<User>,
    plan: &Plan,
    wanted: Wanted,
    (server, cores): (Option<u32>, Cores),
    cut: Pin<&mut impl Future<Output = Cut>>,
) -> Result<(Report, Vec<User>), Failure> {
    let mut tries = Tries::new(api, users, plan, server, cut);
    let (saturated, most) = overload::saturate(&mut tries, plan).await;
    if saturated.was_cut() {
        return Ok((saturated, tries.users));
    }
    // the search ends above what gets done, where most of it is
    let cpu_us = saturated.server_cpu().map(|cpu| cpu * 1e6);
    let (mut light, mut heavy, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = beside(cores, 0).await?;
    let mut last = saturated;
    for n in 1..=wanted.pairs {
        let at_light = tries.at(most * LIGHT).await;
        if at_light.was_cut() {
            return Ok((at_light, tries.users));
        }
        last = tries.at(most * HEAVY).await;
        if last.was_cut() {
            return Ok((last, tries.users));
        }
        let after = beside(cores, n).await?;
        let around = |value: fn(&Beside) -> f64| f64::midpoint(value(&before), value(&after));
        let waits = |report: &Report| report.percentiles(Step::CreateToKnown);
        if let Some(waits) = waits(&at_light) {
            let (raw, append) = (around(|floor| floor.p50_at_10), around(|floor| floor.append_p50));
            light.push(Pair::new(waits.p50, raw, append));
        }
        if let Some(p99) = waits(&last).and_then(|waits| waits.p99) {
            let (raw, append) = (around(|floor| floor.p99_at_70), around(|floor| floor.append_p99));
            heavy.push(Pair::new(p99, raw, append));
        }
        cpu.extend(cpu_us.map(|cpu_us| cpu_us / around(|floor| floor.cpu_us)));
        before = after;
    }
    last.add_ratios(Ratios {
        saturation_per_s: most,
        cpu: Spread::of(&cpu),
        p50_at_10_percent: Held::of(light),
        p99_at_70_percent: Held::of(heavy),
    });
    Ok((last, tries.users))
}

/// A round of floors while the server has nothing to do.
async fn beside(cores: Cores, n: u32) -> Result<Beside, Failure> {
    let measured = tokio::task::spawn_blocking(move || floors::round_beside(cores, n)).await;
    measured.unwrap_or_else(|error| Err(Failure::Server(format!("floors: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_held_against_the_sum_of_its_floors() {
        let pairs =
            vec![Pair::new(0.9, 0.3, 0.15), Pair::new(1.2, 0.3, 0.15), Pair::new(1.5, 0.4, 0.1)];
        assert!((pairs[0].ratio - 1.5).abs() < 1e-9);
        let ratios = Ratios {
            saturation_per_s: 2_000.0,
            cpu: Spread::of(&[3.0, 3.2]),
            p50_at_10_percent: Held::of(pairs),
            p99_at_70_percent: Held::of(Vec::new()),
        };
        let text = ratios.to_string();
        assert!(
            text.contains("2.00 [1.50-2.50] x its floor, above 1.5: 1.20 [0.90-1.50] ms"),
            "{text}"
        );
        assert!(text.contains("p99 at 70 %          not measured"), "{text}");
        assert!(text.contains("3.10 [3.00-3.20] x cer_raw's"), "{text}");
        assert!(ratios.problems().is_empty());
        let busy = Held::of(vec![Pair::new(1.0, 1.5, 0.1)]);
        let busy = Ratios { p99_at_70_percent: busy, ..ratios };
        assert!(busy.problems()[0].starts_with("p99 at 70 % is below its floor"));
    }
}
