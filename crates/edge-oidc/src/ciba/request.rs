//! A backchannel authentication request (§7): what it must be before anybody is looked up.

use std::time::Duration;

use domain::challenge::{DEFAULT_TTL, MAX_TTL, MIN_TTL};
use domain::create::Detail;
use domain::directory::is_plain;
use domain::protocol::CibaClient;
use ports::UserRef;

use crate::Oidc;
use crate::client::Client;
use crate::jwt;
use crate::oauth::{Code, OAuthError};
use crate::params::Params;
use crate::request::{hinted, inner, named};

/// Longest binding message: it stands on one line of a phone.
const MAX_MESSAGE: usize = 20;
/// What a device calls a binding message.
const MESSAGE: &str = "Message";
/// Longest `client_notification_token` (§7.1).
const MAX_NOTIFICATION_TOKEN: usize = 1024;
const HINTS: [&str; 3] = ["login_hint", "id_token_hint", "login_hint_token"];
/// What may stand beside a request object: how the client authenticates (§7.1.1).
const BESIDE: [&str; 4] = ["request", "client_id", "client_assertion", "client_assertion_type"];

/// A request that holds.
pub(super) struct Wanted {
    pub(super) user: UserRef,
    pub(super) details: Vec<Detail>,
    pub(super) ttl: Duration,
    pub(super) user_code: Option<String>,
    /// Where and with which token the client is told of the end.
    pub(super) ping: Option<(String, String)>,
}

/// The parameters of a signed request (§7.1.1). All it says is inside; CIBA has no error of its own for one that
/// doesn't hold.
pub(super) async fn signed(
    oidc: &Oidc,
    call: &mut app::Call,
    client: &Client,
    params: &Params,
) -> Result<Option<Params>, OAuthError> {
    let bad = OAuthError::invalid;
    if params.get("request_uri").is_some() {
        return Err(bad("request_uri isn't taken here"));
    }
    let Some(object) = params.get("request") else { return Ok(None) };
    if params.names().any(|name| !BESIDE.contains(&name)) {
        return Err(bad("a parameter beside the request object"));
    }
    let claims = jwt::verify(object, &client.keys(), &jwt::CLIENT_ALGORITHMS)
        .map_err(|_| bad("the request object isn't signed by a key of this client"))?;
    if jwt::text(&claims, "iss") != Some(client.id().as_str()) {
        return Err(bad("iss must be the client's id"));
    }
    if !jwt::is_for(&claims, &[oidc.issuer()]) {
        return Err(bad("aud must be the issuer"));
    }
    let dated = ["iat", "nbf"].iter().all(|name| jwt::time(&claims, name).is_some());
    if !dated || !jwt::holds(&claims, call.now) {
        return Err(bad("exp, iat and nbf must be there, exp at most ten minutes ahead"));
    }
    let once = jwt::text(&claims, "jti").filter(|jti| !jti.is_empty());
    let once = once.ok_or(bad("jti is missing"))?;
    if !oidc.first_use(call, client.integration.id, once).await? {
        return Err(bad("a request object is used once"));
    }
    inner(&claims).map(Some).map_err(bad)
}

/// What a request asks for.
pub(super) fn read(
    oidc: &Oidc,
    call: &app::Call,
    (client, registered): (&Client, &CibaClient),
    params: &Params,
) -> Result<Wanted, OAuthError> {
    if let Some(bad) = params.bad() {
        return Err(OAuthError::invalid(bad.words()));
    }
    let scope = params.get("scope").ok_or(OAuthError::invalid("scope is missing"))?;
    if !scope.split(' ').any(|one| one == "openid") {
        return Err(OAuthError::new(Code::InvalidScope, "scope must contain openid"));
    }
    let ping = ping(registered, params)?;
    let ttl = ttl(params.get("requested_expiry"))?;
    let details = params.get("binding_message").map(message).transpose()?;
    let user = user(oidc, call, client, params)?;
    let user_code = match (registered.user_code, params.get("user_code")) {
        (true, None) => {
            return Err(OAuthError::new(Code::UserCodeMissing, "user_code is missing"));
        }
        (true, Some(code)) => Some(code.to_owned()),
        (false, _) => None,
    };
    Ok(Wanted { user, details: details.into_iter().collect(), ttl, user_code, ping })
}

