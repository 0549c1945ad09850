//! What the pages say. One word for each state, never by colour alone.

use std::time::Duration;

use app::Error;
use app::sign_ins::{End, ReturnForm, ReturnMethod};
use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use domain::challenge::{Decision, Proof};
use domain::receipt;
use http::StatusCode;
use http::header::RETRY_AFTER;

/// The trial page.
#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home<'a> {
    pub(crate) user: &'a str,
}

/// A sign-in of which nobody said whose it is.
#[derive(Template)]
#[template(path = "who.html")]
pub(crate) struct Who<'a> {
    pub(crate) to: &'a str,
    pub(crate) path: &'a str,
    pub(crate) rejected: bool,
}

/// A sign-in that waits for an answer.
#[derive(Template)]
#[template(path = "waiting.html")]
pub(crate) struct Waiting<'a> {
    pub(crate) to: &'a str,
    pub(crate) user: &'a str,
    pub(crate) path: &'a str,
    pub(crate) number: &'a str,
    pub(crate) seconds: u64,
    pub(crate) takes_codes: bool,
}

/// The same, while a code is typed.
#[derive(Template)]
#[template(path = "code.html")]
pub(crate) struct Code<'a> {
    pub(crate) to: &'a str,
    pub(crate) user: &'a str,
    pub(crate) path: &'a str,
    pub(crate) number: &'a str,
    pub(crate) rejected: bool,
}

/// A sign-in whose challenge ended.
#[derive(Template)]
#[template(path = "over.html")]
pub(crate) struct Over<'a> {
    pub(crate) to: &'a str,
    pub(crate) user: &'a str,
    pub(crate) path: &'a str,
    pub(crate) end: &'a End,
    /// What takes the browser back to who asked.
    pub(crate) back: Option<&'a ReturnForm>,
    /// Whether there is a page to start from.
    pub(crate) home: bool,
}

/// What takes a browser back at once.
#[derive(Template)]
#[template(path = "leave.html")]
pub(crate) struct Leave<'a> {
    pub(crate) form: &'a ReturnForm,
}

impl Leave<'_> {
    const fn method(&self) -> &'static str {
        method(self.form)
    }
}

#[derive(Template)]
#[template(path = "refused.html")]
struct NotTaken {
    why: &'static str,
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct Enrol;

#[derive(Template)]
#[template(path = "failure.html")]
struct Sorry {
    heading: &'static str,
    text: &'static str,
}

/// How an end is told.
struct Words {
    /// Of [`domain::challenge::State::name`].
    state: &'static str,
    tone: Tone,
    heading: &'static str,
    text: &'static str,
}

/// Which mark stands beside the heading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Stop,
    Wait,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Stop => "stop",
            Self::Wait => "late",
        }
    }
}

impl Over<'_> {
    const fn words(&self) -> Words {
        let (state, tone, heading, text) = match self.end {
            End::SignedIn(_) => (
                "approved",
                Tone::Good,
                "You are signed in",
                "Your answer was checked and this browser was let in.",
            ),
            End::Elsewhere => (
                "approved",
                Tone::Good,
                "Signed in in another tab",
                "This approval was used by another tab of this browser. Go on there, or try again here.",
            ),
            End::Lapsed => (
                "approved",
                Tone::Wait,
                "The approval has lapsed",
                "It came, but it wasn't collected in time or was taken back. You are not signed in.",
            ),
            End::NotEnrolled => (
                "not_enrolled",
                Tone::Stop,
                "No authenticator",
                "There is no authenticator to answer with yet. Speak to your administrator.",
            ),
            End::Refused(decision) => match decision {
                // an approval isn't a refusal; say the least
                Decision::Approved | Decision::Cancelled => {
                    ("cancelled", Tone::Stop, "Sign-in cancelled", "Nobody was signed in.")
                }
                Decision::Denied => (
                    "denied",
                    Tone::Stop,
                    "Sign-in declined",
                    "The request was declined on an authenticator. If that was a slip, try again.",
                ),
                Decision::Reported => (
                    "reported",
                    Tone::Stop,
                    "Reported as not you",
                    "The request was reported on an authenticator as somebody else's. If you didn't report it, \
                     speak to your administrator before you try again.",
                ),
                Decision::Mismatch => (
                    "mismatch",
                    Tone::Stop,
                    "The number didn't match",
                    "Another number than the one shown here was typed. A new try has a new number.",
                ),
                Decision::Expired => (
                    "expired",
                    Tone::Wait,
                    "Nobody answered in time",
                    "The number is no longer valid. A new try has a new number.",
                ),
                Decision::Superseded => (
                    "superseded",
                    Tone::Wait,
                    "Replaced by a newer request",
                    "This browser has asked for something else since. Go on there, or try again here.",
                ),
            },
        };
        Words { state, tone, heading, text }
    }

    /// What it was passed by, if it was.
    fn passed(&self) -> Option<Passed> {
        match self.end {
            End::SignedIn(passed) => Some(Passed::by(passed.proof, passed.acr)),
            End::Elsewhere | End::Lapsed | End::Refused(_) | End::NotEnrolled => None,
        }
    }

    /// The method of the form, as HTML writes it.
    const fn method(form: &ReturnForm) -> &'static str {
        method(form)
    }

    /// Whether the way back is taken without being asked: where a new try would help, the person chooses.
    const fn leaves(&self) -> bool {
        match self.end {
            End::SignedIn(_) => true,
            End::Refused(decision) => match decision {
                Decision::Approved
                | Decision::Cancelled
                | Decision::Denied
                | Decision::Reported => true,
                Decision::Mismatch | Decision::Expired | Decision::Superseded => false,
            },
            End::Elsewhere | End::Lapsed | End::NotEnrolled => false,
        }
    }
}

