//! The backchannel authentication endpoint.

use std::cell::Cell;

use axum::body::to_bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use crate::changes::{Form, changed, changes, corpus, is_plain, one, runner};
use crate::world::World;

const CORPUS: &str = include_str!("corpus/ciba.txt");
const PATH: &str = "/oidc/bc-authorize";
const WORDS: &[&str] = &[
    "",
    " ",
    "client_id",
    "scope",
    "login_hint",
    "id_token_hint",
    "login_hint_token",
    "binding_message",
    "acr_values",
    "client_notification_token",
    "user_code",
    "requested_expiry",
    "request",
    "request_uri",
    "client_assertion",
    "client_assertion_type",
    "openid",
    "profile",
    "openid profile",
    "alice",
    "name:alice",
    "nobody",
    "usr_x",
    "name:",
    "W4SCT",
    "\u{202e}",
    "a\nb",
    "0",
    "-1",
    "30",
    "300",
    "99999999999",
    "1.5",
    "123456",
    "a.b.c",
    "eyJhbGciOiJub25lIn0.e30.",
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "\0",
    "{}",
];
/// CIBA Core §13, and RFC 6749 §5.2.
const ERRORS: [(u16, &[&str]); 2] = [
    (
        400,
        &[
            "invalid_request",
            "invalid_scope",
            "expired_login_hint_token",
            "unknown_user_id",
            "missing_user_code",
            "invalid_user_code",
            "invalid_binding_message",
        ],
    ),
    (401, &["invalid_client"]),
];

/// What must hold of a request by which somebody is asked.
fn may_ask(world: &World, sent: &Form) {
    assert!(is_plain(sent), "a name is there twice: {sent:?}");
    assert!(one(sent, "scope").is_some_and(|scope| scope.split(' ').any(|one| one == "openid")));
    assert!(one(sent, "login_hint").is_some(), "nobody here can sign another hint: {sent:?}");
    assert!(one(sent, "client_id").is_none_or(|id| id == world.till));
    for name in ["id_token_hint", "login_hint_token", "request", "request_uri", "client_assertion"]
    {
        assert_eq!(one(sent, name), None, "{name}");
    }
    let message = one(sent, "binding_message").unwrap_or_default();
    assert!(message.chars().count() <= 20 && !message.chars().any(char::is_control), "{message:?}");
    let expiry = one(sent, "requested_expiry").unwrap_or("1");
    assert!(expiry.bytes().all(|byte| byte.is_ascii_digit()), "{expiry}");
}

/// Whether somebody is asked.
async fn holds(world: &World, sent: &Form) -> bool {
    let response = world.post(PATH, sent, true).await;
    let (parts, body) = response.into_parts();
    assert_eq!(parts.headers["cache-control"], "no-store");
    assert_eq!(parts.headers["content-type"], "application/json");
    let body = to_bytes(body, 64 * 1024).await.expect("a body");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    if parts.status == 200 {
        may_ask(world, sent);
        let digits = body["number"].as_str().expect("a number");
        assert!(digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{body}");
        assert!((30..=300).contains(&body["expires_in"].as_u64().expect("seconds")), "{body}");
        return true;
    }
    let error = body["error"].as_str().expect("an error");
    let known = ERRORS.iter().find(|(status, _)| parts.status == *status);
    assert!(known.is_some_and(|(_, errors)| errors.contains(&error)), "{} {error}", parts.status);
    let about = body["error_description"].as_str().expect("words");
    // RFC 6749 §5.2
    let plain = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(about.bytes().all(plain), "{about}");
    false
}

fn form(fields: &[(&str, &str)]) -> Form {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Their phone rang, and the client was told of no end.
#[tokio::test]
async fn whoever_could_not_be_told_of_the_end_is_told_so_and_nobody_rings() {
    let asks =
        form(&[("scope", "openid"), ("login_hint", "alice"), ("client_notification_token", "abc")]);
    let full = World::following(0).await;
    let (id, secret) = &full.bell;
    let refused = full.post_by(PATH, &asks, Some((id, secret))).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "2");
    let body = to_bytes(refused.into_body(), 64 * 1024).await.expect("a body");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["error"], "temporarily_unavailable");
    assert_eq!(full.created().await, 0);
    // whoever polls takes no room
    assert!(holds(&full, &form(&[("scope", "openid"), ("login_hint", "alice")])).await);

    let one = World::following(1).await;
    let (id, secret) = &one.bell;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(one.post_by(PATH, &asks, Some((id, secret))).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 503], "the first one is still followed");
    assert_eq!(one.created().await, 1);
}

#[test]
fn nobody_is_asked_by_a_request_that_does_not_hold() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::new());
    let forms = corpus(CORPUS, &[("{client}", &world.till)]);
    let asked = Cell::new(0_usize);
    let tries = |sent: &Form| {
        let asks = runtime.block_on(holds(&world, sent));
        asked.set(asked.get() + usize::from(asks));
        asks
    };
    assert!(tries(&forms[0]), "the first one is good");
    for form in &forms {
        tries(form);
    }
    let strategy = (any::<Index>(), changes(WORDS));
    let mut runner = runner(file!(), 1_000, 20_000);
    let tried = runner.run(&strategy, |(which, changes)| {
        tries(&changed(which.get(&forms), &changes));
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(asked.get() > 20, "{}: too few are good enough to show anything", asked.get());
    println!("counted: {} CIBA requests asked somebody", asked.get());
    assert_eq!(runtime.block_on(world.created()), asked.get(), "as many as were told so");
}
