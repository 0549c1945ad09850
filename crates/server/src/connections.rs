//! Connections: how many there may be, and how one is served.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use http_limits::{Cidr, Fronted};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most header fields of a request: browsers send about twenty, proxies add a few.
const MAX_HEADERS: usize = 64;
/// Most bytes of a request's head, and of its read buffer.
const MAX_HEAD: usize = 16 * 1024;
/// Descriptors that aren't for connections: store, logs, listeners, admin socket, and some in reserve.
const OTHER_DESCRIPTORS: usize = 512;
/// Most connections of a process, whatever the descriptor limit says: at about 6 KiB each with the kernel's share,
/// and 12 under TLS, one gigabyte or two.
const MAX_TOTAL: usize = 131_072;
/// A client may hold this share of all connections: a whole office behind one address must fit, but one
/// address must not take it all.
const CLIENT_SHARE: usize = 4;
/// The web authenticator's share of all connections, and the most that it takes: its page loads a few files and
/// is done, while devices stay.
const PAGE_SHARE: u64 = 16;
const MAX_PAGES: u64 = 1_024;
/// Most connections to a listener for operators.
const MAX_OPERATORS: usize = 64;

/// How long a connection may take for its steps.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From accept to the first byte.
    pub first_byte: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For a request's head, and for silence between two requests: hyper has one clock for both. Longer than
    /// `first_byte`, so that integrations can keep connections alive; a new one costs six requests.
    pub header: Duration,
    /// From the signal to stop until what is left is cut.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(30),
            drain: Duration::from_secs(25),
        }
    }
}

/// What bounds a listener's connections.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Most connections at a time.
    pub total: usize,
    /// Most of one client: an IPv4 address or an IPv6 /64.
    pub per_client: usize,
    /// Clients without a bound of their own: proxies speak for many. Loopback never has one.
    pub unbounded: Arc<[Cidr]>,
    /// Its deadlines.
    pub deadlines: Deadlines,
}

impl Bounds {
    /// For the listener that everybody reaches, under a limit of so many open files.
    #[must_use]
    pub fn public(open_files: u64, trusted_proxies: &[Cidr]) -> Self {
        let total = usize::try_from(open_files)
            .unwrap_or(usize::MAX)
            .saturating_sub(OTHER_DESCRIPTORS)
            .clamp(1, MAX_TOTAL);
        Self {
            total,
            per_client: total.div_ceil(CLIENT_SHARE),
            unbounded: trusted_proxies.into(),
            deadlines: Deadlines::default(),
        }
    }

    /// For the listeners of a server with a web authenticator: everybody's, and that of the page.
    #[must_use]
    pub fn public_and_page(open_files: u64, trusted_proxies: &[Cidr]) -> (Self, Self) {
        let page = (open_files / PAGE_SHARE).min(MAX_PAGES);
        let public = Self::public(open_files - page, trusted_proxies);
        let total = usize::try_from(page).unwrap_or(usize::MAX).max(1);
        let per_client = total.div_ceil(CLIENT_SHARE);
        let page = Self { total, per_client, ..public.clone() };
        (public, page)
    }

    /// For listeners that only operators and their monitoring reach.
    #[must_use]
    pub fn operators() -> Self {
        Self {
            total: MAX_OPERATORS,
            per_client: MAX_OPERATORS,
            unbounded: Arc::new([]),
            deadlines: Deadlines::default(),
        }
    }
}

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There are as many as there may be.
    Total,
    /// This client has as many as it may.
    Client,
}

impl Refused {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Client => "client",
        }
    }
}

/// How many connections each client holds. Counts stay right through a panic elsewhere: each change is one
/// step.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl Clients {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands out a [`Slot`] for each connection.
pub(crate) struct Slots {
    bounds: Bounds,
    free: Arc<Semaphore>,
    clients: Clients,
}

/// A connection's place. It moves with the socket, so that a WebSocket holds it to its end.
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    client: Option<(IpAddr, Clients)>,
}

impl Slots {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { free: Arc::new(Semaphore::new(bounds.total)), clients: Clients::default(), bounds }
    }

    /// A place for `peer`; `None` has no address: the admin socket.
    pub(crate) fn take(&self, peer: Option<SocketAddr>) -> Result<Slot, Refused> {
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| Refused::Total)?;
        let bounded = peer
            .map(|peer| peer.ip().to_canonical())
            .filter(|ip| !ip.is_loopback() && !self.is_unbounded(*ip));
        let client = match bounded {
            Some(ip) => Some(self.count(client_key(ip)).ok_or(Refused::Client)?),
            None => None,
        };
        Ok(Slot { _permit: permit, client })
    }

    fn is_unbounded(&self, ip: IpAddr) -> bool {
        self.bounds.unbounded.iter().any(|net| net.contains(ip))
    }

    fn count(&self, key: IpAddr) -> Option<(IpAddr, Clients)> {
        let mut clients = self.clients.lock();
        let held = clients.entry(key).or_insert(0);
        if *held >= self.bounds.per_client {
            return None;
        }
        *held += 1;
        Some((key, self.clients.clone()))
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.bounds.total - self.free.available_permits()
    }

    /// Resolves when every connection is gone, WebSockets too.
    pub(crate) async fn all_free(&self) {
        let all = u32::try_from(self.bounds.total).unwrap_or(u32::MAX);
        // never closed, so it can't fail
        let _ = self.free.acquire_many(all).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some((key, clients)) = self.client.take() {
            let mut clients = clients.lock();
            if let Some(held) = clients.get_mut(&key) {
                *held -= 1;
                if *held == 0 {
                    clients.remove(&key);
                }
            }
        }
    }
}

