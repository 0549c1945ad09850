//! The sign-ins of this process: short-lived, bounded, found by an unguessable handle.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use app::FirstFactor;
use data_encoding::BASE64URL_NOPAD;
use domain::challenge::{Decision, Methods, Proof};
use domain::number::Number;
use rand::CryptoRng;
use statement::{ChallengeId, IntegrationId, Timestamp, sha256};
use subtle::ConstantTimeEq as _;

use crate::browser::Browser;

/// How long a sign-in lives: as long as the first factor that it stands on.
pub const SIGN_IN_LIFE: Duration = app::FIRST_FACTOR_LIFE;
/// How many sign-ins a process holds, some 500 bytes each. Beyond, new ones are refused: to drop old ones
/// would let a flood end the sign-ins of others.
pub const MAX_SIGN_INS: usize = 100_000;

/// Names a sign-in: 256 random bits, in its page's address. Kept only as a hash, redacted in `Debug`.
#[derive(Clone)]
pub(crate) struct Handle([u8; 32]);

impl Handle {
    fn draw(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// From the text of an address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    fn hash(&self) -> [u8; 32] {
        sha256(&[b"countersign/sign-in/v1\0", &self.0])
    }

    /// The path of the sign-in's page.
    pub(crate) fn path(&self) -> String {
        format!("/sign-in/{}", BASE64URL_NOPAD.encode_display(&self.0))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(redacted)")
    }
}

/// One browser's attempt to sign in.
pub(crate) struct SignIn {
    /// Who asked for it.
    pub(crate) integration: IntegrationId,
    /// The name of the user who is asked.
    pub(crate) user: String,
    /// What was checked before.
    pub(crate) first_factor: FirstFactor,
    started: Timestamp,
    /// Hash of the browser that it belongs to.
    bound: OnceLock<[u8; 32]>,
    /// Where it stands. Held across a step, so that tabs take turns.
    pub(crate) stage: Arc<tokio::sync::Mutex<Stage>>,
}

impl SignIn {
    /// Whether it belongs to `browser`.
    pub(crate) fn is_bound_to(&self, browser: &Browser) -> bool {
        self.bound.get().is_some_and(|bound| bound.ct_eq(&browser.hash()).into())
    }

    /// Gives it to `browser`, if nobody has it.
    pub(crate) fn bind(&self, browser: &Browser) -> bool {
        // whoever comes second finds the other's hash
        self.bound.get_or_init(|| browser.hash());
        self.is_bound_to(browser)
    }

    /// Whether no browser has opened it.
    pub(crate) fn is_free(&self) -> bool {
        self.bound.get().is_none()
    }

    fn is_past(&self, now: Timestamp) -> bool {
        now.since(self.started) >= SIGN_IN_LIFE
    }
}

/// Where a sign-in stands.
pub(crate) enum Stage {
    /// Nobody has been asked yet.
    Fresh,
    /// A challenge was made.
    Asked(Asked),
    /// The challenge ended, thus.
    Over(Outcome),
}

/// The challenge of a sign-in.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) id: ChallengeId,
    pub(crate) number: Number,
    pub(crate) methods: Methods,
}

/// How a sign-in's challenge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Approved by this, and redeemed here.
    SignedIn(Proof, &'static str),
    /// Approved, but another sign-in of the same browser redeemed it.
    Elsewhere,
    /// Approved, but it couldn't be redeemed any more.
    Lapsed,
    /// Not approved.
    Refused(Decision),
}

#[derive(Default)]
struct Table {
    by_hash: BTreeMap<[u8; 32], Arc<SignIn>>,
    /// Oldest first: all live equally long.
    by_age: VecDeque<(Timestamp, [u8; 32])>,
}

impl Table {
    fn drop_past(&mut self, now: Timestamp) {
        while let Some((started, hash)) = self.by_age.front() {
            if now.since(*started) < SIGN_IN_LIFE {
                break;
            }
            self.by_hash.remove(hash);
            self.by_age.pop_front();
        }
    }
}

/// The sign-ins of this process.
#[derive(Default)]
pub struct SignIns(Mutex<Table>);

impl SignIns {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // no code between lock and unlock leaves the table half changed
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one; `None` if there are too many.
    pub(crate) fn start(
        &self,
        call: &mut app::Call,
        integration: IntegrationId,
        user: String,
        first_factor: FirstFactor,
    ) -> Option<Handle> {
        let handle = Handle::draw(&mut *call.rng);
        let sign_in = SignIn {
            integration,
            user,
            first_factor,
            started: call.now,
            bound: OnceLock::new(),
            stage: Arc::new(tokio::sync::Mutex::new(Stage::Fresh)),
        };
        let mut table = self.table();
        table.drop_past(call.now);
        if table.by_hash.len() >= MAX_SIGN_INS {
            return None;
        }
        let hash = handle.hash();
        table.by_age.push_back((call.now, hash));
        table.by_hash.insert(hash, Arc::new(sign_in));
        Some(handle)
    }

    /// The sign-in of a handle, while it lives.
    pub(crate) fn find(&self, now: Timestamp, handle: &Handle) -> Option<Arc<SignIn>> {
        let mut table = self.table();
        table.drop_past(now);
        let found = table.by_hash.get(&handle.hash())?;
        // a clock that stepped back may have left the order of ages behind
        (!found.is_past(now)).then(|| Arc::clone(found))
    }
}

impl fmt::Debug for SignIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignIns")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn start(sign_ins: &SignIns, call: &mut app::Call) -> Option<Handle> {
        let first_factor = FirstFactor { method: "password".to_owned(), at: call.now };
        let integration = IntegrationId::from_bytes([1; 16]);
        sign_ins.start(call, integration, "alice".to_owned(), first_factor)
    }

    #[test]
    fn sign_ins_are_bounded_and_make_room_when_they_end() {
        let mut call = app::Call {
            now: Timestamp::from_millis(1_000_000),
            rng: Box::new(StdRng::seed_from_u64(1)),
        };
        let sign_ins = SignIns::new();
        let first = start(&sign_ins, &mut call).expect("room");
        call.now = call.now.plus(Duration::from_secs(1));
        for _ in 1..MAX_SIGN_INS {
            assert!(start(&sign_ins, &mut call).is_some());
        }
        assert!(start(&sign_ins, &mut call).is_none());
        assert!(sign_ins.find(call.now, &first).is_some(), "nobody is pushed out");

        call.now = call.now.plus(SIGN_IN_LIFE - Duration::from_secs(1));
        assert!(sign_ins.find(call.now, &first).is_none());
        assert!(start(&sign_ins, &mut call).is_some());
        assert!(start(&sign_ins, &mut call).is_none(), "one ended, one came");
        call.now = call.now.plus(Duration::from_secs(1));
        assert!(start(&sign_ins, &mut call).is_some());
        assert_eq!(sign_ins.table().by_hash.len(), 2);
        assert_eq!(sign_ins.table().by_age.len(), 2);
    }

    #[test]
    fn a_handle_reads_back_and_debug_hides_it() {
        let handle = Handle::draw(&mut StdRng::seed_from_u64(2));
        let path = handle.path();
        let text = path.strip_prefix("/sign-in/").expect("a path");
        assert_eq!(text.len(), 43);
        let read = Handle::parse(text).expect("a handle");
        assert_eq!(read.hash(), handle.hash());
        assert!(!format!("{handle:?}").contains(text));
        for bad in ["", &text[1..], &format!("{text}A"), "+".repeat(43).as_str()] {
            assert!(Handle::parse(bad).is_none());
        }
    }
}
