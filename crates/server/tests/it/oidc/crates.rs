//! Relying parties that nobody here wrote, from crates.io: openidconnect and openid-client.

use std::collections::HashMap;
use std::convert::Infallible;

use authenticator_native::{AnswerOutcome, Choice, Decision};
use openid_client::client::Client;
use openid_client::config::{ClientAuth, JwtAssertionOptions, OpenIdClientConfiguration};
use openid_client::defaults::JwsOnlyCrypto;
use openid_client::errors::OpenIdError;
use openid_client::types::http_client::{
    HttpMethod, HttpRequest, HttpResponse, OidcHttpClient, RequestBody,
};
use openid_client::types::{
    AuthorizationCodeGrantParameters, AuthorizationCodeGrantValidationParameters,
    AuthorizationParameters, CibaAuthRequest, ClientMetadata, ImplicitGrantParameters,
    IssuerMetadata, NonceCheck, OpenIdResponseType, StateCheck, UserinfoTokenLocation,
};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreIdToken, CoreProviderMetadata,
    CoreUserInfoClaims,
};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl, LoginHint, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, RedirectUrl, RequestTokenError, Scope,
    TokenResponse as _,
};
use serde_json::{Value, json};

use super::client::{Party, REDIRECT, USER};
use super::external::{newest, private_jwk};
use crate::browser::{Browser, Form, encode};
use crate::ciba::client::CLAIM;
use crate::entra::directory::{Directory, PATH};
use crate::rest::{Reply, Rest};

/// The sockets of both: neither brings its own. They ask the server under test and nobody else.
#[derive(Clone)]
struct Wire {
    rest: Rest,
    base: String,
}

impl Wire {
    fn of(party: &Party) -> Self {
        Self { rest: party.world.rest.clone(), base: party.issuer().to_owned() }
    }

    fn path<'a>(&self, url: &'a str) -> &'a str {
        url.strip_prefix(&self.base).unwrap_or_else(|| panic!("{url} is another server's"))
    }

    async fn send(&self, request: http::request::Builder, url: &str, body: Vec<u8>) -> Reply {
        self.rest.raw(request, self.path(url), body.into()).await
    }

    async fn for_openidconnect(
        self,
        request: openidconnect::HttpRequest,
    ) -> Result<openidconnect::HttpResponse, Infallible> {
        let (parts, body) = request.into_parts();
        let mut builder = http::Request::builder().method(parts.method);
        builder.headers_mut().unwrap().extend(parts.headers);
        let reply = self.send(builder, &parts.uri.to_string(), body).await;
        let mut response = http::Response::new(reply.body.to_vec());
        *response.status_mut() = reply.status.try_into().unwrap();
        *response.headers_mut() = reply.headers;
        Ok(response)
    }
}

impl OidcHttpClient for Wire {
    async fn request(&self, request: HttpRequest) -> Result<HttpResponse, String> {
        let mut builder = http::Request::builder().method(format!("{:?}", request.method).as_str());
        for (name, values) in &request.headers {
            for value in values {
                builder = builder.header(name, value);
            }
        }
        let body = request.body.as_ref().and_then(RequestBody::body_string).unwrap_or_default();
        let reply = self.send(builder, request.url.as_str(), body.into_bytes()).await;
        let mut headers: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in &reply.headers {
            let value = value.to_str().unwrap().to_owned();
            headers.entry(name.to_string()).or_default().push(value);
        }
        let body = Some(String::from_utf8(reply.body.to_vec()).unwrap());
        // this version takes the answer to a pushed request (RFC 9126 §2.2) for a failure
        let status_code = if reply.status == 201 { 200 } else { reply.status };
        Ok(HttpResponse { status_code, body, headers })
    }
}

/// What a relying party is sent by the browser that comes back to it.
fn callback(form: &Form) -> HttpRequest {
    let pairs: Vec<(&str, &str)> =
        form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut request = HttpRequest::new();
    if form.method == "post" {
        request.method = HttpMethod::POST;
        request.url = form.action.parse().unwrap();
        request.body = Some(RequestBody::Form(form.fields.clone().into_iter().collect()));
    } else {
        request.url = format!("{}?{}", form.action, encode(&pairs)).parse().unwrap();
    }
    request
}

/// What openid-client knows of the server and of itself.
async fn openid_client(party: &Party, auth: ClientAuth) -> OpenIdClientConfiguration {
    let wire = Wire::of(party);
    // this version calls CIBA's mode poll "pull", and reads no document that says it (Entra's it discovers itself)
    let path = "/.well-known/openid-configuration";
    let mut issuer = party.world.rest.send("", "GET", path, &Value::Null).await.json();
    issuer["backchannel_token_delivery_modes_supported"].take();
    let issuer: IssuerMetadata = serde_json::from_value(issuer).unwrap();
    let keys = Client::fetch_issuer_jwks_async(&issuer, &wire).await.unwrap();
    let client = ClientMetadata { client_id: party.id.clone(), ..ClientMetadata::default() };
    OpenIdClientConfiguration::new(issuer, keys, client, auth)
}

