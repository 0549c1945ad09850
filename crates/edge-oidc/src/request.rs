//! An authorization request: where its parameters came from, and what they ask for.

use app::sign_ins::Whom;
use data_encoding::BASE64URL_NOPAD;
use domain::challenge::Methods;
use domain::protocol::TokenAlgorithm;
use ports::UserRef;
use serde_json::Value;
use statement::sha256;

use crate::Oidc;
use crate::acr::Wish;
use crate::client::Client;
use crate::jwt::{self, Claims};
use crate::oauth::{Code, OAuthError};
use crate::params::Params;

/// How old an ID token of ours may be to ring the user whom it names: its holder was signed in this day.
const HINT_AGE_S: f64 = 24.0 * 60.0 * 60.0;
/// Claims of a request object that are parameters too, beside texts: numbers, and documents.
const NO_PARAMETERS: [&str; 7] = ["iss", "aud", "exp", "iat", "nbf", "jti", "sub"];

/// How an answer travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In the query of the return address.
    #[default]
    Query,
    /// As a posted form (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

/// Where an answer goes: an address that is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackTo {
    pub(crate) uri: String,
    pub(crate) mode: Mode,
    pub(crate) state: Option<String>,
}

impl BackTo {
    /// From parameters; `None` if the address isn't one of the client's.
    pub(crate) fn of(client: &Client, params: &Params) -> Option<Self> {
        let uri = params.get("redirect_uri").filter(|uri| client.may_return_to(uri))?;
        let mode = match params.get("response_mode") {
            Some("form_post") => Mode::FormPost,
            // one that is unknown is an error, which travels by the default
            _ => Mode::Query,
        };
        Some(Self { uri: uri.to_owned(), mode, state: params.get("state").map(str::to_owned) })
    }
}

/// Who names the user, which decides whether anybody is rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// A browser alone.
    Front,
    /// The client itself: it pushed the request, or signed it.
    Client,
}

/// A request that holds.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) back: BackTo,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: String,
    pub(crate) wish: Wish,
    pub(crate) methods: Methods,
    pub(crate) whom: Whom,
    pub(crate) called: String,
    /// Whether the user may be rung.
    pub(crate) rings: bool,
    pub(crate) id_token: TokenAlgorithm,
    /// `ui_locales`.
    pub(crate) languages: Option<String>,
    /// `prompt=none`: nobody may be asked anything.
    pub(crate) unasked: bool,
}

/// Parameters and whoever vouches for them: those of a request object instead of those beside it (RFC 9101 §6.3).
pub(crate) async fn signed(
    oidc: &Oidc,
    call: &mut app::Call,
    client: &Client,
    params: &Params,
) -> Result<Option<Params>, OAuthError> {
    let Some(object) = params.get("request") else { return Ok(None) };
    let bad = |about| OAuthError::new(Code::InvalidRequestObject, about);
    let claims = jwt::verify(object, &client.keys(), &jwt::CLIENT_ALGORITHMS)
        .map_err(|_| bad("the request object isn't signed by a key of this client"))?;
    let id = client.id();
    let is = |name: &str| jwt::text(&claims, name) == Some(id.as_str());
    if !is("iss") || !is("client_id") {
        return Err(bad("iss and client_id must be the client's id"));
    }
    if !jwt::is_for(&claims, &[oidc.issuer()]) {
        return Err(bad("aud must be the issuer"));
    }
    if !jwt::holds(&claims, call.now) {
        return Err(bad("exp must be there, at most ten minutes ahead, and nbf and iat not ahead"));
    }
    // it went through a browser, which could send it again to ring again. Without its signature: of an ECDSA one
    // everybody can make another that verifies
    let (signed, _) = object.rsplit_once('.').unwrap_or((object, ""));
    if !oidc.first_use(call, client.integration.id, signed).await? {
        return Err(bad("a request object is used once"));
    }
    inner(&claims).map(Some).map_err(bad)
}

