//! Where Entra sends browsers: everything is checked, in order, before anybody is asked.

use std::sync::Arc;

use app::FirstFactor;
use app::sign_ins::{Start, Whom};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use data_encoding::BASE64URL_NOPAD;
use domain::directory::Integration;
use domain::protocol::{EntraClient, Protocol};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_limits::HostedPage;
use statement::{IntegrationId, Timestamp, sha256};

use super::asked::Asked;
use super::hint::{BadHint, Hint};
use super::returning::{ANSWER_WITHIN, BackTo, No, Returning};
use super::{ANSWERS, Entra};
use crate::authorize::form;
use crate::grants::Secret;
use crate::params::Params;

/// Longest request id of Entra's that is logged.
const MAX_REQUEST_ID: usize = 64;
/// Names the browser that a hint came with, for a reload.
const COOKIE_NAME: &str = "countersign-entra";

/// Why a browser doesn't come to a sign-in.
enum Refused {
    /// It goes nowhere.
    Page(&'static str),
    /// Entra is told, and the log says why.
    Back(BackTo, No, String),
}

/// Whom a request comes from, once that is certain.
struct Sender {
    integration: Arc<Integration>,
    client: EntraClient,
    back: BackTo,
}

pub(super) async fn by_form(
    State(entra): State<Entra>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let params = match form(&headers, body).await {
        Ok(params) => params,
        Err(page) => return page.into_response(),
    };
    let client_request_id = params.get("client-request-id").unwrap_or_default();
    let client_request_id = loggable(client_request_id);
    let mut call = (entra.0.call)();
    let browser = Secret::draw(&mut *call.rng);
    let browser = cookie(&headers, entra.0.secure_cookies).unwrap_or(browser);
    match start(&entra, &mut call, &params, (&browser, &client_request_id)).await {
        Ok(path) => {
            let mut response = Redirect::to(&path).into_response();
            let set = set_cookie(entra.0.secure_cookies, &browser);
            response.headers_mut().append(SET_COOKIE, set);
            response
        }
        Err(Refused::Page(why)) => {
            tracing::info!(client_request_id, why, "a sign-in from Entra is not answered");
            HostedPage::Refused { status: StatusCode::BAD_REQUEST, why }.into_response()
        }
        Err(Refused::Back(back, no, why)) => {
            tracing::info!(client_request_id, why, "a sign-in from Entra is refused");
            HostedPage::Leave(back.no(no)).into_response()
        }
    }
}

/// What of a request id may stand in a log.
fn loggable(id: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    id.chars().filter(plain).take(MAX_REQUEST_ID).collect()
}

async fn start(
    entra: &Entra,
    call: &mut app::Call,
    params: &Params,
    (browser, client_request_id): (&Secret, &str),
) -> Result<String, Refused> {
    let sender = sender(entra, params).await?;
    let denied = |why: String| Refused::Back(sender.back.clone(), No::Denied, why);
    check_kind(params).map_err(|why| denied(why.to_owned()))?;
    let token = params.get("id_token_hint").ok_or_else(|| denied("no id_token_hint".into()))?;
    let hint = Hint::read(&entra.0.keys, &sender.client, call.now, token).await;
    let hint = hint.map_err(|bad| match bad {
        BadHint::Wrong(why) => denied(why.to_owned()),
        BadHint::Unknown(why) => Refused::Back(sender.back.clone(), No::Unavailable, why),
    })?;
    let unavailable =
        |error: app::Error| Refused::Back(sender.back.clone(), No::Unavailable, error.to_string());
    let used = used(sender.integration.id, token);
    let first = first_use(entra, &sender, params, &used, browser).await.map_err(unavailable)?;
    if !first.ours {
        return Err(denied("the hint, or its nonce, was used before".to_owned()));
    }
    if let Some(path) = entra.0.pages.with(call.now, &used, |path| path.clone()) {
        return Ok(path);
    }
    if !first.fresh {
        return Err(denied("the hint was used before, and its sign-in is over".to_owned()));
    }
    let asked = Asked::read(params.get("claims")).map_err(|why| denied(why.to_owned()))?;
    let methods = asked.methods.and(sender.integration.methods);
    if methods.is_empty() {
        return Err(denied("no way to pass that satisfies is allowed here".to_owned()));
    }
    let returning = Returning {
        app: Arc::clone(&entra.0.app),
        issuer: entra.issuer(),
        back: sender.back.clone(),
        audience: sender.integration.id.to_string(),
        sub: hint.sub.clone(),
        nonce: params.get("nonce").map(str::to_owned),
        asked,
        began: call.now,
        client_request_id: client_request_id.to_owned(),
    };
    let start = Start {
        integration: sender.integration.id,
        whom: Whom::Proven { subject: hint.subject(), may_enrol: sender.client.inline_enrolment },
        called: hint.called.clone(),
        first_factor: Some(FirstFactor {
            method: "entra".to_owned(),
            at: checked_at(&hint, call.now),
        }),
        purpose: None,
        methods: Some(methods),
        languages: params.get("ui_locales").map(str::to_owned),
        within: Some(ANSWER_WITHIN),
        back: Some(Arc::new(returning)),
    };
    let busy = || Refused::Back(sender.back.clone(), No::Unavailable, "too many sign-ins".into());
    let path = entra.0.sign_ins.start(call, start).ok_or_else(busy)?.path();
    entra.0.pages.insert(call.now, used, path.clone());
    Ok(path)
}

/// Client and return address: whoever fails here is told so on a page, and sent nowhere.
async fn sender(entra: &Entra, params: &Params) -> Result<Sender, Refused> {
    let id = params.get("client_id").ok_or(Refused::Page("client_id is missing"))?;
    let unknown = Refused::Page("client_id is no Entra integration of this server");
    let integration = match entra.0.app.client(id).await {
        Ok(integration) => integration,
        Err(app::Error::NotFound) => return Err(unknown),
        Err(_) => return Err(Refused::Page("the server can't answer right now: try again")),
    };
    let Protocol::Entra(client) = &integration.protocol else { return Err(unknown) };
    let uri = format!("{}{ANSWERS}", client.authority());
    if params.get("redirect_uri") != Some(uri.as_str()) {
        return Err(Refused::Page("redirect_uri isn't where this cloud of Entra takes answers"));
    }
    let back = BackTo { uri, state: params.get("state").map(str::to_owned) };
    Ok(Sender { client: client.clone(), integration, back })
}

fn check_kind(params: &Params) -> Result<(), &'static str> {
    if let Some(bad) = params.bad() {
        return Err(bad.words());
    }
    // Microsoft's own page writes it with a capital
    let wanted =
        |name, value: &str| params.get(name).is_some_and(|given| given.eq_ignore_ascii_case(value));
    if !wanted("response_type", "id_token") {
        return Err("response_type isn't id_token");
    }
    if !wanted("response_mode", "form_post") {
        return Err("response_mode isn't form_post");
    }
    let scope = params.get("scope").unwrap_or_default();
    if !scope.split(' ').any(|one| one == "openid") {
        return Err("scope lacks openid");
    }
    Ok(())
}