/// The client's own key, which signs with ES256.
fn own_key(party: &Party) -> ClientAuth {
    let jwk = private_jwk(&party.key).to_string();
    let es256 =
        JwtAssertionOptions { signing_algorithm: Some("ES256".to_owned()), ..Default::default() };
    ClientAuth::PrivateKeyJwt { jwk: jwk.as_str().try_into().unwrap(), options: es256 }
}

#[track_caller]
fn is_refused(result: Result<openid_client::token_set::TokenSet, OpenIdError>, error: &str) {
    match result {
        Err(OpenIdError::OPError(body)) => assert_eq!(body.error, error),
        other => panic!("{other:?}"),
    }
}

/// Where a browser goes with what was pushed.
async fn pushed(
    config: &OpenIdClientConfiguration,
    wire: &Wire,
    wanted: AuthorizationParameters,
) -> String {
    let crypto = &JwsOnlyCrypto;
    let pushed =
        Client::pushed_authorization_request_async(config, crypto, wire, wanted, None).await;
    let front = AuthorizationParameters::default().request_uri(pushed.unwrap().request_uri);
    Client::authorization_url(config, front).unwrap()
}

#[tokio::test]
async fn openid_client_pushes_and_signs_in() {
    let mut party = Party::new("crate-openid-client").await;
    let wire = Wire::of(&party);
    let secret = ClientAuth::client_secret_basic(&party.secret);
    for (auth, mode) in [(secret, "query"), (own_key(&party), "form_post")] {
        let config = openid_client(&party, auth).await;
        let mut wanted = AuthorizationParameters::default()
            .authorization_code_flow()
            .redirect_uri(REDIRECT)
            .response_mode(mode)
            .scope("openid profile")
            .login_hint(USER);
        let pkce = wanted.generate_pkce();
        let (nonce, state) = (wanted.nonce(), wanted.state());
        let url = pushed(&config, &wire, wanted).await;

        let mut browser = party.browser();
        let page = browser.open(wire.path(&url)).await;
        party.approve(&page).await;
        let form = browser.open(&page.path).await.leads_back();
        let exchange = async || {
            let back = AuthorizationCodeGrantParameters::new(
                REDIRECT,
                StateCheck::Expected(state.clone()),
            )
            .pkce_code_verifier(&pkce.verifier);
            let callback = callback(&form);
            Client::authorization_code_grant_async(
                &config,
                &JwsOnlyCrypto,
                &wire,
                callback,
                back,
                None,
            )
            .await
        };
        let tokens = exchange().await.unwrap();
        let checked = AuthorizationCodeGrantValidationParameters::default()
            .nonce_check(NonceCheck::Nonce(nonce))
            .expect_id_token(true);
        let tokens = Client::validate_authorization_code_grant_async(
            &config,
            &JwsOnlyCrypto,
            tokens,
            checked,
        );
        let tokens = tokens.await.unwrap();
        let claims = tokens.claims().unwrap();
        assert_eq!(claims["amr"], json!(["swk", "pop", "user"]));
        let info = Client::userinfo_async(
            &config,
            &JwsOnlyCrypto,
            &wire,
            &tokens,
            UserinfoTokenLocation::Header,
            None,
            None,
            None,
        );
        let info = info.await.unwrap();
        assert_eq!((&info["sub"], &info["preferred_username"]), (&claims["sub"], &json!(USER)));
        is_refused(exchange().await, "invalid_grant");
    }
}

#[tokio::test]
async fn openid_client_asks_without_a_browser() {
    let mut party = Party::ciba("crate-ciba", &[]).await;
    let wire = Wire::of(&party);
    let secret = ClientAuth::client_secret_basic(&party.secret);
    for auth in [secret, own_key(&party)] {
        let config = openid_client(&party, auth).await;
        let request = CibaAuthRequest::new()
            .add_scope("openid")
            .set_login_hint(USER)
            .set_binding_message("W4SCT")
            .set_requested_expiry(120);
        let given =
            Client::ciba_authentication_async(&config, &JwsOnlyCrypto, &wire, request, None, None);
        let given = given.await.unwrap();
        let fetch = async || {
            let id = &given.auth_req_id;
            Client::ciba_grant_async(&config, &JwsOnlyCrypto, &wire, id, None, None).await
        };
        is_refused(fetch().await, "authorization_pending");
        let card = party.phone.prompt().await.unwrap();
        let number = given.others["number"].as_str().unwrap();
        let outcome = party.phone.answer(card.challenge, Choice::approve(number)).await.unwrap();
        assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
        let claims = fetch().await.unwrap().claims().unwrap();
        assert_eq!(claims[CLAIM], given.auth_req_id);
        assert_eq!(claims["preferred_username"], USER);
        is_refused(fetch().await, "invalid_grant");
    }
}

