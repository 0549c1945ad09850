//! Challenges of REST with a page of their own, over real sockets: the number, who sees it, and the way back.

use authenticator_native::{AnswerOutcome, Choice, Decision};
use serde_json::{Value, json};
use server::demo::phone::Phone;

use crate::browser::{Browser, Form, Page};
use crate::rest::Reply;
use crate::world::World;

const BACK: &str = "https://shop.example/signed-in?from=login";
const SESSION: &str = "hosted-browser-session-1";

struct Scene {
    world: World,
    key: String,
}

/// A challenge with a page.
struct Hosted {
    id: String,
    number: String,
    page: String,
    reply: Value,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let world = World::new(name).await;
        let more = ["--return-url", BACK, "--return-url", "http://127.0.0.1:9/back"];
        let key = world.integration("boutique", &[], &more).await;
        Self { world, key }
    }

    async fn asks(&self, body: Value, headers: &[(&str, &str)]) -> Reply {
        self.world.rest.send_with(&self.key, "POST", "/v1/challenges", &body, headers).await
    }

    async fn hosted(&self, user: &str, session: &str) -> Hosted {
        Hosted::of(&self.asks(asking(user, session), &[]).await)
    }

    async fn redeem(&self, id: &str, session: &str, code: Option<&str>) -> Reply {
        let mut body = json!({ "browser_session": session });
        if let Some(code) = code {
            body["return_code"] = code.into();
        }
        let path = format!("/v1/challenges/{id}/redeem");
        self.world.rest.send(&self.key, "POST", &path, &body).await
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.world.server.url)
    }
}

impl Hosted {
    fn of(reply: &Reply) -> Self {
        let reply = reply.json();
        let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
        let url = text("page_url");
        let at = url.find("/sign-in/").unwrap_or_else(|| panic!("no page: {reply}"));
        Self { id: text("id"), number: text("number"), page: url[at..].to_owned(), reply }
    }
}

fn asking(user: &str, session: &str) -> Value {
    json!({
        "user": format!("name:{user}"),
        "context": { "browser_session": session },
        "return_url": BACK,
    })
}

async fn approve(phone: &mut Phone, hosted: &Hosted) {
    let card = phone.prompt().await.unwrap();
    assert_eq!(card.challenge.to_string(), hosted.id);
    let answered = phone.answer(card.challenge, Choice::approve(&hosted.number)).await.unwrap();
    assert_eq!(answered, AnswerOutcome::Settled(Decision::Approved));
}

/// The code of a form that goes where it should.
#[track_caller]
fn code(form: &Form, hosted: &Hosted) -> Option<String> {
    assert_eq!(
        (form.method.as_str(), form.action.as_str()),
        ("get", "https://shop.example/signed-in")
    );
    let mut fields = form.fields.clone();
    assert_eq!(fields.remove("from").as_deref(), Some("login"), "the address's own query");
    assert_eq!(fields.remove("challenge"), Some(hosted.id.clone()));
    let code = fields.remove("return_code");
    assert!(fields.is_empty(), "{fields:?}");
    code
}

fn is_sent_by_itself(page: &Page) -> bool {
    page.text.contains(" data-leave=\"/sign-in/")
}

#[tokio::test]
async fn the_page_s_own_browser_brings_back_what_redeem_needs() {
    let scene = Scene::new("hosted-whole").await;
    let mut phone = Phone::connect(scene.world.enrolled("alice").await).await.unwrap();
    let hosted = scene.hosted("alice", SESSION).await;
    let (mut own, mut other) = (scene.browser(), scene.browser());
    assert_eq!(own.open(&hosted.page).await.waits(), hosted.number);
    for path in [hosted.page.clone(), format!("{}/code", hosted.page)] {
        let refused = other.open(&path).await;
        assert_eq!((refused.reply.status, refused.number()), (404, None));
    }
    approve(&mut phone, &hosted).await;
    assert_eq!(other.open(&hosted.page).await.form(), None);

    let page = own.open(&hosted.page).await;
    assert!(is_sent_by_itself(&page));
    let form = page.leads_back();
    let brought = code(&form, &hosted).expect("a code");
    let mut tabs: Vec<Browser> = (0..8).map(|_| own.clone()).collect();
    let leave = format!("{}/leave", hosted.page);
    let taken = tabs.iter_mut().map(|tab| tab.press(&leave, &[]));
    let taken = futures_util::future::join_all(taken).await;
    assert_eq!(taken.iter().filter(|taken| taken.reply.status == 204).count(), 1, "one tab goes");
    // another tab, or the back button: the same form, which waits to be pressed
    let again = own.open(&hosted.page).await;
    assert!(!is_sent_by_itself(&again));
    assert_eq!(again.leads_back(), form);

    // what an older page sends again, by the back button, changes nothing
    for (button, fields) in [("cancel", &[][..]), ("code", &[("code", "000000")]), ("retry", &[])] {
        own.press(&format!("{}/{button}", hosted.page), fields).await;
        assert_eq!(own.open(&hosted.page).await.leads_back(), form, "{button}");
    }
    assert_eq!(scene.redeem(&hosted.id, SESSION, None).await.outcome(), "403 wrong_session");
    let wrong = format!("{}A", &brought[..brought.len() - 1]);
    let wrong = if wrong == brought { "B".repeat(43) } else { wrong };
    let refused = scene.redeem(&hosted.id, SESSION, Some(&wrong)).await;
    assert_eq!(refused.outcome(), "403 wrong_session");
    let stranger = scene.redeem(&hosted.id, "hosted-browser-session-2", Some(&brought)).await;
    assert_eq!(stranger.outcome(), "403 wrong_session");
    let redeemed = scene.redeem(&hosted.id, SESSION, Some(&brought)).await;
    assert_eq!(redeemed.outcome(), "200");
    assert!(redeemed.json()["receipt"].is_string());
    // a browser that goes back and presses the button brings what was used
    let replay = scene.redeem(&hosted.id, SESSION, Some(&brought)).await;
    assert_eq!(replay.outcome(), "409 already_redeemed");
}

