//! Keys and signatures: Ed25519 where the key lives in software, P-256 where hardware holds it.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

/// Both algorithms sign with 64 bytes (P-256: r and s, 32 bytes each, big-endian).
pub const SIGNATURE_LEN: usize = 64;

/// A signature.
pub type Signature = [u8; SIGNATURE_LEN];

/// The allowed signature algorithms (ASVS 5.0 9.1.2, 11.6.1). Fixed per key at enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Algorithm {
    /// RFC 8032. Public key: 32 bytes.
    Ed25519 = 1,
    /// ECDSA over P-256 with SHA-256, FIPS 186-5. Public key: 65 bytes, uncompressed point.
    P256 = 2,
}

impl Algorithm {
    /// From its number on the wire.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Ed25519),
            2 => Some(Self::P256),
            _ => None,
        }
    }

    const fn public_key_len(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::P256 => 65,
        }
    }

    fn verifier(self) -> &'static dyn signature::VerificationAlgorithm {
        match self {
            Self::Ed25519 => &ED25519,
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
        }
    }
}

/// Bytes that aren't a key of the stated algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0:?} key")]
pub struct KeyError(pub Algorithm);

/// The signature doesn't match key and bytes. Says no more on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct BadSignature;

/// A public key that was parsed once and is known to be a point of its curve.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawPublicKey", into = "RawPublicKey")]
pub struct PublicKey {
    algorithm: Algorithm,
    bytes: Box<[u8]>,
}

#[derive(Serialize, Deserialize)]
struct RawPublicKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl TryFrom<RawPublicKey> for PublicKey {
    type Error = KeyError;

    fn try_from(raw: RawPublicKey) -> Result<Self, KeyError> {
        Self::new(raw.algorithm, &raw.bytes)
    }
}

impl From<PublicKey> for RawPublicKey {
    fn from(key: PublicKey) -> Self {
        Self { algorithm: key.algorithm, bytes: key.bytes.into() }
    }
}

impl PublicKey {
    /// Parses `bytes` (see [`Algorithm`] for the two forms).
    ///
    /// # Errors
    /// [`KeyError`] if they aren't such a key.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let parses = signature::ParsedPublicKey::new(algorithm.verifier(), bytes).is_ok();
        if bytes.len() != algorithm.public_key_len() || !parses {
            return Err(KeyError(algorithm));
        }
        Ok(Self { algorithm, bytes: bytes.into() })
    }

    /// Which algorithm this key is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key as it crosses the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(self.algorithm.verifier(), &self.bytes)
            .verify(message, signature)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.algorithm)
    }
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// A private key, parsed once and kept: re-parsing costs as much as half a signature.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

impl SigningKey {
    /// An Ed25519 key from its 32-byte seed (RFC 8032), which must come from a CSPRNG.
    ///
    /// # Panics
    /// Never: every seed of 32 bytes is a key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes are an Ed25519 seed");
        let public =
            PublicKey { algorithm: Algorithm::Ed25519, bytes: pair.public_key().as_ref().into() };
        Self { pair: Pair::Ed25519(pair), public }
    }

    /// A P-256 key from its PKCS#8 document.
    ///
    /// # Errors
    /// [`KeyError`] if the document isn't one.
    pub fn from_p256_pkcs8(document: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document)
            .map_err(|_| KeyError(Algorithm::P256))?;
        let public = PublicKey::new(Algorithm::P256, pair.public_key().as_ref())?;
        Ok(Self { pair: Pair::P256(pair), public })
    }

    /// A fresh P-256 key as a PKCS#8 document, drawn from the library's own CSPRNG.
    ///
    /// # Errors
    /// [`KeyError`] if the library fails.
    pub fn generate_p256_pkcs8() -> Result<Vec<u8>, KeyError> {
        let failed = KeyError(Algorithm::P256);
        #[expect(clippy::disallowed_methods, reason = "the one place where a P-256 key is made")]
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| failed)?;
        Ok(pair.to_pkcs8v1().map_err(|_| failed)?.as_ref().to_vec())
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs bytes whose label this crate didn't put there: a JWT's signing input (RFC 7515). Every
    /// other signature is made by the statement's own `sign`.
    ///
    /// # Panics
    /// If the library's random source fails; nothing can be signed then.
    #[must_use]
    pub fn sign_jws_input(&self, input: &[u8]) -> Signature {
        self.sign(input)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        let mut out = [0; SIGNATURE_LEN];
        match &self.pair {
            Pair::Ed25519(pair) => out.copy_from_slice(pair.sign(message).as_ref()),
            Pair::P256(pair) => {
                #[expect(clippy::disallowed_methods, reason = "ECDSA's nonce; aws-lc ignores it")]
                let rng = SystemRandom::new();
                let signed = pair.sign(&rng, message).expect("aws-lc's random source works");
                out.copy_from_slice(signed.as_ref());
            }
        }
        out
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, redacted)", self.public.algorithm)
    }
}
