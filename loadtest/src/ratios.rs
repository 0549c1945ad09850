//! What the server takes and how long people wait, beside what no server of this kind can beat on this machine: its CPU
//! for a ceremony while its core is full, by that of `cer_raw`; and waits at a tenth and at seven tenths of what it gets
//! done, by those of `cer_raw` and two durable appends, one when the challenge is made and one when it ends. Each is
//! measured between two rounds of its floors, and only what is sound counts.

use std::fmt;
use std::pin::Pin;

use serde::Serialize;
use statement::Algorithm;

use crate::closed::{Full, IN_FLIGHT, WARM_UP};
use crate::failure::{Cut, Failure};
use crate::fleet::User;
use crate::floors::{self, APPENDS, Beside, Cores, FULL, Spread};
use crate::latency::Percentiles;
use crate::overload::{self, Tries};
use crate::plan::{Plan, Ratios as Wanted};
use crate::record::Step;
use crate::report::Report;
use crate::rest::Api;

/// Shares of what the server gets done.
const LIGHT: f64 = 0.1;
const HEAVY: f64 = 0.7;
/// How much less or more busy than that of `cer_raw` at [`HEAVY`] the server's core may be where waits are compared at
/// equal utilisation. A ceremony of a server that writes in batches takes more of a core that isn't full, so at 70 % of
/// its rate it is busier than that.
const BUSY_WITHIN: f64 = 0.07;
/// The first rate that is tried for it, by what the server gets done, and how many until the turns begin.
const BUSY_FIRST: f64 = 0.45;
const BUSY_TRIES: usize = 3;
/// How often a round of floors is measured that is none.
const FLOOR_TRIES: usize = 3;
/// What they may be of their floors.
const MOST_CPU: f64 = 1.5;
const MOST_P50: f64 = 1.5;
const MOST_P99: f64 = 2.0;
/// Of fewer pairs a median says little: a single one is good to some 12 %.
const LEAST_PAIRS: usize = 5;

/// What was measured between two rounds of floors, and what it comes to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pair<I> {
    #[serde(flatten)]
    pub(crate) inputs: I,
    pub(crate) ratio: f64,
    /// Why it doesn't count; empty if it does.
    pub(crate) wrong: Vec<String>,
}

impl<I> Pair<I> {
    /// Nothing takes less than the least that is possible.
    fn new(inputs: I, ratio: f64, mut wrong: Vec<String>) -> Self {
        if ratio < 1.0 {
            wrong.push(format!(
                "it is {ratio:.2} x its floor: something else had the cores while one of them was measured"
            ));
        }
        Self { inputs, ratio, wrong }
    }
}

/// CPU while the server's core is full. Floors are means of the rounds right before and right after.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cpu {
    /// Microseconds of the server for each ceremony, of `cer_raw`, and of the sum of its parts.
    pub(crate) server_us: f64,
    pub(crate) cer_raw_us: f64,
    pub(crate) parts_us: f64,
    /// Of a bare server with the same rows.
    pub(crate) cer_durable_us: Option<f64>,
    pub(crate) server_cores: f64,
    pub(crate) client_cores: Option<f64>,
    pub(crate) ceremonies_per_s: f64,
    /// Whose CPU is in it.
    pub(crate) refused: u64,
}

/// A wait, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Wait {
    pub(crate) wait: f64,
    pub(crate) cer_raw: f64,
    pub(crate) append: f64,
    /// Of a bare server with the same rows, at the same part of what it gets done.
    pub(crate) cer_durable: Option<f64>,
}

/// What a wait is held against: those of `cer_raw` and of one append, and why they are no floor; and a bare server's.
type Of = fn(&Beside) -> (f64, f64, &Vec<String>, Option<f64>);

fn light(floor: &Beside) -> (f64, f64, &Vec<String>, Option<f64>) {
    let bare = floor.cer_durable.map(|bare| bare.p50_at_10);
    (floor.p50_at_10, floor.append_p50, &floor.light_invalid_because, bare)
}

fn heavy(floor: &Beside) -> (f64, f64, &Vec<String>, Option<f64>) {
    let bare = floor.cer_durable.map(|bare| bare.p99_at_70);
    (floor.p99_at_70, floor.append_p99, &floor.heavy_invalid_because, bare)
}

