//! What a connection costs that says nothing: the server's memory and the kernel's.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use serde::Serialize;

use super::cores::Cores;
use super::echo::StopOnDrop;
use super::process::FloorServer;
use super::serve::Kind;
use super::spread::Spread;
use super::{tls, ws};
use crate::failure::Failure;

/// The floors' figures were taken at so many.
pub(crate) const MOST: u64 = 18_000;
/// axum's own defaults keep 128 KiB for each: so many show it, and take 260 MiB.
pub(crate) const MOST_DEFAULT: u64 = 2_000;
/// Open files that aren't connections.
const SPARE_FILES: u64 = 512;
/// Source addresses, so that ports don't run out: each has some 28,000.
const SOURCES: u64 = 8;
/// What a reply may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server is left alone before it is looked at.
const SETTLE: Duration = Duration::from_millis(300);
/// The kernel's caches that hold a connection: what else happens on the machine is mostly in others.
const CACHES: [&str; 8] = [
    "TCP",
    "sock_inode_cache",
    "dentry",
    "filp",
    "ep_item",
    "eventpoll_epi",
    "eventpoll_pwq",
    "tcp_bind_bucket",
];

/// The allocator takes no huge pages: memory would be seen in steps of 2 MiB, which is some thousand connections.
pub(crate) const SMALL_PAGES: (&str, &str) = ("MIMALLOC_ALLOW_THP", "0");

/// How many connections can be measured with so many open files.
pub(crate) fn most(open_files: Option<u64>, most: u64) -> u64 {
    most.min(open_files.unwrap_or(u64::MAX).saturating_sub(SPARE_FILES))
}

/// One round: bytes for each connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) connections: u64,
    pub(crate) user: f64,
    pub(crate) kernel: Option<f64>,
}

/// Rounds of one kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) connections: u64,
    /// The server's own (PSS).
    pub(crate) user_bytes: Spread,
    /// The kernel's, for the server's end: half of what both ends take. Approximate.
    pub(crate) kernel_bytes: Option<Spread>,
}

impl Figures {
    pub(crate) fn of(rounds: &[Round]) -> Option<Self> {
        let kernel: Option<Vec<f64>> = rounds.iter().map(|round| round.kernel).collect();
        Some(Self {
            connections: rounds.first()?.connections,
            user_bytes: Spread::over(rounds, |round| round.user)?,
            kernel_bytes: kernel.and_then(|kernel| Spread::of(&kernel)),
        })
    }
}

/// Starts a server of `kind`, opens connections and says what each one took.
pub(crate) async fn measure(kind: Kind, cores: Cores, connections: u64) -> Result<Round, Failure> {
    let made = tls::Made::new().map_err(|error| Failure::Server(error.to_string()))?;
    let [cert, key] = made.environment();
    let mut server = FloorServer::start_with(kind, cores, &[SMALL_PAGES, cert, key]).await?;
    let (address, pid) = (server.address, server.pid);
    let stop = StopOnDrop::default();
    let stopped = Arc::clone(&stop.0);
    let work = tokio::task::spawn_blocking(move || {
        hold((kind, &made), address, pid, connections, &stopped)
    });
    let round = server.during(async {
        let done = work.await.map_err(|error| Failure::Server(error.to_string()))?;
        done.map_err(|error| Failure::Server(error.to_string()))
    });
    let round = round.await?;
    server.stop().await?;
    Ok(round)
}

/// The difference between a few and many: what a server takes anyway is in neither.
fn hold(
    (kind, made): (Kind, &tls::Made),
    address: SocketAddr,
    pid: u32,
    connections: u64,
    stop: &AtomicBool,
) -> io::Result<Round> {
    let few = connections / 10;
    let mut held = Vec::new();
    let mut seen = Vec::new();
    for count in [few, connections] {
        while (held.len() as u64) < count {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            held.push(open((kind, made), address, held.len() as u64)?);
        }
        std::thread::sleep(SETTLE);
        seen.push((user_bytes(pid)?, kernel_bytes()));
    }
    let more = (connections - few) as f64;
    let ((user_few, kernel_few), (user, kernel)) = (seen[0], seen[1]);
    Ok(Round {
        connections,
        user: (user as f64 - user_few as f64) / more,
        kernel: kernel.zip(kernel_few).map(|(all, few)| (all as f64 - few as f64) / more / 2.0),
    })
}

/// Opens a connection that the server has taken care of, and that is silent from then on.
fn open((kind, made): (Kind, &tls::Made), address: SocketAddr, n: u64) -> io::Result<TcpStream> {
    let SocketAddr::V4(to) = address else { return Err(io::ErrorKind::Unsupported.into()) };
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let source = u8::try_from(n % SOURCES).unwrap_or(0) + 2;
    let from = std::net::SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, source), 0);
    bind(&socket, &from)?;
    connect(&socket, &to)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    if kind == Kind::Tcp {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        return Ok(stream);
    }
    if kind == Kind::Tls {
        return made.greet(stream);
    }
    stream.write_all(&ws::knock(&to.to_string(), wire::device::PATH))?;
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        let mut chunk = [0; 512];
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reply.extend_from_slice(&chunk[..read]);
    }
    if !reply.starts_with(b"HTTP/1.1 101") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it refused a WebSocket"));
    }
    Ok(stream)
}

/// The server's own (PSS).
pub(crate) fn user_bytes(pid: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    pss(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "smaps_rollup"))
}

fn pss(smaps_rollup: &str) -> Option<u64> {
    kib(smaps_rollup, "Pss:")
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Of the caches that hold connections, if this process may look (root); else of all slabs.
pub(crate) fn kernel_bytes() -> Option<u64> {
    let slabs = std::fs::read_to_string("/proc/slabinfo").ok();
    slabs
        .and_then(|text| caches(&text))
        .or_else(|| kib(&std::fs::read_to_string("/proc/meminfo").ok()?, "Slab:"))
}

/// `name active_objs num_objs objsize ..`; `None` if none is there by its name.
fn caches(slabinfo: &str) -> Option<u64> {
    let mut total = None;
    for line in slabinfo.lines() {
        let mut fields = line.split_ascii_whitespace();
        if fields.next().is_some_and(|name| CACHES.contains(&name)) {
            let active: u64 = fields.next()?.parse().ok()?;
            let size: u64 = fields.nth(1)?.parse().ok()?;
            *total.get_or_insert(0) += active * size;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_where_the_kernel_writes_it() {
        let text = "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss:  9000 kB\nPss:  2048 kB\n";
        assert_eq!(pss(text), Some(2 << 20));
        assert_eq!(pss("Rss: 1 kB\n"), None);
        assert_eq!(kib("MemTotal: 9 kB\nSlab:       100 kB\n", "Slab:"), Some(102_400));
        let slabs = "slabinfo - version: 2.1\n# name <active_objs>\n\
                     dentry 10 20 192 21 1 : tunables 0 0 0\nproc_inode_cache 9 9 700 1 1\n\
                     TCP 4 5 2368 13 8 : tunables 0 0 0\n";
        assert_eq!(caches(slabs), Some(10 * 192 + 4 * 2_368));
        assert_eq!(caches("slabinfo - version: 2.1\n"), None);
        assert!(user_bytes(std::process::id()).is_ok_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn open_files_bound_the_connections() {
        assert_eq!(most(Some(20_000), MOST), 18_000);
        assert_eq!(most(Some(1_024), MOST), 512);
        assert_eq!(most(Some(100), MOST), 0);
        assert_eq!(most(None, MOST), 18_000);
    }
}
