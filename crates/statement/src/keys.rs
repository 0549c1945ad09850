//! Keys and signatures: Ed25519 where the key lives in software, P-256 where hardware holds it.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

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
        Self::p256(pair)
    }

    /// A P-256 key from its private scalar (SEC 1, section 2.3.7), which must come from a CSPRNG.
    ///
    /// # Errors
    /// [`KeyError`] if it is 0 or not below the order of the group: of 32 random bytes one in 2^32 is.
    pub fn from_p256_scalar(scalar: &[u8; 32]) -> Result<Self, KeyError> {
        // RFC 5915: version 1, the scalar, the curve; the public key is left out, and computed
        const HEAD: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
        const CURVE: [u8; 12] =
            [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let mut document = Zeroizing::new([0; HEAD.len() + 32 + CURVE.len()]);
        document[..HEAD.len()].copy_from_slice(&HEAD);
        document[HEAD.len()..HEAD.len() + 32].copy_from_slice(scalar);
        document[HEAD.len() + 32..].copy_from_slice(&CURVE);
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &*document)
            .map_err(|_| KeyError(Algorithm::P256))?;
        Self::p256(pair)
    }

    fn p256(pair: EcdsaKeyPair) -> Result<Self, KeyError> {
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

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        HEXLOWER.decode(hex.as_bytes()).expect("hex").try_into().expect("as long as it says")
    }

    /// The key of RFC 6979, A.2.5.
    #[test]
    fn a_p256_key_is_made_from_its_scalar() {
        let scalar = bytes("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
        let key = SigningKey::from_p256_scalar(&scalar).expect("a scalar");
        let point: [u8; 65] = bytes(concat!(
            "04",
            "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
            "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        ));
        assert_eq!(key.public().as_bytes(), point);
        assert!(key.public().verify(b"message", &key.sign(b"message")).is_ok());
        assert!(key.public().verify(b"another", &key.sign(b"message")).is_err());
    }

    #[test]
    fn what_is_not_below_the_order_of_the_group_is_no_scalar() {
        let order = bytes("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
        for wrong in [[0; 32], order, [0xff; 32]] {
            let refused = SigningKey::from_p256_scalar(&wrong).expect_err("no key");
            assert_eq!(refused, KeyError(Algorithm::P256));
        }
    }
}
