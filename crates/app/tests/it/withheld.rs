//! A right answer that was withheld counts only as long as its device does.

use std::net::{IpAddr, Ipv4Addr};

use app::{AnswerResult, Caller, Created, Error};
use domain::challenge::{Collect, Decision, Methods, Proof, State};
use statement::AnswerDecision;

use crate::world::{Device, OPERATOR, World};

const HOTEL: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 80));

/// A challenge whose right answer, by `device`, is withheld.
async fn withheld(world: &World, app: &Caller, device: &Device) -> Created {
    let ask = async |session: &str| {
        let mut request = world.request("alice", session);
        request.context.ip = Some(HOTEL);
        world.create_with(app, request).await.expect("a challenge")
    };
    let denied = ask("s1").await;
    world.decide(device, &denied, AnswerDecision::Deny, "").await;
    let again = ask("s2").await;
    assert_eq!(world.approve(device, &again).await.result, AnswerResult::Withheld);
    again
}

/// Approves by a code; by what it passed then.
async fn code(world: &World, app: &Caller, device: &Device, created: &Created) -> Option<Proof> {
    let code = domain::totp::code(&device.totp, world.now());
    let view = world.app.submit_code(&mut world.call(), app, created.view.id, &code).await;
    let State::Decided(decided) = view.expect("a view").state else { panic!("it was right") };
    assert_eq!(decided.decision, Decision::Approved);
    decided.proof
}

async fn revoke(world: &World, device: &Device) {
    let mut call = world.call();
    let revoked = world.app.revoke_device(&mut call, &OPERATOR, world.tenant, device.id).await;
    assert_eq!(revoked, Ok(()));
}

#[tokio::test]
async fn a_withheld_answer_and_a_code_lapse_with_the_device_of_the_answer() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let phone = world.enrolled("alice").await.device;
    let tablet = world.enrol("alice", Some("tablet")).await.expect("a device");
    let created = withheld(&world, &app, &phone).await;
    let proof = code(&world, &app, &phone, &created).await;
    assert!(matches!(proof, Some(Proof::Both(device, _)) if device == phone.id), "{proof:?}");
    revoke(&world, &phone).await;
    let State::Decided(decided) = world.state(&app, created.view.id).await else { panic!() };
    assert_eq!(decided.collect, Collect::Lapsed);
    assert_eq!(world.redeem(&app, created.view.id, "s2").await.unwrap_err(), Error::Lapsed);
    assert_eq!(world.redeem(&app, created.view.id, "s2").await.unwrap_err(), Error::Lapsed);
    assert!(world.login(&tablet.key, tablet.id).await.is_ok(), "the other one stays");
}

#[tokio::test]
async fn a_code_after_its_withheld_device_is_gone_says_so() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let phone = world.enrolled("alice").await.device;
    world.enrol("alice", Some("tablet")).await.expect("a device");
    let created = withheld(&world, &app, &phone).await;
    revoke(&world, &phone).await;
    let proof = code(&world, &app, &phone, &created).await;
    assert!(matches!(proof, Some(Proof::Totp(_))), "no word of the answer: {proof:?}");
    assert!(world.redeem(&app, created.view.id, "s2").await.is_ok());
}

#[tokio::test]
async fn an_answer_is_released_where_no_code_can_be_typed_beside_it() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let phone = world.enrolled("alice").await.device;
    // the same place, alarmed as it is: what offers codes is withheld
    withheld(&world, &app, &phone).await;
    let mut request = world.request("alice", "s3");
    request.context.ip = Some(HOTEL);
    request.methods = Some(Methods::PUSH);
    let push_alone = world.create_with(&app, request).await.expect("a challenge");
    let answered = world.approve(&phone, &push_alone).await.result;
    let AnswerResult::Settled(State::Decided(decided)) = answered else {
        panic!("not released: {answered:?}")
    };
    assert_eq!(decided.decision, Decision::Approved);
    assert!(world.redeem(&app, push_alone.view.id, "s3").await.is_ok());
}
