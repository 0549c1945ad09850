//! Every key: drawn on the first start, kept as rows sealed under the master key, parsed once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::{Algorithm as Argon2Kind, Argon2, Params, Version};
use data_encoding::BASE64URL_NOPAD;
use domain::protocol::TokenAlgorithm;
use domain::recovery::SALT_LEN;
use hmac::{Hmac, Mac as _};
use ports::{
    BoxFuture, Certified, MacKey, NewTokenKey, SealError, SealFor, StoreError, TokenKey, Vault,
};
use sha2::Sha256;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use statement::{
    Certificate, PublicKey, Signature, SignedChallenge, SigningKey, Timestamp, sha256,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::codec::{int, time};
use crate::master::MasterKey;
use crate::seal::{self, Sealer};
use crate::token_keys::{self, TokenKeyError, TokenKeys};
use crate::{OpenError, random};

/// How long the word of the identity key for a challenge-signing key is meant to hold.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);
/// Argon2id at OWASP's floor of 19 MiB and two passes: about 25 ms, spent only on codes whose id is known.
const STRETCH_KIB: u32 = 19 * 1024;
const STRETCH_PASSES: u32 = 2;
/// Stretches at once: two of them keep two cores busy and take 38 MiB.
const STRETCHES: usize = 2;
/// Stretches that may wait: at 25 ms each the last one waits for less than a second.
const MAX_WAITING_STRETCHES: usize = 64;

/// What a sealed row holds.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Ed25519 seed of the identity that devices pin.
    Identity = 1,
    /// Ed25519 seed that signs challenges.
    Challenge = 2,
    /// PKCS#8 of the P-256 key that signs receipts.
    Receipt = 3,
    /// Ed25519 seed that signs audit checkpoints.
    Audit = 4,
    /// Root of the keys that seal numbers and TOTP secrets. Its own row, so that a new master key seals a
    /// handful of rows anew and not every value.
    Seal = 5,
    /// Root of the keyed hashes.
    Mac = 6,
    /// Peppers what is stretched.
    Pepper = 7,
    /// PKCS#8 of an RSA key that signs tokens; `public` is its certificate, `not_before` when it begins to sign.
    TokenRsa = 8,
    /// The same for P-256.
    TokenP256 = 9,
}

/// The kind of a token key.
pub(crate) const fn kind_of(algorithm: TokenAlgorithm) -> Kind {
    match algorithm {
        TokenAlgorithm::Rs256 => Kind::TokenRsa,
        TokenAlgorithm::Es256 => Kind::TokenP256,
    }
}

/// The keys of one store.
pub(crate) struct Keyring {
    identity: PublicKey,
    challenge: Vec<(Certified, SigningKey)>,
    certified: Vec<Certified>,
    receipt: SigningKey,
    receipt_header: String,
    receipt_jwks: String,
    audit: SigningKey,
    sealers: Vec<Sealer>,
    macs: [Hmac<Sha256>; 6],
    pepper: Hmac<Sha256>,
    wrapping: Arc<Wrapping>,
    tokens: TokenKeys,
    stretches: Arc<Semaphore>,
    waiting: AtomicUsize,
}

struct Wrapping(Sealer);

impl Wrapping {
    fn new(master: &MasterKey) -> Self {
        let key = seal::derive(master.bytes(), "countersign/master/secrets/v1");
        Self(Sealer::new(1, &key))
    }

    fn belongs(kind: Kind, number: u32) -> [u8; 5] {
        let mut bytes = [kind as u8; 5];
        bytes[1..].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    fn seal(&self, kind: Kind, number: u32, secret: &[u8]) -> Vec<u8> {
        self.0.seal(&Self::belongs(kind, number), secret)
    }

    fn open(
        &self,
        kind: Kind,
        number: u32,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.0.open(&Self::belongs(kind, number), sealed).map_err(|_| OpenError::WrongMasterKey)
    }
}

/// A row of the secrets table, opened.
struct Secret {
    number: u32,
    plain: Zeroizing<Vec<u8>>,
    row: SqliteRow,
}

impl Secret {
    fn seed(&self) -> Result<Zeroizing<[u8; 32]>, OpenError> {
        let seed: &[u8; 32] = self
            .plain
            .as_slice()
            .try_into()
            .map_err(|_| OpenError::Damaged("a secret has the wrong length".into()))?;
        Ok(Zeroizing::new(*seed))
    }
}

/// Rows of one kind, newest first; drawn if there are none and `create` allows it.
async fn secrets(
    conn: &mut SqliteConnection,
    wrapping: &Wrapping,
    kind: Kind,
) -> Result<Vec<Secret>, OpenError> {
    let rows = sqlx::query(
        "SELECT number, created, sealed, public, not_before, not_after, signature FROM secrets
         WHERE kind = $1 ORDER BY number DESC",
    )
    .bind(kind as u8)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let number: u32 = row.try_get("number")?;
            let plain = wrapping.open(kind, number, row.try_get("sealed")?)?;
            Ok(Secret { number, plain, row })
        })
        .collect()
}

