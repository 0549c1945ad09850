//! What happens when the disk or the queue is full: nothing is acknowledged that isn't stored.

use domain::audit::{Entry, Event};
use ports::StoreError;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use testkit::within;
use tokio::sync::mpsc;

use super::support::Disk;
use crate::batch::Batch;
use crate::writer::{Job, MAX_BATCH, MAX_QUEUE};
use crate::{MasterKey, OpenError, verify_audit};

/// Runs a statement on the writing connection.
struct Sql(String);

impl Job for Sql {
    type Done = ();

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<()> {
        sqlx::query(AssertSqlSafe(self.0.clone()))
            .fetch_optional(batch.conn().await?)
            .await
            .map(|_| ())
    }
}

async fn rows(conn: &mut SqliteConnection) -> usize {
    let row = sqlx::query("SELECT COUNT(*) FROM audit").fetch_one(conn).await.unwrap();
    usize::try_from(row.get::<i64, _>(0)).unwrap()
}

#[tokio::test]
async fn a_full_disk_ends_all_writes_and_loses_nothing_that_was_acknowledged() {
    let disk = Disk::new();
    let store = disk.open().await;
    let tenant = store.directory().tenants().await.unwrap()[0].id;
    let entry = Entry::new(tenant, Event::Alert).privately(|p| p.reason = Some("x".repeat(2_000)));
    store.ledger().record(entry.clone()).await.unwrap();
    let pages = sqlx::query("PRAGMA page_count").fetch_one(&mut disk.tamper().await).await.unwrap();
    let most = pages.get::<i64, _>(0) + 20;
    store.0.writer.write(Sql(format!("PRAGMA max_page_count = {most}"))).await.unwrap();

    let mut stored = 1;
    let error = loop {
        match store.ledger().record(entry.clone()).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(stored > 1 && store.healthy().is_err());
    // what would fit isn't taken either: nobody knows what the disk has
    let small = Entry::new(tenant, Event::Alert);
    let refused = store.ledger().record(small).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(store.directory().tenants().await.is_ok(), "reads go on");
    assert!(store.close().await.is_err(), "no last checkpoint");

    assert_eq!(rows(&mut disk.tamper().await).await, stored);
    let store = disk.open().await;
    store.ledger().record(entry).await.unwrap();
    let master = MasterKey::from_bytes([7; 32]);
    let verified = verify_audit(disk.path(), &master, None).await.unwrap();
    assert_eq!(verified.rows as usize, stored + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_told_in_time_and_what_was_taken_is_stored() {
    let disk = Disk::new();
    let store = disk.open().await;
    let tenant = store.directory().tenants().await.unwrap()[0].id;
    let mut lock = disk.tamper().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    let calls = MAX_QUEUE + MAX_BATCH + 100;
    let (told, mut answers) = mpsc::unbounded_channel();
    for _ in 0..calls {
        let (ledger, told) = (store.ledger(), told.clone());
        tokio::spawn(async move {
            told.send(ledger.record(Entry::new(tenant, Event::Alert)).await).unwrap();
        });
    }
    let first = within("the first refusal", answers.recv()).await.unwrap();
    assert_eq!(first, Err(StoreError::Overloaded));
    sqlx::raw_sql("ROLLBACK").execute(&mut lock).await.unwrap();
    let mut stored = 0;
    for _ in 1..calls {
        match within("an answer", answers.recv()).await.unwrap() {
            Ok(()) => stored += 1,
            Err(error) => assert_eq!(error, StoreError::Overloaded),
        }
    }
    assert!(stored >= MAX_QUEUE, "{stored}");
    assert_eq!(rows(&mut lock).await, stored);
}

#[tokio::test]
async fn a_connection_without_its_settings_is_refused() {
    let disk = Disk::new();
    disk.open().await.close().await.unwrap();
    let mut conn = disk.tamper().await;
    sqlx::raw_sql("PRAGMA synchronous = NORMAL").execute(&mut conn).await.unwrap();
    let refused = crate::open::assert_settings(&mut conn).await.unwrap_err();
    let OpenError::Setting { setting, found, wanted } = refused else { panic!("{refused}") };
    assert_eq!((setting, found.as_str(), wanted), ("synchronous", "1", "2"));
}
