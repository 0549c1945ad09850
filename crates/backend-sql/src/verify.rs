//! Checking the audit as somebody who trusts nothing but the master key: every row against the row before it,
//! every checkpoint against its signature, and every head that a checkpoint names against the row that is there.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use ports::SignedCheckpoint;
use sqlx::sqlite::SqliteRow;
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use statement::{AuditLink, PublicKey, TenantId};

use crate::audit::read_checkpoint;
use crate::codec::{bytes, id, int, time, uint};
use crate::open::read_options;
use crate::vault::Keyring;
use crate::{MasterKey, OpenError};

/// Rows taken from the disk at once.
const CHUNK: u32 = 1_000;

/// The audit is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows that were checked.
    pub rows: u64,
    /// Those of them that no checkpoint covers yet: cutting them off couldn't be told.
    pub unanchored: u64,
    /// Checkpoints that were checked.
    pub checkpoints: u64,
}

/// Where the audit is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A row, by its lane and its place in it.
    Row {
        /// The lane.
        lane: u64,
        /// From 1.
        seq: u64,
    },
    /// A checkpoint, by its number.
    Checkpoint(u64),
    /// All of it.
    Everything,
}

/// What is wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The row or checkpoint isn't there.
    Missing,
    /// It holds something that nobody wrote.
    Malformed,
    /// The row, its time or its place isn't what the chain covers.
    Changed,
    /// The private part isn't what the row committed to.
    PrivateChanged,
    /// The row isn't the one that a checkpoint signed for.
    NotAsAnchored,
    /// The signature doesn't verify.
    Signature,
    /// The checkpoint doesn't follow the one before it.
    Unlinked,
}

/// The first thing that was changed, dropped, reordered or cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Whose audit.
    pub tenant: TenantId,
    /// Where.
    pub place: Place,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Row { lane, seq } => write!(f, "row {seq} of lane {lane:016x}")?,
            Place::Checkpoint(number) => write!(f, "checkpoint {number}")?,
            Place::Everything => f.write_str("every row")?,
        }
        write!(f, " of {} ", self.tenant)?;
        f.write_str(match self.fault {
            Fault::Missing => "is missing",
            Fault::Malformed => "holds something that was never written there",
            Fault::Changed => "was changed, or stands in another row's place",
            Fault::PrivateChanged => "has another private part than it was written with",
            Fault::NotAsAnchored => "is not the row that a checkpoint signed for",
            Fault::Signature => "has a signature that does not verify",
            Fault::Unlinked => "does not follow the checkpoint before it",
        })
    }
}

/// Why the audit isn't verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It was tampered with.
    #[error("the audit is broken: {0}")]
    Broken(Broken),
    /// It can't be read.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<Broken> for VerifyError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<sqlx::Error> for VerifyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Open(error.into())
    }
}

/// Verifies the audit in `dir`, beside a running server if there is one. `checkpoint` is one that was kept
/// elsewhere: with it, cutting off the end together with the stored checkpoints is found too.
///
/// # Errors
/// [`VerifyError::Broken`] with the first thing that is wrong; [`VerifyError::Open`] if the database can't be
/// read, or the audit key isn't the one that was sealed under `master`.
pub async fn verify_audit(
    dir: &Path,
    master: &MasterKey,
    checkpoint: Option<&SignedCheckpoint>,
) -> Result<Verified, VerifyError> {
    let mut conn = read_options(dir).connect().await?;
    // one snapshot, however much is written meanwhile
    let mut snapshot = conn.begin().await?;
    let keys = Keyring::load(&mut snapshot, master).await?;
    let mut anchors = Anchors::default();
    let mut verified = Verified::default();
    check_checkpoints(&mut snapshot, keys.audit_signer().public(), checkpoint, &mut anchors)
        .await?;
    verified.checkpoints = anchors.checkpoints;
    check_rows(&mut snapshot, &mut anchors, &mut verified).await?;
    anchors.all_met()?;
    check_silence(&mut snapshot).await?;
    snapshot.rollback().await?;
    Ok(verified)
}

