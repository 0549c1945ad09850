//! The way back to a relying party: with a code, or with an error.

use std::sync::Arc;

use app::Call;
use app::sign_ins::{End, Return, ReturnForm, ReturnMethod};
use axum::response::{IntoResponse, Redirect, Response};
use domain::challenge::Decision;
use http_limits::HostedPage;
use ports::{BoxFuture, StoreError};
use statement::IntegrationId;

use crate::Oidc;
use crate::client::Client;
use crate::grants::{Grant, Grants};
use crate::oauth::{Code, OAuthError};
use crate::request::{BackTo, Mode, Wanted};

/// What one sign-in goes back to.
pub(crate) struct Returning {
    issuer: String,
    grants: Arc<Grants>,
    client: IntegrationId,
    wanted: Wanted,
}

impl Returning {
    pub(crate) fn new(oidc: &Oidc, client: &Client, wanted: Wanted) -> Self {
        Self {
            issuer: oidc.issuer().to_owned(),
            grants: Arc::clone(&oidc.0.grants),
            client: client.integration.id,
            wanted,
        }
    }

    fn made(&self, call: &mut Call, end: &End) -> Result<ReturnForm, app::Error> {
        let passed = match end {
            End::SignedIn(passed) if self.wanted.wish.takes(passed.acr) => passed,
            End::SignedIn(_) => {
                let about = "the sign-in doesn't have an acr that was asked for as essential";
                let error = OAuthError::new(Code::UnmetAuthenticationRequirements, about);
                return Ok(self.refusal(&error));
            }
            other => return Ok(self.refusal(&OAuthError::new(Code::AccessDenied, about(other)))),
        };
        let grant = Grant {
            client: self.client,
            redirect_uri: self.wanted.back.uri.clone(),
            challenge: self.wanted.challenge.clone(),
            nonce: self.wanted.nonce.clone(),
            id_token: self.wanted.id_token,
            passed: passed.clone(),
        };
        let code = self.grants.issue(call, grant).ok_or(StoreError::Overloaded)?;
        Ok(form(&self.issuer, &self.wanted.back, vec![("code".to_owned(), code.reveal())]))
    }

    fn refusal(&self, error: &OAuthError) -> ReturnForm {
        form(&self.issuer, &self.wanted.back, told(error))
    }
}

impl Return for Returning {
    fn form<'a>(
        &'a self,
        call: &'a mut Call,
        end: &'a End,
    ) -> BoxFuture<'a, Result<ReturnForm, app::Error>> {
        Box::pin(async move { self.made(call, end) })
    }
}

/// What a relying party is told of an end that isn't an approval.
pub(crate) const fn about(end: &End) -> &'static str {
    match end {
        End::SignedIn(_) | End::Approved => "the sign-in was approved",
        End::Elsewhere => "the approval was used by another tab",
        End::Lapsed => "the approval has lapsed",
        End::NotEnrolled => "the user has no authenticator",
        End::Unable => "the user has set up nothing that is taken here",
        End::Refused(decision) => match decision {
            Decision::Approved | Decision::Cancelled => "the person cancelled",
            Decision::Denied => "the person declined",
            Decision::Reported => "the person reported the request as not theirs",
            Decision::Mismatch => "another number was typed",
            Decision::Expired => "nobody answered in time",
            Decision::Superseded => "replaced by a newer request",
        },
    }
}

fn told(error: &OAuthError) -> Vec<(String, String)> {
    vec![
        ("error".to_owned(), error.code.name().to_owned()),
        ("error_description".to_owned(), error.about.to_owned()),
    ]
}

/// Fields with what every answer carries: state, and who answers (RFC 9207).
fn with_context(
    issuer: &str,
    back: &BackTo,
    mut fields: Vec<(String, String)>,
) -> Vec<(String, String)> {
    if let Some(state) = &back.state {
        fields.push(("state".to_owned(), state.clone()));
    }
    fields.push(("iss".to_owned(), issuer.to_owned()));
    fields
}

fn form(issuer: &str, back: &BackTo, fields: Vec<(String, String)>) -> ReturnForm {
    let fields = with_context(issuer, back, fields);
    match back.mode {
        Mode::FormPost => {
            ReturnForm { method: ReturnMethod::Post, action: back.uri.clone(), fields }
        }
        Mode::Query => {
            // a form that is sent by GET replaces the query of its address: it goes along as fields
            let (action, query) = back.uri.split_once('?').unwrap_or((&back.uri, ""));
            let own = form_urlencoded::parse(query.as_bytes()).into_owned();
            let fields = own.chain(fields).collect();
            ReturnForm { method: ReturnMethod::Get, action: action.to_owned(), fields }
        }
    }
}

/// An error that goes back at once, with nobody asked.
pub(crate) fn answer(issuer: &str, back: &BackTo, error: &OAuthError) -> Response {
    match back.mode {
        Mode::FormPost => HostedPage::Leave(form(issuer, back, told(error))).into_response(),
        Mode::Query => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(with_context(issuer, back, told(error)));
            let separator = if back.uri.contains('?') { '&' } else { '?' };
            Redirect::to(&format!("{}{separator}{}", back.uri, query.finish())).into_response()
        }
    }
}
