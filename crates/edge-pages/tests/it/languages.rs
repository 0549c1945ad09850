//! What the pages speak.

use app::FirstFactor;
use app::sign_ins::{Start, Whom};
use http::{Method, StatusCode};
use http_limits::HostedPage;
use ports::UserRef;

use crate::world::{Page, USER, World};

const GERMAN: (&str, &str) = ("accept-language", "de-AT,de;q=0.9,en;q=0.5");

#[track_caller]
fn is_german(page: &Page, words: &str) {
    assert!(page.body.starts_with("<!doctype html>\n<html lang=\"de\">"), "{}", page.body);
    assert!(page.body.contains(words), "{words} in {}", page.body);
}

/// A sign-in whose asker wants these languages.
fn start(world: &World, languages: Option<&str>) -> String {
    let mut call = world.call();
    let start = Start {
        integration: world.integration,
        whom: Whom::User(UserRef::Name(USER.to_owned())),
        called: USER.to_owned(),
        first_factor: Some(FirstFactor { method: "password".to_owned(), at: call.now }),
        purpose: None,
        methods: None,
        languages: languages.map(str::to_owned),
        within: None,
        back: None,
    };
    world.signins.start(&mut call, start).expect("room").path()
}

#[tokio::test]
async fn a_browser_is_spoken_to_in_its_language() {
    let world = World::new().await;
    let mut browser = world.browser();
    let home = browser.send(Method::GET, "/", &[GERMAN], "").await;
    is_german(&home, "Als demo anmelden");
    let path = browser.start().await;
    let page = browser.send(Method::GET, &path, &[GERMAN], "").await;
    page.is_pending();
    is_german(&page, "Tippen Sie diese Zahl in Ihren Authenticator");
    assert!(page.body.contains("etwa 90 Sekunden"), "{}", page.body);
    let code = browser.send(Method::GET, &format!("{path}/code"), &[GERMAN], "").await;
    is_german(&code, "Code verwenden");
    let own = [GERMAN, ("sec-fetch-site", "same-origin")];
    let wrong = browser.send(Method::POST, &format!("{path}/code"), &own, "code=000").await;
    is_german(&wrong, "Code nicht angenommen, öffnen Sie die App.");
    is_german(&browser.send(Method::GET, "/enrol", &[GERMAN], "").await, "Einrichtungslink");
    browser.post(&format!("{path}/cancel"), "").await;
    is_german(&browser.send(Method::GET, &path, &[GERMAN], "").await, "Anmeldung abgebrochen");
}

#[tokio::test]
async fn whoever_asks_says_in_which_language_before_the_browser_does() {
    let world = World::new().await;
    let mut browser = world.browser();
    for (wanted, header, expected) in [
        (Some("fr de"), "en", "de"),
        (Some("en"), "de", "en"),
        (Some("fr"), "de", "de"),
        (None, "fr", "en"),
    ] {
        let path = start(&world, wanted);
        let page = browser.send(Method::GET, &path, &[("accept-language", header)], "").await;
        page.is_pending();
        assert!(page.body.contains(&format!("<html lang=\"{expected}\">")), "{wanted:?} {header}");
    }
}

#[tokio::test]
async fn failures_and_the_pages_of_other_edges_are_told_in_it_too() {
    let world = World::new().await;
    let mut browser = world.browser();
    let gone = browser.send(Method::GET, "/sign-in/nothing", &[GERMAN], "").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    is_german(&gone, "Hier ist keine Anmeldung");
    let foreign = [GERMAN, ("origin", "https://evil.example")];
    let foreign = browser.send(Method::POST, "/sign-in", &foreign, "").await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    is_german(&foreign, "Nicht von dieser Seite");
    let page = HostedPage::Refused { status: StatusCode::BAD_REQUEST, why: "a reason" };
    let (_, _, text) = crate::hosted::dressed(page, Some("de")).await;
    assert!(text.contains("<html lang=\"de\">") && text.contains("lang=\"en\">a reason<"));
}
