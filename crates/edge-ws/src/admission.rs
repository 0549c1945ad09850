//! Who may connect: how many connections there are, in all and from one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// How many connections are held. An idle device costs about 4 KiB here and as much in the kernel.
#[derive(Clone, Debug)]
pub struct Limits {
    /// In all: what a small server's memory and file descriptors bear.
    pub connections: u32,
    /// From one address (an IPv6 /64): a large office behind one NAT.
    pub per_address: u32,
    /// Not yet identified, in all. They are cheap and gone within seconds; the bound
    /// keeps a crowd that never speaks from taking the places of devices.
    pub unidentified: u32,
    /// Not yet identified, from one address: a login takes a few round trips, so these let some hundred
    /// devices a second in, and one silent host can't fill the places of all.
    pub unidentified_per_address: u32,
    /// Values of `Origin` that are let in. Devices that aren't browsers send none, and need none here.
    pub origins: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 18_000,
            per_address: 18_000 / 4,
            unidentified: 1024,
            unidentified_per_address: 64,
            origins: Vec::new(),
        }
    }
}

/// Why a connection isn't let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no place for anybody.
    Full,
    /// There is none for this address.
    AddressFull,
}

/// The places of one server.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    taken: Mutex<Taken>,
    open: watch::Sender<u32>,
}

#[derive(Debug, Default)]
struct Taken {
    all: Count,
    by_address: BTreeMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    open: u32,
    unidentified: u32,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, taken: Mutex::default(), open: watch::Sender::new(0) }
    }

    pub(crate) fn origins(&self) -> &[String] {
        &self.limits.origins
    }

    /// Takes a place for a connection that isn't identified yet.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refusal> {
        let address = network(address);
        let Limits { connections, per_address, unidentified, unidentified_per_address, .. } =
            self.limits;
        let mut taken = self.locked();
        let all = taken.all;
        if all.open >= connections || all.unidentified >= unidentified {
            return Err(Refusal::Full);
        }
        let of = taken.by_address.get(&address).copied().unwrap_or_default();
        if of.open >= per_address || of.unidentified >= unidentified_per_address {
            return Err(Refusal::AddressFull);
        }
        taken.change(address, |count| {
            count.open += 1;
            count.unidentified += 1;
        });
        self.open.send_replace(taken.all.open);
        Ok(Permit { admission: Arc::clone(self), address, identified: false })
    }

    /// Resolves when no connection is open.
    pub(crate) async fn drained(&self) {
        let mut open = self.open.subscribe();
        // the sender is `self`, which outlives this
        let _ = open.wait_for(|open| *open == 0).await;
    }

    fn locked(&self) -> MutexGuard<'_, Taken> {
        // counts are changed in one go: a poisoned lock holds right ones
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn change(&mut self, address: IpAddr, change: impl Fn(&mut Count)) {
        change(&mut self.all);
        let of = self.by_address.entry(address).or_default();
        change(of);
        if of.open == 0 {
            self.by_address.remove(&address);
        }
    }
}

/// A taken place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    address: IpAddr,
    identified: bool,
}

impl Permit {
    /// The connection has shown a device's key or a ticket: it no longer counts as unidentified.
    pub(crate) fn identified(&mut self) {
        if !self.identified {
            self.identified = true;
            let mut taken = self.admission.locked();
            taken.change(self.address, |count| count.unidentified -= 1);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.identified();
        let mut taken = self.admission.locked();
        taken.change(self.address, |count| count.open -= 1);
        self.admission.open.send_replace(taken.all.open);
    }
}

/// What counts as one address: whoever has one IPv6 address has the /64 around it (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission() -> Arc<Admission> {
        Arc::new(Admission::new(Limits {
            connections: 5,
            per_address: 3,
            unidentified: 4,
            unidentified_per_address: 2,
            origins: Vec::new(),
        }))
    }

    fn host(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn one_address_takes_its_share_and_no_more() {
        let admission = admission();
        let mut held: Vec<Permit> = Vec::new();
        held.extend((0..2).map(|_| admission.enter(host(1)).expect("a place")));
        let refused = || admission.enter(host(1)).expect_err("no place");
        assert_eq!(refused(), Refusal::AddressFull);
        held[0].identified();
        held[0].identified();
        held.push(admission.enter(host(1)).expect("a place"));
        held.iter_mut().for_each(Permit::identified);
        assert_eq!(refused(), Refusal::AddressFull);
        held.pop();
        assert!(admission.enter(host(1)).is_ok());
    }

    #[test]
    fn all_together_take_what_there_is() {
        let admission = admission();
        let enter = |n| admission.enter(host(n));
        let mut held: Vec<Permit> = (0..4).map(|n| enter(n).expect("a place")).collect();
        assert_eq!(enter(4).expect_err("no place"), Refusal::Full);
        held.iter_mut().for_each(Permit::identified);
        held.push(enter(4).expect("a place"));
        assert_eq!(enter(5).expect_err("no place"), Refusal::Full);
        held.clear();
        let taken = admission.locked();
        assert!(taken.by_address.is_empty());
        assert_eq!((taken.all.open, taken.all.unidentified), (0, 0));
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_mapped_ipv4_is_ipv4() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[tokio::test]
    async fn drained_waits_for_the_last_one() {
        let admission = admission();
        admission.drained().await;
        let permit = admission.enter(host(1)).expect("a place");
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.drained().await }
        });
        drop(permit);
        let done = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        done.expect("in time").expect("no panic");
    }
}
