//! Cases of tables and statements, and the floor under them.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use crate::rows::{
    CHALLENGE, DECISION, ERASE, EVERY, Item, Items, NUMBERED, Op, SETTLE, TABLES, Texts, UNDECIDED,
};
use crate::sample::{Bench, Case, Sample, case, remove};
use crate::store::{Rusqlite, Sqlx, Store};

/// Rows of a transaction.
const BATCH: usize = 128;

/// Inserts and, some batches later, settles, each batch in its own transaction.
fn phases(
    bench: &Bench,
    store: &mut Store,
    items: &mut Items,
    most: usize,
    (create, settle): Ops,
) -> Vec<Sample> {
    const LAG: usize = 8;
    let mut texts = Texts::new(most);
    let (mut inserts, mut settles) = (Sample::default(), Sample::default());
    let all: Vec<Vec<Item>> = (0..bench.scale(80)).map(|_| items.take(BATCH)).collect();
    let mut commit = |sample: &mut Sample, ops: &[&'static Op], batch: &[Item]| {
        sample.time(BATCH, || bench.runtime.block_on(store.commit(&texts.all(ops, batch))))
    };
    for n in 0..all.len() + LAG {
        if let Some(batch) = all.get(n) {
            commit(&mut inserts, create, batch);
        }
        if let Some(batch) = n.checked_sub(LAG).and_then(|n| all.get(n)) {
            let found = commit(&mut settles, settle, batch);
            assert_eq!(found, BATCH, "each is settled once");
        }
    }
    vec![inserts, settles]
}

type Ops = (&'static [&'static Op], &'static [&'static Op]);
const PLAIN: Ops = (&[CHALLENGE], &[SETTLE]);

/// Key order and table layout, on a table that is already large.
pub(crate) fn keys(bench: &Bench) -> Vec<Case<'_>> {
    const FAST: &str =
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2000000";
    let mut cases = Vec::new();
    for (name, random, layout) in [
        ("key: time-ordered, rowid", false, ""),
        ("key: time-ordered, WITHOUT ROWID", false, " WITHOUT ROWID"),
        ("key: random, rowid", true, ""),
        ("key: random, WITHOUT ROWID", true, " WITHOUT ROWID"),
    ] {
        let (path, mut items) = (bench.path(), Items::new(random));
        let mut store = bench.open(Rusqlite, &path, &format!("{FAST};{TABLES}{layout}"));
        for _ in 0..10 {
            let before = items.take(bench.scale(50_000));
            let batch = Texts::new(32).all(&[CHALLENGE], &before);
            bench.runtime.block_on(store.commit(&batch));
        }
        drop(store);
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.expect("the disk syncs");
        let run = move || {
            let mut store = bench.open(Rusqlite, &path, "");
            phases(bench, &mut store, &mut items, 1, PLAIN)
        };
        cases.push(case(name, run));
    }
    cases
}

/// Index, form of the statement and row shape, each on a new database every round.
pub(crate) fn tables(bench: &Bench) -> Vec<Case<'_>> {
    const APART: Ops = (&[CHALLENGE], &[DECISION, ERASE]);
    #[rustfmt::skip]
    let list = [
        ("index: none", "", Rusqlite, 32, PLAIN),
        ("index: partial, on expires_at", UNDECIDED, Rusqlite, 32, PLAIN),
        ("index: full, on expires_at", EVERY, Rusqlite, 32, PLAIN),
        ("form: rusqlite, single row", UNDECIDED, Rusqlite, 1, PLAIN),
        ("form: rusqlite, VALUES x 8", UNDECIDED, Rusqlite, 8, PLAIN),
        ("form: rusqlite, VALUES x 32", UNDECIDED, Rusqlite, 32, PLAIN),
        ("form: rusqlite, VALUES x 128", UNDECIDED, Rusqlite, 128, PLAIN),
        ("form: sqlx, single row", UNDECIDED, Sqlx, 1, PLAIN),
        ("form: sqlx, VALUES x 8", UNDECIDED, Sqlx, 8, PLAIN),
        ("form: sqlx, VALUES x 32", UNDECIDED, Sqlx, 32, PLAIN),
        ("form: sqlx, VALUES x 128", UNDECIDED, Sqlx, 128, PLAIN),
        ("shape: decision in the challenge row", UNDECIDED, Rusqlite, 32, PLAIN),
        ("shape: decisions table, number erased", NUMBERED, Rusqlite, 32, APART),
    ];
    let make = |(name, index, driver, most, ops): (&str, &'static str, _, _, _)| {
        let run = move || {
            let path = bench.path();
            let mut store = bench.open(driver, &path, &format!("{TABLES}{index}"));
            let samples = phases(bench, &mut store, &mut Items::new(false), most, ops);
            remove(&path);
            samples
        };
        case(name, run)
    };
    list.into_iter().map(make).collect()
}

/// 128 KiB and a sync, at the end of a file or over what it holds.
pub(crate) fn floors(bench: &Bench) -> Vec<Case<'_>> {
    type Sync = fn(&File) -> std::io::Result<()>;
    let cases: [(&str, bool, Sync); 3] = [
        ("floor: append, fdatasync", false, File::sync_data),
        ("floor: overwrite, fdatasync", true, File::sync_data),
        ("floor: overwrite, fsync", true, File::sync_all),
    ];
    let run = move |over: bool, sync: Sync| {
        let (path, rows, mut sample) = (bench.path(), vec![7; BATCH << 10], Sample::default());
        let mut file = File::create_new(&path).expect("the folder is writable");
        for n in 0..bench.scale(300) + 32 {
            if over && n % 32 == 0 {
                file.rewind().expect("a file seeks");
            }
            let wrote = sample.time(BATCH, || file.write_all(&rows).and_then(|()| sync(&file)));
            wrote.expect("the disk takes the rows");
        }
        remove(&path);
        vec![sample]
    };
    let list = cases.into_iter();
    list.map(|(name, over, sync)| case(name, move || run(over, sync))).collect()
}
