//! A sign-in that an edge started leads back to who asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use app::sign_ins::{End, Return, ReturnForm, ReturnMethod, Start, Whom};
use app::{Call, Error, FirstFactor};
use domain::audit::Event;
use domain::challenge::Decision;
use http::{Method, StatusCode};
use ports::{BoxFuture, StoreError, UserRef};
use statement::AnswerDecision;

use crate::world::{Page, USER, World};

const ACTION: &str = "https://rp.example/callback?app=1";

/// What an edge keeps of who asked.
struct Asker {
    method: ReturnMethod,
    /// So many times it can't make a form.
    failures: AtomicUsize,
    made: AtomicUsize,
}

impl Asker {
    fn new(method: ReturnMethod, failures: usize) -> Arc<Self> {
        Arc::new(Self { method, failures: failures.into(), made: 0.into() })
    }
}

impl Return for Asker {
    fn form<'a>(
        &'a self,
        _: &'a mut Call,
        end: &'a End,
    ) -> BoxFuture<'a, Result<ReturnForm, Error>> {
        Box::pin(async move {
            if self.failures.load(Ordering::SeqCst) > 0 {
                self.failures.fetch_sub(1, Ordering::SeqCst);
                return Err(StoreError::Overloaded.into());
            }
            let nth = self.made.fetch_add(1, Ordering::SeqCst);
            let told = match end {
                End::SignedIn(passed) => format!("{} {}", passed.name, passed.acr),
                End::Approved => "approved".to_owned(),
                End::Elsewhere => "elsewhere".to_owned(),
                End::Lapsed => "lapsed".to_owned(),
                End::Refused(decision) => decision.name().to_owned(),
                End::NotEnrolled => "not_enrolled".to_owned(),
                End::Unable => "unable".to_owned(),
            };
            let state = ("state".to_owned(), "\"><b>&".to_owned());
            Ok(ReturnForm {
                method: self.method,
                action: ACTION.to_owned(),
                fields: vec![("told".to_owned(), format!("{nth} {told}")), state],
            })
        })
    }
}

/// The path of a sign-in that leads back.
fn start(world: &World, whom: Whom, back: Arc<Asker>) -> String {
    start_within(world, whom, back, None)
}

fn start_within(world: &World, whom: Whom, back: Arc<Asker>, within: Option<Duration>) -> String {
    let mut call = world.call();
    let start = Start {
        integration: world.integration,
        whom,
        called: USER.to_owned(),
        first_factor: Some(FirstFactor { method: "password".to_owned(), at: call.now }),
        purpose: None,
        methods: None,
        languages: None,
        within,
        back: Some(back),
    };
    world.signins.start(&mut call, start).expect("room").path()
}

fn user() -> Whom {
    Whom::User(UserRef::Name(USER.to_owned()))
}

#[track_caller]
fn leads_back(page: &Page, told: &str, by_itself: bool) {
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.body.matches("id=\"return\"").count(), 1);
    let field = format!("<input type=\"hidden\" name=\"told\" value=\"{told}\">");
    assert!(page.body.contains(&field), "{told} in {}", page.body);
    let state = "<input type=\"hidden\" name=\"state\" value=\"&#34;&#62;&#60;b&#62;&#38;\">";
    assert!(page.body.contains(state), "{}", page.body);
    assert!(page.body.contains(&format!("action=\"{ACTION}\"")));
    let policy = page.headers["content-security-policy"].to_str().expect("ASCII");
    assert!(policy.contains("form-action 'self' https://rp.example https:;"), "{policy}");
    assert!(
        policy.contains("default-src 'none'; script-src 'self'; connect-src 'self';"),
        "{policy}"
    );
    assert_eq!(page.headers["cache-control"], "no-store");
    assert_eq!(page.body.matches("<script src=\"/assets/").count(), 1);
    assert_eq!(page.body.contains(" data-leave=\"/sign-in/"), by_itself);
}

