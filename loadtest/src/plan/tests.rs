use super::*;

const GOOD: &str = "name = 'test'\nseed = 1\nrate = 40\nramp_s = 5\nhold_s = 20\ndevices = 50\n\
                    ttl_s = 30\n[mix]\napprove = 3\ndeny = 1\n";

pub(crate) fn good() -> Plan {
    Plan::parse("test.toml", GOOD).expect("a good plan")
}

#[track_caller]
fn refused(from: &str, to: &str, says: &[&str]) {
    assert!(GOOD.contains(from), "{from}");
    let error = Plan::parse("test.toml", &GOOD.replace(from, to)).expect_err("a bad plan");
    let text = error.to_string();
    for part in says {
        assert!(text.contains(part), "{text:?} doesn't say {part:?}");
    }
}

#[test]
fn the_plans_beside_this_crate_are_good() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let plan = Plan::read(&path).expect("a good plan");
        assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(&*plan.name));
        names.push(plan.name);
    }
    assert!(names.contains(&"smoke".to_owned()));
}

#[test]
fn what_is_left_out_has_a_default_or_is_asked_for() {
    let plan = good();
    assert_eq!((plan.arrivals, plan.think_ms), (Arrivals::Poisson, [0, 0]));
    assert_eq!((plan.mix.wrong, plan.mix.ignore), (0, 0));
    assert!((plan.expected() - 900.0).abs() < 1e-9);
    refused("rate = 40", "", &["test.toml", "rate: is missing", "`in_flight`"]);
    refused("[mix]\napprove = 3\ndeny = 1\n", "", &["missing field `mix`"]);
}

#[test]
fn unknown_fields_are_refused_by_name() {
    refused("seed = 1", "seed = 1\nspeed = 1", &["unknown field `speed`"]);
    refused("deny = 1", "decline = 1", &["unknown field `decline`"]);
    refused("seed = 1", "seed = 1\narrivals = 'bursts'", &["bursts", "poisson"]);
    let rsa = ["algorithm = 'rsa'", "expected `ed25519` or `p256`"];
    refused("seed = 1", "seed = 1\nalgorithm = 'rsa'", &rsa);
}

#[test]
fn devices_sign_with_what_the_plan_names() {
    assert_eq!(good().algorithm, Algorithm::Ed25519);
    let named = GOOD.replace("seed = 1", "seed = 1\nalgorithm = 'p256'");
    let plan = Plan::parse("test.toml", &named).expect("a good plan");
    assert_eq!(plan.algorithm, Algorithm::P256);
}

#[test]
fn bounds_are_said_with_the_field() {
    let bounded = [
        ("rate = 40", "rate = 0.05", "rate: must be between 0.1 and 10000, is 0.05"),
        ("rate = 40", "rate = 0", "rate: is missing or 0: between 0.1 and 10000, or `in_flight`"),
        ("rate = 40", "rate = nan", "rate: must be between 0.1 and 10000, is NaN"),
        ("ramp_s = 5", "ramp_s = 3601", "ramp_s: must be between 0 and 3600, is 3601"),
        ("hold_s = 20", "hold_s = 0", "hold_s: must be between 1 and 3600, is 0"),
        ("devices = 50", "devices = 3001", "devices: must be between 1 and 3000, is 3001"),
        ("ttl_s = 30", "ttl_s = 29", "ttl_s: must be between 30 and 300, is 29"),
        ("name = 'test'", "name = 'A b'", "name: must be 1 to 32 of a-z"),
        ("deny = 1", "deny = 1000001", "mix.deny: must be between 0 and 1000000"),
        ("approve = 3\ndeny = 1", "deny = 0", "mix: at least one weight"),
        ("ttl_s = 30", "ttl_s = 30\nthink_ms = [2, 1]", "think_ms: must be [shortest, longest]"),
        ("rate = 40", "rate = 10000\nthink_ms = [0, 9]", "devices: must be at least 57"),
        ("deny = 1", "deny = 1\nignore = 1", "devices: must be at least 250, is 50"),
    ];
    for (from, to, says) in bounded {
        refused(from, to, &[says]);
    }
    let late = "seed = 1\nquiet = 1\nstorm = { at_s = 24 }";
    assert!(Plan::parse("test.toml", &GOOD.replace("seed = 1", late)).is_ok());
    refused("rate = 40", "rate = '40'", &["invalid type: string", "rate = '40'"]);
}

