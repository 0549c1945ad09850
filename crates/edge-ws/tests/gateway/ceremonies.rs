//! What devices do all day.

use app::Actor;
use ports::{Hint, MAX_MAILBOX, Notice, NoticeKind, UserRef};
use statement::{AnswerDecision, ChallengeId, UserId};
use tokio_tungstenite::tungstenite::Message;
use wire::device::client_frame::Frame as ToServer;
use wire::device::notice::Kind;
use wire::device::server_frame::Frame as ToDevice;
use wire::device::{self, NoticesSeen, Prompt, Pull, RebindTotp, Result as WireResult, State};

use crate::world::{Device, OPERATOR, PATIENCE, Socket, World};

async fn prompt(socket: &mut Socket) -> Prompt {
    match socket.recv().await {
        ToDevice::Prompt(prompt) => prompt,
        other => panic!("not a prompt: {other:?}"),
    }
}

fn answer(device: &Device, id: ChallengeId, prompt: &Prompt, number: &str) -> ToServer {
    let decision = if number.is_empty() { AnswerDecision::Deny } else { AnswerDecision::Approve };
    let statement = statement::Answer {
        challenge: &prompt.challenge,
        device: device.id,
        decision,
        number,
        user_verified: true,
        counter: 1,
    };
    ToServer::Answer(device::Answer {
        challenge: id.as_bytes().to_vec().into(),
        decision: i32::from(decision as u8),
        number: number.to_owned(),
        user_verified: true,
        counter: 1,
        signature: statement.sign(&device.key).to_vec().into(),
    })
}

