//! CIBA (OpenID Connect Client-Initiated Backchannel Authentication Core 1.0): a client that has checked a first
//! factor asks without a browser, shows the number that it is given, and fetches tokens once the person has typed it.
//!
//! What a client is given (`auth_req_id`) names a challenge and holds the secret of its session. So nothing is kept
//! here: the ledger knows whose it is, how it ended and whether it was fetched, also after a restart.
//!
//! Architecture invariant: everything that can be wrong with a request is found before anybody is looked up, and
//! there is no request without a number.

mod ask;
mod follow;
mod poll;
mod request;

use app::sign_ins::End;
use domain::challenge::Decided;
use statement::ChallengeId;

pub(crate) use self::ask::{ask, refusal};
pub use self::follow::MAX_FOLLOWED;
pub(crate) use self::follow::{Followed, Room, deliver};
pub(crate) use self::poll::{Pace, collect, redeemed};
pub(crate) use self::request::is_bearer;
use crate::grants::Secret;
use crate::returning;

/// The grant type that fetches tokens (§10.1).
pub(crate) const GRANT: &str = "urn:openid:params:grant-type:ciba";
/// The claim that ties an ID token to its request (§10.3.1; there for push mode, and some clients want it always).
const AUTH_REQ_ID_CLAIM: &str = "urn:openid:params:jwt:claim:auth_req_id";

/// A request that was made: which challenge, and the secret that stands in for a browser's session.
pub(crate) struct Request {
    pub(crate) challenge: ChallengeId,
    pub(crate) session: Secret,
}

impl Request {
    /// The text that a client is given, of characters that §7.3 allows.
    fn auth_req_id(&self) -> String {
        format!("{}.{}", self.challenge, self.session.reveal())
    }

    /// The same once more.
    fn copy(&self) -> Self {
        Self { challenge: self.challenge, session: self.session.copy() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (challenge, session) = text.split_once('.')?;
        let request = Self { challenge: challenge.parse().ok()?, session: Secret::parse(session)? };
        // to the letter: one request has one name
        (request.auth_req_id() == text).then_some(request)
    }
}

/// What an end is called.
fn about(decided: &Decided) -> &'static str {
    returning::about(&End::Refused(decided.decision))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_request_has_one_name() {
        let challenge = ChallengeId::from_bytes([7; 24]);
        let session = Secret::draw(&mut StdRng::seed_from_u64(1));
        let text = Request { challenge, session }.auth_req_id();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
        assert_eq!(Request::parse(&text).map(|read| read.auth_req_id()), Some(text.clone()));
        let upper = text.replacen("chl_", "CHL_", 1);
        for bad in ["", ".", "x", &text[1..], &format!("{text}A"), &format!("{text}.x"), &upper] {
            assert!(Request::parse(bad).is_none(), "{bad}");
        }
    }
}
