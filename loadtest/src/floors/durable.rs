//! Records made durable: appended to a plain file and synced. One writer commits whatever has gathered while it
//! synced the last time; nothing waits for a timer.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use super::Pace;
use super::cores;
use super::spread::Spread;
use crate::clock;

/// An audit row of the product.
pub(crate) const RECORD: usize = 300;
/// Records that wait to be durable.
pub(crate) const IN_FLIGHT: usize = 1024;
/// More than this isn't written in a round: a fast disk would fill up.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// statfs(2)'s word for a file system in memory.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// One round. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) cpu_us: f64,
    pub(crate) per_s: f64,
    pub(crate) per_commit: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) single_cpu_us: f64,
    pub(crate) single_p50: f64,
    pub(crate) single_p99: f64,
}

/// Rounds of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) record_bytes: usize,
    pub(crate) in_flight: usize,
    /// Of writer and callers, for each record.
    pub(crate) cpu_us: Spread,
    pub(crate) per_s: Spread,
    pub(crate) records_per_commit: Spread,
    pub(crate) p50_ms: Spread,
    pub(crate) p99_ms: Spread,
    pub(crate) one_at_a_time: Single,
}

/// Each record synced before the next.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Single {
    pub(crate) cpu_us: Spread,
    pub(crate) p50_ms: Spread,
    pub(crate) p99_ms: Spread,
}

impl Figures {
    pub(crate) fn of(rounds: &[Round]) -> Option<Self> {
        Some(Self {
            record_bytes: RECORD,
            in_flight: IN_FLIGHT,
            cpu_us: Spread::over(rounds, |round| round.cpu_us)?,
            per_s: Spread::over(rounds, |round| round.per_s)?,
            records_per_commit: Spread::over(rounds, |round| round.per_commit)?,
            p50_ms: Spread::over(rounds, |round| round.p50)?,
            p99_ms: Spread::over(rounds, |round| round.p99)?,
            one_at_a_time: Single {
                cpu_us: Spread::over(rounds, |round| round.single_cpu_us)?,
                p50_ms: Spread::over(rounds, |round| round.single_p50)?,
                p99_ms: Spread::over(rounds, |round| round.single_p99)?,
            },
        })
    }
}

/// Why nothing that is written in `dir` is durable, if so.
pub(crate) fn unfit(dir: &Path) -> Option<String> {
    match rustix::fs::statfs(dir) {
        Err(error) => Some(format!("{}: {error}", dir.display())),
        Ok(stat) if stat.f_type == TMPFS => {
            Some(format!("{} is in memory: nothing there is durable", dir.display()))
        }
        Ok(_) => None,
    }
}

/// One round with a file of its own in `dir`.
pub(crate) fn measure(dir: PathBuf, pace: Pace, stop: &AtomicBool) -> io::Result<Round> {
    let file = tempfile::tempfile_in(&dir)?;
    let group = group(&file, pace.window / 2, stop)?;
    let file = tempfile::tempfile_in(&dir)?;
    let (cpu, waits) = single(&file, pace.window / 2, stop)?;
    let ms = |waits: &Histogram<u64>, part| waits.value_at_quantile(part) as f64 / 1e3;
    let us = |cpu: Duration, count: u64| cpu.as_secs_f64() * 1e6 / count as f64;
    Ok(Round {
        cpu_us: us(group.cpu, group.waits.len()),
        per_s: group.waits.len() as f64 / group.wall.as_secs_f64(),
        per_commit: group.waits.len() as f64 / group.commits as f64,
        p50: ms(&group.waits, 0.5),
        p99: ms(&group.waits, 0.99),
        single_cpu_us: us(cpu, waits.len()),
        single_p50: ms(&waits, 0.5),
        single_p99: ms(&waits, 0.99),
    })
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are constants that fit")
}

/// Each record is written and synced by itself.
fn single(
    mut file: &File,
    time: Duration,
    stop: &AtomicBool,
) -> io::Result<(Duration, Histogram<u64>)> {
    let (record, mut waits) = ([0x33; RECORD], histogram());
    let (cpu, end) = (cores::thread_cpu(), clock::now() + time);
    let mut at = clock::now();
    while waits.is_empty() || (at < end && !stop.load(Ordering::Relaxed)) {
        file.write_all(&record)?;
        file.sync_data()?;
        let now = clock::now();
        record_wait(&mut waits, now - at);
        at = now;
    }
    Ok((cores::thread_cpu() - cpu, waits))
}

