//! Relying parties that nobody here wrote: tests/clients, run by node, python and Apache.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use authenticator_native::{AnswerOutcome, Choice, Decision};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use server::demo::phone::Phone;
use statement::ChallengeId;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::client::{Party, USER};
use crate::entra::directory::Directory;
use crate::world::World;

/// A private JSON Web Key of a P-256 key.
pub(super) fn private_jwk(pkcs8: &[u8]) -> Value {
    let public = statement::SigningKey::from_p256_pkcs8(pkcs8).unwrap().public().clone();
    let (x, y) = public.as_bytes()[1..].split_at(32);
    // RFC 5915 inside RFC 5958: the scalar follows its own tag and length
    let at = pkcs8.windows(2).position(|pair| pair == [0x04, 0x20]).unwrap() + 2;
    let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y), "d": text(&pkcs8[at..at + 32]), "kid": "1"})
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients");

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script);
    command
}

/// The interpreter that has what requirements.txt names.
pub(crate) fn python(script: &str) -> Command {
    let python = std::env::var_os("COUNTERSIGN_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command.arg(script);
    command
}

/// Runs a script of tests/clients, types what it shows into `phone`: what held.
async fn run(
    world: &World,
    mut script: Command,
    env: &[(&str, &str)],
    phone: &mut Phone,
) -> Vec<String> {
    script.current_dir(FOLDER).envs(env.iter().copied());
    script.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut script = script.spawn().unwrap();
    let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
    let mut held = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: Value = serde_json::from_str(&line).unwrap();
        let number = line["approve"].as_str().or(line["open"].as_str());
        if let Some(number) = number {
            let card = if line["open"].is_string() {
                phone.find(newest(world).await).await.unwrap()
            } else {
                phone.prompt().await.unwrap()
            };
            let outcome = phone.answer(card.challenge, Choice::approve(number)).await;
            assert_eq!(outcome.unwrap(), AnswerOutcome::Settled(Decision::Approved));
        }
        held.extend(line["ok"].as_str().map(str::to_owned));
    }
    assert!(script.wait().await.unwrap().success(), "after {held:?}");
    held
}

/// The newest challenge, which rang nobody.
pub(super) async fn newest(world: &World) -> ChallengeId {
    let events = world.events(&world.own_key).await;
    let mut created = events.iter().filter(|event| event["type"] == "challenge_created");
    let last = created.next_back().expect("a challenge");
    assert_eq!(last["mode"], "silent");
    last["challenge"].as_str().unwrap().parse().unwrap()
}

/// A relying party with an address without a query: openid-client drops one when it exchanges a code.
async fn party(name: &str) -> Party {
    Party::with(name, &["--redirect-uri", REDIRECT]).await
}

const REDIRECT: &str = "https://rp.example/callback";

/// Runs a script that signs a user in at `party`: how many things held.
async fn relying_party(mut party: Party, script: Command) -> usize {
    let (issuer, jwk) = (party.issuer().to_owned(), private_jwk(&party.key).to_string());
    let env = [
        ("ISSUER", issuer.as_str()),
        ("CLIENT_ID", &party.id),
        ("CLIENT_SECRET", &party.secret),
        ("CLIENT_JWK", &jwk),
        ("REDIRECT", REDIRECT),
        ("LOGIN", USER),
    ];
    run(&party.world, script, &env, &mut party.phone).await.len()
}

#[tokio::test]
#[ignore = "needs node, and npm ci in tests/clients: cargo xtask test --only external"]
async fn external_openid_clients_sign_in() {
    let party = party("oidc-external").await;
    assert_eq!(relying_party(party, node("openid.mjs")).await, 5);
}

#[tokio::test]
#[ignore = "needs python with tests/clients/requirements.txt: cargo xtask test --only external"]
async fn external_python_clients_sign_in() {
    let party = party("oidc-python").await;
    assert_eq!(relying_party(party, python("openid_clients.py")).await, 3);
}

