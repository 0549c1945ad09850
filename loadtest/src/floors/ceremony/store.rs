//! A ceremony's six rows in SQLite, and nothing around them: the product's tables, rows as long as its own, many inserts
//! in a statement, one thread that commits whatever has gathered while it committed the last time, and writes to the
//! sockets of those who waited for it by itself. Checkpoints of the audit are left out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use rusqlite::{Connection, Statement, ToSql};
use statement::{ChallengeId, Timestamp, UserId};

use super::super::socket::Out;

pub(crate) use rusqlite::Error;

/// The product's own tables.
const SCHEMA: [&str; 4] = [
    include_str!("../../../../crates/backend-sql/migrations/sqlite/0001_spine.sql"),
    include_str!("../../../../crates/backend-sql/migrations/sqlite/0002_protocols.sql"),
    include_str!("../../../../crates/backend-sql/migrations/sqlite/0003_pages.sql"),
    include_str!("../../../../crates/backend-sql/migrations/sqlite/0004_redeems.sql"),
];
/// As the product sets its own up; the log is folded beside the writer, each [`REST`].
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                        PRAGMA wal_autocheckpoint = 10000; PRAGMA cache_size = -16384;";
const REST: Duration = Duration::from_millis(100);
/// Rows in a statement: more gain nothing (docs/performance.md).
const MANY: usize = 32;
/// Lengths of what the product seals or encodes: means of a database that `loadtest run` left.
const RECORD: usize = 377;
const NUMBER: usize = 38;
const CELL: usize = 301;
/// What stands for bytes that nobody reads again.
const FILL: [u8; 512] = [0x5a; 512];

/// As long as a lane's number, which starts with the time.
const LANE: i64 = 0x0192_0000_0000_0001;

/// A challenge and its user's state.
pub(crate) struct Opened {
    pub(crate) id: ChallengeId,
    pub(crate) user: UserId,
    pub(crate) session: [u8; 32],
    pub(crate) expires: Timestamp,
}

/// An audit row.
pub(crate) struct AuditRow {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    /// How long its parts are.
    pub(crate) public: usize,
    pub(crate) private: usize,
    /// The challenge that it redeems.
    pub(crate) redeems: Option<ChallengeId>,
}

/// What is to be stored, and what is said after that.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) opened: Vec<Opened>,
    /// Approvals.
    pub(crate) decided: Vec<(ChallengeId, Timestamp)>,
    pub(crate) audit: Vec<AuditRow>,
    pub(crate) then: Vec<(Arc<Out>, Vec<u8>)>,
}

impl Rows {
    /// No rows come without an audit row.
    const fn is_empty(&self) -> bool {
        self.audit.is_empty() && self.then.is_empty()
    }

    fn move_to(&mut self, other: &mut Self) {
        other.opened.append(&mut self.opened);
        other.decided.append(&mut self.decided);
        other.audit.append(&mut self.audit);
        other.then.append(&mut self.then);
    }
}

#[derive(Default)]
struct Queue {
    rows: Rows,
    over: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    turn: Condvar,
}

/// The way to the writing thread, which ends with it.
pub(crate) struct Store(Arc<Shared>);

impl Store {
    /// Makes the database `floor.db` and starts its threads. Must be called on a runtime's thread: the writer hands
    /// it what a socket doesn't take at once.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("floor.db");
        let connection = database(&path)?;
        let shared = Arc::<Shared>::default();
        let (theirs, watched) = (Arc::clone(&shared), Arc::downgrade(&shared));
        let runtime = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            let _entered = runtime.enter();
            or_end(write_all(&connection, &theirs));
        });
        std::thread::spawn(move || or_end(fold(path, &watched)));
        Ok(Self(shared))
    }

    /// Hands over rows and what follows from them.
    pub(crate) fn write(&self, rows: &mut Rows) {
        if rows.is_empty() {
            return;
        }
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = queue.rows.is_empty();
        rows.move_to(&mut queue.rows);
        drop(queue);
        if was_empty {
            self.0.turn.notify_one();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.0.turn.notify_one();
    }
}

fn database(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    connection.execute_batch(SETTINGS)?;
    SCHEMA.iter().try_for_each(|sql| connection.execute_batch(sql))?;
    Ok(connection)
}

/// A floor that can't store is none: whoever measures it finds it gone.
fn or_end(done: Result<(), Error>) {
    if let Err(error) = done {
        eprintln!("floor server: SQLite: {error}");
        std::process::exit(1);
    }
}

fn fold(path: PathBuf, shared: &Weak<Shared>) -> Result<(), Error> {
    let connection = Connection::open(path)?;
    while shared.strong_count() > 0 {
        std::thread::sleep(REST);
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(())
}

fn write_all(connection: &Connection, shared: &Shared) -> Result<(), Error> {
    let mut writer = Writer::new(connection)?;
    let mut rows = Rows::default();
    loop {
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.rows.is_empty() {
            if queue.over {
                return Ok(());
            }
            queue = shared.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut queue.rows, &mut rows);
        drop(queue);
        if !rows.audit.is_empty() {
            writer.commit(&rows)?;
        }
        rows.opened.clear();
        rows.decided.clear();
        rows.audit.clear();
        for (to, bytes) in rows.then.drain(..) {
            to.send(&bytes);
        }
    }
}

/// Statements for 1 to [`MANY`] rows of a table.
struct Many<'c>(Vec<Statement<'c>>);

impl<'c> Many<'c> {
    fn new(
        connection: &'c Connection,
        head: &str,
        columns: usize,
        tail: &str,
    ) -> Result<Self, Error> {
        let row = format!("({})", vec!["?"; columns].join(","));
        let text = |rows| format!("{head} VALUES {}{tail}", vec![&*row; rows].join(","));
        (1..=MANY).map(|rows| connection.prepare(&text(rows))).collect::<Result<_, _>>().map(Self)
    }

