//! Signed request objects and assertions.

use serde_json::{Value, json};

use super::client::{Party, REDIRECT, VERIFIER, now_s, refused};

impl Party {
    /// The claims of a good request object, with some changed or (null) left out.
    fn object(&self, changed: Value) -> Value {
        let now = now_s();
        let mut claims = json!({
            "iss": self.id, "aud": self.issuer(), "exp": now + 60, "iat": now, "nbf": now,
        });
        for (name, value) in self.params(&[]) {
            claims[name] = Value::String(value);
        }
        change(&mut claims, changed);
        claims
    }

    fn assertion(&self, changed: Value) -> Value {
        let now = now_s();
        let mut claims = json!({
            "iss": self.id, "sub": self.id, "aud": self.issuer(), "exp": now + 60, "iat": now, "jti": "1",
        });
        change(&mut claims, changed);
        claims
    }
}

/// RFC 9126 §2: the address of the endpoint itself is one of our names.
#[tokio::test]
async fn an_assertion_may_be_made_out_to_where_requests_are_pushed() {
    let party = Party::new("oidc-par-audience").await;
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let params = party.params(&[]);
    let push = async |aud: String, jti: &str| {
        let assertion = party.sign(&party.assertion(json!({"aud": aud, "jti": jti})));
        let mut pairs: Vec<(&str, &str)> =
            params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.extend([("client_assertion_type", kind), ("client_assertion", &assertion)]);
        party.post("/oidc/par", &pairs, false).await
    };
    let issuer = party.issuer();
    for (nth, name) in ["/oidc/par", "/oidc/token", ""].into_iter().enumerate() {
        let reply = push(format!("{issuer}{name}"), &format!("jti {nth}")).await;
        assert_eq!(reply.status, 201, "{name} {reply:?}");
    }
    for name in ["/oidc/par/", "/oidc/authorize", "/entra"] {
        refused(&push(format!("{issuer}{name}"), name).await, 401, "invalid_client");
    }
}