#[tokio::test]
async fn an_approval_leads_back_by_one_form_that_stays_the_same() {
    let world = World::new().await;
    for (method, written) in [(ReturnMethod::Post, "post"), (ReturnMethod::Get, "get")] {
        let back = Asker::new(method, 0);
        let path = start(&world, user(), Arc::clone(&back));
        let mut browser = world.browser();
        let page = browser.get(&path).await;
        let number = page.is_pending();
        assert!(!page.body.contains("id=\"return\""));
        world.approve(&number).await;
        let page = browser.get(&path).await;
        let told = format!("0 {USER} urn:countersign:acr:number-match");
        leads_back(&page, &told, true);
        assert!(page.body.contains(&format!("method=\"{written}\"")));
        // a page that was loaded and never shown has taken nothing
        leads_back(&browser.get(&path).await, &told, true);
        let leave = format!("{path}/leave");
        assert_eq!(world.browser().post(&leave, "").await.status, StatusCode::NOT_FOUND);
        assert_eq!(browser.post(&leave, "").await.status, StatusCode::NO_CONTENT);
        assert_eq!(browser.post(&leave, "").await.status, StatusCode::CONFLICT);
        // another tab, or the back button: the form is there, and nothing presses it
        let again = browser.get(&path).await;
        leads_back(&again, &told, false);
        assert!(again.body.contains("was sent on already"), "{}", again.body);
        browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
        leads_back(&browser.get(&path).await, &told, false);
        assert_eq!(back.made.load(Ordering::SeqCst), 1);
        let stranger = world.browser().get(&path).await;
        assert_eq!(stranger.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.count(Event::ChallengeRedeemed).await, 2);
}

#[tokio::test]
async fn a_form_that_could_not_be_made_is_made_later_and_loses_no_approval() {
    let world = World::new().await;
    let path = start(&world, user(), Asker::new(ReturnMethod::Post, 2));
    let mut browser = world.browser();
    let number = browser.get(&path).await.is_pending();
    world.approve(&number).await;
    for _ in 0..2 {
        assert_eq!(browser.get(&path).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let told = format!("0 {USER} urn:countersign:acr:number-match");
    leads_back(&browser.get(&path).await, &told, true);
    assert_eq!(world.count(Event::ChallengeRedeemed).await, 1);
}

#[tokio::test]
async fn every_other_end_leads_back_too_and_where_a_new_try_helps_it_is_offered() {
    let world = World::new().await;
    let path = start(&world, user(), Asker::new(ReturnMethod::Get, 0));
    let mut browser = world.browser();
    let ends = [
        (Decision::Denied, true),
        (Decision::Reported, true),
        (Decision::Mismatch, false),
        (Decision::Expired, false),
        (Decision::Cancelled, true),
    ];
    for (nth, (decision, by_itself)) in ends.into_iter().enumerate() {
        let number = browser.get(&path).await.is_pending();
        match decision {
            Decision::Denied => world.answer(AnswerDecision::Deny, "").await,
            Decision::Reported => world.answer(AnswerDecision::Report, "").await,
            Decision::Mismatch => {
                let wrong = if number == "000000" { "000001" } else { "000000" };
                world.approve(wrong).await;
            }
            Decision::Expired => world.clock.advance(Duration::from_secs(91)),
            _ => browser.post(&format!("{path}/cancel"), "").await.leads_to(&path),
        }
        let page = browser.get(&path).await;
        leads_back(&page, &format!("{nth} {}", decision.name()), by_itself);
        browser.post(&format!("{path}/leave"), "").await;
        leads_back(&browser.get(&path).await, &format!("{nth} {}", decision.name()), false);
        assert!(page.body.contains("Try again"));
        browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
    }
    browser.get(&path).await.is_pending();
}

/// A phone rang for an answer that Entra had stopped to wait for, and the page said "signed in".
#[tokio::test]
async fn nobody_is_asked_for_an_answer_that_comes_too_late() {
    let world = World::new().await;
    world.gives_time(Duration::from_secs(300)).await;
    let (back, within) = (Asker::new(ReturnMethod::Post, 0), Some(Duration::from_secs(230)));
    let path = start_within(&world, user(), back, within);
    let mut browser = world.browser();
    browser.get(&path).await.is_pending();
    let card = world.card().await;
    assert_eq!(card.expires.since(world.clock.now()), Duration::from_secs(230));
    browser.post(&format!("{path}/cancel"), "").await.leads_to(&path);
    // a new try is as short as what is left
    world.clock.advance(Duration::from_secs(200));
    assert!(browser.get(&path).await.body.contains("Try again"));
    browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
    browser.get(&path).await.is_pending();
    let card = world.card().await;
    assert_eq!(card.expires.since(world.clock.now()), Duration::from_secs(30));
    browser.post(&format!("{path}/cancel"), "").await.leads_to(&path);
    world.clock.advance(Duration::from_secs(1));
    let page = browser.get(&path).await;
    leads_back(&page, "1 cancelled", true);
    assert!(!page.body.contains("Try again"));
    browser.post(&format!("{path}/retry"), "").await.leads_to(&path);
    leads_back(&browser.get(&path).await, "2 expired", true);
    assert_eq!(world.count(Event::ChallengeCreated).await, 2);
}

#[tokio::test]
async fn nobody_is_created_or_asked_for_somebody_who_cannot_answer() {
    let world = World::new().await;
    for may_enrol in [false, true] {
        let whom = Whom::Proven { subject: "nobody".to_owned(), may_enrol };
        let path = start(&world, whom, Asker::new(ReturnMethod::Post, 0));
        let mut browser = world.browser();
        let page = browser.get(&path).await;
        leads_back(&page, "0 not_enrolled", false);
        assert_eq!(page.state(), Some("not_enrolled"));
    }
    assert_eq!(world.count(Event::ChallengeCreated).await, 0);
}

/// The page answered with a failure of the server's.
#[tokio::test]
async fn a_browser_that_says_much_of_itself_can_sign_in() {
    let world = World::new().await;
    let path = start(&world, user(), Asker::new(ReturnMethod::Post, 0));
    let agent = "Firefox/140.0 ".repeat(300);
    let mut browser = world.browser();
    let page = browser.send(Method::GET, &path, &[("user-agent", &agent)], "").await;
    page.is_pending();
}

#[tokio::test]
async fn the_script_is_kept_for_ever_under_its_own_name() {
    let world = World::new().await;
    let path = start(&world, user(), Asker::new(ReturnMethod::Post, 0));
    let mut browser = world.browser();
    browser.get(&path).await.is_pending();
    browser.post(&format!("{path}/cancel"), "").await.leads_to(&path);
    // the enrolment page has one of its own
    for path in [path.as_str(), "/enrol"] {
        let page = browser.get(path).await;
        let (_, rest) = page.body.split_once("<script src=\"").expect("a script");
        assert!(!rest.contains("<script"), "one: {path}");
        let script = browser.get(rest.split('"').next().expect("an address")).await;
        assert_eq!(script.status, StatusCode::OK);
        assert_eq!(script.headers["content-type"], "text/javascript; charset=utf-8");
        let kept = script.headers["cache-control"].to_str().expect("ASCII");
        assert!(kept.contains("immutable"), "{kept}");
        assert!(script.body.len() <= 2048, "{path}: {}", script.body.len());
    }
}
