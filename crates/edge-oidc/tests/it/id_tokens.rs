//! ID tokens of ours that come back as hints.

use domain::challenge::Methods;
use serde_json::{Value, json};

use crate::changes::Form;
use crate::world::{Goes, REDIRECT, URL, World};

const AUTHORIZE: &str = "/oidc/authorize";
const ASK: &str = "/oidc/bc-authorize";
const DAY_S: u64 = 24 * 60 * 60;

fn asks(world: &World, hint: &str) -> Form {
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let fields = [
        ("client_id", world.party.as_str()),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("scope", "openid"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
        ("id_token_hint", hint),
    ];
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Claims that aren't those of an ID token of ours for `client`, each wrong in one thing.
fn wrong(client: &str, other: &str) -> Vec<(Value, &'static str)> {
    vec![
        (json!({"aud": other}), "another client's"),
        (json!({"aud": null}), "nobody's"),
        (json!({"aud": format!("{client}x")}), "a longer name"),
        (json!({"iss": format!("{URL}/entra")}), "for Entra"),
        (json!({"iss": format!("{URL}/")}), "a slash more"),
        (json!({"iss": null}), "of no issuer"),
        (json!({"sub": "alice"}), "no id"),
        (json!({"sub": null}), "about nobody"),
    ]
}

#[tokio::test]
async fn whom_a_hint_names_is_rung_for_a_day_though_it_has_expired() {
    let world = World::new().await;
    let now = world.now_s();
    // where nothing rings, a push that waits in the app is all that is offered
    let rows = [
        (0, Methods::ALL),
        (3600, Methods::ALL),
        (DAY_S - 1, Methods::ALL),
        (DAY_S, Methods::PUSH),
        (30 * DAY_S, Methods::PUSH),
    ];
    for (ago, methods) in rows {
        let times = json!({"iat": now - ago, "exp": now - ago + 300});
        let hint = world.id_token(&world.party, times);
        let response = world.get(AUTHORIZE, &asks(&world, &hint)).await;
        assert!(matches!(Goes::of(&response), Goes::SignIn), "{ago}");
        assert_eq!(world.offered(&response).await, methods, "{ago}");
    }
}

#[tokio::test]
async fn a_hint_that_is_not_ours_for_this_client_is_refused() {
    let world = World::new().await;
    let mut bad: Vec<(String, &str)> = wrong(&world.party, &world.till)
        .into_iter()
        .map(|(changed, what)| (world.id_token(&world.party, changed), what))
        .collect();
    let good = world.id_token(&world.party, json!({}));
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    bad.push((format!("{signed}."), "unsigned"));
    for (hint, what) in &bad {
        let response = world.get(AUTHORIZE, &asks(&world, hint)).await;
        let Goes::To(url) = Goes::of(&response) else { panic!("{what}") };
        assert!(
            url.starts_with("https://rp.example/cb?app=1&error=invalid_request"),
            "{what} {url}"
        );
    }
    assert!(matches!(Goes::of(&world.get(AUTHORIZE, &asks(&world, &good)).await), Goes::SignIn));
    assert_eq!(world.created().await, 0);
}

#[tokio::test]
async fn a_client_that_asks_without_a_browser_may_name_by_a_hint_that_has_expired() {
    let world = World::new().await;
    let now = world.now_s();
    let ask = async |hint: &str| {
        let fields = [("scope", "openid"), ("id_token_hint", hint)];
        let form = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        world.post(ASK, &form, true).await.status().as_u16()
    };
    for (changed, what) in wrong(&world.till, &world.party) {
        assert_eq!(ask(&world.id_token(&world.till, changed)).await, 400, "{what}");
    }
    assert_eq!(world.created().await, 0);
    for ago in [0, 3600, 30 * DAY_S] {
        let times = json!({"iat": now - ago, "exp": now - ago + 300});
        assert_eq!(ask(&world.id_token(&world.till, times)).await, 200, "{ago}");
    }
    assert_eq!(world.created().await, 3);
}

/// OpenID Connect Core §3.1.2.1: what isn't understood is ignored.
#[tokio::test]
async fn a_parameter_that_nobody_knows_changes_nothing() {
    let world = World::new().await;
    let hint = world.id_token(&world.party, json!({}));
    let mut form = asks(&world, &hint);
    form.push(("extra".to_owned(), "foobar".to_owned()));
    assert!(matches!(Goes::of(&world.get(AUTHORIZE, &form).await), Goes::SignIn));
    assert!(matches!(Goes::of(&world.post(AUTHORIZE, &form, false).await), Goes::SignIn));
}
