//! All quiet devices lose their connections at once, and come back.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use authenticator_native::Event;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clock;
use crate::fleet::User;
use crate::latency::{Percentiles, Times, or_dash};
use crate::record::{Record, Step};

/// How long a device may take to be back: longer than any server takes to let everybody in again.
const BACK_WITHIN: Duration = Duration::from_secs(180);
/// A server is busy letting devices in while most of them come: in the fullest of these stretches that hold so large a
/// part of all. When hardly any come they wait by themselves, and the server for them.
const STRETCH: Duration = Duration::from_millis(250);
const MOST_OF_ALL: f64 = 0.8;
/// From so many stretches, and devices in each, there is a rate to tell.
const LEAST_STRETCHES: usize = 3;
const LEAST_EACH: usize = 10;
/// How many times the time that all take at that rate the last may take.
const MOST: f64 = 1.5;
/// What creating a challenge may take meanwhile, in milliseconds at the 99th percentile.
const MOST_CREATE_MS: f64 = 2_000.0;

/// A create of the run: when it should have started, and what it took in microseconds unless it failed.
pub(crate) struct Created {
    start: Instant,
    took: Option<u64>,
}

/// All creates of a run.
pub(crate) fn creates(records: &[Record]) -> Vec<Created> {
    let created = |record: &Record| {
        let times = record.times.iter().find(|(step, _)| *step == Step::Create);
        Some(Created { start: record.start?, took: times.map(|(_, micros)| *micros) })
    };
    records.iter().filter_map(created).collect()
}

/// How the devices came back. Seconds since the cut, of the clients' own waiting too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Back {
    pub(crate) devices: usize,
    pub(crate) back: usize,
    pub(crate) half_s: f64,
    pub(crate) p99_s: f64,
    pub(crate) last_s: f64,
    /// How many came back a second while most of them did: what the server lets in, or what is asked of it if that
    /// is less. `null` of too few, or where they came too quickly to tell.
    pub(crate) admitted_per_s: Option<f64>,
    /// What the last took, by what all take at that rate. `null` if one stayed away.
    pub(crate) ratio: Option<f64>,
    /// Creating challenges in milliseconds, of those that should have started between the cut and the last one's
    /// return, and how many of those failed.
    pub(crate) create: Option<Percentiles>,
    pub(crate) create_failed: u64,
    #[serde(skip)]
    cut: Instant,
    /// After how many seconds each hundredth of those who came was back.
    #[serde(skip)]
    pub(crate) after_s: Vec<f64>,
}

impl Back {
    /// `None` if nobody was cut.
    fn new(devices: usize, cut: Instant, mut took: Vec<Duration>) -> Option<Self> {
        took.sort_unstable();
        let nth = |part: usize| (took.len() * part / 100).min(took.len().saturating_sub(1));
        let at = |part: usize| took.get(nth(part)).map_or(f64::NAN, Duration::as_secs_f64);
        let (back, last_s) = (took.len(), at(100));
        let admitted_per_s = admitted(&took);
        let ratio = admitted_per_s.map(|rate| last_s / (devices as f64 / rate));
        (devices > 0).then(|| Self {
            devices,
            back,
            half_s: at(50),
            p99_s: at(99),
            last_s,
            admitted_per_s,
            ratio: ratio.filter(|_| back == devices),
            create: None,
            create_failed: 0,
            cut,
            after_s: (0..=100).map(at).filter(|s| s.is_finite()).collect(),
        })
    }

    /// With what became of challenges meanwhile.
    pub(crate) fn beside(mut self, creates: &[Created]) -> Self {
        let whole = self.back == self.devices;
        let lasted = if whole { Duration::from_secs_f64(self.last_s) } else { BACK_WITHIN };
        let window = self.cut..=self.cut + lasted;
        let (mut times, mut failed) = (Times::default(), 0);
        for created in creates.iter().filter(|created| window.contains(&created.start)) {
            match created.took {
                Some(micros) => times.add_one(Step::Create, micros),
                None => failed += 1,
            }
        }
        (self.create, self.create_failed) = (times.percentiles(Step::Create), failed);
        self
    }
}

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { devices, back, half_s, p99_s, last_s, .. } = self;
        writeln!(
            f,
            "{:<20} {back} of {devices} devices came back: half of them in {half_s:.1} s, 99 % in {p99_s:.1} s, the \
             last in {last_s:.1} s",
            "storm"
        )?;
        if let (Some(rate), Some(ratio)) = (self.admitted_per_s, self.ratio) {
            let all_s = *devices as f64 / rate;
            let above = if ratio > MOST { format!(", above {MOST}") } else { String::new() };
            writeln!(
                f,
                "{:<20} most came at {rate:.0}/s, by which all take {all_s:.1} s: the last took {ratio:.2} x \
                 that{above}",
                ""
            )?;
        }
        let failed = self.create_failed;
        let Some(Percentiles { p50, p99, max, count, .. }) = self.create else {
            return writeln!(f, "{:<20} no challenge was created meanwhile, {failed} failed", "");
        };
        let slow = if p99.unwrap_or(max) > MOST_CREATE_MS { ", above 2 s" } else { "" };
        writeln!(
            f,
            "{:<20} create meanwhile: p50 {p50:.2}  p99 {}  max {max:.2} ms  ({count}, {failed} failed){slow}",
            "",
            or_dash(p99, 2)
        )
    }
}

