//! The sign-in page: asks, shows the number, follows the challenge to its end, redeems.

use std::sync::Arc;
use std::time::Duration;

use app::{Call, Caller, CreateRequest, Error};
use axum::Form;
use axum::extract::{FromRequest as _, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::challenge::{Decision, Method, State as Standing};
use http::StatusCode;
use http::header::SET_COOKIE;
use ports::UserRef;
use tracing::Instrument as _;

use crate::Pages;
use crate::page::{self, Failure, html};
use crate::sign_ins::{Asked, Outcome, Stage};
use crate::visitor::{Arrival, Visitor};

/// How long a page's wait for a change is held. Short, because a browser opens only six connections to a
/// server: further tabs wait for the first ones.
const HOLD: Duration = Duration::from_secs(10);

/// A sign-in as its own browser is shown it.
struct Shown {
    /// The name of the integration.
    to: String,
    view: View,
    device_cookie: Option<String>,
}

enum View {
    Waiting { asked: Asked, left: Duration },
    Over(Outcome),
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
    let Shown { to, view, device_cookie } = shown;
    let user = &visitor.sign_in.user;
    let mut response = match view {
        View::Waiting { asked, left } => html(&page::Waiting {
            to: &to,
            user,
            path: &visitor.path,
            number: asked.number.as_str(),
            seconds: page::round(left),
            takes_codes: takes_codes(&asked),
        }),
        View::Over(outcome) => html(&page::Over {
            to: &to,
            user,
            path: &visitor.path,
            outcome,
            home: pages.demo.is_some(),
        }),
    }?;
    let device_cookie = device_cookie.map(|value| visitor.set_device_cookie(&pages, &value));
    for cookie in set_cookie.into_iter().chain(device_cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Answers when the challenge changes, or soon; then the page shows how things stand.
pub(crate) async fn wait(
    State(pages): State<Arc<Pages>>,
    visitor: Visitor,
) -> Result<Response, Failure> {
    if let Some(asked) = asked(&visitor).await {
        let caller = caller(&pages, &visitor).await?;
        let mut call = (pages.call)();
        let watch = pages.app.watch_challenge(&mut call, &caller, asked.id);
        if let Some(change) = watch.await?.change {
            let mut stopping = pages.stopping.clone();
            // whichever comes first, the page is looked at again
            tokio::select! {
                () = change => {}
                () = tokio::time::sleep(HOLD) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }
    Ok(back(&visitor))
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
    let Shown { to, view, .. } = advance(pages, visitor).await?;
    match view {
        View::Waiting { asked, .. } if takes_codes(&asked) => {
            let mut response = html(&page::Code {
                to: &to,
                user: &visitor.sign_in.user,
                path: &visitor.path,
                number: asked.number.as_str(),
                rejected,
            })?;
            if rejected {
                *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            }
            Ok(response)
        }
        View::Waiting { .. } | View::Over(_) => Ok(back(visitor)),
    }
}

/// Tries a code.
pub(crate) async fn submit_code(
    State(pages): State<Arc<Pages>>,
    visitor: Visitor,
    request: Request,
) -> Result<Response, Failure> {
    let CodeForm { code } = read_form(request).await?;
    let Some(asked) = asked(&visitor).await else {
        return Ok(back(&visitor));
    };
    let caller = caller(&pages, &visitor).await?;
    let mut call = (pages.call)();
    let tried = pages.app.submit_code(&mut call, &caller, asked.id, &code);
    match tried.await {
        Ok(_) => Ok(back(&visitor)),
        Err(Error::CodeWrong) => code_page(&pages, &visitor, true).await,
        Err(error) => Err(error.into()),
    }
}

async fn read_form(request: Request) -> Result<CodeForm, Failure> {
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
    if let Some(asked) = asked(&visitor).await {
        let caller = caller(&pages, &visitor).await?;
        let mut call = (pages.call)();
        let cancelled = pages.app.cancel_challenge(&mut call, &caller, asked.id);
        cancelled.await?;
    }
    Ok(back(&visitor))
}

/// Makes room for another challenge, once one has ended without a sign-in.
pub(crate) async fn retry(visitor: Visitor) -> Response {
    let mut stage = visitor.sign_in.stage.lock().await;
    match *stage {
        Stage::Over(Outcome::Elsewhere | Outcome::Lapsed | Outcome::Refused(_)) => {
            *stage = Stage::Fresh;
        }
        Stage::Over(Outcome::SignedIn(..)) | Stage::Fresh | Stage::Asked(_) => {}
    }
    drop(stage);
    back(&visitor)
}

fn back(visitor: &Visitor) -> Response {
    Redirect::to(&visitor.path).into_response()
}

fn takes_codes(asked: &Asked) -> bool {
    asked.methods.has(Method::Totp) || asked.methods.has(Method::RecoveryCode)
}

async fn asked(visitor: &Visitor) -> Option<Asked> {
    match &*visitor.sign_in.stage.lock().await {
        Stage::Asked(asked) => Some(asked.clone()),
        Stage::Fresh | Stage::Over(_) => None,
    }
}

async fn caller(pages: &Pages, visitor: &Visitor) -> Result<Caller, Error> {
    pages.app.page_caller(visitor.sign_in.integration).await
}

/// Moves the sign-in on as far as it goes. In a task of its own: a browser that hangs up while an approval is
/// being redeemed must not lose it.
async fn advance(pages: &Arc<Pages>, visitor: &Visitor) -> Result<Shown, Failure> {
    let step = step(Arc::clone(pages), visitor.clone()).in_current_span();
    match tokio::spawn(step).await {
        Ok(shown) => shown,
        // it panicked, which the hook has logged, or the server ends
        Err(_) => Err(Failure::Internal),
    }
}

async fn step(pages: Arc<Pages>, visitor: Visitor) -> Result<Shown, Failure> {
    let mut stage = visitor.sign_in.stage.lock().await;
    let mut call = (pages.call)();
    let caller = caller(&pages, &visitor).await?;
    let to = caller.integration().name.clone();
    if matches!(*stage, Stage::Fresh) {
        *stage = Stage::Asked(ask(&pages, &visitor, &caller, &mut call).await?);
    }
    let mut device_cookie = None;
    if let Stage::Asked(asked) = &*stage {
        let view = pages.app.challenge(&mut call, &caller, asked.id).await?;
        let decided = match view.state {
            Standing::Pending => {
                let left = view.expires.since(call.now);
                let asked = asked.clone();
                let view = View::Waiting { asked, left };
                return Ok(Shown { to, view, device_cookie });
            }
            Standing::Decided(decided) => decided,
        };
        let outcome = if decided.decision == Decision::Approved {
            let session = &visitor.context.browser_session;
            let redeemed = pages.app.redeem(&mut call, &caller, asked.id, session);
            match redeemed.await {
                Ok(receipt) => {
                    device_cookie = Some(receipt.device_cookie);
                    Outcome::SignedIn(receipt.proof, receipt.acr)
                }
                Err(Error::AlreadyRedeemed) => Outcome::Elsewhere,
                Err(Error::Lapsed) => Outcome::Lapsed,
                Err(error) => return Err(error.into()),
            }
        } else {
            Outcome::Refused(decided.decision)
        };
        *stage = Stage::Over(outcome);
    }
    match *stage {
        Stage::Over(outcome) => Ok(Shown { to, view: View::Over(outcome), device_cookie }),
        Stage::Fresh | Stage::Asked(_) => Err(Failure::Internal),
    }
}

async fn ask(
    pages: &Pages,
    visitor: &Visitor,
    caller: &Caller,
    call: &mut Call,
) -> Result<Asked, Failure> {
    let request = CreateRequest {
        user: UserRef::Name(visitor.sign_in.user.clone()),
        context: visitor.context.clone(),
        first_factor: Some(visitor.first_factor()),
        purpose: None,
        methods: None,
        ttl: None,
        details: Vec::new(),
    };
    let created = pages.app.create_challenge(call, caller, request, None);
    let created = created.await?;
    // only a replayed request is told of one that is decided
    let number = created.number.ok_or(Failure::Internal)?;
    Ok(Asked { id: created.view.id, number, methods: created.methods })
}