fn record_wait(waits: &mut Histogram<u64>, wait: Duration) {
    waits.saturating_record(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
}

struct Group {
    cpu: Duration,
    wall: Duration,
    commits: u64,
    waits: Histogram<u64>,
}

/// What callers and writer share.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// So many records are durable.
    durable: u64,
    commits: u64,
    over: bool,
    /// The writer is gone, for this reason if it is one.
    ended: Option<io::Result<Duration>>,
}

fn group(file: &File, time: Duration, stop: &AtomicBool) -> io::Result<Group> {
    let (queue, turn) = (Mutex::new(Queue::default()), Condvar::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let cpu = cores::thread_cpu();
            let wrote = write(file, &queue, &turn);
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.ended = Some(wrote.map(|()| cores::thread_cpu() - cpu));
            turn.notify_all();
        });
        submit(&queue, &turn, time, stop)
    })
}

/// The writer: takes all there is, writes it, syncs it, says so.
fn write(mut file: &File, queue: &Mutex<Queue>, turn: &Condvar) -> io::Result<()> {
    let mut batch = Vec::with_capacity(IN_FLIGHT * RECORD);
    loop {
        let mut queue_now = queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue_now.bytes.is_empty() && !queue_now.over {
            queue_now = turn.wait(queue_now).unwrap_or_else(PoisonError::into_inner);
        }
        if queue_now.bytes.is_empty() {
            return Ok(());
        }
        std::mem::swap(&mut batch, &mut queue_now.bytes);
        drop(queue_now);
        file.write_all(&batch)?;
        file.sync_data()?;
        let mut queue_now = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue_now.durable += (batch.len() / RECORD) as u64;
        queue_now.commits += 1;
        batch.clear();
        turn.notify_all();
    }
}

/// All callers at once: keeps so many records under way, and notes how long each one takes.
fn submit(
    queue: &Mutex<Queue>,
    turn: &Condvar,
    time: Duration,
    stop: &AtomicBool,
) -> io::Result<Group> {
    let record = [0x33; RECORD];
    let (mut since, mut waits) = (VecDeque::<Instant>::with_capacity(IN_FLIGHT), histogram());
    let (cpu, begin) = (cores::thread_cpu(), clock::now());
    let mut submitted = 0_u64;
    loop {
        let now = clock::now();
        let enough = now >= begin + time
            || submitted * RECORD as u64 >= MAX_BYTES
            || stop.load(Ordering::Relaxed);
        let mut queue_now = queue.lock().unwrap_or_else(PoisonError::into_inner);
        while !enough && since.len() < IN_FLIGHT {
            queue_now.bytes.extend_from_slice(&record);
            since.push_back(now);
            submitted += 1;
        }
        queue_now.over = enough;
        turn.notify_all();
        let known = submitted - since.len() as u64;
        while queue_now.durable == known && !since.is_empty() && queue_now.ended.is_none() {
            queue_now = turn.wait(queue_now).unwrap_or_else(PoisonError::into_inner);
        }
        let durable = queue_now.durable;
        if since.is_empty() && enough {
            let wall = clock::now() - begin;
            while queue_now.ended.is_none() {
                queue_now = turn.wait(queue_now).unwrap_or_else(PoisonError::into_inner);
            }
            let writer = queue_now.ended.take().expect("it has ended")?;
            let cpu = cores::thread_cpu() - cpu + writer;
            return Ok(Group { cpu, wall, commits: queue_now.commits, waits });
        }
        if let Some(Err(_)) = &queue_now.ended {
            return Err(queue_now.ended.take().expect("it has ended").expect_err("it failed"));
        }
        drop(queue_now);
        let now = clock::now();
        for since in since.drain(..usize::try_from(durable - known).expect("at most all")) {
            record_wait(&mut waits, now - since);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn whatever_is_submitted_is_written_and_waited_for() {
        let mut file = tempfile::tempfile().expect("a file");
        let time = Duration::from_millis(30);
        let done = group(&file, time, &AtomicBool::new(false)).expect("written");
        file.rewind().expect("a plain file");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("readable");
        assert_eq!(bytes.len() as u64, done.waits.len() * RECORD as u64);
        assert!(bytes.iter().all(|byte| *byte == 0x33));
        assert!(done.waits.len() >= IN_FLIGHT as u64 && done.commits > 0);
    }

    #[test]
    fn a_writer_that_fails_is_said() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("f");
        std::fs::write(&path, "").expect("written");
        let read_only = File::open(&path).expect("readable");
        let failed = group(&read_only, Duration::from_secs(60), &AtomicBool::new(false));
        assert!(failed.is_err());
    }

    #[test]
    fn a_folder_that_isnt_there_is_unfit() {
        let gone = Path::new("/no/such/folder");
        assert!(unfit(gone).is_some_and(|why| why.contains("No such file")));
    }
}
