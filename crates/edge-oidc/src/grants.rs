//! Codes and access tokens: opaque, kept as hashes, for seconds and minutes.

use std::fmt;
use std::time::Duration;

use app::sign_ins::Passed;
use data_encoding::BASE64URL_NOPAD;
use domain::protocol::TokenAlgorithm;
use statement::{IntegrationId, Timestamp, sha256};

use crate::table::{Key, Table};

/// How long a code can be exchanged: the relying party has it the moment that the browser arrives.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// How long a code is remembered, so that its second use ends the first one's token (RFC 6749 §4.1.2).
const CODE_MEMORY: Duration = Duration::from_secs(10 * 60);
/// How long an access token works: it buys a look at who signed in.
pub(crate) const ACCESS_LIFE: Duration = Duration::from_secs(5 * 60);
/// How many of each are kept: as many as there can be sign-ins.
const MOST: usize = app::sign_ins::MAX_SIGN_INS;

/// 256 random bits, as text. Redacted in `Debug`.
pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub(crate) fn draw(rng: &mut dyn rand::CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// The same once more: copies are made by name.
    pub(crate) const fn copy(&self) -> Self {
        Self(self.0)
    }

    pub(crate) fn reveal(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    pub(crate) fn key(&self) -> Key {
        sha256(&[b"countersign/oidc-secret/v1\0", &self.0])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// What a code is exchanged for, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) client: IntegrationId,
    pub(crate) redirect_uri: String,
    /// `code_challenge` of the request: the SHA-256 of a verifier (RFC 7636).
    pub(crate) challenge: String,
    pub(crate) nonce: Option<String>,
    pub(crate) id_token: TokenAlgorithm,
    pub(crate) passed: Passed,
}

enum Code {
    Fresh {
        until: Timestamp,
        grant: Box<Grant>,
    },
    /// Exchanged; for the access token with this hash.
    Spent(IntegrationId, Key),
}

/// Codes and access tokens of this process.
pub(crate) struct Grants {
    codes: Table<Code>,
    access: Table<Passed>,
}

impl Grants {
    pub(crate) fn new() -> Self {
        Self { codes: Table::new(CODE_MEMORY, MOST), access: Table::new(ACCESS_LIFE, MOST) }
    }

    /// Keeps a grant under a new code; `None` if there are too many.
    pub(crate) fn issue(&self, call: &mut app::Call, grant: Grant) -> Option<Secret> {
        let code = Secret::draw(&mut *call.rng);
        let until = call.now.plus(CODE_LIFE);
        self.codes
            .insert(call.now, code.key(), Code::Fresh { until, grant: Box::new(grant) })
            .then_some(code)
    }

    /// Exchanges a code, once: its client gets the grant, if it is as `wanted`, and `access` works from then on.
    /// A second use ends that token. Another client's try changes nothing.
    pub(crate) fn exchange(
        &self,
        now: Timestamp,
        code: &Secret,
        client: IntegrationId,
        access: &Secret,
        wanted: impl FnOnce(&Grant) -> bool,
    ) -> Option<Grant> {
        let exchanged = self.codes.with(now, &code.key(), |state| match state {
            Code::Fresh { until, grant } if grant.client == client => {
                let (in_time, grant) = (now < *until, Grant::clone(grant));
                *state = Code::Spent(client, access.key());
                // inside the lock: whoever comes second must find the token to end it
                let good = in_time
                    && wanted(&grant)
                    && self.access.insert(now, access.key(), grant.passed.clone());
                Ok(good.then_some(grant))
            }
            Code::Spent(owner, token) if *owner == client => Err(*token),
            Code::Fresh { .. } | Code::Spent(..) => Ok(None),
        });
        match exchanged? {
            Ok(grant) => grant,
            Err(token) => {
                self.access.take(now, &token);
                None
            }
        }
    }

    /// Lets `access` work; `false` if there are too many.
    pub(crate) fn admit(&self, now: Timestamp, access: &Secret, passed: Passed) -> bool {
        self.access.insert(now, access.key(), passed)
    }

    pub(crate) fn who(&self, now: Timestamp, access: &Secret) -> Option<Passed> {
        self.access.with(now, &access.key(), |passed| passed.clone())
    }
}

#[cfg(test)]
mod tests {
    use domain::challenge::Proof;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use statement::UserId;

    use super::*;

    const CLIENT: IntegrationId = IntegrationId::from_bytes([1; 16]);

    fn call(seconds: u64, seed: u64) -> app::Call {
        app::Call {
            now: Timestamp::from_millis(seconds * 1000),
            rng: Box::new(StdRng::seed_from_u64(seed)),
        }
    }

    fn grant() -> Grant {
        Grant {
            client: CLIENT,
            redirect_uri: "https://rp.example/cb".to_owned(),
            challenge: "c".to_owned(),
            nonce: None,
            id_token: TokenAlgorithm::Rs256,
            passed: Passed {
                user: UserId::from_bytes([2; 16]),
                name: "alice".to_owned(),
                proof: Proof::Push(statement::DeviceId::from_bytes([3; 16])),
                acr: "urn:countersign:acr:number-match",
                at: Timestamp::from_millis(1),
            },
        }
    }

    #[test]
    fn a_code_is_exchanged_once_by_its_client_and_a_second_use_ends_the_token() {
        let grants = Grants::new();
        let code = grants.issue(&mut call(0, 1), grant()).expect("room");
        let [first, second] = [2, 3].map(|seed| Secret::draw(&mut *call(0, seed).rng));
        let now = Timestamp::from_millis(1000);
        let other = IntegrationId::from_bytes([9; 16]);
        assert!(grants.exchange(now, &code, other, &second, |_| true).is_none());
        assert!(grants.exchange(now, &code, CLIENT, &first, |_| true).is_some());
        assert!(grants.who(now, &first).is_some());
        assert!(grants.exchange(now, &code, other, &second, |_| true).is_none());
        assert!(grants.who(now, &first).is_some(), "a stranger ends nothing");
        assert!(grants.exchange(now, &code, CLIENT, &second, |_| true).is_none());
        assert!(grants.who(now, &first).is_none());
        assert!(grants.who(now, &second).is_none());
    }

    #[test]
    fn a_code_is_spent_by_a_wrong_verifier_and_by_time() {
        let grants = Grants::new();
        let access = Secret::draw(&mut *call(0, 2).rng);
        let code = grants.issue(&mut call(0, 1), grant()).expect("room");
        let now = Timestamp::from_millis(59_999);
        assert!(grants.exchange(now, &code, CLIENT, &access, |_| false).is_none());
        assert!(grants.exchange(now, &code, CLIENT, &access, |_| true).is_none());
        assert!(grants.who(now, &access).is_none());
        let code = grants.issue(&mut call(0, 3), grant()).expect("room");
        let late = Timestamp::from_millis(60_000);
        assert!(grants.exchange(late, &code, CLIENT, &access, |_| true).is_none());
        let text = code.reveal();
        assert_eq!(text.len(), 43);
        assert!(!format!("{code:?}").contains(&text));
    }
}
