//! What the server can tell of itself and of what happened.

use axum::extract::{Path, State};
use data_encoding::HEXLOWER;
use http_limits::{Code, Json, Problem};
use ports::SignedCheckpoint;
use serde::{Deserialize, Serialize};
use statement::{
    ChallengeId, Checkpoint, LaneHead, PublicKey, SIGNATURE_LEN, TenantId, Timestamp, fingerprint,
};
use wire::rest;

use super::Admin;
use crate::error::Refused;
use crate::{Rest, events as log, shapes};

#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    public_url: String,
    fingerprint: String,
    devices_connected: usize,
}

pub(super) async fn status(State(state): State<Rest>, _: Admin) -> Json<Status> {
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        public_url: state.app.public_url().to_owned(),
        fingerprint: fingerprint(&state.app.vault().identity().identity_hash()),
        devices_connected: state.app.courier().connected(),
    })
}

#[derive(Serialize)]
pub(super) struct Keys {
    fingerprint: String,
    identity: Key,
    challenge: Vec<SigningKey>,
    audit: Key,
    receipt: serde_json::Value,
    token: Vec<TokenKey>,
}

#[derive(Serialize)]
struct TokenKey {
    algorithm: &'static str,
    number: u32,
    kid: String,
    created_at: String,
    signs_from: String,
    signs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    published_until: Option<String>,
}

#[derive(Serialize)]
struct Key {
    algorithm: String,
    public: String,
}

impl From<&PublicKey> for Key {
    fn from(key: &PublicKey) -> Self {
        Self {
            algorithm: format!("{:?}", key.algorithm()).to_lowercase(),
            public: HEXLOWER.encode(key.as_bytes()),
        }
    }
}

#[derive(Serialize)]
struct SigningKey {
    number: u32,
    #[serde(flatten)]
    key: Key,
    not_before: String,
    not_after: String,
}

/// Public halves only: private keys never leave the vault.
pub(super) async fn keys(State(state): State<Rest>, _: Admin) -> Result<Json<Keys>, Refused> {
    let vault = state.app.vault();
    let call = state.call();
    let all = state.app.token_keys(&call);
    let signing = |key: &ports::TokenKey| {
        let mut same = all.iter().filter(|other| other.algorithm == key.algorithm);
        same.find(|other| other.signs_from <= call.now).is_some_and(|one| one.kid == key.kid)
    };
    let token = all.iter().map(|key| TokenKey {
        algorithm: key.algorithm.name(),
        number: key.number,
        kid: key.kid.clone(),
        created_at: shapes::time(key.created),
        signs_from: shapes::time(key.signs_from),
        signs: signing(key),
        published_until: key.published_until.map(shapes::time),
    });
    let challenge = vault.certified().iter().map(|certified| SigningKey {
        number: certified.number,
        key: Key::from(&certified.certificate.key),
        not_before: shapes::time(certified.certificate.not_before),
        not_after: shapes::time(certified.certificate.not_after),
    });
    Ok(Json(Keys {
        fingerprint: fingerprint(&vault.identity().identity_hash()),
        identity: Key::from(vault.identity()),
        challenge: challenge.collect(),
        audit: Key::from(vault.audit_key()),
        receipt: serde_json::from_str(&vault.receipt_jwks()).map_err(Problem::internal)?,
        token: token.collect(),
    }))
}

/// Publishes the next token keys.
pub(super) async fn rotate_keys(
    State(state): State<Rest>,
    admin: Admin,
) -> Result<Json<Keys>, Refused> {
    state.app.rotate_token_keys(&state.call(), &admin.actor).await?;
    keys(State(state), admin).await
}

pub(super) async fn events(
    State(state): State<Rest>,
    admin: Admin,
) -> Result<Json<rest::Page<rest::Event>>, Refused> {
    let tenant = admin.tenant.id;
    let user = admin.asked.user.as_deref();
    let user = user.map(shapes::operators_user_ref).transpose()?;
    let integration = match &admin.asked.integration {
        Some(named) => Some(state.app.find_integration(tenant, named).await?.id),
        None => None,
    };
    let filter = admin.which().filter(user, integration)?;
    let limit = filter.limit;
    let events = state.app.events(tenant, filter).await?;
    Ok(Json(log::page(events, limit)))
}

#[derive(Serialize)]
pub(super) struct Why {
    challenge: String,
    why: String,
}