/// Two rounds of floors, and what is between them.
struct Between<'a> {
    before: &'a Beside,
    after: &'a Beside,
}

impl Between<'_> {
    fn mean(&self, value: impl Fn(&Beside) -> f64) -> f64 {
        f64::midpoint(value(self.before), value(self.after))
    }

    /// `None` unless both rounds have it.
    fn bare(&self, value: impl Fn(&Beside) -> Option<f64>) -> Option<f64> {
        Some(f64::midpoint(value(self.before)?, value(self.after)?))
    }

    /// Why the floors are none, and what is wrong with the run between them.
    fn wrong<'b>(
        &'b self,
        of: impl Fn(&'b Beside) -> &'b Vec<String>,
        problem: Option<&str>,
    ) -> Vec<String> {
        let floors = [("before", self.before), ("after", self.after)].into_iter();
        let floors = floors.flat_map(|(when, floor)| {
            of(floor).iter().map(move |why| format!("cer_raw {when} it is no floor: {why}"))
        });
        floors.chain(problem.map(str::to_owned)).collect()
    }

    /// `None` where the server is no process of ours, or did nothing.
    fn cpu(&self, full: Full, problem: Option<&str>) -> Option<Pair<Cpu>> {
        let Full { per_s, refused, client_cores, .. } = full;
        let (server_us, server_cores) = (full.server_us?, full.server_cores?);
        let mut wrong = self.wrong(|floor| &floor.invalid_because, problem);
        if server_cores < FULL {
            wrong.push(format!("the server used {server_cores:.2} of its core, which wasn't full"));
        }
        let cer_raw_us = self.mean(|floor| floor.cer_raw_us);
        let cpu = Cpu {
            server_us,
            cer_raw_us,
            parts_us: self.mean(|floor| floor.parts_us),
            cer_durable_us: self.bare(|floor| floor.cer_durable.map(|bare| bare.cpu_us)),
            server_cores,
            client_cores,
            ceremonies_per_s: per_s,
            refused,
        };
        Some(Pair::new(cpu, server_us / cer_raw_us, wrong))
    }

    fn wait(&self, wait: f64, of: Of, problem: Option<&str>) -> Pair<Wait> {
        let wrong = self.wrong(|floor| of(floor).2, problem);
        let (cer_raw, append) = (self.mean(|floor| of(floor).0), self.mean(|floor| of(floor).1));
        let cer_durable = self.bare(|floor| of(floor).3);
        Pair::new(
            Wait { wait, cer_raw, append, cer_durable },
            wait / (cer_raw + APPENDS * append),
            wrong,
        )
    }

    /// `None` if too few were told anything.
    fn waits(
        &self,
        report: &Report,
        of: Of,
        value: fn(&Percentiles) -> Option<f64>,
    ) -> Option<Pair<Wait>> {
        let waits = report.percentiles(Step::CreateToKnown)?;
        let (_, refused) = report.ended_and_refused();
        let refused = (refused > 0).then(|| format!("{refused} were refused and didn't wait"));
        let problem = report.problem().map(str::to_owned).or(refused);
        Some(self.wait(value(&waits)?, of, problem.as_deref()))
    }
}

/// Pairs of one load, and the ratio of those that count: the median with its spread.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Held<I> {
    pub(crate) ratio: Option<Spread>,
    pub(crate) pairs: Vec<Pair<I>>,
}

impl<I> Held<I> {
    fn of(pairs: Vec<Pair<I>>) -> Self {
        let counted: Vec<f64> = counted(&pairs).map(|pair| pair.ratio).collect();
        Self { ratio: Spread::of(&counted), pairs }
    }

    /// In the middle of those that count.
    fn middle(&self, value: fn(&I) -> f64) -> f64 {
        let counted: Vec<f64> = counted(&self.pairs).map(|pair| value(&pair.inputs)).collect();
        floors::median(&counted)
    }

    /// By a bare server with the same rows, over pairs that count.
    fn by_bare(&self, ratio: fn(&I) -> Option<f64>) -> Option<Spread> {
        Spread::of(&counted(&self.pairs).filter_map(|pair| ratio(&pair.inputs)).collect::<Vec<_>>())
    }

