//! A server that runs out of file descriptors must neither spin nor die. Alone in its binary: the limit is the
//! process's.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::connections::Bounds;
use server::listener::Listener;
use server::operations;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::timeout;

/// Long enough for a busy machine, short enough to fail.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn accepting_goes_on_when_descriptors_are_back() {
    let metrics = operations::count().unwrap();
    let accept_errors = || {
        let text = metrics.render();
        let line =
            text.lines().find_map(|line| line.strip_prefix("countersign_accept_errors_total "));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(any, None, Bounds::operators()).await.unwrap();
    let address = listener.local_addr();
    let (_stop, stopped) = watch::channel(false);
    let router = Router::new().route("/", get(|| async { "here" }));
    let server = tokio::spawn(listener.run(http_limits::Fronted::bare(router), stopped));

    // takes every descriptor there is; this thread is the server's too, so it can't accept meanwhile
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect(address) {
        held.push(stream);
    }
    let mut starved = held.pop().unwrap();
    starved.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    starved.set_nonblocking(true).unwrap();
    let starving = async {
        while accept_errors() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, starving).await.expect("the fault must happen");

    drop(held);
    let mut starved = tokio::net::TcpStream::from_std(starved).unwrap();
    let mut answer = [0; 12];
    let read = timeout(PATIENCE, starved.read_exact(&mut answer)).await;
    read.expect("the server must go on").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert!(accept_errors() < 10, "it must pause, not spin");
    assert!(!server.is_finished());
}
