//! A browser on the hosted page, as far as its script goes: it opens the page, waits, and leaves.

use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::clock;
use crate::rest::{Api, CallError, PATIENCE, PageReply};

/// What the page holds a wait for, and as long again.
const HOLD: Duration = Duration::from_secs(20);

/// A page that shows its number.
pub(crate) struct Open {
    pub(crate) number: String,
    url: String,
    origin: String,
    wait: String,
    cookie: String,
}

/// How it ended.
pub(crate) struct Left {
    /// When the page knew, and when it left.
    pub(crate) told: Instant,
    pub(crate) left: Instant,
    /// What its form brings back, if the sign-in passed.
    pub(crate) return_code: Option<String>,
}

/// Opens the page of a challenge.
pub(crate) async fn open(api: &Api, url: &str) -> Result<Open, CallError> {
    let page = api.page(Method::GET, url, None).await?;
    let scheme = url.find("://").ok_or(CallError::Reply)? + 3;
    let path = url[scheme..].find('/').ok_or(CallError::Reply)? + scheme;
    let origin = url[..path].to_owned();
    let number = between(&page.text, "<output id=\"number\"", "</output>");
    let number = number.and_then(|tag| tag.split_once('>')).ok_or(CallError::Reply)?.1.to_owned();
    let wait = between(&page.text, "data-wait=\"", "\"").ok_or(CallError::Reply)?;
    let wait = format!("{origin}{}", wait.replace("&#38;", "&").replace("&amp;", "&"));
    Ok(Open { number, url: url.to_owned(), origin, wait, cookie: page.cookies })
}

impl Open {
    /// Follows the sign-in to its end and leaves, as the page's script does; `None` if it isn't over by `until`.
    pub(crate) async fn follow(self, api: &Api, until: Instant) -> Result<Option<Left>, CallError> {
        let cookie = Some(self.cookie.as_str());
        loop {
            let asked = api.page_within(Method::GET, &self.wait, cookie, HOLD);
            let Ok(asked) = timeout_at(until, asked).await else { return Ok(None) };
            if asked?.status == StatusCode::OK {
                break;
            }
        }
        let told = clock::now();
        let PageReply { text, .. } = api.page(Method::GET, &self.url, cookie).await?;
        if let Some(leave) = between(&text, "data-leave=\"", "\"") {
            let leave = format!("{}{leave}", self.origin);
            let left = api.page(Method::POST, &leave, cookie).await?;
            if left.status != StatusCode::NO_CONTENT {
                return Err(CallError::Reply);
            }
        }
        let left = clock::now();
        let code = between(&text, "name=\"return_code\" value=\"", "\"").map(str::to_owned);
        Ok(Some(Left { told, left, return_code: code }))
    }
}

impl Api {
    async fn page(
        &self,
        method: Method,
        url: &str,
        cookie: Option<&str>,
    ) -> Result<PageReply, CallError> {
        self.page_within(method, url, cookie, PATIENCE).await
    }
}

/// What stands between two texts, the first time.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_is_found_once() {
        let page =
            "<main data-wait=\"/a?seen=1\"><output id=\"number\" aria-label=\"4 2\">42</output>";
        assert_eq!(between(page, "data-wait=\"", "\""), Some("/a?seen=1"));
        assert_eq!(between(page, "data-leave=\"", "\""), None);
        let number = between(page, "<output id=\"number\"", "</output>");
        assert_eq!(number.and_then(|tag| tag.split_once('>')), Some((" aria-label=\"4 2\"", "42")));
    }
}
