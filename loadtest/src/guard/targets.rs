//! What is asked of the guard, line by line, and whether it holds.

use serde::Serialize;

use super::gate::FAMILIARITIES;
use super::jobs::Findings;
use super::people::Cohort;
use super::stats::{Stats, percent};
use super::tally::Class;

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// M1 to M11, as in the product's threat notes.
    pub(crate) metric: &'static str,
    pub(crate) about: String,
    pub(crate) got: String,
    /// Empty where the figure is for information.
    pub(crate) target: String,
    pub(crate) ok: Option<bool>,
}

impl Row {
    /// Whether it is about the same thing: the counts that a line says in brackets don't tell things apart.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let about = |row: &Self| row.about.split(" (").next().map(str::to_owned);
        self.metric == other.metric && about(self) == about(other)
    }
}

/// Rings of one attack: the most that median, mean and maximum may be.
struct Rings {
    median: Option<u32>,
    mean: Option<f64>,
    max: Option<u32>,
}

const BURST: Rings = Rings { median: Some(1), mean: None, max: Some(2) };

fn rings(id: &str) -> Option<Rings> {
    let none = Rings { median: None, mean: None, max: None };
    Some(match id {
        "a1" | "a2" | "a3" | "a6" | "a7" | "a11" | "b4" | "b6" | "c1" | "r1" | "x1" | "b7b" => {
            BURST
        }
        "a4" => Rings { mean: Some(2.0), max: Some(3), ..none },
        "a5" => Rings { mean: Some(3.0), max: Some(6), ..none },
        "a8" => Rings { max: Some(8), ..none },
        "a9" => Rings { max: Some(40), ..none },
        "a15" => Rings { mean: Some(5.0), max: Some(10), ..none },
        "n1" | "n4" => Rings { max: Some(3), ..none },
        "bg" => Rings { max: Some(0), ..none },
        _ => return None,
    })
}

/// Lines under construction.
#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    fn say(&mut self, metric: &'static str, about: impl Into<String>, got: String) {
        let target = String::new();
        self.0.push(Row { metric, about: about.into(), got, target, ok: None });
    }

    fn must(
        &mut self,
        metric: &'static str,
        about: impl Into<String>,
        got: String,
        target: impl Into<String>,
        ok: bool,
    ) {
        let (about, target) = (about.into(), target.into());
        self.0.push(Row { metric, about, got, target, ok: Some(ok) });
    }

    fn at_most(&mut self, metric: &'static str, about: impl Into<String>, got: f64, most: f64) {
        self.must(metric, about, figure(got), format!("<= {}", figure(most)), got <= most);
    }

    fn at_least(&mut self, metric: &'static str, about: impl Into<String>, got: f64, least: f64) {
        self.must(metric, about, figure(got), format!(">= {}", figure(least)), got >= least);
    }
}

