//! Several tabs, several browsers, all at once.

use std::time::Duration;

use domain::audit::Event;
use http::StatusCode;

use crate::world::World;

#[tokio::test]
async fn tabs_of_one_sign_in_show_the_same() {
    let world = World::new().await;
    let mut first = world.browser();
    let path = first.start().await;
    let number = first.get(&path).await.is_pending();
    let mut second = first.clone();
    assert_eq!(second.get(&path).await.is_pending(), number);
    world.approve(&number).await;
    for tab in [&mut second, &mut first] {
        assert!(tab.get(&path).await.body.contains("You are signed in"));
    }
    assert_eq!(world.count(Event::ChallengeCreated).await, 1);
    assert_eq!(world.count(Event::ChallengeRedeemed).await, 1);
}

#[tokio::test]
async fn two_sign_ins_of_one_browser_share_a_challenge_and_one_is_let_in() {
    let world = World::new().await;
    let mut browser = world.browser();
    let first = browser.start().await;
    let number = browser.get(&first).await.is_pending();
    let second = browser.start().await;
    assert_eq!(browser.get(&second).await.is_pending(), number);
    world.approve(&number).await;
    assert!(browser.get(&first).await.body.contains("You are signed in"));
    let other = browser.get(&second).await;
    assert_eq!(other.state(), Some("approved"));
    assert!(other.body.contains("Signed in in another tab"));
    assert!(other.cookies().is_empty());

    let retry = browser.post(&format!("{second}/retry"), "").await;
    retry.leads_to(&second);
    assert_ne!(browser.get(&second).await.is_pending(), number);
    assert!(browser.get(&first).await.body.contains("You are signed in"));
}

#[tokio::test]
async fn two_browsers_have_numbers_of_their_own() {
    let world = World::new().await;
    let (mut one, mut two) = (world.browser(), world.browser());
    let (first, second) = (one.start().await, two.start().await);
    let number = one.get(&first).await.is_pending();
    assert_ne!(two.get(&second).await.is_pending(), number);
    assert_eq!(world.cards().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_browsers_that_race_for_a_sign_in_one_gets_it() {
    let world = World::new().await;
    for _ in 0..10 {
        let path = world.browser().start().await;
        let pages = testkit::race(16, |_| {
            let (mut browser, path) = (world.browser(), path.clone());
            async move { browser.get(&path).await }
        });
        let pages = testkit::within("the race", pages).await;
        let shown = pages.iter().filter(|page| page.number().is_some()).count();
        let refused = pages
            .iter()
            .filter(|page| page.status == StatusCode::NOT_FOUND && page.cookies().is_empty());
        assert_eq!((shown, refused.count()), (1, 15));
    }
    assert_eq!(world.count(Event::ChallengeCreated).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tabs_that_race_ask_once_and_redeem_once() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    browser.get(&path).await.is_pending();
    browser.post(&format!("{path}/cancel"), "").await;
    browser.get(&path).await;
    browser.post(&format!("{path}/retry"), "").await;
    let all = |browser: &crate::world::Browser| {
        let (browser, path) = (browser.clone(), path.clone());
        testkit::race(16, move |_| {
            let (mut tab, path) = (browser.clone(), path.clone());
            async move { tab.get(&path).await }
        })
    };
    let pages = testkit::within("the race", all(&browser)).await;
    let number = pages[0].is_pending();
    assert!(pages.iter().all(|page| page.is_pending() == number));
    assert_eq!(world.count(Event::ChallengeCreated).await, 2);

    world.approve(&number).await;
    let pages = testkit::within("the race", all(&browser)).await;
    assert!(pages.iter().all(|page| page.state() == Some("approved")));
    let paid = pages.iter().filter(|page| !page.cookies().is_empty());
    assert_eq!(paid.count(), 1);
    assert_eq!(world.count(Event::ChallengeRedeemed).await, 1);
    assert_eq!(world.count(Event::RedeemRefused).await, 0);
}

#[tokio::test]
async fn a_waiting_page_ends_when_the_server_stops() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    browser.get(&path).await.is_pending();
    let mut tab = browser.clone();
    let wait = format!("{path}/wait");
    // a page that has waited for a while, and one that comes when it is over
    let stop = async {
        tokio::task::yield_now().await;
        world.stop.send_replace(true);
    };
    let both = async { (tokio::join!(tab.get(&wait), stop).0, browser.get(&wait).await) };
    // half of what a page waits otherwise
    let (waited, came) = tokio::time::timeout(Duration::from_secs(5), both).await.expect("at once");
    waited.leads_to(&path);
    came.leads_to(&path);
}
