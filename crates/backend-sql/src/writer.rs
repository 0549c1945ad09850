//! The one task that writes. It takes whatever has gathered while the last commit was on its way to the disk
//! and commits it together: no fixed window, one fsync for all (docs/performance.md).

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ports::{BoxFuture, StoreError};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use crate::Clock;
use crate::audit::Lanes;
use crate::batch::{Batch, code, is_busy};
use crate::codec::unavailable;
use crate::many::Texts;
use crate::memory::Memory;
use crate::vault::Keyring;
use crate::working::{Wanted, Working};

/// Jobs that may wait: at 10,000 writes a second less than half a second of work.
pub(crate) const MAX_QUEUE: usize = 4_096;
/// Jobs in one transaction: more costs latency and gains nothing.
pub(crate) const MAX_BATCH: usize = 128;
/// How long a caller waits for a place in the queue before it is told that the store is overloaded.
const QUEUE_WAIT: Duration = Duration::from_millis(250);

/// A write. Runs inside a transaction with others; if the transaction fails, it is run again alone.
pub(crate) trait Job: Send + Sync + 'static {
    /// What the caller is told.
    type Done: Send + Sync + 'static;

    /// Names what it will judge, so that it is read together with what others judge.
    fn announce(&self, _wanted: &mut Wanted) {}

    /// Judges and writes. A refusal is a `Done` and must have written nothing; an error undoes everything.
    fn run<'a>(
        &'a self,
        batch: &'a mut Batch<'_>,
    ) -> impl Future<Output = sqlx::Result<Self::Done>> + Send + 'a;

    /// It is durable: memory follows, before the caller is told.
    fn committed(self, _done: &Self::Done, _memory: &Memory)
    where
        Self: Sized,
    {
    }
}

trait Queued: Send {
    fn announce(&self, wanted: &mut Wanted);
    fn run<'a>(&'a mut self, batch: &'a mut Batch<'_>) -> BoxFuture<'a, sqlx::Result<()>>;
    fn committed(self: Box<Self>, memory: &Memory);
    fn failed(self: Box<Self>, error: StoreError);
}

struct Waiting<J: Job> {
    job: J,
    done: Option<J::Done>,
    reply: oneshot::Sender<Result<J::Done, StoreError>>,
}

impl<J: Job> Queued for Waiting<J> {
    fn announce(&self, wanted: &mut Wanted) {
        self.job.announce(wanted);
    }

    fn run<'a>(&'a mut self, batch: &'a mut Batch<'_>) -> BoxFuture<'a, sqlx::Result<()>> {
        Box::pin(async move {
            self.done = None;
            self.done = Some(self.job.run(batch).await?);
            Ok(())
        })
    }

    fn committed(self: Box<Self>, memory: &Memory) {
        let Self { job, done, reply } = *self;
        if let Some(done) = done {
            job.committed(&done, memory);
            // whoever gave up waiting is told nothing
            drop(reply.send(Ok(done)));
        }
    }

    fn failed(self: Box<Self>, error: StoreError) {
        drop(self.reply.send(Err(error)));
    }
}

/// Why the store takes no more writes; empty while it does.
pub(crate) type Broken = Arc<OnceLock<String>>;

/// The way to the writer.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn Queued>>,
    broken: Broken,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// How many transactions were committed.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Writes `job` durably.
    pub(crate) async fn write<J: Job>(&self, job: J) -> Result<J::Done, StoreError> {
        let (reply, answer) = oneshot::channel();
        let waiting: Box<dyn Queued> = Box::new(Waiting { job, done: None, reply });
        let place = match self.queue.try_reserve() {
            Ok(place) => place,
            Err(mpsc::error::TrySendError::Closed(())) => return Err(self.gone()),
            Err(mpsc::error::TrySendError::Full(())) => {
                // boxed: a timer is large, and aligned to 128 bytes
                match Box::pin(timeout(QUEUE_WAIT, self.queue.reserve())).await {
                    Ok(Ok(place)) => place,
                    Ok(Err(_)) => return Err(self.gone()),
                    Err(_) => return Err(StoreError::Overloaded),
                }
            }
        };
        place.send(waiting);
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Why it takes no writes, if it doesn't.
    pub(crate) fn trouble(&self) -> Option<String> {
        let gone = || self.queue.is_closed().then(|| "the store is closed".to_owned());
        self.broken.get().cloned().or_else(gone)
    }

    fn gone(&self) -> StoreError {
        let trouble = self.trouble();
        StoreError::Unavailable(trouble.unwrap_or_else(|| "the store has stopped".to_owned()))
    }
}

/// What the writing task owns.
pub(crate) struct Task {
    pub(crate) conn: SqliteConnection,
    pub(crate) clock: Clock,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) lanes: Lanes,
    pub(crate) texts: Texts,
    pub(crate) working: Working,
    pub(crate) memory: Arc<Memory>,
    /// Told after each commit that there is something to fold.
    pub(crate) fold: Arc<Notify>,
    /// Transactions committed so far.
    pub(crate) commits: u64,
}

/// Where a transaction failed.
enum Failed {
    /// Before any job ran: nobody in particular is to blame.
    Begin(sqlx::Error),
    /// In a job, or when its rows were written: run alone, the others may pass.
    Jobs(sqlx::Error),
    /// At the commit.
    Commit(sqlx::Error),
}