    fn put<R>(
        &mut self,
        rows: &[R],
        bind: impl Fn(&R, &mut Bind<'_, 'c>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for rows in rows.chunks(MANY) {
            let statement = &mut self.0[rows.len() - 1];
            let mut places = Bind { statement, next: 1 };
            rows.iter().try_for_each(|row| bind(row, &mut places))?;
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// The places of a statement, one after the other.
struct Bind<'s, 'c> {
    statement: &'s mut Statement<'c>,
    next: usize,
}

impl Bind<'_, '_> {
    fn all<const N: usize>(&mut self, values: [&dyn ToSql; N]) -> Result<(), Error> {
        for value in values {
            self.statement.raw_bind_parameter(self.next, value)?;
            self.next += 1;
        }
        Ok(())
    }
}

struct Writer<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    challenges: Many<'c>,
    hot: Many<'c>,
    decide: Statement<'c>,
    audit: Many<'c>,
}

impl<'c> Writer<'c> {
    fn new(connection: &'c Connection) -> Result<Self, Error> {
        let many = |head, columns, tail| Many::new(connection, head, columns, tail);
        Ok(Self {
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            challenges: many(
                "INSERT INTO challenges (id, tenant, integration, user_id, session, expires, record, number, opened)",
                9,
                "",
            )?,
            hot: many(
                "INSERT INTO hot (tenant, user_id, version, cell, live, op_id)",
                6,
                " ON CONFLICT (tenant, user_id) DO UPDATE SET version = excluded.version, cell = excluded.cell, \
                 live = excluded.live, op_id = excluded.op_id",
            )?,
            decide: connection.prepare(
                "UPDATE challenges SET decision = 1, decided = ?2, decided_at = ?3, proof_kind = 1, proof_id = ?2, \
                 number = NULL WHERE id = ?1",
            )?,
            audit: many(
                "INSERT INTO audit (tenant, lane, seq, at, public, private, salt, commitment, hash, redeems)",
                10,
                "",
            )?,
        })
    }

    fn commit(&mut self, rows: &Rows) -> Result<(), Error> {
        let fill = |bytes: usize| &FILL[..bytes];
        let (id, hash) = (fill(16), fill(32));
        self.begin.raw_execute()?;
        self.challenges.put(&rows.opened, |row, places| {
            let (own, user, session) = (row.id.as_bytes(), row.user.as_bytes(), &row.session);
            let expires = row.expires.millis().cast_signed();
            places.all([own, &id, &id, user, session, &expires, &fill(RECORD), &fill(NUMBER), &id])
        })?;
        self.hot.put(&rows.opened, |row, places| {
            let live = row.id.as_bytes();
            places.all([&id, row.user.as_bytes(), &1, &fill(CELL), live, &id])
        })?;
        for (challenge, at) in &rows.decided {
            let at = at.millis().cast_signed();
            let changed = self.decide.execute((challenge.as_bytes(), id, at))?;
            if changed != 1 {
                return Err(Error::StatementChangedRows(changed));
            }
        }
        self.audit.put(&rows.audit, |row, places| {
            let (seq, at) = (row.seq.cast_signed(), row.at.millis().cast_signed());
            let redeems = row.redeems.as_ref().map(ChallengeId::as_bytes);
            let (public, private) = (fill(row.public), fill(row.private));
            places.all([&id, &LANE, &seq, &at, &public, &private, &id, &hash, &hash, &redeems])
        })?;
        self.commit.raw_execute().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::super::super::socket::{self, In};
    use super::*;

    #[test]
    fn the_tables_are_all_of_the_products() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/backend-sql/migrations/sqlite");
        assert_eq!(std::fs::read_dir(dir).expect("a folder").count(), SCHEMA.len());
    }

    async fn connected() -> (In, Arc<Out>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (near, far) = (near.expect("connected"), far.expect("accepted").0);
        (socket::open(near).expect("split").0, socket::open(far).expect("split").1)
    }

    /// Audit rows with these numbers, and what is said after them.
    fn last(seqs: impl Iterator<Item = u64>, to: &Arc<Out>) -> Shared {
        let at = Timestamp::from_millis(1_800_000_000_000);
        let row = |seq| AuditRow { seq, at, public: 170, private: 0, redeems: None };
        let audit = seqs.map(row).collect();
        let then = vec![(Arc::clone(to), b"stored".to_vec())];
        let rows = Rows { audit, then, ..Rows::default() };
        Shared { queue: Mutex::new(Queue { rows, over: true }), turn: Condvar::new() }
    }

    #[tokio::test]
    async fn nothing_is_said_before_it_is_stored() {
        let dir = tempfile::tempdir().expect("a folder");
        let connection = database(&dir.path().join("floor.db")).expect("a database");
        let (mut incoming, out) = connected().await;
        assert!(write_all(&connection, &last([7, 7].into_iter(), &out)).is_err());
        assert!(incoming.is_silent(), "its rows aren't there");
        connection.execute_batch("ROLLBACK").expect("it had begun");
        write_all(&connection, &last(0..2 * MANY as u64 + 3, &out)).expect("stored");
        let mut heard = Vec::new();
        let read = |data: &[u8]| {
            heard.extend_from_slice(data);
            Ok(Some(data.len()))
        };
        assert!(incoming.read(read).await.expect("it is open"));
        assert_eq!(heard, b"stored");
        let count = connection.query_row("SELECT count(*) FROM audit", [], |row| row.get(0));
        assert_eq!(count, Ok(2 * MANY as i64 + 3));
    }
}
