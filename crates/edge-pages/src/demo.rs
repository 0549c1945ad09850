//! The trial page: a button where an identity provider would have checked a password.

use std::sync::Arc;

use app::FirstFactor;
use app::sign_ins::{Start, Whom};
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use ports::UserRef;

use crate::language::Language;
use crate::page::{Failure, Home, html};
use crate::{Demo, Pages};

fn demo(pages: &Pages) -> Result<&Demo, Failure> {
    pages.demo.as_ref().ok_or(Failure::Gone)
}

/// What this is, and a button.
pub(crate) async fn home(
    State(pages): State<Arc<Pages>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Demo { user, .. } = demo(&pages)?;
    html(&Home { t: Language::of(None, &headers), user })
}

/// Starts a sign-in and leads to its page.
pub(crate) async fn start(State(pages): State<Arc<Pages>>) -> Result<Response, Failure> {
    let Demo { integration, user } = demo(&pages)?;
    let mut call = (pages.call)();
    let first_factor = FirstFactor { method: "demo".to_owned(), at: call.now };
    let start = Start {
        integration: *integration,
        whom: Whom::User(UserRef::Name(user.clone())),
        called: user.clone(),
        first_factor: Some(first_factor),
        purpose: None,
        methods: None,
        languages: None,
        within: None,
        back: None,
    };
    let handle = pages.signins.start(&mut call, start).ok_or(Failure::Busy)?;
    Ok(Redirect::to(&handle.path()).into_response())
}
