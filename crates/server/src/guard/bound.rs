//! `countersign guard bound`: what digits, tries and budgets buy whoever has the password.

use std::fmt::Write as _;

use domain::attempts::Bucket;
use domain::guard::{Bound, Derived, Fixed, REFERENCE, Rules, Way, derive, reference};
use serde_json::{Value, json};

use crate::commands::show;
use crate::exit::Exit;

/// What the figures take for granted.
const GRANTED: [&str; 5] = [
    "the attacker has the password, knows the guard's state, and asks whenever the phone would ring",
    "the person answers every ring by typing a number blindly, and never opens the app for what didn't ring",
    "nobody acts on an alert in all that time",
    "codes: every cap is forgiven in time by the person's own sign-ins, so only the buckets count",
    "recovery codes: the attacker knows the public part of all",
];

/// Runs it.
pub(super) fn run(rules: &Rules, success: Option<f64>, json: bool) -> Exit {
    let Some(asked) = success else {
        let bound = Bound::of(rules);
        return if json { show(&figures(&bound).to_string()) } else { show(&text(&bound)) };
    };
    if !(1e-9..=0.1).contains(&asked) {
        eprintln!(
            "error: --success is {asked} per user and year; it must be from 0.000000001 to 0.1"
        );
        return Exit::Usage;
    }
    match derive(rules, Fixed::default(), asked) {
        Ok(derived) => {
            let mut met = Rules { digits: derived.digits, ..rules.clone() };
            met.budgets.unknown.month = derived.unknown;
            met.budgets.nowhere.month = derived.nowhere;
            let bound = Bound::of(&met);
            if json {
                let mut said = figures(&bound);
                said["policy"] = json!(lines(&derived));
                said["asked"] = json!(asked);
                return show(&said.to_string());
            }
            let (month, year) = bound.strangers();
            show(&format!(
                "# an attacker elsewhere succeeds with {month:.1e} in 30 days, {year:.1e} in a year\n{}",
                lines(&derived)
            ))
        }
        Err(least) => {
            if json {
                show(&json!({ "asked": asked, "met": false, "least": least }).to_string());
            } else {
                show(&format!(
                    "{asked:.1e} can't be met: with eight digits and the fewest codes it is {least:.1e}. Users \
                     without a TOTP secret have no codes to guess."
                ));
            }
            Exit::Wrong
        }
    }
}

/// The lines of a policy.
fn lines(derived: &Derived) -> String {
    let Derived { digits, unknown, nowhere } = derived;
    let month = |bucket: &Bucket| {
        format!("month = {{ burst = {}, refill = {} }}", bucket.burst, bucket.refill)
    };
    format!(
        "digits = {digits}\n\n[codes.unknown]\n{}\n\n[codes.nowhere]\n{}\n",
        month(unknown),
        month(nowhere)
    )
}

/// Whom the ways of a bound add up for, in the order in which they add up.
fn parts(bound: &Bound) -> [(&'static str, &[Way], (f64, f64)); 3] {
    [
        ("elsewhere", &bound.elsewhere, bound.strangers()),
        ("also behind the person's own router", &bound.home, bound.neighbours()),
        ("also once a right answer was withheld", &bound.withheld, bound.all()),
    ]
}

fn text(bound: &Bound) -> String {
    let mut out =
        String::from("What an attacker who has the password may succeed with, at most.\n");
    for (who, ways, (month, year)) in parts(bound) {
        let _ = writeln!(out, "\n{who}: {month:.1e} in 30 days, {year:.1e} in a year");
        for Way { name, each, tries, month, year, formula } in ways {
            let _ = writeln!(
                out,
                "  {name}: {each:.1e} a try; {} tries in 30 days = {month:.1e}; {} in a year = {year:.1e}\n    \
                 {formula}",
                tries.month, tries.year
            );
        }
    }
    out.push_str("\nAll together: 1 - the product of (1 - each). Taken for granted:\n");
    for granted in GRANTED {
        let _ = writeln!(out, "  - {granted}");
    }
    out.push_str("\nThe same arithmetic for other rules on codes, a year each:\n");
    for (what, tries, _) in REFERENCE {
        let _ = writeln!(out, "  {what}: {:.2} %", reference(tries) * 100.0);
    }
    out
}

fn figures(bound: &Bound) -> Value {
    let parts: Vec<Value> = parts(bound)
        .into_iter()
        .map(|(who, ways, (month, year))| {
            let ways: Vec<Value> = ways
                .iter()
                .map(|way| {
                    json!({
                        "name": way.name,
                        "each": way.each,
                        "tries_30_days": way.tries.month,
                        "tries_year": way.tries.year,
                        "success_30_days": way.month,
                        "success_year": way.year,
                        "formula": way.formula,
                    })
                })
                .collect();
            json!({ "attacker": who, "success_30_days": month, "success_year": year, "ways": ways })
        })
        .collect();
    json!({ "attackers": parts, "granted": GRANTED })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_comes_with_its_formula() {
        let bound = Bound::of(&Rules::default());
        let said = text(&bound);
        for part in [
            "elsewhere: ",
            "code from nowhere: 2.0e-6 a try; 30 tries in 30 days = 6.0e-5; 164 in a year = 3.3e-4",
            "the lesser of 18 + 12 and 2 + 1 x 30",
            "5 tries in 15 minutes: 29.56 %",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        let said = figures(&bound);
        assert_eq!(said["attackers"].as_array().unwrap().len(), 3);
        assert_eq!(said["attackers"][0]["ways"][1]["tries_year"], 339);
    }

    #[test]
    fn derived_lines_are_a_policy() {
        let derived = derive(&Rules::default(), Fixed::default(), 1e-4).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines(&derived)).unwrap();
        let policies = super::super::policy_file::load(Some(file.path())).unwrap();
        let rules = policies.base();
        assert_eq!((rules.digits, rules.budgets.unknown.month), (derived.digits, derived.unknown));
        let (_, year) = Bound::of(rules).strangers();
        assert!(year <= 1e-4, "{year}");
    }
}
