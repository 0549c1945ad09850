//! The audit chain as it is written: one lane per run of the process, one chain per tenant in it.

use std::collections::HashMap;

use domain::audit::Entry;
use domain::notice::Tell;
use ports::{SignedCheckpoint, StoreError};
use sqlx::{Row as _, SqliteConnection};
use statement::{AuditLink, ChallengeId, Checkpoint, LaneHead, SigningKey, TenantId, Timestamp};

use crate::codec::{bytes, decode, id, inconsistent, int, time, uint};
use crate::random;

/// Rows of a tenant after which the writer signs a checkpoint by itself.
pub(crate) const CHECKPOINT_ROWS: u64 = 1_000;
const HEAD_LEN: usize = 48;

/// An entry in its stored form, made by the caller so that the writer only hashes the chain.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    tenant: TenantId,
    public: Vec<u8>,
    private: Vec<u8>,
    salt: [u8; 16],
    commitment: [u8; 32],
    pub(crate) tell: Option<Tell>,
}

impl Prepared {
    pub(crate) fn new(entry: &Entry) -> Result<Self, StoreError> {
        let private = if entry.private.is_empty() {
            Vec::new()
        } else {
            serde_json::to_vec(&entry.private).map_err(inconsistent)?
        };
        let salt = random::draw();
        Ok(Self {
            tenant: entry.tenant,
            public: serde_json::to_vec(&entry.public).map_err(inconsistent)?,
            commitment: AuditLink::commitment(&salt, &private),
            private,
            salt,
            tell: entry.tell.clone(),
        })
    }
}

/// A row in its place.
pub(crate) struct ChainedRow {
    pub(crate) tenant: TenantId,
    pub(crate) lane: u64,
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) entry: Prepared,
    pub(crate) hash: [u8; 32],
    /// The challenge that it redeems.
    pub(crate) redeems: Option<ChallengeId>,
}

impl ChainedRow {
    pub(crate) fn public(&self) -> &[u8] {
        &self.entry.public
    }

    pub(crate) fn private(&self) -> (&[u8], &[u8; 16], &[u8; 32]) {
        (&self.entry.private, &self.entry.salt, &self.entry.commitment)
    }
}

/// Where a tenant's chain of this lane stands, and its checkpoints.
#[derive(Clone, Copy, Default)]
struct Chain {
    seq: u64,
    hash: [u8; 32],
    /// Rows since the last checkpoint.
    unanchored: u64,
    checkpoints: u64,
    last_checkpoint: [u8; 32],
}

/// The heads of all chains. What a batch adds is staged until it is committed.
pub(crate) struct Lanes {
    lane: u64,
    older: HashMap<TenantId, Vec<LaneHead>>,
    chains: HashMap<TenantId, Chain>,
    staged: HashMap<TenantId, Chain>,
}

impl Lanes {
    /// Starts a lane: 48-bit time, so that lanes are in order, and 16 random bits, so that a clock set back
    /// doesn't meet an old one.
    pub(crate) async fn start(conn: &mut SqliteConnection, now: Timestamp) -> sqlx::Result<Self> {
        let mut lanes = Self {
            lane: now.millis() << 16 | u64::from(u16::from_be_bytes(random::draw())),
            older: HashMap::new(),
            chains: HashMap::new(),
            staged: HashMap::new(),
        };
        let tenants = sqlx::query("SELECT id FROM tenants").fetch_all(&mut *conn).await?;
        for row in tenants {
            let tenant = id(&row, "id", TenantId::from_slice)?;
            let older = heads(conn, tenant).await?;
            let newest = older.last().map_or(0, |head| head.lane);
            lanes.lane = lanes.lane.max(newest + 1);
            let mut chain = Chain::default();
            if let Some(last) = last_checkpoint(conn, tenant).await? {
                chain.checkpoints = last.checkpoint.number;
                chain.last_checkpoint = last.checkpoint.hash();
                chain.unanchored = u64::from(last.checkpoint.heads != older);
            } else {
                chain.unanchored = u64::from(!older.is_empty());
            }
            lanes.older.insert(tenant, older);
            lanes.chains.insert(tenant, chain);
        }
        Ok(lanes)
    }

    /// Forgets what was staged.
    pub(crate) fn reset(&mut self) {
        self.staged.clear();
    }

    /// What was staged is stored.
    pub(crate) fn commit(&mut self) {
        self.chains.extend(self.staged.drain());
    }

    fn chain(&mut self, tenant: TenantId) -> &mut Chain {
        let stored = self.chains.get(&tenant).copied().unwrap_or_default();
        self.staged.entry(tenant).or_insert(stored)
    }

    /// Hangs a row on its chain.
    pub(crate) fn push(&mut self, entry: &Prepared, at: Timestamp) -> ChainedRow {
        let (lane, tenant) = (self.lane, entry.tenant);
        let chain = self.chain(tenant);
        chain.seq += 1;
        chain.unanchored += 1;
        let link = AuditLink {
            tenant,
            lane,
            seq: chain.seq,
            at,
            public: &entry.public,
            private: &entry.commitment,
        };
        chain.hash = link.hash(&chain.hash);
        let (seq, hash) = (chain.seq, chain.hash);
        ChainedRow { tenant, lane, seq, at, entry: entry.clone(), hash, redeems: None }
    }

