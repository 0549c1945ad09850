//! A server that is told to stop: everybody hears of it, and nothing is left undone.

use std::time::Duration;

use serde_json::Value;
use server::demo::child::ChildServer;
use server::demo::http::Http;
use server::demo::phone::enrol;
use server::demo::raw_device::RawDevice;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use wire::device::server_frame::Frame as Down;

use crate::child::{Asked, Home, ask, integrate, ready, state};
use crate::load::{Cast, Checked, Site, Told, Which};

/// From the signal to the end, as service managers are told.
const STOP: Duration = Duration::from_secs(30);
/// For what happens at once.
const SOON: Duration = Duration::from_secs(10);
/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(10);

/// A long poll that the server is known to have read.
async fn long_poll(server: &ChildServer, key: &str, asked: &Asked) -> TcpStream {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let path = asked.path("?wait=30");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let read = async {
        // wait: only the kernel knows whether the server has read
        let mut looks = interval(LOOK);
        while unread(&stream) > 0 {
            looks.tick().await;
        }
    };
    timeout(SOON, read).await.expect("the server must read");
    stream
}

/// Bytes in the receive queue of the other end of a connection on this machine.
fn unread(stream: &TcpStream) -> u64 {
    let port = |address: std::net::SocketAddr| format!("{:04X}", address.port());
    let (near, far) = (port(stream.local_addr().unwrap()), port(stream.peer_addr().unwrap()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let queue = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_other_end = fields[1].ends_with(&far) && fields[2].ends_with(&near);
        is_other_end.then(|| fields[4].split_once(':').unwrap().1.to_owned())
    });
    queue.map_or(u64::MAX, |queue| u64::from_str_radix(&queue, 16).unwrap())
}

/// Until the port takes no connection: the node says that it drains a moment before its listener is closed.
async fn refused(server: &ChildServer) {
    while TcpStream::connect(server.url.trim_start_matches("http://")).await.is_ok() {}
}

#[tokio::test]
async fn a_stop_is_told_to_everybody_and_loses_nothing() {
    let home = Home::new("stop");
    let mut server = home.serve().await;
    let key = integrate(&server).await;
    let http = Http::new(&server.url, &key);
    let account = enrol(&http, "alice").await.unwrap();
    let mut device = RawDevice::connect(account.clone()).await.unwrap();
    // never hears the close, and so keeps the server waiting for a moment
    let deaf = RawDevice::connect(enrol(&http, "bob").await.unwrap()).await.unwrap();
    let asked = ask(&http, "alice", "browser").await;
    let (challenge, _) = device.prompt().await.unwrap();
    assert_eq!(challenge, asked.challenge());
    assert_eq!(ready(&server).await.unwrap(), (200, "ready".to_owned()));
    let mut poll = long_poll(&server, &key, &asked).await;

    server.terminate().unwrap();
    let (frames, code) = timeout(SOON, device.closed()).await.unwrap().unwrap();
    assert_eq!(code, 1012);
    let Some(Down::Goodbye(goodbye)) = frames.last() else { panic!("no goodbye: {frames:?}") };
    assert!(goodbye.retry_after_ms < 10_000, "{goodbye:?}");
    assert_eq!(ready(&server).await.unwrap(), (503, "draining".to_owned()));
    timeout(SOON, refused(&server)).await.expect("no new connection");
    let mut answer = String::new();
    timeout(SOON, poll.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""state":"pending""#), "{answer}");
    let status = server.ended(STOP).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", home.logged());
    drop(deaf);

    assert_eq!(home.verified(None).await["unanchored"], 0);
    let server = home.serve().await;
    let http = Http::new(&server.url, &key);
    assert_eq!(state(&http, &asked).await, "pending");
    let account = authenticator_native::Account { server: server.url.parse().unwrap(), ..account };
    let mut device = RawDevice::connect(account).await.unwrap();
    let (challenge, document) = device.prompt().await.unwrap();
    let answer = device.approval(challenge, &document, &asked.number);
    assert_eq!(device.answer(answer).await.unwrap(), "approved");
}

#[tokio::test]
async fn a_stop_with_nobody_there_is_over_at_once() {
    let home = Home::new("stop-idle");
    for _ in 0..2 {
        let mut server = home.serve().await;
        server.terminate().unwrap();
        assert_eq!(server.ended(SOON).await.unwrap().code(), Some(0), "{}", home.logged());
        assert_eq!(home.verified(None).await["unanchored"], 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_anchors_all_that_was_said() {
    let home = Home::new("stop-load");
    let (told, mut checked) = (Told::default(), Checked::default());
    let mut server = home.serve().await;
    let key = integrate(&server).await;
    let site = Site::new(&server, &key);
    let playing = Cast::assemble(&site, &told, 1).await.play(&site, &told);
    timeout(STOP, site.traffic.reaches(300)).await.expect("the load must go on");
    server.terminate().unwrap();
    assert_eq!(server.ended(STOP).await.unwrap().code(), Some(0), "{}", home.logged());
    timeout(STOP, playing.end()).await.expect("everybody must notice");
    assert_eq!(home.verified(None).await["unanchored"], 0);

    let server = home.serve().await;
    told.holds(&Site::new(&server, &key), Which::All, &mut checked).await.unwrap();
    assert!(checked.decisions > 0, "there must have been load");
}

/// Whoever can't write a log serves on: a full disk of logs must not end sign-ins.
#[tokio::test]
async fn a_log_that_can_t_be_written_stops_nothing() {
    let home = Home::logging_to("/dev/full");
    let mut server = home.serve().await;
    let key = integrate(&server).await;
    let http = Http::new(&server.url, &key);
    let account = enrol(&http, "alice").await.unwrap();
    let mut device = RawDevice::connect(account).await.unwrap();
    let asked = ask(&http, "alice", "browser").await;
    let (challenge, document) = device.prompt().await.unwrap();
    let answer = device.approval(challenge, &document, &asked.number);
    assert_eq!(device.answer(answer).await.unwrap(), "approved");
    let reply = http.send("GET", "/v1/nowhere", Value::Null).await.unwrap();
    assert_eq!(reply.status, 404);
    server.terminate().unwrap();
    assert_eq!(server.ended(STOP).await.unwrap().code(), Some(0));
    assert_eq!(home.verified(None).await["unanchored"], 0);
}
