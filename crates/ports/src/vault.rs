//! The vault: every key. Private keys never leave it.

use std::fmt;

use domain::protocol::TokenAlgorithm;
use statement::{
    Certificate, ChallengeId, FactorId, PublicKey, Signature, TenantId, TicketId, Timestamp, UserId,
};
use zeroize::Zeroizing;

use crate::{BoxFuture, StoreError};

/// What a sealed value belongs to: part of what is authenticated, so that a row moved elsewhere doesn't open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealFor {
    /// A challenge's number.
    Number(TenantId, ChallengeId),
    /// A ticket's number.
    TicketNumber(TenantId, TicketId),
    /// A TOTP secret.
    Totp(TenantId, UserId, FactorId),
}

/// A keyed hash's purpose; each has its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacKey {
    /// Device cookies.
    DeviceCookie,
    /// Hot-state shards.
    Shard,
    /// The stand-in ids of unknown users.
    UnknownUser,
    /// Places, as the guard remembers them.
    Place,
    /// What leads to a challenge's hosted page, and what its browser brings back from there.
    Return,
    /// User codes, as they are kept.
    UserCode,
}

/// A sealed value that doesn't open: changed, moved, or sealed under a key that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed value does not open")]
pub struct SealError;

/// A challenge-signing key's certificate with the identity's signature.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The key's number, as challenges store it.
    pub number: u32,
    /// What is certified.
    pub certificate: Certificate,
    /// The identity key's signature.
    pub signature: Signature,
}

/// A key that signs tokens for relying parties, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// For what.
    pub algorithm: TokenAlgorithm,
    /// Counts from 1, for each algorithm.
    pub number: u32,
    /// The hash of its certificate: `kid` in headers and in the published set.
    pub kid: String,
    /// When it was made, and published.
    pub created: Timestamp,
    /// From when on it signs, until its successor does.
    pub signs_from: Timestamp,
    /// When it is no longer published; `None` while it has no successor.
    pub published_until: Option<Timestamp>,
}

/// A token key that was drawn and is not stored yet. Redacted in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct NewTokenKey {
    /// For what.
    pub algorithm: TokenAlgorithm,
    /// One more than the newest one's.
    pub number: u32,
    /// When it was drawn.
    pub created: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// The private key, sealed.
    pub sealed: Vec<u8>,
    /// Its certificate (DER).
    pub certificate: Vec<u8>,
}

impl fmt::Debug for NewTokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewTokenKey({} {}, redacted)", self.algorithm.name(), self.number)
    }
}

/// Keys. Synchronous where no more than a few microseconds of CPU are spent.
pub trait Vault: Send + Sync {
    /// Seals with AES-256-GCM under the newest key; the key's version travels with the value.
    fn seal(&self, purpose: SealFor, plain: &[u8]) -> Vec<u8>;

    /// Opens what [`Vault::seal`] made.
    ///
    /// # Errors
    /// [`SealError`].
    fn open(&self, purpose: SealFor, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError>;

    /// HMAC-SHA-256 of the parts laid end to end.
    fn mac(&self, key: MacKey, parts: &[&[u8]]) -> [u8; 32];

    /// The identity key that devices pin.
    fn identity(&self) -> &PublicKey;

    /// The challenge-signing keys in use, newest first.
    fn certified(&self) -> &[Certified];

    /// Signs challenge bytes with the newest key: its number and the signature.
    fn sign_challenge(&self, document: &[u8]) -> (u32, Signature);

    /// Signs a receipt: `claims` is the JSON of a JWT's payload. The compact JWS.
    fn sign_receipt(&self, claims: &[u8]) -> String;

    /// The receipt keys' public halves as a JSON Web Key Set (RFC 7517).
    fn receipt_jwks(&self) -> String;

    /// Draws a token key that signs from `signs_from` on, off the caller's thread. It counts once it was stored by
    /// [`crate::Change::AddTokenKey`] and given to [`Vault::adopt_token_key`].
    fn draw_token_key(
        &self,
        algorithm: TokenAlgorithm,
        now: Timestamp,
        signs_from: Timestamp,
    ) -> BoxFuture<'_, Result<NewTokenKey, StoreError>>;

    /// Takes in a token key that is durable now. Twice the same is once.
    ///
    /// # Errors
    /// [`SealError`] if it isn't one of this vault's.
    fn adopt_token_key(&self, key: &NewTokenKey) -> Result<(), SealError>;

    /// The token keys that are published at `now`, newest first for each algorithm: relying parties keep what
    /// they fetched, so a key is published before it signs and after it has.
    fn token_keys(&self, now: Timestamp) -> Vec<TokenKey>;

    /// Signs a JWT's payload with the newest key whose time has come: the compact JWS; `None` without a key.
    fn sign_token(
        &self,
        algorithm: TokenAlgorithm,
        now: Timestamp,
        claims: &[u8],
    ) -> Option<String>;

    /// The token keys' public halves and certificates as a JSON Web Key Set (RFC 7517).
    fn token_jwks(&self, algorithms: &[TokenAlgorithm], now: Timestamp) -> String;

    /// The audit key's public half.
    fn audit_key(&self) -> &PublicKey;

    /// Argon2id over the peppered secret, off the caller's thread and at most a few at once, because one
    /// costs as much as 180 ceremonies (NIST 800-63B-4 §3.1.2.2).
    fn stretch(
        &self,
        secret: Zeroizing<Vec<u8>>,
        salt: [u8; domain::recovery::SALT_LEN],
    ) -> BoxFuture<'_, Result<[u8; 32], StoreError>>;
}
