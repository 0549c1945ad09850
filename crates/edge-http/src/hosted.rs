//! The hosted page of a challenge, and the way back from it.

use std::sync::Arc;

use app::sign_ins::{End, Hosting, Return, ReturnForm, ReturnMethod};
use app::{App, Call, Caller, Created, Error, FirstFactor};
use ports::BoxFuture;
use statement::ChallengeId;

use crate::Rest;

/// What one page leads back to.
struct Returning {
    app: Arc<App>,
    challenge: ChallengeId,
    url: String,
}

/// What a page shows.
pub(crate) struct Shown<'a> {
    /// The challenge.
    pub(crate) created: &'a Created,
    /// What it calls the user.
    pub(crate) called: String,
    /// What the integration checked.
    pub(crate) first_factor: Option<FirstFactor>,
}

/// The address of the page of a challenge that was made with a return address.
///
/// # Errors
/// [`Error::Store`] if there are too many pages.
pub(crate) fn page(
    state: &Rest,
    call: &Call,
    caller: &Caller,
    shown: Shown<'_>,
    url: String,
) -> Result<String, Error> {
    let Shown { created, called, first_factor } = shown;
    let vouched = caller.integration().verifies_first_factor;
    let always = || FirstFactor { method: "integration".to_owned(), at: call.now };
    let first_factor = first_factor.or_else(|| vouched.then(always));
    let app = Arc::clone(&state.app);
    let back = Arc::new(Returning { app, challenge: created.view.id, url });
    let hosting = Hosting { created, called, first_factor, back };
    let path = state.app.host_challenge(call, &state.sign_ins, caller, hosting)?;
    Ok(format!("{}{path}", state.app.public_url()))
}

impl Returning {
    /// Sent by GET: a form that is posted from here to another site comes there without the `Lax` cookie by which the
    /// integration knows its browser. The code is of no use without the API key and that browser's session.
    fn made(&self, end: &End) -> ReturnForm {
        let (action, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        // a form that is sent by GET replaces the query of its address: it goes along as fields
        let mut fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        fields.push(("challenge".to_owned(), self.challenge.to_string()));
        if *end == End::Approved {
            fields.push(("return_code".to_owned(), self.app.return_code(self.challenge)));
        }
        ReturnForm { method: ReturnMethod::Get, action: action.to_owned(), fields }
    }
}

impl Return for Returning {
    fn form<'a>(
        &'a self,
        _: &'a mut Call,
        end: &'a End,
    ) -> BoxFuture<'a, Result<ReturnForm, Error>> {
        Box::pin(async move { Ok(self.made(end)) })
    }
}
