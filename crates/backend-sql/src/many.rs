//! Statements over many rows: through sqlx each statement pays some 20 us for its way to the connection's thread,
//! so 32 rows in one are three times cheaper than one by one, and more gain nothing (docs/performance.md). What a batch
//! writes to its tables goes in one text of several statements, for the same reason.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Either, Executor as _, Sqlite, SqliteConnection};

pub(crate) const MAX_ROWS: usize = 32;
/// Begins a transaction that writes.
pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";
/// Tables that one text writes.
const TABLES: usize = 4;
/// How many rows a statement that writes has places for: those left over are NULL, and passed over. A text for each
/// number of rows of each table would be more than can be kept prepared.
const SIZES: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, MAX_ROWS];

pub(crate) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// How a row is bound.
pub(crate) type Bind<T> = for<'q> fn(Query<'q>, &'q T) -> Query<'q>;

/// A statement around a `VALUES` of any number of rows. One that writes does nothing with a row of NULLs.
pub(crate) struct Many {
    pub(crate) head: &'static str,
    pub(crate) columns: usize,
    pub(crate) tail: &'static str,
}

impl Many {
    fn text(&self, rows: usize) -> String {
        // places without a name: sqlx would look up and parse each
        let row = format!("({})", vec!["?"; self.columns].join(","));
        format!("{} VALUES {}{}", self.head, vec![&*row; rows].join(","), self.tail)
    }
}

/// Places for as many of `rows` as fit.
fn places(rows: usize) -> usize {
    let fit = SIZES.into_iter().find(|size| *size >= rows).unwrap_or(MAX_ROWS);
    if rows == 0 { 0 } else { fit }
}

/// The statements of a text, and how many rows there are for each.
pub(crate) type Tables = [(&'static Many, usize); TABLES];

/// Whether a text begins the transaction, and its statements with their places.
type Wrote = (bool, [(&'static str, usize); TABLES]);

/// The texts by statement and number of rows, made once.
#[derive(Default)]
pub(crate) struct Texts {
    reads: HashMap<(&'static str, usize), Arc<str>>,
    writes: HashMap<Wrote, Arc<str>>,
}

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
            let text = self.reads.entry((many.head, rows.len()));
            let text = Arc::clone(text.or_insert_with(|| many.text(rows.len()).into()));
            // the text holds nothing but our own constants and places for values
            let query = rows.iter().fold(sqlx::query(AssertSqlSafe(text)), bind);
            found.extend(query.fetch_all(&mut *conn).await?);
        }
        Ok(found)
    }

    /// A text that writes to all tables, as many rows as fit; one that begins the transaction too, if `begins`.
    pub(crate) fn write<'q>(&mut self, begins: bool, tables: Tables) -> Write<'q> {
        let tables = tables.map(|(many, rows)| (many, places(rows)));
        let text = self.writes.entry((begins, tables.map(|(many, places)| (many.head, places))));
        let text = text.or_insert_with(|| {
            let begin = begins.then(|| BEGIN.to_owned());
            let writing = tables.iter().filter(|(_, places)| *places > 0);
            let writing = writing.map(|(many, places)| many.text(*places));
            begin.into_iter().chain(writing).collect::<Vec<_>>().join("; ").into()
        });
        // the text holds nothing but our own constants and places for values
        let query = sqlx::query(AssertSqlSafe(Arc::clone(text)));
        Write { query, begins, rows: Vec::with_capacity(TABLES) }
    }
}

/// Statements that write, on their way.
pub(crate) struct Write<'q> {
    query: Query<'q>,
    begins: bool,
    /// Of each statement that has any.
    rows: Vec<u64>,
}

impl<'q> Write<'q> {
    /// Takes as many of `rows` as fit into the next table's statement.
    pub(crate) fn bind<T>(mut self, many: &Many, rows: &mut &'q [T], bind: Bind<T>) -> Self {
        let (now, later) = rows.split_at(rows.len().min(MAX_ROWS));
        *rows = later;
        if !now.is_empty() {
            self.rows.push(now.len() as u64);
        }
        let left_over = (places(now.len()) - now.len()) * many.columns;
        let query = now.iter().fold(self.query, bind);
        self.query = (0..left_over).fold(query, |query, _| query.bind(None::<i64>));
        self
    }

    /// Writes. A row that was there a moment ago and isn't now is an error, and so is one that is there already.
    pub(crate) async fn run(self, conn: &mut SqliteConnection) -> sqlx::Result<()> {
        let mut done = conn.fetch_many(self.query);
        let mut touched = Vec::with_capacity(TABLES + 1);
        while let Some(done) = done.try_next().await? {
            if let Either::Left(done) = done {
                touched.push(done.rows_affected());
            }
        }
        // what a BEGIN says is of the statement before it
        let touched = touched.split_off(usize::from(self.begins));
        if touched == self.rows { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
    }
}
