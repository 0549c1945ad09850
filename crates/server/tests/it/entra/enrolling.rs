//! Somebody whom Entra has proven makes their first authenticator on the way, where that is allowed.

use authenticator_native::{AnswerOutcome, Choice, Client, Decision, Person, Ticket};
use serde_json::{Value, json};
use server::demo::phone::Phone;
use statement::{ServerUrl, TypedNumberError, crockford};

use super::directory::{Directory, USER};
use crate::browser::{Browser, Page};

const BOB: &str = "bob";

/// Bob, who is linked and has nothing, at the page of his sign-in.
struct Bob {
    browser: Browser,
    path: String,
    /// What Entra wants back.
    state: String,
    /// What he types in place of the number that the page shows.
    types: Option<&'static str>,
}

impl Bob {
    async fn page(&mut self) -> Page {
        self.browser.open(&self.path).await
    }

    async fn press(&mut self, button: &str) -> Page {
        self.browser.press(&format!("{}/{button}", self.path), &[]).await
    }
}

impl Person for Bob {
    async fn confirm_server(&mut self, fingerprint: &str) -> bool {
        self.page().await.text.contains(fingerprint)
    }

    async fn number(&mut self, digits: u8, wrong: Option<TypedNumberError>) -> Option<String> {
        assert!(digits == 6 && wrong.is_none(), "{wrong:?}");
        let page = self.page().await;
        assert!(page.text.contains("“bob's phone”") || page.text.contains("“bob&#39;s phone”"));
        for secret in [" id=\"enrol\"", " id=\"code\"", "#v1."] {
            assert!(!page.text.contains(secret), "whoever sees the number sees no link: {secret}");
        }
        Some(self.types.map_or_else(|| page.waits(), str::to_owned))
    }
}

/// What follows `start` in a page, up to `end`.
#[track_caller]
fn between<'a>(page: &'a Page, start: &str, end: &str) -> &'a str {
    let (_, rest) = page.text.split_once(start).unwrap_or_else(|| panic!("{}", page.text));
    rest.split_once(end).unwrap().0
}

fn link(page: &Page) -> Ticket {
    let link = between(page, "id=\"enrol\" href=\"", "\"").replace("&#38;", "&");
    Ticket::Link(link.parse().unwrap())
}

fn code(page: &Page, server: &str) -> Ticket {
    let code = crockford::decode(between(page, "<code id=\"code\">", "<")).unwrap();
    let server: ServerUrl = server.parse().unwrap();
    Ticket::Code { server, user: BOB.to_owned(), code }
}

impl Directory {
    async fn lets_bob_enrol(name: &str) -> Self {
        let directory = Self::with(name, &["--inline-enrolment"]).await;
        directory.world.server.admin(&["user", "create", "--name", BOB]).await.unwrap();
        directory.link(BOB).await;
        directory
    }

    /// Bob comes from Entra: himself, and the page that he sees.
    async fn bob(&self) -> (Bob, Page) {
        let mut browser = self.browser();
        let fields = self.fields(&[]);
        let (_, state) = fields.iter().find(|(name, _)| name == "state").unwrap().clone();
        let page = self.post(&mut browser, &fields).await;
        (Bob { browser, path: page.path.clone(), state, types: None }, page)
    }

    async fn tickets(&self) -> usize {
        let events = self.world.events(&self.world.own_key).await;
        events.iter().filter(|event| event["type"] == "ticket_created").count()
    }

    /// The page that says that there is no authenticator, and no ticket.
    #[track_caller]
    fn sends_to_an_administrator(&self, bob: &Bob, page: &Page) {
        assert!(page.text.contains("data-state=\"not_enrolled\""), "{}", page.text);
        self.is_told(&page.leads_back(), "access_denied", Some(&bob.state));
    }
}

