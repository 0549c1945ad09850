//! The report: a table for people, JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::config::{Config, Networks};
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

/// What was found where one thing stands for a network.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct View {
    pub(crate) networks: Networks,
    pub(crate) rows: Vec<Row>,
    pub(crate) attacks: Vec<Stats>,
    /// Prompts held of a user, and how many users had at least so many.
    pub(crate) held: Vec<(u16, usize)>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) world: String,
    pub(crate) seeds: Vec<u64>,
    pub(crate) users: u32,
    pub(crate) seconds: f64,
    /// Of all views.
    pub(crate) missed: usize,
    #[serde(flatten)]
    pub(crate) view: View,
    /// The same world with something else for a network.
    pub(crate) also: Vec<View>,
    pub(crate) compared: Vec<Compared>,
    pub(crate) rules: Vec<FalseAlerts>,
}

impl View {
    pub(crate) fn new(networks: Networks, findings: &Findings) -> Self {
        let attacks: Vec<Stats> =
            findings.attacks.iter().map(|(spec, all)| Stats::new(spec, all)).collect();
        let held = (1..=8).map(|least| (least, findings.benign.users_held(least)));
        Self { networks, rows: rows(findings, &attacks), held: held.collect(), attacks }
    }

    fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.ok == Some(false)).count()
    }

    /// The line that is about the same thing.
    pub(crate) fn like(&self, row: &Row) -> Option<&Row> {
        self.rows.iter().find(|other| other.is_like(row))
    }
}

impl Report {
    /// Of at least one view; `findings` are the first one's, which alone has the comparison with others.
    pub(crate) fn new(
        world: &str,
        config: &Config,
        views: Vec<View>,
        findings: &Findings,
        seconds: f64,
    ) -> Self {
        let missed = views.iter().map(View::missed).sum();
        let mut views = views.into_iter();
        let view = views.next().expect("a world names what stands for a network");
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
            seconds,
            missed,
            view,
            also: views.collect(),
            compared: compared.collect(),
            rules: rules
                .map(|(rule, per_10k_user_days)| FalseAlerts { rule, per_10k_user_days })
                .collect(),
        }
    }

    /// For people, in columns.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{}: seeds {:?}, {} users, {}, {:.0} s\n",
            self.world,
            self.seeds,
            self.users,
            self.view.networks.words(),
            self.seconds
        );
        for row in &self.view.rows {
            row_text(&mut out, row);
            for view in &self.also {
                let other = view.like(row).filter(|other| other.got != row.got);
                if let Some(other) = other {
                    let about = format!("  {}", view.networks.words());
                    row_text(&mut out, &Row { metric: "", about, ..other.clone() });
                }
            }
        }
        for view in &self.also {
            let alone: Vec<&Row> =
                view.rows.iter().filter(|row| self.view.like(row).is_none()).collect();
            if !alone.is_empty() {
                let _ = writeln!(out, "\nOnly with {}:", view.networks.words());
                alone.into_iter().for_each(|row| row_text(&mut out, row));
            }
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
            let cell = self.view.attacks.iter().find(|attack| attack.id == *id);
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

fn row_text(out: &mut String, row: &Row) {
    let mark = match row.ok {
        Some(true) => "ok",
        Some(false) => "MISSED",
        None => "",
    };
    let _ =
        writeln!(out, "{:4}{:64} {:44} {:24} {mark}", row.metric, row.about, row.got, row.target);
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
