//! What a good request comes to.

use authenticator_native::Choice;
use serde_json::{Value, json};

use super::directory::{APP, Directory, OBJECT, TENANT};

#[tokio::test]
async fn an_approval_is_taken_by_entra() {
    let mut directory = Directory::linked("entra-good").await;
    let mut browser = directory.browser();
    let fields = directory.fields(&[]);
    let page = directory.post(&mut browser, &fields).await;
    assert!(page.path.starts_with("/sign-in/") && page.text.contains("alice@example.com"));
    directory.approve(&page).await;
    let page = browser.open(&page.path).await;
    let policy = page.reply.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains(&format!("form-action 'self' {}", directory.fake.url())), "{policy}");
    assert_eq!(page.reply.headers["cache-control"], "no-store");
    let form = page.leads_back();
    assert_eq!(
        (form.method.as_str(), form.action.as_str()),
        ("post", directory.answers().as_str())
    );
    assert_eq!(form.fields.keys().collect::<Vec<_>>(), ["id_token", "state"]);
    let verdict = directory.fake.judge(&form.fields).await;
    assert!(verdict.ok, "{verdict:?}");
    // the page can be reloaded, and stays the same
    assert_eq!(browser.open(&page.path).await.leads_back(), form);
    let stranger = directory.browser().open(&page.path).await;
    assert!(stranger.reply.status == 404 && stranger.form().is_none());
}

#[tokio::test]
async fn every_other_end_is_told_as_access_denied() {
    let mut directory = Directory::linked("entra-ends").await;
    for choice in [Some(Choice::Deny), None] {
        let mut browser = directory.browser();
        let id = format!("11111111-0000-4000-8000-00000000000{}", u8::from(choice.is_some()));
        let fields = [("state", "a state\"&"), ("client-request-id", &id)];
        let fields = directory.fields(&fields);
        let page = directory.post(&mut browser, &fields).await;
        page.waits();
        let page = match choice {
            Some(choice) => {
                let card = directory.phone.prompt().await.unwrap();
                directory.phone.answer(card.challenge, choice).await.unwrap();
                browser.open(&page.path).await
            }
            None => browser.press(&format!("{}/cancel", page.path), &[]).await,
        };
        directory.is_told(&page.leads_back(), "access_denied", Some("a state\"&"));
        // what Entra shows the person finds it
        let log = directory.world.home.logged();
        let line = log.lines().find(|line| line.contains(&format!("client_request_id=\"{id}\"")));
        assert!(line.is_some_and(|line| line.contains("the person")), "{log}");
    }
}

#[tokio::test]
async fn somebody_who_is_not_linked_or_not_enrolled_sees_a_page_and_rings_nobody() {
    let directory = Directory::new("entra-unlinked").await;
    for link in [None, Some("bob")] {
        if let Some(user) = link {
            directory.world.server.admin(&["user", "create", "--name", user]).await.unwrap();
            directory.link(user).await;
        }
        let fields = directory.fields(&[("state", "s")]);
        let page = directory.post(&mut directory.browser(), &fields).await;
        assert_eq!(page.reply.status, 200);
        assert!(page.text.contains("No authenticator"), "{}", page.text);
        assert!(!page.text.contains("data-leave"), "the person reads it first");
        directory.is_told(&page.leads_back(), "access_denied", Some("s"));
    }
    assert_eq!(directory.created().await, 0);
}

