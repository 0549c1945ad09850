//! What a request must be before anything is looked up.

use std::time::Duration;

use domain::challenge::{DEFAULT_TTL, MAX_TTL, MIN_TTL, Methods, Purpose};
use domain::create::{self, Detail};
use domain::directory::is_plain;
use domain::guard::Place;
use domain::protocol::Protocol;
use ports::UserRef;
use statement::{Timestamp, sha256};

use super::{CreateRequest, FIRST_FACTOR_LIFE};
use crate::document::reduce_agent;
use crate::places::{ClientPlace, Places};
use crate::{Caller, Error};

/// How far ahead an integration's clock may be.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Longest `User-Agent`, in bytes: several times what browsers send.
pub const MAX_AGENT: usize = 2048;

/// A checked request.
pub(super) struct Wanted {
    pub(super) session: [u8; 32],
    pub(super) request: [u8; 32],
    pub(super) first_factor: bool,
    pub(super) purpose: Purpose,
    pub(super) methods: Methods,
    pub(super) ttl: Duration,
    pub(super) details: Vec<Detail>,
    pub(super) place: Place,
    pub(super) client: ClientPlace,
    pub(super) browser: Option<String>,
    pub(super) returns: bool,
}

pub(super) fn check(
    now: Timestamp,
    caller: &Caller,
    request: &CreateRequest,
    places: &dyn Places,
) -> Result<Wanted, Error> {
    let integration = caller.integration();
    let session = session_hash(&request.context.browser_session)
        .map_err(|why| Error::invalid("context.browser_session", why))?;
    if let UserRef::Name(name) = &request.user {
        domain::directory::name(name).map_err(Error::name("user"))?;
    }
    let first_factor = integration.verifies_first_factor
        || request.first_factor.as_ref().is_some_and(|first| {
            first.at <= now.plus(CLOCK_SKEW) && now.since(first.at) <= FIRST_FACTOR_LIFE
        });
    let requested = request.methods.unwrap_or(Methods::ALL).and(integration.methods);
    let methods = if first_factor { requested } else { requested.and(Methods::PUSH) };
    if methods.is_empty() {
        let why = if first_factor {
            "none of these is registered for this integration"
        } else {
            "without a first factor of the last ten minutes only push is offered"
        };
        return Err(Error::invalid("methods", why));
    }
    let ttl = request.ttl.unwrap_or(DEFAULT_TTL);
    if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
        return Err(Error::invalid("ttl_s", "must be between 30 and 300"));
    }
    check_details(&request.details)?;
    let purpose = request.purpose.unwrap_or_else(|| integration.default_purpose());
    if !integration.may_ask(purpose) {
        return Err(Error::invalid("purpose", "this integration is not registered for it"));
    }
    let agent = request.context.user_agent.as_deref();
    if agent.is_some_and(|agent| agent.len() > MAX_AGENT) {
        return Err(Error::invalid("context.user_agent", "at most 2048 bytes"));
    }
    check_return_url(&integration.protocol, request.return_url.as_deref())?;
    let asked = create::request_hash(purpose, methods, first_factor, &request.details);
    let (place, client) = ClientPlace::look_up(places, request.context.ip);
    Ok(Wanted {
        session,
        request: returning(asked, request.return_url.as_deref()),
        first_factor,
        purpose,
        methods,
        ttl,
        details: request.details.clone(),
        place,
        client,
        browser: agent.map(reduce_agent),
        returns: request.return_url.is_some(),
    })
}

fn check_return_url(protocol: &Protocol, url: Option<&str>) -> Result<(), Error> {
    match (protocol, url) {
        (_, None) => Ok(()),
        (Protocol::Api(client), Some(url)) if client.return_urls.iter().any(|one| one == url) => {
            Ok(())
        }
        (_, Some(_)) => {
            Err(Error::invalid("return_url", "must be, to the letter, one that is registered"))
        }
    }
}

/// What is asked for, with where its browser goes back to: with another page, or none, it is another thing.
fn returning(asked: [u8; 32], url: Option<&str>) -> [u8; 32] {
    url.map_or(asked, |url| sha256(&[&asked, url.as_bytes()]))
}

/// The hash under which a browser session is kept.
pub(crate) fn session_hash(session: &str) -> Result<[u8; 32], &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(22..=128).contains(&session.len()) || !session.bytes().all(allowed) {
        return Err("must be 22 to 128 of A-Z, a-z, 0-9, _ and -, random");
    }
    Ok(sha256(&[b"countersign/browser-session/v1\0", session.as_bytes()]))
}

fn check_details(details: &[Detail]) -> Result<(), Error> {
    if details.len() > create::MAX_DETAILS {
        return Err(Error::invalid("details", "at most 8"));
    }
    for Detail { label, value } in details {
        let fits = |text: &str, most: usize| {
            !text.trim().is_empty() && text.chars().count() <= most && text.chars().all(is_plain)
        };
        if !fits(label, create::MAX_LABEL) || !fits(value, create::MAX_VALUE) {
            return Err(Error::invalid(
                "details",
                "labels of 1 to 32 and values of 1 to 128 plain characters",
            ));
        }
    }
    Ok(())
}