    /// Its line up to what it is made of.
    fn say(&self, f: &mut fmt::Formatter<'_>, what: &str, most: f64) -> fmt::Result {
        let Some(ratio) = self.ratio else { return write!(f, "{what:<20} no pair counts") };
        let above = if ratio.median > most { format!(", above {most}") } else { String::new() };
        let (rounds, all) = (ratio.rounds, self.pairs.len());
        write!(f, "{what:<20} {ratio:.2} x its floor{above}, {rounds} of {all} pairs")
    }

    fn problems(&self, what: &str) -> Vec<String> {
        let each = self.pairs.iter().enumerate().filter(|(_, pair)| !pair.wrong.is_empty());
        let each = each.map(|(n, pair)| {
            format!("{what}, pair {}, doesn't count: {}", n + 1, pair.wrong.join("; "))
        });
        let count = counted(&self.pairs).count();
        let few = (count < LEAST_PAIRS).then(|| {
            format!("{what}: {count} pairs count, and a median takes {LEAST_PAIRS} to be relied on")
        });
        each.chain(few).collect()
    }
}

fn counted<I>(pairs: &[Pair<I>]) -> impl Iterator<Item = &Pair<I>> {
    pairs.iter().filter(|pair| pair.wrong.is_empty())
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ratios {
    /// What the server got done at most while more and more arrived: the loads are parts of it.
    pub(crate) saturation_per_s: f64,
    /// Server CPU of a ceremony while its core is full, by that of `cer_raw`.
    pub(crate) cpu: Held<Cpu>,
    /// From when the ceremony should have started until the page knows its end.
    pub(crate) p50_at_10_percent: Held<Wait>,
    pub(crate) p99_at_70_percent: Held<Wait>,
    /// The same where the server's core is as busy as that of `cer_raw` at 70 %.
    pub(crate) p99_at_equal_utilisation: Held<Wait>,
    /// CPU, p50 and p99 of those by `cer_durable`, which is no floor: what else than its rows the server takes.
    pub(crate) by_cer_durable: ByCerDurable,
    /// Each round of floors; a pair lies between two.
    pub(crate) floors: Vec<Beside>,
}

/// `None` where no pair counts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ByCerDurable {
    pub(crate) cpu: Option<Spread>,
    pub(crate) p50_at_10_percent: Option<Spread>,
    pub(crate) p99_at_70_percent: Option<Spread>,
}

impl Ratios {
    /// Each pair that doesn't count, and why.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = self.cpu.problems("server CPU");
        problems.extend(self.p50_at_10_percent.problems("p50 at 10 %"));
        problems.extend(self.p99_at_70_percent.problems("p99 at 70 %"));
        problems.extend(self.p99_at_equal_utilisation.problems("p99, equally busy"));
        problems
    }
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:.0}/s", "saturated", self.saturation_per_s)?;
        self.cpu.say(f, "server CPU", MOST_CPU)?;
        if self.cpu.ratio.is_some() {
            let middle = |value| self.cpu.middle(value);
            write!(
                f,
                ": {:.0} us a ceremony at {:.2} cores and {:.0}/s, {:.0} refused; cer_raw {:.0}, its parts {:.0}",
                middle(|cpu| cpu.server_us),
                middle(|cpu| cpu.server_cores),
                middle(|cpu| cpu.ceremonies_per_s),
                middle(|cpu| cpu.refused as f64),
                middle(|cpu| cpu.cer_raw_us),
                middle(|cpu| cpu.parts_us),
            )?;
        }
        writeln!(f)?;
        for (what, held, most) in [
            ("p50 at 10 %", &self.p50_at_10_percent, MOST_P50),
            ("p99 at 70 %", &self.p99_at_70_percent, MOST_P99),
            ("p99, equally busy", &self.p99_at_equal_utilisation, MOST_P99),
        ] {
            held.say(f, what, most)?;
            if held.ratio.is_some() {
                let middle = |value| held.middle(value);
                let (wait, raw) = (middle(|pair| pair.wait), middle(|pair| pair.cer_raw));
                let append = middle(|pair| pair.append);
                write!(f, ": {wait:.2} ms; cer_raw {raw:.2}, one append {append:.2}")?;
            }
            writeln!(f)?;
        }
        let ByCerDurable { cpu, p50_at_10_percent, p99_at_70_percent } = self.by_cer_durable;
        let all = [("CPU", cpu), ("p50", p50_at_10_percent), ("p99 at 70 %", p99_at_70_percent)];
        write!(f, "{:<20}", "by cer_durable")?;
        for (n, (what, ratio)) in all.into_iter().enumerate() {
            let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2} x"));
            write!(f, "{}{what} {ratio}", if n > 0 { ", " } else { " " })?;
        }
        writeln!(f)
    }
}

