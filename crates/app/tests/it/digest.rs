//! What the person is told once it is over.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use app::Caller;
use domain::challenge::{Decision, Mode};
use ports::{Hint, Mailbox, NoticeKind};

use crate::world::{Device, World, told};

const HOUR: Duration = Duration::from_secs(3600);
const HOME: &str = "198.51.100.7";

fn connect(world: &World, device: &Device) -> Box<dyn Mailbox> {
    let connected = &device.connected;
    world.app.courier().connect(connected.tenant, connected.user, connected.device)
}

/// The digests that a device was told since it was last asked, and that nothing else came of them.
fn digests(mailbox: &mut dyn Mailbox) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut told = Vec::new();
    while let Poll::Ready(hint) = mailbox.poll_hint(&mut cx) {
        if let Hint::Notice(notice) = hint
            && notice.kind == NoticeKind::Digest
        {
            told.push(notice.text);
        }
    }
    told
}

async fn ask(world: &World, app: &Caller, session: &str, ip: &str) -> app::Created {
    let mut request = world.request("alice", session);
    request.context.ip = ip.parse().ok();
    world.create_with(app, request).await.expect("a challenge")
}

/// Somebody who knows the password asks, in vain; how many of those were silent.
async fn pester(world: &World, app: &Caller, times: usize) -> usize {
    let mut silent = 0;
    for n in 0..times {
        let at = world.now().millis();
        let created = ask(world, app, &format!("{at}-{n}"), "203.0.113.9").await;
        silent += usize::from(world.mode(created.view.id).await == Mode::Silent);
        world.pass(Duration::from_secs(90));
        while world.app.expire_due(&mut world.call()).await.expect("a sweep") {}
    }
    silent
}

#[tokio::test]
async fn silent_requests_are_told_of_once_a_day() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let phone = world.enrolled("alice").await.device;
    let mut mailbox = connect(&world, &phone);
    let created = ask(&world, &app, "first", HOME).await;
    assert_eq!(told(world.approve(&phone, &created).await), Decision::Approved);
    world.app.pulled(&mut world.call(), &phone.connected).await;
    assert_eq!(digests(&mut *mailbox), [""; 0], "nothing was silent");
    world.pass(72 * HOUR);

    let silent = pester(&world, &app, 18).await;
    assert_eq!(silent, 17);
    assert_eq!(digests(&mut *mailbox), [""; 0], "it waits for the person");
    let created = ask(&world, &app, "home", HOME).await;
    assert_eq!(told(world.approve(&phone, &created).await), Decision::Approved);
    let digest = digests(&mut *mailbox);
    assert_eq!(digest.len(), 1);
    let from = "17 sign-in requests were kept silent: from 203.0.113.0/24. ";
    assert!(digest[0].starts_with(from), "{digest:?}");
    assert!(digest[0].chars().count() <= 200);

    // what comes after it is told of a day later
    let silent = pester(&world, &app, 1).await;
    assert_eq!(silent, 1);
    let started = world.now();
    while world.now().since(started) < 24 * HOUR - Duration::from_secs(90) {
        world.app.pulled(&mut world.call(), &phone.connected).await;
        assert_eq!(digests(&mut *mailbox), [""; 0], "at most one in 24 hours");
        world.pass(Duration::from_secs(600));
    }
    world.pass(2 * HOUR);
    world.app.pulled(&mut world.call(), &phone.connected).await;
    let digest = digests(&mut *mailbox);
    assert_eq!(digest.len(), 1);
    assert!(digest[0].starts_with("1 sign-in request was kept silent"), "{digest:?}");
    world.pass(48 * HOUR);
    world.app.pulled(&mut world.call(), &phone.connected).await;
    assert_eq!(digests(&mut *mailbox), [""; 0], "each is told of once");
}

#[tokio::test]
async fn a_digest_says_from_where() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let phone = world.enrolled("alice").await.device;
    let mut mailbox = connect(&world, &phone);
    for (ip, times) in [("203.0.113.9", 5), ("198.51.100.99", 2), ("2001:db8:1::1", 1)] {
        for n in 0..times {
            ask(&world, &app, &format!("{ip}-{n}").replace([':', '.'], "_"), ip).await;
            world.pass(Duration::from_secs(90));
            while world.app.expire_due(&mut world.call()).await.expect("a sweep") {}
        }
    }
    world.app.pulled(&mut world.call(), &phone.connected).await;
    let digest = digests(&mut *mailbox);
    assert_eq!(digest.len(), 1);
    let (_, from) = digest[0].split_once(" kept silent: ").expect("from where");
    let (from, _) = from.split_once(". Unless").expect("what to do");
    let places: Vec<&str> =
        from.split(", ").filter_map(|part| Some(part.split_once(" from ")?.1)).collect();
    assert_eq!(places, ["203.0.113.0/24", "198.51.100.0/24", "elsewhere"], "{from}");
}

/// A bug once: of a flood only as many were counted as the app shows at a time, so that eighty were told of as 31.
#[tokio::test]
async fn a_digest_counts_what_a_flood_asked_beyond_what_the_app_shows() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let phone = world.enrolled("alice").await.device;
    let mut mailbox = connect(&world, &phone);
    for n in 0..80 {
        ask(&world, &app, &format!("flood-{n}"), &format!("100.64.{n}.9")).await;
    }
    world.app.pulled(&mut world.call(), &phone.connected).await;
    let digest = digests(&mut *mailbox);
    assert_eq!(digest.len(), 1);
    assert!(digest[0].starts_with("79 sign-in requests were kept silent"), "{digest:?}");
}

#[tokio::test]
async fn a_digest_waits_until_a_device_is_there() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let phone = world.enrolled("alice").await.device;
    assert!(pester(&world, &app, 3).await > 0);
    let by_code = async |session: &str| {
        let created = ask(&world, &app, session, HOME).await;
        let code = domain::totp::code(&phone.totp, world.now());
        world.app.submit_code(&mut world.call(), &app, created.view.id, &code).await
    };
    by_code("unconnected").await.expect("the code passes");
    world.pass(Duration::from_secs(60));
    let mut mailbox = connect(&world, &phone);
    by_code("connected").await.expect("the code passes");
    assert_eq!(digests(&mut *mailbox).len(), 1);
}
