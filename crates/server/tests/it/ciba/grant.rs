//! What a good request comes to, whatever its end, and that it is fetched once.

use std::sync::Arc;

use authenticator_native::{AnswerOutcome, Choice, Decision};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use server::demo::phone::Phone;

use super::client::{CLAIM, Given};
use crate::oidc::client::{Party, REDIRECT, USER, now_s, refused};

#[tokio::test]
async fn a_number_is_shown_typed_and_comes_to_tokens_once() {
    let mut party = Party::ciba("ciba-code", &["--id-token-alg", "ES256"]).await;
    let began = now_s();
    let given = party.ask(&[("binding_message", "W4SCT"), ("requested_expiry", "120")]).await;
    assert!((119..=120).contains(&given.expires_in), "{given:?}");
    refused(&party.poll(&given.id).await, 400, "authorization_pending");
    refused(&party.poll(&given.id).await, 400, "slow_down");
    let card = party.phone.prompt().await.unwrap();
    assert!(card.alert);
    let details: Vec<_> = card.details.iter().map(|d| (&*d.label, &*d.value)).collect();
    assert_eq!(details, [("Message", "W4SCT")]);
    let choice = Choice::approve(&given.number);
    let outcome = party.phone.answer(card.challenge, choice).await.unwrap();
    assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));

    let reply = party.poll(&given.id).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.headers["cache-control"], "no-store");
    let tokens = reply.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(300)));
    let claims = party.verified(tokens["id_token"].as_str().unwrap(), Algorithm::ES256).await;
    assert_eq!(claims[CLAIM], given.id);
    assert_eq!(claims["amr"], json!(["swk", "pop", "user"]));
    assert_eq!(claims["acr"], "urn:countersign:acr:number-match");
    assert_eq!(claims["preferred_username"], USER);
    assert!((began..=now_s()).contains(&claims["auth_time"].as_u64().unwrap()));
    let info = party.userinfo(tokens["access_token"].as_str().unwrap()).await;
    assert_eq!((info.status, &info.json()["sub"]), (200, &claims["sub"]));
    refused(&party.poll(&given.id).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_client_may_say_how_long_it_waits() {
    let mut party = Party::ciba("ciba-wait", &[]).await;
    let given = party.ask(&[]).await;
    let (waiter, asked) = (party.waiter(), given.id.clone());
    let waiting = tokio::spawn(async move { waiter.wait(&asked).await });
    party.types(&given).await;
    let reply = waiting.await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.headers["preference-applied"], "wait=20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_thirty_polls_at_once_one_is_given_tokens() {
    let mut party = Party::ciba("ciba-race", &[]).await;
    let given = party.ask(&[]).await;
    party.types(&given).await;
    let party = Arc::new(party);
    let tries = (0..30).map(|_| {
        let (party, id) = (Arc::clone(&party), given.id.clone());
        tokio::spawn(async move { party.poll(&id).await })
    });
    let mut won = 0;
    for reply in tries.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        if reply.status == 200 {
            won += 1;
        } else {
            refused(&reply, 400, "invalid_grant");
        }
    }
    assert_eq!(won, 1);
    let events = party.world.events(&party.world.own_key).await;
    let redeemed = events.iter().filter(|event| event["type"] == "challenge_redeemed");
    assert_eq!(redeemed.count(), 1);
}