/// Looks for what the server gets done, then measures floors, a full core and waits in turns. The report is that of the
/// last run at seven tenths, or of the one that was cut.
pub(crate) async fn find(
    api: &Api,
    users: Vec<User>,
    plan: &Plan,
    wanted: Wanted,
    (server, cores): (Option<u32>, Cores),
    cut: Pin<&mut impl Future<Output = Cut>>,
) -> (Report, Vec<User>) {
    let mut tries = Tries::new(api, users, plan, server, cut);
    let (mut last, most) = overload::saturate(&mut tries, plan).await;
    let mut pairs = Pairs::default();
    if most > 0.0 && !last.was_cut() {
        let floor = Floor { cores, algorithm: plan.algorithm };
        match turns(&mut tries, most, (wanted, floor), &mut pairs).await {
            Ok(report) => last = report.unwrap_or(last),
            Err(failure) => last.add_problem(failure.to_string()),
        }
    }
    last.add_ratios(pairs.over(most));
    tries.end(last, most)
}

/// Where floors are measured, and what devices sign with there as here.
#[derive(Clone, Copy)]
struct Floor {
    cores: Cores,
    algorithm: Algorithm,
}

/// Measures in turns; gives the last report. What came before a failure or a cut is in `pairs`.
async fn turns<C: Future<Output = Cut>>(
    tries: &mut Tries<'_, C>,
    most: f64,
    (wanted, floor): (Wanted, Floor),
    pairs: &mut Pairs,
) -> Result<Option<Report>, Failure> {
    let mut last = None;
    let mut busy_rate = most * BUSY_FIRST;
    let first = beside(floor, 0).await?;
    for _ in 0..BUSY_TRIES {
        let report = tries.at(busy_rate).await;
        if report.was_cut() {
            return Ok(Some(report));
        }
        busy_rate = next_rate(busy_rate, &report, first.busy_at_70);
    }
    pairs.floors.push(first);
    for n in 1..=wanted.pairs {
        let (at_full, full) = tries.closed(IN_FLIGHT, WARM_UP).await;
        if at_full.was_cut() {
            return Ok(Some(at_full));
        }
        let mut runs = Vec::with_capacity(3);
        for rate in [most * LIGHT, busy_rate, most * HEAVY] {
            let report = tries.at(rate).await;
            if report.was_cut() {
                return Ok(Some(report));
            }
            runs.push(report);
        }
        pairs.floors.push(beside(floor, n).await?);
        busy_rate = pairs.add((&at_full, full), &runs, busy_rate);
        last = runs.pop();
    }
    Ok(last)
}

/// What the turns brought.
#[derive(Default)]
struct Pairs {
    cpu: Vec<Pair<Cpu>>,
    light: Vec<Pair<Wait>>,
    heavy: Vec<Pair<Wait>>,
    equal: Vec<Pair<Wait>>,
    floors: Vec<Beside>,
}

impl Pairs {
    /// Adds what was run between the last two rounds of floors: a full core, a light load, one as busy as `cer_raw`, and a
    /// heavy one. Gives the rate at which to try to be as busy the next time.
    fn add(&mut self, (at_full, full): (&Report, Full), runs: &[Report], busy_rate: f64) -> f64 {
        let ([.., before, after], [at_light, at_busy, at_heavy]) = (&self.floors[..], runs) else {
            return busy_rate;
        };
        let between = Between { before, after };
        self.cpu.extend(between.cpu(full, at_full.problem()));
        self.light.extend(between.waits(at_light, light, |waits| Some(waits.p50)));
        self.heavy.extend(between.waits(at_heavy, heavy, |waits| waits.p99));
        let floor = between.mean(|floor| floor.busy_at_70);
        let equal = between.waits(at_busy, heavy, |waits| waits.p99);
        self.equal.extend(equal.map(|mut pair| {
            pair.wrong.extend(unequal(at_busy, busy_rate, floor));
            pair
        }));
        next_rate(busy_rate, at_busy, floor)
    }

