//! Clients that are told when there is something to fetch.

use authenticator_native::Choice;
use serde_json::json;

use super::listener::Listener;
use crate::oidc::client::{Party, refused};

const TOKEN: &str = "8d67dc78-7faa-4d41-aabd-67707b374255";

async fn party(name: &str, listener: &Listener) -> Party {
    let url = format!("{}/told", listener.url);
    let ping = ["--mode", "ping", "--notification-url", &url, "--allow-private"];
    Party::ciba(name, &ping).await
}

#[tokio::test]
async fn a_client_is_told_of_each_end_by_its_token_and_nothing_else() {
    let mut listener = Listener::new(&json!({})).await;
    let mut party = party("ciba-ping", &listener).await;
    let ask = [("client_notification_token", TOKEN)];
    // whatever it answers, with whatever body, the token endpoint works
    listener.then(&[204, 401, 403, 302, 200, 200]);
    for end in ["approve", "approve", "approve", "approve", "approve", "deny"] {
        let given = party.ask(&ask).await;
        assert!(listener.is_quiet());
        let choice = if end == "approve" { Choice::approve(&given.number) } else { Choice::Deny };
        party.phone.find(given.challenge()).await.unwrap();
        party.phone.answer(given.challenge(), choice).await.unwrap();
        let told = listener.next().await;
        assert_eq!(told.path, "/told");
        assert_eq!(told.authorization, format!("Bearer {TOKEN}"));
        assert_eq!(told.body, json!({"auth_req_id": given.id}));
        let reply = party.poll(&given.id).await;
        if end == "approve" {
            assert_eq!(reply.status, 200, "{reply:?}");
        } else {
            refused(&reply, 400, "access_denied");
        }
    }
    assert!(listener.is_quiet(), "nobody who refused is told again, no redirect is followed");
}

#[tokio::test]
async fn whoever_fails_is_told_again() {
    let mut listener = Listener::new(&json!({})).await;
    let mut party = party("ciba-again", &listener).await;
    listener.then(&[503]);
    let given = party.ask(&[("client_notification_token", TOKEN)]).await;
    party.types(&given).await;
    let (first, second) = (listener.next().await, listener.next().await);
    assert_eq!(first.body, second.body);
    assert_eq!(party.poll(&given.id).await.status, 200);
}

#[tokio::test]
async fn a_ping_needs_a_token_and_never_leads_inside() {
    let mut listener = Listener::new(&json!({})).await;
    let mut party = party("ciba-ping-bad", &listener).await;
    let long = "a".repeat(1025);
    let longest = &long[1..];
    for token in ["", " ", "a b", "=", "tök", &long, "a\nb"] {
        let reply = party.try_ask(&[("client_notification_token", token)]).await;
        refused(&reply, 400, "invalid_request");
    }
    assert!(party.created().await.is_empty());
    let given = party.ask(&[("client_notification_token", longest)]).await;
    party.phone.find(given.challenge()).await.unwrap();
    party.phone.answer(given.challenge(), Choice::approve(&given.number)).await.unwrap();
    assert_eq!(listener.next().await.authorization, format!("Bearer {longest}"));
    assert_eq!(party.poll(&given.id).await.status, 200);

    // a name that leads to this machine, without leave
    let port = listener.url.rsplit_once(':').unwrap().1;
    let inside = format!("https://localhost:{port}/told");
    let create = ["integration", "create", "--name", "inside", "--kind", "ciba"];
    let ping = ["--mode", "ping", "--notification-url", &inside];
    let made = party.world.server.admin(&[&create[..], &ping].concat()).await.unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let mut party = Party { id: text("client_id"), secret: text("client_secret"), ..party };
    let given = party.ask(&[("client_notification_token", TOKEN)]).await;
    party.types(&given).await;
    assert_eq!(party.wait(&given.id).await.status, 200);
    assert!(listener.is_quiet());
}

#[tokio::test]
async fn what_can_be_registered() {
    let party = Party::ciba("ciba-register", &[]).await;
    let create = ["integration", "create", "--name", "x", "--kind"];
    let url = "https://rp.example/told";
    let callback = "https://kc.example/realms/a/protocol/openid-connect/ext/ciba/auth/callback";
    let rows: &[&[&str]] = &[
        &["ciba", "--mode", "ping"],
        &["ciba", "--mode", "push", "--notification-url", url],
        &["ciba", "--mode", "poll", "--notification-url", url],
        &["ciba", "--mode", "ping", "--notification-url", "http://127.0.0.1:1/told"],
        &["ciba", "--mode", "ping", "--notification-url", "http://rp.example/", "--allow-private"],
        &["ciba", "--redirect-uri", "https://rp.example/cb"],
        &["ciba", "--method", "totp"],
        &["oidc", "--redirect-uri", "https://rp.example/cb", "--user-code"],
        &["keycloak_ciba"],
        &["keycloak_ciba", "--callback-url", "https://kc.example/other"],
        &["keycloak_ciba", "--callback-url", "http://127.0.0.1/ext/ciba/auth/callback"],
        &["keycloak_ciba", "--callback-url", callback, "--method", "totp"],
        &["api", "--callback-url", callback],
    ];
    for row in rows {
        let made = party.world.server.admin(&[&create[..], row].concat()).await;
        assert!(made.is_err(), "{row:?} {made:?}");
    }
    let show = party.world.server.admin(&["integration", "show", "wiki"]).await.unwrap();
    assert_eq!((&show["kind"], &show["mode"]), (&json!("ciba"), &json!("poll")));
    let realm = [&create[..], &["keycloak_ciba", "--callback-url", callback]].concat();
    let made = party.world.server.admin(&realm).await.unwrap();
    assert!(made["client_secret"].is_null() && made["api_key"].is_null());
    assert!(made["channel_url"].as_str().unwrap().ends_with("/ciba"));
    let show = party.world.server.admin(&["integration", "show", "x"]).await.unwrap();
    assert_eq!(show["number"], "chosen by client");
    assert_eq!(show["issuer"], "https://kc.example/realms/a");
}
