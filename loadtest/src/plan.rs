//! What a run does: a TOML file, read strictly.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use statement::Algorithm;

use crate::floors::DEVICES_SIGN;

/// Ceremonies per second: above, one process on one machine measures itself.
const RATE: RangeInclusive<f64> = 0.1..=10_000.0;
/// Seconds of rise and of constant rate.
const SECONDS: RangeInclusive<u32> = 0..=3_600;
/// Each device holds up to three sockets, and servers bound what one address may hold: 18,000 / 4 by default.
const DEVICES: RangeInclusive<u32> = 1..=3_000;
/// What the API allows.
const TTL_S: RangeInclusive<u32> = 30..=300;
/// Milliseconds of thought; whoever thinks for longer than the shortest ttl has ignored the prompt.
const THINK_MS: RangeInclusive<u32> = 0..=25_000;
/// The largest weight.
const WEIGHT: RangeInclusive<u32> = 0..=1_000_000;
/// How many times higher the next rate of a search may be.
const FACTOR: RangeInclusive<f64> = 1.05..=4.0;
/// Milliseconds that a 99th percentile may take.
const P99_MS: RangeInclusive<f64> = 1.0..=10_000.0;
/// How often the gap between the last rate that held and the first that didn't is halved.
const HALVINGS: RangeInclusive<u32> = 0..=5;
/// Devices that are connected and never asked: what floors were measured at. More than a server's share for one
/// address (18,000 / 4) only where it is on this machine, which has more addresses.
const QUIET: RangeInclusive<u32> = 0..=18_000;
/// How many times the peak may be offered.
const TIMES: RangeInclusive<f64> = 1.0..=10.0;
/// Most overloads of a run.
const MAX_LEVELS: usize = 5;
/// How uneven users are: 0 is even, 1 is Zipf's law, at 3 the first does five sixths of all.
const SKEW: RangeInclusive<f64> = 0.0..=3.0;
/// Which share of the arrivals may be attacks.
const ATTACK: RangeInclusive<f64> = 0.01..=0.9;
/// How many users are attacked.
const TARGETS: RangeInclusive<u32> = 1..=50;
/// How often floors and waits take turns.
const PAIRS: RangeInclusive<u32> = 1..=15;
/// Ceremonies that are under way at a time, and seconds of it, warm-up included: at 5,000 a second no more are kept
/// than of other plans.
const IN_FLIGHT: RangeInclusive<u32> = 1..=1_024;
const CLOSED_S: RangeInclusive<u32> = 1..=100;
/// Every ceremony is kept until the end, to be checked again: some 300 bytes each.
const MAX_CEREMONIES: f64 = 500_000.0;
/// How busy devices may be on average: arrivals come in clusters.
const MAX_BUSY: f64 = 0.8;

/// Why a plan can't be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    #[error("{0}: {1}")]
    Toml(String, toml::de::Error),
    #[error("{file}: {field}: {why}")]
    Field { file: String, field: &'static str, why: String },
}

/// When ceremonies start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arrivals {
    /// Independently of each other, as those of many people do: clusters and gaps.
    #[default]
    Poisson,
    /// Evenly spaced.
    Uniform,
}

/// How often people do what, in any unit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mix {
    #[serde(default)]
    pub(crate) approve: u32,
    #[serde(default)]
    pub(crate) deny: u32,
    #[serde(default)]
    pub(crate) wrong: u32,
    #[serde(default)]
    pub(crate) ignore: u32,
}

impl Mix {
    pub(crate) fn total(self) -> u32 {
        self.approve + self.deny + self.wrong + self.ignore
    }
}

/// A search for the highest rate that holds: from the plan's own rate on, each `factor` times the last, until one
/// doesn't; then the gap is halved so many times. Each is a run of its own, of the plan's ramp and hold.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Knee {
    pub(crate) factor: f64,
    /// A rate holds if neither `create` nor `answer_to_waiter` takes longer than this at the 99th percentile, and
    /// nearly all ceremonies come through.
    pub(crate) p99_ms: f64,
    #[serde(default)]
    pub(crate) halvings: u32,
}