/// Draws every secret. Called once, in the transaction that makes the first tenant.
pub(crate) async fn create_secrets(
    conn: &mut SqliteConnection,
    master: &MasterKey,
    now: Timestamp,
) -> Result<(), OpenError> {
    let wrapping = Wrapping::new(master);
    let seed = || Zeroizing::new(random::draw::<32>());
    let identity_seed = seed();
    let identity = SigningKey::from_seed(&identity_seed);
    let challenge_seed = seed();
    let certificate = Certificate {
        key: SigningKey::from_seed(&challenge_seed).public().clone(),
        not_before: now,
        not_after: now.plus(CERTIFICATE_LIFE),
    };
    let signature = certificate.sign(&identity);
    let audit_seed = seed();
    let receipt = Zeroizing::new(
        SigningKey::generate_p256_pkcs8().map_err(|error| OpenError::Damaged(error.to_string()))?,
    );
    let receipt_public = p256(&receipt)?.public().clone();
    let public = |seed: &[u8; 32]| SigningKey::from_seed(seed).public().as_bytes().to_vec();
    type Row<'a> = (Kind, &'a [u8], Option<Vec<u8>>);
    let rows: [Row<'_>; 7] = [
        (Kind::Identity, identity_seed.as_slice(), Some(public(&identity_seed))),
        (Kind::Challenge, challenge_seed.as_slice(), Some(public(&challenge_seed))),
        (Kind::Receipt, receipt.as_slice(), Some(receipt_public.as_bytes().to_vec())),
        (Kind::Audit, audit_seed.as_slice(), Some(public(&audit_seed))),
        (Kind::Seal, &*seed(), None),
        (Kind::Mac, &*seed(), None),
        (Kind::Pepper, &*seed(), None),
    ];
    for (kind, secret, public) in rows {
        let certified = matches!(kind, Kind::Challenge);
        sqlx::query(
            "INSERT INTO secrets (kind, number, created, sealed, public, not_before, not_after, signature)
             VALUES ($1, 1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(kind as u8)
        .bind(int(now.millis()))
        .bind(wrapping.seal(kind, 1, secret))
        .bind(public)
        .bind(certified.then(|| int(certificate.not_before.millis())))
        .bind(certified.then(|| int(certificate.not_after.millis())))
        .bind(certified.then(|| signature.to_vec()))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

fn p256(pkcs8: &[u8]) -> Result<SigningKey, OpenError> {
    SigningKey::from_p256_pkcs8(pkcs8).map_err(|error| OpenError::Damaged(error.to_string()))
}

impl Keyring {
    pub(crate) async fn load(
        conn: &mut SqliteConnection,
        master: &MasterKey,
    ) -> Result<Self, OpenError> {
        let wrapping = Wrapping::new(master);
        let missing = || OpenError::Damaged("a key is missing".into());
        let mut newest = async |kind| -> Result<Secret, OpenError> {
            let mut all = secrets(conn, &wrapping, kind).await?;
            if all.is_empty() { Err(missing()) } else { Ok(all.swap_remove(0)) }
        };
        let identity = SigningKey::from_seed(&*newest(Kind::Identity).await?.seed()?);
        let audit = SigningKey::from_seed(&*newest(Kind::Audit).await?.seed()?);
        let receipt = p256(&newest(Kind::Receipt).await?.plain)?;
        let mac_root = newest(Kind::Mac).await?.seed()?;
        let pepper = seal::keyed(&*newest(Kind::Pepper).await?.seed()?);
        let mut challenge = Vec::new();
        for secret in secrets(conn, &wrapping, Kind::Challenge).await? {
            challenge.push(certified(&secret, identity.public())?);
        }
        let mut sealers = Vec::new();
        for secret in secrets(conn, &wrapping, Kind::Seal).await? {
            let key = seal::derive(&*secret.seed()?, "countersign/seal/values/v1");
            sealers.push(Sealer::new(secret.number, &key));
        }
        if challenge.is_empty() || sealers.is_empty() {
            return Err(missing());
        }
        let tokens = TokenKeys::default();
        for algorithm in TokenAlgorithm::ALL {
            for secret in secrets(conn, &wrapping, kind_of(algorithm)).await? {
                let key = NewTokenKey {
                    algorithm,
                    number: secret.number,
                    created: time(secret.row.try_get("created")?),
                    signs_from: time(secret.row.try_get("not_before")?),
                    sealed: Vec::new(),
                    certificate: secret.row.try_get("public")?,
                };
                let adopted = tokens.adopt(&key, &secret.plain);
                adopted.map_err(|error| OpenError::Damaged(error.to_string()))?;
            }
        }
        let mac = |label| seal::keyed(&seal::derive(&mac_root, label));
        let (receipt_header, receipt_jwks) = jose(receipt.public());
        Ok(Self {
            identity: identity.public().clone(),
            certified: challenge.iter().map(|(certified, _)| certified.clone()).collect(),
            challenge,
            receipt,
            receipt_header,
            receipt_jwks,
            audit,
            sealers,
            macs: [
                mac("countersign/mac/device-cookie/v1"),
                mac("countersign/mac/shard/v1"),
                mac("countersign/mac/unknown-user/v1"),
                mac("countersign/mac/place/v1"),
                mac("countersign/mac/return/v1"),
                mac("countersign/mac/user-code/v1"),
            ],
            pepper,
            wrapping: Arc::new(wrapping),
            tokens,
            stretches: Arc::new(Semaphore::new(STRETCHES)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// The key that signs audit checkpoints.
    pub(crate) const fn audit_signer(&self) -> &SigningKey {
        &self.audit
    }
}

fn certified(secret: &Secret, identity: &PublicKey) -> Result<(Certified, SigningKey), OpenError> {
    let key = SigningKey::from_seed(&*secret.seed()?);
    let certificate = Certificate {
        key: key.public().clone(),
        not_before: time(secret.row.try_get("not_before")?),
        not_after: time(secret.row.try_get("not_after")?),
    };
    let damaged = || OpenError::Damaged("a signing key's certificate doesn't verify".into());
    let signature: Signature =
        secret.row.try_get::<Vec<u8>, _>("signature")?.try_into().map_err(|_| damaged())?;
    certificate.verify(identity, &signature).map_err(|_| damaged())?;
    let number = secret.number;
    Ok((Certified { number, certificate, signature }, key))
}

/// The encoded header of receipts and the key set that they verify against. The key id is the RFC 7638
/// thumbprint.
fn jose(key: &PublicKey) -> (String, String) {
    // an uncompressed point: 0x04, x, y
    let (x, y) = key.as_bytes()[1..].split_at(32);
    let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let kid = BASE64URL_NOPAD.encode(&sha256(&[members.as_bytes()]));
    let header = format!(r#"{{"alg":"ES256","typ":"countersign-receipt+jwt","kid":"{kid}"}}"#);
    let jwks = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","use":"sig","alg":"ES256","kid":"{kid}"}}]}}"#
    );
    (BASE64URL_NOPAD.encode(header.as_bytes()), jwks)
}

impl Vault for Keyring {
    fn seal(&self, purpose: SealFor, plain: &[u8]) -> Vec<u8> {
        self.sealers[0].seal(&seal::belongs(purpose), plain)
    }

    fn open(&self, purpose: SealFor, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let version = seal::version_of(sealed).ok_or(SealError)?;
        let sealer = self.sealers.iter().find(|sealer| sealer.version() == version);
        sealer.ok_or(SealError)?.open(&seal::belongs(purpose), sealed)
    }

    fn mac(&self, key: MacKey, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = match key {
            MacKey::DeviceCookie => self.macs[0].clone(),
            MacKey::Shard => self.macs[1].clone(),
            MacKey::UnknownUser => self.macs[2].clone(),
            MacKey::Place => self.macs[3].clone(),
            MacKey::Return => self.macs[4].clone(),
            MacKey::UserCode => self.macs[5].clone(),
        };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn identity(&self) -> &PublicKey {
        &self.identity
    }

    fn certified(&self) -> &[Certified] {
        &self.certified
    }

    fn sign_challenge(&self, document: &[u8]) -> (u32, Signature) {
        let (certified, key) = &self.challenge[0];
        (certified.number, SignedChallenge(document).sign(key))
    }

    fn sign_receipt(&self, claims: &[u8]) -> String {
        let mut jws = String::with_capacity(self.receipt_header.len() + claims.len() * 4 / 3 + 92);
        jws.push_str(&self.receipt_header);
        jws.push('.');
        BASE64URL_NOPAD.encode_append(claims, &mut jws);
        let signature = self.receipt.sign_jws_input(jws.as_bytes());
        jws.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut jws);
        jws
    }

    fn receipt_jwks(&self) -> String {
        self.receipt_jwks.clone()
    }

    fn draw_token_key(
        &self,
        algorithm: TokenAlgorithm,
        now: Timestamp,
        signs_from: Timestamp,
    ) -> BoxFuture<'_, Result<NewTokenKey, StoreError>> {
        let number = self.tokens.newest(algorithm).unwrap_or(0) + 1;
        let wrapping = Arc::clone(&self.wrapping);
        Box::pin(async move {
            let work = move || -> Result<NewTokenKey, TokenKeyError> {
                let (pkcs8, certificate) = token_keys::draw(algorithm, now)?;
                let sealed = wrapping.seal(kind_of(algorithm), number, &pkcs8);
                Ok(NewTokenKey { algorithm, number, created: now, signs_from, sealed, certificate })
            };
            let failed = |error: &dyn std::fmt::Display| StoreError::Unavailable(error.to_string());
            let drawn = tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error))?;
            drawn.map_err(|error| failed(&error))
        })
    }

    fn adopt_token_key(&self, key: &NewTokenKey) -> Result<(), SealError> {
        let opened = self.wrapping.open(kind_of(key.algorithm), key.number, &key.sealed);
        let pkcs8 = opened.map_err(|_| SealError)?;
        self.tokens.adopt(key, &pkcs8).map_err(|_| SealError)
    }

    fn token_keys(&self, now: Timestamp) -> Vec<TokenKey> {
        self.tokens.list(now)
    }

    fn sign_token(
        &self,
        algorithm: TokenAlgorithm,
        now: Timestamp,
        claims: &[u8],
    ) -> Option<String> {
        self.tokens.sign(algorithm, now, claims)
    }

    fn token_jwks(&self, algorithms: &[TokenAlgorithm], now: Timestamp) -> String {
        self.tokens.jwks(algorithms, now)
    }

    fn audit_key(&self) -> &PublicKey {
        self.audit.public()
    }

    fn stretch(
        &self,
        secret: Zeroizing<Vec<u8>>,
        salt: [u8; SALT_LEN],
    ) -> BoxFuture<'_, Result<[u8; 32], StoreError>> {
        Box::pin(async move {
            let turn = Waiting::join(&self.waiting)?;
            let permit = Arc::clone(&self.stretches)
                .acquire_owned()
                .await
                .map_err(|_| StoreError::Unavailable("stretching has ended".into()))?;
            drop(turn);
            let mut peppered = self.pepper.clone();
            peppered.update(&secret);
            let peppered = Zeroizing::new(<[u8; 32]>::from(peppered.finalize().into_bytes()));
            // the permit goes along: a caller who gave up doesn't let more than a few run at once
            let work = tokio::task::spawn_blocking(move || {
                let stretched = stretched(&*peppered, &salt);
                drop(permit);
                stretched
            });
            work.await.map_err(|error| StoreError::Unavailable(error.to_string()))
        })
    }
}

fn stretched(secret: &[u8], salt: &[u8]) -> [u8; 32] {
    let params = Params::new(STRETCH_KIB, STRETCH_PASSES, 1, Some(32)).expect("valid parameters");
    let mut out = [0; 32];
    Argon2::new(Argon2Kind::Argon2id, Version::V0x13, params)
        .hash_password_into(secret, salt, &mut out)
        .expect("a salt of 16 bytes and an output of 32 are allowed");
    out
}

/// A place in the queue of stretches; left when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Result<Self, StoreError> {
        let place = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING_STRETCHES {
            return Err(StoreError::Overloaded);
        }
        Ok(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
