//! Ask for a sign-in by number matching, wait for the person, check the receipt.
//!
//! ```no_run
//! # async fn sign_in(url: &str, key: &str, integration: &str) -> Result<(), countersign_client::Error> {
//! use countersign_client::{Countersign, Start, new_session};
//!
//! let mfa = Countersign::new(url, key, integration)?;
//! let session = new_session(); // keep it in the browser's own session
//! let start = Start { first_factor: Some("password".into()), ..Start::default() };
//! let challenge = mfa.start("alice", &session, &start).await?;
//! println!("{}", challenge.number.unwrap_or_default()); // in that browser, and nowhere else
//! let approved = mfa.wait(&challenge.id, &session).await?; // Error::NotApproved
//! # let _ = approved;
//! # Ok(())
//! # }
//! ```
//!
//! What comes back from [`Countersign::wait`] is redeemed and its receipt checked: nothing else is a sign-in.

mod receipt;
mod send;

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use rand::RngExt as _;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::RwLock;

pub use receipt::Claims;
use receipt::Keys;

/// Seconds that the server is asked to wait for a change: below what proxies in between allow.
const POLL_S: u64 = 25;

/// Why there is no sign-in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It ended otherwise: denied, reported, mismatch, expired, cancelled or superseded.
    #[error("the sign-in was not approved: {0}")]
    NotApproved(String),
    /// The server refused.
    #[error("{code}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable code (docs/problems.md).
        code: String,
        /// What to do.
        detail: String,
        /// Which request, for the server's log.
        request_id: Option<String>,
    },
    /// The receipt isn't one of this sign-in.
    #[error("the receipt is not valid: {0}")]
    Receipt(String),
    /// The server can't be reached, or what answers isn't one.
    #[error("the server can't be reached: {0}")]
    Unreachable(#[from] reqwest::Error),
}

/// What a sign-in is asked for with. What is `None` isn't sent.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// What was checked just now, such as `password`: without it nothing rings.
    pub first_factor: Option<String>,
    /// The browser's address.
    pub ip: Option<String>,
    /// Its `User-Agent`.
    pub user_agent: Option<String>,
    /// What an earlier approval gave this browser.
    pub device_cookie: Option<String>,
    /// `sign_in`, `step_up`, `transaction`, ..
    pub purpose: Option<String>,
    /// Of `push`, `totp`, `recovery_code`.
    pub methods: Option<Vec<String>>,
    /// Seconds, 30 to 300.
    pub ttl_s: Option<u32>,
    /// Lines that the device shows as what you say: label and value.
    pub details: Vec<(String, String)>,
}

/// A sign-in under way.
#[derive(Clone, Deserialize)]
pub struct Challenge {
    /// Its id, `chl_..`.
    pub id: String,
    /// What the page shows; `None` once it is decided.
    pub number: Option<String>,
    /// Digits of the number.
    pub digits: u8,
    /// Ways to pass.
    pub methods: Vec<String>,
    /// RFC 3339.
    pub expires_at: String,
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge {{ id: {}, digits: {} }}", self.id, self.digits)
    }
}

/// A sign-in that was redeemed.
#[derive(Clone)]
pub struct Approved {
    /// What the receipt says.
    pub claims: Claims,
    /// The receipt, a compact JWS.
    pub receipt: String,
    /// Keep it in the browser for 180 days and send it next time.
    pub device_cookie: String,
}

impl fmt::Debug for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Approved {{ sub: {}, challenge: {} }}", self.claims.sub, self.claims.challenge)
    }
}

#[derive(Deserialize)]
struct View {
    state: String,
}

#[derive(Deserialize)]
struct Redeemed {
    receipt: String,
    device_cookie: String,
}

/// A browser session to bind a sign-in to: 256 random bits.
#[must_use]
pub fn new_session() -> String {
    BASE64URL_NOPAD.encode(&rng().random::<[u8; 32]>())
}

#[expect(clippy::disallowed_methods, reason = "the client's one source of randomness")]
fn rng() -> impl rand::CryptoRng {
    rand::rng()
}

#[expect(clippy::disallowed_methods, reason = "the client's one clock")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// One integration's way to a server. Clone it or share it; connections are kept.
pub struct Countersign {
    http: reqwest::Client,
    url: String,
    issuer: String,
    integration: String,
    key: String,
    keys: RwLock<Keys>,
}

impl fmt::Debug for Countersign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Countersign {{ url: {}, integration: {} }}", self.url, self.integration)
    }
}

