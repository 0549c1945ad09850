//! What a device keeps for each account.

use std::fmt;

use serde::{Deserialize, Serialize};
use statement::{DeviceId, IdentityHash, ServerUrl, SigningKey, TenantId, Timestamp};
use totp_rs::{Algorithm, Builder};
use wire::device as proto;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Length of an Ed25519 seed in bytes (RFC 8032).
pub const KEY_SEED_LEN: usize = 32;

/// The seed of the device's key. Wiped when dropped, never printed.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct KeySeed([u8; KEY_SEED_LEN]);

impl KeySeed {
    /// From 32 bytes of a CSPRNG.
    #[must_use]
    pub const fn new(seed: [u8; KEY_SEED_LEN]) -> Self {
        Self(seed)
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> SigningKey {
        SigningKey::from_seed(&self.0)
    }
}

impl fmt::Debug for KeySeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySeed(redacted)")
    }
}

/// The secret of an account's time-based codes (RFC 6238, SHA-1). Wiped when dropped, never printed.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Totp {
    secret: Vec<u8>,
    digits: u8,
    period_s: u32,
}

impl Totp {
    /// As a server hands it over; `None` if it is of a kind that this authenticator doesn't make codes of.
    pub(crate) fn from_wire(totp: &proto::Totp) -> Option<Self> {
        // RFC 4226 R6 wants 128 bits at least; SHA-1's block is 64 bytes, more adds nothing
        let usable = totp.algorithm == "SHA1"
            && (16..=64).contains(&totp.secret.len())
            && (6..=8).contains(&totp.digits)
            && (15..=120).contains(&totp.period_s);
        usable.then(|| Self {
            secret: totp.secret.to_vec(),
            digits: u8::try_from(totp.digits).unwrap_or(6),
            period_s: totp.period_s,
        })
    }

    /// The code at `now`, and how many seconds it has left.
    #[must_use]
    pub fn code(&self, now: Timestamp) -> OfflineCode {
        let generator = Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(self.digits)
            .with_skew(0)
            .with_step_duration(u64::from(self.period_s))
            .with_secret(self.secret.as_slice())
            .build_noncompliant();
        OfflineCode {
            digits: Zeroizing::new(generator.generate(now.seconds()).to_string()),
            seconds_left: generator.next_step(now.seconds()) - now.seconds(),
        }
    }
}

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Totp({} digits, redacted)", self.digits)
    }
}

/// A time-based code of the moment.
#[derive(Clone)]
pub struct OfflineCode {
    /// The digits.
    pub digits: Zeroizing<String>,
    /// How long they are the current ones.
    pub seconds_left: u64,
}

impl fmt::Debug for OfflineCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OfflineCode(redacted, {} s left)", self.seconds_left)
    }
}

/// One enrolment of this device: everything that it keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// What its owner calls it; unique among the accounts of one device.
    pub name: String,
    /// Where the server is.
    pub server: ServerUrl,
    /// The tenant that the device belongs to.
    pub tenant: TenantId,
    /// The device's id there.
    pub device: DeviceId,
    /// The user's name, as challenges spell it.
    pub user: String,
    /// The organisation's name; empty where the installation has only one.
    pub organisation: String,
    /// What the device is called there.
    pub device_name: String,
    /// Hash of the server's identity key: nobody else is talked to.
    pub identity: IdentityHash,
    /// The device's private key.
    pub seed: KeySeed,
    /// How many answers it has signed.
    pub counter: u64,
    /// For codes when the server can't be reached; absent if the user already had a secret elsewhere.
    pub totp: Option<Totp>,
    /// Certificates (DER) that may vouch for the server's TLS beside the public ones.
    pub roots: Vec<Vec<u8>>,
}

impl Account {
    /// The current time-based code, if this device holds a secret.
    #[must_use]
    pub fn code(&self, now: Timestamp) -> Option<OfflineCode> {
        self.totp.as_ref().map(|totp| totp.code(now))
    }
}
