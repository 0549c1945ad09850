//! No secret of a request without a browser is logged, counted or stored readable.

use serde_json::{Value, json};
use tokio::process::Command;

use super::client::Given;
use super::listener::Listener;
use crate::child::countersign;
use crate::oidc::client::{Party, USER, jwks, now_s};
use crate::rest::Rest;
use crate::secrecy::{LOUDEST, ROUNDS, Secrets};
use crate::world::World;

const TOKEN: &str = "a-notification-token-that-is-a-secret";

#[tokio::test]
async fn what_is_printed_and_stored_holds_no_secret() {
    let key = statement::SigningKey::generate_p256_pkcs8().unwrap();
    let mut listener = Listener::new(&jwks(&key)).await;
    let mut command = Command::new(countersign());
    command.env("RUST_LOG", LOUDEST);
    let world = World::by("ciba-secrecy", command).await;
    let url = format!("{}/told", listener.url);
    let ping = ["--mode", "ping", "--notification-url", &url, "--allow-private", "--user-code"];
    let mut party = Party::of(world, &[&["--kind", "ciba"][..], &ping].concat()).await;
    let mut secrets = Secrets::default();
    secrets.keep("a client's secret", &party.secret[12..]);
    secrets.keep("a notification token", TOKEN);
    let made = party.world.server.admin(&["user", "code", USER]).await.unwrap();
    let code = made["user_code"].as_str().unwrap().to_owned();
    secrets.keep("a user code", &code);
    for _ in 0..ROUNDS {
        let fields = [("client_notification_token", TOKEN), ("user_code", &code)];
        let given: Given = party.ask(&fields).await;
        secrets.keep("a number", &given.number);
        secrets.keep("what a client was given", given.id.split_once('.').unwrap().1);
        party.types(&given).await;
        listener.next().await;
        let tokens = party.poll(&given.id).await.json();
        secrets.keep("an access token", tokens["access_token"].as_str().unwrap());
        let signature = tokens["id_token"].as_str().unwrap().rsplit_once('.').unwrap().1;
        secrets.keep("an ID token", signature);
    }
    keycloak(&mut party, &mut listener, &key, &mut secrets).await;

    for file in ["countersign.db", "countersign.db-wal"] {
        let Ok(bytes) = std::fs::read(party.world.home.data().join(file)) else { continue };
        assert_eq!(secrets.found_in(&bytes), [""; 0], "{file}");
    }
    let operations = Rest::new(&party.world.server.operations);
    let metrics = operations.send("", "GET", "/metrics", &Value::Null).await.body;
    let metrics_text = String::from_utf8_lossy(&metrics);
    assert!(metrics_text.contains("countersign_oidc_callbacks_total{outcome=\"delivered\"}"));
    assert_eq!(secrets.found_in(&metrics), [""; 0], "in the metrics");
    party.world.server.kill().await.unwrap();
    let log = party.world.home.logged();
    assert!(log.contains("DEBUG edge_ws::connection: "), "the trace must be on");
    assert_eq!(secrets.found_in(log.as_bytes()), [""; 0], "in the log");
}

async fn keycloak(party: &mut Party, listener: &mut Listener, key: &[u8], secrets: &mut Secrets) {
    let issuer = format!("{}/realms/staff", listener.url);
    let create = ["integration", "create", "--name", "staff", "--kind", "keycloak_ciba"];
    let realm = ["--issuer", &issuer, "--allow-private"];
    let made = party.world.server.admin(&[&create[..], &realm].concat()).await.unwrap();
    let channel = made["channel_url"].as_str().unwrap().strip_prefix(party.issuer()).unwrap();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.kid = Some("1".to_owned());
    for (nth, number) in ["417283", "529164", "638275"].into_iter().enumerate() {
        let claims = json!({
            "iss": issuer, "aud": issuer, "typ": "Bearer", "exp": now_s() + 60, "jti": format!("{nth}"),
        });
        let signer = jsonwebtoken::EncodingKey::from_ec_der(key);
        let token = jsonwebtoken::encode(&header, &claims, &signer).unwrap();
        let body = json!({"login_hint": USER, "binding_message": number});
        let reply = party.world.rest.send(&token, "POST", channel, &body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        secrets.keep("a number that Keycloak's client chose", number);
        secrets.keep("Keycloak's token", token.rsplit_once('.').unwrap().1);
        let card = party.phone.prompt().await.unwrap();
        let choice = authenticator_native::Choice::approve(number);
        party.phone.answer(card.challenge, choice).await.unwrap();
        listener.next().await;
    }
}