/// One IPv6 client has at least a /64 to choose addresses from (RFC 4291 §2.5.1).
fn client_key(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

/// A socket with its slot.
pub(crate) struct Held<S> {
    stream: S,
    _slot: Slot,
}

impl<S> Held<S> {
    pub(crate) const fn new(stream: S, slot: Slot) -> Self {
        Self { stream, _slot: slot }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still there at the deadline and were cut.
    pub cut: usize,
}

/// Serves a listener's connections, and ends them.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) fronted: Fronted,
    pub(crate) slots: Arc<Slots>,
    /// Finish what is under way.
    pub(crate) finish: CancellationToken,
    /// Time is up.
    pub(crate) cut: CancellationToken,
    pub(crate) tasks: TaskTracker,
    http: http1::Builder,
}

impl Serving {
    pub(crate) fn new(fronted: Fronted, bounds: Bounds) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(bounds.deadlines.header)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD);
        Self {
            fronted,
            slots: Arc::new(Slots::new(bounds)),
            finish: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            http,
        }
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        self.slots.bounds.deadlines
    }

    /// Runs a step of a connection that isn't serving yet. `None`: it failed, took too long, or it is time to
    /// go.
    pub(crate) async fn step<T>(
        &self,
        within: Duration,
        step: impl Future<Output = io::Result<T>>,
    ) -> Option<T> {
        tokio::select! {
            done = tokio::time::timeout(within, step) => done.ok()?.ok(),
            () = self.finish.cancelled() => None,
        }
    }

    /// Serves one connection to its end, or until its socket belongs to a WebSocket. `peer` goes into each
    /// request's extensions.
    pub(crate) async fn serve<S, P>(self, stream: Held<S>, peer: P)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        P: Clone + Send + Sync + 'static,
    {
        let fronted = self.fronted;
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let answered = fronted.answer(request, &peer);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = pin!(connection);
        // errors are the client's: it went away, or spoke something that isn't HTTP
        tokio::select! {
            _ = connection.as_mut() => {}
            () = self.finish.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    _ = connection => {}
                    () = self.cut.cancelled() => {}
                }
            }
        }
    }

    /// Lets what is under way finish; cuts the rest at the deadline. WebSockets must have been told by
    /// whoever serves them.
    pub(crate) async fn drain(self) -> Drained {
        self.finish.cancel();
        let all = self.slots.all_free();
        let in_time = tokio::time::timeout(self.deadlines().drain, all).await;
        let cut = match in_time {
            Ok(()) => 0,
            Err(_) => self.slots.taken(),
        };
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        Drained { cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(total: usize, per_client: usize) -> Slots {
        Slots::new(Bounds {
            total,
            per_client,
            unbounded: ["10.0.0.0/8".parse().unwrap()].into(),
            deadlines: Deadlines::default(),
        })
    }

    fn peer(ip: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(ip.parse().unwrap(), 1))
    }

    #[test]
    fn a_client_has_its_share_and_gets_it_back() {
        let slots = slots(10, 2);
        let first = slots.take(peer("192.0.2.1")).ok().unwrap();
        let _second = slots.take(peer("::ffff:192.0.2.1")).ok().unwrap();
        assert_eq!(slots.take(peer("192.0.2.1")).err(), Some(Refused::Client));
        assert!(slots.take(peer("192.0.2.2")).is_ok());
        drop(first);
        assert!(slots.take(peer("192.0.2.1")).is_ok());
    }

    #[test]
    fn a_page_and_its_server_share_the_descriptors() {
        for files in [1, 600, 1_024, 65_536, 1 << 20, u64::MAX] {
            let alone = Bounds::public(files, &[]).total;
            let (public, page) = Bounds::public_and_page(files, &[]);
            assert!(page.total >= 1 && page.per_client >= 1, "{files}");
            assert!(public.total + page.total <= alone.max(MAX_TOTAL) + 1_024, "{files}");
            if files < 100_000 {
                assert!(public.total + page.total <= alone.max(2), "{files}");
            }
        }
    }

    #[test]
    fn ipv6_counts_by_network() {
        let slots = slots(10, 1);
        let _held = slots.take(peer("2001:db8::1")).ok().unwrap();
        assert_eq!(slots.take(peer("2001:db8::2")).err(), Some(Refused::Client));
        assert!(slots.take(peer("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn proxies_and_loopback_are_bounded_by_the_total_only() {
        let slots = slots(3, 1);
        let _held = [
            slots.take(peer("10.1.1.1")).ok().unwrap(),
            slots.take(peer("10.1.1.1")).ok().unwrap(),
            slots.take(peer("127.0.0.1")).ok().unwrap(),
        ];
        assert_eq!(slots.take(peer("127.0.0.1")).err(), Some(Refused::Total));
        assert_eq!(slots.take(None).err(), Some(Refused::Total));
    }

    #[test]
    fn nothing_is_kept_about_clients_that_left() {
        let slots = slots(10, 2);
        drop(slots.take(peer("192.0.2.1")));
        assert!(slots.clients.lock().is_empty());
        assert_eq!(slots.taken(), 0);
    }

    #[test]
    fn bounds_leave_descriptors_for_the_rest() {
        assert_eq!(Bounds::public(20_000, &[]).total, 19_488);
        assert_eq!(Bounds::public(100, &[]).total, 1);
        assert_eq!(Bounds::public(u64::MAX, &[]).total, MAX_TOTAL);
    }
}
