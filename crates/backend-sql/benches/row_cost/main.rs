//! What a durable row costs the store, next to inserting the same bytes in batches and nothing else:
//! `cargo bench -p backend-sql --bench row_cost [-- --quick] [--json]`.
//!
//! Both take turns in one run and medians are printed. CPU is that of the whole process, so the store's holds its
//! callers too, who make what they store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backend_sql::{MasterKey, Store};
use domain::audit::Event;
use domain::challenge::{Challenge, Decision, Proof};
use domain::guard::Cell;
use mimalloc::MiMalloc;
use ports::{HotChange, Open, Opened, Redeem, Redeemed, Settle, Settled};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use statement::FactorId;
use testkit::{Fixture, TestClock};

/// As in the server, for SQLite too.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const ROUNDS: usize = 5;
/// Ceremonies at a time.
const CALLERS: [usize; 3] = [1, 64, 512];
/// Rows in a statement of the floor: more gain nothing (docs/performance.md).
const MANY: usize = 32;
/// What a ceremony writes: three rows when it opens, two when it is decided, one when it is redeemed.
const ROWS: u64 = 6;

/// CPU time of all threads of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn micros(cpu: Duration, rows: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / rows as f64
}

/// One caller: ceremonies of one user, one after the other.
async fn ceremonies(store: Store, mut fixture: Fixture, count: u64) {
    let (ledger, hot) = (store.ledger(), store.hot());
    for version in 0..count {
        let session = fixture.bytes();
        let challenge = Arc::new(Challenge { session, ..fixture.plain_challenge() });
        let entry = |event| fixture.entry(event);
        let (created, decided) = (entry(Event::ChallengeCreated), entry(Event::ChallengeDecided));
        let (audit, audit_wrong) = (entry(Event::ChallengeRedeemed), entry(Event::RedeemRefused));
        let change = HotChange {
            tenant: fixture.tenant.id,
            user: fixture.user.id,
            version: 2 * version,
            cell: Cell {
                open: vec![testkit::opened(challenge.id, challenge.integration)],
                ..Cell::default()
            },
            add: vec![Arc::clone(&challenge)],
            remove: Vec::new(),
            op_id: fixture.bytes(),
            derived: false,
        };
        // what follows from the decision is in memory alone: the ledger has it
        let closed = HotChange {
            version: change.version + 1,
            cell: Cell::default(),
            add: Vec::new(),
            remove: vec![challenge.id],
            op_id: fixture.bytes(),
            derived: true,
            ..change
        };
        let rider = hot.commit(change).await.expect("the version is right").rider;
        let open = Open {
            challenge: Arc::clone(&challenge),
            replay: None,
            audit: created,
            alerts: Vec::new(),
            rider,
        };
        assert_eq!(ledger.open(open).await.expect("stored"), Opened::Opened);
        let settle = Settle {
            challenge: challenge.id,
            decision: Decision::Approved,
            proof: Some(Proof::Totp(FactorId::from_bytes(fixture.bytes()))),
            after_expiry: false,
            device: None,
            effects: Vec::new(),
            audit: decided,
            alerts: Vec::new(),
        };
        let settled = ledger.settle(vec![settle]).await.expect("stored");
        assert!(matches!(settled[..], [Settled::Settled(_)]));
        let closed = hot.commit(closed).await.expect("the version is right");
        assert!(closed.rider.is_none());
        let redeem = Redeem { challenge: challenge.id, session, audit, audit_wrong };
        let redeemed = ledger.redeem(redeem).await.expect("stored");
        assert!(matches!(redeemed, Redeemed::Redeemed(_)));
    }
}

/// What the store takes for a row, and how many rows a commit had.
async fn store(dir: &Path, callers: usize, each: u64) -> (f64, f64) {
    let clock = TestClock::new();
    let store = Store::open(dir, clock.reader(), MasterKey::from_bytes([7; 32])).await;
    let store = store.expect("a store opens");
    let tenant = store.directory().tenants().await.expect("there is one").remove(0);
    let fixture = |seed: usize| {
        let mut fixture = Fixture::at(seed as u64, clock.clone());
        fixture.tenant = tenant.clone();
        fixture
    };
    let before = store.written().await.expect("counted");
    let began = cpu();
    let tasks: Vec<_> = (0..callers)
        .map(|seed| tokio::spawn(ceremonies(store.clone(), fixture(seed), each)))
        .collect();
    for task in tasks {
        task.await.expect("no ceremony fails");
    }
    let took = cpu() - began;
    let written = store.written().await.expect("counted");
    let (rows, commits) = (written.rows - before.rows, written.commits - before.commits - 1);
    let all = callers as u64 * each;
    // checkpoints and what is pruned are rows as well, and few
    assert!((ROWS * all..=ROWS * all + all / 10 + 16).contains(&rows), "{rows} rows of {all}");
    store.close().await.expect("closed");
    (micros(took, rows), rows as f64 / commits as f64)
}