    /// Tenants with at least `rows` rows since their last checkpoint.
    pub(crate) fn unanchored(&self, rows: u64) -> Vec<TenantId> {
        let current = |tenant| self.staged.get(tenant).or_else(|| self.chains.get(tenant));
        let tenants = self.chains.keys().chain(self.staged.keys());
        let mut due: Vec<TenantId> = tenants
            .filter(|tenant| current(tenant).is_some_and(|chain| chain.unanchored >= rows))
            .copied()
            .collect();
        due.sort_unstable();
        due.dedup();
        due
    }

    /// Signs all heads of a tenant as they are staged.
    pub(crate) fn checkpoint(
        &mut self,
        tenant: TenantId,
        at: Timestamp,
        key: &SigningKey,
    ) -> SignedCheckpoint {
        let lane = self.lane;
        let mut heads = self.older.get(&tenant).cloned().unwrap_or_default();
        let chain = self.chain(tenant);
        if chain.seq > 0 {
            heads.push(LaneHead { lane, seq: chain.seq, hash: chain.hash });
        }
        let checkpoint = Checkpoint {
            tenant,
            number: chain.checkpoints + 1,
            at,
            previous: chain.last_checkpoint,
            heads,
        };
        chain.checkpoints = checkpoint.number;
        chain.last_checkpoint = checkpoint.hash();
        chain.unanchored = 0;
        let signature = checkpoint.sign(key);
        SignedCheckpoint { checkpoint, signature }
    }
}

/// The last row of each of a tenant's lanes, by lane: two steps in the primary key's tree per lane.
async fn heads(conn: &mut SqliteConnection, tenant: TenantId) -> sqlx::Result<Vec<LaneHead>> {
    let mut heads = Vec::new();
    let mut lane = 0;
    loop {
        let row = sqlx::query(
            "SELECT lane, seq, hash FROM audit WHERE tenant = $1 AND lane =
                 (SELECT MIN(lane) FROM audit WHERE tenant = $1 AND lane > $2)
             ORDER BY seq DESC LIMIT 1",
        )
        .bind(tenant.as_bytes().as_slice())
        .bind(int(lane))
        .fetch_optional(&mut *conn)
        .await?;
        let Some(row) = row else { return Ok(heads) };
        lane = uint(row.try_get("lane")?);
        let seq = uint(row.try_get("seq")?);
        heads.push(LaneHead { lane, seq, hash: bytes(&row, "hash")? });
    }
}

/// The newest checkpoint of a tenant.
pub(crate) async fn last_checkpoint(
    conn: &mut SqliteConnection,
    tenant: TenantId,
) -> sqlx::Result<Option<SignedCheckpoint>> {
    let row = sqlx::query(
        "SELECT tenant, number, at, previous, heads, signature FROM checkpoints
         WHERE tenant = $1 ORDER BY number DESC LIMIT 1",
    )
    .bind(tenant.as_bytes().as_slice())
    .fetch_optional(conn)
    .await?;
    row.map(|row| read_checkpoint(&row)).transpose()
}

pub(crate) fn read_checkpoint(row: &sqlx::sqlite::SqliteRow) -> sqlx::Result<SignedCheckpoint> {
    let checkpoint = Checkpoint {
        tenant: id(row, "tenant", TenantId::from_slice)?,
        number: uint(row.try_get("number")?),
        at: time(row.try_get("at")?),
        previous: bytes(row, "previous")?,
        heads: read_heads(row.try_get("heads")?)?,
    };
    Ok(SignedCheckpoint { checkpoint, signature: bytes(row, "signature")? })
}

pub(crate) async fn store_checkpoint(
    conn: &mut SqliteConnection,
    signed: &SignedCheckpoint,
) -> sqlx::Result<()> {
    let checkpoint = &signed.checkpoint;
    let mut heads = Vec::with_capacity(checkpoint.heads.len() * HEAD_LEN);
    for head in &checkpoint.heads {
        heads.extend_from_slice(&head.lane.to_be_bytes());
        heads.extend_from_slice(&head.seq.to_be_bytes());
        heads.extend_from_slice(&head.hash);
    }
    sqlx::query(
        "INSERT INTO checkpoints (tenant, number, at, previous, heads, signature)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(checkpoint.tenant.as_bytes().as_slice())
    .bind(int(checkpoint.number))
    .bind(int(checkpoint.at.millis()))
    .bind(checkpoint.previous.as_slice())
    .bind(heads)
    .bind(signed.signature.as_slice())
    .execute(conn)
    .await?;
    Ok(())
}

fn read_heads(bytes: &[u8]) -> sqlx::Result<Vec<LaneHead>> {
    let (heads, rest) = bytes.as_chunks::<HEAD_LEN>();
    if !rest.is_empty() {
        return Err(decode("heads", crate::codec::NoSuch("list of heads")));
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let head = |head: &[u8; HEAD_LEN]| {
        let mut hash = [0; 32];
        hash.copy_from_slice(&head[16..]);
        LaneHead { lane: number(&head[..8]), seq: number(&head[8..16]), hash }
    };
    Ok(heads.iter().map(head).collect())
}
