//! One browser, one sign-in.

use std::time::Duration;

use domain::audit::Event;
use domain::challenge::{Collect, State};
use http::{Method, StatusCode};
use statement::AnswerDecision;

use crate::world::{ADDRESS, World};

#[tokio::test]
async fn the_first_browser_is_bound_and_shown_the_number() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    assert_eq!(path.len(), "/sign-in/".len() + 43);
    assert!(world.cards().await.is_empty(), "nobody is asked yet");

    let page = browser.get(&path).await;
    let number = page.is_pending();
    assert!(number.len() == 6 && number.bytes().all(|b| b.is_ascii_digit()));
    assert_eq!(page.body.matches(&number).count(), 1);
    assert!(!format!("{:?}", page.headers).contains(&number), "in no header");
    let refresh = format!("<meta http-equiv=\"refresh\" content=\"1;url={path}/wait\">");
    assert!(page.body.contains(&format!("<noscript>{refresh}</noscript>")));
    let spelled: Vec<String> = number.chars().map(String::from).collect();
    let heard = format!("<output id=\"number\" aria-label=\"{}\">", spelled.join(" "));
    assert!(page.body.contains(&heard), "each digit by itself");

    let card = world.card().await;
    let shown = String::from_utf8_lossy(&card.document);
    assert!(shown.contains(ADDRESS) && shown.contains("Firefox on Linux"));
    assert!(card.first_factor && card.cookie.is_none());
}

#[tokio::test]
async fn the_cookie_is_for_this_host_and_out_of_reach() {
    for (secure, expected) in [
        (false, "; Path=/; HttpOnly; SameSite=Lax"),
        (true, "; Path=/; Secure; HttpOnly; SameSite=Lax"),
    ] {
        let world = World::with(secure).await;
        let mut browser = world.browser();
        let path = browser.start().await;
        assert!(browser.cookies.is_empty(), "the page binds, not the button");
        let page = browser.get(&path).await;
        let cookies = page.cookies();
        let [cookie] = cookies.as_slice() else { panic!("one cookie") };
        let prefix = if secure { "__Host-" } else { "" };
        let rest = cookie.strip_prefix(&format!("{prefix}countersign=")).unwrap();
        assert_eq!(rest.len(), 43 + expected.len());
        assert!(rest.ends_with(expected), "{expected}");
        assert!(browser.get(&path).await.cookies().is_empty(), "it is set once");
    }
}

#[tokio::test]
async fn another_browser_is_told_what_a_stranger_is_told() {
    let world = World::new().await;
    let (mut own, mut other, mut known) = (world.browser(), world.browser(), world.browser());
    let path = own.start().await;
    own.get(&path).await.is_pending();
    // a browser that is bound to a sign-in of its own
    let elsewhere = known.start().await;
    known.get(&elsewhere).await.is_pending();
    let unknown = format!("/sign-in/{}", "A".repeat(43));

    for browser in [&mut other, &mut known] {
        for suffix in ["", "/wait", "/code", "/state?seen=x"] {
            let refused = browser.get(&format!("{path}{suffix}")).await;
            let missing = browser.get(&format!("{unknown}{suffix}")).await;
            assert_eq!(refused.status, StatusCode::NOT_FOUND);
            assert_eq!(refused.body, missing.body);
            assert_eq!(format!("{:?}", refused.headers), format!("{:?}", missing.headers));
            assert_eq!((refused.state(), refused.number()), (None, None));
            assert!(refused.cookies().is_empty());
        }
        for suffix in ["/code", "/cancel", "/retry"] {
            let refused = browser.post(&format!("{path}{suffix}"), "code=123456").await;
            assert_eq!(refused.status, StatusCode::NOT_FOUND);
        }
    }
    own.get(&path).await.is_pending();
    for broken in ["/sign-in/x", "/sign-in/%ff", &format!("{path}A")] {
        assert_eq!(own.get(broken).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_approval_is_redeemed_once_and_makes_the_browser_familiar() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    let number = browser.get(&path).await.is_pending();
    let card = world.card().await;
    world.approve(&number).await;

    let page = browser.get(&path).await;
    assert_eq!((page.status, page.state()), (StatusCode::OK, Some("approved")));
    assert_eq!(page.number(), None);
    for text in ["You are signed in", "urn:countersign:acr:number-match", "swk pop user"] {
        assert!(page.body.contains(text), "{text}");
    }
    assert!(!page.body.contains("http-equiv=\"refresh\""));
    let cookies = page.cookies();
    let [cookie] = cookies.as_slice() else { panic!("one cookie") };
    assert!(cookie.starts_with(&format!("countersign-device-{}=", world.integration)));
    assert!(cookie.ends_with("; Path=/; Max-Age=15552000; HttpOnly; SameSite=Lax"));

    let again = browser.get(&path).await;
    assert_eq!(again.state(), Some("approved"));
    assert!(again.cookies().is_empty());
    assert_eq!(world.count(Event::ChallengeRedeemed).await, 1);
    assert_eq!(world.count(Event::RedeemRefused).await, 0);
    // there is nothing left to try again
    browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
    assert_eq!(browser.get(&path).await.state(), Some("approved"));
    let State::Decided(decided) = world.stored(card.id).await.state else { panic!("decided") };
    assert_eq!(decided.collect, Collect::Redeemed);

    let path = browser.start().await;
    browser.get(&path).await.is_pending();
    assert!(world.card().await.cookie.is_some());
}

#[tokio::test]
async fn a_browser_that_hangs_up_loses_no_approval() {
    let world = World::new().await;
    for polls in 0..40 {
        let mut browser = world.browser();
        let path = browser.start().await;
        let number = browser.get(&path).await.is_pending();
        world.approve(&number).await;
        let mut impatient = browser.clone();
        let mut asking = Box::pin(impatient.get(&path));
        for _ in 0..polls {
            tokio::select! {
                biased;
                _ = &mut asking => break,
                () = tokio::task::yield_now() => {}
            }
        }
        drop(asking);
        let page = browser.get(&path).await;
        assert!(page.body.contains("You are signed in"), "after {polls}");
    }
    assert_eq!(world.count(Event::RedeemRefused).await, 0);
}

#[tokio::test]
async fn every_other_end_is_told_and_can_be_tried_again() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    for state in ["denied", "reported", "mismatch", "expired", "cancelled"] {
        let number = browser.get(&path).await.is_pending();
        match state {
            "denied" => world.answer(AnswerDecision::Deny, "").await,
            "reported" => world.answer(AnswerDecision::Report, "").await,
            "mismatch" => {
                let wrong = if number == "000000" { "000001" } else { "000000" };
                world.approve(wrong).await;
            }
            "expired" => world.clock.advance(Duration::from_secs(91)),
            _ => {
                let cancelled = browser.post(&format!("{path}/cancel"), "").await;
                cancelled.leads_to(&path);
            }
        }
        let page = browser.get(&path).await;
        assert_eq!((page.status, page.state()), (StatusCode::OK, Some(state)));
        assert_eq!(page.number(), None);
        assert!(!page.body.contains("http-equiv=\"refresh\""), "{state}");
        assert!(page.body.contains("Try again"), "{state}");
        assert!(page.cookies().is_empty());

        browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
        let next = browser.get(&path).await.is_pending();
        assert_ne!(next, number);
        // while it is open there is nothing to try again
        browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
        assert_eq!(browser.get(&path).await.is_pending(), next);
    }
    assert_eq!(world.count(Event::ChallengeCreated).await, 6);
}

#[tokio::test]
async fn an_approval_that_nobody_collects_lapses() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    let number = browser.get(&path).await.is_pending();
    world.approve(&number).await;
    world.clock.advance(Duration::from_secs(61));
    let page = browser.get(&path).await;
    assert!(page.body.contains("The approval has lapsed"));
    assert!(page.body.contains("Try again"));
    assert!(page.cookies().is_empty());
    browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
    browser.get(&path).await.is_pending();
}

