//! A disk that takes no more: nothing is approved, everybody is told, and a start with room again finds all
//! that was said.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use server::demo::child::ChildServer;
use server::demo::http::Http;
use server::demo::phone::enrol;
use server::demo::raw_device::RawDevice;
use tokio::process::Command;
use tokio::time::timeout;

use crate::child::{Asked, Home, ask, countersign, integrate, is_full, ready, state};
use crate::load::{Cast, Checked, Site, Told, Which};

const STOP: Duration = Duration::from_secs(30);
/// How long it may take until the disk is full; it takes seconds.
const FULL: Duration = Duration::from_secs(120);

/// A server for which writing behind a limit is an error and not its end.
async fn serve_bounded(home: &Home) -> ChildServer {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(countersign());
    // its log is a file too, and isn't what this is about
    command.env("RUST_LOG", "error");
    home.serve_by(command).await
}

/// From now on the server can write no file behind `bytes`.
fn bound(server: &ChildServer, bytes: u64) {
    let limit = Rlimit { current: Some(bytes), maximum: getrlimit(Resource::Fsize).maximum };
    prlimit(server.pid(), Resource::Fsize, limit).unwrap();
}

fn length(home: &Home, file: &str) -> u64 {
    std::fs::metadata(home.data().join(file)).unwrap().len()
}

/// Tries everything that could approve `asked` or make use of `approved`; nothing does.
async fn nothing_is_approved(
    http: &Http,
    device: &mut RawDevice,
    (asked, document): (&Asked, &[u8]),
    approved: &Asked,
) {
    let unavailable = "503 unavailable";
    let answer = device.approval(asked.challenge(), document, &asked.number);
    assert_eq!(device.answer(answer).await.unwrap(), "retry");
    let code = device.account().code(server::clock::now()).unwrap().digits.to_string();
    let redeem = json!({"browser_session": approved.session});
    let user = "/v1/users/name:alice";
    let device_path = format!("{user}/devices/{}", device.account().device);
    let create = crate::child::request("alice", "another-browser-session");
    for (method, path, body) in [
        ("POST", asked.path("/code"), json!({"code": code})),
        ("POST", asked.path("/code"), json!({"code": "000000"})),
        ("DELETE", asked.path(""), Value::Null),
        ("POST", approved.path("/redeem"), redeem),
        ("POST", "/v1/challenges".to_owned(), create),
        ("PUT", "/v1/users/name:carol".to_owned(), json!({})),
        ("POST", format!("{user}/tickets"), json!({"reason": "lost"})),
        ("POST", format!("{user}/factors"), json!({"type": "recovery_code"})),
        ("DELETE", device_path, Value::Null),
    ] {
        let reply = http.send(method, &path, body).await.unwrap();
        assert_eq!(reply.outcome(), unavailable, "{method} {path}");
    }
    assert_eq!(state(http, asked).await, "pending");
    assert_eq!(state(http, approved).await, "approved");
}

