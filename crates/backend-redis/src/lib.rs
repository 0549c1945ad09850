//! Hot state on Redis (7.0 or newer) or Valkey.
//!
//! One hash per user, changed by one script. Every script names its operation and is idempotent, so a call
//! whose reply was lost can be made again. Redis is asked for speed, never for durability: what it loses,
//! the ledger ends as expired.
//!
//! Architecture invariant: the guard's rules aren't here; a script compares, sets and forgets what has ended.

mod connect;
mod stored;

use std::time::Duration;

use domain::challenge::MAX_TTL;
use ports::{BoxFuture, Committed, Conflict, Hot, HotChange, HotError, HotUser, Rider, StoreError};
use redis::aio::ConnectionManager;
use redis::{RedisResult, Script};
use statement::{TenantId, UserId};

pub use crate::connect::ConnectError;

/// A whole call, waiting for a connection and one retry included: a page must fail while its reader is
/// still there (ARCHITECTURE.md: 503 within half a second).
const CALL_TIMEOUT: Duration = Duration::from_millis(500);
/// A cell that nobody touched for so long tells the guard nothing: its longest memory is 30 days.
const LIFE: Duration = Duration::from_secs(45 * 24 * 60 * 60);

/// Hot state on a Redis server.
pub struct RedisHot {
    connection: ConnectionManager,
    commit: Script,
}

impl std::fmt::Debug for RedisHot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisHot") // the connection's own would print its address
    }
}

impl RedisHot {
    /// Connects to `url` (`redis://`, `redis+unix://`) and checks that the server won't evict.
    ///
    /// # Errors
    /// [`ConnectError`], which never holds a part of the URL.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Ok(Self {
            connection: connect::connect(url).await?,
            commit: Script::new(include_str!("commit.lua")),
        })
    }

    async fn load_user(&self, tenant: TenantId, user: UserId) -> Result<HotUser, StoreError> {
        let key = stored::key(tenant, user);
        let mut read = redis::cmd("HGETALL");
        let read = &*read.arg(key);
        let fields = call(|| {
            let mut connection = self.connection.clone();
            async move { read.query_async(&mut connection).await }
        })
        .await?;
        stored::read(fields)
    }

    async fn commit_change(&self, change: HotChange) -> Result<Committed, HotError> {
        let mut run = self.commit.key(stored::key(change.tenant, change.user));
        run.arg(change.version.to_string())
            .arg(change.op_id.as_slice())
            .arg(stored::encode(&change.cell)?)
            .arg(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX))
            .arg(change.add.len());
        for challenge in &change.add {
            run.arg(stored::field(challenge.id)).arg(stored::encode(&**challenge)?);
        }
        run.arg(change.remove.len());
        for id in &change.remove {
            run.arg(stored::field(*id));
        }
        // by the callers' clock: Redis's own may differ from the one that stamped the challenges
        let newest = change.add.iter().map(|challenge| challenge.created).max();
        run.arg(newest.map_or(0, |newest| newest.minus(MAX_TTL).millis()));

        let run = &run;
        let (done, version): (bool, u64) = call(|| {
            let mut connection = self.connection.clone();
            async move { run.invoke_async(&mut connection).await }
        })
        .await?;
        if !done {
            return Err(Conflict.into());
        }
        Ok(Committed { version, rider: None })
    }
}

impl Hot for RedisHot {
    fn load(&self, tenant: TenantId, user: UserId) -> BoxFuture<'_, Result<HotUser, StoreError>> {
        Box::pin(self.load_user(tenant, user))
    }

    fn commit(&self, change: HotChange) -> BoxFuture<'_, Result<Committed, HotError>> {
        Box::pin(self.commit_change(change))
    }

    fn flush(&self, _rider: Rider) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Err(StoreError::Inconsistent("a rider of another backend".to_owned())) })
    }
}

/// Makes a call within its time, and once more if the connection was lost under it: the first call after
/// the server came back finds out that the old connection is dead.
async fn call<T, F>(attempt: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = RedisResult<T>>,
{
    let twice = async {
        match attempt().await {
            Err(error) if error.is_unrecoverable_error() => attempt().await,
            result => result,
        }
    };
    match tokio::time::timeout(CALL_TIMEOUT, twice).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(StoreError::Unavailable(connect::describe(&error))),
        Err(_) => Err(StoreError::Unavailable("no reply in time".to_owned())),
    }
}
