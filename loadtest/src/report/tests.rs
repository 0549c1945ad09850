//! What a report says of what was found.

use std::time::Duration;

use wire::rest::State;

use super::*;
use crate::floors::limit::DEVICES_SIGN;
use crate::floors::limit::tests::{parts as limit_parts, round as limit_round};
use crate::plan::tests::good;
use crate::schedule::Act;

fn record(ended: State) -> Record {
    let mut record = Record::new(Act::Deny, String::new());
    record.challenge = Some("chl_a".to_owned());
    (record.prompted, record.answered) = (true, true);
    (record.measured, record.ended_in_hold) = (true, true);
    record.times.push((Step::Create, 2_000));
    record.saw(ended);
    record
}

pub(crate) fn load(records: Vec<Record>) -> Load {
    Load {
        arrived: records.len() as u64,
        records,
        late: 0,
        overrun: 0,
        asked_in_hold: 0,
        cut_off: 0,
        displaced: 0,
        cut: None,
        held: Duration::from_secs(20),
        server: Some(Used { cpu: Duration::from_millis(500), rss_bytes: 1 << 24 }),
        client: None,
        seconds: Vec::new(),
    }
}

pub(crate) fn denied(count: usize) -> Vec<Record> {
    (0..count).map(|_| record(State::Denied)).collect()
}

#[test]
fn the_json_has_the_names_that_others_read() {
    let report = Report::new(&good(), load(denied(100)));
    assert_eq!(report.exit(), Exit::Ok);
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["ceremonies_per_s"], 5.0);
    for unmeasured in ["limit_ceremonies_per_s", "ratio"] {
        assert!(json[unmeasured].is_null() && json.get(unmeasured).is_some());
    }
    let latency = &json["latency_ms"];
    for part in ["p50", "p99", "max"] {
        assert!(latency["create"][part].is_f64(), "{part}");
    }
    assert!(latency["create"].get("p999").is_some_and(serde_json::Value::is_null));
    for step in ["create_to_device", "answer_to_decision", "decision_to_waiter"] {
        assert!(latency.get(step).is_some_and(serde_json::Value::is_null), "{step}");
    }
    assert_eq!(json["server"]["cpu_s_per_ceremony"], 0.005);
    assert_eq!(json["server"]["rss_bytes"], 1 << 24);
    assert!(json["server"]["bytes_per_idle_device"].is_null());
    assert_eq!((&json["lost"], &json["doubled"]), (&0.into(), &0.into()));
    assert_eq!(json["errors"], serde_json::json!({}));
    assert_eq!(json["ceremonies"]["silent"], 0);
}

#[track_caller]
fn wrong(load: Load, ended_badly: Option<String>, says: &str) {
    let mut report = Report::new(&good(), load);
    ended_badly.into_iter().for_each(|why| report.end_badly(why));
    assert_eq!(report.exit(), Exit::Wrong);
    assert!(report.to_string().contains(says), "{report} doesn't say {says:?}");
}

#[test]
fn whatever_is_wrong_is_said_and_exits_1() {
    let mut records = denied(9);
    records[0] = Record::new(Act::Deny, String::new());
    records[0].challenge = Some("chl_a".to_owned());
    wrong(load(records), None, "1 ceremonies lost");
    let mut records = denied(9);
    records[0].saw(State::Expired);
    wrong(load(records), None, "1 ceremonies doubled");
    let mut records = denied(9);
    records[0].error("poll_timeout");
    wrong(load(records), None, "errors: 1 poll_timeout");
    wrong(load(vec![record(State::Approved)]), None, "1 wrong_decision");
    let overrun = Load { overrun: 2, ..load(denied(9)) };
    wrong(overrun, None, "errors: 2 client_overrun");
    let late = Load { late: 1, ..load(denied(9)) };
    wrong(late, None, "this client can't keep up: it started 11 %");
    let cut = Cut::ServerEnded("signal: 9".to_owned());
    let cut = Load { cut: Some(cut), cut_off: 3, ..load(denied(9)) };
    wrong(cut, None, "the server ended by itself (signal: 9)");
    wrong(load(Vec::new()), None, "no ceremony");
    wrong(load(denied(9)), Some("it had to be killed".to_owned()), "killed");
}

