//! What the pages say. One word for each state, never by colour alone.

use app::Error;
use app::sign_ins::{End, EnrolStep, Enrolling, ReturnForm, ReturnMethod};
use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use domain::challenge::{Decision, Method, Methods, Proof};
use domain::number::Number;
use domain::receipt;
use http::header::{CONTENT_SECURITY_POLICY, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::fence::CSP_ENROL;
use crate::language::Language;
use crate::qr::{self, Drawn};

/// The trial page.
#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home<'a> {
    pub(crate) t: Language,
    pub(crate) user: &'a str,
}

/// A sign-in of which nobody said whose it is.
#[derive(Template)]
#[template(path = "who.html")]
pub(crate) struct Who<'a> {
    pub(crate) t: Language,
    pub(crate) to: &'a str,
    pub(crate) path: &'a str,
    pub(crate) rejected: bool,
}

/// A sign-in that waits for an answer.
#[derive(Template)]
#[template(path = "waiting.html")]
pub(crate) struct Waiting<'a> {
    pub(crate) t: Language,
    pub(crate) to: &'a str,
    pub(crate) user: &'a str,
    pub(crate) path: &'a str,
    pub(crate) number: &'a str,
    pub(crate) qr: Option<Drawn>,
    /// Names the challenge to whoever asks whether it is still the one.
    pub(crate) seen: &'a str,
    /// How long it is valid, in milliseconds.
    pub(crate) ms: u128,
    pub(crate) takes_codes: bool,
}

/// A sign-in whose person has no authenticator yet and makes one.
#[derive(Template)]
#[template(path = "enrolling.html")]
pub(crate) struct Enrol<'a> {
    t: Language,
    to: &'a str,
    user: &'a str,
    path: &'a str,
    /// Names what is shown to whoever asks whether it still stands so.
    seen: &'a str,
    step: &'a EnrolStep,
    /// How long the ticket is valid, in milliseconds.
    ms: u128,
}

impl<'a> Enrol<'a> {
    pub(crate) fn new(
        t: Language,
        to: &'a str,
        user: &'a str,
        path: &'a str,
        enrolling: &'a Enrolling,
        seen: &'a str,
    ) -> Self {
        Self { t, to, user, path, seen, step: &enrolling.step, ms: enrolling.left.as_millis() }
    }

    fn spelled(number: &Number) -> String {
        spelled(number.as_str())
    }

    fn qr(link: &str) -> Option<Drawn> {
        qr::link(link)
    }

    fn about(&self) -> String {
        about(self.t, self.ms)
    }

    fn wants(&self, device: &str) -> String {
        self.t.say_with("enrolling.wants", "device", device)
    }
}

/// The same, while a code is typed.
#[derive(Template)]
#[template(path = "code.html")]
pub(crate) struct Code<'a> {
    pub(crate) t: Language,
    pub(crate) to: &'a str,
    pub(crate) user: &'a str,
    pub(crate) path: &'a str,
    pub(crate) number: &'a str,
    pub(crate) seen: &'a str,
    /// The kinds of code that are taken.
    pub(crate) methods: Methods,
    pub(crate) rejected: bool,
}

/// A sign-in whose challenge ended.
#[derive(Template)]
#[template(path = "over.html")]
pub(crate) struct Over<'a> {
    pub(crate) t: Language,
    pub(crate) to: &'a str,
    pub(crate) user: &'a str,
    pub(crate) path: &'a str,
    pub(crate) end: &'a End,
    /// What takes the browser back to who asked.
    pub(crate) back: Option<&'a ReturnForm>,
    /// Whether no page has taken it yet.
    pub(crate) fresh: bool,
    /// Whether a new try can be made here.
    pub(crate) retry: bool,
    /// Whether there is a page to start from.
    pub(crate) home: bool,
}

/// What takes a browser back at once.
#[derive(Template)]
#[template(path = "leave.html")]
pub(crate) struct Leave<'a> {
    pub(crate) t: Language,
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
    t: Language,
    why: &'static str,
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct Link {
    t: Language,
}

#[derive(Template)]
#[template(path = "failure.html")]
struct Sorry {
    t: Language,
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
    /// Whether a new try would be another one.
    again: bool,
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
    const fn told(&self) -> (&'static str, Tone, &'static str, &'static str) {
        match self.end {
            End::SignedIn(_) => ("approved", Tone::Good, "approved.heading", "approved.text"),
            End::Approved => ("approved", Tone::Good, "given.heading", "given.text"),
            End::Elsewhere => ("approved", Tone::Good, "elsewhere.heading", "elsewhere.text"),
            End::Lapsed => ("approved", Tone::Wait, "lapsed.heading", "lapsed.text"),
            End::NotEnrolled => {
                ("not_enrolled", Tone::Stop, "not_enrolled.heading", "not_enrolled.text")
            }
            End::Unable => ("unable", Tone::Stop, "unable.heading", "unable.text"),
            End::Refused(decision) => match decision {
                // an approval isn't a refusal; say the least
                Decision::Approved | Decision::Cancelled => {
                    ("cancelled", Tone::Stop, "cancelled.heading", "cancelled.text")
                }
                Decision::Denied => ("denied", Tone::Stop, "denied.heading", "denied.text"),
                Decision::Reported => ("reported", Tone::Stop, "reported.heading", "reported.text"),
                Decision::Mismatch => ("mismatch", Tone::Stop, "mismatch.heading", "mismatch.text"),
                Decision::Expired => ("expired", Tone::Wait, "expired.heading", "expired.text"),
                Decision::Superseded => {
                    ("superseded", Tone::Wait, "superseded.heading", "superseded.text")
                }
            },
        }
    }