#[tokio::test]
async fn what_a_client_was_given_is_its_own() {
    let mut party = Party::ciba("ciba-bound", &[]).await;
    let given = party.ask(&[]).await;
    party.types(&given).await;
    let (challenge, session) = given.id.split_once('.').unwrap();
    let other_session = format!("{challenge}.{}", "A".repeat(43));
    let cut = &given.id[..given.id.len() - 1];
    for wrong in [&other_session, challenge, session, cut, "x", &format!("{}A", given.id)] {
        refused(&party.poll(wrong).await, 400, "invalid_grant");
    }
    let own = (party.id.clone(), party.secret.clone());
    for (kind, error) in [("ciba", "invalid_grant"), ("oidc", "unauthorized_client")] {
        let mut command = vec!["integration", "create", "--name", kind, "--kind", kind];
        if kind == "oidc" {
            command.extend(["--redirect-uri", REDIRECT]);
        }
        let other = party.world.server.admin(&command).await.unwrap();
        let text = |name: &str| other[name].as_str().unwrap().to_owned();
        (party.id, party.secret) = (text("client_id"), text("client_secret"));
        refused(&party.poll(&given.id).await, 400, error);
    }
    refused(&party.try_ask(&[]).await, 400, "unauthorized_client");
    (party.id, party.secret) = own;
    assert_eq!(party.poll(&given.id).await.status, 200, "a stranger's try changes nothing");
}

#[tokio::test]
async fn every_other_end_has_its_error() {
    let mut party = Party::ciba("ciba-ends", &[]).await;
    let given = party.ask(&[("requested_expiry", "1")]).await;
    assert!((29..=30).contains(&given.expires_in), "as short as there is");
    party.phone.prompt().await.unwrap();
    refused(&party.wait(&given.id).await, 400, "expired_token");
    refused(&party.poll(&given.id).await, 400, "expired_token");

    let given = party.ask(&[]).await;
    let card = party.phone.prompt().await.unwrap();
    let wrong = if given.number == "000000" { "000001" } else { "000000" };
    party.phone.answer(card.challenge, Choice::approve(wrong)).await.unwrap();
    refused(&party.poll(&given.id).await, 400, "access_denied");

    // after that it rings no more: the person opens the app
    let given = party.ask(&[]).await;
    let card = party.phone.find(given.challenge()).await.unwrap();
    party.phone.answer(card.challenge, Choice::Deny).await.unwrap();
    refused(&party.poll(&given.id).await, 400, "access_denied");
    refused(&party.poll(&given.id).await, 400, "access_denied");
}

#[tokio::test]
async fn an_approval_that_was_taken_back_comes_to_nothing() {
    let mut party = Party::ciba("ciba-revoked", &[]).await;
    let given = party.ask(&[]).await;
    party.types(&given).await;
    let devices = party.world.get("/v1/users/name:alice/devices").await;
    let device = devices["data"][0]["id"].as_str().unwrap();
    party.world.server.admin(&["device", "revoke", device]).await.unwrap();
    refused(&party.poll(&given.id).await, 400, "access_denied");
}

#[tokio::test]
async fn a_restart_forgets_nothing_that_was_asked() {
    let mut party = Party::ciba("ciba-restart", &[]).await;
    let given = party.ask(&[("requested_expiry", "300")]).await;
    let account = party.phone.account().await.unwrap();
    party.world.restart().await;
    refused(&party.poll(&given.id).await, 400, "authorization_pending");
    party.phone = Phone::connect(account).await.unwrap();
    party.types(&given).await;
    assert_eq!(party.wait(&given.id).await.status, 200);
    party.world.restart().await;
    refused(&party.poll(&given.id).await, 400, "invalid_grant");
}

#[tokio::test]
async fn nobody_learns_who_exists_unless_they_may() {
    let party = Party::ciba("ciba-decoy", &[]).await;
    for hint in ["nobody", "name:nobody", "usr_00000000000000000000000000"] {
        let given: Given = party.ask(&[("login_hint", hint)]).await;
        refused(&party.poll(&given.id).await, 400, "authorization_pending");
        refused(&party.poll(&given.id).await, 400, "slow_down");
    }
    assert!(party.created().await.iter().all(|event| event["mode"] == "decoy"));
    let party = Party::ciba("ciba-reveal", &["--reveal-users"]).await;
    party.world.server.admin(&["user", "create", "--name", "bare"]).await.unwrap();
    for hint in ["nobody", "usr_00000000000000000000000000", "bare"] {
        refused(&party.try_ask(&[("login_hint", hint)]).await, 400, "unknown_user_id");
    }
    assert_eq!(party.created().await, Vec::<Value>::new());
}