#[tokio::test]
async fn a_sign_in_lives_ten_minutes() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    browser.get(&path).await.is_pending();
    world.clock.advance(Duration::from_millis(10 * 60 * 1000 - 1));
    assert_eq!(browser.get(&path).await.state(), Some("expired"));
    world.clock.advance(Duration::from_millis(1));
    for path in [path.clone(), format!("{path}/code")] {
        assert_eq!(browser.get(&path).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_wait_ends_with_the_challenge() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    let number = browser.get(&path).await.is_pending();
    let (mut other, wait) = (browser.clone(), format!("{path}/wait"));
    let mut held = tokio::spawn(async move { other.get(&wait).await });
    // as long as nothing happens, it is held
    let early = tokio::time::timeout(Duration::from_millis(50), &mut held).await;
    assert!(early.is_err());
    world.approve(&number).await;
    let page = testkit::within("the end of the wait", held).await.unwrap();
    page.leads_to(&path);
    assert_eq!(browser.get(&path).await.state(), Some("approved"));
    // with nothing to wait for it answers at once
    let mut other = browser.clone();
    let page = testkit::within("no wait", other.get(&format!("{path}/wait"))).await;
    page.leads_to(&path);
}

#[tokio::test]
async fn forms_come_from_our_own_pages() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    let number = browser.get(&path).await.is_pending();
    let own = "http://127.0.0.1:8470";
    for headers in [
        &[("origin", "null")][..],
        &[("origin", "http://127.0.0.1:9999")],
        &[("sec-fetch-site", "same-site"), ("origin", own)],
        &[("sec-fetch-site", "cross-site"), ("origin", own)],
    ] {
        for target in [
            "/sign-in",
            &format!("{path}/code"),
            &format!("{path}/cancel"),
            &format!("{path}/retry"),
        ] {
            let page = browser.send(Method::POST, target, headers, "code=1").await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{headers:?}");
            assert_eq!(page.number(), None);
        }
    }
    assert_eq!(browser.get(&path).await.is_pending(), number);
    // a program says nothing of where its forms come from
    for headers in [&[("origin", own)][..], &[]] {
        let path = browser.start().await;
        browser.get(&path).await.is_pending();
        let target = format!("{path}/cancel");
        let page = browser.send(Method::POST, &target, headers, "").await;
        page.leads_to(&path);
        assert_eq!(browser.get(&path).await.state(), Some("cancelled"));
    }
}

#[tokio::test]
async fn a_user_s_own_time_holds_where_a_first_factor_was_checked() {
    let world = World::new().await;
    world.gives_time(Duration::from_secs(300)).await;
    let mut browser = world.browser();
    let path = browser.start().await;
    assert!(browser.get(&path).await.body.contains("about 300 seconds"));
    world.clock.advance(Duration::from_secs(299));
    browser.get(&path).await.is_pending();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(browser.get(&path).await.state(), Some("expired"));
}
