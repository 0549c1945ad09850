//! Who runs where, and what of the machine's time they used (proc(5), sched(7)).

use std::io;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::usage;

/// Which core has the server and which the generator. `null` where there is only one: nothing is pinned then, and
/// both take turns on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cores {
    pub(crate) available: usize,
    pub(crate) server: Option<usize>,
    pub(crate) generator: Option<usize>,
}

impl Cores {
    /// The first two that this process may use.
    pub(crate) fn choose() -> io::Result<Self> {
        let may = sched_getaffinity(None)?;
        let list: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| may.is_set(*core)).collect();
        Ok(Self::of(&list))
    }

    fn of(list: &[usize]) -> Self {
        let pinned = list.len() >= 2;
        Self {
            available: list.len(),
            server: list.first().copied().filter(|_| pinned),
            generator: list.get(1).copied(),
        }
    }
}

/// Keeps the calling thread, and whatever it starts from now on, on one core.
pub(crate) fn pin(core: Option<usize>) -> io::Result<()> {
    let Some(core) = core else { return Ok(()) };
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// CPU time of all threads of `pid`, in nanoseconds where the kernel counts so, else in clock ticks. `None` if it
/// is gone.
pub(crate) fn cpu_of(pid: u32) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut total = Duration::ZERO;
    for task in tasks {
        // a thread that ended meanwhile
        let Ok(task) = task else { continue };
        let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else {
            return usage::of(pid).map(|usage| usage.cpu);
        };
        total += on_cpu(&text)?;
    }
    Some(total)
}

/// The first field of schedstat: nanoseconds on a CPU.
fn on_cpu(schedstat: &str) -> Option<Duration> {
    let nanos = schedstat.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("CPU time isn't negative")
}

/// What the machine did, to tell how much of it was somebody else's doing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    busy: Duration,
    total: Duration,
    ours: Duration,
}

impl Machine {
    /// Until now, since it started. `None` where the kernel doesn't tell.
    pub(crate) fn now() -> Option<Self> {
        let read = |file: &str| std::fs::read_to_string(file).ok();
        let ticks = rustix::param::clock_ticks_per_second();
        let (busy, total) = busy(&read("/proc/stat")?)?;
        let ours = with_children(&read("/proc/self/stat")?)?;
        let time = |count: u64| Duration::from_secs_f64(count as f64 / ticks as f64);
        Some(Self { busy: time(busy), total: time(total), ours: time(ours) })
    }

    /// Which share of all cores' time since then other programs used, or the host took.
    pub(crate) fn others_since(self, before: Self) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let ours = self.ours.saturating_sub(before.ours);
        let total = self.total.saturating_sub(before.total).as_secs_f64();
        if total > 0.0 { busy.saturating_sub(ours).as_secs_f64() / total } else { 0.0 }
    }
}

/// Ticks of all cores: busy, and in all. `cpu user nice system idle iowait irq softirq steal ..`
fn busy(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let fields: Option<Vec<u64>> =
        line.split_ascii_whitespace().skip(1).take(8).map(|field| field.parse().ok()).collect();
    let fields = fields.filter(|fields| fields.len() == 8)?;
    let total: u64 = fields.iter().sum();
    Some((total - fields[3] - fields[4], total))
}

/// Ticks of a process and of its children that have ended.
fn with_children(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_are_told_apart_and_one_is_shared() {
        let of = |list: &[usize]| {
            let cores = Cores::of(list);
            (cores.available, cores.server, cores.generator)
        };
        assert_eq!(of(&[0, 1, 2]), (3, Some(0), Some(1)));
        assert_eq!(of(&[3, 7]), (2, Some(3), Some(7)));
        assert_eq!(of(&[5]), (1, None, None));
        assert_eq!(of(&[]), (0, None, None));
    }

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(on_cpu("1500000 4 9\n"), Some(Duration::from_micros(1_500)));
        assert_eq!(on_cpu(""), None);
        let stat = "cpu  10 1 5 100 20 1 2 3 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy(stat), Some((22, 142)));
        assert_eq!(busy("cpu 1 2\n"), None);
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 900 0 0 0 250 50 40 2 20 0 3 0 99 1 2\n";
        assert_eq!(with_children(stat), Some(342));
        assert_eq!(with_children("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_used_something_and_nobody_used_less_than_nothing() {
        assert!(cpu_of(std::process::id()).is_some_and(|cpu| cpu > Duration::ZERO));
        assert!(thread_cpu() > Duration::ZERO);
        let of = |busy, total, ours| Machine {
            busy: Duration::from_secs(busy),
            total: Duration::from_secs(total),
            ours: Duration::from_secs(ours),
        };
        let others = of(60, 200, 40).others_since(of(10, 100, 10));
        assert!((others - 0.2).abs() < 1e-9, "{others}");
        assert_eq!(of(10, 200, 40).others_since(of(10, 100, 10)), 0.0);
        assert!(Machine::now().is_some());
    }
}
