//! Tickets, several devices, revocation, reset.

use std::time::Duration;

use app::{Claim, EnrolError, Error, TicketProof, TicketRequest};
use domain::audit::Event;
use domain::challenge::{Decision, State};
use ports::{Hint, UserRef};
use statement::{DeviceId, EnrolClaim, EnrolConfirm, SigningKey, ticket_code_hash};

use crate::world::{OPERATOR, World, decision, told};

fn request(user: &str, reason: Option<&str>) -> TicketRequest {
    TicketRequest {
        user: UserRef::Name(user.to_owned()),
        confirm: true,
        reason: reason.map(str::to_owned),
    }
}

async fn new_ticket(world: &World, user: &str) -> app::NewTicket {
    let request = request(user, None);
    let made = world.app.create_ticket(&mut world.call(), &OPERATOR, world.tenant, request).await;
    made.expect("a ticket")
}

/// Claims by typed code, as a device without the link would.
async fn claim_by_code(world: &World, user: &str, code: &str) -> Result<app::Claimed, EnrolError> {
    let key = SigningKey::from_seed(&[8; 32]);
    let code: [u8; 5] = statement::crockford::decode(code).expect("eight characters");
    let hash = ticket_code_hash(user, &code);
    let server = world.app.vault().identity().identity_hash();
    let nonce = [4; 32];
    let claim = EnrolClaim { ticket: &hash, server: &server, nonce: &nonce };
    let claim = Claim {
        proof: TicketProof::Code { user: user.to_owned(), code },
        key: key.public().clone(),
        device_name: "laptop".to_owned(),
        nonce,
        signature: claim.sign(&key).to_vec(),
    };
    world.app.claim(&mut world.call(), claim).await
}

#[tokio::test]
async fn a_user_with_a_factor_needs_a_reason_and_old_devices_are_told() {
    let world = World::new().await;
    let alice = world.enrolled("alice").await;
    let mut call = world.call();
    let no_reason = request("alice", None);
    let refused = world.app.create_ticket(&mut call, &OPERATOR, world.tenant, no_reason).await;
    assert_eq!(refused.unwrap_err(), Error::ReasonRequired);
    let connected = &alice.device.connected;
    let mut mailbox =
        world.app.courier().connect(connected.tenant, connected.user, connected.device);
    let second = world.enrol("alice", Some("new phone")).await.expect("a device");
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let hint = mailbox.poll_hint(&mut cx);
    assert!(matches!(hint, std::task::Poll::Ready(Hint::Notices)), "{hint:?}");
    let told = world.notices(&alice.device).await;
    assert_eq!(told, [ports::NoticeKind::TicketCreated, ports::NoticeKind::DeviceEnrolled]);
    assert_eq!(world.notices(&second).await, [], "it knows of itself");
    assert_eq!(*second.totp, *alice.device.totp, "every device holder has the same fallback");
}

#[tokio::test]
async fn a_ticket_is_used_once_and_ends_after_five_minutes() {
    let world = World::new().await;
    world.user("alice").await;
    let ticket = new_ticket(&world, "alice").await;
    assert!(claim_by_code(&world, "alice", &ticket.code).await.is_ok());
    let again = claim_by_code(&world, "alice", &ticket.code).await.unwrap_err();
    assert_eq!(again, EnrolError::Refused);
    let ticket = new_ticket(&world, "alice").await;
    world.pass(Duration::from_secs(300));
    let late = claim_by_code(&world, "alice", &ticket.code).await.unwrap_err();
    assert_eq!(late, EnrolError::Refused);
    let view = world.app.ticket(&world.call(), world.tenant, ticket.id).await.expect("a ticket");
    assert_eq!(view.state, "expired");
}

#[tokio::test]
async fn a_ticket_without_number_or_reason_is_of_no_use_once_there_is_a_factor() {
    let world = World::new().await;
    world.user("alice").await;
    let made = async || {
        let request = TicketRequest { confirm: false, ..request("alice", None) };
        let mut call = world.call();
        let made = world.app.create_ticket(&mut call, &OPERATOR, world.tenant, request);
        made.await.expect("a ticket")
    };
    let [early, late] = [made().await, made().await];
    assert_eq!(
        claim_by_code(&world, "alice", &early.code).await.unwrap_err(),
        EnrolError::Refused,
        "the second one ended the first"
    );
    // claimed before there is a factor, confirmed after
    let claimed = claim_by_code(&world, "alice", &late.code).await.expect("a claim");
    assert_eq!(claimed.digits, 0);
    let user = || UserRef::Name("alice".to_owned());
    let codes = domain::challenge::Method::RecoveryCode;
    let factor =
        world.app.create_factor(&mut world.call(), &OPERATOR, world.tenant, user(), codes).await;
    factor.expect("recovery codes");
    let code: [u8; 5] = statement::crockford::decode(&late.code).expect("a code");
    let hash = ticket_code_hash("alice", &code);
    let key = SigningKey::from_seed(&[8; 32]);
    let signature = EnrolConfirm { ticket: &hash, nonce: &[4; 32], number: "" }.sign(&key);
    let refused = world.app.confirm(&mut world.call(), claimed, "", &signature).await;
    assert_eq!(refused.map(|_| ()).unwrap_err(), EnrolError::Refused);
    let view = world.app.ticket(&world.call(), world.tenant, late.id).await.expect("a ticket");
    assert_eq!(view.state, "cancelled");
    let devices = world.app.devices(world.tenant, user()).await;
    assert!(devices.expect("a user").is_empty());
    // with a reason and a number it goes on
    world.enrol("alice", Some("first phone")).await.expect("a device");
}

