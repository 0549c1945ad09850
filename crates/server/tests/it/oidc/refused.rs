//! What is wrong with a request, and where that is said.

use super::client::{Party, REDIRECT, refused};

/// Nothing was created for anybody.
pub(crate) async fn nobody_asked(party: &Party) {
    let events = party.world.events(&party.world.own_key).await;
    assert!(events.iter().all(|event| event["type"] != "challenge_created"), "{events:?}");
}

#[tokio::test]
async fn a_bad_client_or_address_ends_on_a_page_and_goes_nowhere() {
    let party = Party::new("oidc-page").await;
    let shop = party.world.server.admin(&["integration", "show", "shop"]).await.unwrap();
    let shop = shop["integration"].as_str().unwrap();
    let long = format!("https://rp.example/{}", "a".repeat(3000));
    let rows: &[&[(&str, &str)]] = &[
        &[("client_id", "")],
        &[("client_id", "int_nobody")],
        &[("client_id", shop)],
        &[("redirect_uri", "")],
        &[("redirect_uri", "https://rp.example/cb")],
        &[("redirect_uri", "https://rp.example/cb?app=1&x=2")],
        &[("redirect_uri", "https://rp.example/cb?app=1/")],
        &[("redirect_uri", "https://RP.example/cb?app=1")],
        &[("redirect_uri", "http://rp.example/cb?app=1")],
        &[("redirect_uri", "https://rp.example.evil.example/cb?app=1")],
        &[("redirect_uri", "https://rp.example/cb/../cb?app=1")],
        &[("redirect_uri", "https://rp.example/cb?app=1#f")],
        &[("redirect_uri", "javascript:alert(1)")],
        &[("redirect_uri", "//evil.example")],
        &[("redirect_uri", &long)],
        &[("request_uri", "urn:ietf:params:oauth:request_uri:nothing")],
        &[("redirect_uri", ""), ("request_uri", "https://rp.example/request.jwt")],
        &[("redirect_uri", ""), ("request", "x.y.z")],
    ];
    for changed in rows {
        for by_form in [false, true] {
            let params = party.params(changed);
            let mut browser = party.browser();
            let page = if by_form {
                let pairs: Vec<(&str, &str)> =
                    params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                browser.post("/oidc/authorize", &pairs).await
            } else {
                browser.open(&Party::authorize(&params)).await
            };
            assert_eq!(page.reply.status, 400, "{changed:?} {}", page.text);
            assert!(page.location().is_none() && page.form().is_none(), "{changed:?}");
            assert!(
                page.text.contains("This request can&#39;t be answered")
                    || page.text.contains("can't be answered")
            );
            assert!(page.reply.headers.contains_key("content-security-policy"));
        }
    }
    // twice is neither
    let twice = format!("{}&redirect_uri=x", Party::authorize(&party.params(&[])));
    let page = party.browser().open(&twice).await;
    assert!(page.reply.status == 400 && page.location().is_none());
    nobody_asked(&party).await;
}

#[tokio::test]
async fn everything_else_goes_back_by_its_own_error() {
    let party = Party::new("oidc-back").await;
    let long = "x".repeat(3000);
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("response_type", "")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "id_token")], "unsupported_response_type"),
        (&[("response_type", "code id_token")], "unsupported_response_type"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("scope", "")], "invalid_scope"),
        (&[("scope", "profile")], "invalid_scope"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("prompt", "none")], "login_required"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("prompt", "whatever")], "invalid_request"),
        (&[("max_age", "-1")], "invalid_request"),
        (&[("max_age", "soon")], "invalid_request"),
        (&[("login_hint", "a\u{202e}b")], "invalid_request"),
        (&[("login_hint", &long)], "invalid_request"),
        (&[("id_token_hint", "x.y.z")], "invalid_request"),
        (&[("claims", "[]")], "invalid_request"),
        (&[("claims", "7")], "invalid_request"),
        (&[("claims", "{\"id_token\":[]}")], "invalid_request"),
        (&[("claims", "{\"id_token\":{\"acr\":\"x\"}}")], "invalid_request"),
        (
            &[("claims", "{\"id_token\":{\"acr\":{\"essential\":true,\"values\":[\"phr\"]}}}")],
            "unmet_authentication_requirements",
        ),
        (&[("registration", "{}")], "registration_not_supported"),
        (&[("request_uri", "https://rp.example/request.jwt")], "request_uri_not_supported"),
        (&[("request", "x.y.z")], "invalid_request_object"),
    ];
    for (changed, error) in rows {
        let page = party.browser().open(&Party::authorize(&party.params(changed))).await;
        assert_eq!(page.reply.status, 303, "{changed:?} {}", page.text);
        let (uri, answer) = page.sent_back();
        assert_eq!(uri, "https://rp.example/cb");
        assert_eq!(answer["app"], "1");
        assert_eq!(answer["error"], *error, "{changed:?}");
        assert_eq!(
            (answer["state"].as_str(), answer["iss"].as_str()),
            ("a state&?", party.issuer())
        );
    }
    let twice = format!("{}&nonce=x", Party::authorize(&party.params(&[])));
    let (_, answer) = party.browser().open(&twice).await.sent_back();
    assert_eq!(answer["error"], "invalid_request");
    // by a form, if that was asked for
    let params = party.params(&[("response_mode", "form_post"), ("prompt", "none")]);
    let form = party.browser().open(&Party::authorize(&params)).await.leads_back();
    assert_eq!((form.method.as_str(), form.action.as_str()), ("post", REDIRECT));
    assert_eq!(form.fields["error"], "login_required");
    nobody_asked(&party).await;
}

#[tokio::test]
async fn a_pushed_request_is_judged_at_once_and_used_once() {
    let party = Party::new("oidc-par").await;
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("redirect_uri", "https://evil.example/")], "invalid_request"),
        (&[("redirect_uri", "")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("scope", "profile")], "invalid_scope"),
        (&[("request_uri", "urn:ietf:params:oauth:request_uri:x")], "invalid_request"),
        (&[("request", "x.y.z")], "invalid_request_object"),
        (&[("login_hint", "a\u{202e}b")], "invalid_request"),
    ];
    for (changed, error) in rows {
        let params = party.params(changed);
        let pairs: Vec<(&str, &str)> =
            params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        refused(&party.post("/oidc/par", &pairs, true).await, 400, error);
    }
    refused(&party.post("/oidc/par", &[], false).await, 401, "invalid_client");
    let pushed = party.push(&[]).await;
    let other = pushed.replacen(&party.id, "int_other", 1);
    assert_eq!(party.browser().open(&other).await.reply.status, 400);
    party.browser().open(&pushed).await.waits();
    let again = party.browser().open(&pushed).await;
    assert!(again.reply.status == 400 && again.location().is_none());
    let none = party.push(&[("prompt", "none")]).await;
    let (_, answer) = party.browser().open(&none).await.sent_back();
    assert_eq!(answer["error"], "login_required");
}
