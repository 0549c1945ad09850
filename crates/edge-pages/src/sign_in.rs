//! The sign-in page: asks, shows the number, follows the sign-in to its end, leads back.

use std::sync::Arc;
use std::time::Duration;

use app::Error;
use app::sign_ins::{Asked, ReturnForm, Shown, Waits};
use axum::Form;
use axum::extract::{FromRequest as _, Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::challenge::Method;
use http::header::{CONTENT_SECURITY_POLICY, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use ports::BoxFuture;

use crate::page::{self, Failure, html};
use crate::visitor::{Arrival, Visitor};
use crate::{Pages, fence, qr};

/// How long a page's wait for a change is held. Short, because a browser opens only six connections to a
/// server: further tabs wait for the first ones.
const HOLD: Duration = Duration::from_secs(10);

/// After what time a page looks again where nobody tells it: of an enrolment, or while too many wait to be told.
const UNTOLD: Duration = Duration::from_secs(1);

#[derive(serde::Deserialize)]
struct NameForm {
    user: String,
}

#[derive(serde::Deserialize)]
struct CodeForm {
    code: String,
}

/// The page. Opening it asks the person, once.
pub(crate) async fn show(
    State(pages): State<Arc<Pages>>,
    arrival: Arrival,
) -> Result<Response, Failure> {
    let Arrival { visitor, set_cookie } = arrival;
    let shown = advance(&pages, &visitor).await?;
    let to = asker(&pages, &visitor).await?;
    let (t, user) = (visitor.language, &visitor.sign_in.called());
    let mut earned = None;
    let mut response = match shown {
        Shown::Unnamed => html(&page::Who { t, to: &to, path: &visitor.path, rejected: false })?,
        Shown::Enrolling { enrolling, seen } => {
            waiting(&page::Enrol::new(t, &to, user, &visitor.path, &enrolling, &seen))?
        }
        Shown::Waiting { asked, left } => waiting(&page::Waiting {
            t,
            to: &to,
            user,
            path: &visitor.path,
            number: asked.number.as_str(),
            qr: qr::number(asked.number.as_str()),
            seen: &asked.seen(),
            ms: left.as_millis(),
            takes_codes: takes_codes(&asked),
        })?,
        Shown::Over { end, form, device_cookie, fresh } => {
            earned = device_cookie.map(|value| visitor.set_device_cookie(&pages, &value));
            let page = page::Over {
                t,
                to: &to,
                user,
                path: &visitor.path,
                end: &end,
                back: form.as_ref(),
                fresh,
                retry: visitor.sign_in.can_retry((pages.call)().now),
                home: pages.demo.is_some(),
            };
            let mut response = html(&page)?;
            if let Some(policy) = form.as_ref().and_then(leaving) {
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            }
            response
        }
    };
    for cookie in set_cookie.into_iter().chain(earned) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The content policy of a page that leads back.
fn leaving(form: &ReturnForm) -> Option<HeaderValue> {
    HeaderValue::from_str(&fence::csp_leaving_to(&form.action)).ok()
}

/// A page that waits, by our script where there is one.
fn waiting(page: &impl askama::Template) -> Result<Response, Failure> {
    let mut response = html(page)?;
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, fence::CSP_WAITING);
    Ok(response)
}

/// Answers when the challenge changes, or soon; then the page shows how things stand.
pub(crate) async fn wait(
    State(pages): State<Arc<Pages>>,
    visitor: Visitor,
) -> Result<Response, Failure> {
    let mut call = (pages.call)();
    if let Some(waits) = pages.app.watch_sign_in(&mut call, &visitor.sign_in).await? {
        hold(&pages, waits).await;
    }
    Ok(back(&visitor))
}

/// What the page shows.
#[derive(serde::Deserialize)]
pub(crate) struct Seen {
    seen: String,
}

/// The same for the script: 204 while the page shows how things stand, 200 once it doesn't.
pub(crate) async fn state(
    State(pages): State<Arc<Pages>>,
    visitor: Visitor,
    Query(Seen { seen }): Query<Seen>,
) -> Result<StatusCode, Failure> {
    let mut call = (pages.call)();
    let mut waits = pages.app.watch_sign_in(&mut call, &visitor.sign_in).await?;
    if let Some(held) = waits.take_if(|waits| waits.seen == seen) {
        hold(&pages, held).await;
        let mut call = (pages.call)();
        waits = pages.app.watch_sign_in(&mut call, &visitor.sign_in).await?;
    }
    let stands = waits.is_some_and(|waits| waits.seen == seen);
    Ok(if stands { StatusCode::NO_CONTENT } else { StatusCode::OK })
}

/// Until the next change, the end of the challenge's time, or soon.
async fn hold(pages: &Pages, waits: Waits) {
    let (change, most) = match waits.change {
        Some(change) => (change, HOLD),
        None => (Box::pin(std::future::pending()) as BoxFuture<'static, ()>, UNTOLD),
    };
    let mut stopping = pages.stopping.clone();
    tokio::select! {
        () = change => {}
        () = tokio::time::sleep(most.min(waits.left)) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

/// The form for a code: a page of its own, which doesn't reload while somebody types.
pub(crate) async fn code_form(
    State(pages): State<Arc<Pages>>,
    visitor: Visitor,
) -> Result<Response, Failure> {
    code_page(&pages, &visitor, false).await
}

async fn code_page(
    pages: &Arc<Pages>,
    visitor: &Visitor,
    rejected: bool,
) -> Result<Response, Failure> {
    match advance(pages, visitor).await? {
        Shown::Waiting { asked, .. } if takes_codes(&asked) => {
            let mut response = waiting(&page::Code {
                t: visitor.language,
                to: &asker(pages, visitor).await?,
                user: &visitor.sign_in.called(),
                path: &visitor.path,
                number: asked.number.as_str(),
                seen: &asked.seen(),
                methods: asked.methods,
                rejected,
            })?;
            if rejected {
                *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            }
            Ok(response)
        }
        Shown::Unnamed | Shown::Enrolling { .. } | Shown::Waiting { .. } | Shown::Over { .. } => {
            Ok(back(visitor))
        }
    }
}

/// Tries a code.
pub(crate) async fn submit_code(
    State(pages): State<Arc<Pages>>,
    visitor: Visitor,
    request: Request,
) -> Result<Response, Failure> {
    let CodeForm { code } = read_form(request).await?;
    let mut call = (pages.call)();
    let tried = pages.app.sign_in_code(&mut call, &visitor.sign_in, &code);
    match tried.await {
        Ok(()) => Ok(back(&visitor)),
        Err(Error::CodeWrong) => code_page(&pages, &visitor, true).await,
        Err(error) => Err(error.into()),
    }
}

/// Takes the name of whoever signs in.
pub(crate) async fn name(
    State(pages): State<Arc<Pages>>,
    visitor: Visitor,
    request: Request,
) -> Result<Response, Failure> {
    let NameForm { user } = read_form(request).await?;
    if visitor.sign_in.name_user(&user).is_ok() {
        return Ok(back(&visitor));
    }
    let to = asker(&pages, &visitor).await?;
    let who = page::Who { t: visitor.language, to: &to, path: &visitor.path, rejected: true };
    let mut response = html(&who)?;
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    Ok(response)
}

async fn read_form<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, Failure> {
    let form = Form::from_request(request, &());
    match tokio::time::timeout(http_limits::BODY_DEADLINE, form).await {
        Ok(Ok(Form(form))) => Ok(form),
        Ok(Err(_)) | Err(_) => Err(Failure::BadForm),
    }
}

/// Takes the challenge back.
pub(crate) async fn cancel(
    State(pages): State<Arc<Pages>>,
    visitor: Visitor,
) -> Result<Response, Failure> {
    let mut call = (pages.call)();
    pages.app.cancel_sign_in(&mut call, &visitor.sign_in).await?;
    Ok(back(&visitor))
}

/// Makes room for another challenge, once one has ended without a sign-in.
pub(crate) async fn retry(visitor: Visitor) -> Response {
    visitor.sign_in.retry().await;
    back(&visitor)
}

/// Whether the script may send the form that leads back: 204 once, 409 from then on.
pub(crate) async fn leave(visitor: Visitor) -> StatusCode {
    if visitor.sign_in.leave() { StatusCode::NO_CONTENT } else { StatusCode::CONFLICT }
}

fn back(visitor: &Visitor) -> Response {
    Redirect::to(&visitor.path).into_response()
}

fn takes_codes(asked: &Asked) -> bool {
    asked.methods.has(Method::Totp) || asked.methods.has(Method::RecoveryCode)
}

/// What the integration of a sign-in is called.
async fn asker(pages: &Pages, visitor: &Visitor) -> Result<String, Error> {
    let caller = pages.app.page_caller(visitor.sign_in.integration()).await?;
    Ok(caller.integration().name.clone())
}

/// Moves the sign-in on as far as it goes. In a task of its own: a browser that hangs up while an approval is
/// being redeemed must not lose it.
async fn advance(pages: &Arc<Pages>, visitor: &Visitor) -> Result<Shown, Failure> {
    let (pages, visitor) = (Arc::clone(pages), visitor.clone());
    let step = async move {
        let mut call = (pages.call)();
        pages.app.step_sign_in(&mut call, &visitor.sign_in, &visitor.context).await
    };
    match tokio::spawn(http_limits::of_request(step)).await {
        Ok(shown) => Ok(shown?),
        // it panicked, which the hook has logged, or the server ends
        Err(_) => Err(Failure::Internal),
    }
}