#[tokio::test]
async fn five_wrong_codes_end_a_tickets_code() {
    let world = World::new().await;
    world.user("alice").await;
    let ticket = new_ticket(&world, "alice").await;
    for n in 0..5 {
        let wrong = claim_by_code(&world, "alice", &format!("0000000{n}")).await.unwrap_err();
        assert_eq!(wrong, EnrolError::Refused);
    }
    let late = claim_by_code(&world, "alice", &ticket.code).await.unwrap_err();
    assert_eq!(late, EnrolError::Refused);
    // knowing a name isn't enough to spoil an enrolment: the link stays
    let view = world.app.ticket(&world.call(), world.tenant, ticket.id).await.expect("a ticket");
    assert_eq!(view.state, "open");
}

#[tokio::test]
async fn a_wrong_number_cancels_an_enrolment() {
    let world = World::new().await;
    world.user("alice").await;
    let ticket = new_ticket(&world, "alice").await;
    let claimed = claim_by_code(&world, "alice", &ticket.code).await.expect("a claim");
    let view = world.app.ticket(&world.call(), world.tenant, ticket.id).await.expect("a ticket");
    let right = view.number.expect("a number");
    let wrong = if right.matches("000000") { "000001" } else { "000000" };
    let code: [u8; 5] = statement::crockford::decode(&ticket.code).expect("a code");
    let hash = ticket_code_hash("alice", &code);
    let key = SigningKey::from_seed(&[8; 32]);
    for number in [wrong, right.as_str()] {
        let signature = EnrolConfirm { ticket: &hash, nonce: &[4; 32], number }.sign(&key);
        let claimed = claimed.clone();
        let refused = world.app.confirm(&mut world.call(), claimed, number, &signature).await;
        assert_eq!(refused.map(|_| ()).unwrap_err(), EnrolError::Refused);
    }
    let devices = world.app.devices(world.tenant, UserRef::Name("alice".into())).await;
    assert!(devices.expect("a user").is_empty());
}

#[tokio::test]
async fn any_device_decides_and_the_card_leaves_the_others() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let second = world.enrol("alice", Some("tablet")).await.expect("a device");
    let created = world.create(&app, "alice", "s1").await;
    assert_eq!(world.cards(&second, false).await.len(), 1);
    let connected = &second.connected;
    let mut mailbox =
        world.app.courier().connect(connected.tenant, connected.user, connected.device);
    assert_eq!(told(world.approve(&alice.device, &created).await), Decision::Approved);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let hint = mailbox.poll_hint(&mut cx);
    assert!(matches!(
        hint,
        std::task::Poll::Ready(Hint::Settled(id, State::Decided(_))) if id == created.view.id
    ));
    assert!(world.cards(&second, true).await.is_empty());
}

#[tokio::test]
async fn revoking_lapses_approvals_and_cancels_only_what_nothing_else_could_answer() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let approved = world.create(&app, "alice", "s1").await;
    world.approve(&alice.device, &approved).await;
    let with_code = world.create(&app, "alice", "s2").await;
    let mut push_only = world.request("alice", "s3");
    push_only.methods = Some(domain::challenge::Methods::PUSH);
    let push_only = world.create_with(&app, push_only).await.expect("a challenge");
    let mut call = world.call();
    let device = alice.device.id;
    world.app.revoke_device(&mut call, &OPERATOR, world.tenant, device).await.expect("revoked");
    let lapsed = world.redeem(&app, approved.view.id, "s1").await.unwrap_err();
    assert_eq!(lapsed, Error::Lapsed);
    assert_eq!(world.state(&app, with_code.view.id).await, State::Pending);
    let state = world.state(&app, push_only.view.id).await;
    assert_eq!(decision(state), Decision::Cancelled);
    assert!(world.login(&alice.device.key, device).await.is_err());
    let again = world.app.revoke_device(&mut call, &OPERATOR, world.tenant, device).await;
    assert_eq!(again.unwrap_err(), Error::NotFound);
}

