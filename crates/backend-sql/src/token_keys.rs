//! The keys that sign tokens for relying parties. Each has a self-signed certificate, because some relying
//! parties take keys by `x5c` only.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{digest, error::KeyRejected};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use domain::protocol::TokenAlgorithm;
use ports::{NewTokenKey, TokenKey};
use rcgen::{CertificateParams, DnType, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Map, Value, json};
use statement::{Timestamp, sha256};
use zeroize::Zeroizing;

/// How long a key is still published after its successor has begun to sign: relying parties keep what they
/// fetched for a day.
const STAYS: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// How long a certificate says that it holds. Nobody builds a path on it; a key is replaced long before.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// 112 bits of strength: what relying parties of this protocol expect, and the longest that all of them take.
const RSA: KeySize = KeySize::Rsa2048;

/// Why a key can't be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenKeyError {
    #[error("a token key was rejected: {0}")]
    Rejected(#[from] KeyRejected),
    #[error("a token key could not be drawn")]
    Draw,
    #[error("a token key's certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("a token key's public half can't be read")]
    Public,
}

impl From<aws_lc_rs::error::Unspecified> for TokenKeyError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Draw
    }
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl Pair {
    fn read(algorithm: TokenAlgorithm, pkcs8: &[u8]) -> Result<Self, TokenKeyError> {
        Ok(match algorithm {
            TokenAlgorithm::Rs256 => Self::Rsa(RsaKeyPair::from_pkcs8(pkcs8)?),
            TokenAlgorithm::Es256 => {
                Self::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)?)
            }
        })
    }

    fn sign(&self, input: &[u8]) -> Vec<u8> {
        #[expect(clippy::disallowed_methods, reason = "nonce and blinding; aws-lc ignores it")]
        let rng = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &rng, input, &mut signature)
                    .expect("the buffer has the modulus' length");
                signature
            }
            Self::P256(pair) => {
                pair.sign(&rng, input).expect("aws-lc's random source works").as_ref().to_vec()
            }
        }
    }

    /// The members of the JSON Web Key that make the key (RFC 7518 §6).
    fn members(&self) -> Result<Map<String, Value>, TokenKeyError> {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let value = match self {
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let n = text(key.modulus().big_endian_without_leading_zero());
                let e = text(key.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "n": n, "e": e})
            }
            Self::P256(pair) => {
                // an uncompressed point: 0x04, x, y
                let point = pair.public_key().as_ref();
                let (x, y) = point.get(1..65).ok_or(TokenKeyError::Public)?.split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)})
            }
        };
        match value {
            Value::Object(members) => Ok(members),
            _ => Err(TokenKeyError::Public),
        }
    }
}

/// A key, read.
struct Loaded {
    algorithm: TokenAlgorithm,
    number: u32,
    created: Timestamp,
    signs_from: Timestamp,
    kid: String,
    jwk: Value,
    pair: Pair,
}

/// All of them, newest first within an algorithm.
#[derive(Default)]
pub(crate) struct TokenKeys(RwLock<Vec<Loaded>>);

/// Draws a key: its PKCS #8 document, and its certificate.
pub(crate) fn draw(
    algorithm: TokenAlgorithm,
    now: Timestamp,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), TokenKeyError> {
    let (pkcs8, kind) = match algorithm {
        TokenAlgorithm::Rs256 => {
            let pair = RsaKeyPair::generate(RSA)?;
            (Zeroizing::new(pair.as_der()?.as_ref().to_vec()), &PKCS_RSA_SHA256)
        }
        TokenAlgorithm::Es256 => {
            let pkcs8 = statement::SigningKey::generate_p256_pkcs8();
            (Zeroizing::new(pkcs8.map_err(|_| TokenKeyError::Draw)?), &PKCS_ECDSA_P256_SHA256)
        }
    };
    let der = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, kind)?;
    let mut certificate = CertificateParams::default();
    certificate.distinguished_name.push(DnType::CommonName, "Countersign token signing");
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = Duration::from_secs(now.seconds());
    certificate.not_before = epoch + at;
    certificate.not_after = epoch + at + CERTIFICATE_LIFE;
    let certificate = certificate.self_signed(&key)?;
    Ok((pkcs8, certificate.der().to_vec()))
}