    fn words(&self) -> Words {
        let (state, tone, heading, text) = self.told();
        let again = matches!(self.end, End::Refused(Decision::Mismatch | Decision::Expired));
        Words { state, tone, heading: self.t.say(heading), text: self.t.say(text), again }
    }

    /// What the button of the way back says.
    fn onward(&self) -> String {
        self.t.say_with("continue.to", "to", self.to)
    }

    /// Whether another page has taken the way back.
    const fn was_sent(&self) -> bool {
        self.back.is_some() && self.leaves() && !self.fresh
    }

    /// What it was passed by, if it was.
    fn passed(&self) -> Option<Passed> {
        match self.end {
            End::SignedIn(passed) => Some(Passed::by(self.t, passed.proof, passed.acr)),
            End::Approved
            | End::Elsewhere
            | End::Lapsed
            | End::Refused(_)
            | End::NotEnrolled
            | End::Unable => None,
        }
    }

    /// The method of the form, as HTML writes it.
    const fn method(form: &ReturnForm) -> &'static str {
        method(form)
    }

    /// Whether the way back is taken without being asked: where a new try would help, the person chooses.
    const fn leaves(&self) -> bool {
        match self.end {
            _ if !self.retry => true,
            End::SignedIn(_) | End::Approved => true,
            End::Refused(decision) => match decision {
                Decision::Approved
                | Decision::Cancelled
                | Decision::Denied
                | Decision::Reported => true,
                Decision::Mismatch | Decision::Expired | Decision::Superseded => false,
            },
            End::Elsewhere | End::Lapsed | End::NotEnrolled | End::Unable => false,
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
    fn by(t: Language, proof: Proof, acr: &'static str) -> Self {
        let words = t.say(match proof {
            Proof::Push(_) => "passed.push",
            Proof::Both(..) => "passed.both",
            Proof::BothByRecoveryCode(..) => "passed.both_by_recovery",
            Proof::Totp(_) => "passed.totp",
            Proof::RecoveryCode(_) => "passed.recovery",
        });
        Self { words, acr, amr: receipt::amr(proof).join(" ") }
    }
}

impl Home<'_> {
    fn submit(&self) -> String {
        self.t.say_with("home.submit", "user", self.user)
    }
}

impl Waiting<'_> {
    fn spelled(&self) -> String {
        spelled(self.number)
    }

    /// How long it is valid, rounded up to ten seconds: the text stands still while the page does.
    fn about(&self) -> String {
        about(self.t, self.ms)
    }
}

fn about(t: Language, ms: u128) -> String {
    let seconds = ms.div_ceil(10_000) * 10;
    t.say_with("waiting.about", "seconds", &seconds.to_string())
}

impl Code<'_> {
    /// Names no code that would be refused.
    fn label(&self) -> &'static str {
        let (totp, recovery) =
            (self.methods.has(Method::Totp), self.methods.has(Method::RecoveryCode));
        self.t.say(match (totp, recovery) {
            (true, false) => "code.label.totp",
            (false, true) => "code.label.recovery",
            _ => "code.label",
        })
    }

    fn spelled(&self) -> String {
        spelled(self.number)
    }
}

/// A number digit by digit, for those who hear it.
fn spelled(number: &str) -> String {
    number.chars().map(String::from).collect::<Vec<_>>().join(" ")
}

/// For who opens an enrolment link in a browser. What makes the link work never leaves the browser.
pub(crate) async fn enrol(headers: HeaderMap) -> Result<Response, Failure> {
    let mut response = html(&Link { t: Language::of(None, &headers) })?;
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, CSP_ENROL);
    Ok(response)
}

/// The method of a form, as HTML writes it.
const fn method(form: &ReturnForm) -> &'static str {
    match form.method {
        ReturnMethod::Get => "get",
        ReturnMethod::Post => "post",
    }
}

/// For a browser that was sent here by something that can't be answered.
pub(crate) fn refused(t: Language, status: StatusCode, why: &'static str) -> Response {
    let page = NotTaken { t, why }.render().unwrap_or_else(|_| why.to_owned());
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
    const fn told(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Gone => (StatusCode::NOT_FOUND, "gone.heading", "gone.text"),
            Self::Foreign => (StatusCode::FORBIDDEN, "foreign.heading", "foreign.text"),
            Self::BadForm => (StatusCode::BAD_REQUEST, "bad_form.heading", "bad_form.text"),
            Self::Unusable => (StatusCode::CONFLICT, "not_enrolled.heading", "not_enrolled.text"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy.heading", "busy.text"),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal.heading", "internal.text")
            }
        }
    }

    /// The page that says so.
    pub(crate) fn page(self, t: Language) -> Response {
        let (status, heading, text) = self.told();
        let page = Sorry { t, heading, text }.render();
        let page = page.unwrap_or_else(|_| t.say(text).to_owned());
        let mut response = (status, Html(page)).into_response();
        if self == Self::Busy {
            let seconds = http::HeaderValue::from_static("2");
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

impl IntoResponse for Failure {
    /// What the fence replaces by the page: it knows what language the browser speaks.
    fn into_response(self) -> Response {
        let mut response = self.told().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
