//! The accept loop. `axum::serve` has no deadline for a request's head, no bound on connections, and forgets
//! WebSockets when it stops.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ConnectInfo;
use http_limits::Fronted;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::connections::{Bounds, Drained, Held, Serving};
use crate::tls::TlsConfig;

/// How long to wait before accepting again when the process or the machine is out of descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(75);
/// How many connections may wait to be accepted: all devices come back at once after a restart, and who
/// doesn't fit waits a second or more before it tries again. The kernel's usual bound.
const BACKLOG: u32 = 4_096;
/// How long sent data may stay unacknowledged before the connection is dropped: a client that stops reading
/// holds its reply no longer.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there.
    #[error(
        "{0} is in use: stop what listens there, or choose another: --listen for the service, \
         COUNTERSIGN__ADMIN__LISTEN for health and metrics, COUNTERSIGN__AUTHENTICATOR__LISTEN (in the \
         demo --authenticator) for the web authenticator"
    )]
    InUse(SocketAddr),
    /// Something else.
    #[error("can't listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// A bound socket that isn't served yet.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    bounds: Bounds,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(
        address: SocketAddr,
        tls: Option<TlsConfig>,
        bounds: Bounds,
    ) -> Result<Self, BindError> {
        let bound = listen(address).and_then(|socket| {
            let address = socket.local_addr()?;
            Ok((socket, address))
        });
        let (socket, address) = bound.map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                BindError::InUse(address)
            } else {
                BindError::Other(address, error)
            }
        })?;
        Ok(Self {
            socket,
            address,
            tls: tls.map(|TlsConfig(config)| TlsAcceptor::from(config)),
            bounds,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// `http` or `https`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Serves `fronted` until `shutdown` turns true or its sender is gone. Then stops accepting at once, lets
    /// requests finish and WebSockets close, and cuts what is left at the drain deadline. Requests carry
    /// `ConnectInfo<SocketAddr>`.
    pub async fn run(self, fronted: Fronted, mut shutdown: watch::Receiver<bool>) -> Drained {
        let serving = Serving::new(fronted, self.bounds);
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop) => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    admit(&serving, self.tls.as_ref(), stream, peer);
                }
                Err(error) if is_about_the_client(&error) => {}
                Err(error) => {
                    metrics::counter!("countersign_accept_errors_total").increment(1);
                    if !failing {
                        tracing::error!(%error, "can't accept connections, trying on");
                    }
                    failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // frees the port: a successor can have it while this one drains
        drop(self.socket);
        serving.drain().await
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // a successor can have the port while old connections linger in TIME_WAIT
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The client went away while it was in the queue; the next one may be fine.
fn is_about_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn admit(serving: &Serving, tls: Option<&TlsAcceptor>, stream: TcpStream, peer: SocketAddr) {
    let slot = match serving.slots.take(Some(peer)) {
        Ok(slot) => slot,
        Err(refused) => {
            // closed without a word: an answer would cost more than the asking
            metrics::counter!("countersign_connections_refused_total", "bound" => refused.label())
                .increment(1);
            return;
        }
    };
    if tune(&stream).is_err() {
        return;
    }
    let tls = tls.cloned();
    let task = {
        let serving = serving.clone();
        async move {
            let deadlines = serving.deadlines();
            // nothing is allocated for a connection that never speaks. Not `readable`: a fresh socket claims
            // to be
            let mut first = [0];
            let spoke = serving.step(deadlines.first_byte, stream.peek(&mut first));
            if spoke.await.is_none() {
                return;
            }
            let info = ConnectInfo(peer);
            match tls {
                None => serving.serve(Held::new(stream, slot), info).await,
                Some(tls) => {
                    // boxed: a TLS stream in a task that moves it is several times its size
                    let shake = Box::pin(tls.accept(stream));
                    if let Some(stream) = serving.step(deadlines.handshake, shake).await {
                        let stream = Box::new(stream);
                        serving.serve(Held::new(stream, slot), info).await;
                    }
                }
            }
        }
    };
    serving.tasks.spawn(task);
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?;
    }
    Ok(())
}

/// Raises the process's limit of open files to as much as it may have, and says how much that is: shells
/// start programs with 1,024, and each device holds one.
#[must_use]
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    let now = if setrlimit(Resource::Nofile, wanted).is_ok() { wanted } else { before };
    now.current.unwrap_or(u64::MAX)
}

/// Serves on a socket of its own port for a test.
#[cfg(test)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: tokio::task::JoinHandle<Drained>,
}

#[cfg(test)]
impl Running {
    pub(crate) async fn start(
        router: axum::Router,
        tls: Option<TlsConfig>,
        bounds: Bounds,
    ) -> Self {
        Self::fronted(Fronted::bare(router), tls, bounds).await
    }

    pub(crate) async fn fronted(fronted: Fronted, tls: Option<TlsConfig>, bounds: Bounds) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any, tls, bounds).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        Self {
            address: listener.local_addr(),
            stop,
            task: tokio::spawn(listener.run(fronted, stopped)),
        }
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
