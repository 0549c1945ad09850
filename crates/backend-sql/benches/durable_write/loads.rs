//! Cases of many callers and one writer.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::rows::{Item, Items, TABLES, Texts, UNDECIDED};
use crate::sample::{Bench, Case, Sample, case, cpu, now, remove, since};
use crate::store::{Driver, Rusqlite, Sqlx, Store};

/// A caller's request: create or settle one challenge.
struct Job {
    settle: bool,
    item: Item,
    done: oneshot::Sender<()>,
}

/// The one writer: whatever gathered while the last commit ran is the next batch.
async fn write(mut store: Store, mut queue: mpsc::Receiver<Job>, most: usize) -> Sample {
    let (mut texts, mut sample, mut jobs) = (Texts::new(most), Sample::default(), Vec::new());
    while queue.recv_many(&mut jobs, 1_024).await > 0 {
        let began = now();
        jobs.sort_by_key(|job: &Job| job.settle);
        let made = jobs.partition_point(|job| !job.settle);
        let mut items: Vec<Item> = jobs.iter().map(|job| job.item).collect();
        for item in &mut items {
            sample.written += 1;
            item.seq = sample.written as i64;
        }
        let found = store.commit(&texts.ceremony(&items, made)).await;
        assert_eq!(found, jobs.len() - made, "each is settled once");
        sample.commits.push(since(began));
        for job in jobs.drain(..) {
            let _ = job.done.send(());
        }
    }
    sample
}

/// What callers ask of a writer, and who checkpoints.
#[derive(Clone, Copy)]
struct Load {
    driver: Driver,
    most: usize,
    callers: usize,
    each: usize,
    pause: u64,
    auto: u32,
    every: Option<u64>,
}

/// Creates a challenge, settles it, pauses, and so on.
async fn call(queue: mpsc::Sender<Job>, items: Vec<Item>, pause: u64) {
    for item in items {
        for settle in [false, true] {
            let (done, answer) = oneshot::channel();
            let job = Job { settle, item, done };
            assert!(queue.send(job).await.is_ok(), "the writer lives");
            answer.await.expect("the writer answers");
        }
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

fn ceremonies(bench: &Bench, load: Load) -> Vec<Sample> {
    let (path, mut items) = (bench.path(), Items::new(false));
    let mut work: Vec<Vec<Item>> = vec![Vec::new(); load.callers];
    let each = bench.scale(load.each).max(2);
    (0..each).for_each(|_| work.iter_mut().for_each(|list| list.push(items.one())));
    let auto = format!("PRAGMA wal_autocheckpoint={}", load.auto);
    let store = bench.open(load.driver, &path, &format!("{TABLES}{UNDECIDED};{auto}"));
    let (queue, jobs) = mpsc::channel(2_048);
    let handle = bench.runtime.handle().clone();
    let (wall, cpu) = (now(), cpu());
    let writer = std::thread::spawn(move || handle.block_on(write(store, jobs, load.most)));
    for list in work {
        bench.runtime.spawn(call(queue.clone(), list, load.pause));
    }
    drop(queue);
    if let Some(every) = load.every {
        let other = rusqlite::Connection::open(&path).expect("it exists");
        while !writer.is_finished() {
            std::thread::sleep(Duration::from_millis(every));
            let done = other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            done.expect("a checkpoint runs");
        }
    }
    let mut sample = writer.join().expect("the writer ends well");
    (sample.wall, sample.cpu) = (since(wall), self::cpu() - cpu);
    sample.rows = load.callers * each;
    remove(&path);
    vec![sample]
}

/// Drivers, by callers in flight; then who checkpoints, with 64 callers that wait or do not.
pub(crate) fn loads(bench: &Bench) -> Vec<Case<'_>> {
    let mut list = Vec::new();
    #[rustfmt::skip]
    let base = Load { driver: Rusqlite, most: 32, callers: 64, each: 100, pause: 0, auto: 1_000, every: None };
    for (callers, each) in [(1, 400), (64, 100), (1_024, 12)] {
        let base = Load { callers, each, ..base };
        for (name, driver, most) in [
            ("rusqlite, single row", Rusqlite, 1),
            ("rusqlite, VALUES x 32", Rusqlite, 32),
            ("sqlx, single row", Sqlx, 1),
            ("sqlx, VALUES x 32", Sqlx, 32),
            ("sqlx, VALUES x 128", Sqlx, 128),
        ] {
            let name = format!("driver: {callers} callers, {name}");
            list.push((name, Load { driver, most, ..base }));
        }
    }
    for (rate, each, pause) in [("no pause", 200, 0), ("10 ms pause", 80, 10)] {
        let base = Load { each, pause, ..base };
        for (name, auto, every) in [
            ("by the writer at 1000 pages", 1_000, None),
            ("by the writer at 10000 pages", 10_000, None),
            ("PASSIVE elsewhere, each 20 ms", 0, Some(20)),
            ("at 10000 pages and PASSIVE", 10_000, Some(20)),
            ("never", 0, None),
        ] {
            let name = format!("checkpoint: {rate}, {name}");
            list.push((name, Load { auto, every, ..base }));
        }
    }
    let run = |(name, load)| case(name, move || ceremonies(bench, load));
    list.into_iter().map(run).collect()
}