#[tokio::test]
#[ignore = "needs node, and npm ci in tests/clients: cargo xtask test --only external"]
async fn external_ciba_clients_sign_in() {
    let party = Party::ciba("ciba-external", &[]).await;
    assert_eq!(relying_party(party, node("ciba.mjs")).await, 3);
}

#[tokio::test]
#[ignore = "needs node, and npm ci in tests/clients: cargo xtask test --only external"]
async fn external_ciba_provider_refuses_alike() {
    // it tells which users there are
    let party = Party::ciba("ciba-oracle", &["--reveal-users"]).await;
    assert_eq!(relying_party(party, node("ciba_oracle.mjs")).await, 3);
}

#[tokio::test]
#[ignore = "needs python with tests/clients/requirements.txt: cargo xtask test --only external"]
async fn external_python_ciba_client_signs_in() {
    let party = Party::ciba("ciba-python", &[]).await;
    assert_eq!(relying_party(party, python("ciba.py")).await, 3);
}

#[tokio::test]
#[ignore = "needs node, and npm ci in tests/clients: cargo xtask test --only external"]
async fn external_openid_client_in_entras_place() {
    let mut directory = Directory::linked("entra-external").await;
    let issuer = format!("{}/entra", directory.world.server.url);
    let fields: serde_json::Map<String, Value> = directory
        .fields(&[])
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    let fields = Value::Object(fields).to_string();
    let sub = directory.fake.claims()["sub"].as_str().unwrap().to_owned();
    let client = directory.client.clone();
    let env =
        [("ISSUER", issuer.as_str()), ("CLIENT_ID", &client), ("FIELDS", &fields), ("SUB", &sub)];
    let held = run(&directory.world, node("entra.mjs"), &env, &mut directory.phone).await;
    assert_eq!(held.len(), 1, "{held:?}");
}

/// Apache in the foreground of its own process, killed when dropped.
fn apache(dir: &Path, config: &str) -> Child {
    std::fs::create_dir_all(dir.join("www/secure")).unwrap();
    std::fs::write(dir.join("www/secure/index.html"), "inside").unwrap();
    std::fs::write(dir.join("mime.types"), "text/html html\n").unwrap();
    let file = dir.join("apache.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("apache2");
    command.arg("-X").arg("-f").arg(&file).stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().unwrap()
}

#[tokio::test]
#[ignore = "needs node, apache2 and mod_auth_openidc: cargo xtask test --only external"]
async fn external_apache_lets_in_whoever_types_the_number() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redirect = format!("http://127.0.0.1:{port}/secure/callback");
    let mut party = Party::with("oidc-apache", &["--redirect-uri", &redirect]).await;
    // it gives up the rights of whoever starts it, and must still read this
    let readable = Permissions::from_mode(0o755);
    let dir = tempfile::Builder::new().permissions(readable).tempdir().unwrap();
    let dir = dir.path();
    let config = [
        ("DIR", dir.to_str().unwrap()),
        ("PORT", &port.to_string()),
        ("MODULES", "/usr/lib/apache2/modules"),
        ("ISSUER", party.issuer()),
        ("CLIENT", &party.id),
        ("SECRET", &party.secret),
        ("LOGIN", USER),
    ]
    .into_iter()
    .fold(
        include_str!("../../../../../tests/clients/apache.conf").to_owned(),
        |text, (from, to)| text.replace(from, to),
    );
    let mut apache = apache(dir, &config);
    let rp = format!("http://127.0.0.1:{port}");
    let up = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), up).await.expect("it listens");
    let issuer = party.issuer().to_owned();
    let env = [("ISSUER", issuer.as_str()), ("RP", &rp), ("LOGIN", USER)];
    let held = run(&party.world, node("apache.mjs"), &env, &mut party.phone).await;
    assert_eq!(held.len(), 2, "{held:?}");
    apache.kill().await.unwrap();
}
