//! What a case used, and where a run keeps its data.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::store::{Driver, Store};

/// What a case used in one round.
#[derive(Default)]
pub(crate) struct Sample {
    pub(crate) rows: usize,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) commits: Vec<Duration>,
    /// Rows or requests in `commits`; a ceremony is one of `rows` and two of these.
    pub(crate) written: usize,
}

impl Sample {
    pub(crate) fn time<T>(&mut self, rows: usize, work: impl FnOnce() -> T) -> T {
        let (wall, cpu) = (now(), cpu());
        let done = work();
        self.cpu += self::cpu() - cpu;
        let took = since(wall);
        self.commits.push(took);
        self.wall += took;
        self.rows += rows;
        self.written += rows;
        done
    }

    pub(crate) fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.commits.clone();
        sorted.sort();
        sorted[((sorted.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn since(start: Instant) -> Duration {
    now() - start
}

/// CPU time of all threads of this process.
pub(crate) fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Where a run keeps its data, and how much it does.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) files: AtomicU64,
    pub(crate) quick: bool,
    pub(crate) runtime: Runtime,
}

impl Bench {
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(self.files.fetch_add(1, Ordering::Relaxed).to_string())
    }

    pub(crate) fn open(&self, driver: Driver, path: &Path, schema: &str) -> Store {
        self.runtime.block_on(Store::open(driver, path, schema))
    }

    pub(crate) fn scale(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }
}

pub(crate) fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

/// A measurement; a round of it gives one sample, or two: of inserts, of settles.
pub(crate) type Case<'b> = (String, Box<dyn FnMut() -> Vec<Sample> + 'b>);

pub(crate) fn case<'b>(name: impl Into<String>, run: impl FnMut() -> Vec<Sample> + 'b) -> Case<'b> {
    (name.into(), Box::new(run))
}
