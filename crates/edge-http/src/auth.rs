//! Who calls: an integration, by its API key, with the scope that the route takes.

use std::marker::PhantomData;

use app::{Caller, Error};
use axum::extract::FromRequestParts;
use domain::directory::Scope;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http_limits::{Code, Problem, count_request};

use crate::Rest;
use crate::error::Refused;

/// A scope as a type, so that a route's signature says what it takes.
pub(crate) trait Needs: Send + Sync {
    const SCOPE: Scope;
}

macro_rules! scopes {
    ($($name:ident),*) => {$(
        pub(crate) struct $name;
        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )*};
}
scopes!(Challenges, UsersRead, UsersWrite, EventsRead, GuardWrite);

/// A caller who proved themselves and has the scope. Comes before the body: who may not ask isn't told what is
/// wrong with the question.
pub(crate) struct Allowed<S> {
    pub(crate) caller: Caller,
    scope: PhantomData<S>,
}

impl<S: Needs> FromRequestParts<Rest> for Allowed<S> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &Rest) -> Result<Self, Refused> {
        let key = bearer(&parts.headers).ok_or(Error::Unauthenticated)?;
        let call = state.call();
        let caller = state.app.authenticate(&call, key).await?;
        let (whose, now) = (*caller.integration().id.as_bytes(), call.now.millis());
        count_request(state.quota.as_deref(), &parts.extensions, whose, now)
            .map_err(|wait| Problem::new(Code::TooManyRequests).retry_after(wait))?;
        caller.demand(S::SCOPE)?;
        Ok(Self { caller, scope: PhantomData })
    }
}

/// The token of the one `Authorization` header (RFC 6750 §2.1); its scheme in any case (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&str], token: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(bearer(&headers), token);
    }

    #[test]
    fn one_bearer_token_counts() {
        check(&["Bearer csk_x"], Some("csk_x"));
        check(&["bearer  csk_x"], Some("csk_x"));
        check(&[], None);
        check(&["csk_x"], None);
        check(&["Basic csk_x"], None);
        check(&["Bearer a", "Bearer b"], None);
    }
}
