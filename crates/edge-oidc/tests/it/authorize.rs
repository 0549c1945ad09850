//! The authorization endpoint.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::changes::{Form, changed, changes, corpus, is_plain, one, runner};
use crate::words::words;
use crate::world::{Goes, REDIRECT, URL, World};

const CORPUS: &str = include_str!("corpus/authorize.txt");
const PATH: &str = "/oidc/authorize";
/// What means something to the endpoint.
const WORDS: &[&str] = words![
    "code_challenge",
    "code_challenge_method",
    "login_hint",
    "prompt",
    "max_age",
    "acr_values",
    "request",
    "request_uri",
    "registration",
    "token",
    "code id_token",
    "profile",
    "S256",
    "plain",
    "fragment",
    "form_post.jwt",
    "none",
    "login",
    "none login",
    "alice",
    "name:alice",
    "https://rp.example/cb?app=1",
    "https://rp.example/cb",
    "//rp.example",
    "https://rp.example/cb?app=1#",
    "https://rp.example/cb?app=1%00",
    "javascript:alert(1)",
    "\u{202e}",
    "-1",
    "99999999999",
    "{\"id_token\":{\"acr\":{\"essential\":true,\"values\":[]}}}",
    "a.b.c",
    "urn:ietf:params:oauth:request_uri:x",
    "urn:countersign:acr:totp",
    "de",
];
/// The errors that an authorization response may have.
const ERRORS: [&str; 11] = [
    "invalid_request",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "invalid_scope",
    "login_required",
    "unmet_authentication_requirements",
    "invalid_request_object",
    "request_uri_not_supported",
    "registration_not_supported",
    "temporarily_unavailable",
];

fn pairs(query: &str) -> Form {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// What an answer's fields must be: an error of this issuer, with the request's state, and the address' own.
fn tells(fields: &Form, sent: &Form, own: &[(&str, &str)]) {
    let error = one(fields, "error").unwrap_or_else(|| panic!("{fields:?}"));
    assert!(ERRORS.contains(&error), "{error}");
    assert_eq!(one(fields, "iss"), Some(URL));
    assert_eq!(one(fields, "state"), one(sent, "state"));
    let known = ["error", "error_description", "iss", "state"];
    let mut rest = fields.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    assert!(rest.all(|(name, value)| own.contains(&(name, value))), "{fields:?}");
}

/// What must hold of a request that led to a sign-in.
fn may_sign_in(sent: &Form) {
    assert!(is_plain(sent), "a name is there twice: {sent:?}");
    assert_eq!(one(sent, "response_type"), Some("code"));
    assert!(one(sent, "scope").is_some_and(|scope| scope.split(' ').any(|one| one == "openid")));
    assert_eq!(one(sent, "code_challenge_method"), Some("S256"));
    assert_eq!(one(sent, "code_challenge").map(str::len), Some(43));
    assert!(one(sent, "prompt").is_none_or(|prompt| !prompt.contains("none")));
    // nobody here can sign, and nothing was pushed
    for name in ["request", "request_uri", "registration", "id_token_hint"] {
        assert_eq!(one(sent, name), None, "{name}");
    }
}

async fn holds(world: &World, sent: &Form, by_form: bool) -> bool {
    let response = match by_form {
        true => world.post(PATH, sent, false).await,
        false => world.get(PATH, sent).await,
    };
    let goes = Goes::of(&response);
    if !matches!(goes, Goes::Nowhere) {
        assert_eq!(one(sent, "client_id"), Some(world.party.as_str()), "{sent:?}");
        assert_eq!(one(sent, "redirect_uri"), Some(REDIRECT), "{sent:?}");
    }
    match goes {
        Goes::SignIn => may_sign_in(sent),
        Goes::To(url) => {
            let (address, query) = url.split_once('?').expect("a query");
            assert_eq!(address, "https://rp.example/cb");
            tells(&pairs(query), sent, &[("app", "1")]);
            assert_ne!(one(sent, "response_mode"), Some("form_post"));
            return false;
        }
        Goes::By(action, fields) => {
            assert_eq!(action, REDIRECT);
            tells(&fields, sent, &[]);
            assert_eq!(one(sent, "response_mode"), Some("form_post"));
            return false;
        }
        Goes::Nowhere => return false,
    }
    true
}

#[test]
fn an_answer_goes_to_the_registered_address_or_nowhere() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::new());
    let forms = corpus(CORPUS, &[("{client}", &world.party), ("{redirect}", REDIRECT)]);
    let signed_in = Cell::new(0);
    let tries = |sent: &Form, by_form| {
        let in_ = runtime.block_on(holds(&world, sent, by_form));
        signed_in.set(signed_in.get() + u32::from(in_));
        in_
    };
    assert!(tries(&forms[0], false) && tries(&forms[0], true), "the first one is good");
    for form in &forms {
        tries(form, false);
        tries(form, true);
    }
    let strategy = (any::<Index>(), changes(WORDS), any::<bool>());
    let mut runner = runner(file!(), 5_000, 100_000);
    let tried = runner.run(&strategy, |(which, changes, by_form)| {
        tries(&changed(which.get(&forms), &changes), by_form);
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(signed_in.get() > 20, "{}: too few are good enough to show anything", signed_in.get());
    println!("counted: {} authorization requests led to a sign-in", signed_in.get());
    assert_eq!(runtime.block_on(world.created()), 0, "nobody is asked before a page is opened");
}