#[tokio::test]
async fn of_thirty_redeems_at_once_one_counts() {
    let scene = Scene::new("hosted-thirty").await;
    let mut phone = Phone::connect(scene.world.enrolled("alice").await).await.unwrap();
    let hosted = scene.hosted("alice", SESSION).await;
    let mut browser = scene.browser();
    browser.open(&hosted.page).await.waits();
    approve(&mut phone, &hosted).await;
    let brought = code(&browser.open(&hosted.page).await.leads_back(), &hosted).expect("a code");
    let all = (0..30).map(|_| scene.redeem(&hosted.id, SESSION, Some(&brought)));
    let replies = futures_util::future::join_all(all).await;
    let count = |outcome: &str| replies.iter().filter(|r| r.outcome() == outcome).count();
    assert_eq!((count("200"), count("409 already_redeemed")), (1, 29));
}

#[tokio::test]
async fn the_fifth_wrong_return_code_ends_the_approval() {
    let scene = Scene::new("hosted-fifth").await;
    let mut phone = Phone::connect(scene.world.enrolled("alice").await).await.unwrap();
    let hosted = scene.hosted("alice", SESSION).await;
    let mut browser = scene.browser();
    browser.open(&hosted.page).await.waits();
    approve(&mut phone, &hosted).await;
    let brought = code(&browser.open(&hosted.page).await.leads_back(), &hosted).expect("a code");
    for given in [None, Some("A"), Some(""), Some("é"), None] {
        let refused = scene.redeem(&hosted.id, SESSION, given).await;
        assert_eq!(refused.outcome(), "403 wrong_session", "{given:?}");
    }
    let late = scene.redeem(&hosted.id, SESSION, Some(&brought)).await;
    assert_eq!(late.outcome(), "409 lapsed");
}

