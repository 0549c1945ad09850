//! AES-256-GCM with the key's version in front: `version u32 || nonce 12 || ciphertext || tag`.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ports::{SealError, SealFor};
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION_LEN: usize = 4;

/// A key for one purpose, drawn from `root` by its label (a PRF as in NIST SP 800-108r1 §4.1, one block).
pub(crate) fn derive(root: &[u8; 32], label: &str) -> Zeroizing<[u8; 32]> {
    let mut mac = keyed(root);
    mac.update(label.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// HMAC-SHA-256 with the key's two blocks already absorbed: cloned per call.
pub(crate) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// One version of a sealing key.
pub(crate) struct Sealer {
    version: u32,
    key: RandomizedNonceKey,
}

impl Sealer {
    pub(crate) fn new(version: u32, key: &[u8; 32]) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("32 bytes are an AES-256 key");
        Self { version, key }
    }

    pub(crate) const fn version(&self) -> u32 {
        self.version
    }

    /// Seals `plain`; `belongs` is authenticated beside it. Nonces are random: a key is good for 2^32 values
    /// (NIST SP 800-38D §8.3).
    pub(crate) fn seal(&self, belongs: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut text = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(belongs), &mut text)
            .expect("a few bytes are never too long to seal");
        let mut sealed = Vec::with_capacity(VERSION_LEN + NONCE_LEN + text.len());
        sealed.extend_from_slice(&self.version.to_be_bytes());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        sealed
    }

    pub(crate) fn open(
        &self,
        belongs: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, text) = sealed
            .get(VERSION_LEN..)
            .and_then(|rest| rest.split_at_checked(NONCE_LEN))
            .ok_or(SealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut text = Zeroizing::new(text.to_vec());
        let len = self
            .key
            .open_in_place(nonce, Aad::from(belongs), &mut text)
            .map_err(|_| SealError)?
            .len();
        text.truncate(len);
        Ok(text)
    }
}

/// Under which version a value was sealed.
pub(crate) fn version_of(sealed: &[u8]) -> Option<u32> {
    let bytes = sealed.first_chunk::<VERSION_LEN>()?;
    Some(u32::from_be_bytes(*bytes))
}

/// What ties a sealed value to its row: a tag for the kind of value, then the ids, all of fixed length.
pub(crate) fn belongs(purpose: SealFor) -> Vec<u8> {
    match purpose {
        SealFor::Number(tenant, challenge) => {
            [&[1], tenant.as_bytes().as_slice(), challenge.as_bytes()].concat()
        }
        SealFor::TicketNumber(tenant, ticket) => {
            [&[2], tenant.as_bytes().as_slice(), ticket.as_bytes()].concat()
        }
        SealFor::Totp(tenant, user, factor) => {
            [&[3], tenant.as_bytes().as_slice(), user.as_bytes(), factor.as_bytes()].concat()
        }
    }
}
