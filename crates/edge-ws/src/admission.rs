//! Who may connect: how many connections there are, in all and from one address; and who has to go for somebody
//! else while nobody knows who they are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// How long a connection is left alone before it has to make room: a login takes two round trips, which the worst
/// of mobile networks makes in this time.
pub(crate) const LOGIN_TIME: Duration = Duration::from_secs(2);
/// Of all connections, those that one address may hold: a large office behind one NAT.
const ADDRESS_SHARE: u32 = 4;

/// How many connections are held. An idle device costs about 1.4 KiB, 7 more under TLS, and 4 in the kernel.
#[derive(Clone, Debug)]
pub struct Limits {
    /// In all: what a server's memory and file descriptors bear.
    pub connections: u32,
    /// From one address (an IPv6 /64).
    pub per_address: u32,
    /// Not yet identified, in all. They are cheap and gone within seconds. When they are all taken, whoever comes
    /// next takes the place of the oldest one of the address that holds most: so silent crowds push out each
    /// other, and devices come through.
    pub unidentified: u32,
    /// Not yet identified, from one address: a login takes a few round trips, so these let some hundred
    /// devices a second in. When they are all taken, the oldest one goes that had time enough to log in.
    pub unidentified_per_address: u32,
    /// Values of `Origin` that are let in. Devices that aren't browsers send none, and need none here.
    pub origins: Vec<String>,
}

impl Limits {
    /// For a server that holds so many connections.
    #[must_use]
    pub const fn of(connections: u32) -> Self {
        Self {
            connections,
            per_address: connections.div_ceil(ADDRESS_SHARE),
            unidentified: 1024,
            unidentified_per_address: 64,
            origins: Vec::new(),
        }
    }
}

impl Default for Limits {
    /// For a small server.
    fn default() -> Self {
        Self::of(18_000)
    }
}

/// Why a connection isn't let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no place for anybody.
    Full,
    /// There is none for this address.
    AddressFull,
    /// There is none for this address until its newest ones have logged in, or have had [`LOGIN_TIME`] for it.
    AddressLoggingIn,
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
    open: u32,
    by_address: BTreeMap<IpAddr, u32>,
    /// Those who aren't identified yet, the oldest of each address first. No list is empty.
    strangers: BTreeMap<IpAddr, VecDeque<Stranger>>,
    unidentified: usize,
    last: u64,
}

