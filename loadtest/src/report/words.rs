//! The report in words.

use std::fmt;

use super::{Ceremonies, NO_QUIET, Report};
use crate::knee::Stage;
use crate::latency::{Percentiles, or_dash};
use crate::plan::{Arrivals, Plan};
use crate::record::Step;

/// How the plan's ceremonies arrive, in words.
pub(crate) fn describe(plan: &Plan) -> String {
    if let Some(in_flight) = plan.in_flight {
        return format!(
            "{}: {in_flight} at a time, each after the one before, for {} s after {} s that don't count; {} devices",
            plan.name, plan.hold_s, plan.ramp_s, plan.devices
        );
    }
    let arrivals = match plan.arrivals {
        Arrivals::Poisson => "Poisson arrivals",
        Arrivals::Uniform => "evenly spaced arrivals",
    };
    format!(
        "{}: {}/s after a ramp of {} s, for {} s; {arrivals} of seed {}; {} devices",
        plan.name, plan.rate, plan.ramp_s, plan.hold_s, plan.seed, plan.devices
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ceremonies { arrived, right, silent, withheld, refused, displaced } = self.ceremonies;
        match self.ceremonies_per_s {
            Some(rate) => write!(f, "{rate:.1} ceremonies/s")?,
            None => write!(f, "no rate: it was held for less than a second")?,
        }
        writeln!(
            f,
            "; {right} of {arrived} right, {} lost, {} doubled; {silent} silent, {withheld} withheld until a code \
             passed",
            self.lost, self.doubled
        )?;
        if refused > 0 {
            let share = refused as f64 / arrived.max(1) as f64 * 100.0;
            writeln!(f, "{:<20} {refused}, {share:.0} % of what arrived", "refused")?;
        }
        if displaced > 0 {
            let why = "found their user busy and were another's";
            writeln!(f, "{:<20} {displaced} of {arrived} {why}", "displaced")?;
        }
        self.show_steps(f)?;
        for (who, cpu, rss) in [
            ("server", self.server.cpu_s_per_ceremony, self.server.rss_bytes),
            ("client", self.client.cpu_s_per_ceremony, self.client.rss_bytes),
        ] {
            let (Some(cpu), Some(rss)) = (cpu, rss) else {
                writeln!(f, "{who:<20} not measured: no process of ours, or the server is gone")?;
                continue;
            };
            let (cpu_ms, rss_mib) = (cpu * 1e3, rss as f64 / f64::from(1 << 20));
            writeln!(f, "{who:<20} {cpu_ms:.2} ms of CPU a ceremony, {rss_mib:.0} MiB")?;
        }
        match (self.idle, &self.idle_note) {
            (Some(idle), _) => write!(f, "{idle}")?,
            (None, Some(note)) if note != NO_QUIET => {
                writeln!(f, "{:<20} {note}", "idle device")?;
            }
            _ => {}
        }
        if let Some(back) = &self.storm {
            write!(f, "{back}")?;
        }
        if let Some(attack) = &self.attack {
            write!(f, "{attack}")?;
        }
        if let Some(ratios) = &self.ratios {
            write!(f, "{ratios}")?;
        }
        if let Some(overload) = &self.overload {
            write!(f, "{overload}")?;
        }
        for stage in &self.stages {
            let Stage { rate, holds, because, ceremonies_per_s, .. } = stage;
            let held = if *holds { "holds" } else { "doesn't hold: " };
            let because = because.as_deref().unwrap_or_default();
            writeln!(f, "{rate:>9.0}/s {ceremonies_per_s:>14.0}/s come through, {held}{because}")?;
        }
        if let Some(knee) = self.knee_ceremonies_per_s {
            writeln!(f, "{:<20} {knee:.0}/s is the highest rate that held", "knee")?;
        }
        self.show_limit(f)?;
        for problem in &self.problems {
            writeln!(f, "WRONG: {problem}")?;
        }
        Ok(())
    }
}

impl Report {
    fn show_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in Step::ALL {
            match self.latency_ms.get(step.name()).copied().flatten() {
                Some(Percentiles { p50, p99, p999, max, count }) => writeln!(
                    f,
                    "{:<20} p50 {p50:>8.2}  p99 {:>8}  p99.9 {:>8}  max {max:>8.2} ms  ({count})",
                    step.name(),
                    or_dash(p99, 2),
                    or_dash(p999, 2)
                )?,
                None if step == Step::Refusal => {}
                None => writeln!(f, "{:<20} not seen", step.name())?,
            }
        }
        Ok(())
    }

    fn show_limit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(limit), Some(floor)) = (self.limit_ceremonies_per_s, &self.floor) {
            let cpu = floor.cpu_us;
            write!(f, "{:<20} {cpu:.0} us of CPU a ceremony, {limit:.0}/s a core", "limit")?;
            match self.ratio {
                Some(ratio) => writeln!(f, "; the run: {ratio:.3} of it")?,
                None => writeln!(f)?,
            }
        }
        match &self.limit_note {
            Some(note) => writeln!(f, "{:<20} {note}", "limit"),
            None => Ok(()),
        }
    }
}
