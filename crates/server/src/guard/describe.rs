//! Every number of a policy: for people, for machines, and as docs/guard-policy.md.

use std::fmt::Write as _;

use domain::guard::{BudgetKnob, Rules};
use serde_json::{Value, json};

/// What docs/guard-policy.md says before its tables.
#[cfg(test)]
const INTRO: &str = include_str!("intro.txt");

/// A number as it is shown.
struct Shown {
    name: String,
    unit: &'static str,
    value: f64,
    default: f64,
    min: f64,
    max: f64,
    why: &'static str,
}

const DIGITS: &str = "Digits of a number. NIST 800-63B-4 §3.1.3.2 wants at least six.";
const FAMILIAR_DIGITS: &str = "Digits that known places are asked for under profile = \"familiar\", which doesn't \
    conform to that. All others are asked for `digits`.";

fn numbers(rules: &Rules) -> Vec<Shown> {
    let widened = |value: f32| {
        // as it was written, not as the nearest double of a single
        value.to_string().parse().unwrap_or_else(|_| f64::from(value))
    };
    let knobs = rules.policy.values().map(|(knob, value)| Shown {
        name: knob.name.to_owned(),
        unit: knob.unit,
        value: widened(value),
        default: widened(knob.default),
        min: widened(knob.min),
        max: widened(knob.max),
        why: knob.why,
    });
    let budgets = BudgetKnob::all().map(|knob| Shown {
        name: knob.name(),
        unit: "tries",
        value: rules.tries(knob.lane, knob.tries).into(),
        default: knob.default.into(),
        min: 1.0,
        max: knob.max.into(),
        why: knob.tries.why(),
    });
    let digits = |name: &str, value: u8, [default, min, max]: [u8; 3], why| Shown {
        name: name.to_owned(),
        unit: "digits",
        value: value.into(),
        default: default.into(),
        min: min.into(),
        max: max.into(),
        why,
    };
    let digits = [
        digits("digits", rules.digits, [6, 6, 8], DIGITS),
        digits("familiar_digits", rules.familiar_digits, [3, 2, 3], FAMILIAR_DIGITS),
    ];
    knobs.chain(digits).chain(budgets).collect()
}

/// For people.
pub(super) fn text(rules: &Rules) -> String {
    let mut out = String::new();
    for Shown { name, unit, value, default, min, max, why } in numbers(rules) {
        let is = if value == default { String::new() } else { format!(", default {default}") };
        let _ = writeln!(out, "{name} = {value} {unit}{is} (from {min} to {max})\n    {why}");
    }
    let _ = writeln!(out, "profile = {:?} (\"standard\" or \"familiar\")", rules.profile.name());
    out
}

/// For machines.
pub(super) fn json(rules: &Rules) -> Value {
    let numbers: Vec<Value> = numbers(rules)
        .into_iter()
        .map(|Shown { name, unit, value, default, min, max, why }| {
            json!({
                "name": name, "unit": unit, "value": value, "default": default, "min": min, "max": max, "why": why,
            })
        })
        .collect();
    json!({ "numbers": numbers, "profile": rules.profile.name(), "success_bound": rules.success_bound })
}

/// docs/guard-policy.md.
#[cfg(test)]
fn markdown() -> String {
    let mut out = INTRO.to_owned();
    let rows = |out: &mut String, wanted: &dyn Fn(&Shown) -> bool| {
        out.push_str("\n| name | default | unit | from | to | why |\n|---|---|---|---|---|---|\n");
        for shown in numbers(&Rules::default()).iter().filter(|shown| wanted(shown)) {
            let Shown { name, unit, default, min, max, why, .. } = shown;
            let _ = writeln!(out, "| `{name}` | {default} | {unit} | {min} | {max} | {why} |");
        }
    };
    let is_knob = |shown: &Shown| domain::guard::KNOBS.iter().any(|knob| knob.name == shown.name);
    out.push_str("\n## The guard's numbers\n");
    rows(&mut out, &is_knob);
    out.push_str("\n## Digits and codes\n");
    rows(&mut out, &|shown| !is_knob(shown));
    out
}

#[cfg(test)]
mod tests {
    use domain::guard::KNOBS;

    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guard-policy.md");

    #[test]
    fn the_committed_page_is_this_one() {
        if std::env::var_os("COUNTERSIGN_WRITE_POLICY").is_some() {
            std::fs::write(COMMITTED, markdown()).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            committed == markdown(),
            "docs/guard-policy.md is out of date: run COUNTERSIGN_WRITE_POLICY=1 cargo test -p server"
        );
    }

    #[test]
    fn every_number_is_shown_as_it_is_written() {
        let said = json(&Rules::default());
        let numbers = said["numbers"].as_array().unwrap();
        assert_eq!(numbers.len(), KNOBS.len() + 22);
        for shown in numbers {
            assert_eq!(shown["value"], shown["default"], "{shown}");
            assert!(shown["default"].to_string().len() < 10, "{shown}");
        }
        assert!(text(&Rules::default()).contains("codes.own.day.burst = 10 tries (from 1 to 50)"));
    }
}
