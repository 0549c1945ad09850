//! What a durable write costs on SQLite, by key order, index, statement form, row shape, driver and
//! checkpoint: `cargo bench -p backend-sql --bench durable_write [-- --quick] [--json]`.
//!
//! Rounds are interleaved and medians printed. Compare cases of one run: CPU speed drifts.

mod loads;
mod rows;
mod sample;
mod store;
mod tables;

use std::sync::atomic::AtomicU64;

use tokio::runtime::Runtime;

use loads::loads;
use sample::{Bench, Case, Sample};
use tables::{floors, keys, tables};

const ROUNDS: usize = 3;

/// Runs the cases round by round and gives a line per case and kind of sample.
fn measure(mut cases: Vec<Case<'_>>) -> Vec<serde_json::Value> {
    let mut rounds: Vec<Vec<Vec<Sample>>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        let pairs = cases.iter_mut().zip(&mut rounds);
        pairs.for_each(|((_, run), kept)| kept.push(run()));
    }
    let mut lines = Vec::new();
    for ((name, _), kept) in cases.iter().zip(&rounds) {
        for (n, part) in [", insert", ", settle"].iter().enumerate().take(kept[0].len()) {
            let median = |value: fn(&Sample) -> f64| {
                let mut values: Vec<f64> = kept.iter().map(|round| value(&round[n])).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            let part = if kept[0].len() > 1 { part } else { "" };
            lines.push(serde_json::json!({
                "case": format!("{name}{part}"),
                "rows_per_s": median(|s| s.rows as f64 / s.wall.as_secs_f64()).round(),
                "cpu_us_per_row": median(|s| s.cpu.as_secs_f64() * 1e6 / s.rows as f64),
                "commit_p50_ms": median(|s| s.percentile(0.5)),
                "commit_p99_ms": median(|s| s.percentile(0.99)),
                "commit_max_ms": median(|s| s.percentile(1.0)),
                "rows_per_commit": median(|s| s.written as f64 / s.commits.len() as f64).round(),
            }));
        }
    }
    lines
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let bench = Bench {
        dir: tempfile::tempdir().expect("a temporary folder"),
        files: AtomicU64::new(0),
        quick: has("--quick"),
        runtime: Runtime::new().expect("a runtime starts"),
    };
    let mut lines = Vec::new();
    for group in [floors, keys, tables, loads] as [for<'b> fn(&'b Bench) -> Vec<Case<'b>>; 4] {
        lines.extend(measure(group(&bench)));
    }
    if has("--json") {
        return println!("{}", serde_json::json!({ "durable_write": lines }));
    }
    for (n, line) in lines.iter().filter_map(serde_json::Value::as_object).enumerate() {
        if n == 0 {
            let names: Vec<&str> = line.keys().map(String::as_str).collect();
            println!("| {} |\n{}|", names.join(" | "), "|---".repeat(names.len()));
        }
        let cell = |value: &serde_json::Value| match value.as_f64() {
            Some(number) => format!("{number:.2}"),
            None => value.as_str().unwrap_or_default().to_owned(),
        };
        let cells: Vec<String> = line.values().map(cell).collect();
        println!("| {} |", cells.join(" | "));
    }
}