/// The parameters that a request object holds; else what is wrong.
pub(crate) fn inner(claims: &Claims) -> Result<Params, &'static str> {
    let mut inner = Params::default();
    for (name, value) in claims {
        match value {
            _ if NO_PARAMETERS.contains(&name.as_str()) => {}
            // as if it weren't there: some libraries sign what nobody set
            Value::Null => {}
            Value::String(text) => inner.add(name, text),
            Value::Number(number) => inner.add(name, &number.to_string()),
            Value::Object(_) if name == "claims" => inner.add(name, &value.to_string()),
            _ => return Err("a member that isn't a text or a number"),
        }
    }
    if ["request", "request_uri"].iter().any(|name| inner.get(name).is_some()) {
        return Err("a request object inside a request object");
    }
    Ok(inner)
}

/// What a request asks for. `back` has been found to be the client's.
pub(crate) fn read(
    oidc: &Oidc,
    call: &app::Call,
    client: &Client,
    params: &Params,
    (back, channel): (BackTo, Channel),
) -> Result<Wanted, OAuthError> {
    if let Some(bad) = params.bad() {
        return Err(OAuthError::invalid(bad.words()));
    }
    if params.get("registration").is_some() {
        return Err(OAuthError::new(Code::RegistrationNotSupported, "clients register beforehand"));
    }
    match params.get("response_type") {
        Some("code") => {}
        None => return Err(OAuthError::invalid("response_type is missing")),
        Some(_) => {
            return Err(OAuthError::new(Code::UnsupportedResponseType, "only code is answered"));
        }
    }
    if !matches!(params.get("response_mode"), None | Some("query" | "form_post")) {
        return Err(OAuthError::invalid("response_mode must be query or form_post"));
    }
    if !params.get("scope").is_some_and(|scope| scope.split(' ').any(|one| one == "openid")) {
        return Err(OAuthError::new(Code::InvalidScope, "scope must contain openid"));
    }
    let challenge = code_challenge(params)?;
    let wish = wish(params)?;
    let unasked = prompt(params)?;
    if params.get("max_age").is_some_and(|age| age.parse::<u32>().is_err()) {
        return Err(OAuthError::invalid("max_age must be a number of seconds"));
    }
    let (whom, called, rings) = whom(oidc, call, client, params, channel)?;
    let registered = client.integration.methods;
    let offered = wish.methods().and(registered);
    let methods = if rings { offered } else { offered.and(Methods::PUSH) };
    if methods.is_empty() {
        let about = "no way to sign in here would have an acr that is asked for as essential";
        return Err(OAuthError::new(Code::UnmetAuthenticationRequirements, about));
    }
    Ok(Wanted {
        back,
        nonce: params.get("nonce").map(str::to_owned),
        challenge,
        wish,
        methods,
        whom,
        called,
        rings,
        id_token: client.id_token(),
        languages: params.get("ui_locales").map(str::to_owned),
        unasked,
    })
}

/// RFC 7636 §4.3, of which only S256 is taken: `plain` protects from nobody who reads the request.
fn code_challenge(params: &Params) -> Result<String, OAuthError> {
    let challenge = params
        .get("code_challenge")
        .ok_or(OAuthError::invalid("code_challenge is missing: PKCE is required"))?;
    if params.get("code_challenge_method") != Some("S256") {
        return Err(OAuthError::invalid("code_challenge_method must be S256"));
    }
    let hash = BASE64URL_NOPAD.decode(challenge.as_bytes());
    if hash.is_ok_and(|hash| hash.len() == 32) {
        return Ok(challenge.to_owned());
    }
    Err(OAuthError::invalid("code_challenge must be the base64url of a SHA-256"))
}

/// Whether `verifier` is what `challenge` was made of.
pub(crate) fn verifies(challenge: &str, verifier: &str) -> bool {
    use subtle::ConstantTimeEq as _;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(allowed);
    let hash = BASE64URL_NOPAD.encode(&sha256(&[verifier.as_bytes()]));
    well_formed && bool::from(hash.as_bytes().ct_eq(challenge.as_bytes()))
}

/// Whether nobody may be asked.
fn prompt(params: &Params) -> Result<bool, OAuthError> {
    let Some(prompt) = params.get("prompt") else { return Ok(false) };
    let values: Vec<&str> = prompt.split(' ').filter(|value| !value.is_empty()).collect();
    let known = ["none", "login", "consent", "select_account", "create"];
    if values.iter().any(|value| !known.contains(value)) {
        return Err(OAuthError::invalid("prompt has an unknown value"));
    }
    match (values.contains(&"none"), values.len()) {
        (true, 1) => Ok(true),
        (true, _) => Err(OAuthError::invalid("prompt none excludes every other one")),
        (false, _) => Ok(false),
    }
}

