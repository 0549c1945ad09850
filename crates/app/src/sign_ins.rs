//! The sign-ins of this process: short-lived, bounded, found by an unguessable handle. Whichever edge is asked
//! to sign somebody in starts one; the hosted page alone shows it, and hands its end back to who started it.

mod inviting;
mod step;
mod table;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use domain::challenge::{Decision, MIN_TTL, Methods, Proof, Purpose};
use domain::number::Number;
use futures_util::lock::Mutex;
use ports::{BoxFuture, UserRef};
use rand::CryptoRng;
use statement::{ChallengeId, IntegrationId, Timestamp, UserId, sha256};
use subtle::ConstantTimeEq as _;

pub use self::inviting::{EnrolStep, Enrolling};
pub use self::step::{Hosting, Shown, Waits};
pub use self::table::{MAX_SIGN_INS, SignIns};
use crate::{Call, Error, FirstFactor, Receipt};

/// How long a sign-in lives: as long as the first factor that it stands on.
pub const SIGN_IN_LIFE: Duration = crate::FIRST_FACTOR_LIFE;

/// Names a sign-in: 256 random bits, in its page's address. Kept only as a hash, redacted in `Debug`.
#[derive(Clone)]
pub struct Handle([u8; 32]);

impl Handle {
    fn draw(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The one of a challenge's page: whoever asks for that again is led to the same page.
    pub(crate) const fn derived(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From the text of an address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    fn hash(&self) -> [u8; 32] {
        sha256(&[b"countersign/sign-in/v1\0", &self.0])
    }

    /// The path of the sign-in's page: where an edge leads the browser for which it started one.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/sign-in/{}", BASE64URL_NOPAD.encode_display(&self.0))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(redacted)")
    }
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A user as their integration calls them, known here or not.
    User(UserRef),
    /// Somebody whom an issuer has proven, by the subject under which they may be linked to a user. They may know
    /// whether that user can answer; nothing is created where they can't.
    Proven {
        /// What a link calls them.
        subject: String,
        /// Whether they may make a first authenticator on the page.
        may_enrol: bool,
    },
    /// Nobody: the challenge is there already.
    Given,
    /// Nobody said who: the page asks. Whoever answers can name anybody, so nobody is rung.
    Unnamed,
}

/// What an edge says of a sign-in that it starts.
pub struct Start {
    /// Who asks for it.
    pub integration: IntegrationId,
    /// Who is asked.
    pub whom: Whom,
    /// What the page calls them.
    pub called: String,
    /// What was checked before; without it nothing rings, and only push is offered.
    pub first_factor: Option<FirstFactor>,
    /// Why; the integration's registered purpose if absent.
    pub purpose: Option<Purpose>,
    /// The ways to pass; all registered ones if absent.
    pub methods: Option<Methods>,
    /// The languages that whoever asks wants its pages in, best first, between spaces (`ui_locales` of OpenID
    /// Connect Core §3.1.2.1); the browser's own if absent.
    pub languages: Option<String>,
    /// For how long after the start an answer is of use to whoever asks: nobody is asked for one that would come later.
    pub within: Option<Duration>,
    /// Where its end goes; if absent the page itself is the end, as in a trial.
    pub back: Option<Arc<dyn Return>>,
}

/// Turns a sign-in's end into what takes its browser back to who asked. Made by the edge that starts a sign-in,
/// for that one sign-in.
pub trait Return: Send + Sync {
    /// The form for an end. Asked for once an end, and again after a failure; an approval is redeemed by then,
    /// exactly once, by the bound browser.
    fn form<'a>(
        &'a self,
        call: &'a mut Call,
        end: &'a End,
    ) -> BoxFuture<'a, Result<ReturnForm, Error>>;
}

/// A form that a page shows with a button. Redacted in `Debug`: its fields are what the relying party trusts.
#[derive(Clone, PartialEq, Eq)]
pub struct ReturnForm {
    /// How it is sent.
    pub method: ReturnMethod,
    /// Where to: a whole address that was registered.
    pub action: String,
    /// Its hidden fields, in this order.
    pub fields: Vec<(String, String)>,
}

/// How a browser sends a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnMethod {
    /// In the address.
    Get,
    /// In the body.
    Post,
}

impl fmt::Debug for ReturnForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReturnForm(redacted)")
    }
}

/// How a sign-in ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Approved, and redeemed here.
    SignedIn(Passed),
    /// Approved; whoever made the challenge redeems it.
    Approved,
    /// Approved, but another sign-in of the same browser redeemed it.
    Elsewhere,
    /// Approved, but it couldn't be redeemed any more.
    Lapsed,
    /// Not approved.
    Refused(Decision),
    /// There is nobody to ask, and whoever asks may know.
    NotEnrolled,
    /// There is somebody, who can answer by nothing that is taken; whoever asks may know.
    Unable,
}