/// A number as a table shows it.
pub(crate) fn figure(value: f64) -> String {
    let text = if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn count(of: u64) -> usize {
    usize::try_from(of).unwrap_or(usize::MAX)
}

/// Every line.
pub(crate) fn rows(findings: &Findings, stats: &[Stats]) -> Vec<Row> {
    let mut rows = Rows::default();
    for of in stats {
        attack(&mut rows, of);
    }
    if findings.benign.user_days > 0.0 {
        benign(&mut rows, findings);
    }
    if findings.outage.user_days > 0.0 {
        outage(&mut rows, findings);
    }
    people_under_attack(&mut rows, stats);
    special(&mut rows, stats);
    patience(&mut rows, findings);
    machine(&mut rows, findings);
    recovery(&mut rows, findings);
    rows.0.sort_by_key(|row| row.metric[1..].parse::<u32>().unwrap_or(99));
    rows.0
}

fn attack(rows: &mut Rows, of: &Stats) {
    let got = format!(
        "median {}, mean {}, p95 {}, max {} of {}",
        of.rings_median,
        figure(of.rings_mean),
        of.rings_p95,
        of.rings_max,
        figure(of.attempts)
    );
    let about = format!("rings, {}", of.id);
    match rings(of.id) {
        Some(most) => {
            let mut target = Vec::new();
            target.extend(most.median.map(|most| format!("median {most}")));
            target.extend(most.mean.map(|most| format!("mean <= {}", figure(most))));
            target.extend(most.max.map(|most| format!("max {most}")));
            let ok = most.median.is_none_or(|most| of.rings_median <= most)
                && most.mean.is_none_or(|most| of.rings_mean <= most)
                && most.max.is_none_or(|most| of.rings_max <= most);
            rows.must("M1", about, got, target.join(", "), ok);
        }
        None if of.id == "a10" || of.id == "a10n" || of.id == "a10d" => {}
        None => rows.say("M1", about, got),
    }
    if matches!(of.id, "a1" | "a2" | "a3" | "a6" | "a7") {
        let about = format!("held before the 2nd ring, {} (%)", of.id);
        rows.at_least("M2", about, of.held_before_second, 99.0);
    }
    match of.id {
        "a1" | "a2" | "a6" | "a7" | "a10" | "a11" => {
            let at = of.alert_attempts.map_or("-".into(), |at| at.to_string());
            let about = format!("alert within 6 attempts, {} (%; median at {at})", of.id);
            rows.at_least("M2", about, of.alerted_within_6, 95.0);
        }
        "a4" => rows.at_least("M2", "alert by day 3, a4 (%)", of.alerted_within_3_days, 95.0),
        "a8" | "a9" => {
            let about = format!("grouped alert, {} (%)", of.id);
            rows.at_least("M2", about, of.grouped, 95.0);
            let about = format!("user alerts per campaign, {}", of.id);
            rows.say("M2", about, figure(of.user_alerts));
        }
        id => {
            let at = of.alert_attempts.map_or("-".into(), |at| at.to_string());
            rows.say("M2", format!("alerted, {id} (%; median at {at})"), figure(of.alerted));
        }
    }
    if !matches!(of.id, "a8" | "a9") {
        rows.say("M3", format!("contained, {} (%)", of.id), figure(of.contained));
    }
}

fn benign(rows: &mut Rows, findings: &Findings) {
    let tally = &findings.benign;
    let per = "per 10,000 user-days";
    let ordinary = tally.alarms(Some(Class::Ordinary));
    rows.at_most("M4", format!("false alerts, ordinary, {per}"), ordinary, 1.0);
    rows.at_most("M4", format!("false alerts, all, {per}"), tally.alarms(None), 3.0);
    for ((kind, severity, class), times) in &tally.alerts {
        let severity = ["low", "medium", "high"][usize::from(*severity)];
        let about = format!("  {kind}, {severity}, {}", class.name());
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let rate = *times as f64 / tally.user_days * 10_000.0;
        rows.say("M4", about, figure(rate));
    }
    rows.at_most("M5", "people's prompts held silent (%)", tally.held.percent(), 0.7);
    let known = tally.held_known.percent();
    rows.say("M5", "of those from known places (%)", figure(known));
    for (row, who) in tally.seemed.iter().zip(["new to them", "proven"]) {
        let all: u64 = tally.seemed.iter().flatten().map(|share| share.of).sum();
        for (share, (_, name)) in row.iter().zip(FAMILIARITIES) {
            if share.of > 0 {
                let part = percent(count(share.of), count(all));
                let got = format!("{} ({} held)", figure(part), figure(share.percent()));
                rows.say("M5", format!("  places {who} seem {name} (%)"), got);
            }
        }
    }
    for (why, times) in &tally.whys {
        let share = percent(count(*times), count(tally.held.of));
        rows.say("M5", format!("  held because {why} (%)"), figure(share));
    }
    let again = percent(count(tally.coalesced), count(tally.held.of));
    rows.say("M5", "quiet while the person's phone rang already (%)", figure(again));
    rows.say("M5", "held of clients with nobody there (%)", figure(tally.machine.percent()));
    for (share, (_, name)) in tally.cohorts.iter().zip(Cohort::ALL) {
        let about = format!("first prompts held, {name} (% of {})", share.of);
        rows.at_most("M5", about, share.percent(), 10.0);
    }
    let about = format!("most held of one user (more than 3: {} users)", tally.users_held(4));
    rows.at_most("M5", about, f64::from(tally.most_held), 3.0);
    let merged = tally.twice.percent();
    rows.say("M5", "pages sent twice that were merged (%)", figure(merged));
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let withheld = tally.withheld as f64 / tally.user_days * 10_000.0;
    rows.say("M5", format!("approvals withheld without attack, {per}"), figure(withheld));
    rows.say("M5", "right codes refused without attack (%)", figure(tally.codes.percent()));
    let ways = 100.0 - tally.sign_ins.percent();
    rows.say("M6", "sign-ins without attack and without a way (%)", figure(ways));
    let later = percent(count(tally.enrolments_later), count(tally.enrolments));
    rows.say("M6", "new phones and resets without attack that must wait (%)", figure(later));
}

fn outage(rows: &mut Rows, findings: &Findings) {
    let tally = &findings.outage;
    let users = findings.outage_users;
    let counted = tally.alerts.iter().filter(|((kind, severity, class), _)| {
        *class == Class::Outage && *severity >= 1 && *kind != "push_outage"
    });
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let false_ones = counted.map(|(_, count)| *count as f64).sum::<f64>() / users * 10_000.0;
    rows.at_most("M4", "false alerts of a 20-min outage, per 10,000 users", false_ones, 10.0);
    let noticed = tally.alerts.keys().any(|(kind, ..)| *kind == "push_outage");
    rows.say("M4", "the outage itself was noticed", noticed.to_string());
}

fn people_under_attack(rows: &mut Rows, stats: &[Stats]) {
    let sum = |of: &dyn Fn(&Stats) -> u32| stats.iter().map(of).sum::<u32>();
    let own = sum(&|of| of.own);
    if own == 0 {
        return;
    }
    let without = sum(&|of| of.own_without_way);
    let way = 100.0 - percent(without as usize, own as usize);
    rows.must(
        "M6",
        format!("own sign-ins with a way, all attacks (% of {own})"),
        figure(way),
        "100",
        without == 0,
    );
    let blocked = sum(&|of| of.own_blocked);
    rows.at_most("M6", "merged into or refused because of the attacker", blocked.into(), 0.0);
    let known_ones = sum(&|of| of.known_blocked);
    rows.say("M6", "  of those, from places that they had proven", known_ones.to_string());
    let known = sum(&|of| of.known);
    let rang = percent(sum(&|of| of.known_rang) as usize, known as usize);
    let about = format!("known places that ring normally, all attacks (% of {known})");
    rows.at_least("M6", about, rang, 95.0);
    for of in stats.iter().filter(|of| of.known > 0) {
        let about = format!("known places that ring, {} (% of {})", of.id, of.known);
        let got = of.known_percent();
        if of.own_without_way + of.own_blocked > 0 {
            let about = format!("  without a way, blocked, {} (of {})", of.id, of.own);
            rows.say("M6", about, format!("{}, {}", of.own_without_way, of.own_blocked));
        }
        // of a few tens, one is more than 5 %
        if of.known < 60 {
            rows.say("M6", about, figure(got));
        } else {
            rows.at_least("M6", about, got, 95.0);
        }
    }
}

fn special(rows: &mut Rows, stats: &[Stats]) {
    for of in stats {
        match of.id {
            "a10" | "a10d" | "a11" | "x1" | "b5" => {
                let about = format!("codes compared in 24 h, {} (most)", of.id);
                rows.at_most("M7", about, of.compared.into(), 8.0);
            }
            "a10n" => {
                let about = "codes compared in 24 h, own address (most)";
                rows.at_most("M7", about, of.compared.into(), 20.0);
            }
            "b1" => {
                let [(calls, given), (bare, bare_given)] = of.calls;
                let held = percent((calls - given) as usize, calls as usize);
                let about = format!("approvals after denials withheld, b1 (% of {calls})");
                rows.at_least("M3", about, held, 100.0);
                let held = percent((bare - bare_given) as usize, bare as usize);
                let about = format!("  of victims without any code (% of {bare})");
                rows.say("M3", about, figure(held));
            }
            "a13" => {
                let [(calls, given), (bare, bare_given)] = of.calls;
                let got = percent((given + bare_given) as usize, (calls + bare) as usize);
                rows.say("M3", "first approval on a call given out, a13 (%)", figure(got));
            }
            "b4" => {
                let (asked, granted) = of.enrolments;
                let about = format!("enrolments under attack granted at once, b4 (of {asked})");
                rows.at_most("M3", about, granted.into(), 0.0);
                let about = "enrolment under attack alerted, b4 (%)";
                rows.at_least("M2", about, of.enrolment_alerted, 100.0);
            }
            _ => {}
        }
    }
}

fn patience(rows: &mut Rows, findings: &Findings) {
    let Some(worst) = findings.patience.first() else { return };
    let about = format!("undetected rings in 30 days, worst way: {}", worst.way.name());
    rows.at_most("M8", about, worst.most.into(), 10.0);
    for place in [
        super::whitebox::Place::Unknown,
        super::whitebox::Place::Rotating,
        super::whitebox::Place::Near,
        super::whitebox::Place::Nowhere,
    ] {
        if let Some(found) = findings.patience.iter().find(|found| found.way.place == place) {
            let about =
                format!("  {} (never alerted: {} of 3)", found.way.name(), found.undetected);
            rows.say("M8", about, found.most.to_string());
        }
    }
}

fn machine(rows: &mut Rows, findings: &Findings) {
    if let Some((_, cost)) = &findings.replay {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let ns = cost.spent.as_nanos() as f64 / cost.steps.max(1) as f64;
        let about = format!("ns per line of the lab, its text included ({} lines)", cost.steps);
        rows.say("M9", about, format!("{ns:.0}"));
    }
    let (users, bytes) = findings.memory;
    if users > 0 {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let bytes = bytes as f64;
        rows.at_most("M9", format!("bytes per user, {users} users"), bytes, 192.0);
    }
    let cost = &findings.cost;
    let reasons = percent(count(cost.with_reasons), count(cost.decisions));
    if cost.decisions > 0 {
        let about = format!("decisions with reasons (% of {})", cost.decisions);
        rows.at_least("M10", about, reasons, 100.0);
    }
    if let Some(same) = findings.replayed() {
        rows.must("M10", "the same seed gives the same answers", same.to_string(), "true", same);
    }
    let first = cost.first_error.clone().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    rows.at_most("M10", format!("lines refused {first}"), cost.errors as f64, 0.0);
}

fn recovery(rows: &mut Rows, findings: &Findings) {
    let mut by_hours: std::collections::BTreeMap<u32, (usize, usize)> = Default::default();
    for (hours, rang) in findings.recovery.iter().flat_map(|campaign| &campaign.probes) {
        let entry = by_hours.entry(*hours).or_default();
        entry.0 += usize::from(*rang);
        entry.1 += 1;
    }
    for (hours, (rang, of)) in &by_hours {
        let about = format!("a new place rings {hours} h after a1 (% of {of})");
        if *hours >= 72 {
            rows.at_least("M11", about, percent(*rang, *of), 95.0);
        } else {
            rows.say("M11", about, figure(percent(*rang, *of)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, 0.7, 1.234, 12.34, 100.0].map(figure),
            ["0", "0.7", "1.23", "12.3", "100"]
        );
    }
}