impl Countersign {
    /// `integration` is the id (`int_..`) that `integration create` printed: receipts for others are refused.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no TLS can be set up.
    pub fn new(url: &str, api_key: &str, integration: &str) -> Result<Self, Error> {
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self {
            http: send::client()?,
            issuer: format!("{url}/receipt"),
            url,
            integration: integration.to_owned(),
            key: api_key.to_owned(),
            keys: RwLock::default(),
        })
    }

    /// With the server's own URL, where `url` is another way to it.
    #[must_use]
    pub fn with_public_url(self, url: &str) -> Self {
        Self { issuer: format!("{}/receipt", url.trim_end_matches('/')), ..self }
    }

    /// Asks for a sign-in of a user, by name or by id (`usr_..`). Asked again for the same session it is the same challenge.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unreachable`].
    pub async fn start(
        &self,
        user: &str,
        session: &str,
        start: &Start,
    ) -> Result<Challenge, Error> {
        let first_factor = start.first_factor.as_ref();
        let at = now().to_string();
        let details: Vec<Value> = start
            .details
            .iter()
            .map(|(label, value)| json!({"label": label, "value": value}))
            .collect();
        let context = given(json!({
            "browser_session": session,
            "ip": start.ip,
            "user_agent": start.user_agent,
            "device_cookie": start.device_cookie,
        }));
        let body = given(json!({
            "user": named(user),
            "context": context,
            "first_factor": first_factor.map(|method| json!({"method": method, "at": at})),
            "purpose": start.purpose,
            "methods": start.methods,
            "ttl_s": start.ttl_s,
            "details": (!details.is_empty()).then_some(details),
        }));
        self.send(Method::POST, "/v1/challenges", Some(&body)).await
    }

    /// Waits until it is decided, redeems it and checks the receipt.
    ///
    /// # Errors
    /// [`Error::NotApproved`] if it ended otherwise; those of [`Countersign::redeem`].
    pub async fn wait(&self, challenge: &str, session: &str) -> Result<Approved, Error> {
        let path = format!("/v1/challenges/{challenge}?wait={POLL_S}");
        loop {
            let View { state } = self.send(Method::GET, &path, None::<&()>).await?;
            match state.as_str() {
                "pending" => {}
                "approved" => return self.redeem(challenge, session).await,
                _ => return Err(Error::NotApproved(state)),
            }
        }
    }

    /// Where it stands now. `approved` is no proof yet: wait for it or redeem it.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unreachable`].
    pub async fn state(&self, challenge: &str) -> Result<String, Error> {
        let path = format!("/v1/challenges/{challenge}");
        let View { state } = self.send(Method::GET, &path, None::<&()>).await?;
        Ok(state)
    }

    /// Turns an approval into a receipt, once, within a minute of it.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Receipt`], [`Error::Unreachable`].
    pub async fn redeem(&self, challenge: &str, session: &str) -> Result<Approved, Error> {
        let path = format!("/v1/challenges/{challenge}/redeem");
        let body = json!({"browser_session": session});
        let Redeemed { receipt, device_cookie } =
            self.send(Method::POST, &path, Some(&body)).await?;
        let claims = self.verify(&receipt, session).await?;
        if claims.challenge != challenge {
            return Err(Error::Receipt("it is of another challenge".to_owned()));
        }
        Ok(Approved { claims, receipt, device_cookie })
    }

    /// Tries a TOTP or recovery code on it: the state then.
    ///
    /// # Errors
    /// [`Error::Refused`] with `code_wrong`, [`Error::Unreachable`].
    pub async fn code(&self, challenge: &str, code: &str) -> Result<String, Error> {
        let path = format!("/v1/challenges/{challenge}/code");
        let View { state } = self.send(Method::POST, &path, Some(&json!({"code": code}))).await?;
        Ok(state)
    }

    /// Ends it: the state then, which may be an earlier decision.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unreachable`].
    pub async fn cancel(&self, challenge: &str) -> Result<String, Error> {
        let path = format!("/v1/challenges/{challenge}");
        let View { state } = self.send(Method::DELETE, &path, None::<&()>).await?;
        Ok(state)
    }
}

/// How the API names a user: by id, or by name.
fn named(user: &str) -> String {
    if user.starts_with("usr_") || user.starts_with("name:") {
        user.to_owned()
    } else {
        format!("name:{user}")
    }
}

/// Without what is null.
fn given(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        fields.retain(|_, value| !value.is_null());
    }
    body
}

/// What is sent: anything that becomes JSON.
trait Body: Serialize + Sync {}
impl<T: Serialize + Sync> Body for T {}