/// What checkpoints signed for in one lane.
#[derive(Default)]
struct Lane {
    heads: BTreeMap<u64, [u8; 32]>,
    /// The last row that was met.
    reached: u64,
}

/// The heads that checkpoints signed for.
#[derive(Default)]
struct Anchors {
    lanes: HashMap<(TenantId, u64), Lane>,
    checkpoints: u64,
}

impl Anchors {
    /// Notes the heads of a checkpoint whose signature was checked.
    fn add(&mut self, signed: &SignedCheckpoint) {
        let checkpoint = &signed.checkpoint;
        for head in &checkpoint.heads {
            let lane = self.lanes.entry((checkpoint.tenant, head.lane)).or_default();
            lane.heads.insert(head.seq, head.hash);
        }
    }

    /// Holds a row against what was signed for in its place. Whether this or a later row of its lane is anchored.
    fn meet(&mut self, walk: &Walk) -> Result<bool, Broken> {
        let Walk { tenant, lane, seq, hash } = *walk;
        let Some(anchored) = self.lanes.get_mut(&(tenant, lane)) else {
            return Ok(false);
        };
        anchored.reached = seq;
        match anchored.heads.remove(&seq) {
            Some(signed) if signed != hash => {
                let place = Place::Row { lane, seq };
                Err(Broken { tenant, place, fault: Fault::NotAsAnchored })
            }
            Some(_) => Ok(true),
            None => Ok(!anchored.heads.is_empty()),
        }
    }

    /// What was signed for and not met has been cut off, from the row after the last one on.
    fn all_met(&self) -> Result<(), Broken> {
        let missing = self.lanes.iter().filter(|(_, lane)| !lane.heads.is_empty());
        match missing.min_by_key(|(id, _)| **id) {
            None => Ok(()),
            Some((&(tenant, lane), anchored)) => {
                let place = Place::Row { lane, seq: anchored.reached + 1 };
                Err(Broken { tenant, place, fault: Fault::Missing })
            }
        }
    }
}

async fn check_checkpoints(
    conn: &mut SqliteConnection,
    key: &PublicKey,
    kept: Option<&SignedCheckpoint>,
    anchors: &mut Anchors,
) -> Result<(), VerifyError> {
    let check = |signed: &SignedCheckpoint| {
        let SignedCheckpoint { checkpoint, signature } = signed;
        let place = Place::Checkpoint(checkpoint.number);
        let tenant = checkpoint.tenant;
        let broken = Broken { tenant, place, fault: Fault::Signature };
        checkpoint.verify(key, signature).map_err(|_| broken)
    };
    if let Some(kept) = kept {
        check(kept)?;
        anchors.add(kept);
    }
    let rows = sqlx::query(
        "SELECT tenant, number, at, previous, heads, signature FROM checkpoints ORDER BY tenant, number",
    )
    .fetch_all(conn)
    .await?;
    let mut last: Option<(TenantId, u64, [u8; 32])> = None;
    let mut kept_is_met = kept.is_none();
    for row in &rows {
        let tenant = id(row, "tenant", TenantId::from_slice)?;
        let (before, previous) = match last {
            Some((other, number, hash)) if other == tenant => (number, hash),
            _ => (0, [0; 32]),
        };
        let broken = |number, fault| Broken { tenant, place: Place::Checkpoint(number), fault };
        let number = uint(row.try_get("number")?);
        if number != before + 1 {
            return Err(broken(before + 1, Fault::Missing).into());
        }
        let signed = read_checkpoint(row).map_err(|_| broken(number, Fault::Malformed))?;
        check(&signed)?;
        if signed.checkpoint.previous != previous {
            return Err(broken(number, Fault::Unlinked).into());
        }
        let hash = signed.checkpoint.hash();
        if let Some(kept) = kept
            && (kept.checkpoint.tenant, kept.checkpoint.number) == (tenant, number)
        {
            if kept.checkpoint.hash() != hash {
                return Err(broken(number, Fault::NotAsAnchored).into());
            }
            kept_is_met = true;
        }
        anchors.add(&signed);
        anchors.checkpoints += 1;
        last = Some((tenant, number, hash));
    }
    match kept {
        Some(kept) if !kept_is_met => {
            let (tenant, number) = (kept.checkpoint.tenant, kept.checkpoint.number);
            let place = Place::Checkpoint(number);
            Err(Broken { tenant, place, fault: Fault::Missing }.into())
        }
        _ => Ok(()),
    }
}

