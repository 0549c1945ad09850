//! Kills at any moment under load: whatever was said before stays true, and nothing happens twice.
//!
//! 8 kills; 200 with `COUNTERSIGN_TEST_FULL` set. `COUNTERSIGN_TEST_SEED` repeats a run's draws, though not its
//! scheduling.

use std::time::Duration;

use authenticator_native::Account;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use server::clock;
use server::demo::child::ChildServer;
use server::demo::http::Http;
use server::demo::phone::enrol;
use server::demo::raw_device::RawDevice;
use statement::Timestamp;
use tokio::time::{sleep, timeout};

use crate::child::{Asked, Home, integrate, is_full, request, state};
use crate::load::{Cast, Checked, Site, Told, Which, free_guesses_leave_the_right_code};

/// A clean stop, with time to spare.
const STOP: Duration = Duration::from_secs(30);
/// How long the load may take to a kill; it takes a fraction of a second.
const LOAD: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Tally {
    kills: usize,
    /// Kills with requests under way, and how many those were.
    kills_in_flight: usize,
    in_flight: usize,
    lost: usize,
    unavailable: usize,
    /// Kills of a server that was just starting again.
    kills_of_starts: usize,
}

fn seed() -> u64 {
    let given = std::env::var("COUNTERSIGN_TEST_SEED").ok();
    given.map_or(20_270_115, |seed| seed.parse().expect("a number as COUNTERSIGN_TEST_SEED"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_said_is_lost_by_a_kill() {
    // a directory's checks take longer as its past grows: several shorter lives see more kills
    let (lives, kills) = if is_full() { (20, 10) } else { (1, 8) };
    let (mut tally, mut checked) = (Tally::default(), Vec::new());
    for life in 0..lives {
        checked.push(live(seed() + life, kills, &mut tally).await);
    }
    println!(
        "counted: crash loop: {} kills, {} of them with requests under way ({} in all, {} had no reply), \
         {} refused as unavailable; {} kills more of servers that were starting again",
        tally.kills,
        tally.kills_in_flight,
        tally.in_flight,
        tally.lost,
        tally.unavailable,
        tally.kills_of_starts
    );
    for (life, checked) in checked.iter().enumerate() {
        println!("counted: crash loop: life {life}: {checked}");
    }
    let sum = |count: fn(&Checked) -> usize| checked.iter().map(count).sum::<usize>();
    assert!(tally.kills_in_flight * 2 > tally.kills, "kills must hit requests under way");
    assert!(sum(|c| c.decisions) > tally.kills, "there must have been load");
    for (what, count) in [
        ("receipts", sum(|c| c.receipts)),
        ("enrolments", sum(|c| c.enrolled)),
        ("revocations", sum(|c| c.revoked)),
        ("used codes", sum(|c| c.codes)),
        ("spent budgets", sum(|c| c.budgets)),
    ] {
        assert!(count > 0, "no {what} were looked at");
    }
}

/// A kill while keys and schema are made leaves a directory that can be started again.
#[tokio::test]
async fn a_kill_during_the_first_start_does_no_harm() {
    let kills = if is_full() { 100 } else { 10 };
    let mut before_ready = 0;
    for kill in 0..kills {
        let home = Home::new(&format!("first-start-{kill}"));
        // a start takes a tenth or two of a second here; what comes later is the crash loop's
        home.serve_and_kill(Duration::from_micros(250_000 * kill / kills)).await;
        before_ready += u64::from(!home.data().join("admin.sock").exists());
        let server = home.serve().await;
        integrate(&server).await;
        home.verified(None).await;
    }
    println!("counted: first start: {kills} kills, {before_ready} of them before it was ready");
    assert!(before_ready > 0, "some kills must come before it is ready");
}

/// Time goes on while nobody serves: what should have expired has, once, and an answer comes too late.
#[tokio::test]
async fn what_ran_out_while_nobody_served_is_expired() {
    let home = Home::new("crash-expiry");
    let server = home.serve().await;
    let key = integrate(&server).await;
    let http = Http::new(&server.url, &key);
    let account = enrol(&http, "alice").await.unwrap();
    let mut device = RawDevice::connect(account.clone()).await.unwrap();
    let session = "a-browser-session-----";
    let mut body = request("alice", session);
    body["ttl_s"] = json!(30);
    let reply = http.send("POST", "/v1/challenges", body).await.unwrap();
    let expires: jiff::Timestamp = reply.text("expires_at").parse().unwrap();
    let asked = Asked::read(&reply, session);
    let (challenge, document) = device.prompt().await.unwrap();
    let answer = device.approval(challenge, &document, &asked.number);
    server.kill().await.unwrap();
    let expires = u64::try_from(expires.as_millisecond()).unwrap();
    // wait: nobody tells of the end of half a minute while the server is down
    sleep(Timestamp::from_millis(expires).since(clock::now())).await;

    let server = home.serve().await;
    let http = Http::new(&server.url, &key);
    let account = Account { server: server.url.parse().unwrap(), ..account };
    let mut device = RawDevice::connect(account).await.unwrap();
    let told = device.answer(answer).await.unwrap();
    assert!(matches!(told.as_str(), "late" | "expired"), "{told}");
    assert_eq!(state(&http, &asked).await, "expired");
    let redeem = json!({"browser_session": session});
    let redeem = http.send("POST", &asked.path("/redeem"), redeem).await.unwrap();
    assert_eq!(redeem.outcome(), "409 not_approved");
    let path = "/v1/events?type=challenge_decided";
    let decided = http.send("GET", path, Value::Null).await.unwrap();
    let decided = decided.body["data"].as_array().unwrap().clone();
    assert_eq!(decided.len(), 1, "{decided:?}");
    assert_eq!(decided[0]["decision"], "expired");
}

/// One data directory from its first start to a clean stop.
async fn live(seed: u64, kills: u32, tally: &mut Tally) -> Checked {
    let home = Home::new(&format!("crash-{seed}"));
    let aside = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let (told, mut checked) = (Told::default(), Checked::default());
    let mut server = home.serve().await;
    let key = integrate(&server).await;
    let mut site = Site::new(&server, &key);
    let mut cast = Cast::assemble(&site, &told, rng.random()).await;
    for kill in 0..kills {
        told.lock().run = kill;
        let anchor = aside.path().join(format!("checkpoint-{kill}"));
        let taken = home.run(&["audit", "checkpoint", "--out", anchor.to_str().unwrap()]).await;
        assert!(taken.status.success(), "{taken:?}");
        cast = play_until_killed(server, &site, &told, cast, &mut rng, tally).await;
        home.verified(Some(&anchor)).await;
        if rng.random_bool(0.3) {
            home.serve_and_kill(Duration::from_micros(rng.random_range(0..60_000))).await;
            tally.kills_of_starts += 1;
        }
        server = home.serve().await;
        site = Site::new(&server, &key);
        told.holds(&site, Which::Recent, &mut checked).await.unwrap();
    }
    told.holds(&site, Which::All, &mut checked).await.unwrap();
    free_guesses_leave_the_right_code(&site, &told).await.unwrap();
    server.terminate().unwrap();
    assert!(server.ended(STOP).await.unwrap().success());
    assert_eq!(home.verified(None).await["unanchored"], 0);
    checked
}

async fn play_until_killed(
    server: ChildServer,
    site: &Site,
    told: &Told,
    cast: Cast,
    rng: &mut StdRng,
    tally: &mut Tally,
) -> Cast {
    let traffic = &site.traffic;
    let playing = cast.play(site, told);
    let (moments, newcomers) = (rng.random_range(50..800), rng.random_range(0..4));
    // whatever is slower: codes and enrolments take longer than what the pushers do
    let reached = async { tokio::join!(traffic.reaches(moments), traffic.settles(newcomers)) };
    timeout(LOAD, reached).await.expect("the load must go on");
    // wait: the kill comes at any moment, not only when a request was just sent or answered
    sleep(Duration::from_micros(rng.random_range(0..4_000))).await;
    let in_flight = traffic.in_flight();
    server.kill().await.unwrap();
    tally.kills += 1;
    tally.kills_in_flight += usize::from(in_flight > 0);
    tally.in_flight += in_flight;
    let cast = timeout(LOAD, playing.end()).await.expect("everybody must notice");
    tally.lost += traffic.lost();
    tally.unavailable += traffic.unavailable();
    cast
}