/// How many came back a second while the server was busy letting them in.
fn admitted(took: &[Duration]) -> Option<f64> {
    let mut stretches: BTreeMap<u128, usize> = BTreeMap::new();
    for took in took {
        *stretches.entry(took.as_millis() / STRETCH.as_millis()).or_default() += 1;
    }
    let mut fullest: Vec<usize> = stretches.into_values().collect();
    fullest.sort_unstable_by_key(|count| Reverse(*count));
    let (mut came, mut busy) = (0, 0);
    for count in fullest {
        if came as f64 >= MOST_OF_ALL * took.len() as f64 {
            break;
        }
        (came, busy) = (came + count, busy + 1);
    }
    let tells = busy >= LEAST_STRETCHES && came >= LEAST_EACH * busy;
    tells.then(|| came as f64 / (busy as f64 * STRETCH.as_secs_f64()))
}

/// Cuts all connections at `at` and waits for the devices.
pub(crate) async fn run(users: Vec<User>, at: Instant) -> (Vec<User>, Option<Back>) {
    sleep_until(at).await;
    let devices = users.len();
    eprintln!("cutting {devices} devices off");
    let cut = clock::now();
    let mut tasks = JoinSet::new();
    for mut user in users {
        tasks.spawn(async move {
            let took = comes_back(&mut user, cut).await;
            (user, took)
        });
    }
    let (mut users, mut took) = (Vec::with_capacity(devices), Vec::with_capacity(devices));
    while let Some(done) = tasks.join_next().await {
        let (user, back) = done.expect("no device panics");
        users.push(user);
        took.extend(back);
    }
    (users, Back::new(devices, cut, took))
}

async fn comes_back(user: &mut User, cut: Instant) -> Option<Duration> {
    user.session.handle.network_changed().await.ok()?;
    let until = cut + BACK_WITHIN;
    let mut is_cut = false;
    while let Some((_, event)) = timeout_at(until, user.session.events.recv()).await.ok()? {
        match event {
            Event::Disconnected { .. } => is_cut = true,
            Event::Connected { .. } if is_cut => {
                return Some(clock::now().saturating_duration_since(cut));
            }
            Event::Stopped(_) => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Act;

    fn seconds(all: impl Iterator<Item = u64>) -> Vec<Duration> {
        all.map(Duration::from_secs).collect()
    }

    #[test]
    fn those_who_stay_away_are_counted() {
        let took = seconds((1..=100).rev());
        let back = Back::new(101, clock::now(), took).expect("devices");
        assert_eq!((back.devices, back.back), (101, 100));
        assert_eq!((back.half_s, back.p99_s, back.last_s), (51.0, 100.0, 100.0));
        assert_eq!(back.ratio, None, "the last isn't back");
        assert!(back.to_string().contains("100 of 101"));
        assert_eq!(Back::new(0, clock::now(), Vec::new()), None);
        let away = Back::new(3, clock::now(), Vec::new()).expect("devices");
        assert_eq!((away.back, away.admitted_per_s), (0, None));
    }

    #[test]
    fn the_last_is_held_against_the_rate_of_most() {
        let cut = clock::now();
        let every = |from_ms: u64, count: u64| {
            (0..count).map(move |n| Duration::from_millis(from_ms + n * 5))
        };
        let even = Back::new(2_000, cut, every(0, 2_000).collect()).expect("devices");
        assert_eq!(even.admitted_per_s, Some(200.0));
        assert!(even.to_string().contains("the last took 1.00 x that\n"), "{even}");
        // a tail, and a gap in which the server had nothing to do
        for rest in [every(19_996, 2).collect::<Vec<_>>(), every(15_000, 1_000).collect()] {
            let took = every(0, 2_000 - rest.len() as u64).chain(rest).collect();
            let tail = Back::new(2_000, cut, took).expect("devices");
            assert_eq!(tail.admitted_per_s, Some(200.0));
            assert!(tail.to_string().contains("the last took 2.00 x that, above 1.5"), "{tail}");
        }
        for took in [vec![Duration::from_secs(1); 100], seconds(1..=100)] {
            let untold = Back::new(100, cut, took).expect("devices");
            assert_eq!((untold.admitted_per_s, untold.ratio), (None, None));
        }
    }

    #[test]
    fn only_creates_within_the_storm_count() {
        let cut = clock::now() + Duration::from_secs(100);
        let at = |s: f64, took| Created { start: cut + Duration::from_secs_f64(s), took };
        let before = Created { start: cut - Duration::from_millis(1), took: Some(9_000_000) };
        let creates = [before, at(0.0, Some(1_000)), at(3.0, None), at(10.0, Some(3_000))];
        let creates = creates.into_iter().chain([at(10.1, Some(9_000_000)), at(11.0, None)]);
        let creates: Vec<Created> = creates.collect();
        let back = Back::new(10, cut, seconds(1..=10)).expect("devices").beside(&creates);
        let found = back.create.expect("two");
        assert_eq!((found.count, found.p99, back.create_failed), (2, None, 1));
        assert!((found.max - 3.0).abs() < 0.01, "{found:?}");
        assert!(back.to_string().contains("p99 -  max 3.00 ms  (2, 1 failed)\n"), "{back}");
        let away = Back::new(11, cut, seconds(1..=10)).expect("devices").beside(&creates);
        assert!(away.create.is_some_and(|found| found.count == 3), "as long as one is awaited");
        assert!(away.to_string().contains("(3, 2 failed), above 2 s"), "{away}");
    }

    #[test]
    fn a_create_knows_when_it_should_have_started() {
        let mut record = Record::new(Act::Approve, String::new());
        assert!(creates(std::slice::from_ref(&record)).is_empty());
        record.start = Some(clock::now());
        record.times.push((Step::Redeem, 1));
        assert_eq!(creates(std::slice::from_ref(&record))[0].took, None);
        record.times.push((Step::Create, 7));
        assert_eq!(creates(&[record])[0].took, Some(7));
    }
}
