//! What stands before every page: forms come from our own pages, and headers keep others out.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};

use crate::language::Language;
use crate::page::Failure;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// No scripts at all, no frames, nothing from elsewhere.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
                   base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                   trusted-types 'none'";
/// The policy of a page that waits: our own script, which asks our own server how things stand. No text becomes
/// code or markup in it.
pub(crate) const CSP_WAITING: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'",
);

/// The policy of the enrolment page: our own script, which has the link's secret and can send it nowhere.
pub(crate) const CSP_ENROL: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// The policy of the page that leads to `action`. Chromium holds redirects after a form to `form-action` too, and a
/// relying party sends its browser on to wherever the person came from, and so may Entra, whose own address is fixed: so
/// beside its own origin any https one is allowed there. The script is our own file, and no text becomes code or markup in it.
pub(crate) fn csp_leaving_to(action: &str) -> String {
    let origin = Origin::of(action).0;
    format!(
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; \
         img-src 'self' data:; form-action 'self' {origin} https:; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// Our own origin, as browsers write it.
pub(crate) struct Origin(String);

impl Origin {
    /// The origin of a server's address, whose form is that of [`statement::ServerUrl`].
    pub(crate) fn of(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // browsers leave a scheme's own port out (RFC 6454 §6.2)
        let own_port = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(own_port).unwrap_or(authority);
        Self(format!("{scheme}://{authority}"))
    }

    /// Whether a request may have been made by a page of ours. Browsers say so in `Sec-Fetch-Site`; our own
    /// `Referrer-Policy` makes them write `null` into `Origin`, so that one counts only where the other is
    /// missing. A request with neither comes from no browser: all send `Origin` with a form from elsewhere, and
    /// none sends our `SameSite` cookie with one. A program may use the pages as a person does.
    fn sent(&self, headers: &HeaderMap) -> bool {
        match (headers.get(SEC_FETCH_SITE), headers.get(ORIGIN)) {
            (Some(site), _) => site == "same-origin",
            (None, Some(origin)) => origin.as_bytes() == self.0.as_bytes(),
            (None, None) => true,
        }
    }
}

/// Refuses forms from elsewhere, and hardens every response.
pub(crate) async fn fence(
    State(own): State<Arc<Origin>>,
    request: Request,
    next: Next,
) -> Response {
    let language = Language::of(None, request.headers());
    let mut response = if request.method().is_safe() || own.sent(request.headers()) {
        next.run(request).await
    } else {
        Failure::Foreign.into_response()
    };
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        response = failure.page(language);
    }
    harden(&mut response);
    response
}

/// The headers of every response.
pub(crate) fn harden(response: &mut Response) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CSP),
        (OPENER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, headers: &[(&'static str, &'static str)], sent: bool) {
        let map = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        assert_eq!(Origin::of(url).sent(&map), sent, "{url} {headers:?}");
    }

    #[test]
    fn a_form_comes_from_our_own_pages() {
        const URL: &str = "https://mfa.example.org:8443/base";
        const OWN: &str = "https://mfa.example.org:8443";
        check(URL, &[("sec-fetch-site", "same-origin")], true);
        check(URL, &[("sec-fetch-site", "same-origin"), ("origin", "null")], true);
        check(URL, &[("origin", OWN)], true);
        for site in ["same-site", "cross-site", "none", ""] {
            check(URL, &[("sec-fetch-site", site), ("origin", OWN)], false);
        }
        check(URL, &[], true);
        for origin in ["null", "https://mfa.example.org", "https://evil.example"] {
            check(URL, &[("origin", origin)], false);
        }
    }

    #[test]
    fn the_own_port_of_a_scheme_is_left_out() {
        check("https://h:443", &[("origin", "https://h")], true);
        check("http://127.0.0.1:80", &[("origin", "http://127.0.0.1")], true);
        check("https://h:80", &[("origin", "https://h")], false);
    }
}