impl Loaded {
    fn read(key: &NewTokenKey, pkcs8: &[u8]) -> Result<Self, TokenKeyError> {
        let pair = Pair::read(key.algorithm, pkcs8)?;
        let kid = BASE64URL_NOPAD.encode(&sha256(&[&key.certificate]));
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &key.certificate);
        let mut jwk = pair.members()?;
        for (name, value) in [
            ("use", "sig".to_owned()),
            ("alg", key.algorithm.name().to_owned()),
            ("kid", kid.clone()),
            ("x5t", BASE64URL_NOPAD.encode(sha1.as_ref())),
            ("x5t#S256", kid.clone()),
        ] {
            jwk.insert(name.to_owned(), Value::String(value));
        }
        jwk.insert("x5c".to_owned(), json!([BASE64.encode(&key.certificate)]));
        Ok(Self {
            algorithm: key.algorithm,
            number: key.number,
            created: key.created,
            signs_from: key.signs_from,
            kid,
            jwk: Value::Object(jwk),
            pair,
        })
    }
}

impl TokenKeys {
    fn read<T>(&self, look: impl FnOnce(&[Loaded]) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a key in; one that is there already stays.
    pub(crate) fn adopt(&self, key: &NewTokenKey, pkcs8: &[u8]) -> Result<(), TokenKeyError> {
        let loaded = Loaded::read(key, pkcs8)?;
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !keys.iter().any(|known| known.kid == loaded.kid) {
            keys.push(loaded);
            keys.sort_by_key(|key| (key.algorithm.name(), std::cmp::Reverse(key.number)));
        }
        Ok(())
    }

    /// The keys that are published, with when each is no longer.
    fn published(
        keys: &[Loaded],
        now: Timestamp,
    ) -> impl Iterator<Item = (&Loaded, Option<Timestamp>)> {
        keys.iter().filter_map(move |key| {
            let mut later = keys
                .iter()
                .filter(|other| other.algorithm == key.algorithm && other.number > key.number);
            let ends = later.next_back().map(|next| next.signs_from.plus(STAYS));
            ends.is_none_or(|ends| now < ends).then_some((key, ends))
        })
    }

    pub(crate) fn list(&self, now: Timestamp) -> Vec<TokenKey> {
        self.read(|keys| {
            let listed = Self::published(keys, now).map(|(key, ends)| TokenKey {
                algorithm: key.algorithm,
                number: key.number,
                kid: key.kid.clone(),
                created: key.created,
                signs_from: key.signs_from,
                published_until: ends,
            });
            listed.collect()
        })
    }

    pub(crate) fn newest(&self, algorithm: TokenAlgorithm) -> Option<u32> {
        self.read(|keys| {
            keys.iter().filter(|key| key.algorithm == algorithm).map(|key| key.number).max()
        })
    }

    pub(crate) fn jwks(&self, algorithms: &[TokenAlgorithm], now: Timestamp) -> String {
        self.read(|keys| {
            let published = Self::published(keys, now);
            let wanted = published.filter(|(key, _)| algorithms.contains(&key.algorithm));
            let keys: Vec<&Value> = wanted.map(|(key, _)| &key.jwk).collect();
            json!({ "keys": keys }).to_string()
        })
    }

    /// Signs with the newest key whose time has come.
    pub(crate) fn sign(
        &self,
        algorithm: TokenAlgorithm,
        now: Timestamp,
        claims: &[u8],
    ) -> Option<String> {
        self.read(|keys| {
            let key =
                keys.iter().find(|key| key.algorithm == algorithm && key.signs_from <= now)?;
            let header = json!({"alg": algorithm.name(), "typ": "JWT", "kid": key.kid}).to_string();
            let mut jws = BASE64URL_NOPAD.encode(header.as_bytes());
            jws.push('.');
            BASE64URL_NOPAD.encode_append(claims, &mut jws);
            let signature = key.pair.sign(jws.as_bytes());
            jws.push('.');
            BASE64URL_NOPAD.encode_append(&signature, &mut jws);
            Some(jws)
        })
    }
}