#[tokio::test]
async fn a_first_authenticator_is_made_on_the_way_and_the_sign_in_goes_on_with_it() {
    for by_code in [false, true] {
        let mut directory = Directory::lets_bob_enrol(&format!("entra-enrol-{by_code}")).await;
        let before = directory.tickets().await;
        let (mut bob, page) = directory.bob().await;
        assert!(page.text.contains("data-state=\"enrolling\""), "{}", page.text);
        assert!(page.number().is_none() && page.form().is_none());
        assert_eq!(directory.created().await, 0, "nobody is asked yet");
        assert_eq!(directory.browser().open(&page.path).await.reply.status, 404);
        let again = bob.page().await;
        assert_eq!(link_text(&again), link_text(&page), "a reload gives no second ticket");
        assert_eq!(directory.tickets().await, before + 1);

        let ticket = if by_code { code(&page, &directory.world.server.url) } else { link(&page) };
        let account = Client::new("tests").enrol(ticket, "bob's phone", Vec::new(), &mut bob).await;
        let mut phone = Phone::connect(account.unwrap()).await.unwrap();
        let page = bob.page().await;
        let number = page.waits();
        let card = phone.prompt().await.unwrap();
        assert!(card.alert, "it rings: Entra vouches for a first factor");
        let outcome = phone.answer(card.challenge, Choice::approve(&number)).await.unwrap();
        assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
        let form = bob.page().await.leads_back();
        let verdict = directory.fake.judge(&form.fields).await;
        assert!(verdict.ok, "{verdict:?}");

        let events = directory.world.events(&directory.world.own_key).await;
        let mut made = events.iter().filter(|event| event["type"] == "ticket_created");
        let private = &made.next_back().unwrap()["private"];
        assert_eq!(private["by"], "entra (hosted page)", "{private}");
        assert!(private["reason"].as_str().unwrap().ends_with("entra vouches"), "{private}");
        // from now on he is asked like everybody else
        let (_, page) = directory.bob().await;
        page.waits();
        assert_eq!(directory.tickets().await, before + 1);
        directory.phone = phone;
    }
}

fn link_text(page: &Page) -> String {
    between(page, "id=\"enrol\" href=\"", "\"").to_owned()
}

#[tokio::test]
async fn a_wrong_number_or_second_thoughts_end_the_ticket() {
    let directory = Directory::lets_bob_enrol("entra-enrol-ends").await;
    let (mut bob, page) = directory.bob().await;
    bob.types = Some("000000");
    let enrolled =
        Client::new("tests").enrol(link(&page), "bob's phone", Vec::new(), &mut bob).await;
    assert!(enrolled.is_err());
    let page = bob.page().await;
    directory.sends_to_an_administrator(&bob, &page);
    // another try is another ticket
    let page = bob.press("retry").await;
    assert!(page.text.contains("data-state=\"enrolling\""), "{}", page.text);
    let ticket = link(&page);
    let page = bob.press("cancel").await;
    directory.sends_to_an_administrator(&bob, &page);
    let late = Client::new("tests").enrol(ticket, "bob's phone", Vec::new(), &mut bob).await;
    assert!(late.is_err());
    let bob = directory.world.get("/v1/users/name:bob").await;
    assert_eq!(bob["enrolled"], false, "{bob}");
    assert_eq!(directory.created().await, 0);
}

#[tokio::test]
async fn whoever_has_a_factor_or_is_under_attack_is_given_no_ticket() {
    let directory = Directory::lets_bob_enrol("entra-enrol-bound").await;
    let before = directory.tickets().await;
    // with an authenticator; and when it is lost, with what is left of it
    let device = directory.world.enrolled(BOB).await.device.to_string();
    for lost in [false, true] {
        if lost {
            directory.world.server.admin(&["device", "revoke", &device]).await.unwrap();
        }
        let (mut bob, page) = directory.bob().await;
        page.waits();
        bob.press("cancel").await;
    }
    assert_eq!(directory.tickets().await, before + 1, "the one of the administrator");
}

#[tokio::test]
async fn a_reset_makes_a_person_new_again_and_an_attack_does_not() {
    let directory = Directory::lets_bob_enrol("entra-enrol-reset").await;
    directory.world.enrolled(BOB).await;
    let before = directory.tickets().await;
    let reset = ["factor", "reset", "--user", BOB, "--reason", "lost"];
    directory.world.server.admin(&reset).await.unwrap();
    let (_, page) = directory.bob().await;
    assert!(page.text.contains("data-state=\"enrolling\""), "{}", page.text);
    assert_eq!(directory.tickets().await, before + 1);
    let contain = "/v1/users/name:bob/contain";
    directory.world.own.send("POST", contain, json!({})).await.unwrap();
    let (bob, page) = directory.bob().await;
    directory.sends_to_an_administrator(&bob, &page);
    assert_eq!(directory.tickets().await, before + 1);
}

