//! Statements over many rows: through sqlx each statement pays some 20 us for its way to the connection's thread,
//! so 32 rows in one are three times cheaper than one by one, and more gain nothing (docs/performance.md).

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

pub(crate) const MAX_ROWS: usize = 32;

pub(crate) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// How a row is bound.
pub(crate) type Bind<T> = for<'q> fn(Query<'q>, &'q T) -> Query<'q>;

/// A statement that reads, around a `VALUES` of any number of rows.
pub(crate) struct Many {
    pub(crate) head: &'static str,
    pub(crate) columns: usize,
    pub(crate) tail: &'static str,
}

/// The texts by statement and number of rows, made once.
#[derive(Default)]
pub(crate) struct Texts(HashMap<(&'static str, usize), Arc<str>>);

impl Texts {
    /// What is found for all rows, in no order.
    pub(crate) async fn read<T: Sync>(
        &mut self,
        conn: &mut SqliteConnection,
        many: &Many,
        rows: &[T],
        bind: Bind<T>,
    ) -> sqlx::Result<Vec<SqliteRow>> {
        let mut found = Vec::new();
        for rows in rows.chunks(MAX_ROWS) {
            let text = self.of(many.head, many.columns, rows.len(), many.tail);
            // the text holds nothing but our own constants and places for values
            let query = rows.iter().fold(sqlx::query(AssertSqlSafe(text)), bind);
            found.extend(query.fetch_all(&mut *conn).await?);
        }
        Ok(found)
    }

    /// A text around `VALUES` with places for so many rows.
    pub(crate) fn of(
        &mut self,
        head: &'static str,
        columns: usize,
        rows: usize,
        tail: &'static str,
    ) -> Arc<str> {
        let text = self.0.entry((head, rows));
        let make = || {
            // places without a name: sqlx would look up and parse each
            let row = format!("({})", vec!["?"; columns].join(","));
            format!("{head} VALUES {}{tail}", vec![&*row; rows].join(",")).into()
        };
        Arc::clone(text.or_insert_with(make))
    }
}
