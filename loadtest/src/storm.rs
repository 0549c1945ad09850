//! All quiet devices lose their connections at once, and come back.

use std::time::Duration;

use authenticator_native::Event;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clock;
use crate::fleet::User;

/// How long a device may take to be back: longer than any server takes to let everybody in again.
const BACK_WITHIN: Duration = Duration::from_secs(180);

/// How the devices came back. Seconds since the cut, of the clients' own waiting too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Back {
    pub(crate) devices: usize,
    pub(crate) back: usize,
    pub(crate) half_s: f64,
    pub(crate) p99_s: f64,
    pub(crate) last_s: f64,
}

impl Back {
    /// `None` if nobody was cut.
    fn new(devices: usize, mut took: Vec<Duration>) -> Option<Self> {
        took.sort_unstable();
        let at = |part: usize| {
            let nth = (took.len() * part / 100).min(took.len().saturating_sub(1));
            took.get(nth).map_or(f64::NAN, Duration::as_secs_f64)
        };
        let back = took.len();
        (devices > 0).then(|| Self {
            devices,
            back,
            half_s: at(50),
            p99_s: at(99),
            last_s: at(100),
        })
    }

    /// In words.
    pub(crate) fn say(self) -> String {
        let Self { devices, back, half_s, p99_s, last_s } = self;
        format!(
            "{back} of {devices} devices came back: half of them in {half_s:.1} s, 99 % in {p99_s:.1} s, the last in \
             {last_s:.1} s"
        )
    }
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
    (users, Back::new(devices, took))
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

    #[test]
    fn those_who_stay_away_are_counted() {
        let took = (1..=100).rev().map(Duration::from_secs).collect();
        let back = Back::new(101, took).expect("devices");
        assert_eq!((back.devices, back.back), (101, 100));
        assert_eq!((back.half_s, back.p99_s, back.last_s), (51.0, 100.0, 100.0));
        assert!(back.say().contains("100 of 101"));
        assert_eq!(Back::new(0, Vec::new()), None);
    }
}