#[tokio::test]
async fn a_full_disk_approves_nothing_and_forgets_nothing() {
    let home = Home::new("disk-full");
    let mut server = serve_bounded(&home).await;
    let key = integrate(&server).await;
    let http = Http::new(&server.url, &key);
    let account = enrol(&http, "alice").await.unwrap();
    let mut device = RawDevice::connect(account.clone()).await.unwrap();
    let approved = ask(&http, "alice", "first").await;
    let (challenge, document) = device.prompt().await.unwrap();
    let answer = device.approval(challenge, &document, &approved.number);
    assert_eq!(device.answer(answer).await.unwrap(), "approved");
    let asked = ask(&http, "alice", "second").await;
    let (_, document) = device.prompt().await.unwrap();

    bound(&server, 0);
    nothing_is_approved(&http, &mut device, (&asked, &document), &approved).await;
    assert_eq!(ready(&server).await.unwrap(), (503, "down".to_owned()));
    // room alone mends nothing: what the disk holds is in doubt until it is read anew
    let unbounded = getrlimit(Resource::Fsize);
    prlimit(server.pid(), Resource::Fsize, unbounded).unwrap();
    nothing_is_approved(&http, &mut device, (&asked, &document), &approved).await;
    assert_eq!(ready(&server).await.unwrap(), (503, "down".to_owned()));
    let operations = Http::new(&server.operations, "");
    assert_eq!(operations.send("GET", "/livez", Value::Null).await.unwrap().status, 200);
    server.terminate().unwrap();
    server.ended(STOP).await.unwrap();
    home.verified(None).await;

    let server = home.serve().await;
    let http = Http::new(&server.url, &key);
    assert_eq!(ready(&server).await.unwrap(), (200, "ready".to_owned()));
    assert_eq!(state(&http, &asked).await, "pending");
    let redeem = json!({"browser_session": approved.session});
    let redeemed = http.send("POST", &approved.path("/redeem"), redeem).await.unwrap();
    assert_eq!(redeemed.outcome(), "200");
    let account = authenticator_native::Account { server: server.url.parse().unwrap(), ..account };
    let mut device = RawDevice::connect(account).await.unwrap();
    let (challenge, document) = device.prompt().await.unwrap();
    let answer = device.approval(challenge, &document, &asked.number);
    assert_eq!(device.answer(answer).await.unwrap(), "approved");
}

#[tokio::test]
async fn a_stop_whose_last_checkpoint_is_not_stored_is_told_from_a_clean_one() {
    let home = Home::new("disk-stop");
    let mut server = serve_bounded(&home).await;
    integrate(&server).await;
    bound(&server, 0);
    server.terminate().unwrap();
    assert_eq!(server.ended(STOP).await.unwrap().code(), Some(3), "{}", home.logged());
    assert_ne!(home.verified(None).await["unanchored"], 0);
}

/// The disk fills up in the middle of a load, at one place of the write-ahead log or another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_under_load_loses_nothing_that_was_said() {
    let rounds = if is_full() { 24 } else { 4 };
    let (mut unavailable, mut checked) = (0, Checked::default());
    for round in 0..rounds {
        let home = Home::new(&format!("disk-load-{round}"));
        let told = Told::default();
        let mut server = serve_bounded(&home).await;
        let key = integrate(&server).await;
        let site = Site::new(&server, &key);
        let playing = Cast::assemble(&site, &told, round).await.play(&site, &told);
        timeout(FULL, site.traffic.reaches(100)).await.expect("the load must go on");
        // neither a whole page nor a whole frame, so that writes break off within one
        let more = 1 + round * 7_919;
        let longest = length(&home, "countersign.db").max(length(&home, "countersign.db-wal"));
        bound(&server, longest + more);
        let cast = timeout(FULL, playing.end()).await.expect("the disk must fill up");
        let refused = site.traffic.unavailable();
        assert!(refused > 0, "the fault must happen");
        unavailable += refused;
        assert_eq!(ready(&server).await.unwrap(), (503, "down".to_owned()));
        // some ask, some come back and ask again
        let playing = cast.play(&site, &told);
        let cast = timeout(FULL, playing.end()).await.expect("nobody gets anywhere");
        server.terminate().unwrap();
        server.ended(STOP).await.unwrap();
        home.verified(None).await;

        let server = home.serve().await;
        let site = Site::new(&server, &key);
        told.holds(&site, Which::All, &mut checked).await.unwrap();
        let playing = cast.play(&site, &told);
        timeout(FULL, site.traffic.reaches(100)).await.expect("life must go on");
        server.kill().await.unwrap();
        timeout(FULL, playing.end()).await.expect("everybody must notice");
    }
    eprintln!("full disk: {rounds} rounds, {unavailable} requests refused; {checked}");
    assert!(checked.decisions > 0, "there must have been load");
}