pub(super) async fn why(
    State(state): State<Rest>,
    admin: Admin,
    Path(challenge): Path<String>,
) -> Result<Json<Why>, Refused> {
    let id: ChallengeId = challenge.parse().map_err(|_| Problem::from(Code::NotFound))?;
    let why = state.app.why(admin.tenant.id, id).await?;
    Ok(Json(Why { challenge, why }))
}

/// A signed checkpoint as `audit checkpoint --out` writes it and `audit verify --checkpoint` reads it: what it
/// signs, its signature and the key, all that is needed to hold the record against it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointFile {
    /// Whose record.
    tenant: TenantId,
    /// Counts from 1.
    number: u64,
    /// Milliseconds since the Unix epoch.
    at_ms: u64,
    /// Hash of the checkpoint before it, in hex.
    previous: String,
    /// Every lane's last row.
    heads: Vec<Head>,
    /// In hex.
    signature: String,
    /// The audit key's public half, in hex, to be held against one's own copy.
    audit_key: String,
}

/// Where a lane stood. Numbers are hex: JSON's may lose digits above 2^53.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    lane: String,
    seq: String,
    hash: String,
}

impl CheckpointFile {
    /// As a file.
    #[must_use]
    pub fn new(signed: &SignedCheckpoint, audit_key: &PublicKey) -> Self {
        let SignedCheckpoint { checkpoint, signature } = signed;
        let head = |head: &LaneHead| Head {
            lane: format!("{:016x}", head.lane),
            seq: format!("{:016x}", head.seq),
            hash: HEXLOWER.encode(&head.hash),
        };
        Self {
            tenant: checkpoint.tenant,
            number: checkpoint.number,
            at_ms: checkpoint.at.millis(),
            previous: HEXLOWER.encode(&checkpoint.previous),
            heads: checkpoint.heads.iter().map(head).collect(),
            signature: HEXLOWER.encode(signature),
            audit_key: HEXLOWER.encode(audit_key.as_bytes()),
        }
    }

    /// What the file holds; `None` if it can't be one. Its signature isn't checked yet.
    #[must_use]
    pub fn signed(&self) -> Option<SignedCheckpoint> {
        fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
            HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
        }
        let head = |head: &Head| {
            Some(LaneHead {
                lane: u64::from_be_bytes(hex(&head.lane)?),
                seq: u64::from_be_bytes(hex(&head.seq)?),
                hash: hex(&head.hash)?,
            })
        };
        Some(SignedCheckpoint {
            checkpoint: Checkpoint {
                tenant: self.tenant,
                number: self.number,
                at: Timestamp::from_millis(self.at_ms),
                previous: hex(&self.previous)?,
                heads: self.heads.iter().map(head).collect::<Option<_>>()?,
            },
            signature: hex::<SIGNATURE_LEN>(&self.signature)?,
        })
    }
}

/// Signs what is not anchored yet and gives the newest checkpoint.
pub(super) async fn checkpoint(
    State(state): State<Rest>,
    admin: Admin,
) -> Result<Json<CheckpointFile>, Refused> {
    state.app.checkpoint().await?;
    let last = state.app.last_checkpoint(admin.tenant.id).await?;
    let last = last.ok_or(Problem::from(Code::NotFound))?;
    Ok(Json(CheckpointFile::new(&last, state.app.vault().audit_key())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_file_holds_the_checkpoint() {
        let key = statement::SigningKey::from_seed(&[1; 32]);
        let checkpoint = Checkpoint {
            tenant: TenantId::from_bytes([2; 16]),
            number: 3,
            at: Timestamp::from_millis(1_798_761_600_000),
            previous: [4; 32],
            heads: vec![LaneHead { lane: u64::MAX, seq: 5, hash: [6; 32] }],
        };
        let signature = checkpoint.sign(&key);
        let signed = SignedCheckpoint { checkpoint, signature };
        let file = CheckpointFile::new(&signed, key.public());
        let json = serde_json::to_string(&file).unwrap();
        let read: CheckpointFile = serde_json::from_str(&json).unwrap();
        let read = read.signed().unwrap();
        assert_eq!(read, signed);
        assert!(read.checkpoint.verify(key.public(), &read.signature).is_ok());
        let mut damaged = file;
        damaged.previous.pop();
        assert!(damaged.signed().is_none());
    }
}
