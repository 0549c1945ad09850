//! Opening the database: settings asserted, schema known, keys there.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::directory::Tenant;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqlSafeStr as _, SqliteConnection, SqlitePool,
};
use statement::{TenantId, Timestamp};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::audit::Lanes;
use crate::many::{MAX_ROWS, Texts};
use crate::memory::Memory;
use crate::slots::Slots;
use crate::vault::{Keyring, create_secrets};
use crate::working::Working;
use crate::{Clock, Inner, MasterKey, changes, random, wal, writer, writes};

/// The database's name in its folder.
const FILE: &str = "countersign.db";
/// How long a lock of somebody else is waited for: an operator's shell, never another server.
const BUSY: Duration = Duration::from_secs(5);
/// Pages that the writer keeps: 16 MiB (negative: KiB). New rows go to the ends of their trees, so few are touched.
const CACHE: &str = "-16384";
/// Connections that read. Two cores; what is read often is in memory.
const READERS: u32 = 4;
/// Searches of the audit at a time.
const SEARCHES: usize = 2;
/// Prepared statements that a connection keeps: those over many rows have a text for each number of rows.
const STATEMENTS: usize = 12 * MAX_ROWS;
/// How long a reader is waited for before the caller is told that the store is overloaded.
pub(crate) const READER_WAIT: Duration = Duration::from_millis(500);

/// Why the store didn't open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database is of a later release.
    #[error(
        "the database has schema {found}, this program knows up to {known}: start the release that wrote it, \
         or a later one"
    )]
    NewerSchema {
        /// What the database has.
        found: i64,
        /// What this program knows.
        known: i64,
    },
    /// A migration failed, or an old one isn't as it was.
    #[error("migrating the database: {0}")]
    Migrate(#[source] MigrateError),
    /// The database doesn't keep a setting without which nothing is durable.
    #[error("the database has {setting} = {found}, wanted {wanted}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The keys in the database were sealed under another master key.
    #[error(
        "the keys in the database don't open: this is not the master key that they were sealed under"
    )]
    WrongMasterKey,
    /// Something in the database can't be.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The database can't be used.
    #[error("the database can't be opened: {0}")]
    Sql(#[from] sqlx::Error),
}

/// What runs beside the callers, and how it is stopped.
pub(crate) struct Tasks {
    stop_writer: oneshot::Sender<()>,
    writer: JoinHandle<()>,
    stop_folding: oneshot::Sender<()>,
    folding: JoinHandle<SqliteConnection>,
}

impl Tasks {
    /// Lets the writer finish its queue, then empties the log.
    pub(crate) async fn stop(self, reads: &SqlitePool) {
        // a task that is gone needs no word
        self.stop_writer.send(()).ok();
        if let Err(error) = self.writer.await {
            tracing::error!(%error, "the writer failed");
        }
        reads.close().await;
        self.stop_folding.send(()).ok();
        let Ok(mut conn) = self.folding.await else {
            return;
        };
        let folded = wal::truncate(&mut conn).await;
        if let Err(error) = folded.and(conn.close().await) {
            tracing::warn!(%error, "the write-ahead log could not be folded at the end");
        }
    }
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn options(dir: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path(dir))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("wal_autocheckpoint", wal::BOUND)
        .pragma("cache_size", CACHE)
        // rows pass through a temporary table on their way (writes.rs)
        .pragma("temp_store", "MEMORY")
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

/// Options of a connection that can't write.
pub(crate) fn read_options(dir: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path(dir))
        .read_only(true)
        .busy_timeout(BUSY)
        .disable_statement_logging()
}

/// Makes the database's file, if it isn't there, readable by its owner alone. SQLite gives its log and index the
/// same mode.
fn make_private(file: &Path) -> Result<(), OpenError> {
    let mut options = std::fs::File::options();
    let made = options.write(true).create_new(true).mode(0o600).open(file);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(sqlx::Error::Io(error).into()),
    }
}