#[tokio::test]
async fn a_reload_that_holds_the_cookie_comes_back_to_its_page_and_a_copy_does_not() {
    let directory = Directory::linked("entra-replay").await;
    let mut browser = directory.browser();
    let fields = directory.fields(&[("state", "s")]);
    let pairs: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let page = browser.post("/entra/authorize", &pairs).await;
    let number = page.waits();
    // a reload carries the cookie although the form comes from elsewhere
    let again = browser.press("/entra/authorize", &pairs).await;
    assert_eq!((again.path.as_str(), again.waits()), (page.path.as_str(), number));
    let mut stranger = directory.browser();
    let copy = stranger.post("/entra/authorize", &pairs).await;
    directory.is_told(&copy.leads_back(), "access_denied", Some("s"));
    // nor with its nonce under another hint
    let other = directory.hint(json!({}));
    let nonce = fields.iter().find(|(name, _)| name == "nonce").unwrap().1.clone();
    let reused = directory.fields(&[("nonce", &nonce), ("id_token_hint", &other), ("state", "s")]);
    let reused = directory.post(&mut directory.browser(), &reused).await;
    directory.is_told(&reused.leads_back(), "access_denied", Some("s"));
    assert_eq!(directory.created().await, 1);
}

/// The address of the first one's page was given to whoever brought its hint to the second.
#[tokio::test]
async fn two_integrations_of_one_directory_have_pages_of_their_own() {
    let directory = Directory::linked("entra-two").await;
    let fake = directory.fake.url();
    let kind = ["integration", "create", "--name", "pilot", "--kind", "entra", "--cloud", "fake"];
    let ids = ["--fake", fake, "--directory-id", TENANT, "--app-id", APP];
    let made = directory.world.server.admin(&[&kind[..], &ids].concat()).await.unwrap();
    let second = made["client_id"].as_str().unwrap().to_owned();
    let mut fields = directory.fields(&[("state", "s")]);
    let page = directory.post(&mut directory.browser(), &fields).await;
    page.waits();
    let client = fields.iter_mut().find(|(name, _)| name == "client_id").unwrap();
    client.1 = second;
    let other = directory.post(&mut directory.browser(), &fields).await;
    assert_ne!(other.path, page.path);
    // nobody is linked there
    directory.is_told(&other.leads_back(), "access_denied", Some("s"));
}

#[tokio::test]
async fn a_restart_forgets_the_page_and_not_that_the_hint_was_used() {
    let mut directory = Directory::linked("entra-restart").await;
    let mut browser = directory.browser();
    let fields = directory.fields(&[("state", "s")]);
    let pairs: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let page = browser.post("/entra/authorize", &pairs).await;
    page.waits();
    directory.world.restart().await;
    assert_eq!(browser.open(&page.path).await.reply.status, 404);
    let again = browser.press("/entra/authorize", &pairs).await;
    directory.is_told(&again.leads_back(), "access_denied", Some("s"));
}

#[tokio::test]
async fn what_entra_reads_is_as_it_wants_it() {
    let directory = Directory::new("entra-discovery").await;
    let get = |path: &'static str| {
        let rest = directory.world.rest.clone();
        async move { rest.send("", "GET", path, &Value::Null).await }
    };
    let reply = get("/entra/.well-known/openid-configuration").await;
    let length: usize = reply.headers["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(length, reply.body.len());
    let document = reply.json();
    let base = &directory.world.server.url;
    assert_eq!(document["issuer"], format!("{base}/entra"));
    assert_eq!(document["authorization_endpoint"], format!("{base}/entra/authorize"));
    assert_eq!(document["jwks_uri"], format!("{base}/entra/jwks.json"));
    assert_eq!(document["response_types_supported"], json!(["id_token"]));
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["RS256"]));
    let set = get("/entra/jwks.json").await.json();
    let [key] = set["keys"].as_array().unwrap().as_slice() else { panic!("one key: {set}") };
    assert_eq!((&key["alg"], &key["kty"]), (&json!("RS256"), &json!("RSA")));
    assert!(key["x5c"][0].is_string() && key["x5t"].is_string());
    assert_eq!(get("/entra/authorize").await.status, 200);
    let links = ["link", "list", "--integration", "entra"];
    assert_eq!(directory.world.server.admin(&links).await.unwrap()["data"], json!([]));
    directory.link("alice").await;
    let links = directory.world.server.admin(&links).await.unwrap();
    assert_eq!(links["data"][0]["subject"], format!("{TENANT}:{OBJECT}"));
}