impl Task {
    /// Starts writing. Ends when all [`Writer`]s are dropped or `stop` is called, after the queue is empty.
    pub(crate) fn start(
        self,
        stop: oneshot::Receiver<()>,
    ) -> (Writer, tokio::task::JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(MAX_QUEUE);
        let (broken, commits) = (Broken::default(), Arc::<AtomicU64>::default());
        let writer = Writer { queue, broken: Arc::clone(&broken), commits: Arc::clone(&commits) };
        let task = tokio::spawn(self.serve(jobs, stop, broken, commits));
        (writer, task)
    }

    async fn serve(
        mut self,
        mut queue: mpsc::Receiver<Box<dyn Queued>>,
        mut stop: oneshot::Receiver<()>,
        broken: Broken,
        commits: Arc<AtomicU64>,
    ) {
        let mut jobs = Vec::with_capacity(MAX_BATCH);
        let mut is_stopping = false;
        loop {
            let taken = tokio::select! {
                biased;
                _ = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    queue.close();
                    continue;
                }
                taken = queue.recv_many(&mut jobs, MAX_BATCH) => taken,
            };
            if taken == 0 {
                break;
            }
            self.write(&mut jobs, &broken).await;
            commits.store(self.commits, Ordering::Relaxed);
            self.fold.notify_one();
        }
        if let Err(error) = self.conn.close().await {
            tracing::warn!(%error, "the writing connection didn't close cleanly");
        }
    }

    /// Writes jobs together; if that fails, each by itself, so that one bad job spoils no other.
    async fn write(&mut self, jobs: &mut Vec<Box<dyn Queued>>, broken: &Broken) {
        if let Some(cause) = broken.get() {
            let error = StoreError::Unavailable(cause.clone());
            return jobs.drain(..).for_each(|job| job.failed(error.clone()));
        }
        let failed = match self.attempt(jobs).await {
            Ok(()) => return self.told(jobs),
            Err(failed) => failed,
        };
        match failed {
            Failed::Jobs(error) if !is_fatal(&error) && jobs.len() > 1 => {
                for job in std::mem::take(jobs) {
                    let mut alone = vec![job];
                    match self.attempt(&mut alone).await {
                        Ok(()) => self.told(&mut alone),
                        Err(failed) => fail(&mut alone, failed, broken),
                    }
                }
            }
            failed => fail(jobs, failed, broken),
        }
    }

    fn told(&mut self, jobs: &mut Vec<Box<dyn Queued>>) {
        for job in jobs.drain(..) {
            job.committed(&self.memory);
        }
    }

    /// One transaction.
    async fn attempt(&mut self, jobs: &mut [Box<dyn Queued>]) -> Result<(), Failed> {
        let done = self.transact(jobs).await;
        if done.is_err() {
            // it may be of what wasn't stored
            self.working.clear();
        }
        done
    }

    async fn transact(&mut self, jobs: &mut [Box<dyn Queued>]) -> Result<(), Failed> {
        let now = (self.clock)();
        let (lanes, texts, working) = (&mut self.lanes, &mut self.texts, &mut self.working);
        let mut batch = Batch::new(&mut self.conn, now, &self.keys, lanes, texts, working);
        if let Err(error) = run(jobs, &mut batch).await {
            // what was undone half would be committed with the next transaction
            let at_commit = batch.rollback(&error).await.map_err(Failed::Commit)?;
            let failed = match at_commit {
                _ if is_busy(&error) => Failed::Begin,
                true => Failed::Commit,
                false => Failed::Jobs,
            };
            return Err(failed(error));
        }
        let wrote = batch.commit().await.map_err(Failed::Commit)?;
        self.lanes.commit();
        self.commits += u64::from(wrote);
        Ok(())
    }
}

async fn run(jobs: &mut [Box<dyn Queued>], batch: &mut Batch<'_>) -> sqlx::Result<()> {
    let mut wanted = Wanted::default();
    jobs.iter().for_each(|job| job.announce(&mut wanted));
    batch.prefetch(wanted).await?;
    for job in jobs {
        job.run(batch).await?;
    }
    batch.finish().await
}

/// Tells everybody that nothing was stored. Where the disk is in doubt, no write is taken any more: after a
/// failed fsync nobody knows what is on it, and a second fsync that succeeds would lie (reliability of
/// `fsync` after failure: pages are marked clean).
fn fail(jobs: &mut Vec<Box<dyn Queued>>, failed: Failed, broken: &Broken) {
    let (error, is_broken) = match failed {
        Failed::Begin(error) | Failed::Jobs(error) => {
            let fatal = is_fatal(&error);
            (error, fatal)
        }
        Failed::Commit(error) => (error, true),
    };
    if is_broken && broken.get().is_none() {
        tracing::error!(%error, "the store failed and takes no more writes");
        drop(broken.set(error.to_string()));
    }
    let error = unavailable(error);
    for job in jobs.drain(..) {
        job.failed(error.clone());
    }
}

/// Whether the disk or the file is in doubt: SQLite's IOERR, CORRUPT, FULL, NOTADB.
fn is_fatal(error: &sqlx::Error) -> bool {
    const FATAL: [u32; 4] = [10, 11, 13, 26];
    match error {
        sqlx::Error::Database(_) => code(error).is_some_and(|code| FATAL.contains(&code)),
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}
