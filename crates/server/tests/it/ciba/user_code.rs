//! Clients that must be told by the person that they may ask them.

use super::client::Given;
use crate::oidc::client::{Party, USER, refused};
use crate::oidc::refused::nobody_asked;

impl Party {
    async fn drawn(&self, user: &str) -> String {
        let made = self.world.server.admin(&["user", "code", user]).await.unwrap();
        made["user_code"].as_str().unwrap().to_owned()
    }

    async fn bring(&self, user: &str, code: &str) -> crate::rest::Reply {
        self.try_ask(&[("login_hint", user), ("user_code", code)]).await
    }
}

#[tokio::test]
async fn nothing_rings_without_the_users_code() {
    let mut party = Party::ciba("ciba-user-code", &["--user-code"]).await;
    refused(&party.try_ask(&[]).await, 400, "missing_user_code");
    refused(&party.bring(USER, "12345678").await, 400, "invalid_user_code");
    let code = party.drawn(USER).await;
    assert!(code.len() == 8 && code.bytes().all(|byte| byte.is_ascii_digit()));
    let other = if code == "00000000" { "00000001" } else { "00000000" };
    for wrong in [other, &code[1..], &format!("{code}0")] {
        refused(&party.bring(USER, wrong).await, 400, "invalid_user_code");
    }
    refused(&party.bring("nobody", &code).await, 400, "invalid_user_code");
    nobody_asked(&party).await;
    let given = Given::of(&party.bring(USER, &code).await);
    party.types(&given).await;
    assert_eq!(party.wait(&given.id).await.status, 200);
    party.world.server.admin(&["user", "code", USER, "--remove"]).await.unwrap();
    refused(&party.bring(USER, &code).await, 400, "invalid_user_code");
}

#[tokio::test]
async fn guesses_are_slowed_down_before_anything_rings() {
    let party = Party::ciba("ciba-guess", &["--user-code"]).await;
    let code = party.drawn(USER).await;
    let other = if code == "00000000" { "00000001" } else { "00000000" };
    for _ in 0..6 {
        refused(&party.bring(USER, other).await, 400, "invalid_user_code");
    }
    refused(&party.bring(USER, &code).await, 400, "invalid_user_code");
    nobody_asked(&party).await;
    let events = party.world.events(&party.world.own_key).await;
    let failed = events.iter().filter(|event| event["type"] == "code_failed");
    let causes: Vec<&str> = failed.map(|event| event["cause"].as_str().unwrap()).collect();
    assert_eq!(causes[..5], ["wrong"; 5]);
    assert_eq!(causes.last(), Some(&"budget_spent"), "{causes:?}");
    // another one is not what was guessed at
    let code = party.drawn(USER).await;
    Given::of(&party.bring(USER, &code).await);
}

#[tokio::test]
async fn a_client_that_needs_no_code_is_asked_for_none() {
    let party = Party::ciba("ciba-no-code", &[]).await;
    party.ask(&[("user_code", "whatever")]).await;
}