#[tokio::test]
async fn a_reset_removes_everything_and_the_user_can_enrol_anew() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let approved = world.create(&app, "alice", "s1").await;
    world.approve(&alice.device, &approved).await;
    let pending = world.create(&app, "alice", "s2").await;
    let user = || UserRef::Name("alice".to_owned());
    let mut call = world.call();
    let refused = world.app.reset_user(&mut call, &OPERATOR, world.tenant, user(), None).await;
    assert_eq!(refused.unwrap_err(), Error::ReasonRequired);
    let why = Some("lost phone".to_owned());
    world.app.reset_user(&mut call, &OPERATOR, world.tenant, user(), why).await.expect("reset");
    let lapsed = world.redeem(&app, approved.view.id, "s1").await.unwrap_err();
    assert_eq!(lapsed, Error::Lapsed);
    assert_eq!(decision(world.state(&app, pending.view.id).await), Decision::Cancelled);
    let view = world.app.user(world.tenant, user()).await.expect("a user");
    assert!(!view.enrolled);
    world.enrol("alice", None).await.expect("no reason is needed for a user without a factor");
}

/// Refused logins that were written down: of which device, and why.
async fn refused_logins(world: &World) -> Vec<(DeviceId, String)> {
    let event = Some(Event::LoginRefused);
    let filter = app::EventFilter { event, limit: 1_000, ..Default::default() };
    let rows = world.app.events(world.tenant, filter).await.expect("events");
    let told = rows.into_iter().map(|row| (row.public.device, row.public.cause));
    told.map(|(device, cause)| (device.expect("a device"), cause.expect("a cause"))).collect()
}

#[tokio::test]
async fn refused_logins_of_a_device_are_told_once_a_minute() {
    let world = World::new().await;
    let (alice, bob) = (world.enrolled("alice").await.device, world.enrolled("bob").await.device);
    let refused = async |key, device| {
        assert_eq!(world.login(key, device).await.unwrap_err(), app::LoginError::Refused);
    };
    refused(&bob.key, DeviceId::from_bytes([1; 16])).await;
    assert_eq!(refused_logins(&world).await, []);
    for _ in 0..20 {
        refused(&bob.key, alice.id).await;
        world.pass(Duration::from_secs(1));
    }
    let forged = |device: DeviceId| (device, "forged".to_owned());
    assert_eq!(refused_logins(&world).await, [forged(alice.id)]);
    refused(&alice.key, bob.id).await;
    assert_eq!(refused_logins(&world).await, [forged(alice.id), forged(bob.id)]);
    assert!(world.login(&alice.key, alice.id).await.is_ok());
    world.pass(Duration::from_secs(60));
    let revoked =
        world.app.revoke_device(&mut world.call(), &OPERATOR, world.tenant, alice.id).await;
    assert_eq!(revoked, Ok(()));
    refused(&alice.key, alice.id).await;
    let expected = [forged(alice.id), forged(bob.id), (alice.id, "revoked".to_owned())];
    assert_eq!(refused_logins(&world).await, expected);
}

#[tokio::test]
async fn fifty_wrong_numbers_from_ones_own_browser_end_a_device() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let first = world.create(&app, "alice", "own").await;
    world.approve(&alice.device, &first).await;
    let cookie = world.redeem(&app, first.view.id, "own").await.expect("a receipt").device_cookie;
    // a cookie earned from nowhere is known a day later
    world.pass(Duration::from_secs(25 * 60 * 60));
    let wrong = |created: &app::Created| crate::world::wrong_number(&[created]);
    // a stranger's prompts never count
    for n in 0..60 {
        let created = world.create(&app, "alice", &format!("stranger{n}")).await;
        let number = wrong(&created);
        let approve = statement::AnswerDecision::Approve;
        world.decide(&alice.device, &created, approve, &number).await;
    }
    for n in 0..50 {
        assert!(world.login(&alice.device.key, alice.device.id).await.is_ok(), "after {n}");
        let mut request = world.request("alice", &format!("own{n}"));
        request.context.device_cookie = Some(cookie.clone());
        let created = world.create_with(&app, request).await.expect("a challenge");
        let number = wrong(&created);
        let approve = statement::AnswerDecision::Approve;
        world.decide(&alice.device, &created, approve, &number).await;
    }
    assert!(world.login(&alice.device.key, alice.device.id).await.is_err());
}

#[tokio::test]
async fn a_reset_is_told_once_it_is_stored_and_before_the_socket_closes() {
    let world = World::new().await;
    let alice = world.enrolled("alice").await;
    let connected = &alice.device.connected;
    let mut mailbox =
        world.app.courier().connect(connected.tenant, connected.user, connected.device);
    let mut call = world.call();
    let user = UserRef::Id(connected.user);
    let nothing = UserRef::Name("alice".to_owned());
    let refused = world.app.reset_user(&mut call, &OPERATOR, world.tenant, nothing, None).await;
    assert_eq!(refused.unwrap_err(), Error::ReasonRequired);
    let why = Some("lost phone".to_owned());
    world.app.reset_user(&mut call, &OPERATOR, world.tenant, user, why).await.expect("a reset");
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut next = || mailbox.poll_hint(&mut cx);
    let hint = next();
    assert!(matches!(hint, std::task::Poll::Ready(Hint::Notices)), "{hint:?}");
    assert!(matches!(next(), std::task::Poll::Ready(Hint::Revoked)));
    assert_eq!(world.notices(&alice.device).await, [ports::NoticeKind::FactorReset]);
}
