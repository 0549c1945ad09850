//! What a process has used, by the kernel's account (proc(5)).

use std::time::Duration;

/// CPU time of all its threads since it started, and the memory that it holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes: u64,
}

/// Of the process `pid`; `None` if it is gone.
pub(crate) fn of(pid: u32) -> Option<Usage> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let ticks = rustix::param::clock_ticks_per_second();
    parse(&read("stat")?, &read("status")?, ticks)
}

/// Of this process.
pub(crate) fn own() -> Option<Usage> {
    of(std::process::id())
}

fn parse(stat: &str, status: &str, ticks_per_s: u64) -> Option<Usage> {
    // the name stands in brackets and may hold anything: fields count from the last one
    let (_, fields) = stat.rsplit_once(')')?;
    let field = |n: usize| fields.split_ascii_whitespace().nth(n)?.parse::<u64>().ok();
    let ticks = field(11)? + field(12)?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = rss.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Usage {
        cpu: Duration::from_secs_f64(ticks as f64 / ticks_per_s as f64),
        rss_bytes: kib * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_shifts_nothing() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 900 0 0 0 250 50 0 0 20 0 3 0 99 1 2\n";
        let status = "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        let usage = Usage { cpu: Duration::from_secs(3), rss_bytes: 2 << 20 };
        assert_eq!(parse(stat, status, 100), Some(usage));
        assert_eq!(parse(stat, "Name:\tx\n", 100), None);
        assert_eq!(parse("7 (a) Z", status, 100), None);
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(own().is_some_and(|usage| usage.rss_bytes > 1 << 20));
    }
}
