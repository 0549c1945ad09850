//! Who asks for a sign-in's page: its own browser, or nobody.

use std::convert::Infallible;
use std::sync::Arc;

use app::sign_ins::{Handle, SignIn};
use app::{MAX_AGENT, RequestContext};
use axum::RequestPartsExt as _;
use axum::extract::{FromRequestParts, Path};
use http::HeaderMap;
use http::header::USER_AGENT;
use http::request::Parts;
use http_limits::ClientAddr;

use crate::browser::{Browser, device_cookie};
use crate::language::Language;
use crate::page::Failure;
use crate::{Pages, browser};

/// The browser that a sign-in is bound to, on a page of that sign-in. Anybody else is told that there is
/// nothing here, whether or not there is.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) sign_in: Arc<SignIn>,
    /// Path of the sign-in's page.
    pub(crate) path: Arc<str>,
    pub(crate) context: RequestContext,
    /// What its pages speak.
    pub(crate) language: Language,
}

/// A [`Visitor`] on the page that binds: the first browser to open it becomes the sign-in's own.
pub(crate) struct Arrival {
    pub(crate) visitor: Visitor,
    /// The cookie, if the browser had none.
    pub(crate) set_cookie: Option<http::HeaderValue>,
}

impl FromRequestParts<Arc<Pages>> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, pages: &Arc<Pages>) -> Result<Self, Failure> {
        let (handle, sign_in) = find(parts, pages).await?;
        let browser = Browser::of(&parts.headers, pages.secure_cookies).ok_or(Failure::Gone)?;
        if !sign_in.is_bound_to(&browser.hash()) {
            return Err(Failure::Gone);
        }
        Ok(Self::new(parts, pages, &handle, sign_in, &browser).await)
    }
}

impl FromRequestParts<Arc<Pages>> for Arrival {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, pages: &Arc<Pages>) -> Result<Self, Failure> {
        let (handle, sign_in) = find(parts, pages).await?;
        let secure = pages.secure_cookies;
        let (browser, set_cookie) = match Browser::of(&parts.headers, secure) {
            Some(browser) => (browser, None),
            None if sign_in.is_free() => {
                let browser = Browser::draw(&mut *(pages.call)().rng);
                let set_cookie = browser.set_cookie(secure);
                (browser, Some(set_cookie))
            }
            None => return Err(Failure::Gone),
        };
        if !sign_in.bind(browser.hash()) {
            return Err(Failure::Gone);
        }
        let visitor = Visitor::new(parts, pages, &handle, sign_in, &browser).await;
        Ok(Self { visitor, set_cookie })
    }
}

/// The sign-in of the address.
async fn find(parts: &mut Parts, pages: &Pages) -> Result<(Handle, Arc<SignIn>), Failure> {
    let path: Result<Path<String>, _> = parts.extract().await;
    let handle = path.ok().and_then(|Path(text)| Handle::parse(&text));
    let handle = handle.ok_or(Failure::Gone)?;
    let now = (pages.call)().now;
    let sign_in = pages.signins.find(now, &handle).ok_or(Failure::Gone)?;
    Ok((handle, sign_in))
}

impl Visitor {
    async fn new(
        parts: &mut Parts,
        pages: &Pages,
        handle: &Handle,
        sign_in: Arc<SignIn>,
        browser: &Browser,
    ) -> Self {
        let client: Result<Option<ClientAddr>, Infallible> = parts.extract().await;
        let Ok(client) = client;
        let headers = &parts.headers;
        let context = RequestContext {
            browser_session: browser.session(),
            ip: client.map(|ClientAddr(address)| address),
            user_agent: user_agent(headers),
            device_cookie: device_cookie(headers, pages.secure_cookies, sign_in.integration()),
        };
        let language = Language::of(sign_in.languages(), headers);
        Self { sign_in, path: handle.path().into(), context, language }
    }

    /// The `Set-Cookie` of what an approval earned this browser.
    pub(crate) fn set_device_cookie(&self, pages: &Pages, value: &str) -> http::HeaderValue {
        browser::set_device_cookie(pages.secure_cookies, self.sign_in.integration(), value)
    }
}

/// Its beginning, if it is longer than a challenge takes: whoever has such a browser can sign in too.
fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    Some(text.get(..MAX_AGENT).unwrap_or(text).to_owned())
}
