//! The two drivers: a batch becomes one transaction.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::rows::{Blob, Int, Statement};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Driver {
    Rusqlite,
    Sqlx,
}

pub(crate) use Driver::{Rusqlite, Sqlx};

pub(crate) enum Store {
    Lite(rusqlite::Connection),
    Sqlx(SqliteConnection),
}

impl Store {
    pub(crate) async fn open(driver: Driver, path: &Path, schema: &str) -> Self {
        if driver == Rusqlite {
            let conn = rusqlite::Connection::open(path).expect("the folder is writable");
            conn.set_prepared_statement_cache_capacity(100);
            let pragmas =
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;";
            conn.execute_batch(pragmas)
                .and_then(|()| conn.execute_batch(schema))
                .expect("valid SQL");
            return Self::Lite(conn);
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", "-65536");
        let mut conn =
            SqliteConnection::connect_with(&options).await.expect("the folder is writable");
        sqlx::raw_sql(AssertSqlSafe(schema)).execute(&mut conn).await.expect("valid SQL");
        Self::Sqlx(conn)
    }

    /// Commits a batch in one transaction and counts the rows that RETURNING gave.
    pub(crate) async fn commit(&mut self, batch: &[Statement<'_>]) -> usize {
        match self {
            Self::Lite(conn) => commit_lite(conn, batch).expect("the batch is valid"),
            Self::Sqlx(conn) => commit_sqlx(conn, batch).await.expect("the batch is valid"),
        }
    }
}

fn commit_lite(conn: &rusqlite::Connection, batch: &[Statement<'_>]) -> rusqlite::Result<usize> {
    conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let mut found = 0;
    for statement in batch {
        let mut prepared = conn.prepare_cached(&statement.sql)?;
        for (n, value) in statement.values.iter().enumerate() {
            match value {
                Blob(bytes) => prepared.raw_bind_parameter(n + 1, bytes)?,
                Int(number) => prepared.raw_bind_parameter(n + 1, number)?,
            }
        }
        let mut rows = prepared.raw_query();
        while rows.next()?.is_some() {
            found += 1;
        }
    }
    conn.prepare_cached("COMMIT")?.execute([])?;
    Ok(found)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

fn bind<'q>(query: Query<'q>, statement: &Statement<'_>) -> Query<'q> {
    statement.values.iter().fold(query, |query, value| match value {
        Blob(bytes) => query.bind(*bytes),
        Int(number) => query.bind(*number),
    })
}

async fn commit_sqlx(conn: &mut SqliteConnection, batch: &[Statement<'_>]) -> sqlx::Result<usize> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let mut found = 0;
    for statement in batch {
        let query = sqlx::query(AssertSqlSafe(Arc::clone(&statement.sql)));
        found += bind(query, statement).fetch_all(&mut *tx).await?.len();
    }
    tx.commit().await?;
    Ok(found)
}
