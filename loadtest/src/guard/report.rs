//! The report: a table for people, JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::config::Config;
use super::jobs::{Findings, is_compared};
use super::rules::RULES;
use super::stats::Stats;
use super::targets::{Row, figure, rows};

/// Attacks under one control, as others ship it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) control: &'static str,
    pub(crate) attacks: Vec<Stats>,
}

/// A public rule's false alerts per 10,000 user-days.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FalseAlerts {
    pub(crate) rule: &'static str,
    pub(crate) per_10k_user_days: f64,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) world: String,
    pub(crate) seeds: Vec<u64>,
    pub(crate) users: u32,
    pub(crate) asn: bool,
    pub(crate) seconds: f64,
    pub(crate) missed: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) attacks: Vec<Stats>,
    pub(crate) compared: Vec<Compared>,
    pub(crate) rules: Vec<FalseAlerts>,
    /// Prompts held of a user, and how many users had at least so many.
    pub(crate) held: Vec<(u16, usize)>,
}

impl Report {
    pub(crate) fn new(world: &str, config: &Config, findings: &Findings, seconds: f64) -> Self {
        let stats: Vec<Stats> =
            findings.attacks.iter().map(|(spec, all)| Stats::new(spec, all)).collect();
        let rows = rows(findings, &stats);
        let compared = findings.locked.iter().map(|(lock, campaigns)| {
            let specs = super::attacks::ATTACKS.iter().filter(|spec| is_compared(spec));
            let attacks = specs.map(|spec| {
                let own: Vec<_> =
                    campaigns.iter().filter(|it| it.spec.id == spec.id).cloned().collect();
                Stats::new(spec, &own)
            });
            Compared { control: lock.name, attacks: attacks.collect() }
        });
        let rules = findings.rules.iter().flat_map(|rates| RULES.into_iter().zip(*rates));
        Self {
            world: world.to_owned(),
            seeds: config.run.seeds.clone(),
            users: config.run.users,
            asn: config.run.asn,
            seconds,
            missed: rows.iter().filter(|row| row.ok == Some(false)).count(),
            rows,
            attacks: stats,
            compared: compared.collect(),
            rules: rules
                .map(|(rule, per_10k_user_days)| FalseAlerts { rule, per_10k_user_days })
                .collect(),
            held: (1..=8).map(|least| (least, findings.benign.users_held(least))).collect(),
        }
    }

    /// For people, in columns.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let networks = if self.asn { "with" } else { "without" };
        let _ = writeln!(
            out,
            "{}: seeds {:?}, {} users, {networks} networks' numbers, {:.0} s\n",
            self.world, self.seeds, self.users, self.seconds
        );
        for row in &self.rows {
            let mark = match row.ok {
                Some(true) => "ok",
                Some(false) => "MISSED",
                None => "",
            };
            let _ = writeln!(
                out,
                "{:4}{:64} {:44} {:24} {mark}",
                row.metric, row.about, row.got, row.target
            );
        }
        self.compared_text(&mut out);
        let _ = writeln!(out, "\n{} targets missed", self.missed);
        out
    }

    fn compared_text(&self, out: &mut String) {
        if self.compared.is_empty() {
            return;
        }
        out.push_str(
            "\nMedian rings, and own sign-ins without a way [%], under controls that others ship\n",
        );
        let _ = write!(out, "{:24}", "");
        let ids: Vec<&str> = self.compared[0].attacks.iter().map(|attack| attack.id).collect();
        for id in &ids {
            let _ = write!(out, "{id:>11}");
        }
        out.push('\n');
        let _ = write!(out, "{:24}", "this guard");
        for id in &ids {
            let cell = self.attacks.iter().find(|attack| attack.id == *id);
            let _ = write!(out, "{:>11}", cell.map_or_else(|| "-".to_owned(), cell_text));
        }
        out.push('\n');
        for control in &self.compared {
            let _ = write!(out, "{:24}", control.control);
            for attack in &control.attacks {
                let _ = write!(out, "{:>11}", cell_text(attack));
            }
            out.push('\n');
        }
        out.push_str(
            "\nPublic rules that stop nothing: attempts until the first alert (% of campaigns seen)\n",
        );
        for (at, rule) in self.rules.iter().enumerate() {
            let false_ones = figure(rule.per_10k_user_days);
            let name = format!("{} [{false_ones} false]", rule.rule);
            let _ = write!(out, "{name:52}");
            for attack in &self.compared[0].attacks {
                let (median, seen) = attack.rules[at];
                let text = median.map_or_else(|| "-".to_owned(), |n| format!("{n} ({seen:.0})"));
                let _ = write!(out, "{text:>11}");
            }
            out.push('\n');
        }
    }
}

/// Median rings; in brackets, where there were any, own sign-ins without a way in per cent.
pub(crate) fn cell_text(attack: &Stats) -> String {
    let lost = super::stats::percent(attack.own_without_way as usize, attack.own as usize);
    if lost >= 0.5 {
        format!("{} [{lost:.0}]", attack.rings_median)
    } else {
        attack.rings_median.to_string()
    }
}
