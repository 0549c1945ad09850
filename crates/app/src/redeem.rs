//! Redeem: an approval becomes a receipt, exactly once, for the browser session that asked.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use domain::audit::{Cause, Entry, Event};
use domain::challenge::{Challenge, Decided, Proof};
use domain::cookie::DeviceCookie;
use domain::directory::User;
use domain::receipt;
use ports::{MacKey, Redeem, Redeemed, UserRef};
use serde::Serialize;
use statement::{ChallengeId, Timestamp, UserId, sha256};
use subtle::ConstantTimeEq as _;

use crate::create::session_hash;
use crate::{App, Call, Caller, Error};

/// Signed proof of an approval, and the cookie that the browser earns by it. Redacted in `Debug`.
#[derive(Clone)]
pub struct Receipt {
    /// A compact JWS.
    pub receipt: String,
    /// Text for a cookie.
    pub device_cookie: String,
    /// What passed the sign-in.
    pub proof: Proof,
    /// The authentication context class that the receipt says.
    pub acr: &'static str,
    /// Who passed it.
    pub user: UserId,
    /// The name by which integrations know them.
    pub name: String,
    /// When it was approved.
    pub at: Timestamp,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt(redacted)")
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: String,
    aud: String,
    sub: String,
    name: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
    challenge: String,
    purpose: &'a str,
    acr: &'a str,
    amr: &'a [&'a str],
    auth_time: u64,
    bsh: String,
    phishing_resistant: bool,
}

impl App {
    /// Redeems an approval. `return_code` is what the browser brought back from the challenge's hosted page,
    /// if it has one; a missing or wrong one counts as a wrong session.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotApproved`], [`Error::AlreadyRedeemed`], [`Error::Lapsed`],
    /// [`Error::WrongSession`] (counted; the fifth lapses it), [`Error::Invalid`], [`Error::Store`].
    pub async fn redeem(
        &self,
        call: &mut Call,
        caller: &Caller,
        id: ChallengeId,
        browser_session: &str,
        return_code: Option<&str>,
    ) -> Result<Receipt, Error> {
        let session =
            session_hash(browser_session).map_err(|why| Error::invalid("browser_session", why))?;
        let (challenge, _) = self.own_challenge(call, caller, id).await?;
        let session = match (challenge.returns, return_code) {
            (false, None) => session,
            (false, Some(_)) => {
                return Err(Error::invalid("return_code", "this challenge has no hosted page"));
            }
            (true, code) if self.is_return_code(id, code.unwrap_or_default()) => session,
            // no session has this hash: the ledger counts it, and ends the approval at the fifth
            (true, _) => [0; 32],
        };
        let entry = |event| {
            Entry::new(challenge.tenant, event).with(|public| {
                public.challenge = Some(id);
                public.user = Some(challenge.user);
                public.integration = Some(challenge.integration);
            })
        };
        let audit = entry(Event::ChallengeRedeemed);
        let wrong = Some(Cause::WrongSession.into());
        let audit_wrong = entry(Event::RedeemRefused).with(|public| public.cause = wrong);
        let item = Redeem { challenge: id, session, audit, audit_wrong };
        // read before it is spent: a failure costs nothing, and a cookie of an epoch that ends meanwhile is
        // dead at once
        let user = self.directory.user(challenge.tenant, UserRef::Id(challenge.user)).await?;
        match self.ledger.redeem(item).await? {
            Redeemed::Redeemed(decided) => {
                let user = &user.ok_or(Error::Lapsed)?.user;
                self.make_receipt(call, user, &challenge, decided, browser_session)
            }
            Redeemed::NotApproved => Err(Error::NotApproved),
            Redeemed::Already => Err(Error::AlreadyRedeemed),
            Redeemed::Lapsed => Err(Error::Lapsed),
            Redeemed::WrongSession => Err(Error::WrongSession),
            Redeemed::Unknown => Err(Error::NotFound),
        }
    }

    /// What the bound browser of a challenge's hosted page brings back once it is approved. Derived, so that a
    /// restart between page and redeem doesn't matter; it works once because an approval is redeemed once.
    #[must_use]
    pub fn return_code(&self, id: ChallengeId) -> String {
        BASE64URL_NOPAD.encode(&self.vault.mac(MacKey::Return, &[b"code\0", id.as_bytes()]))
    }

    fn is_return_code(&self, id: ChallengeId, code: &str) -> bool {
        self.return_code(id).as_bytes().ct_eq(code.as_bytes()).into()
    }

    fn make_receipt(
        &self,
        call: &mut Call,
        user: &User,
        challenge: &Challenge,
        decided: Decided,
        browser_session: &str,
    ) -> Result<Receipt, Error> {
        let proof = decided.proof.ok_or(Error::Lapsed)?;
        let acr = receipt::acr(proof, challenge.digits);
        let claims = Claims {
            iss: format!("{}/receipt", self.settings.public_url),
            aud: challenge.integration.to_string(),
            sub: challenge.user.to_string(),
            name: &user.name,
            jti: BASE64URL_NOPAD.encode(&call.random::<16>()),
            iat: call.now.seconds(),
            exp: call.now.seconds() + receipt::LIFE_S,
            challenge: challenge.id.to_string(),
            purpose: challenge.purpose.name(),
            acr,
            amr: receipt::amr(proof),
            auth_time: decided.at.seconds(),
            bsh: BASE64URL_NOPAD.encode(&sha256(&[browser_session.as_bytes()])),
            phishing_resistant: false,
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| Error::Lapsed)?;
        let cookie = DeviceCookie { id: call.random(), issued: call.now, epoch: user.epoch };
        let bytes = cookie.signed_bytes(challenge.tenant, challenge.user, challenge.integration);
        let mac = self.vault.mac(MacKey::DeviceCookie, &[&bytes]);
        Ok(Receipt {
            receipt: self.vault.sign_receipt(&claims),
            device_cookie: cookie.encode(&mac),
            proof,
            acr,
            user: user.id,
            name: user.name.clone(),
            at: decided.at,
        })
    }
}