/// Finds the most that the server gets done, as a search does, then offers it several times as much.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Overload {
    /// By how much rates rise while the peak is looked for.
    pub(crate) factor: f64,
    /// How many times the peak is offered.
    pub(crate) times: Vec<f64>,
    /// Seconds at the beginning of each hold that don't count: what the ramp left over ends in them.
    #[serde(default)]
    pub(crate) settle_s: u32,
}

/// Some of the arrivals are a stranger's who knows the password of a few users, each time from elsewhere. Nobody
/// approves them. The same load without them is measured before.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attack {
    pub(crate) share: f64,
    /// Users beside `devices`, who also sign in themselves.
    pub(crate) targets: u32,
}

/// How long people wait at a tenth and at seven tenths of what the server gets done, beside the floors of the same run.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ratios {
    /// How often floors and waits take turns.
    pub(crate) pairs: u32,
}

/// All quiet devices lose their connections at once, so many seconds after the run began.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storm {
    pub(crate) at_s: u32,
}

/// A plan.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Part of the users' names.
    pub(crate) name: String,
    /// Of when ceremonies start, what people do and how long they think.
    pub(crate) seed: u64,
    #[serde(default)]
    pub(crate) arrivals: Arrivals,
    /// Ceremonies per second once the ramp is over; none with `in_flight`.
    #[serde(default)]
    pub(crate) rate: f64,
    /// A closed loop: so many ceremonies under way at a time, each after the one before.
    pub(crate) in_flight: Option<u32>,
    /// Seconds of linear rise from nothing, or of a closed loop's warm-up; not measured.
    pub(crate) ramp_s: u32,
    /// Seconds at full rate, or of the loop; measured.
    pub(crate) hold_s: u32,
    /// Users, each with one device, each in one ceremony at a time.
    pub(crate) devices: u32,
    /// Life of a challenge in seconds.
    pub(crate) ttl_s: u32,
    /// Shortest and longest thought in milliseconds, drawn evenly.
    #[serde(default)]
    pub(crate) think_ms: [u32; 2],
    pub(crate) mix: Mix,
    /// Share of the sign-ins of which the server's own page shows the number.
    #[serde(default)]
    pub(crate) hosted: f64,
    /// Devices beside those, connected and never asked. What they cost the server is measured before the run.
    #[serde(default)]
    pub(crate) quiet: u32,
    /// How much more often some users sign in than others: the exponent of Zipf's law.
    #[serde(default)]
    pub(crate) skew: f64,
    /// Server processes.
    #[serde(default = "one")]
    pub(crate) nodes: u32,
    /// Whether server and client have a core each.
    #[serde(default)]
    pub(crate) pinned: bool,
    /// Whether it is no fault if the server has no time: where more is asked for than gets done.
    #[serde(default)]
    pub(crate) refusals: bool,
    /// Whether the server that is started here speaks TLS.
    #[serde(default)]
    pub(crate) tls: bool,
    /// What devices sign with.
    #[serde(default = "in_software", deserialize_with = "algorithm")]
    pub(crate) algorithm: Algorithm,
    pub(crate) knee: Option<Knee>,
    pub(crate) storm: Option<Storm>,
    pub(crate) overload: Option<Overload>,
    pub(crate) attack: Option<Attack>,
    pub(crate) ratios: Option<Ratios>,
}

const fn one() -> u32 {
    1
}

const fn in_software() -> Algorithm {
    DEVICES_SIGN
}

/// By the names that reports give them.
fn algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
    const KNOWN: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::P256];
    const NAMES: &[&str] = &[name_of(KNOWN[0]), name_of(KNOWN[1])];
    let named = String::deserialize(deserializer)?;
    let found = KNOWN.into_iter().find(|&known| name_of(known) == named);
    found.ok_or_else(|| D::Error::unknown_variant(&named, NAMES))
}

/// What an algorithm is called in plans and reports.
pub(crate) const fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ed25519 => "ed25519",
        Algorithm::P256 => "p256",
    }
}

