//! What a device keeps for each account.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use statement::{
    Algorithm as SignatureAlgorithm, DeviceId, IdentityHash, KeyError, ServerUrl, SigningKey,
    TenantId, Timestamp,
};
use totp_rs::{Algorithm, Builder};
use wire::device as proto;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Length of what a key is made from in bytes: an Ed25519 seed (RFC 8032) and a P-256 scalar (SEC 1) alike.
pub const KEY_SEED_LEN: usize = 32;

/// What the device's key is made from. Wiped when dropped, never printed.
///
/// A key file holds 32 numbers for Ed25519, and `{"p256": [..]}` for P-256.
#[derive(Clone, ZeroizeOnDrop)]
pub struct KeySeed {
    #[zeroize(skip)]
    algorithm: SignatureAlgorithm,
    bytes: [u8; KEY_SEED_LEN],
}

impl KeySeed {
    /// Of an Ed25519 key, from 32 bytes of a CSPRNG.
    #[must_use]
    pub const fn ed25519(bytes: [u8; KEY_SEED_LEN]) -> Self {
        Self { algorithm: SignatureAlgorithm::Ed25519, bytes }
    }

    /// Of a P-256 key, from 32 bytes of a CSPRNG.
    ///
    /// # Errors
    /// [`KeyError`] if they are no scalar, which happens once in 2^32 times: draw again.
    pub fn p256(bytes: [u8; KEY_SEED_LEN]) -> Result<Self, KeyError> {
        let seed = Self { algorithm: SignatureAlgorithm::P256, bytes };
        seed.make().map(|_| seed)
    }

    /// The key.
    ///
    /// # Panics
    /// Never: it was made once before.
    #[must_use]
    pub fn key(&self) -> SigningKey {
        self.make().expect("only what makes a key is a seed")
    }

    fn make(&self) -> Result<SigningKey, KeyError> {
        match self.algorithm {
            SignatureAlgorithm::Ed25519 => Ok(SigningKey::from_seed(&self.bytes)),
            SignatureAlgorithm::P256 => SigningKey::from_p256_scalar(&self.bytes),
        }
    }
}

impl fmt::Debug for KeySeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySeed(redacted)")
    }
}

impl Serialize for KeySeed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.algorithm {
            SignatureAlgorithm::Ed25519 => self.bytes.serialize(serializer),
            SignatureAlgorithm::P256 => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(P256, &self.bytes)?;
                map.end()
            }
        }
    }
}

/// What a P-256 seed is called in a key file.
const P256: &str = "p256";

impl<'de> Deserialize<'de> for KeySeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SeedVisitor)
    }
}

/// By hand, since serde's own way to tell the two shapes apart keeps a copy that nothing wipes.
struct SeedVisitor;

impl<'de> Visitor<'de> for SeedVisitor {
    type Value = KeySeed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEY_SEED_LEN} numbers, or a map with {P256}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<KeySeed, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(seq)).map(KeySeed::ed25519)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeySeed, A::Error> {
        let wrong = || A::Error::custom(format_args!("a key's seed has one name, {P256}"));
        let (name, bytes): (Cow<'_, str>, _) = map.next_entry()?.ok_or_else(wrong)?;
        let more: Option<IgnoredAny> = map.next_key()?;
        if name != P256 || more.is_some() {
            return Err(wrong());
        }
        KeySeed::p256(bytes).map_err(A::Error::custom)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_comes_back_from_a_key_file_as_the_key_that_it_was() {
        let p256 = KeySeed::p256([7; 32]).expect("a scalar");
        let bytes = serde_json::to_string(&[7_u8; 32]).expect("serialises");
        let kept =
            [(KeySeed::ed25519([7; 32]), bytes.clone()), (p256, format!(r#"{{"p256":{bytes}}}"#))];
        for (seed, text) in kept {
            let json = serde_json::to_string(&seed).expect("serialises");
            assert_eq!(json, text);
            let back: KeySeed = serde_json::from_str(&json).expect("reads");
            assert_eq!(back.key().public(), seed.key().public());
        }
    }

    #[test]
    fn files_from_before_there_was_p256_hold_ed25519() {
        let old = serde_json::to_string(&[7_u8; 32]).expect("serialises");
        let seed: KeySeed = serde_json::from_str(&old).expect("reads");
        assert_eq!(seed.key().public(), SigningKey::from_seed(&[7; 32]).public());
    }

    #[test]
    fn what_makes_no_key_is_not_read() {
        let zeros = serde_json::to_string(&[0_u8; 32]).expect("serialises");
        let seven = serde_json::to_string(&[7_u8; 32]).expect("serialises");
        for wrong in [
            "[1, 2]".to_owned(),
            seven.replace(']', ",7]"),
            format!(r#"{{"p256": {seven}, "p256": {seven}}}"#),
            "{}".to_owned(),
            format!(r#"{{"p256": {zeros}}}"#),
            format!(r#"{{"p384": {seven}}}"#),
            format!(r#"{{"p256": {seven}, "more": 1}}"#),
            r#""text""#.to_owned(),
        ] {
            assert!(serde_json::from_str::<KeySeed>(&wrong).is_err(), "{wrong}");
        }
    }
}