#[tokio::test]
async fn five_tickets_an_hour_are_enough() {
    let directory = Directory::lets_bob_enrol("entra-enrol-rate").await;
    let before = directory.tickets().await;
    for _ in 0..5 {
        let (_, page) = directory.bob().await;
        assert!(page.text.contains("data-state=\"enrolling\""), "{}", page.text);
    }
    let (mut bob, page) = directory.bob().await;
    directory.sends_to_an_administrator(&bob, &page);
    let page = bob.press("retry").await;
    directory.sends_to_an_administrator(&bob, &page);
    assert_eq!(directory.tickets().await, before + 5);
}

/// Each was counted before the others were given: thirty at once were thirty tickets.
#[tokio::test]
async fn tickets_that_are_asked_for_at_once_are_counted() {
    let directory = Directory::lets_bob_enrol("entra-enrol-at-once").await;
    let before = directory.tickets().await;
    let all = futures_util::future::join_all((0..12).map(|_| directory.bob())).await;
    assert_eq!(all.len(), 12);
    assert_eq!(directory.tickets().await, before + 5);
}

/// A page once ended a ticket that an administrator had given, and the enrolment that was under way with it.
#[tokio::test]
async fn a_first_factor_alone_ends_nobodys_ticket() {
    let directory = Directory::lets_bob_enrol("entra-enrol-other").await;
    let tickets = "/v1/users/name:bob/tickets";
    let given = directory.world.own.send("POST", tickets, json!({})).await.unwrap();
    let before = directory.tickets().await;
    let (bob, page) = directory.bob().await;
    directory.sends_to_an_administrator(&bob, &page);
    assert_eq!(directory.tickets().await, before);
    let path = format!("{tickets}/{}", given.body["ticket"].as_str().unwrap());
    assert_eq!(directory.world.get(&path).await["state"], "open");
}

/// Who had used up their recovery codes was taken for somebody who never had a factor.
#[tokio::test]
async fn recovery_codes_that_were_there_leave_nobody_new() {
    let directory = Directory::lets_bob_enrol("entra-enrol-codes").await;
    let codes = ["factor", "create", "--user", BOB, "--type", "recovery_code"];
    let made: Value = directory.world.server.admin(&codes).await.unwrap();
    let codes = made["codes"].as_array().unwrap_or_else(|| panic!("{made}")).clone();
    assert_eq!(codes.len(), 10);
    let before = directory.tickets().await;
    for code in codes {
        let session = format!("{:-<22}", code.as_str().unwrap().replace('-', ""));
        let request = json!({
            "user": "name:bob",
            "context": { "browser_session": session },
            "methods": ["recovery_code"],
        });
        let created = directory.world.own.send("POST", "/v1/challenges", request).await.unwrap();
        let path = format!("/v1/challenges/{}/code", created.body["id"].as_str().unwrap());
        let tried = json!({ "code": code });
        let passed = directory.world.own.send("POST", &path, tried).await.unwrap();
        assert_eq!(passed.body["state"], "approved", "{:?}", passed.body);
    }
    assert_eq!(directory.world.get("/v1/users/name:bob").await["enrolled"], false);
    let (bob, page) = directory.bob().await;
    directory.sends_to_an_administrator(&bob, &page);
    assert_eq!(directory.tickets().await, before);
}

/// Their page showed a number that no device could be given, and a field for codes that took none of theirs.
#[tokio::test]
async fn recovery_codes_alone_answer_nothing_that_entra_takes() {
    let directory = Directory::lets_bob_enrol("entra-enrol-recovery").await;
    let codes = ["factor", "create", "--user", BOB, "--type", "recovery_code"];
    directory.world.server.admin(&codes).await.unwrap();
    let before = directory.tickets().await;
    let (mut bob, page) = directory.bob().await;
    for page in [page, bob.page().await, bob.press("retry").await] {
        assert!(page.text.contains("data-state=\"unable\""), "{}", page.text);
        assert!(page.text.contains("Nothing to answer with") && page.number().is_none());
        assert!(!page.text.contains("data-leave"), "the person reads it first");
        directory.is_told(&page.leads_back(), "access_denied", Some(&bob.state));
    }
    assert_eq!(directory.tickets().await, before, "who has had a factor is no newcomer");
    assert_eq!(directory.created().await, 0);
    // an administrator helps while the page is open: the next try looks anew
    let totp = ["factor", "create", "--user", BOB, "--type", "totp"];
    directory.world.server.admin(&totp).await.unwrap();
    bob.press("retry").await.waits();
}

