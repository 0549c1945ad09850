//! What is written: kinds of row, their values, and statements of many rows.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

pub(crate) const TABLES: &str = "
CREATE TABLE cells(user BLOB PRIMARY KEY NOT NULL, version INTEGER NOT NULL, cell BLOB NOT NULL)
    WITHOUT ROWID;
CREATE TABLE audit(lane INTEGER, seq INTEGER, entry BLOB NOT NULL, PRIMARY KEY(lane, seq))
    WITHOUT ROWID;
CREATE TABLE decisions(id BLOB PRIMARY KEY NOT NULL, decision INTEGER, at INTEGER) WITHOUT ROWID;
CREATE TABLE challenges(id BLOB PRIMARY KEY NOT NULL, record BLOB NOT NULL, number BLOB,
    expires_at INTEGER NOT NULL, decision INTEGER NOT NULL DEFAULT 0, decided_at INTEGER)";
pub(crate) const UNDECIDED: &str =
    ";CREATE INDEX undecided ON challenges(expires_at) WHERE decision = 0";
pub(crate) const NUMBERED: &str =
    ";CREATE INDEX numbered ON challenges(expires_at) WHERE number IS NOT NULL";
pub(crate) const EVERY: &str = ";CREATE INDEX every ON challenges(expires_at)";

/// A kind of row write: its text for one row (unless `VALUES` does), the parts around `VALUES` of
/// many rows, and the columns that `Item::value` knows.
pub(crate) struct Op {
    one: &'static str,
    head: &'static str,
    tail: &'static str,
    columns: &'static str,
}

const fn insert(head: &'static str, tail: &'static str, columns: &'static str) -> Op {
    let one = "";
    Op { one, head, tail, columns }
}

pub(crate) const CHALLENGE: &Op =
    &insert("INSERT INTO challenges(id, record, number, expires_at)", "", "irnx");
pub(crate) const DECISION: &Op =
    &insert("INSERT INTO decisions", "ON CONFLICT DO NOTHING RETURNING id", "ida");
pub(crate) const AUDIT: &Op = &insert("INSERT INTO audit", "", "dse");
const UPSERT: &str =
    "ON CONFLICT(user) DO UPDATE SET version = excluded.version, cell = excluded.cell";
pub(crate) const CELL: &Op = &insert("INSERT INTO cells", UPSERT, "uac");
pub(crate) const SETTLE: &Op = &Op {
    one: "UPDATE challenges SET decision = ?, decided_at = ?, number = NULL \
          WHERE id = ? AND decision = 0 AND expires_at > ? RETURNING id",
    head: "WITH v(decision, at, id, now) AS (",
    tail: ") UPDATE challenges SET decision = v.decision, decided_at = v.at, number = NULL FROM v \
           WHERE challenges.id = v.id AND challenges.decision = 0 AND expires_at > v.now \
           RETURNING challenges.id",
    columns: "daia",
};
pub(crate) const ERASE: &Op = &Op {
    one: "UPDATE challenges SET number = NULL WHERE id = ?",
    head: "WITH v(id) AS (",
    tail: ") UPDATE challenges SET number = NULL FROM v WHERE challenges.id = v.id",
    columns: "i",
};
/// A bound value.
pub(crate) enum Value<'a> {
    Blob(&'a [u8]),
    Int(i64),
}
pub(crate) use Value::{Blob, Int};

/// What differs between ceremonies.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    pub(crate) id: [u8; 24],
    pub(crate) user: [u8; 16],
    pub(crate) at: i64,
    pub(crate) seq: i64,
}

impl Item {
    pub(crate) fn value(&self, column: char) -> Value<'_> {
        static BYTES: [u8; 700] = [0xa5; 700];
        match column {
            'i' => Blob(&self.id),
            'u' => Blob(&self.user),
            'r' => Blob(&BYTES),
            'e' => Blob(&BYTES[..300]),
            'c' => Blob(&BYTES[..200]),
            'n' => Blob(&BYTES[..40]),
            'a' => Int(self.at + 5_000),
            'x' => Int(self.at + 60_000),
            's' => Int(self.seq),
            _ => Int(1),
        }
    }
}

/// Makes items: ten challenges a millisecond, ten thousand users.
pub(crate) struct Items {
    rng: StdRng,
    made: i64,
    random: bool,
}

impl Items {
    pub(crate) fn new(random: bool) -> Self {
        let rng = StdRng::seed_from_u64(7);
        Self { rng, made: 0, random }
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<Item> {
        (0..count).map(|_| self.one()).collect()
    }

    pub(crate) fn one(&mut self) -> Item {
        self.made += 1;
        let at = 1_780_000_000_000 + self.made / 10;
        let (mut id, mut user) = ([0; 24], [0; 16]);
        self.rng.fill(&mut id);
        if !self.random {
            id[..6].copy_from_slice(&at.to_be_bytes()[2..]);
        }
        StdRng::seed_from_u64(self.rng.random_range(0..10_000)).fill(&mut user);
        Item { id, user, at, seq: self.made }
    }
}

pub(crate) struct Statement<'a> {
    pub(crate) sql: Arc<str>,
    pub(crate) values: Vec<Value<'a>>,
}

/// Builds statements of at most `most` rows each, and remembers their text.
pub(crate) struct Texts {
    most: usize,
    known: HashMap<(&'static str, &'static str, usize), Arc<str>>,
}

impl Texts {
    pub(crate) fn new(most: usize) -> Self {
        let known = HashMap::new();
        Self { most, known }
    }

    pub(crate) fn add<'a>(
        &mut self,
        out: &mut Vec<Statement<'a>>,
        op: &'static Op,
        mut items: &'a [Item],
    ) {
        while !items.is_empty() {
            let most = self.most.min(items.len());
            let rows = 1 << most.ilog2();
            let (now, later) = items.split_at(rows);
            let text = self.known.entry((op.head, op.tail, rows)).or_insert_with(|| {
                let row = vec!["?"; op.columns.len()].join(", ");
                let rows_text = vec![format!("({row})"); rows].join(", ");
                let short = rows == 1 && !op.one.is_empty();
                let many = format!("{} VALUES {rows_text} {}", op.head, op.tail);
                if short { op.one.into() } else { many.into() }
            });
            let row = |item: &'a Item| op.columns.chars().map(|column| item.value(column));
            let values = now.iter().flat_map(row).collect();
            let sql = Arc::clone(text);
            out.push(Statement { sql, values });
            items = later;
        }
    }

    pub(crate) fn all<'a>(&mut self, ops: &[&'static Op], items: &'a [Item]) -> Vec<Statement<'a>> {
        let mut out = Vec::new();
        ops.iter().for_each(|op| self.add(&mut out, op, items));
        out
    }

    /// A batch: the first `made` are created, the others settled, and all have an audit row.
    pub(crate) fn ceremony<'a>(&mut self, items: &'a [Item], made: usize) -> Vec<Statement<'a>> {
        let (creates, settles) = items.split_at(made);
        let mut out = self.all(&[CHALLENGE, CELL], creates);
        self.add(&mut out, SETTLE, settles);
        self.add(&mut out, AUDIT, items);
        out
    }
}