#[test]
fn silent_and_withheld_ones_are_counted_apart_and_right() {
    let mut records = denied(10);
    records[0].silent = true;
    (records[1].silent, records[1].withheld) = (true, true);
    let report = Report::new(&good(), load(records));
    assert_eq!(report.exit(), Exit::Ok);
    assert!(report.to_string().contains("2 silent, 1 withheld until a code passed"));
    let Ceremonies { right, silent, withheld, .. } = report.ceremonies;
    assert_eq!((right, silent, withheld), (10, 2, 1));
}

fn idle(devices: u32) -> Idle {
    Idle {
        devices,
        tls: false,
        connection_bytes: 1_400.0,
        kernel_bytes: None,
        record_bytes: 3_000.0,
        floor: None,
    }
}

#[test]
fn what_an_idle_device_costs_is_told_of_many_or_says_why_not() {
    let mut report = Report::new(&good(), load(denied(9)));
    for (quiet, found, told, says) in [
        (0, None, None, "has no `quiet` devices"),
        (2_000, None, None, "is no process of ours"),
        (999, Some(idle(999)), None, "not told: of 999 devices"),
        (1_000, Some(idle(1_000)), Some(1_400.0), ""),
    ] {
        report.add_idle_device(quiet, found);
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["server"]["bytes_per_idle_device"].as_f64(), told, "{quiet}");
        assert_eq!(json["idle"].is_null(), told.is_none());
        let note = json["idle_note"].as_str().unwrap_or_default();
        assert!(note.contains(says) && note.is_empty() == told.is_some(), "{note}");
        assert_eq!(report.to_string().contains("idle device"), quiet > 0, "{report}");
    }
}

#[test]
fn few_ceremonies_have_no_percentile_that_is_their_longest() {
    let report = Report::new(&good(), load(denied(99)));
    let json = serde_json::to_value(&report).expect("JSON");
    let create = &json["latency_ms"]["create"];
    assert!(create["p50"].is_f64() && create["p99"].is_null() && create["p999"].is_null());
    assert!(report.to_string().contains("p99        -  p99.9        -  max     2.00 ms  (99)"));
}

pub(crate) fn limit(cpu_us: f64) -> Limit {
    let rounds = [limit_round(cpu_us, 0.99, 0.5)];
    Limit::of(DEVICES_SIGN, &[limit_parts()], &rounds).expect("a round")
}

#[test]
fn a_run_is_held_against_the_limit_beside_it() {
    let mut report = Report::new(&good(), load(denied(100)));
    assert!(report.to_string().contains("not measured: with --floors"), "{report}");
    report.hold_against(limit(100.0));
    let json = serde_json::to_value(&report).expect("JSON");
    // 5 ms of its own against 0.1
    let near = |name: &str, value: f64| {
        let found = json[name].as_f64().expect("a figure");
        assert!((found - value).abs() < value / 1e3, "{name}: {found}");
    };
    near("limit_ceremonies_per_s", 10_000.0);
    near("ratio", 0.02);
    assert!(json["limit_note"].is_null() && json["floor"]["valid"] == true);
    assert!(report.to_string().contains("the run: 0.020 of it"), "{report}");
}

#[test]
fn what_cant_be_held_against_a_limit_says_why() {
    let mut report = Report::new(&good(), load(denied(9)));
    report.hold_against(limit(500.0));
    assert_eq!((report.limit_ceremonies_per_s, report.ratio), (None, None));
    assert!(report.to_string().contains("is no limit: it costs"), "{report}");
    let elsewhere = Load { server: None, ..load(denied(9)) };
    let mut report = Report::new(&good(), elsewhere);
    report.hold_against(limit(100.0));
    assert!(report.limit_ceremonies_per_s.is_some() && report.ratio.is_none());
    assert!(report.to_string().contains("its CPU isn't known"), "{report}");
    let mut report = Report::new(&good(), load(denied(9)));
    report.miss_limit(&Failure::Cut(Cut::Interrupted));
    assert_eq!(report.exit(), Exit::Wrong);
    assert!(report.to_string().contains("after the run: interrupted"), "{report}");
}

#[test]
fn a_little_lateness_is_told_but_not_wrong() {
    let load = Load { late: 5, ..load(denied(100)) };
    assert_eq!(Report::new(&good(), load).exit(), Exit::Ok);
}