/// A new try was told what the first one had been told, whatever had been done about it.
#[tokio::test]
async fn whoever_is_helped_while_their_page_is_open_can_try_again() {
    let mut directory = Directory::new("entra-helped").await;
    let (mut alice, page) = directory.bob().await;
    directory.sends_to_an_administrator(&alice, &page);
    let page = alice.press("retry").await;
    directory.sends_to_an_administrator(&alice, &page);
    assert_eq!(directory.created().await, 0);
    directory.link(USER).await;
    let page = alice.press("retry").await;
    directory.approve(&page).await;
    let verdict = directory.fake.judge(&alice.page().await.leads_back().fields).await;
    assert!(verdict.ok, "{verdict:?}");
}

#[tokio::test]
async fn nobody_is_asked_for_a_code_that_entra_does_not_know() {
    let directory = Directory::linked("entra-code-page").await;
    let mut browser = directory.browser();
    let page = directory.post(&mut browser, &directory.fields(&[])).await;
    page.waits();
    let code = browser.open(&format!("{}/code", page.path)).await;
    assert!(code.text.contains("Code from your authenticator<"), "{}", code.text);
    assert!(!code.text.contains("recovery"), "{}", code.text);
}

/// They were told that they had none.
#[tokio::test]
async fn whoever_was_enrolled_by_another_ticket_meanwhile_is_asked() {
    for late in [false, true] {
        enrolled_meanwhile(late).await;
    }
}

/// `late`: the page's own ticket is tried after that.
async fn enrolled_meanwhile(late: bool) {
    let directory = Directory::lets_bob_enrol(&format!("entra-enrol-meanwhile-{late}")).await;
    let (mut bob, page) = directory.bob().await;
    assert!(page.text.contains("data-state=\"enrolling\""), "{}", page.text);
    let ticket = link(&page);
    // an administrator gives one too, which is used
    let mut phone = Phone::connect(directory.world.enrolled(BOB).await).await.unwrap();
    if late {
        let late = Client::new("tests").enrol(ticket, "bob's phone", Vec::new(), &mut bob).await;
        assert!(late.is_err(), "nobody gets a second device so");
    }
    let page = bob.page().await;
    let number = page.waits();
    let card = phone.prompt().await.unwrap();
    let outcome = phone.answer(card.challenge, Choice::approve(&number)).await.unwrap();
    assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
    let verdict = directory.fake.judge(&bob.page().await.leads_back().fields).await;
    assert!(verdict.ok, "{verdict:?}");

    // who cancels is asked nothing, whatever came of other tickets
    let reset = ["factor", "reset", "--user", BOB, "--reason", "lost"];
    directory.world.server.admin(&reset).await.unwrap();
    let asked = directory.created().await;
    let (mut bob, page) = directory.bob().await;
    assert!(page.text.contains("data-state=\"enrolling\""), "{}", page.text);
    directory.world.enrolled(BOB).await;
    let page = bob.press("cancel").await;
    directory.sends_to_an_administrator(&bob, &page);
    assert_eq!(directory.created().await, asked);
}

#[tokio::test]
async fn nobody_enrols_unless_it_was_allowed() {
    let directory = Directory::new("entra-enrol-off").await;
    directory.world.server.admin(&["user", "create", "--name", BOB]).await.unwrap();
    directory.link(BOB).await;
    let before = directory.tickets().await;
    let (bob, page) = directory.bob().await;
    directory.sends_to_an_administrator(&bob, &page);
    assert_eq!(directory.tickets().await, before);
    let shown: Value =
        directory.world.server.admin(&["integration", "show", "entra"]).await.unwrap();
    assert_eq!(shown["inline_enrolment"], false);
    let kind = ["integration", "create", "--name", "x", "--kind", "ciba", "--inline-enrolment"];
    assert!(directory.world.server.admin(&kind).await.is_err());
}
