//! A device that is lost, a person who says no, a clock that is wrong.

use std::time::Duration;

use authenticator_native::Client;
use serde_json::{Value, json};
use server::demo::http::Http;
use server::demo::phone::{enrol, enrol_with};
use server::demo::raw_device::RawDevice;
use statement::{Algorithm, AnswerDecision};
use tokio::time::timeout;

use crate::child::{Asked, Home, ask, integrate, request};

/// From the moment when a revocation is told to the end of the device's socket.
const WITHIN: Duration = Duration::from_secs(1);

/// Asks for a push and nothing else.
async fn ask_for_push(http: &Http, user: &str) -> Asked {
    let session = format!("{user:-<22}");
    let mut body = request(user, &session);
    body["methods"] = json!(["push"]);
    Asked::read(&http.send("POST", "/v1/challenges", body).await.unwrap(), &session)
}

#[tokio::test]
async fn a_revoked_device_is_off_within_a_second_and_stays_off() {
    let home = Home::new("revoke");
    let server = home.serve().await;
    let key = integrate(&server).await;
    let http = Http::new(&server.url, &key);
    for by_operator in [false, true] {
        let user = if by_operator { "bob" } else { "alice" };
        let account = enrol(&http, user).await.unwrap();
        let mut device = RawDevice::connect(account.clone()).await.unwrap();
        let asked = ask_for_push(&http, user).await;
        device.prompt().await.unwrap();
        // the page waits meanwhile
        let (path, page) = (asked.path("?wait=30"), http.clone());
        let page = tokio::spawn(async move { page.send("GET", &path, Value::Null).await });
        let id = account.device.to_string();
        if by_operator {
            server.admin(&["device", "revoke", &id]).await.unwrap();
        } else {
            let path = format!("/v1/users/name:{user}/devices/{id}");
            let revoked = http.send("DELETE", &path, Value::Null).await.unwrap();
            assert!(!revoked.text("revoked_at").is_empty(), "{revoked:?}");
        }
        let closed = timeout(WITHIN, device.closed()).await.expect("closed in time");
        assert_eq!(closed.unwrap().1, 4403);
        // nobody else could answer it
        let told = page.await.unwrap().unwrap();
        assert_eq!(told.text("state"), "cancelled");
        let refused = RawDevice::connect(account).await.err();
        assert_eq!(refused.as_deref(), Some("closed: 4401"));
    }
}

#[tokio::test]
async fn a_code_still_passes_where_the_revoked_device_could_have_answered() {
    let home = Home::new("revoke-code");
    let server = home.serve().await;
    let key = integrate(&server).await;
    let http = Http::new(&server.url, &key);
    let account = enrol(&http, "alice").await.unwrap();
    let made = json!({"type": "recovery_code"});
    let made = http.send("POST", "/v1/users/name:alice/factors", made).await.unwrap();
    let asked = ask(&http, "alice", "browser").await;
    server.admin(&["device", "revoke", &account.device.to_string()]).await.unwrap();
    assert_eq!(crate::child::state(&http, &asked).await, "pending");
    let code = json!({"code": made.body["codes"][0]});
    let reply = http.send("POST", &asked.path("/code"), code).await.unwrap();
    assert_eq!(reply.text("state"), "approved", "{reply:?}");
}

#[tokio::test]
async fn a_denial_and_a_report_reach_the_page_that_waits() {
    let home = Home::new("deny");
    let server = home.serve().await;
    let key = integrate(&server).await;
    let http = Http::new(&server.url, &key);
    // each by somebody of their own: whoever said no isn't rung again so soon
    for (decision, state) in
        [(AnswerDecision::Deny, "denied"), (AnswerDecision::Report, "reported")]
    {
        let account = enrol(&http, state).await.unwrap();
        let mut device = RawDevice::connect(account).await.unwrap();
        let asked = ask(&http, state, state).await;
        let (challenge, document) = device.prompt().await.unwrap();
        let answer = device.sign(challenge, &document, decision, "");
        let path = asked.path("?wait=30");
        let page = http.send("GET", &path, Value::Null);
        let (told, page) = tokio::join!(device.answer(answer), timeout(WITHIN, page));
        assert_eq!(told.unwrap(), state);
        let page = page.expect("told in time").unwrap();
        assert_eq!(page.text("state"), state);
        let redeem = json!({"browser_session": asked.session});
        let redeem = http.send("POST", &asked.path("/redeem"), redeem).await.unwrap();
        assert_eq!(redeem.outcome(), "409 not_approved");
    }
}

/// Nothing that a device sends says what time it is there, and what it is told to show counts from when it was
/// told. The few fields are named here, so that a new one is looked at; `clocks` tries it.
#[test]
fn no_device_says_what_time_it_is() {
    let proto = include_str!("../../../../proto/countersign/device/v1/device.proto");
    let (_, sent) = proto.split_once("// ---- from the device ----").unwrap();
    let (sent, received) = sent.split_once("// ---- from the server ----").unwrap();
    let fields: Vec<&str> = sent
        .lines()
        .filter_map(|line| line.split("//").next()?.split_once(" = "))
        .filter_map(|(declared, _)| declared.split_whitespace().last())
        .filter(|name| name.chars().any(|c| c.is_ascii_lowercase()))
        .collect();
    let frames = [
        "hello",
        "login",
        "enrol_claim",
        "enrol_confirm",
        "answer",
        "pull",
        "rebind_totp",
        "notices_seen",
    ];
    let hello = ["min_version", "max_version", "agent"];
    let login = ["tenant", "device", "signature"];
    let claim = ["secret", "code", "algorithm", "public_key", "device_name", "signature"];
    let (code, confirm) = (["user", "code"], ["number", "signature"]);
    let answer = ["challenge", "decision", "number", "user_verified", "counter", "signature"];
    let seen = ["up_to"];
    let known = [&frames[..], &hello, &login, &claim, &code, &confirm, &answer, &seen].concat();
    assert_eq!(fields, known);
    assert!(received.contains("uint32 remaining_ms"), "a prompt says how long it has left");
}

#[tokio::test]
async fn a_device_whose_key_is_p256_signs_in() {
    let home = Home::new("p256");
    let server = home.serve().await;
    let http = Http::new(&server.url, &integrate(&server).await);
    let client = Client::new("test").with_algorithm(Algorithm::P256);
    let account = enrol_with(&client, &http, "alice").await.unwrap();
    assert_eq!(account.seed.key().public().algorithm(), Algorithm::P256);
    let mut device = RawDevice::connect(account).await.unwrap();
    let asked = ask(&http, "alice", "browser").await;
    let (challenge, document) = device.prompt().await.unwrap();
    let approval = device.approval(challenge, &document, &asked.number);
    assert_eq!(device.answer(approval).await.unwrap(), "approved");
    let shown = http.send("GET", &asked.path("?wait=30"), Value::Null).await.unwrap();
    assert_eq!(shown.text("state"), "approved", "{shown:?}");
}
