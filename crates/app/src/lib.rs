//! Use cases: load, ask the domain, store, deliver. All edges share them.
//!
//! Architecture invariant: nothing here spawns or reads a clock. Every use case takes one [`Call`], so it has
//! one `now`, and nobody is told a decision before it is durable.

mod admission;
mod answer;
mod caller;
mod challenges;
mod code;
mod containing;
mod create;
mod digest;
mod document;
mod error;
mod events;
mod factors;
mod gateway;
mod guarding;
mod live;
mod logins;
mod management;
mod notices;
mod places;
mod protocols;
mod redeem;
mod replay;
mod rules;
mod settle;
mod shadow;
pub mod sign_ins;
mod sweep;
mod tickets;
mod user_codes;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::challenge::Decision;
use ports::{Courier, Directory, Hot, Ledger, Vault};
use rand::CryptoRng;
use statement::{ServerUrl, Timestamp};

pub use admission::Admission;
pub use answer::{Answer, AnswerResult, Answered};
pub use caller::{Actor, Caller};
pub use challenges::{ChallengeView, Watch};
pub use containing::Standing;
pub use create::{
    CreateRequest, Created, FIRST_FACTOR_LIFE, FirstFactor, MAX_AGENT, RequestContext,
};
pub use error::Error;
pub use events::{EventFilter, EventView};
pub use factors::NewFactor;
pub use gateway::{
    Claim, Claimed, Connected, EnrolError, Enrolled, LoggedIn, Login, LoginError, TicketProof,
};
pub use management::{NewIntegration, NewKey, UserView, UserWish};
pub use places::{Basis, Places, Whereabouts};
pub use protocols::KEY_LEAD;
pub use redeem::Receipt;
pub use rules::Guards;
pub use tickets::{NewTicket, TicketRequest, TicketView};

/// What one request is given: the time, once, and randomness.
pub struct Call {
    /// The server's clock when the request came in.
    pub now: Timestamp,
    /// A CSPRNG of its own.
    pub rng: Box<dyn CryptoRng + Send + Sync>,
}

impl Call {
    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}

/// What the operator set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where browsers and devices reach this server.
    pub public_url: ServerUrl,
    /// The guard's rules.
    pub guard: Guards,
}

/// The stores and helpers that use cases stand on.
pub struct Ports {
    /// Live challenges and cells.
    pub hot: Arc<dyn Hot>,
    /// The durable record.
    pub ledger: Arc<dyn Ledger>,
    /// Who there is.
    pub directory: Arc<dyn Directory>,
    /// Devices and waiters.
    pub courier: Arc<dyn Courier>,
    /// Keys.
    pub vault: Arc<dyn Vault>,
}

/// The use cases.
pub struct App {
    settings: Settings,
    hot: Arc<dyn Hot>,
    ledger: Arc<dyn Ledger>,
    directory: Arc<dyn Directory>,
    courier: Arc<dyn Courier>,
    vault: Arc<dyn Vault>,
    places: Arc<dyn Places>,
    admission: Admission,
    decided: [AtomicU64; Decision::ALL.len()],
    tenants: guarding::Tenants,
    met: rules::Met,
    shadowed: shadow::Shadowed,
    refused_logins: logins::RefusedLogins,
    /// Held while token keys are drawn and stored, so that two never take one number.
    drawing: futures_util::lock::Mutex<()>,
    /// Held while a page's ticket is given, so that what was given is counted.
    inviting: futures_util::lock::Mutex<()>,
    silenced: digest::Silenced,
    /// What codes are held against where there is no secret, sealed as secrets are.
    nobodys_totp: Vec<u8>,
}

impl App {
    /// Puts use cases on top of ports. They know of no places: see [`App::with_places`].
    #[must_use]
    pub fn new(settings: Settings, ports: Ports) -> Self {
        let Ports { hot, ledger, directory, courier, vault } = ports;
        let nobodys_totp = vault.seal(code::NOBODYS_TOTP, &[0; domain::totp::SECRET_LEN]);
        Self {
            settings,
            hot,
            ledger,
            directory,
            courier,
            vault,
            places: Arc::new(places::Nowhere),
            admission: Admission::default(),
            decided: Default::default(),
            tenants: guarding::Tenants::default(),
            met: rules::Met::default(),
            shadowed: shadow::Shadowed::default(),
            refused_logins: logins::RefusedLogins::default(),
            drawing: futures_util::lock::Mutex::new(()),
            inviting: futures_util::lock::Mutex::new(()),
            silenced: digest::Silenced::default(),
            nobodys_totp,
        }
    }

    /// With somebody who knows where addresses are.
    #[must_use]
    pub fn with_places(self, places: Arc<dyn Places>) -> Self {
        Self { places, ..self }
    }

    /// How many challenges may be in the making.
    #[must_use]
    pub const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// How many challenges this process has decided, by decision: for metrics.
    pub fn decided(&self) -> impl Iterator<Item = (Decision, u64)> {
        let counts = self.decided.iter().map(|count| count.load(Ordering::Relaxed));
        Decision::ALL.into_iter().zip(counts)
    }

    /// The courier, for edges that hold sockets.
    #[must_use]
    pub fn courier(&self) -> &Arc<dyn Courier> {
        &self.courier
    }

    /// The vault, for edges that publish keys.
    #[must_use]
    pub fn vault(&self) -> &Arc<dyn Vault> {
        &self.vault
    }

    /// Where this server is reached.
    #[must_use]
    pub fn public_url(&self) -> &str {
        self.settings.public_url.as_str()
    }
}
