//! Devices that are connected and never asked: what they cost the server, and the kernel under it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::failure::Failure;
use crate::fleet::{self, User};
use crate::floors::{self, IdleFigures, kernel_bytes, user_bytes};
use crate::plan::Plan;
use crate::rest::Api;

/// How long a server is left alone before it is looked at.
const SETTLE: Duration = Duration::from_secs(1);
/// Open files that aren't connections of quiet devices or of those that sign in.
const OTHER_FILES: u64 = 1_024;
/// Sockets of a device that signs in.
const EACH: u64 = 3;

/// What a connection may be of its floor.
const MOST: f64 = 4.0;
const MOST_TLS: f64 = 1.4;
/// What is below that is no noise: single figures of a connection differ by a tenth between two runs of 18,000.
const BELOW: f64 = 0.9;

/// Bytes for each device. The connections are told from the difference between a tenth of them and all: what a server
/// takes anyway, and what it kept of enrolling them, is in both.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) devices: u32,
    pub(crate) tls: bool,
    /// Of a connection, of the server's own memory (PSS).
    pub(crate) connection_bytes: f64,
    /// Of a connection, of the kernel's: half of what both ends take. Approximate; `null` where it doesn't tell.
    pub(crate) kernel_bytes: Option<f64>,
    /// Of what is kept about a user and device that were enrolled, connected or not.
    pub(crate) record_bytes: f64,
    /// What as many connections take at least, measured after the run.
    pub(crate) floor: Option<Floor>,
}

/// Floors of a connection, and what one is of its own: of a TLS stream's task under TLS, else of a bare socket's.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Floor {
    pub(crate) socket: IdleFigures,
    pub(crate) tls: Option<IdleFigures>,
    pub(crate) ratio: f64,
}

impl Idle {
    /// Measures the floors at the same number of connections. The devices must be gone by then: open files don't
    /// suffice for both.
    pub(crate) fn floors(&self) -> Result<Floor, Failure> {
        let (socket, tls) = floors::idle_beside(self.devices.into(), self.tls)?;
        Ok(Floor::new(self.connection_bytes, socket, tls))
    }
}

impl Floor {
    fn new(bytes: f64, socket: IdleFigures, tls: Option<IdleFigures>) -> Self {
        Self { socket, tls, ratio: bytes / tls.unwrap_or(socket).user_bytes.median }
    }

    /// Nothing takes less than the least that is possible, as far as that is known.
    pub(crate) fn problem(&self) -> Option<String> {
        (self.ratio < BELOW).then(|| {
            format!(
                "an idle connection can't take {:.2} x its floor: the server may have given back, while they were \
                 counted, what it had kept of enrolling them; measure again",
                self.ratio
            )
        })
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { socket, tls, ratio } = self;
        let (own, most) = if tls.is_some() { ("TLS stream", MOST_TLS) } else { ("socket", MOST) };
        let above = if *ratio > most { format!(", above {most}") } else { String::new() };
        let count = socket.connections;
        write!(
            f,
            "{:<20} {ratio:.2} x a {own}'s{above}; of {count}, a bare socket takes {:.0}",
            "idle floor", socket.user_bytes
        )?;
        match tls {
            Some(tls) => writeln!(f, ", a TLS stream {:.0}", tls.user_bytes),
            None => writeln!(f),
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { devices, tls, connection_bytes, kernel_bytes, record_bytes, floor } = self;
        let tls = if *tls { ", TLS" } else { "" };
        let kernel = kernel_bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.0}"));
        writeln!(
            f,
            "{:<20} {connection_bytes:.0} bytes of the server's memory and {kernel} of the kernel's for each connection, \
             {record_bytes:.0} for each user ({devices} devices{tls})",
            "idle device"
        )?;
        floor.map_or(Ok(()), |floor| write!(f, "{floor}"))
    }
}

/// Whether so many sockets may be open. What is asked of our own process holds for a server that it starts.
pub(crate) fn fits(plan: &Plan, open_files: Option<u64>) -> Result<(), Failure> {
    let targets = plan.attack.map_or(0, |attack| attack.targets);
    let asked = u64::from(plan.quiet + targets) + EACH * u64::from(plan.devices) + OTHER_FILES;
    match open_files {
        Some(may) if may < asked => Err(Failure::Usage(format!(
            "this plan takes {asked} open files, and {may} are allowed: raise the hard limit (ulimit -Hn {asked}, \
             LimitNOFILE= of a unit, nofile in limits.conf), or lower `quiet` and `devices`"
        ))),
        _ => Ok(()),
    }
}

/// Enrols and connects them. What they cost is known if `server`, a pid, is ours.
pub(crate) async fn connect(
    api: &Api,
    plan: &Plan,
    server: Option<u32>,
) -> Result<(Vec<User>, Option<Idle>), Failure> {
    let look = async || {
        if plan.quiet > 0 && server.is_some() {
            tokio::time::sleep(SETTLE).await;
        }
        server.and_then(|pid| user_bytes(pid).ok()).map(|user| (user as f64, kernel_bytes()))
    };
    let before = look().await;
    let which = plan.devices..plan.devices + plan.quiet;
    let mut few = fleet::enrol_only(api, plan, which).await?;
    let enrolled = look().await;
    let many = few.split_off(few.len() / 10);
    let more = many.len() as f64;
    let mut users = fleet::connect_all(api, few).await?;
    let at_few = look().await;
    users.extend(fleet::connect_all(api, many).await?);
    let at_all = look().await;
    let (Some(before), Some(enrolled), Some(few), Some(all)) = (before, enrolled, at_few, at_all)
    else {
        return Ok((users, None));
    };
    let kernel = few.1.zip(all.1).map(|(few, all)| (all as f64 - few as f64) / more / 2.0);
    let idle = Idle {
        devices: plan.quiet,
        tls: plan.tls,
        connection_bytes: (all.0 - few.0) / more,
        kernel_bytes: kernel,
        record_bytes: (enrolled.0 - before.0) / f64::from(plan.quiet.max(1)),
        floor: None,
    };
    Ok((users, (plan.quiet > 0).then_some(idle)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::good;

    #[test]
    fn what_to_raise_is_said_before_anything_is_started() {
        let plan = Plan { quiet: 18_000, devices: 50, ..good() };
        assert!(fits(&plan, Some(20_000)).is_ok() && fits(&plan, None).is_ok());
        let why = fits(&plan, Some(1_024)).expect_err("too few").to_string();
        assert!(why.contains("takes 19174 open files, and 1024 are allowed"), "{why}");
        assert!(why.contains("ulimit -Hn 19174"), "{why}");
    }

    #[test]
    fn a_connection_is_held_against_the_floor_of_its_kind() {
        let figures = |bytes| IdleFigures {
            connections: 18_000,
            user_bytes: floors::Spread::of(&[bytes]).expect("one"),
            kernel_bytes: None,
        };
        let plain = Floor::new(2_000.0, figures(400.0), None);
        let text = plain.to_string();
        assert!(text.contains("5.00 x a socket's, above 4; of 18000"), "{text}");
        assert_eq!(plain.problem(), None);
        let below = Floor::new(260.0, figures(400.0), None).problem();
        assert!(below.is_some_and(|why| why.contains("can't take 0.65 x its floor")));
        let tls = Floor::new(9_000.0, figures(400.0), Some(figures(9_000.0)));
        let text = tls.to_string();
        assert!(text.contains("1.00 x a TLS stream's; of 18000"), "{text}");
        assert!(text.contains("400 [400-400], a TLS stream 9000"), "{text}");
    }
}