/// What a sign-in was passed by, for people and as a receipt says it.
struct Passed {
    words: &'static str,
    acr: &'static str,
    amr: String,
}

impl Passed {
    fn by(proof: Proof, acr: &'static str) -> Self {
        let words = match proof {
            Proof::Push(_) => "number match on an enrolled authenticator",
            Proof::Both(..) => "number match on an enrolled authenticator, and a code",
            Proof::BothByRecoveryCode(..) => {
                "number match on an enrolled authenticator, and a recovery code"
            }
            Proof::Totp(_) => "time-based code",
            Proof::RecoveryCode(_) => "recovery code",
        };
        Self { words, acr, amr: receipt::amr(proof).join(" ") }
    }
}

impl Waiting<'_> {
    /// The number digit by digit, for those who hear it.
    fn spelled(&self) -> String {
        self.number.chars().flat_map(|digit| [digit, ' ']).collect()
    }
}

/// Seconds rounded up to ten: the text stands still while the page does.
pub(crate) const fn round(left: Duration) -> u64 {
    left.as_millis().div_ceil(10_000) as u64 * 10
}

/// For who opens an enrolment link in a browser. What makes the link work never leaves the browser.
pub(crate) async fn enrol() -> Result<Response, Failure> {
    html(&Enrol)
}

/// The method of a form, as HTML writes it.
const fn method(form: &ReturnForm) -> &'static str {
    match form.method {
        ReturnMethod::Get => "get",
        ReturnMethod::Post => "post",
    }
}

/// For a browser that was sent here by something that can't be answered.
pub(crate) fn refused(status: StatusCode, why: &'static str) -> Response {
    let page = NotTaken { why }.render().unwrap_or_else(|_| why.to_owned());
    (status, Html(page)).into_response()
}

/// A page as a response.
pub(crate) fn html(page: &impl Template) -> Result<Response, Failure> {
    match page.render() {
        Ok(text) => Ok(Html(text).into_response()),
        Err(error) => {
            tracing::error!(%error, "page not rendered");
            Err(Failure::Internal)
        }
    }
}

/// Why there is no page. Says nothing that tells a stranger whether a sign-in exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No such sign-in, or none of this browser's.
    Gone,
    /// A form from another site.
    Foreign,
    /// A form that can't be read.
    BadForm,
    /// The user can't be asked; only where the integration may know.
    Unusable,
    /// Too much to do, or a store that can't be reached.
    Busy,
    /// Our own fault.
    Internal,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::Gone,
            Error::UserUnknown | Error::NotEnrolled => Self::Unusable,
            Error::Store(cause) => {
                tracing::warn!(%cause, "page refused: unavailable");
                Self::Busy
            }
            Error::Invalid { .. }
            | Error::Unauthenticated
            | Error::ScopeMissing(_)
            | Error::CodeWrong
            | Error::NotApproved
            | Error::AlreadyRedeemed
            | Error::Lapsed
            | Error::WrongSession
            | Error::ReasonRequired
            | Error::SecondApprover(_)
            | Error::NameTaken
            | Error::Limit(_)
            | Error::OtherRequest => {
                tracing::error!(%error, "page failed");
                Self::Internal
            }
        }
    }
}

impl Failure {
    const fn words(self) -> (StatusCode, Sorry) {
        let (status, heading, text) = match self {
            Self::Gone => (
                StatusCode::NOT_FOUND,
                "No sign-in here",
                "This sign-in has ended, or it belongs to another browser. Go back to where you came from and \
                 sign in again.",
            ),
            Self::Foreign => (
                StatusCode::FORBIDDEN,
                "Not from this page",
                "This request wasn't sent by a page of this server. Go back and try again.",
            ),
            Self::BadForm => (
                StatusCode::BAD_REQUEST,
                "That didn't work",
                "The form couldn't be read. Go back and try again.",
            ),
            Self::Unusable => (
                StatusCode::CONFLICT,
                "No authenticator",
                "There is no authenticator to answer with yet. Speak to your administrator.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "One moment",
                "The server can't answer right now. Reload this page in a few seconds.",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "That went wrong",
                "Nobody was signed in. Go back and try again.",
            ),
        };
        (status, Sorry { heading, text })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, sorry) = self.words();
        let page = sorry.render().unwrap_or_else(|_| sorry.text.to_owned());
        let mut response = (status, Html(page)).into_response();
        if self == Self::Busy {
            let seconds = http::HeaderValue::from_static("2");
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}