/// The rows of a ceremony's tables, as SQLite has them.
fn rows_of(from: &Connection, table: &str) -> (String, Vec<Vec<Value>>) {
    let mut select = from.prepare(&format!("SELECT * FROM {table}")).expect("it is there");
    let names = select.column_names().join(", ");
    let width = select.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..width).map(|at| row.get(at)).collect();
    let rows = select.query_map([], row).expect("read").collect::<Result<_, _>>();
    (names, rows.expect("every value fits"))
}

/// Inserts what the store wrote into tables of the same schema: as many rows in a transaction as the store had,
/// many in one statement.
fn floor(from: &Path, to: &Path, rows_per_commit: f64) -> f64 {
    let from = Connection::open(from.join("countersign.db")).expect("the store is closed");
    let into = Connection::open(to.join("floor.db")).expect("a database");
    into.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384",
    )
    .expect("settings");
    let mut schema = from.prepare(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name IN ('challenges', 'hot', 'audit') \
         ORDER BY type DESC",
    );
    let schema = schema.as_mut().expect("a schema").query_map([], |row| row.get::<_, String>(0));
    for sql in schema.expect("read") {
        into.execute_batch(&sql.expect("a text")).expect("the same table");
    }
    let tables = ["challenges", "hot", "audit"];
    let tables = tables.map(|table| (table, rows_of(&from, table)));
    let all: usize = tables.iter().map(|(_, (_, rows))| rows.len()).sum();
    let statement = |table: &str, names: &str, rows: &[Vec<Value>]| {
        let row = format!("({})", vec!["?"; rows[0].len()].join(","));
        format!("INSERT INTO {table} ({names}) VALUES {}", vec![row; rows.len()].join(","))
    };
    into.set_prepared_statement_cache_capacity(3 * MANY);
    let began = cpu();
    let (mut left, mut open) = (rows_per_commit, false);
    for (table, (names, rows)) in &tables {
        for rows in rows.chunks(MANY.min(rows_per_commit.ceil() as usize)) {
            if !open {
                into.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
                (left, open) = (rows_per_commit, true);
            }
            let mut insert = into.prepare_cached(&statement(table, names, rows)).expect("fits");
            insert.execute(params_from_iter(rows.iter().flatten())).expect("inserted");
            left -= rows.len() as f64;
            if left <= 0.0 {
                into.execute_batch("COMMIT").expect("stored");
                open = false;
            }
        }
    }
    if open {
        into.execute_batch("COMMIT").expect("stored");
    }
    micros(cpu() - began, all as u64)
}

fn median(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let (rounds, total) = if has("--quick") { (1, 512) } else { (ROUNDS, 16_384) };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let mut lines = Vec::new();
    for callers in CALLERS {
        let each = (total / callers as u64).min(2_048);
        let (mut costs, mut floors, mut ratios, mut batch) = (vec![], vec![], vec![], 0.0);
        for _ in 0..rounds {
            let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
            let (cost, rows) = runtime.block_on(store(dirs[0].path(), callers, each));
            let floor = floor(dirs[0].path(), dirs[1].path(), rows);
            costs.push(cost);
            floors.push(floor);
            ratios.push(cost / floor);
            batch = rows;
        }
        lines.push(serde_json::json!({
            "callers": callers,
            "rows_per_commit": batch,
            "us_per_row": median(&mut costs),
            "floor_us_per_row": median(&mut floors),
            "ratio": median(&mut ratios),
        }));
    }
    if has("--json") {
        return println!("{}", serde_json::json!({ "row_cost": lines }));
    }
    println!(
        "| callers | rows a commit | us a row | floor us a row | ratio |\n|---|---|---|---|---|"
    );
    let three = |value: &serde_json::Value| {
        let at = |n: usize| value[n].as_f64().unwrap_or_default();
        format!("{:.1} [{:.1}-{:.1}]", at(0), at(1), at(2))
    };
    for line in lines {
        let [cost, floor, ratio] =
            ["us_per_row", "floor_us_per_row", "ratio"].map(|name| three(&line[name]));
        let rows = line["rows_per_commit"].as_f64().unwrap_or_default();
        println!("| {} | {rows:.1} | {cost} | {floor} | {ratio} |", line["callers"]);
    }
}