fn change(claims: &mut Value, changed: Value) {
    let members = claims.as_object_mut().unwrap();
    let Value::Object(changed) = changed else { return };
    for (name, value) in changed {
        if value.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
}

#[tokio::test]
async fn a_signed_request_rings_and_is_used_once() {
    let mut party = Party::new("oidc-signed").await;
    let object = party.sign(&party.object(json!({})));
    let front = vec![
        ("client_id".to_owned(), party.id.clone()),
        // what stands beside it counts for nothing
        ("login_hint".to_owned(), "mallory".to_owned()),
        ("request".to_owned(), object),
    ];
    let mut browser = party.browser();
    let page = browser.open(&Party::authorize(&front)).await;
    assert!(page.text.contains("<b>alice</b>"));
    party.approve(&page).await;
    let form = browser.open(&page.path).await.leads_back();
    assert_eq!(party.exchange(&form.fields["code"]).await.status, 200);
    let again = party.browser().open(&Party::authorize(&front)).await;
    assert!(again.reply.status == 400 && again.location().is_none());
}

#[tokio::test]
async fn a_request_object_that_does_not_hold_is_refused() {
    let party = Party::new("oidc-object").await;
    let now = now_s();
    let rows = [
        json!({"iss": "int_other"}),
        json!({"iss": null}),
        json!({"client_id": "int_other"}),
        json!({"client_id": null}),
        json!({"aud": "https://other.example"}),
        json!({"aud": null}),
        json!({"exp": now - 1}),
        json!({"exp": now + 3601}),
        json!({"exp": null}),
        json!({"exp": "soon"}),
        json!({"nbf": now + 300}),
        json!({"iat": now + 300}),
        json!({"request": "x.y.z"}),
        json!({"request_uri": "urn:ietf:params:oauth:request_uri:x"}),
        json!({"state": ["x"]}),
    ];
    let mut bad: Vec<String> = rows.into_iter().map(|row| party.sign(&party.object(row))).collect();
    let good = party.sign(&party.object(json!({})));
    let (signed, _) = good.rsplit_once('.').unwrap();
    bad.push(format!("{signed}."));
    let forged = party.forged(&party.object(json!({})));
    bad.extend(forged.into_iter().map(|(_, object)| object));
    for object in bad {
        let front = [
            ("client_id", party.id.as_str()),
            ("redirect_uri", REDIRECT),
            ("state", "s"),
            ("request", &object),
        ];
        let front: Vec<(String, String)> =
            front.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let page = party.browser().open(&Party::authorize(&front)).await;
        let (_, answer) = page.sent_back();
        assert_eq!(answer["error"], "invalid_request_object", "{object}");
    }
    let events = party.world.events(&party.world.own_key).await;
    assert!(events.iter().all(|event| event["type"] != "challenge_created"));
}

#[tokio::test]
async fn an_assertion_proves_the_client_once() {
    let mut party = Party::new("oidc-assertion").await;
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let form = party.signs_in(&[]).await;
    let code = form.fields["code"].clone();
    let send = async |assertion: &str| {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
            ("client_assertion_type", kind),
            ("client_assertion", assertion),
        ];
        party.post("/oidc/token", &fields, false).await
    };
    let now = now_s();
    for row in [
        json!({"iss": "int_other"}),
        json!({"sub": "int_other"}),
        json!({"aud": "https://other.example"}),
        json!({"aud": null}),
        json!({"exp": now - 1}),
        json!({"exp": now + 3600}),
        json!({"exp": null}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"nbf": now + 300}),
    ] {
        let assertion = party.sign(&party.assertion(row.clone()));
        let reply = send(&assertion).await;
        refused(&reply, 401, "invalid_client");
    }
    for (what, assertion) in party.forged(&party.assertion(json!({}))) {
        let reply = send(&assertion).await;
        assert_eq!(reply.status, 401, "{what}");
        refused(&reply, 401, "invalid_client");
    }
    let assertion = party.sign(&party.assertion(json!({"aud": [party.issuer(), "https://x"]})));
    assert_eq!(send(&assertion).await.status, 200);
    refused(&send(&assertion).await, 401, "invalid_client");
    let both = [("client_assertion_type", kind), ("client_assertion", "x.y.z")];
    refused(&party.post("/oidc/token", &both, true).await, 400, "invalid_request");
}

#[tokio::test]
async fn a_restart_forgets_what_was_given_out_and_not_what_was_used() {
    let mut party = Party::new("oidc-restart").await;
    let first = party.signs_in(&[]).await;
    let tokens = party.exchange(&first.fields["code"]).await.json();
    let access = tokens["access_token"].as_str().unwrap().to_owned();
    let second = party.signs_in(&[]).await;
    let pushed = party.push(&[]).await;
    let object = party.sign(&party.object(json!({})));
    let front = [("client_id".to_owned(), party.id.clone()), ("request".to_owned(), object)];
    let mut browser = party.browser();
    let page = browser.open(&Party::authorize(&front)).await;
    page.waits();
    party.phone.prompt().await.unwrap();
    browser.press(&format!("{}/cancel", page.path), &[]).await.leads_back();
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let assertion = party.sign(&party.assertion(json!({})));
    let proof = [("client_assertion_type", kind), ("client_assertion", &assertion)];
    refused(&party.post("/oidc/token", &proof, false).await, 400, "invalid_request");

    party.world.restart().await;
    refused(&party.exchange(&second.fields["code"]).await, 400, "invalid_grant");
    assert_eq!(party.userinfo(&access).await.status, 401);
    assert_eq!(party.browser().open(&pushed).await.reply.status, 400);
    assert_eq!(browser.open(&page.path).await.reply.status, 404);
    let again = party.browser().open(&Party::authorize(&front)).await;
    assert!(again.reply.status == 400 && again.location().is_none());
    refused(&party.post("/oidc/token", &proof, false).await, 401, "invalid_client");
}