    fn over(self, saturation_per_s: f64) -> Ratios {
        let (cpu, light, heavy) = (Held::of(self.cpu), Held::of(self.light), Held::of(self.heavy));
        let wait: fn(&Wait) -> Option<f64> = |pair| Some(pair.wait / pair.cer_durable?);
        Ratios {
            saturation_per_s,
            by_cer_durable: ByCerDurable {
                cpu: cpu.by_bare(|cpu| Some(cpu.server_us / cpu.cer_durable_us?)),
                p50_at_10_percent: light.by_bare(wait),
                p99_at_70_percent: heavy.by_bare(wait),
            },
            cpu,
            p50_at_10_percent: light,
            p99_at_70_percent: heavy,
            p99_at_equal_utilisation: Held::of(self.equal),
            floors: self.floors,
        }
    }
}

/// How much of its core the server used.
fn busy(report: &Report) -> f64 {
    report.cores().0.unwrap_or_default()
}

/// Why a run isn't one at equal utilisation with a floor whose core was as busy as that.
fn unequal(report: &Report, rate: f64, floor: f64) -> Option<String> {
    let busy = busy(report);
    let off = (busy - floor).abs() > BUSY_WITHIN;
    let (busy, floor) = (busy * 100.0, floor * 100.0);
    off.then(|| format!("the core was {busy:.0} % busy at {rate:.0}/s, and cer_raw's {floor:.0} %"))
}

/// The rate at which the core is as busy as the floor's, by how busy it was at this one.
fn next_rate(rate: f64, report: &Report, floor: f64) -> f64 {
    let busy = busy(report);
    if busy > 0.0 { rate * (floor / busy).clamp(0.5, 1.5) } else { rate }
}

/// A round of floors while the server has nothing to do. One that is no floor spoils two pairs, so it is measured again;
/// what is left then is what somebody else takes of the machine, and is said.
async fn beside(floor: Floor, n: u32) -> Result<Beside, Failure> {
    for _ in 1..FLOOR_TRIES {
        let round = once(floor, n).await?;
        if round.invalid_because.is_empty() {
            return Ok(round);
        }
        eprintln!("once more: {}", round.invalid_because.join("; "));
    }
    once(floor, n).await
}

