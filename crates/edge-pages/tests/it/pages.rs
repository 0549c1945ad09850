//! The pages around the sign-in, and what every response carries.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Method, StatusCode};

use crate::world::{Page, World};

const NO_SCRIPT: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
                         base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                         trusted-types 'none'";
const WAITING: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; \
                       img-src 'self' data:; form-action 'self'; base-uri 'none'; \
                       frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const ENROL: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                     require-trusted-types-for 'script'; trusted-types 'none'";

/// One script, and only where it has something to do: the policy that lets it in.
fn policy(page: &Page) -> &'static str {
    match page.state() {
        Some("pending") => WAITING,
        _ if page.body.contains("id=\"link\"") => ENROL,
        _ => NO_SCRIPT,
    }
}

#[track_caller]
fn is_hardened(page: &Page) {
    let policy = policy(page);
    for (name, value) in [
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(page.headers[name], value);
    }
}

#[track_caller]
fn is_page(page: &Page) {
    is_hardened(page);
    assert_eq!(page.headers[CACHE_CONTROL], "no-store");
    assert_eq!(page.headers[CONTENT_TYPE], "text/html; charset=utf-8");
    assert!(page.body.starts_with("<!doctype html>\n<html lang=\"en\">"));
    // what the policy would block isn't there
    let scripts = usize::from(policy(page) != NO_SCRIPT);
    assert_eq!(page.body.matches("<script").count(), scripts);
    assert_eq!(page.body.matches("<script src=\"/assets/").count(), scripts);
    for never in ["style=", "javascript:", "onclick", "<style"] {
        assert!(!page.body.contains(never), "{never}");
    }
    assert_eq!(page.body.matches("<h1").count(), 1);
}

#[tokio::test]
async fn every_response_is_hardened() {
    let world = World::new().await;
    let mut browser = world.browser();
    let home = browser.get("/").await;
    is_page(&home);
    assert!(home.body.contains("Sign in as demo"));
    let started = browser.post("/sign-in", "").await;
    is_hardened(&started);
    let path = started.location().to_owned();
    for path in [&path, "/enrol", "/sign-in/nothing", &format!("{path}/code")] {
        is_page(&browser.get(path).await);
    }
    let elsewhere = [("origin", "https://evil.example")];
    is_page(&browser.send(Method::POST, "/sign-in", &elsewhere, "").await);
    is_page(&browser.post(&format!("{path}/code"), "code=1").await);
    browser.post(&format!("{path}/cancel"), "").await;
    is_page(&browser.get(&path).await);
}

#[tokio::test]
async fn the_style_sheet_is_kept_for_ever_under_its_own_name() {
    let world = World::new().await;
    let mut browser = world.browser();
    let home = browser.get("/").await;
    let (_, rest) = home.body.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let path = rest.split('"').next().unwrap();
    let sheet = browser.get(path).await;
    assert_eq!(sheet.status, StatusCode::OK);
    is_hardened(&sheet);
    assert_eq!(sheet.headers[CONTENT_TYPE], "text/css; charset=utf-8");
    assert_eq!(sheet.headers[CACHE_CONTROL], "public, max-age=31536000, immutable");
    assert!(sheet.body.contains("#number"));
}

#[tokio::test]
async fn the_trial_is_only_where_it_was_asked_for() {
    let world = World::new().await;
    let mut browser = world.without_demo();
    assert_eq!(browser.get("/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.post("/sign-in", "").await.status, StatusCode::NOT_FOUND);
    let page = browser.get("/enrol").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("countersign-authenticator --home DIR enrol"));
}