#[derive(Debug)]
struct Stranger {
    number: u64,
    since: Instant,
    /// Dropped to send them away.
    _stay: oneshot::Sender<()>,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, taken: Mutex::default(), open: watch::Sender::new(0) }
    }

    pub(crate) fn origins(&self) -> &[String] {
        &self.limits.origins
    }

    /// Takes a place for a connection that isn't identified yet.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        let address = network(address);
        let mut taken = self.locked();
        if taken.open >= self.limits.connections {
            // whoever goes gives their place to the next try: connections are never more than allowed
            taken.make_room_for(address, now);
            return Err(Refusal::Full);
        }
        if taken.of(address) >= self.limits.per_address {
            return Err(Refusal::AddressFull);
        }
        if taken.strangers_of(address) >= size(self.limits.unidentified_per_address) {
            taken.make_room_at(address, now).ok_or(Refusal::AddressLoggingIn)?;
        } else if taken.unidentified >= size(self.limits.unidentified) {
            taken.make_room_for(address, now).ok_or(Refusal::Full)?;
        }
        let (number, dismissed) = taken.add(address, now);
        self.open.send_replace(taken.open);
        let stranger = Some(Box::new(Seat { number, dismissed }));
        Ok(Permit { admission: Arc::clone(self), address, stranger })
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
    fn of(&self, address: IpAddr) -> u32 {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    fn strangers_of(&self, address: IpAddr) -> usize {
        self.strangers.get(&address).map_or(0, VecDeque::len)
    }

    fn add(&mut self, address: IpAddr, now: Instant) -> (u64, oneshot::Receiver<()>) {
        let (stay, dismissed) = oneshot::channel();
        self.last += 1;
        let number = self.last;
        let stranger = Stranger { number, since: now, _stay: stay };
        self.strangers.entry(address).or_default().push_back(stranger);
        self.unidentified += 1;
        self.open += 1;
        *self.by_address.entry(address).or_default() += 1;
        (number, dismissed)
    }

    /// Sends away the oldest stranger of an address, if they had their time.
    fn make_room_at(&mut self, address: IpAddr, now: Instant) -> Option<()> {
        let oldest = self.strangers.get(&address)?.front()?;
        let (number, had_time) = (oldest.number, now >= oldest.since + LOGIN_TIME);
        had_time.then(|| self.forget(address, number))
    }

    /// Sends away the oldest stranger of the address that has most of them: one who had their time, or one of a
    /// crowd beside which the newcomer's own is small.
    fn make_room_for(&mut self, newcomer: IpAddr, now: Instant) -> Option<()> {
        let own = self.strangers_of(newcomer);
        let rank = |list: &VecDeque<Stranger>| {
            (list.len(), Reverse(list.front().map(|oldest| oldest.since)))
        };
        let (crowd, list) = self.strangers.iter().max_by_key(|(_, list)| rank(list))?;
        let (crowd, most, oldest) = (*crowd, list.len(), list.front()?.number);
        if most > own + 1 {
            self.forget(crowd, oldest);
            return Some(());
        }
        self.make_room_at(crowd, now)
    }

    /// Takes a stranger off the list: identified, gone or sent away.
    fn forget(&mut self, address: IpAddr, number: u64) {
        let Some(list) = self.strangers.get_mut(&address) else { return };
        let before = list.len();
        list.retain(|stranger| stranger.number != number);
        self.unidentified -= before - list.len();
        if list.is_empty() {
            self.strangers.remove(&address);
        }
    }

    fn close(&mut self, address: IpAddr) {
        self.open -= 1;
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A taken place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    address: IpAddr,
    /// Boxed: a device that is logged in has none, and waits for long.
    stranger: Option<Box<Seat>>,
}

/// What a connection has until it is identified.
#[derive(Debug)]
struct Seat {
    number: u64,
    dismissed: oneshot::Receiver<()>,
}

impl Permit {
    /// The connection has shown a device's key or a ticket: it no longer counts as unidentified.
    pub(crate) fn identified(&mut self) {
        if let Some(seat) = self.stranger.take() {
            self.admission.locked().forget(self.address, seat.number);
        }
    }

    /// Ready when the connection has to make room.
    pub(crate) fn poll_dismissed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stranger {
            Some(seat) => Future::poll(std::pin::Pin::new(&mut seat.dismissed), cx).map(|_| ()),
            None => Poll::Pending,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.identified();
        let mut taken = self.admission.locked();
        taken.close(self.address);
        self.admission.open.send_replace(taken.open);
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

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn is_dismissed(permit: &mut Permit) -> bool {
        permit.poll_dismissed(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn one_address_takes_its_share_and_no_more() {
        let (admission, now) = (admission(), start());
        let mut held: Vec<Permit> = Vec::new();
        held.extend((0..2).map(|_| admission.enter(host(1), now).expect("a place")));
        let refused = || admission.enter(host(1), now).expect_err("no place");
        assert_eq!(refused(), Refusal::AddressLoggingIn);
        held[0].identified();
        held[0].identified();
        held.push(admission.enter(host(1), now).expect("a place"));
        held.iter_mut().for_each(Permit::identified);
        assert_eq!(refused(), Refusal::AddressFull);
        held.pop();
        assert!(admission.enter(host(1), now).is_ok());
    }

    #[test]
    fn all_together_take_what_there_is() {
        let (admission, now) = (admission(), start());
        let enter = |n| admission.enter(host(n), now);
        let mut held: Vec<Permit> = (0..4).map(|n| enter(n).expect("a place")).collect();
        assert_eq!(enter(4).expect_err("no place"), Refusal::Full, "all are as young");
        held.iter_mut().for_each(Permit::identified);
        held.push(enter(4).expect("a place"));
        assert_eq!(enter(5).expect_err("no place"), Refusal::Full);
        held.clear();
        let taken = admission.locked();
        assert!(taken.by_address.is_empty() && taken.strangers.is_empty());
        assert_eq!((taken.open, taken.unidentified), (0, 0));
    }

    #[test]
    fn a_crowd_makes_room_for_somebody_else_and_never_for_itself() {
        let (admission, now) = (admission(), start());
        let mut crowd: Vec<Permit> =
            [1, 1, 2, 2].map(|n| admission.enter(host(n), now).expect("a place")).into();
        assert_eq!(admission.enter(host(1), now).expect_err("no place"), Refusal::AddressLoggingIn);
        let newcomer = admission.enter(host(3), now).expect("a place");
        let gone: Vec<bool> = crowd.iter_mut().map(is_dismissed).collect();
        assert_eq!(gone.iter().filter(|gone| **gone).count(), 1, "{gone:?}");
        assert!(gone[0] || gone[2], "the oldest of a crowd: {gone:?}");
        // sockets that are going still count until they are gone: five are open
        assert_eq!(admission.enter(host(4), now).expect_err("no place"), Refusal::Full);
        drop((crowd, newcomer));
        assert_eq!(admission.locked().open, 0);
        assert_eq!(admission.locked().unidentified, 0);
    }

    #[test]
    fn whoever_had_time_enough_makes_room_for_a_neighbour() {
        let (admission, now) = (admission(), start());
        let mut old = admission.enter(host(1), now).expect("a place");
        let mut young = admission.enter(host(1), now + LOGIN_TIME).expect("a place");
        let early = now + LOGIN_TIME - Duration::from_millis(1);
        assert_eq!(
            admission.enter(host(1), early).expect_err("no place"),
            Refusal::AddressLoggingIn
        );
        assert!(!is_dismissed(&mut old));
        let third = admission.enter(host(1), now + LOGIN_TIME);
        assert!(third.is_ok() && is_dismissed(&mut old) && !is_dismissed(&mut young));
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
        let permit = admission.enter(host(1), start()).expect("a place");
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.drained().await }
        });
        drop(permit);
        let done = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        done.expect("in time").expect("no panic");
    }
}
