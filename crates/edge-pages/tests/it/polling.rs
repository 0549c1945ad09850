//! What the script of a page that waits asks for.

use std::time::Duration;

use http::StatusCode;

use crate::world::{Page, World};

/// The address that a page that waits asks.
fn asks(page: &Page) -> String {
    let (_, rest) = page.body.split_once("data-wait=\"").expect("it waits");
    rest.split('"').next().expect("an address").to_owned()
}

#[tokio::test]
async fn the_script_is_told_of_a_change_at_once() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    let page = browser.get(&path).await;
    let (number, asks) = (page.is_pending(), asks(&page));
    assert!(!asks.contains(&number) && asks.starts_with(&format!("{path}/state?seen=")));
    let (mut tab, address) = (browser.clone(), asks.clone());
    let mut held = tokio::spawn(async move { tab.get(&address).await });
    let early = tokio::time::timeout(Duration::from_millis(50), &mut held).await;
    assert!(early.is_err(), "held as long as nothing happens");
    world.approve(&number).await;
    let told = testkit::within("the end of the wait", held).await.unwrap();
    assert_eq!((told.status, told.body.as_str()), (StatusCode::OK, ""));
    // to be told is not to be let in: the page itself collects the approval
    assert_eq!(browser.get(&asks).await.status, StatusCode::OK);
    assert_eq!(world.count(domain::audit::Event::ChallengeRedeemed).await, 0);
    assert_eq!(browser.get(&path).await.state(), Some("approved"));
}

#[tokio::test]
async fn a_tab_that_shows_an_older_number_is_told_so() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    let older = asks(&browser.get(&path).await);
    browser.post(&format!("{path}/cancel"), "").await.leads_to(&path);
    assert_eq!(browser.get(&path).await.state(), Some("cancelled"));
    assert_eq!(browser.get(&older).await.status, StatusCode::OK);
    browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
    let newer = asks(&browser.get(&path).await);
    assert_ne!(older, newer);
    let told = testkit::within("no wait", browser.get(&older)).await;
    assert_eq!(told.status, StatusCode::OK);
    // the code form waits for the same
    assert_eq!(asks(&browser.get(&format!("{path}/code")).await), newer);
}

#[tokio::test]
async fn a_wait_ends_with_the_challenge_s_time_and_with_the_server() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    let asks = asks(&browser.get(&path).await);
    world.clock.advance(Duration::from_secs(91));
    assert_eq!(browser.get(&asks).await.status, StatusCode::OK, "expired");
    assert_eq!(browser.get(&path).await.state(), Some("expired"));

    browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
    let page = browser.get(&path).await;
    page.is_pending();
    world.stop.send_replace(true);
    let told = testkit::within("the stop", browser.get(&self::asks(&page))).await;
    assert_eq!(told.status, StatusCode::NO_CONTENT, "nothing has changed");
}
