//! Who is rung, and how every end goes back.

use authenticator_native::{AnswerOutcome, Choice, Decision};
use serde_json::Value;

use super::client::{Party, USER};

#[tokio::test]
async fn a_bare_login_hint_rings_nobody_and_still_signs_in_whoever_opens_the_app() {
    let mut party = Party::new("oidc-silent").await;
    let mut browser = party.browser();
    let page = browser.open(&Party::authorize(&party.params(&[]))).await;
    let number = page.waits();
    assert!(!page.text.contains("Use a code"), "without a first factor only push is offered");
    // somebody else's request rings meanwhile: had the silent one rung, it would have come first
    let asked = crate::child::ask(&party.world.own, USER, "another-browser-session").await;
    let rung = party.phone.prompt().await.unwrap();
    assert_eq!(rung.challenge, asked.challenge());
    let events = party.world.events(&party.world.own_key).await;
    let created =
        |event: &&Value| event["type"] == "challenge_created" && event["mode"] == "silent";
    let silent = events.iter().find(created).expect("a silent challenge");
    let challenge = silent["challenge"].as_str().unwrap().parse().unwrap();
    let card = party.phone.find(challenge).await.unwrap();
    assert!(!card.alert);
    let outcome = party.phone.answer(card.challenge, Choice::approve(&number)).await.unwrap();
    assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
    let form = browser.open(&page.path).await.leads_back();
    assert_eq!(party.exchange(&form.fields["code"]).await.status, 200);
}

/// With `--reveal-users` a browser alone could ask who is enrolled, name by name.
#[tokio::test]
async fn only_a_client_that_says_who_is_meant_is_told_who_exists() {
    let party = Party::with("oidc-reveal", &["--reveal-users"]).await;
    party.world.server.admin(&["user", "create", "--name", "bob"]).await.unwrap();
    for name in ["bob", "nobody"] {
        let front = party.params(&[("login_hint", name)]);
        party.browser().open(&Party::authorize(&front)).await.waits();
        let unnamed = party.params(&[("login_hint", "")]);
        let mut browser = party.browser();
        let page = browser.open(&Party::authorize(&unnamed)).await;
        browser.press(&format!("{}/name", page.path), &[("user", name)]).await.waits();
        let pushed = party.push(&[("login_hint", name)]).await;
        let page = party.browser().open(&pushed).await;
        assert!(page.text.contains("data-state=\"not_enrolled\""), "{}", page.text);
    }
}

#[tokio::test]
async fn whoever_is_named_by_nobody_names_themselves_and_is_not_rung() {
    let mut party = Party::new("oidc-unnamed").await;
    for pushed in [false, true] {
        let changed = [("login_hint", "")];
        let path = match pushed {
            true => party.push(&changed).await,
            false => Party::authorize(&party.params(&changed)),
        };
        let mut browser = party.browser();
        let page = browser.open(&path).await;
        assert!(page.number().is_none() && page.text.contains("data-state=\"unnamed\""));
        let name = format!("{}/name", page.path);
        let bad = browser.press(&name, &[("user", "a\u{202e}b")]).await;
        assert_eq!(bad.reply.status, 422);
        let stranger = party.browser().press(&name, &[("user", "mallory")]).await;
        assert_eq!(stranger.reply.status, 404);
        let page = browser.press(&name, &[("user", USER)]).await;
        let number = page.waits();
        let late = browser.press(&name, &[("user", "mallory")]).await;
        assert!(late.text.contains("<b>alice</b>"), "once");
        let events = party.world.events(&party.world.own_key).await;
        let mut created = events.iter().filter(|event| event["type"] == "challenge_created");
        let last = created.next_back().expect("a challenge");
        assert_eq!(last["mode"], "silent");
        let challenge = last["challenge"].as_str().unwrap().parse().unwrap();
        let card = party.phone.find(challenge).await.unwrap();
        let outcome = party.phone.answer(card.challenge, Choice::approve(&number)).await.unwrap();
        assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
        let form = browser.open(&page.path).await.leads_back();
        assert_eq!(party.exchange(&form.fields["code"]).await.status, 200);
    }
}

#[tokio::test]
async fn an_id_token_of_ours_names_its_user_and_rings() {
    let mut party = Party::new("oidc-hint").await;
    let form = party.signs_in(&[]).await;
    let tokens = party.exchange(&form.fields["code"]).await.json();
    let hint = tokens["id_token"].as_str().unwrap().to_owned();
    let mut browser = party.browser();
    let params = party.params(&[("login_hint", ""), ("id_token_hint", &hint)]);
    let page = browser.open(&Party::authorize(&params)).await;
    assert!(page.text.contains("<b>alice</b>"));
    party.approve(&page).await;
    let form = browser.open(&page.path).await.leads_back();
    assert_eq!(party.exchange(&form.fields["code"]).await.status, 200);
}

#[tokio::test]
async fn every_other_end_goes_back_as_an_error() {
    let mut party = Party::new("oidc-ends").await;
    for (choice, about) in
        [(Some(Choice::Deny), "the person declined"), (None, "the person cancelled")]
    {
        let mut browser = party.browser();
        let page = browser.open(&party.push(&[]).await).await;
        page.waits();
        let page = match choice {
            Some(choice) => {
                let card = party.phone.prompt().await.unwrap();
                party.phone.answer(card.challenge, choice).await.unwrap();
                browser.open(&page.path).await
            }
            None => browser.press(&format!("{}/cancel", page.path), &[]).await,
        };
        let form = page.leads_back();
        assert_eq!(form.fields["error"], "access_denied");
        assert_eq!(form.fields["error_description"], about);
        assert_eq!(form.fields["state"], "a state&?");
        assert_eq!(form.fields["iss"], party.issuer());
        assert!(!form.fields.contains_key("code"));
    }
}

#[tokio::test]
async fn another_browser_never_sees_the_number_or_the_way_back() {
    let mut party = Party::new("oidc-browser").await;
    let mut browser = party.browser();
    let page = browser.open(&party.push(&[]).await).await;
    let stranger = party.browser().open(&page.path).await;
    assert_eq!((stranger.reply.status, stranger.number()), (404, None));
    party.approve(&page).await;
    let stranger = party.browser().open(&page.path).await;
    assert!(stranger.reply.status == 404 && stranger.form().is_none());
    assert!(browser.open(&page.path).await.form().is_some());
}

#[tokio::test]
async fn the_page_speaks_what_the_relying_party_wants() {
    let party = Party::new("oidc-locales").await;
    for (wanted, spoken) in [("fr de-AT en", "de"), ("en de", "en"), ("fr", "en")] {
        let params = party.params(&[("ui_locales", wanted)]);
        let page = party.browser().open(&Party::authorize(&params)).await;
        page.waits();
        assert!(page.text.contains(&format!("<html lang=\"{spoken}\">")), "{wanted}");
    }
    let pushed = party.push(&[("ui_locales", "de")]).await;
    let page = party.browser().open(&pushed).await;
    assert!(page.text.contains("<html lang=\"de\">"));
}
