//! The accept loop against real sockets.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::routing::get;
use http_limits::{Front, RequestIds, Shed, front};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::connections::Deadlines;
use crate::tls::tests::self_signed;

/// Long enough for a busy machine, short enough to fail a test.
const PATIENCE: Duration = Duration::from_secs(20);
/// Deadlines for connections that are meant to run into one.
const SHORT: Duration = Duration::from_millis(300);

fn bounds(change: impl FnOnce(&mut Bounds)) -> Bounds {
    let mut bounds = Bounds::public(20_000, &[]);
    // a test that waits for one of these by mistake fails
    bounds.deadlines = Deadlines {
        first_byte: 10 * PATIENCE,
        handshake: 10 * PATIENCE,

        header: 10 * PATIENCE,
        drain: 10 * PATIENCE,
    };
    change(&mut bounds);
    bounds
}

fn hello() -> Router {
    Router::new().route(
        "/",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
    )
}

/// Reads until the other end closes.
async fn read_all(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut got = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut got)).await;
    // a reset is an end too
    let _ = end.expect("the server must close");
    String::from_utf8_lossy(&got).into_owned()
}

async fn connect(running: &Running, send: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(send).await.unwrap();
    stream
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

async fn get_works(running: &Running) {
    let mut stream = connect(running, GET).await;
    let local = stream.local_addr().unwrap().to_string();
    let got = read_all(&mut stream).await;
    assert!(got.starts_with("HTTP/1.1 200") && got.ends_with(&local), "{got}");
}

#[tokio::test]
async fn serves_and_tells_the_peer() {
    let running = Running::start(hello(), None, bounds(|_| ())).await;
    get_works(&running).await;
}

/// A server that has no time for anybody, and what it says to requests that come in these pieces.
async fn shed(pieces: &[&str]) -> String {
    let (trusted_proxies, ids) = (Arc::new([]), RequestIds::new(7));
    let busy = Some(Shed::new(|_, _| true));
    let fronted = front(hello(), Front { trusted_proxies, ids, hosts: None, shed: busy });
    let running = Running::fronted(fronted, None, bounds(|_| ())).await;
    let mut stream = connect(&running, b"").await;
    let mut got = String::new();
    for piece in pieces {
        stream.write_all(piece.as_bytes()).await.unwrap();
        // each body is a JSON object without another in it
        let end = got.matches('}').count() + 1;
        while got.matches('}').count() < end {
            let mut buffer = [0; 4_096];
            let read = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("a reply").unwrap();
            assert!(read > 0, "it was closed after {got}");
            got.push_str(str::from_utf8(&buffer[..read]).unwrap());
        }
    }
    got
}

#[tokio::test]
async fn whoever_is_refused_for_want_of_time_may_ask_again_on_the_same_connection() {
    let asked = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody";
    let got = shed(&[asked, asked, asked]).await;
    assert_eq!(got.matches("HTTP/1.1 503").count(), 3, "{got}");
}

#[tokio::test]
async fn whoever_is_refused_before_the_body_is_there_is_told_that_the_connection_ends() {
    // nothing is kept for a body that nobody reads
    let got = shed(&["POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"]).await;
    assert!(got.starts_with("HTTP/1.1 503") && got.contains("connection: close"), "{got}");
}

#[tokio::test]
async fn a_refused_head_request_gets_a_problems_headers_alone() {
    let (trusted_proxies, ids) = (Arc::new([]), RequestIds::new(7));
    let fronted = front(hello(), Front { trusted_proxies, ids, hosts: None, shed: None });
    let running = Running::fronted(fronted, None, bounds(|_| ())).await;
    let asked = b"HEAD /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut stream = connect(&running, asked).await;
    let got = read_all(&mut stream).await;
    assert!(got.starts_with("HTTP/1.1 404"), "{got}");
    assert!(got.contains("content-type: application/problem+json\r\n"), "{got}");
    assert!(got.ends_with("\r\n\r\n"), "{got}");
}

#[tokio::test]
async fn a_taken_port_names_the_fix() {
    let running = Running::start(hello(), None, bounds(|_| ())).await;
    let error = Listener::bind(running.address, None, bounds(|_| ())).await;
    let error = error.err().unwrap().to_string();
    assert!(error.contains("in use") && error.contains("--listen"), "{error}");
}

#[tokio::test]
async fn connections_that_never_speak_are_closed_and_harm_nobody() {
    // tests/silent_connections.rs does the same with thousands
    let count = 200;
    let bounds = bounds(|bounds| bounds.deadlines.first_byte = SHORT);
    let running = Running::start(hello(), None, bounds).await;
    let mut silent = Vec::with_capacity(count);
    for _ in 0..count {
        silent.push(connect(&running, b"").await);
    }
    get_works(&running).await;
    for stream in &mut silent {
        assert_eq!(read_all(stream).await, "");
    }
    get_works(&running).await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_closed() {
    let bounds = bounds(|bounds| bounds.deadlines.header = SHORT);
    let running = Running::start(hello(), None, bounds).await;
    let mut slow = connect(&running, b"GET / HTTP/1.1\r\nhost: x\r\n").await;
    assert_eq!(read_all(&mut slow).await, "");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let running = Running::start(hello(), None, bounds(|_| ())).await;
    let mut long = b"GET / HTTP/1.1\r\nx: ".to_vec();
    long.extend(std::iter::repeat_n(b'a', 20 * 1024));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    for head in [long, many.into_bytes()] {
        let mut stream = connect(&running, &head).await;
        let got = read_all(&mut stream).await;
        assert!(got.is_empty() || got.starts_with("HTTP/1.1 431"), "{got}");
    }
}

#[tokio::test]
async fn a_connection_too_many_is_closed_until_one_leaves() {
    let running = Running::start(hello(), None, bounds(|bounds| bounds.total = 1)).await;
    let mut first = connect(&running, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = connect(&running, b"").await;
    assert_eq!(read_all(&mut second).await, "");
    drop(first);
    // the server sees the close a moment later
    let again = async {
        loop {
            let mut stream = connect(&running, b"").await;
            if stream.write_all(GET).await.is_ok() && !read_all(&mut stream).await.is_empty() {
                break;
            }
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

/// `/` answers when told to stop; `/ws` is a WebSocket that closes then, unless it is `deaf`.
fn waiting(stop: watch::Receiver<bool>) -> Router {
    let poll = |mut stop: watch::Receiver<bool>| async move {
        let _ = stop.wait_for(|stop| *stop).await;
        "stopping"
    };
    let socket = |upgrade: WebSocketUpgrade, mut stop: watch::Receiver<bool>, deaf: bool| async move {
        upgrade.on_upgrade(move |mut socket| async move {
            if deaf {
                std::future::pending::<()>().await;
            }
            let _ = stop.wait_for(|stop| *stop).await;
            let _ = socket.send(Message::Close(None)).await;
        })
    };
    let (a, b, c) = (stop.clone(), stop.clone(), stop);
    Router::new()
        .route("/", get(move || poll(a)))
        .route("/ws", get(move |upgrade| socket(upgrade, b, false)))
        .route("/deaf", get(move |upgrade| socket(upgrade, c, true)))
}

const UPGRADE: &str = "host: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn open_socket(running: &Running, path: &str) -> TcpStream {
    let head = format!("GET {path} HTTP/1.1\r\n{UPGRADE}");
    let mut stream = connect(running, head.as_bytes()).await;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    stream
}

#[tokio::test]
async fn stopping_lets_long_polls_and_sockets_finish() {
    let (stop, stopped) = watch::channel(false);
    let running = Running::start(waiting(stopped), None, bounds(|_| ())).await;
    let mut poll = connect(&running, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut socket = open_socket(&running, "/ws").await;
    let mut silent = connect(&running, b"").await;
    running.stop.send(true).unwrap();
    assert_eq!(read_all(&mut silent).await, "");
    assert!(!running.task.is_finished());
    stop.send(true).unwrap();
    assert!(read_all(&mut poll).await.ends_with("stopping"));
    read_all(&mut socket).await;
    let drained = timeout(PATIENCE, running.task).await.unwrap().unwrap();
    assert_eq!(drained, Drained { cut: 0 });
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_finish_is_cut_at_the_deadline() {
    let (_never, stopped) = watch::channel(false);
    let bounds = bounds(|bounds| bounds.deadlines.drain = SHORT);
    let running = Running::start(waiting(stopped), None, bounds).await;
    let mut poll = connect(&running, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let _deaf = open_socket(&running, "/deaf").await;
    running.stop.send(true).unwrap();
    let drained = timeout(PATIENCE, running.task).await.unwrap().unwrap();
    assert_eq!(drained, Drained { cut: 2 });
    assert_eq!(read_all(&mut poll).await, "");
}

#[tokio::test]
async fn speaks_tls_and_waits_for_no_handshake_forever() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key, der) = self_signed(dir.path());
    let tls = TlsConfig::from_files(&cert, &key).unwrap();
    let bounds = bounds(|bounds| bounds.deadlines.handshake = Duration::from_secs(2));
    let running = Running::start(hello(), Some(tls), bounds).await;
    let mut stuck = connect(&running, &[22]).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(der).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = connect(&running, b"").await;
    let name = "localhost".try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(GET).await.unwrap();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(read_all(&mut stuck).await, "");
    let mut plain = connect(&running, GET).await;
    assert!(!read_all(&mut plain).await.contains("200"));
}