#[test]
fn what_isnt_built_or_doesnt_go_together_is_said() {
    let seed = |more: &str| format!("seed = 1\n{more}");
    for (more, says) in [
        ("nodes = 2", "nodes: must be 1: the server is one process"),
        ("nodes = 0", "nodes: must be 1"),
        ("skew = 3.5", "skew: must be between 0 and 3, is 3.5"),
        ("skew = nan", "skew: must be between 0 and 3, is NaN"),
        ("skew = -1", "skew: must be between 0 and 3, is -1"),
        ("overload = { factor = 1.0, times = [2] }", "overload.factor: must be between 1.05"),
        ("overload = { factor = 2.0, times = [] }", "overload.times: must be 1 to 5 numbers"),
        ("overload = { factor = 2.0, times = [2, 11] }", "overload.times: must be 1 to 5"),
        ("overload = { factor = 2.0, times = [nan] }", "overload.times: must be 1 to 5"),
        (
            "overload = { factor = 2.0, times = [2], settle_s = 20 }",
            "overload.settle_s: must be between 0 and 19, is 20",
        ),
        ("attack = { share = 0.0, targets = 1 }", "attack.share: must be between 0.01 and 0.9"),
        ("attack = { share = 0.1, targets = 0 }", "attack.targets: must be between 1 and 50"),
        ("quiet = 1\nstorm = { at_s = 25 }", "storm.at_s: must be less than `ramp_s` + `hold_s`"),
        ("storm = { at_s = 24 }", "storm: needs devices that are `quiet`"),
        ("ratios = { pairs = 0 }", "ratios.pairs: must be between 1 and 15, is 0"),
        ("ratios = { pairs = 2 }", "ratios: needs `pinned`, no thought, and approvals alone"),
        (
            "attack = { share = 0.1, targets = 1 }\nknee = { factor = 2.0, p99_ms = 50.0 }",
            "plan: is at most one of `knee`, `overload`, `attack`",
        ),
    ] {
        refused("seed = 1", &seed(more), &[says]);
    }
}

#[test]
fn a_closed_loop_has_no_rate() {
    let approvals = GOOD.replace("deny = 1\n", "");
    let closed = |rate: &str| {
        Plan::parse("test.toml", &approvals.replace("rate = 40", rate)).map_err(|e| e.to_string())
    };
    let plan = closed("in_flight = 50").expect("a plan");
    assert_eq!((plan.in_flight, plan.may_be_refused()), (Some(50), true));
    for (rate, says) in [
        ("in_flight = 0", "in_flight: must be between 1 and 1024, is 0"),
        ("in_flight = 51", "devices: must be between 51 and 3000, is 50"),
        ("rate = 40\nin_flight = 5", "in_flight: is a way of its own"),
        ("in_flight = 5\nthink_ms = [0, 1]", "in_flight: is a way of its own"),
        ("in_flight = 5\narrivals = 'uniform'", "in_flight: is a way of its own"),
        ("in_flight = 5\nknee = { factor = 2.0, p99_ms = 50.0 }", "in_flight: is a way"),
    ] {
        let error = closed(rate).expect_err("a bad plan");
        assert!(error.contains(says), "{error:?} doesn't say {says:?}");
    }
    let long =
        approvals.replace("rate = 40", "in_flight = 5").replace("hold_s = 20", "hold_s = 96");
    let error = Plan::parse("test.toml", &long).expect_err("too long");
    assert!(error.to_string().contains("ramp_s + hold_s: must be between 1 and 100"), "{error}");
}

#[test]
fn what_the_ramp_left_over_may_be_left_out() {
    assert_eq!(good().counts_from(), good().ramp());
    let settles = "seed = 1\noverload = { factor = 2.0, times = [5], settle_s = 2 }";
    let plan = Plan::parse("test.toml", &GOOD.replace("seed = 1", settles)).expect("a plan");
    assert_eq!(plan.counts_from(), plan.ramp() + Duration::from_secs(2));
}

#[test]
fn a_plan_that_is_too_long_is_refused() {
    let long = GOOD.replace("hold_s = 20", "hold_s = 3600").replace("rate = 40", "rate = 200");
    let error = Plan::parse("test.toml", &long).expect_err("too long");
    assert!(error.to_string().contains("rate: must be at most 500000 ceremonies"));
}
