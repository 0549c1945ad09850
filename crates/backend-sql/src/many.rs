//! Statements over many rows: through sqlx each statement pays some 20 us for its way to the connection's thread,
//! so 32 rows in one are three times cheaper than one by one, and more gain nothing (docs/performance.md). There is a
//! text for each number of rows up to that: powers of two alone would take twice as many statements.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

pub(crate) const MAX_ROWS: usize = 32;

pub(crate) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// How a row is bound.
pub(crate) type Bind<T> = for<'q> fn(Query<'q>, &'q T) -> Query<'q>;

/// A statement around a `VALUES` of any number of rows.
pub(crate) struct Many {
    pub(crate) head: &'static str,
    pub(crate) columns: usize,
    pub(crate) tail: &'static str,
}

/// The texts by statement and number of rows, made once.
#[derive(Default)]
pub(crate) struct Texts(HashMap<(&'static str, usize), Arc<str>>);

impl Texts {
    fn of(&mut self, many: &Many, rows: usize) -> Arc<str> {
        let text = self.0.entry((many.head, rows)).or_insert_with(|| {
            // places without a name: sqlx would look up and parse each
            let row = format!("({})", vec!["?"; many.columns].join(", "));
            format!("{} VALUES {}{}", many.head, vec![&*row; rows].join(", "), many.tail).into()
        });
        Arc::clone(text)
    }

    /// The next part of `rows` as one query, and the rest.
    fn next<'q, T>(
        &mut self,
        many: &Many,
        rows: &'q [T],
        bind: Bind<T>,
    ) -> Option<(Query<'q>, &'q [T])> {
        if rows.is_empty() {
            return None;
        }
        let (now, later) = rows.split_at(rows.len().min(MAX_ROWS));
        // the text holds nothing but our own constants and places for values
        let query = sqlx::query(AssertSqlSafe(self.of(many, now.len())));
        Some((now.iter().fold(query, bind), later))
    }

    /// Writes all rows; how many the statements touched.
    pub(crate) async fn write<T: Sync>(
        &mut self,
        conn: &mut SqliteConnection,
        many: &Many,
        mut rows: &[T],
        bind: Bind<T>,
    ) -> sqlx::Result<u64> {
        let mut touched = 0;
        while let Some((query, later)) = self.next(many, rows, bind) {
            touched += query.execute(&mut *conn).await?.rows_affected();
            rows = later;
        }
        Ok(touched)
    }

    /// What is found for all rows, in no order.
    pub(crate) async fn read<T: Sync>(
        &mut self,
        conn: &mut SqliteConnection,
        many: &Many,
        mut rows: &[T],
        bind: Bind<T>,
    ) -> sqlx::Result<Vec<SqliteRow>> {
        let mut found = Vec::new();
        while let Some((query, later)) = self.next(many, rows, bind) {
            found.extend(query.fetch_all(&mut *conn).await?);
            rows = later;
        }
        Ok(found)
    }
}
