//! Pages that other edges need: rendered here, by whichever router answered.

use app::sign_ins::{ReturnForm, ReturnMethod, Start, Whom};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use domain::audit::Event;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use http_limits::HostedPage;
use tower::ServiceExt as _;

use crate::world::{USER, World};

/// `page` as a browser that likes `language` gets it.
pub(crate) async fn dressed(
    page: HostedPage,
    language: Option<&str>,
) -> (StatusCode, http::HeaderMap, String) {
    let router = Router::new().route("/", get(move || async { page }));
    let request = Request::get("/").header("accept-language", language.unwrap_or("en"));
    let request = request.body(Body::empty()).expect("valid");
    let response = edge_pages::dress(router).oneshot(request).await.expect("answers");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("whole").to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).expect("UTF-8"))
}

#[tokio::test]
async fn a_refusal_is_a_page_that_leads_nowhere() {
    let page = HostedPage::Refused { status: StatusCode::BAD_REQUEST, why: "a <reason>" };
    let (status, headers, text) = dressed(page, None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("a &#60;reason&#62;") && !text.contains("<form"));
    assert!(
        headers["content-security-policy"].to_str().expect("ASCII").contains("form-action 'self';")
    );
    assert_eq!(headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_form_that_leaves_at_once_is_the_only_one() {
    let form = ReturnForm {
        method: ReturnMethod::Post,
        action: "https://rp.example/cb".to_owned(),
        fields: vec![("error".to_owned(), "\"<".to_owned())],
    };
    let (status, headers, text) = dressed(HostedPage::Leave(form), None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text.matches("<form").count(), 1);
    assert!(text.contains("id=\"return\"") && text.contains("value=\"&#34;&#60;\""));
    let policy = headers["content-security-policy"].to_str().expect("ASCII");
    assert!(policy.contains("form-action 'self' https://rp.example https:;"), "{policy}");
}

#[tokio::test]
async fn what_is_no_page_stays_as_it_is() {
    let router = edge_pages::dress(Router::new().route("/", get(|| async { "plain" })));
    let request = Request::get("/").body(Body::empty()).expect("valid");
    let response = router.oneshot(request).await.expect("answers");
    assert!(!response.headers().contains_key("content-security-policy"));
}

#[tokio::test]
async fn whoever_is_named_by_nobody_is_asked_and_rings_nobody() {
    let world = World::new().await;
    world.gives_time(std::time::Duration::from_secs(300)).await;
    let mut call = world.call();
    let start = Start {
        integration: world.integration,
        whom: Whom::Unnamed,
        called: String::new(),
        first_factor: Some(app::FirstFactor { method: "password".to_owned(), at: call.now }),
        purpose: None,
        methods: None,
        languages: None,
        within: None,
        back: None,
    };
    let path = world.signins.start(&mut call, start).expect("room").path();
    let mut browser = world.browser();
    for _ in 0..2 {
        let page = browser.get(&path).await;
        assert_eq!((page.status, page.state()), (StatusCode::OK, Some("unnamed")));
        assert_eq!(world.count(Event::ChallengeCreated).await, 0);
    }
    for bad in ["", "user=", "user=%00", "name=x"] {
        let page = browser.post(&format!("{path}/name"), bad).await;
        assert!(page.status.is_client_error(), "{bad}");
    }
    browser.post(&format!("{path}/name"), &format!("user={USER}")).await.leads_to(&path);
    let page = browser.get(&path).await;
    page.is_pending();
    assert!(
        page.body.contains("about 90 seconds"),
        "a time of their own would tell that they exist"
    );
    let card = world.card().await;
    assert!(!card.first_factor, "whatever the edge said of a first factor");
    // the name was wrong: another one may be given
    browser.post(&format!("{path}/cancel"), "").await.leads_to(&path);
    assert_eq!(browser.get(&path).await.state(), Some("cancelled"));
    browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
    assert_eq!(browser.get(&path).await.state(), Some("unnamed"));
}
