//! Answers that nobody gave: refused, audited, and alike from outside.

use app::{Answer, AnswerResult};
use domain::audit::Event;
use domain::challenge::State;
use statement::{AnswerDecision, ChallengeId, DeviceId, SigningKey, Timestamp};

use crate::world::{OPERATOR, World, wrong_number};

async fn refused(world: &World, device: &crate::world::Device, answer: Answer, cause: &str) {
    let before = causes(world).await.len();
    let answered = world.answer(device, answer).await;
    assert_eq!(answered.result, AnswerResult::Refused, "{cause}");
    assert!(!answered.totp_rebind);
    let after = causes(world).await;
    assert_eq!(after.len(), before + 1, "{cause}");
    assert_eq!(after.last().map(String::as_str), Some(cause));
}

async fn causes(world: &World) -> Vec<String> {
    let event = Some(Event::AnswerRefused);
    let filter = app::EventFilter { event, limit: 1_000, ..Default::default() };
    let rows = world.app.events(world.tenant, filter).await.expect("events");
    rows.into_iter().filter_map(|row| row.public.cause).collect()
}

#[tokio::test]
async fn every_flipped_field_of_the_statement_is_refused() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    let number = created.number.clone().expect("a number").as_str().to_owned();
    let id = created.view.id;
    let document = world.cards(&alice.device, true).await.remove(0).1;
    let good = || alice.device.sign(&document, id, AnswerDecision::Approve, &number);

    let mut flipped: Vec<Answer> = Vec::new();
    flipped.push(Answer { decision: AnswerDecision::Deny, ..good() });
    flipped.push(Answer { decision: AnswerDecision::Report, ..good() });
    flipped.push(Answer { number: wrong_number(&[&created]), ..good() });
    flipped.push(Answer { number: format!("{number}0"), ..good() });
    flipped.push(Answer { number: String::new(), ..good() });
    flipped.push(Answer { user_verified: true, ..good() });
    let answer = good();
    flipped.push(Answer { counter: answer.counter + 1, ..answer });
    for at in 0..statement::SIGNATURE_LEN {
        let mut answer = good();
        answer.signature[at] ^= 1;
        flipped.push(answer);
    }
    flipped.push(Answer { signature: Vec::new(), ..good() });
    // every byte of the challenge is under the signature
    for at in 0..document.len() {
        let mut other = document.clone();
        other[at] ^= 1;
        flipped.push(alice.device.sign(&other, id, AnswerDecision::Approve, &number));
    }
    for answer in flipped {
        refused(&world, &alice.device, answer, "forged").await;
    }
    assert_eq!(world.state(&app, id).await, State::Pending);
    let answered = world.answer(&alice.device, good()).await;
    assert!(matches!(answered.result, AnswerResult::Settled(_)));
}

#[tokio::test]
async fn foreign_keys_devices_and_challenges_are_refused_alike() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let (alice, mallory) = (world.enrolled("alice").await, world.enrolled("mallory").await);
    let second = world.enrol("alice", Some("a second phone")).await.expect("a device");
    let created = world.create(&app, "alice", "s1").await;
    let number = created.number.clone().expect("a number").as_str().to_owned();
    let id = created.view.id;
    let document = world.cards(&alice.device, true).await.remove(0).1;
    // another user's device, with its own key and with a right-looking answer
    let answer = mallory.device.sign(&document, id, AnswerDecision::Approve, &number);
    refused(&world, &mallory.device, answer.clone(), "foreign").await;
    refused(&world, &alice.device, answer, "forged").await;
    // a challenge that never was
    let nowhere = ChallengeId::new(Timestamp::ZERO, 0, [1; 16]);
    let answer = alice.device.sign(&document, nowhere, AnswerDecision::Approve, &number);
    refused(&world, &alice.device, answer, "foreign").await;
    // the right answer to another challenge of the same user
    let other = world.create(&app, "alice", "s2").await;
    let replayed = Answer {
        challenge: other.view.id,
        ..alice.device.sign(&document, id, AnswerDecision::Approve, &number)
    };
    refused(&world, &alice.device, replayed, "forged").await;
    // a decoy can't be answered, whatever is signed
    let decoy = world.create(&app, "nobody", "decoy").await;
    let typed = decoy.number.clone().expect("a number").as_str().to_owned();
    let answer = alice.device.sign(&document, decoy.view.id, AnswerDecision::Approve, &typed);
    refused(&world, &alice.device, answer, "foreign").await;
    // a revoked device
    let answer = alice.device.sign(&document, id, AnswerDecision::Approve, &number);
    let mut call = world.call();
    let revoked =
        world.app.revoke_device(&mut call, &OPERATOR, world.tenant, alice.device.id).await;
    revoked.expect("a revocation");
    refused(&world, &alice.device, answer, "revoked").await;
    assert_eq!(world.state(&app, id).await, State::Pending);
    let answer = second.sign(&document, id, AnswerDecision::Approve, &number);
    let answered = world.answer(&second, answer).await;
    assert!(matches!(answered.result, AnswerResult::Settled(_)));
}

