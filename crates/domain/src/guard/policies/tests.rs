//! Tables, bounds and profiles.

use super::*;
use crate::guard::KNOBS;

fn number(name: &str, value: f32) -> Change {
    Change::Number(KNOBS.iter().find(|knob| knob.name == name).unwrap(), value)
}

fn table(of: &str, changes: Vec<Change>) -> Table {
    Table { of: of.to_owned(), changes }
}

fn who<'a>(id: &'a str, name: &'a str) -> Who<'a> {
    Who { id, name }
}

#[test]
fn the_most_exact_table_wins_and_the_rest_stays() {
    let policies = Policies::new(
        &[number("grace_s", 60.0), number("silent_at", 0.8)],
        vec![table("acme", vec![number("grace_s", 90.0), Change::Digits(7)])],
        vec![
            table("vpn", vec![number("grace_s", 120.0)]),
            table("int_x", vec![number("grace_s", 30.0)]),
        ],
    )
    .unwrap();
    let of = |tenant, id, name| policies.of(who("ten_1", tenant), who(id, name)).clone();
    assert_eq!(of("other", "int_1", "mail").policy.grace_s, 60.0);
    assert_eq!(of("acme", "int_1", "mail").policy.grace_s, 90.0);
    assert_eq!(of("acme", "int_1", "vpn").policy.grace_s, 120.0);
    assert_eq!(of("acme", "int_x", "vpn").policy.grace_s, 30.0, "an id is more exact");
    assert_eq!(of("acme", "int_1", "vpn").digits, 7);
    assert_eq!(of("other", "int_1", "vpn").digits, 6);
    assert_eq!(of("acme", "int_x", "vpn").policy.silent_at, 0.8);
    assert_eq!(policies.at(99), policies.base());
    assert!(!policies.are_one() && Policies::default().are_one());
}

#[test]
fn what_cant_hold_is_named_with_its_place() {
    let (part, error) =
        Policies::new(&[number("grace_s", 9e9)], Vec::new(), Vec::new()).unwrap_err();
    assert_eq!(
        (part, error.to_string().as_str()),
        (Part::Top, { "grace_s is 9000000000 s; it must be from 0 to 3600" })
    );
    // only together it can't hold
    let top = [number("nowhere_alert_at", 3.0), number("nowhere_silent_at", 1.0)];
    let tenants = vec![table("acme", vec![number("nowhere_alert_at", 2.0)])];
    let integrations = vec![table("vpn", vec![number("nowhere_silent_at", 2.1)])];
    let (part, error) = Policies::new(&top, tenants, integrations).unwrap_err();
    assert_eq!(format!("{part}{error}"), {
        "integrations.vpn: nowhere_alert_at is 2 score; it must be from 2.1 to 10"
    });
    for (changes, said) in [
        (
            vec![Change::Budget(Lane::Own, Tries::DayBurst, 0)],
            "codes.own.day.burst is 0 tries; it must be from 1 to 50",
        ),
        (
            vec![Change::Budget(Lane::Unknown, Tries::Cap, 90)],
            "codes: the caps of all lanes together are 164 tries; they must be at most 100 (NIST \
             800-63B-4 §3.2.2)",
        ),
        (vec![Change::Digits(5)], "digits is 5 digits; it must be from 6 to 8"),
        (
            vec![Change::Profile(Profile::Familiar), Change::FamiliarDigits(4)],
            "familiar_digits is 4 digits; it must be from 2 to 3",
        ),
        (vec![Change::FamiliarDigits(2)], "familiar_digits needs profile = \"familiar\""),
        (
            vec![Change::SuccessBound(0.5)],
            "success_bound is 0.5 per user and year; it must be from 0.000000001 to 0.1",
        ),
    ] {
        assert_eq!(Rules::with(&changes).unwrap_err().to_string(), said);
    }
}

#[test]
fn a_success_bound_sets_what_is_left_open() {
    let rules = Rules::with(&[Change::SuccessBound(1e-4)]).unwrap();
    assert!(rules.digits > 6 && rules.budgets.unknown.month.refill < 25, "{rules:?}");
    let set = [Change::Budget(Lane::Unknown, Tries::MonthBurst, 35), Change::SuccessBound(1e-4)];
    let said = Rules::with(&set).unwrap_err().to_string();
    assert!(said.starts_with("success_bound is 0.0001 per user and year; with"), "{said}");
}

#[test]
fn few_digits_are_for_known_places_alone() {
    let rules =
        Rules::with(&[Change::Profile(Profile::Familiar), Change::FamiliarDigits(2)]).unwrap();
    for (familiarity, digits) in [
        (Familiarity::Nowhere, 6),
        (Familiarity::Unknown, 6),
        (Familiarity::Near, 6),
        (Familiarity::Known, 2),
        (Familiarity::Own, 2),
    ] {
        assert_eq!(rules.digits_for(familiarity), digits, "{familiarity:?}");
        assert_eq!(Rules::default().digits_for(familiarity), 6);
    }
}

#[test]
fn every_budget_of_the_defaults_is_within_its_bounds() {
    Rules::default().check().unwrap();
    let names: Vec<String> = BudgetKnob::all().map(|knob| knob.name()).collect();
    assert_eq!(names.len(), 20);
    assert_eq!(names[1], "codes.own.day.burst");
}