/// What the connection must say of itself.
const SETTINGS: [(&str, &str, &str); 5] = [
    ("journal_mode", "PRAGMA journal_mode", "wal"),
    ("synchronous", "PRAGMA synchronous", "2"),
    ("foreign_keys", "PRAGMA foreign_keys", "1"),
    ("busy_timeout", "PRAGMA busy_timeout", "5000"),
    ("wal_autocheckpoint", "PRAGMA wal_autocheckpoint", wal::BOUND),
];

pub(crate) async fn assert_settings(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    for (setting, question, wanted) in SETTINGS {
        let row = sqlx::query(question).fetch_one(&mut *conn).await?;
        let found = row
            .try_get::<String, _>(0)
            .or_else(|_| row.try_get::<i64, _>(0).map(|number| number.to_string()))?;
        if found != wanted {
            return Err(OpenError::Setting { setting, found, wanted });
        }
    }
    Ok(())
}

/// The schema, one step per release that changed it. A step that was released never changes.
fn migrations() -> Vec<Migration> {
    let step = |version, name: &'static str, sql: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    };
    vec![
        step(1, "spine", include_str!("../migrations/sqlite/0001_spine.sql")),
        step(2, "protocols", include_str!("../migrations/sqlite/0002_protocols.sql")),
        step(3, "pages", include_str!("../migrations/sqlite/0003_pages.sql")),
        step(4, "redeems", include_str!("../migrations/sqlite/0004_redeems.sql")),
    ]
}

async fn migrate(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    let migrations = migrations();
    let known = migrations.iter().map(|step| step.version).max().unwrap_or_default();
    let migrator = Migrator::with_migrations(migrations);
    match migrator.run_direct(None, &mut *conn, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(missing)) => {
            let newest = sqlx::query("SELECT MAX(version) FROM _sqlx_migrations")
                .fetch_one(conn)
                .await?
                .try_get::<i64, _>(0)?;
            Err(OpenError::NewerSchema { found: newest.max(missing), known })
        }
        Err(error) => Err(OpenError::Migrate(error)),
    }
}

/// The tenant `default` and all keys, in one transaction, if nobody was here before.
async fn found(
    conn: &mut SqliteConnection,
    master: &MasterKey,
    now: Timestamp,
) -> Result<(), OpenError> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let is_new = sqlx::query("SELECT 1 FROM tenants LIMIT 1").fetch_optional(&mut *tx).await?;
    if is_new.is_none() {
        let id = TenantId::from_bytes(random::draw());
        let tenant = Tenant { id, name: "default".to_owned(), created: now };
        changes::insert_tenant(&mut tx, &tenant).await?;
        create_secrets(&mut tx, master, now).await?;
    }
    Ok(tx.commit().await?)
}

pub(crate) async fn open(dir: &Path, clock: Clock, master: &MasterKey) -> Result<Inner, OpenError> {
    make_private(&path(dir))?;
    let mut conn = options(dir).create_if_missing(true).connect().await?;
    assert_settings(&mut conn).await?;
    migrate(&mut conn).await?;
    found(&mut conn, master, clock()).await?;
    writes::prepare(&mut conn).await?;
    let keys = Arc::new(Keyring::load(&mut conn, master).await?);
    let lanes = Lanes::start(&mut conn, clock()).await?;

    let memory = Arc::new(Memory::new());
    let fold = Arc::new(Notify::new());
    let (stop_folding, stopped) = oneshot::channel();
    let folder = options(dir).connect().await?;
    let folding = tokio::spawn(wal::keep_folding(folder, Arc::clone(&fold), stopped));
    let reads = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READER_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(read_options(dir))
        .await?;
    let task = writer::Task {
        conn,
        clock: Arc::clone(&clock),
        keys: Arc::clone(&keys),
        lanes,
        texts: Texts::default(),
        working: Working::default(),
        memory: Arc::clone(&memory),
        fold,
        commits: 0,
    };
    let (stop_writer, stopped) = oneshot::channel();
    let (writer, handle) = task.start(stopped);
    let tasks = Tasks { stop_writer, writer: handle, stop_folding, folding };
    Ok(Inner {
        writer,
        reads,
        searches: Semaphore::new(SEARCHES),
        memory,
        slots: Slots::new(),
        keys,
        clock,
        tasks: Mutex::new(Some(tasks)),
    })
}