impl Plan {
    pub(crate) fn read(path: &Path) -> Result<Self, PlanError> {
        let file = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| PlanError::File(file.clone(), error))?;
        Self::parse(&file, &text)
    }

    fn parse(file: &str, text: &str) -> Result<Self, PlanError> {
        let plan: Self =
            toml::from_str(text).map_err(|error| PlanError::Toml(file.to_owned(), error))?;
        let problem = plan.problem();
        problem.map_or(Ok(plan), |(field, why)| {
            let file = file.to_owned();
            Err(PlanError::Field { file, field, why })
        })
    }

    /// The first field that is out of bounds, and why.
    fn problem(&self) -> Option<(&'static str, String)> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=32).contains(&self.name.len()) || !self.name.chars().all(plain) {
            let why = "must be 1 to 32 of a-z, 0-9 and -";
            return Some(("name", why.to_owned()));
        }
        let mix = self.mix;
        let bounds = [
            self.bad_rate(),
            outside("ramp_s", self.ramp_s, &SECONDS),
            outside("hold_s", self.hold_s, &(1..=*SECONDS.end())),
            outside("devices", self.devices, &DEVICES),
            outside("ttl_s", self.ttl_s, &TTL_S),
            outside("think_ms", self.think_ms[0], &THINK_MS),
            outside("think_ms", self.think_ms[1], &THINK_MS),
            outside("mix.approve", mix.approve, &WEIGHT),
            outside("mix.deny", mix.deny, &WEIGHT),
            outside("mix.wrong", mix.wrong, &WEIGHT),
            outside("mix.ignore", mix.ignore, &WEIGHT),
            outside("hosted", self.hosted, &(0.0..=1.0)),
            outside("quiet", self.quiet, &QUIET),
            self.storm.and_then(|storm| outside("storm.at_s", storm.at_s, &SECONDS)),
            self.knee.and_then(|knee| outside("knee.factor", knee.factor, &FACTOR)),
            self.knee.and_then(|knee| outside("knee.p99_ms", knee.p99_ms, &P99_MS)),
            self.knee.and_then(|knee| outside("knee.halvings", knee.halvings, &HALVINGS)),
            self.attack.and_then(|attack| outside("attack.share", attack.share, &ATTACK)),
            self.attack.and_then(|attack| outside("attack.targets", attack.targets, &TARGETS)),
            outside("skew", self.skew, &SKEW),
            self.ratios.and_then(|ratios| outside("ratios.pairs", ratios.pairs, &PAIRS)),
        ];
        if let Some(problem) = bounds.into_iter().flatten().next() {
            return Some(problem);
        }
        if self.think_ms[0] > self.think_ms[1] {
            let why = "must be [shortest, longest]";
            return Some(("think_ms", why.to_owned()));
        }
        if self.storm.is_some() && self.quiet == 0 {
            let why = "needs devices that are `quiet`";
            return Some(("storm", why.to_owned()));
        }
        let lasts = self.ramp_s + self.hold_s;
        if let Some(Storm { at_s }) = self.storm.filter(|storm| storm.at_s >= lasts) {
            let why =
                format!("must be less than `ramp_s` + `hold_s`, which are {lasts}, is {at_s}");
            return Some(("storm.at_s", why));
        }
        if let Some(problem) = self.odd_parts() {
            return Some(problem);
        }
        if mix.total() == 0 {
            return Some(("mix", "at least one weight must be above 0".to_owned()));
        }
        if self.expected() > MAX_CEREMONIES {
            let asked = self.expected();
            let why = format!(
                "must be at most {MAX_CEREMONIES} ceremonies in all, rate and seconds make {asked:.0}"
            );
            return Some(("rate", why));
        }
        self.too_busy()
    }

    /// What doesn't go together, or isn't built.
    fn odd_parts(&self) -> Option<(&'static str, String)> {
        if self.nodes != 1 {
            let why =
                "must be 1: the server is one process, several that share a store aren't built yet";
            return Some(("nodes", why.to_owned()));
        }
        let searches = u32::from(self.knee.is_some())
            + u32::from(self.overload.is_some())
            + u32::from(self.attack.is_some())
            + u32::from(self.ratios.is_some())
            + u32::from(self.storm.is_some());
        if searches > 1 {
            let all = "`knee`, `overload`, `attack`, `ratios` and `storm`";
            let why = format!("is at most one of {all}: each runs the plan in its own way");
            return Some(("plan", why));
        }
        let alone = self.mix.total() == self.mix.approve && self.think_ms == [0, 0];
        if let Some(in_flight) = self.in_flight {
            return self.odd_loop(in_flight, alone && searches == 0);
        }
        if self.ratios.is_some() && !(alone && self.pinned) {
            let why = "needs `pinned`, no thought, and approvals alone: `cer_raw` is that";
            return Some(("ratios", why.to_owned()));
        }
        let overload = self.overload.as_ref()?;
        if let Some(problem) = outside("overload.factor", overload.factor, &FACTOR) {
            return Some(problem);
        }
        let fits = |times: &f64| TIMES.contains(times);
        if !(1..=MAX_LEVELS).contains(&overload.times.len()) || !overload.times.iter().all(fits) {
            let why = "must be 1 to 5 numbers between 1 and 10";
            return Some(("overload.times", why.to_owned()));
        }
        outside("overload.settle_s", overload.settle_s, &(0..=self.hold_s.saturating_sub(1)))
    }

    fn bad_rate(&self) -> Option<(&'static str, String)> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.rate == 0.0 {
            let (least, most) = (RATE.start(), RATE.end());
            let why = format!("is missing or 0: between {least} and {most}, or `in_flight`");
            return Some(("rate", why));
        }
        outside("rate", self.rate, &RATE)
    }

    /// What a closed loop can't be.
    fn odd_loop(&self, in_flight: u32, alone: bool) -> Option<(&'static str, String)> {
        let paced = self.rate != 0.0 || self.arrivals != Arrivals::default();
        if !alone || paced || self.hosted + self.skew > 0.0 || self.quiet > 0 {
            let why = "is a way of its own to run a plan: approvals alone, without `rate`, `arrivals`, thought, pages, \
                       skew, quiet devices or searches";
            return Some(("in_flight", why.to_owned()));
        }
        let bounds = [
            outside("in_flight", in_flight, &IN_FLIGHT),
            outside("ramp_s + hold_s", self.ramp_s + self.hold_s, &CLOSED_S),
            outside("devices", self.devices, &(in_flight..=*DEVICES.end())),
        ];
        bounds.into_iter().flatten().next()
    }

    /// Whether what the server refuses for want of time is no fault.
    pub(crate) const fn may_be_refused(&self) -> bool {
        self.refusals
            || self.overload.is_some()
            || self.ratios.is_some()
            || self.in_flight.is_some()
    }

    /// A device that is being ignored is busy until the challenge expires; no more pile up than the run brings.
    fn too_busy(&self) -> Option<(&'static str, String)> {
        let ignored = f64::from(self.mix.ignore) / f64::from(self.mix.total());
        let thought = f64::from(self.think_ms[0] + self.think_ms[1]) / 2_000.0;
        let piled_s = f64::from(self.ttl_s.min(self.ramp_s + self.hold_s));
        let busy = self.rate * (ignored * piled_s + (1.0 - ignored) * thought);
        let needed = (busy / MAX_BUSY).ceil();
        (needed > f64::from(self.devices)).then(|| {
            let why = format!(
                "must be at least {needed}, is {}: that many are busy with prompts that are ignored or thought about",
                self.devices
            );
            ("devices", why)
        })
    }

    /// The same plan at another rate.
    pub(crate) fn at(&self, rate: f64) -> Self {
        Self { rate, ..self.clone() }
    }

    /// The highest rate that may be planned.
    pub(crate) const MAX_RATE: f64 = *RATE.end();

    /// How many ceremonies the schedule holds on average.
    pub(crate) fn expected(&self) -> f64 {
        self.rate * (f64::from(self.ramp_s) / 2.0 + f64::from(self.hold_s))
    }

    pub(crate) fn ramp(&self) -> Duration {
        Duration::from_secs(self.ramp_s.into())
    }

    /// From when on things count, since the run's start.
    pub(crate) fn counts_from(&self) -> Duration {
        let settle_s = self.overload.as_ref().map_or(0, |overload| overload.settle_s);
        self.ramp() + Duration::from_secs(settle_s.into())
    }

    pub(crate) fn hold(&self) -> Duration {
        Duration::from_secs(self.hold_s.into())
    }

    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_s.into())
    }
}

fn outside<T: PartialOrd + Display>(
    field: &'static str,
    value: T,
    bounds: &RangeInclusive<T>,
) -> Option<(&'static str, String)> {
    (!bounds.contains(&value)).then(|| {
        let (least, most) = (bounds.start(), bounds.end());
        let why = format!("must be between {least} and {most}, is {value}");
        (field, why)
    })
}

#[cfg(test)]
pub(crate) mod tests;