async fn once(Floor { cores, algorithm }: Floor, n: u32) -> Result<Beside, Failure> {
    let measure = move || floors::round_beside(cores, n, algorithm);
    let measured = tokio::task::spawn_blocking(measure).await;
    measured.unwrap_or_else(|error| Err(Failure::Server(format!("floors: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floors::CerDurable;

    fn floor(cer_raw_us: f64) -> Beside {
        Beside {
            cer_raw_us,
            parts_us: 100.0,
            server_cores: 0.99,
            generator_cores: 0.7,
            p50_at_10: 0.3,
            p99_at_70: 4.0,
            busy_at_70: 0.75,
            append_p50: 0.15,
            append_p99: 0.5,
            cer_durable: Some(CerDurable {
                cpu_us: 150.0,
                p50_at_10: 0.6,
                p99_at_70: 8.0,
                busy_at_70: 0.9,
            }),
            invalid_because: Vec::new(),
            light_invalid_because: Vec::new(),
            heavy_invalid_because: Vec::new(),
        }
    }

    fn full(server_us: f64, server_cores: f64) -> Full {
        Full {
            per_s: 3_000.0,
            refused: 0,
            server_us: Some(server_us),
            server_cores: Some(server_cores),
            client_us: Some(200.0),
            client_cores: Some(0.6),
        }
    }

    fn waited(before: &Beside, wait: f64) -> Pair<Wait> {
        Between { before, after: &floor(110.0) }.wait(wait, light, None)
    }

    fn ratios(cpu: Vec<Pair<Cpu>>, light: Vec<Pair<Wait>>) -> Ratios {
        Pairs { cpu, light, ..Pairs::default() }.over(3_000.0)
    }

    #[test]
    fn each_pair_is_held_against_the_floors_around_it() {
        let (before, after) = (floor(110.0), floor(130.0));
        let between = Between { before: &before, after: &after };
        let cpu = |us| between.cpu(full(us, 0.98), None).expect("CPU");
        let cpu: Vec<_> = [300.0, 360.0, 366.0, 360.0, 372.0].map(cpu).into();
        let waits = [0.9, 1.2, 1.5, 0.9, 1.5].map(|wait| waited(&before, wait));
        let ratios = ratios(cpu, waits.into());
        let text = ratios.to_string();
        let says = "3.00 [2.50-3.10] x its floor, above 1.5, 5 of 5 pairs: 360 us a ceremony at 0.98 cores and 3000/s, \
                    0 refused; cer_raw 120, its parts 100";
        assert!(text.contains(says), "{text}");
        assert!(
            text.contains(
                "2.00 [1.50-2.50] x its floor, above 1.5, 5 of 5 pairs: 1.20 ms; cer_raw 0.30"
            ),
            "{text}"
        );
        assert!(text.contains("p99 at 70 %          no pair counts"), "{text}");
        let bare =
            "by cer_durable       CPU 2.40 [2.00-2.48] x, p50 2.00 [1.50-2.50] x, p99 at 70 % -";
        assert!(text.contains(bare), "{text}");
        let problems = ratios.problems();
        let few = "0 pairs count, and a median takes 5 to be relied on";
        assert_eq!(
            problems,
            ["p99 at 70 %", "p99, equally busy"].map(|what| format!("{what}: {few}"))
        );
        let json = serde_json::to_value(&ratios).expect("JSON");
        let pair = &json["cpu"]["pairs"][0];
        for input in ["server_us", "cer_raw_us", "parts_us", "server_cores", "client_cores"] {
            assert!(pair[input].is_f64(), "{input}: {pair}");
        }
        assert_eq!(json["p50_at_10_percent"]["pairs"][0]["append"], 0.15);
    }

    #[test]
    fn what_isnt_sound_doesnt_count_and_each_is_said() {
        let good = floor(110.0);
        let mut invalid = good.clone();
        invalid.invalid_because.push("it costs 1.31 x the sum of its parts".to_owned());
        invalid.light_invalid_because.push("20 % started late".to_owned());
        let of = |before: &Beside, full: Full, problem: Option<&str>| {
            Between { before, after: &good }.cpu(full, problem).expect("CPU")
        };
        let cpu = vec![
            of(&invalid, full(330.0, 0.99), None),
            of(&good, full(330.0, 0.80), None),
            of(&good, full(99.0, 0.99), None),
            of(&good, full(330.0, 0.99), Some("3 ceremonies lost")),
            of(&good, full(330.0, 0.99), None),
        ];
        let mut late = good.clone();
        late.cer_durable = None;
        late.heavy_invalid_because.push("that is another load".to_owned());
        let waits = vec![waited(&good, 0.5), waited(&invalid, 0.9), waited(&late, 0.9)];
        let ratios = ratios(cpu, waits);
        assert_eq!(ratios.cpu.ratio.map(|ratio| (ratio.median, ratio.rounds)), Some((3.0, 1)));
        assert!(ratios.p50_at_10_percent.ratio.is_some_and(|ratio| ratio.rounds == 1));
        assert!(ratios.by_cer_durable.p50_at_10_percent.is_none(), "half of it is missing");
        let problems = ratios.problems();
        for says in [
            "server CPU, pair 1, doesn't count: cer_raw before it is no floor: it costs 1.31 x",
            "server CPU, pair 2, doesn't count: the server used 0.80 of its core",
            "server CPU, pair 3, doesn't count: it is 0.90 x its floor",
            "server CPU, pair 4, doesn't count: 3 ceremonies lost",
            "server CPU: 1 pairs count",
            "p50 at 10 %, pair 1, doesn't count: it is 0.83 x its floor",
            "p50 at 10 %, pair 2, doesn't count: cer_raw before it is no floor: 20 %",
        ] {
            assert!(
                problems.iter().any(|problem| problem.starts_with(says)),
                "{says}: {problems:?}"
            );
        }
        let elsewhere = Full { server_us: None, ..full(1.0, 1.0) };
        assert!(Between { before: &good, after: &good }.cpu(elsewhere, None).is_none());
    }
}