/// Who passed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Who.
    pub user: UserId,
    /// The name by which integrations know them.
    pub name: String,
    /// By what.
    pub proof: Proof,
    /// The authentication context class that the receipt says.
    pub acr: &'static str,
    /// When it was approved.
    pub at: Timestamp,
}

impl From<&Receipt> for Passed {
    fn from(receipt: &Receipt) -> Self {
        Self {
            user: receipt.user,
            name: receipt.name.clone(),
            proof: receipt.proof,
            acr: receipt.acr,
            at: receipt.at,
        }
    }
}

/// One browser's attempt to sign in.
pub struct SignIn {
    start: Start,
    started: Timestamp,
    /// Hash of the browser that it belongs to.
    bound: OnceLock<[u8; 32]>,
    /// Who was named on the page, if nobody was before.
    named: std::sync::Mutex<Option<String>>,
    /// Whether whoever started it made its challenge: it is neither asked again nor redeemed here.
    given: bool,
    /// Whether a page has gone back by itself.
    left: AtomicBool,
    /// Where it stands. Held across a step, so that tabs take turns.
    stage: Mutex<Stage>,
}

/// Where a sign-in stands.
enum Stage {
    /// Nobody has been asked yet.
    Fresh,
    /// A first authenticator is being made.
    Enrolling(inviting::Invited),
    /// A challenge was made.
    Asked(Asked),
    /// It ended, thus; with the form that says so, once it was made.
    Over(End, Option<ReturnForm>),
}

impl Stage {
    /// What a page that shows this says that it shows; `None` for one that is over.
    const fn asked(&self) -> Option<&Asked> {
        match self {
            Self::Asked(asked) => Some(asked),
            Self::Fresh | Self::Enrolling(_) | Self::Over(..) => None,
        }
    }
}

/// The challenge of a sign-in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which.
    pub id: ChallengeId,
    /// What the page shows.
    pub number: Number,
    /// The ways to pass.
    pub methods: Methods,
}

impl Asked {
    /// Names the challenge in its page's own requests. Short, and not its id: addresses hold a handle and nothing
    /// else that is worth anything.
    #[must_use]
    pub fn seen(&self) -> String {
        seen(self.id.as_bytes(), b"")
    }
}

/// Names what a page shows.
fn seen(id: &[u8], step: &[u8]) -> String {
    HEXLOWER.encode(&sha256(&[b"countersign/page-challenge/v1\0", id, step])[..8])
}

impl SignIn {
    /// Who asks for it.
    #[must_use]
    pub const fn integration(&self) -> IntegrationId {
        self.start.integration
    }

    /// What the page calls the user.
    #[must_use]
    pub fn called(&self) -> String {
        self.named().unwrap_or_else(|| self.start.called.clone())
    }

    fn named(&self) -> Option<String> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the name that somebody gives on the page. Counts only where nobody was named before.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn name_user(&self, name: &str) -> Result<(), Error> {
        let name = domain::directory::name(name).map_err(Error::name("user"))?;
        if self.start.whom == Whom::Unnamed {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            named.get_or_insert(name);
        }
        Ok(())
    }

    /// Whether it belongs to the browser of this hash.
    #[must_use]
    pub fn is_bound_to(&self, browser: &[u8; 32]) -> bool {
        self.bound.get().is_some_and(|bound| bound.ct_eq(browser).into())
    }

    /// Gives it to the browser of this hash, if nobody has it.
    #[must_use]
    pub fn bind(&self, browser: [u8; 32]) -> bool {
        // whoever comes second finds the other's hash
        self.bound.get_or_init(|| browser);
        self.is_bound_to(&browser)
    }

    /// Whether no browser has opened it.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.bound.get().is_none()
    }

    /// The languages that whoever asks wants its pages in.
    #[must_use]
    pub fn languages(&self) -> Option<&str> {
        self.start.languages.as_deref()
    }

    /// Whether a new try can be made here.
    #[must_use]
    pub fn can_retry(&self, now: Timestamp) -> bool {
        !self.given && self.most(now).is_none_or(|most| most >= MIN_TTL)
    }

    /// The longest that an answer can be waited for, in whole seconds, if whoever asks doesn't wait for ever.
    fn most(&self, now: Timestamp) -> Option<Duration> {
        let left = self.started.plus(self.start.within?).since(now);
        Some(Duration::from_secs(left.as_secs()))
    }

    /// Whether somebody vouches for a first factor.
    const fn is_proven(&self) -> bool {
        self.start.first_factor.is_some()
    }

    fn is_past(&self, now: Timestamp) -> bool {
        now.since(self.started) >= SIGN_IN_LIFE
    }
}