#[tokio::test]
async fn a_page_is_only_where_a_registered_address_was_given() {
    let scene = Scene::new("hosted-registered").await;
    scene.world.enrolled("alice").await;
    for url in [
        "https://shop.example/signed-in",
        "https://shop.example/signed-in?from=login&x=1",
        "https://evil.example/",
        "javascript:alert(1)",
        "",
    ] {
        let mut body = asking("alice", SESSION);
        body["return_url"] = url.into();
        let refused = scene.asks(body, &[]).await;
        assert_eq!(refused.outcome(), "422 invalid_request", "{url}");
        assert_eq!(refused.json()["field"], "return_url");
    }
    let mut plain = asking("alice", SESSION);
    plain.as_object_mut().unwrap().remove("return_url");
    let created = scene.asks(plain, &[]).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.json().get("page_url"), None);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let needless = scene.redeem(&id, SESSION, Some(&"A".repeat(43))).await;
    assert_eq!(
        (needless.outcome().as_str(), needless.json()["field"].as_str()),
        ("422 invalid_request", Some("return_code"))
    );
    for bad in ["http://shop.example/", "https://shop.example/#x", "ftp://x/"] {
        let command = ["integration", "create", "--name", "bad", "--return-url", bad];
        assert!(scene.world.server.admin(&command).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn who_asks_again_is_led_to_the_same_page_and_another_page_is_another_challenge() {
    let scene = Scene::new("hosted-again").await;
    scene.world.enrolled("alice").await;
    let keyed = [("idempotency-key", "first")];
    let made = scene.asks(asking("alice", SESSION), &keyed).await;
    assert_eq!(made.status, 201);
    let hosted = Hosted::of(&made);
    let mut browser = scene.browser();
    browser.open(&hosted.page).await.waits();
    let replayed = scene.asks(asking("alice", SESSION), &keyed).await;
    assert_eq!((replayed.status, replayed.json()), (201, hosted.reply.clone()));
    let merged = scene.asks(asking("alice", SESSION), &[]).await;
    assert_eq!((merged.status, merged.json()), (200, hosted.reply.clone()));
    // it stays with its browser
    assert_eq!(scene.browser().open(&hosted.page).await.reply.status, 404);
    assert_eq!(browser.open(&hosted.page).await.waits(), hosted.number);

    let mut elsewhere = asking("alice", SESSION);
    elsewhere["return_url"] = "http://127.0.0.1:9/back".into();
    let other = Hosted::of(&scene.asks(elsewhere, &[]).await);
    assert_ne!((&other.id, &other.page), (&hosted.id, &hosted.page));
    let ended = browser.open(&hosted.page).await;
    assert!(ended.text.contains("data-state=\"superseded\""), "{}", ended.text);
    assert_eq!(code(&ended.leads_back(), &hosted), None);
}

/// All that a browser is shown of somebody until they cancel, without what is random.
async fn shown(scene: &Scene, user: &str, session: &str) -> (Vec<String>, String, Option<String>) {
    let hosted = scene.hosted(user, session).await;
    let members = hosted.reply.as_object().unwrap().keys().cloned().collect();
    let mut browser = scene.browser();
    let page = browser.open(&hosted.page).await;
    assert_eq!(page.waits(), hosted.number);
    let blind = |text: &str| {
        let cut = |text: &str, from: &str, to: &str| {
            let mut parts = text.split(from);
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |all, part| {
                format!("{all}{from}{}", part.split_once(to).map_or("", |(_, rest)| rest))
            })
        };
        let text = cut(text, "<output id=\"number\"", "</output>");
        let text = cut(&text, "<path class=\"ink\"", "/>");
        let text = cut(&text, "data-ms=\"", "<");
        cut(&text, "?seen=", "\"").replace(&hosted.page, "PAGE").replace(user, "USER")
    };
    let first = blind(&page.text);
    browser.press(&format!("{}/cancel", hosted.page), &[]).await;
    let over = browser.open(&hosted.page).await;
    let form = over.leads_back();
    assert!(!over.text.contains("/retry\""), "its integration asks again, not this page");
    (members, first, code(&form, &hosted))
}

#[tokio::test]
async fn a_decoy_has_a_page_like_any_other_and_cancelling_leads_back_without_a_code() {
    let scene = Scene::new("hosted-decoy").await;
    scene.world.enrolled("alice").await;
    let known = shown(&scene, "alice", "hosted-browser-session-3").await;
    assert_eq!(known.2, None);
    assert_eq!(known, shown(&scene, "nobody", "hosted-browser-session-4").await);
}

#[tokio::test]
async fn a_restart_between_page_and_redeem_loses_nothing() {
    let mut scene = Scene::new("hosted-restart").await;
    let mut phone = Phone::connect(scene.world.enrolled("alice").await).await.unwrap();
    let hosted = scene.hosted("alice", SESSION).await;
    let mut browser = scene.browser();
    browser.open(&hosted.page).await.waits();
    approve(&mut phone, &hosted).await;
    let brought = code(&browser.open(&hosted.page).await.leads_back(), &hosted).expect("a code");
    scene.world.restart().await;
    assert_eq!(scene.redeem(&hosted.id, SESSION, None).await.outcome(), "403 wrong_session");
    assert_eq!(scene.redeem(&hosted.id, SESSION, Some(&brought)).await.outcome(), "200");
}

#[tokio::test]
async fn a_user_has_the_time_that_they_were_given() {
    let scene = Scene::new("hosted-time").await;
    let server = &scene.world.server;
    let made = server.admin(&["user", "create", "--name", "slow", "--ttl-s", "300"]).await.unwrap();
    let user = made["user"].as_str().unwrap();
    let shown = server.admin(&["user", "show", user]).await.unwrap();
    assert_eq!(shown["ttl_s"], 300);
    let changed = server.admin(&["user", "update", "slow", "--ttl-s", "120"]).await.unwrap();
    assert_eq!(changed["ttl_s"], 120);
    assert!(server.admin(&["user", "update", "nobody", "--ttl-s", "120"]).await.is_err());
    for bad in ["29", "301"] {
        assert!(server.admin(&["user", "update", "slow", "--ttl-s", bad]).await.is_err());
    }
    let scopes = ["users:read", "users:write"];
    let key = scene.world.integration("console", &scopes, &[]).await;
    let rest = &scene.world.rest;
    let put = async |seconds: u32| {
        let body = json!({ "ttl_s": seconds });
        rest.send(&key, "PUT", "/v1/users/name:slow", &body).await
    };
    assert_eq!(put(240).await.json()["ttl_s"], 240);
    for bad in [29, 301] {
        let refused = put(bad).await;
        assert_eq!(
            (refused.outcome().as_str(), refused.json()["field"].as_str()),
            ("422 invalid_request", Some("ttl_s"))
        );
    }
    assert_eq!(
        rest.send(&key, "GET", "/v1/users/name:slow", &Value::Null).await.json()["ttl_s"],
        240
    );
}
