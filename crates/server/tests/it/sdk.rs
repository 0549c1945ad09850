//! The clients in sdk/, against a running server: a person signs in to an app that uses them.

use std::path::Path;
use std::process::Stdio;

use authenticator_native::Choice;
use countersign_client::{Countersign, Error, Start, new_session};
use server::demo::child::ChildServer;
use server::demo::http::Http;
use server::demo::phone::{Phone, enrol};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::browser::Browser;
use crate::child::Home;

const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk");

/// A server with an app's integration, and Alice's phone.
struct Shop {
    server: ChildServer,
    key: String,
    integration: String,
    phone: Phone,
    _home: Home,
}

async fn shop(name: &str) -> Shop {
    let home = Home::new(name);
    let server = home.serve().await;
    let create = ["integration", "create", "--name", "shop", "--scope", "challenges"];
    let made = server.admin(&[&create[..], &["--scope", "users:write"]].concat()).await.unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let (key, integration) = (text("api_key"), text("integration"));
    let phone = enrol(&Http::new(&server.url, &key), "alice").await.unwrap();
    let phone = Phone::connect(phone).await.unwrap();
    Shop { server, key, integration, phone, _home: home }
}

impl Shop {
    fn client(&self) -> Countersign {
        Countersign::new(&self.server.url, &self.key, &self.integration).unwrap()
    }

    async fn type_number(&mut self, number: &str) {
        let card = self.phone.prompt().await.unwrap();
        self.phone.answer(card.challenge, Choice::approve(number)).await.unwrap();
    }
}

fn vouched() -> Start {
    Start { first_factor: Some("password".to_owned()), ..Start::default() }
}

#[tokio::test]
async fn the_rust_client_signs_in_and_trusts_no_other_receipt() {
    let mut shop = shop("sdk-rust").await;
    let mfa = shop.client();
    let session = new_session();
    let challenge = mfa.start("alice", &session, &vouched()).await.unwrap();
    let number = challenge.number.clone().unwrap();
    assert!(!format!("{challenge:?}").contains(&number));
    shop.type_number(&number).await;
    let approved = mfa.wait(&challenge.id, &session).await.unwrap();
    assert_eq!((approved.claims.name.as_str(), approved.claims.amr.len()), ("alice", 3));
    assert!(!format!("{approved:?}").contains(&approved.device_cookie));

    let refused = async |mfa: &Countersign, receipt: &str, session: &str| {
        matches!(mfa.verify(receipt, session).await, Err(Error::Receipt(_)))
    };
    let receipt = &approved.receipt;
    assert!(mfa.verify(receipt, &session).await.is_ok());
    assert!(refused(&mfa, receipt, &new_session()).await, "another browser's");
    let other = Countersign::new(&shop.server.url, &shop.key, "int_other").unwrap();
    assert!(refused(&other, receipt, &session).await, "another integration's");
    let elsewhere = shop.client().with_public_url("https://mfa.example.com");
    assert!(refused(&elsewhere, receipt, &session).await, "another server's");
    let (signed, _) = receipt.rsplit_once('.').unwrap();
    assert!(refused(&mfa, &format!("{signed}.{}", "A".repeat(86)), &session).await, "forged");

    let again = mfa.redeem(&challenge.id, &session).await;
    assert!(matches!(again, Err(Error::Refused { code, .. }) if code == "already_redeemed"));
    let denied = mfa.start("alice", &new_session(), &vouched()).await.unwrap();
    let card = shop.phone.prompt().await.unwrap();
    shop.phone.answer(card.challenge, Choice::Deny).await.unwrap();
    let ended = mfa.wait(&denied.id, &session).await;
    assert!(matches!(ended, Err(Error::NotApproved(state)) if state == "denied"));
}

/// Signs Alice in on the pages of an app of sdk/.
async fn app_signs_in(mut shop: Shop, mut command: Command) {
    command.env("COUNTERSIGN_URL", &shop.server.url).env("COUNTERSIGN_KEY", &shop.key);
    command.env("COUNTERSIGN_INTEGRATION", &shop.integration).env("PORT", "0");
    command.stdout(Stdio::piped()).kill_on_drop(true);
    let mut app = command.spawn().unwrap();
    let mut lines = BufReader::new(app.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("it listens");
    let port = line.strip_prefix("listening on ").expect("it listens");
    let mut browser = Browser::new(&format!("http://127.0.0.1:{port}"));
    let refused = browser.press("/login", &[("user", "alice"), ("password", "wrong")]).await;
    assert_eq!(refused.reply.status, 403);
    let page = browser.press("/login", &[("user", "alice"), ("password", "correct horse")]).await;
    let (_, number) = page.text.split_once("<output>").unwrap_or_else(|| panic!("{}", page.text));
    shop.type_number(number.split('<').next().unwrap()).await;
    assert_eq!(browser.open("/finish").await.text, "Hello alice");
}

#[tokio::test]
#[ignore = "needs node, and npm ci in sdk/typescript: cargo xtask test --only external"]
async fn external_a_node_app_signs_in() {
    let mut command = Command::new("node");
    command.arg("examples/app.js").current_dir(Path::new(SDK).join("typescript"));
    app_signs_in(shop("sdk-node").await, command).await;
}

#[tokio::test]
#[ignore = "needs python with tests/clients/requirements.txt: cargo xtask test --only external"]
async fn external_a_python_app_signs_in() {
    let mut command = python();
    command.args(["-c", SERVE]).current_dir(Path::new(SDK).join("python"));
    command.env("PYTHONPATH", "src:examples").env("PYTHONDONTWRITEBYTECODE", "1");
    app_signs_in(shop("sdk-python").await, command).await;
}

/// Runs the app as its own server would, on a port that is free.
const SERVE: &str = r#"
from werkzeug.serving import make_server
from app import app
server = make_server("127.0.0.1", 0, app, threaded=True)
print("listening on", server.port, flush=True)
server.serve_forever()
"#;

fn python() -> Command {
    Command::new(std::env::var_os("COUNTERSIGN_TEST_PYTHON").unwrap_or_else(|| "python3".into()))
}

/// Each client refuses the receipts of others, which no app ever sees.
#[tokio::test]
#[ignore = "needs node and python: cargo xtask test --only external"]
async fn external_clients_trust_no_other_receipt() {
    let mut shop = shop("sdk-receipts").await;
    let mfa = shop.client();
    let session = new_session();
    let challenge = mfa.start("alice", &session, &vouched()).await.unwrap();
    shop.type_number(&challenge.number.unwrap()).await;
    let receipt = mfa.wait(&challenge.id, &session).await.unwrap().receipt;
    let mut node = Command::new("node");
    node.arg("test/receipts.js").current_dir(Path::new(SDK).join("typescript"));
    let mut python = python();
    python.arg("test/receipts.py").current_dir(Path::new(SDK).join("python"));
    python.env("PYTHONPATH", "src").env("PYTHONDONTWRITEBYTECODE", "1");
    for mut command in [node, python] {
        command.env("COUNTERSIGN_URL", &shop.server.url).env("COUNTERSIGN_KEY", &shop.key);
        command.env("COUNTERSIGN_INTEGRATION", &shop.integration);
        command.env("SESSION", &session).env("RECEIPT", &receipt);
        let done = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(
            said.trim(),
            "own ok, session refused, integration refused, server refused, forged refused"
        );
    }
}