#[tokio::test]
async fn a_login_or_enrolment_signature_is_no_answer() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let created = world.create(&app, "alice", "s1").await;
    let number = created.number.clone().expect("a number").as_str().to_owned();
    let document = world.cards(&alice.device, true).await.remove(0).1;
    let key: &SigningKey = &alice.device.key;
    let server = world.app.vault().identity().identity_hash();
    let nonce = statement::sha256(&[&document]);
    let login = statement::Login {
        server: &server,
        tenant: world.tenant,
        device: alice.device.id,
        nonce: &nonce,
    };
    let claim = statement::EnrolClaim { ticket: &nonce, server: &server, nonce: &nonce };
    let confirm = statement::EnrolConfirm { ticket: &nonce, nonce: &nonce, number: &number };
    let id = created.view.id;
    for signature in [login.sign(key), claim.sign(key), confirm.sign(key)] {
        let good = alice.device.sign(&document, id, AnswerDecision::Approve, &number);
        let answer = Answer { signature: signature.to_vec(), ..good };
        refused(&world, &alice.device, answer, "forged").await;
    }
}

#[tokio::test]
async fn a_login_needs_the_right_key_device_and_server() {
    let world = World::new().await;
    let (alice, bob) = (world.enrolled("alice").await, world.enrolled("bob").await);
    assert!(world.login(&bob.device.key, alice.device.id).await.is_err());
    assert!(world.login(&alice.device.key, DeviceId::from_bytes([1; 16])).await.is_err());
    let nonce = [3; 32];
    let (tenant, device) = (world.tenant, alice.device.id);
    let rogue = [5; 32];
    let login = statement::Login { server: &rogue, tenant, device, nonce: &nonce };
    let signature = login.sign(&alice.device.key).to_vec();
    let login = app::Login { tenant, device, nonce, signature };
    assert_eq!(
        world.app.login(&mut world.call(), login).await.unwrap_err(),
        app::LoginError::Refused
    );
}

#[tokio::test]
async fn a_counter_that_goes_back_raises_an_alarm_and_refuses_nothing() {
    let world = World::new().await;
    let (app, alice) = (world.integration("vpn").await, world.enrolled("alice").await);
    let mut answers = Vec::new();
    for n in 0..2 {
        let created = world.create(&app, "alice", &format!("s{n}")).await;
        let number = created.number.clone().expect("a number").as_str().to_owned();
        let id = created.view.id;
        answers.push(world.signed(&alice.device, id, AnswerDecision::Approve, &number).await);
    }
    for answer in answers.into_iter().rev() {
        let answered = world.answer(&alice.device, answer).await;
        assert!(matches!(answered.result, AnswerResult::Settled(_)));
    }
    let filter = app::EventFilter { event: Some(Event::Alert), limit: 10, ..Default::default() };
    let alerts = world.app.events(world.tenant, filter).await.expect("events");
    let kinds: Vec<_> = alerts.iter().filter_map(|row| Some(row.public.alert?.kind)).collect();
    assert_eq!(kinds, [domain::guard::AlertKind::ClonedKey]);
}