/// `acr_values`, and `acr` of `claims` (OpenID Connect Core §5.5.1.1).
fn wish(params: &Params) -> Result<Wish, OAuthError> {
    let mut wish = Wish::default();
    let values = params.get("acr_values").unwrap_or_default();
    wish.liked = values.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    let Some(claims) = params.get("claims") else { return Ok(wish) };
    let bad = OAuthError::invalid("claims must be a JSON object as OpenID Connect Core 5.5 has it");
    let claims: Claims = serde_json::from_str(claims).map_err(|_| bad)?;
    let section = |name| match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(bad),
    };
    section("userinfo")?;
    let Some(id_token) = section("id_token")? else { return Ok(wish) };
    let acr = match id_token.get("acr") {
        None | Some(Value::Null) => return Ok(wish),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(bad),
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(bad);
    let named = match (acr.get("value"), acr.get("values")) {
        (Some(one), None) => vec![text(one)?],
        (None, Some(Value::Array(all))) => all.iter().map(text).collect::<Result<_, _>>()?,
        (None, None) => Vec::new(),
        _ => return Err(bad),
    };
    match acr.get("essential") {
        Some(Value::Bool(true)) => wish.essential = named,
        None | Some(Value::Bool(false) | Value::Null) => wish.liked.extend(named),
        Some(_) => return Err(bad),
    }
    Ok(wish)
}

/// Who is asked, what they are called, and whether they are rung.
fn whom(
    oidc: &Oidc,
    call: &app::Call,
    client: &Client,
    params: &Params,
    channel: Channel,
) -> Result<(Whom, String, bool), OAuthError> {
    let by_client = channel == Channel::Client;
    if let Some(hint) = params.get("id_token_hint") {
        let claims = hinted(oidc, call, client, hint)?;
        let age = jwt::time(&claims.all, "iat").map(|at| call.now.seconds() as f64 - at);
        let recent = age.is_some_and(|age| age < HINT_AGE_S);
        let called = jwt::text(&claims.all, "preferred_username").unwrap_or_default().to_owned();
        return Ok((Whom::User(claims.user), called, by_client || recent));
    }
    let Some(hint) = params.get("login_hint") else {
        return Ok((Whom::Unnamed, String::new(), false));
    };
    let user = named(hint).ok_or(OAuthError::invalid("login_hint must be a user's name or id"))?;
    let called = match &user {
        UserRef::Name(name) => name.clone(),
        UserRef::Id(_) => hint.to_owned(),
    };
    Ok((Whom::User(user), called, by_client))
}

/// An ID token of ours that came back.
pub(crate) struct Hinted {
    pub(crate) user: UserRef,
    all: Claims,
}

/// Reads `id_token_hint`, which may have expired (OpenID Connect Core §3.1.2.1).
pub(crate) fn hinted(
    oidc: &Oidc,
    call: &app::Call,
    client: &Client,
    hint: &str,
) -> Result<Hinted, OAuthError> {
    let bad =
        OAuthError::invalid("id_token_hint must be an ID token of this issuer for this client");
    let keys = jwt::keys(&oidc.0.app.vault().token_jwks(&TokenAlgorithm::ALL, call.now));
    let ours = [jsonwebtoken::Algorithm::RS256, jsonwebtoken::Algorithm::ES256];
    let all = jwt::verify(hint, &keys, &ours).map_err(|_| bad)?;
    let is_ours = jwt::text(&all, "iss") == Some(oidc.issuer());
    let user = jwt::text(&all, "sub").and_then(|sub| sub.parse().ok());
    match user {
        Some(user) if is_ours && jwt::is_for(&all, &[&client.id()]) => {
            Ok(Hinted { user: UserRef::Id(user), all })
        }
        _ => Err(bad),
    }
}

/// The user of a hint: an id, or a name with or without `name:`.
pub(crate) fn named(hint: &str) -> Option<UserRef> {
    if let Ok(id) = hint.parse() {
        return Some(UserRef::Id(id));
    }
    let name = hint.strip_prefix("name:").unwrap_or(hint);
    domain::directory::name(name).ok().map(UserRef::Name)
}
