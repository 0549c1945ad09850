//! Alerts arrive where the settings say, signed, over the real program's own configuration file.

use std::net::SocketAddr;
use std::time::Duration;

use authenticator_native::Choice;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use server::demo::child::ChildServer;
use server::demo::http::Http;
use server::demo::phone::{Phone, enrol};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::child::{Home, ask, countersign, integrate};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: [u8; 32] = [0x5a; 32];

/// A receiver that keeps what is signed as the standard says.
async fn receiver() -> (SocketAddr, mpsc::UnboundedReceiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, got) = mpsc::unbounded_channel();
    let take = async move |headers: HeaderMap, body: Bytes| {
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        let (id, at) = (text("webhook-id"), text("webhook-timestamp"));
        let mut mac = Hmac::<Sha256>::new_from_slice(&SECRET).unwrap();
        mac.update(&[format!("{id}.{at}.").as_bytes(), &body].concat());
        let wanted = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
        if text("webhook-signature") != wanted {
            return StatusCode::UNAUTHORIZED;
        }
        sender.send((id, serde_json::from_slice(&body).unwrap())).unwrap();
        StatusCode::NO_CONTENT
    };
    let router = Router::new().route("/alerts", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, got)
}

async fn serve(home: &Home, receiver: SocketAddr) -> ChildServer {
    serve_with(home, receiver, "").await
}

/// With more settings of the webhook.
async fn serve_with(home: &Home, receiver: SocketAddr, more: &str) -> ChildServer {
    let config = home.data().join("countersign.toml");
    let secret = home.data().join("webhook-secret");
    std::fs::write(&secret, format!("whsec_{}\n", BASE64.encode(&SECRET))).unwrap();
    let text = format!(
        "[[webhooks]]\nname = 'soc'\nurl = 'http://{receiver}/alerts'\nallow_private = true\n\
         secret_file = '{}'\n{more}",
        secret.display()
    );
    std::fs::write(&config, text).unwrap();
    // a shell, so that `--config` comes behind the arguments of `serve`
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" --config \"$CONFIG\""]).arg(countersign());
    command.env("CONFIG", &config);
    home.serve_by(command).await
}

/// Two sign-ins of one user at the same time, and the number of the one typed for the other.
async fn raise_alert(server: &ChildServer, key: &str, user: &str) -> String {
    let http = Http::new(&server.url, key);
    let mut phone = Phone::connect(enrol(&http, user).await.unwrap()).await.unwrap();
    let own = ask(&http, user, "own").await;
    let other = ask(&http, user, "other").await;
    let card = phone.prompt().await.unwrap();
    let (rang, typed) = match card.challenge == own.challenge() {
        true => (own, other),
        false => (other, own),
    };
    phone.answer(card.challenge, Choice::approve(&typed.number)).await.unwrap();
    rang.id
}

#[tokio::test]
async fn an_alert_arrives_signed_once_and_also_after_a_crash() {
    let home = Home::new("webhooks");
    let (address, mut receiver) = receiver().await;
    let mut next = async || timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap();
    let server = serve(&home, address).await;
    let key = integrate(&server).await;
    let tested = server.admin(&["webhook", "test", "soc"]).await.unwrap();
    assert_eq!(tested, json!({"name": "soc", "status": 204}));
    assert_eq!(next().await.1["type"], "test");

    let challenge = raise_alert(&server, &key, "alice").await;
    let (id, message) = next().await;
    assert_eq!(message["type"], "alert");
    assert_eq!(message["data"]["id"], id.as_str());
    assert_eq!(message["data"]["challenge"], challenge.as_str());
    for (member, value) in [("kind", "concurrent_login"), ("technique", "T1621")] {
        assert_eq!(message["data"][member], value, "{message}");
    }
    for member in ["severity", "scope", "dedupe_key", "next_step"] {
        assert!(message["data"][member].is_string(), "{member}: {message}");
    }
    let counts = message["data"]["counts"].as_object().unwrap();
    assert!(counts["tries"].is_u64() && message["data"]["window_s"].is_u64(), "{message}");
    let link = message["data"]["link"].as_str().unwrap().strip_prefix(&server.url).unwrap();
    let log = Http::new(&server.url, &key).send("GET", link, Value::Null).await.unwrap();
    assert_eq!(log.status, 200, "{log:?}");
    let told = |event: &Value| event["id"] == message["data"]["id"];
    let logged = log.body["data"].as_array().unwrap().iter().find(|event| told(event)).unwrap();
    for (member, value) in logged.as_object().unwrap() {
        assert_eq!(&message["data"][member], value, "as the log shows it: {message}");
    }

    server.kill().await.unwrap();
    let server = serve(&home, address).await;
    raise_alert(&server, &key, "bob").await;
    let (second, message) = next().await;
    assert_eq!(message["type"], "alert");
    if second == id {
        // killed before it knew that the first had arrived
        assert_ne!(next().await.0, id);
    }
    let listed = server.admin(&["webhook", "list"]).await.unwrap();
    assert_eq!(listed["data"][0]["state"], "ok");

    let offline = Home::new("webhooks-offline").run(&["admin", "webhook", "list"]).await;
    assert_eq!(offline.status.code(), Some(3));
}

#[tokio::test]
async fn an_integration_is_told_how_its_own_challenges_end_and_decoys_read_alike() {
    let home = Home::new("webhooks-decisions");
    let (address, mut receiver) = receiver().await;
    let mut next = async || timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap().1;
    let server = serve_with(&home, address, "integration = 'shop'\n").await;
    let key = integrate(&server).await;
    let made = server.admin(&["integration", "create", "--name", "other"]).await.unwrap();
    let (shop, other) =
        (Http::new(&server.url, &key), Http::new(&server.url, made["api_key"].as_str().unwrap()));
    let mut phone = Phone::connect(enrol(&shop, "alice").await.unwrap()).await.unwrap();

    let foreign = ask(&other, "alice", "foreign").await;
    other.send("DELETE", &foreign.path(""), Value::Null).await.unwrap();
    let real = ask(&shop, "alice", "real").await;
    shop.send("DELETE", &real.path(""), Value::Null).await.unwrap();
    let decoy = ask(&shop, "nobody", "decoy").await;
    shop.send("DELETE", &decoy.path(""), Value::Null).await.unwrap();
    for ended in [&real, &decoy] {
        let message = next().await;
        assert_eq!(message["type"], "challenge_decided");
        assert_eq!(message["data"], json!({"id": ended.id, "state": "cancelled"}));
    }

    let approved = ask(&shop, "alice", "approved").await;
    // the person opens the app
    let card = phone.find(approved.id.parse().unwrap()).await.unwrap();
    phone.answer(card.challenge, Choice::approve(&approved.number)).await.unwrap();
    let wanted = json!({"id": approved.id, "state": "approved", "factor": "push"});
    assert_eq!(next().await["data"], wanted);
}
