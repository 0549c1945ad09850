//! The web authenticator's origin, beside the server that its devices connect to.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::child::{Home, countersign};
use crate::rest::{Reply, Rest};
use crate::socket::{PROTOCOL, Socket};

const SOON: Duration = Duration::from_secs(30);

/// A server with a web authenticator, both on free ports.
struct Pair {
    _home: Home,
    _process: Child,
    server: String,
    authenticator: String,
}

impl Pair {
    async fn start() -> Self {
        let home = Home::new("authenticator");
        let mut command = command(&home, "127.0.0.1:0");
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut said = async |start: &str| {
            let line = timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
            line.strip_prefix(start).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let server = said("listening on ").await;
        said("admin on ").await;
        let authenticator = said("authenticator on ").await;
        Self { _home: home, _process: process, server, authenticator }
    }
}

fn command(home: &Home, authenticator: &str) -> Command {
    let mut command = Command::new(countersign());
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(home.data());
    command.env("COUNTERSIGN__ADMIN__LISTEN", "127.0.0.1:0");
    command.env("COUNTERSIGN__AUTHENTICATOR__LISTEN", authenticator);
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

async fn get(base: &str, path: &str) -> Reply {
    Rest::new(base).send("", "GET", path, &Value::Null).await
}

fn header(reply: &Reply, name: &str) -> String {
    let value = reply.headers.get(name).unwrap_or_else(|| panic!("no {name}: {reply:?}"));
    value.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_is_on_an_origin_of_its_own_and_talks_to_its_server_only() {
    let Pair { server, authenticator, .. } = &Pair::start().await;
    assert_ne!(server, authenticator);
    let page = get(authenticator, "/").await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(text.contains(&format!("content=\"{server}\"")), "{text}");
    let socket = server.replace("http", "ws");
    let policy = header(&page, "content-security-policy");
    assert!(policy.contains(&format!("connect-src 'self' {socket};")), "{policy}");
    assert!(!header(&page, "x-request-id").is_empty());
    // nothing of the server is there, and nothing of the page on the server
    for path in ["/v1/challenges", "/device", "/sign-in/x", "/.well-known/jwks.json"] {
        assert_eq!(get(authenticator, path).await.status, 404, "{path}");
    }
    assert_eq!(get(server, "/sw.js").await.status, 404);
    // a link that is opened leads there; its fragment goes along in the browser
    let led = get(server, "/enrol").await;
    assert_eq!((led.status, header(&led, "location")), (307, format!("{authenticator}/enrol")));
    assert_eq!(get(authenticator, "/enrol").await.body, page.body);
}

#[tokio::test]
async fn its_sockets_are_let_in_and_those_of_other_pages_are_not() {
    let Pair { server, authenticator, .. } = &Pair::start().await;
    let from = async |origin: &str| {
        let headers = [PROTOCOL, ("Origin", origin)];
        Socket::upgrade(address(server), &headers).await.map_or_else(|no| no.status, |_| 101)
    };
    assert_eq!(from(authenticator).await, 101);
    assert_eq!(from(server).await, 403, "a sign-in page is no authenticator");
    assert_eq!(from("http://127.0.0.1").await, 403);
    assert_eq!(from("null").await, 403);
}

#[tokio::test]
async fn a_server_refuses_to_share_its_origin() {
    let home = Home::new("authenticator-shared");
    let mut command = Command::new(countersign());
    command.args(["serve", "--data"]).arg(home.data());
    command.env("COUNTERSIGN__AUTHENTICATOR__LISTEN", "127.0.0.1:8470");
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`authenticator.listen` must differ from `listen`"), "{said}");
}