/// Names a hint. Two integrations may take the same one, and neither's page is the other's.
fn used(integration: IntegrationId, token: &str) -> [u8; 32] {
    sha256(&[b"countersign/entra-hint/v2\0", integration.as_bytes(), token.as_bytes()])
}

/// What was used before, and by whom.
struct FirstUse {
    /// Nobody has used hint and nonce, or this browser has.
    ours: bool,
    /// Nobody has.
    fresh: bool,
}

/// Marks hint and nonce as used by this browser, for ever as far as they hold. A hint that is copied rings nobody
/// a second time, also after a restart.
async fn first_use(
    entra: &Entra,
    sender: &Sender,
    params: &Params,
    used: &[u8; 32],
    browser: &Secret,
) -> Result<FirstUse, app::Error> {
    let integration = sender.integration.id;
    let cookie = BASE64URL_NOPAD.encode(&browser.key());
    // told apart from a second use by the same browser, whose words these begin with
    let mut call = (entra.0.call)();
    let mine = format!("{cookie}.{}", Secret::draw(&mut *call.rng).reveal());
    let nonce = params.get("nonce").map(|nonce| {
        // with the hint: a nonce that comes with another one is a replay
        let label: &[u8] = b"countersign/entra-nonce/v1\0";
        (sha256(&[label, nonce.as_bytes()]), BASE64URL_NOPAD.encode(used))
    });
    if let Some((key, hint)) = nonce
        && entra.0.app.use_once(integration, key, hint.clone()).await? != hint
    {
        return Ok(FirstUse { ours: false, fresh: false });
    }
    let first = entra.0.app.use_once(integration, *used, mine.clone()).await?;
    let by = first.split('.').next().unwrap_or_default();
    Ok(FirstUse { ours: by == cookie, fresh: first == mine })
}

/// When Entra checked the first factor: when it issued the hint, but not ahead of our clock.
fn checked_at(hint: &Hint, now: Timestamp) -> Timestamp {
    let ago = (now.seconds() as f64 - hint.iat).max(0.0);
    now.minus(std::time::Duration::from_secs_f64(ago))
}

const fn cookie_name(secure: bool) -> &'static str {
    // the prefix makes browsers refuse the cookie from anywhere but this host (RFC 6265bis §4.1.3.2)
    if secure { "__Host-countersign-entra" } else { COOKIE_NAME }
}

fn cookie(headers: &HeaderMap, secure: bool) -> Option<Secret> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie_name(secure)).and_then(|(_, value)| Secret::parse(value))
}

/// `SameSite=None`: Entra's form comes from another site, and a reload of it must carry the cookie.
fn set_cookie(secure: bool, browser: &Secret) -> HeaderValue {
    let flags = if secure { "; Secure; SameSite=None" } else { "" };
    let text = format!("{}={}; Path=/{flags}; HttpOnly", cookie_name(secure), browser.reveal());
    let mut value = HeaderValue::from_str(&text).expect("base64url");
    value.set_sensitive(true);
    value
}