/// Who is meant, by exactly one hint (§7.1).
fn user(
    oidc: &Oidc,
    call: &app::Call,
    client: &Client,
    params: &Params,
) -> Result<UserRef, OAuthError> {
    let mut hints = HINTS.iter().filter_map(|name| Some((*name, params.get(name)?)));
    let (name, hint) = hints.next().ok_or(OAuthError::invalid("no hint says who is meant"))?;
    if hints.next().is_some() {
        return Err(OAuthError::invalid("more than one hint says who is meant"));
    }
    match name {
        "id_token_hint" => Ok(hinted(oidc, call, client, hint)?.user),
        "login_hint_token" => by_token(oidc, call, client, hint),
        _ => named(hint).ok_or(OAuthError::invalid("login_hint must be a user's name or id")),
    }
}

/// A token that the client itself signs, with the user as `sub`: §7.1 leaves the form to whoever takes it.
fn by_token(
    oidc: &Oidc,
    call: &app::Call,
    client: &Client,
    token: &str,
) -> Result<UserRef, OAuthError> {
    let bad = OAuthError::invalid("login_hint_token must be signed by this client, for the issuer");
    let claims = jwt::verify(token, &client.keys(), &jwt::CLIENT_ALGORITHMS).map_err(|_| bad)?;
    let own = jwt::text(&claims, "iss") == Some(client.id().as_str());
    let user = jwt::text(&claims, "sub").and_then(named);
    let (Some(user), true, true) = (user, own, jwt::is_for(&claims, &[oidc.issuer()])) else {
        return Err(bad);
    };
    let until = jwt::time(&claims, "exp").ok_or(bad)?;
    if until <= call.now.seconds() as f64 {
        let about = "login_hint_token has expired";
        return Err(OAuthError::new(Code::ExpiredLoginHintToken, about));
    }
    Ok(user)
}

/// Where and how the client is told, if it is.
fn ping(registered: &CibaClient, params: &Params) -> Result<Option<(String, String)>, OAuthError> {
    let Some(url) = &registered.notification_url else { return Ok(None) };
    let token = params.get("client_notification_token");
    let token = token.ok_or(OAuthError::invalid("client_notification_token is missing"))?;
    if !is_bearer(token) || token.len() > MAX_NOTIFICATION_TOKEN {
        let about = "client_notification_token must be a bearer token of at most 1024 characters";
        return Err(OAuthError::invalid(about));
    }
    Ok(Some((url.clone(), token.to_owned())))
}

/// The syntax of RFC 6750 §2.1.
pub(crate) fn is_bearer(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(allowed)
}

/// How long the person has. What is asked for is met as far as a challenge's bounds go, which §7.1 allows; the
/// answer says how long it is.
fn ttl(requested: Option<&str>) -> Result<Duration, OAuthError> {
    let Some(requested) = requested else { return Ok(DEFAULT_TTL) };
    let digits = requested.len() <= 9 && requested.bytes().all(|byte| byte.is_ascii_digit());
    match requested.parse::<u64>() {
        Ok(seconds) if digits && seconds > 0 => {
            Ok(Duration::from_secs(seconds).clamp(MIN_TTL, MAX_TTL))
        }
        _ => Err(OAuthError::invalid("requested_expiry must be a positive number of seconds")),
    }
}

fn message(text: &str) -> Result<Detail, OAuthError> {
    let fits = text.chars().count() <= MAX_MESSAGE;
    if fits && !text.trim().is_empty() && text.chars().all(is_plain) {
        return Ok(Detail { label: MESSAGE.to_owned(), value: text.to_owned() });
    }
    let about = "binding_message must be 1 to 20 plain characters";
    Err(OAuthError::new(Code::InvalidBindingMessage, about))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_positive_number_and_capped() {
        let seconds = |text| ttl(Some(text)).map(|ttl| ttl.as_secs());
        assert_eq!(ttl(None), Ok(DEFAULT_TTL));
        assert_eq!((seconds("120"), seconds("1"), seconds("99999")), (Ok(120), Ok(30), Ok(300)));
        for bad in ["0", "-1", "+5", "1.5", "", "x", " 5", "9999999999", "0x10"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bearer_token_is_what_rfc_6750_says() {
        for good in ["a", "8d67dc78-7faa-4d41-aabd-67707b374255", "AZaz09-._~+/=="] {
            assert!(is_bearer(good), "{good}");
        }
        for bad in ["", "=", "a b", "a=b", "ä", "a\n"] {
            assert!(!is_bearer(bad), "{bad}");
        }
    }

    #[test]
    fn a_message_is_short_and_plain() {
        for good in ["1234", "W4SCT", "Zahlung an Müller", "x".repeat(20).as_str()] {
            assert!(message(good).is_ok(), "{good}");
        }
        for bad in [" ", "x".repeat(21).as_str(), "a\nb", "a\u{202e}b"] {
            assert!(message(bad).is_err(), "{bad}");
        }
    }
}