#[tokio::test]
async fn openid_client_in_entras_place_takes_the_token() {
    let mut directory = Directory::linked("crate-entra").await;
    let base = directory.world.server.url.clone();
    let wire = Wire { rest: directory.world.rest.clone(), base };
    let issuer = format!("{}/entra", wire.base);
    let issuer = Client::discover_oidc_async(&issuer, &wire).await.unwrap();
    let keys = Client::fetch_issuer_jwks_async(&issuer, &wire).await.unwrap();
    let client = ClientMetadata { client_id: directory.client.clone(), ..Default::default() };
    let mut config = OpenIdClientConfiguration::new(issuer, keys, client, ClientAuth::None);
    config.response_type = OpenIdResponseType::Implicit;
    let fields = directory.fields(&[]);
    let sent = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
    let pairs: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut browser = directory.browser();
    let page = browser.post(PATH, &pairs).await;
    directory.approve(&page).await;
    let form = browser.open(&page.path).await.leads_back();
    let checked = ImplicitGrantParameters::new(StateCheck::Expected(sent("state")))
        .nonce_check(NonceCheck::Nonce(sent("nonce")))
        .expect_id_token(true);
    let tokens =
        Client::implicit_authentication_async(&config, &JwsOnlyCrypto, callback(&form), checked);
    let claims = tokens.await.unwrap().claims().unwrap();
    assert_eq!(claims["sub"], directory.fake.claims()["sub"]);
    assert_eq!(
        (&claims["acr"], &claims["amr"]),
        (&json!("possessionorinherence"), &json!(["swk"]))
    );
}

/// Signs in with openidconnect, which pushes nothing: whoever isn't named by a hint of ours opens the app.
async fn openidconnect_signs_in(party: &mut Party, hint: Option<&CoreIdToken>) -> CoreIdToken {
    let wire = Wire::of(party);
    let send = |request| wire.clone().for_openidconnect(request);
    let issuer = IssuerUrl::new(party.issuer().to_owned()).unwrap();
    let metadata = CoreProviderMetadata::discover_async(issuer, &send).await.unwrap();
    let client = CoreClient::from_provider_metadata(
        metadata,
        ClientId::new(party.id.clone()),
        Some(ClientSecret::new(party.secret.clone())),
    )
    .set_redirect_uri(RedirectUrl::new(REDIRECT.to_owned()).unwrap());
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let mut request = client
        .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("profile".to_owned()))
        .set_pkce_challenge(challenge);
    request = match hint {
        Some(hint) => request.set_id_token_hint(hint),
        None => request.set_login_hint(LoginHint::new(USER.to_owned())),
    };
    let (url, state, nonce) = request.url();

    let mut browser = Browser::new(party.issuer());
    let page = browser.open(wire.path(url.as_str())).await;
    if hint.is_some() {
        party.approve(&page).await;
    } else {
        let number = page.waits();
        let card = party.phone.find(newest(&party.world).await).await.unwrap();
        let outcome = party.phone.answer(card.challenge, Choice::approve(&number)).await.unwrap();
        assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
    }
    let form = browser.open(&page.path).await.leads_back();
    assert_eq!(&form.fields["state"], state.secret());
    let code = || AuthorizationCode::new(form.fields["code"].clone());
    let exchange = client.exchange_code(code()).unwrap().set_pkce_verifier(verifier);
    let tokens = exchange.request_async(&send).await.unwrap();
    let id_token = tokens.id_token().expect("an ID token").clone();
    let claims = id_token.claims(&client.id_token_verifier(), &nonce).unwrap();
    let amr: Vec<&str> =
        claims.auth_method_refs().unwrap().iter().map(|amr| amr.as_str()).collect();
    assert_eq!(amr, ["swk", "pop", "user"]);
    let subject = claims.subject().clone();
    let info = client.user_info(tokens.access_token().clone(), Some(subject)).unwrap();
    let info: CoreUserInfoClaims = info.request_async(&send).await.unwrap();
    assert_eq!(info.preferred_username().unwrap().as_str(), USER);
    let again = client.exchange_code(code()).unwrap().request_async(&send).await;
    let Err(RequestTokenError::ServerResponse(error)) = again else { panic!("{again:?}") };
    // it comes without a verifier; with one it is refused as used (codes.rs)
    assert_eq!(error.error(), &CoreErrorResponseType::InvalidRequest);
    id_token
}

#[tokio::test]
async fn openidconnect_signs_in_and_names_its_user_by_the_token_that_it_got() {
    let mut party = Party::new("crate-openidconnect").await;
    let token = openidconnect_signs_in(&mut party, None).await;
    openidconnect_signs_in(&mut party, Some(&token)).await;
}
