//! The way back to Entra: a posted form with a token, or with an error.

use std::sync::Arc;
use std::time::Duration;

use app::sign_ins::{End, Passed, Return, ReturnForm, ReturnMethod};
use app::{App, Call, Error};
use domain::protocol::TokenAlgorithm;
use ports::{BoxFuture, StoreError};
use serde_json::{Value, json};
use statement::Timestamp;

use super::asked::{Asked, amr};
use crate::returning::about;

/// How long an answer is of use: Entra drops the attempt five minutes after it sent the browser here.
const IN_TIME: Duration = Duration::from_secs(240);
/// How long people are asked: an answer at the last moment is still to be fetched and sent.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(230);
/// How long a token holds: Entra reads it at once.
const TOKEN_LIFE_S: u64 = 5 * 60;

/// What Entra is told where there is no token. It shows the person nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// Not signed in.
    Denied,
    /// Nothing is wrong with the person or the request.
    Unavailable,
}

/// Where an answer goes, and what goes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackTo {
    pub(super) uri: String,
    pub(super) state: Option<String>,
}

impl BackTo {
    fn form(&self, name: &str, value: String) -> ReturnForm {
        let mut fields = vec![(name.to_owned(), value)];
        fields.extend(self.state.clone().map(|state| ("state".to_owned(), state)));
        ReturnForm { method: ReturnMethod::Post, action: self.uri.clone(), fields }
    }

    pub(super) fn no(&self, no: No) -> ReturnForm {
        let error = match no {
            No::Denied => "access_denied",
            No::Unavailable => "temporarily_unavailable",
        };
        self.form("error", error.to_owned())
    }
}

/// What one sign-in goes back to.
pub(super) struct Returning {
    pub(super) app: Arc<App>,
    pub(super) issuer: String,
    pub(super) back: BackTo,
    /// `client_id` of the request.
    pub(super) audience: String,
    /// The hint's.
    pub(super) sub: String,
    pub(super) nonce: Option<String>,
    pub(super) asked: Asked,
    pub(super) began: Timestamp,
    /// What Entra calls the attempt, as far as it may stand in a log: the one word that its log and ours share.
    pub(super) client_request_id: String,
}

impl Returning {
    fn made(&self, call: &Call, end: &End) -> Result<ReturnForm, Error> {
        let client_request_id = self.client_request_id.as_str();
        let End::SignedIn(passed) = end else {
            tracing::info!(
                client_request_id,
                end = about(end),
                "Entra is told that access is denied"
            );
            return Ok(self.back.no(No::Denied));
        };
        if call.now.since(self.began) > IN_TIME {
            let end = "it was approved after Entra had given the attempt up";
            tracing::info!(client_request_id, end, "Entra is told that access is denied");
            return Ok(self.back.no(No::Denied));
        }
        let Some(claims) = self.claims(call, passed) else {
            return Ok(self.back.no(No::Denied));
        };
        let claims = claims.to_string();
        let vault = self.app.vault();
        let token = vault.sign_token(TokenAlgorithm::Rs256, call.now, claims.as_bytes());
        let token = token.ok_or_else(|| StoreError::Unavailable("no key signs tokens".into()))?;
        tracing::info!(client_request_id, "Entra is told who signed in");
        Ok(self.back.form("id_token", token))
    }

    fn claims(&self, call: &Call, passed: &Passed) -> Option<Value> {
        let now = call.now.seconds();
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": self.sub,
            "iat": now,
            "exp": now + TOKEN_LIFE_S,
            "acr": self.asked.acr,
            // exactly one: Entra refuses a second
            "amr": [amr(passed.proof)?],
        });
        if let Some(nonce) = &self.nonce {
            claims["nonce"] = Value::String(nonce.clone());
        }
        Some(claims)
    }
}

impl Return for Returning {
    fn form<'a>(
        &'a self,
        call: &'a mut Call,
        end: &'a End,
    ) -> BoxFuture<'a, Result<ReturnForm, Error>> {
        Box::pin(async move { self.made(call, end) })
    }
}