/// Nobody has users or integrations without a row that says so: where there is none, all of them were dropped,
/// and the checkpoints with them.
async fn check_silence(conn: &mut SqliteConnection) -> Result<(), VerifyError> {
    let silent = sqlx::query(
        "SELECT id FROM tenants WHERE NOT EXISTS (SELECT 1 FROM audit WHERE tenant = tenants.id)
             AND (EXISTS (SELECT 1 FROM users WHERE tenant = tenants.id)
                 OR EXISTS (SELECT 1 FROM integrations WHERE tenant = tenants.id))
         ORDER BY id LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = silent else { return Ok(()) };
    let tenant = id(&row, "id", TenantId::from_slice)?;
    Err(Broken { tenant, place: Place::Everything, fault: Fault::Missing }.into())
}

/// Where the walk through the rows stands.
struct Walk {
    tenant: TenantId,
    lane: u64,
    seq: u64,
    hash: [u8; 32],
}

async fn check_rows(
    conn: &mut SqliteConnection,
    anchors: &mut Anchors,
    verified: &mut Verified,
) -> Result<(), VerifyError> {
    let mut walk = Walk { tenant: TenantId::from_bytes([0; 16]), lane: 0, seq: 0, hash: [0; 32] };
    loop {
        let rows = sqlx::query(
            "SELECT tenant, lane, seq, at, public, private, salt, commitment, hash FROM audit
             WHERE (tenant, lane, seq) > ($1, $2, $3) ORDER BY tenant, lane, seq LIMIT $4",
        )
        .bind(walk.tenant.as_bytes().as_slice())
        .bind(int(walk.lane))
        .bind(int(walk.seq))
        .bind(CHUNK)
        .fetch_all(&mut *conn)
        .await?;
        for row in &rows {
            walk = step(&walk, row)?;
            verified.rows += 1;
            let is_anchored = anchors.meet(&walk)?;
            verified.unanchored += u64::from(!is_anchored);
        }
        if rows.len() < CHUNK as usize {
            return Ok(());
        }
    }
}

/// Holds a row against the one before it.
fn step(before: &Walk, row: &SqliteRow) -> Result<Walk, VerifyError> {
    let tenant = id(row, "tenant", TenantId::from_slice)?;
    let (lane, seq) = (uint(row.try_get("lane")?), uint(row.try_get("seq")?));
    let (last, previous) = if (before.tenant, before.lane) == (tenant, lane) {
        (before.seq, before.hash)
    } else {
        (0, [0; 32])
    };
    let broken = |seq, fault| Broken { tenant, place: Place::Row { lane, seq }, fault };
    if seq != last + 1 {
        return Err(broken(last + 1, Fault::Missing).into());
    }
    let malformed = |_: sqlx::Error| broken(seq, Fault::Malformed);
    let commitment = bytes(row, "commitment").map_err(malformed)?;
    let private: Option<&[u8]> = row.try_get("private").map_err(malformed)?;
    let salt: Option<&[u8]> = row.try_get("salt").map_err(malformed)?;
    match (private, salt.map(<[u8; 16]>::try_from)) {
        // erased: the commitment stays, and stays under the chain
        (None, None) => {}
        (Some(private), Some(Ok(salt))) => {
            if AuditLink::commitment(&salt, private) != commitment {
                return Err(broken(seq, Fault::PrivateChanged).into());
            }
        }
        _ => return Err(broken(seq, Fault::PrivateChanged).into()),
    }
    let link = AuditLink {
        tenant,
        lane,
        seq,
        at: time(row.try_get("at").map_err(malformed)?),
        public: row.try_get("public").map_err(malformed)?,
        private: &commitment,
    };
    let hash = link.hash(&previous);
    if bytes::<32>(row, "hash").map_err(malformed)? != hash {
        return Err(broken(seq, Fault::Changed).into());
    }
    Ok(Walk { tenant, lane, seq, hash })
}