async fn result(socket: &mut Socket) -> (WireResult, State) {
    loop {
        match socket.recv().await {
            ToDevice::AnswerResult(result) => return (result.result(), result.state()),
            ToDevice::Settled(_) => {}
            other => panic!("not a result: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_device_enrols_logs_in_and_approves_and_the_other_card_goes_away() {
    let world = World::new().await;
    world.user("alice").await;
    let (device, mut phone, hello) = world.enrol("alice").await;
    // the connection that enrolled may log in
    phone.send(world.login(&device, &hello)).await;
    let ToDevice::Welcome(welcome) = phone.recv().await else { panic!("not welcome") };
    assert_eq!((welcome.user.as_str(), welcome.totp_rebind), ("alice", false));
    let laptop = world.device("alice").await;
    let mut laptop = world.log_in(&laptop).await;

    let caller = world.integration().await;
    let created = world.challenge(&caller, "alice", "one", true).await;
    let id = created.view.id;
    let shown = prompt(&mut phone).await;
    assert!(shown.alert && shown.remaining_ms > 0);
    assert_eq!(prompt(&mut laptop).await.challenge, shown.challenge);
    let certificate = &hello.certificates[usize::try_from(shown.certificate).expect("small")];
    let key = certificate.key.as_ref().expect("a key");
    let algorithm = u8::try_from(key.algorithm).ok();
    let algorithm = algorithm.and_then(statement::Algorithm::from_code);
    let key = statement::PublicKey::new(algorithm.expect("an algorithm"), &key.key);
    statement::SignedChallenge(&shown.challenge)
        .verify(&key.expect("a key"), &shown.signature)
        .expect("signed by the certified key");

    let number = created.number.expect("a number");
    phone.send(answer(&device, id, &shown, number.as_str())).await;
    assert_eq!(result(&mut phone).await, (WireResult::Settled, State::Approved));
    let ToDevice::Settled(settled) = laptop.recv().await else { panic!("still there") };
    assert_eq!(settled.challenge, id.as_bytes().to_vec());
    assert_eq!(settled.state(), State::Approved);

    // a second answer is told the first decision, a forged one nothing
    phone.send(answer(&device, id, &shown, "")).await;
    assert_eq!(result(&mut phone).await, (WireResult::Settled, State::Approved));
    let ToServer::Answer(mut forged) = answer(&device, id, &shown, "") else { unreachable!() };
    forged.counter += 1;
    phone.send(ToServer::Answer(forged)).await;
    assert_eq!(result(&mut phone).await.0, WireResult::Refused);
    phone.send(ToServer::RebindTotp(RebindTotp {})).await;
    while !matches!(phone.recv().await, ToDevice::TotpRebound(rebound) if rebound.totp.is_none()) {}
}

#[tokio::test]
async fn what_rings_is_shown_on_connect_and_what_is_silent_only_on_pull() {
    let world = World::new().await;
    world.user("alice").await;
    let device = world.device("alice").await;
    let caller = world.integration().await;
    world.challenge(&caller, "alice", "rings", true).await;
    world.challenge(&caller, "alice", "silent", false).await;
    let mut socket = world.log_in(&device).await;
    assert!(prompt(&mut socket).await.alert);
    socket.send(ToServer::Pull(Pull {})).await;
    let alerts = [prompt(&mut socket).await.alert, prompt(&mut socket).await.alert];
    assert_eq!(alerts.iter().filter(|alert| **alert).count(), 1);
    let ToDevice::Pulled(pulled) = socket.recv().await else { panic!("not pulled") };
    assert_eq!(pulled.prompts, 2);
}

#[tokio::test]
async fn the_newest_connection_wins_and_a_revoked_device_is_out() {
    let world = World::new().await;
    world.user("alice").await;
    let device = world.device("alice").await;
    let first = world.log_in(&device).await;
    let second = world.log_in(&device).await;
    assert_eq!(first.closed().await.0, 4409);
    let mut call = world.call();
    let revoked = world.app.revoke_device(&mut call, &OPERATOR, world.tenant, device.id).await;
    revoked.expect("revoked");
    assert_eq!(second.closed().await.0, 4403);
    let mut third = world.connect().await;
    let hello = third.greet().await;
    third.send(world.login(&device, &hello)).await;
    assert_eq!(third.closed().await, (4401, "login refused".to_owned()));
}

#[tokio::test]
async fn a_server_that_stops_says_when_to_come_back() {
    let world = World::new().await;
    world.user("alice").await;
    let device = world.device("alice").await;
    let mut socket = world.log_in(&device).await;
    let fresh = world.connect().await;
    world.stop.send(true).expect("a gateway");
    let ToDevice::Goodbye(goodbye) = socket.recv().await else { panic!("no goodbye") };
    assert!(goodbye.retry_after_ms < 10_000);
    assert_eq!(socket.closed().await.0, 1012);
    assert_eq!(fresh.closed().await.0, 1012);
    world.gateway.drained().await;
    assert_eq!(world.try_connect().await.err(), Some(503));
}

#[tokio::test]
async fn a_device_that_leaves_is_gone_at_once() {
    let world = World::new().await;
    world.user("alice").await;
    let device = world.device("alice").await;
    let mut socket = world.log_in(&device).await;
    assert_eq!(world.app.courier().connected(), 1);
    socket.send_raw(Message::Close(None)).await;
    drop(socket);
    world.gateway.drained().await;
    assert_eq!(world.app.courier().connected(), 0);
}

#[tokio::test]
async fn a_full_mailbox_keeps_no_card_that_ended() {
    let world = World::new().await;
    world.user("alice").await;
    let device = world.device("alice").await;
    let caller = world.integration().await;
    let mut phone = world.log_in(&device).await;
    let rings = world.challenge(&caller, "alice", "rings", true).await.view.id;
    let shown = prompt(&mut phone).await;
    let silent = world.challenge(&caller, "alice", "silent", false).await.view.id;
    let kept = world.challenge(&caller, "alice", "kept", false).await.view.id;
    phone.send(ToServer::Pull(Pull {})).await;
    while !matches!(phone.recv().await, ToDevice::Pulled(pulled) if pulled.prompts == 3) {}

    // more than a mailbox holds, before the connection's task gets its turn: the removals are lost
    let user = world.app.device(world.tenant, device.id).await.expect("a device").user;
    for id in [rings, silent] {
        world.app.cancel_challenge(&mut world.call(), &caller, id).await.expect("cancelled");
        flood(&world, user);
    }
    let next = world.challenge(&caller, "alice", "next", true).await.view.id;
    flood(&world, user);
    let mut gone = tokio::time::timeout(PATIENCE, told(&mut phone, &shown)).await.expect("in time");
    gone.sort_unstable();
    let mut expected = [rings, silent];
    expected.sort_unstable();
    assert_eq!(gone, expected, "each once, and neither {kept} nor {next}");
}

/// Which two cards a device is told to take away, while another one than `old` is shown.
async fn told(phone: &mut Socket, old: &Prompt) -> Vec<ChallengeId> {
    let (mut gone, mut is_shown) = (Vec::new(), false);
    while gone.len() < 2 || !is_shown {
        match phone.recv().await {
            ToDevice::Settled(settled) => {
                assert_eq!(settled.state(), State::Cancelled);
                gone.push(ChallengeId::from_slice(&settled.challenge).expect("an id"));
            }
            ToDevice::Prompt(prompt) => is_shown |= prompt.challenge != old.challenge,
            other => panic!("{other:?}"),
        }
    }
    gone
}

/// Fills the mailboxes of a user's devices.
fn flood(world: &World, user: UserId) {
    let notice = Notice {
        id: None,
        kind: NoticeKind::FactorCreated,
        at: world.call().now,
        text: String::new(),
    };
    for _ in 0..=MAX_MAILBOX {
        world.app.courier().tell_user(world.tenant, user, Hint::Notice(notice.clone()));
    }
}

async fn pulled(socket: &mut Socket) -> u32 {
    socket.send(ToServer::Pull(Pull {})).await;
    loop {
        if let ToDevice::Pulled(pulled) = socket.recv().await {
            return pulled.prompts;
        }
    }
}

#[tokio::test]
async fn a_device_that_waits_is_told_so_and_shown_nothing_and_a_pull_brings_the_digest() {
    let world = World::new().await;
    let caller = world.integration().await;
    world.user("alice").await;
    let first = world.device("alice").await;
    let alice = UserRef::Name("alice".to_owned());
    let mut call = world.call();
    let contained = world.app.contain_user(&mut call, &OPERATOR, world.tenant, alice, None).await;
    contained.expect("contained");
    let second = world.device("alice").await;
    let mut phone = world.log_in(&second).await;
    let notice = phone.notice().await;
    assert_eq!(notice.kind(), Kind::DeviceWaiting, "{notice:?}");
    let mut laptop = world.log_in(&first).await;
    let silent = world.challenge(&caller, "alice", "silent", true).await.view.id;

    assert_eq!(pulled(&mut phone).await, 0);
    assert_eq!(pulled(&mut laptop).await, 1);
    let digest = loop {
        let notice = laptop.notice().await;
        if notice.id == 0 {
            break notice;
        }
    };
    assert_eq!(digest.kind(), Kind::Digest, "{digest:?}");
    assert!(digest.text.starts_with("1 sign-in request was kept silent"), "{digest:?}");

    let colleague = Actor::Operator { uid: 1 };
    let call = world.call();
    let approved = world.app.approve_device(&call, &colleague, world.tenant, second.id);
    approved.await.expect("it works");
    // what the other device was told in the meantime was not for this one
    let told = phone.notice().await;
    assert_eq!(told.kind(), Kind::DeviceEnrolled, "{told:?}");
    assert_eq!(pulled(&mut phone).await, 1);
    world.app.cancel_challenge(&mut world.call(), &caller, silent).await.expect("cancelled");
    while !matches!(phone.recv().await, ToDevice::Settled(_)) {}
}

/// Kinds and ids of the next notices, up to the last of those that were sent together.
async fn notices(socket: &mut Socket) -> Vec<(Kind, u64)> {
    let mut told = Vec::new();
    loop {
        let notice = socket.notice().await;
        told.push((notice.kind(), notice.id));
        if !notice.more {
            return told;
        }
    }
}

#[tokio::test]
async fn a_phone_that_was_off_is_told_once_it_is_back_and_until_it_says_that_it_was_seen() {
    let world = World::new().await;
    world.user("alice").await;
    let (phone, tablet) = (world.device("alice").await, world.device("alice").await);
    let alice = UserRef::Name("alice".to_owned());
    let codes = domain::challenge::Method::RecoveryCode;
    let mut call = world.call();
    let made = world.app.create_factor(&mut call, &OPERATOR, world.tenant, alice, codes).await;
    made.expect("recovery codes");
    let expected = [Kind::TicketCreated, Kind::DeviceEnrolled, Kind::FactorCreated];
    let kinds = |told: &[(Kind, u64)]| told.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
    let mut socket = world.log_in(&phone).await;
    let first = notices(&mut socket).await;
    assert_eq!(kinds(&first), expected);
    // nobody said that it was seen: it comes again
    drop(socket);
    let mut socket = world.log_in(&phone).await;
    let again = notices(&mut socket).await;
    assert_eq!(again, first);
    let (_, last) = first[2];
    socket.send(ToServer::NoticesSeen(NoticesSeen { up_to: last })).await;
    // requests are worked on in order: the answer to this one comes after
    assert_eq!(pulled(&mut socket).await, 0);
    // while connected it is told at once, and only what is new
    world.app.revoke_device(&mut call, &OPERATOR, world.tenant, tablet.id).await.expect("revoked");
    let now = notices(&mut socket).await;
    assert_eq!(kinds(&now), [Kind::DeviceRevoked]);
    assert!(now[0].1 > last);
    drop(socket);
    let mut socket = world.log_in(&phone).await;
    assert_eq!(notices(&mut socket).await, now);
}

#[tokio::test]
async fn a_mailbox_that_ran_over_loses_no_notice() {
    let world = World::new().await;
    let caller = world.integration().await;
    world.user("alice").await;
    let phone = world.device("alice").await;
    let mut socket = world.log_in(&phone).await;
    let user = world.challenge(&caller, "alice", "s", true).await;
    let ToDevice::Prompt(_) = socket.recv().await else { panic!("a prompt") };
    let user = world.store.ledger().lookup(user.view.id).await.expect("reads").expect("is there");
    let alice = UserRef::Id(user.challenge.user);
    let mut call = world.call();
    let codes = domain::challenge::Method::RecoveryCode;
    let made = world.app.create_factor(&mut call, &OPERATOR, world.tenant, alice, codes).await;
    made.expect("recovery codes");
    flood(&world, user.challenge.user);
    let notice = loop {
        let notice = socket.notice().await;
        if notice.id != 0 {
            break notice;
        }
    };
    assert_eq!(notice.kind(), Kind::FactorCreated);
}
