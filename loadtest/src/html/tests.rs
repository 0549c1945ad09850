//! What the page shows.

use super::*;
use crate::plan::tests::good;
use crate::report::tests::{denied, limit, load};
use crate::run::Load;

fn second(at_s: u64, lasted_s: f64) -> Second {
    Second {
        at_s,
        lasted_s,
        started: 40,
        ended: 40,
        right: 39,
        errors: BTreeMap::from([("poll_timeout".to_owned(), 1)]),
        create: None,
        answer_to_waiter: None,
        server: Some(Spent { cores: 0.5, rss_bytes: 1 << 24 }),
        client: None,
    }
}

#[test]
fn what_is_no_whole_second_isnt_drawn() {
    let seconds = vec![second(1, 1.0), second(2, 1.0), second(3, 0.3)];
    let drawn = |seconds: &[Second]| {
        let report = Report::new(&good(), Load { seconds: seconds.to_vec(), ..load(denied(9)) });
        page(&good(), &report)
    };
    assert_eq!(drawn(&seconds), drawn(&seconds[..2]));
    assert_ne!(drawn(&seconds[..2]), drawn(&seconds[..1]));
    // 80 started in two seconds are 40 a second
    assert_eq!(drawn(&[second(1, 1.0)]), {
        let twice = Second { lasted_s: 2.0, started: 80, ended: 80, right: 78, ..second(1, 1.0) };
        let errors = BTreeMap::from([("poll_timeout".to_owned(), 2)]);
        drawn(&[Second { errors, ..twice }])
    });
}

#[test]
fn each_plot_names_its_unit() {
    let mut records = denied(1_000);
    records[0].error("poll_timeout");
    let load = Load { seconds: vec![second(1, 1.0), second(2, 1.0)], ..load(records) };
    let drawn = page(&good(), &Report::new(&good(), load));
    for plot in [
        "Milliseconds, logarithmic",
        "Ceremonies, a second",
        "CPU, cores in use",
        "Memory, MiB resident",
        "Errors by kind, a second",
        "Errors, counted over the whole run",
    ] {
        assert!(drawn.contains(&format!("<figcaption>{plot}</figcaption>")), "{plot}");
    }
    for kind in ["p50", "p99", "p99.9", "longest"] {
        assert!(drawn.contains(&format!("</i>{kind}</span>")), "{kind}");
    }
    for (open, close) in [("<div", "</div>"), ("<figure", "</figure>"), ("<table", "</table>")] {
        assert_eq!(drawn.matches(open).count(), drawn.matches(close).count(), "{open}");
    }
    for outside in ["http:", "https:", "src=", "@import"] {
        assert!(!drawn.contains(outside), "{outside}: the page fetches nothing");
    }
}

#[test]
fn the_limit_is_drawn_where_it_is_known() {
    let mut report = Report::new(&good(), load(denied(100)));
    assert!(!page(&good(), &report).contains("Against the limit"));
    report.hold_against(limit(100.0));
    let drawn = page(&good(), &report);
    // 5 ms of its own against 0.1
    assert!(drawn.contains(">100</text>") && drawn.contains(">5000</text>"), "{drawn}");
    assert!(drawn.contains("Ratio: 0.020."), "{drawn}");
}
