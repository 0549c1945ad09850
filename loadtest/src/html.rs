//! The report of a run as one HTML file: plots drawn as SVG, nothing fetched from anywhere.

use std::fmt::Write as _;

use crate::latency::{Percentiles, or_dash};
use crate::plan::Plan;
use crate::record::Step;
use crate::report::{self, Report};
use crate::series::{Second, Spent};

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Load test</title><style>\
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#1d2330}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .7em;border-bottom:1px solid #dde;text-align:left}\
td.n{text-align:right;font-variant-numeric:tabular-nums}.ok{color:#0a6b3d}.no{color:#b3261e;font-weight:700}\
svg{max-width:100%;height:auto}svg text{font:12px system-ui;fill:currentColor}\
@media(prefers-color-scheme:dark){body{background:#14171e;color:#e4e7ee}td,th{border-color:#333a48}\
.ok{color:#5dd39e}.no{color:#ff8a80}}</style>";

const COLOURS: [&str; 4] = ["#1f77b4", "#e58f29", "#5aa469", "#8c6bb1"];
/// A plot, in its own units.
const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 220.0;
/// Room for the numbers of the axes.
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 24.0;

/// A curve: its name and its points.
type Curve<'a> = (&'a str, Vec<(f64, f64)>);

/// The page.
pub(crate) fn page(plan: &Plan, report: &Report) -> String {
    let mut out = String::from(HEAD);
    let _ = write!(
        out,
        "<h1>Load test</h1><p>{}. Arrivals don't wait for answers; latency counts from when a ceremony should have \
         started.</p>",
        escaped(&report::describe(plan))
    );
    if report.problems().is_empty() {
        out.push_str("<p class=\"ok\">Nothing lost, nothing doubled, nothing wrong.</p>");
    }
    for problem in report.problems() {
        let _ = write!(out, "<p class=\"no\">{}</p>", escaped(problem));
    }
    let _ = write!(out, "<pre>{}</pre>", escaped(&report.to_string()));
    stages(&mut out, report);
    overload(&mut out, report);
    seconds(&mut out, report.seconds());
    latency(&mut out, report);
    errors(&mut out, report);
    out.push_str("</html>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn stages(out: &mut String, report: &Report) {
    let all = report.stages();
    if all.is_empty() {
        return;
    }
    out.push_str("<h2>Rates that were tried</h2>");
    let curve = |p99: fn(&crate::knee::Stage) -> Option<f64>| {
        let mut points: Vec<(f64, f64)> =
            all.iter().filter_map(|stage| Some((stage.rate, p99(stage)?))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let curves = [
        ("create p99", curve(|stage| stage.create_p99)),
        ("answer to waiter p99", curve(|stage| stage.answer_to_waiter_p99)),
    ];
    plot(out, "milliseconds by ceremonies/s that arrive", &curves);
    out.push_str(
        "<table><tr><th>rate/s</th><th>come through/s</th><th>CPU ms each</th><th></th></tr>",
    );
    for stage in all {
        let cpu = stage.server_cpu_s_per_ceremony.map(|cpu| format!("{:.3}", cpu * 1e3));
        let (class, text) = match &stage.because {
            None => ("ok", "holds".to_owned()),
            Some(why) => ("no", escaped(why)),
        };
        let _ = write!(
            out,
            "<tr><td class=\"n\">{:.0}</td><td class=\"n\">{:.0}</td><td class=\"n\">{}</td><td class=\"{class}\">\
             {text}</td></tr>",
            stage.rate,
            stage.ceremonies_per_s,
            cpu.unwrap_or_default()
        );
    }
    out.push_str("</table>");
}

fn overload(out: &mut String, report: &Report) {
    let Some(overload) = report.overload() else { return };
    out.push_str("<h2>More than the peak</h2>");
    let mut levels: Vec<_> = overload.levels.iter().filter(|level| level.times.is_some()).collect();
    levels.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let peak = (overload.peak_per_s, overload.peak_per_s);
    let curve = |value: fn(&crate::overload::Level) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = levels.iter().filter_map(|level| Some((level.rate, value(level)?)));
        [peak].into_iter().chain(points).collect()
    };
    let curves = [
        ("come through", curve(|level| Some(level.ceremonies_per_s))),
        ("could come through", curve(|level| level.ideal_per_s)),
    ];
    plot(out, "ceremonies/s by ceremonies/s that arrive", &curves);
    out.push_str(
        "<table><tr><th>arrive/s</th><th>come through/s</th><th>refused/s</th><th>of what could</th></tr>",
    );
    for level in &overload.levels {
        let goodput = level.goodput.map(|goodput| format!("{:.1} %", goodput * 100.0));
        let _ = write!(
            out,
            "<tr><td class=\"n\">{:.0}</td><td class=\"n\">{:.0}</td><td class=\"n\">{:.0}</td>\
             <td class=\"n\">{}</td></tr>",
            level.rate,
            level.ceremonies_per_s,
            level.refused_per_s,
            goodput.unwrap_or_else(|| "the peak".to_owned())
        );
    }
    out.push_str("</table>");
}

fn seconds(out: &mut String, all: &[Second]) {
    let curve = |value: &dyn Fn(&Second) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |second: &Second| Some((second.at_s as f64, value(second)?));
        all.iter().filter_map(point).collect()
    };
    out.push_str("<h2>Over time</h2>");
    let count = |pick: fn(&Second) -> u64| curve(&|second| Some(pick(second) as f64));
    let curves = [
        ("started", count(|second| second.started)),
        ("right", count(|second| second.right)),
        ("ended otherwise", count(|second| second.ended - second.right)),
    ];
    plot(out, "ceremonies a second", &curves);
    let at =
        |found: Option<Percentiles>, part: fn(Percentiles) -> Option<f64>| found.and_then(part);
    let curves = [
        ("create p50", curve(&|second| at(second.create, |found| Some(found.p50)))),
        ("create p99", curve(&|second| at(second.create, |found| found.p99))),
        (
            "answer to waiter p50",
            curve(&|second| at(second.answer_to_waiter, |found| Some(found.p50))),
        ),
        ("answer to waiter p99", curve(&|second| at(second.answer_to_waiter, |found| found.p99))),
    ];
    plot(out, "milliseconds", &curves);
    let spent = |who: fn(&Second) -> Option<Spent>, what: fn(Spent) -> f64| {
        curve(&|second| who(second).map(what))
    };
    let curves = [
        ("server", spent(|second| second.server, |spent| spent.cores)),
        ("client", spent(|second| second.client, |spent| spent.cores)),
    ];
    plot(out, "cores in use", &curves);
    let mib = |spent: Spent| spent.rss_bytes as f64 / f64::from(1 << 20);
    let curves = [
        ("server", spent(|second| second.server, mib)),
        ("client", spent(|second| second.client, mib)),
    ];
    plot(out, "MiB of memory", &curves);
}

fn latency(out: &mut String, report: &Report) {
    out.push_str(
        "<h2>Latency by step, milliseconds</h2><table><tr><th></th><th>p50</th><th>p99</th><th>p99.9</th>\
         <th>of</th></tr>",
    );
    for step in Step::ALL {
        let Some(found) = report.percentiles(step) else { continue };
        let Percentiles { p50, p99, p999, max: _, count } = found;
        let (p99, p999) = (or_dash(p99, 2), or_dash(p999, 2));
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{p50:.2}</td><td class=\"n\">{p99}</td><td class=\"n\">{p999}</td>\
             <td class=\"n\">{count}</td></tr>",
            step.name()
        );
    }
    out.push_str("</table>");
}

fn errors(out: &mut String, report: &Report) {
    if report.errors().is_empty() {
        return;
    }
    out.push_str("<h2>Errors by kind</h2><table>");
    for (kind, count) in report.errors() {
        let _ = write!(out, "<tr><td>{}</td><td class=\"n\">{count}</td></tr>", escaped(kind));
    }
    out.push_str("</table>");
}

/// A round number at or above `most`, for the end of an axis.
fn ceiling(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let unit = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * unit)
        .into_iter()
        .find(|end| *end >= most)
        .unwrap_or(most)
}

fn plot(out: &mut String, what: &str, curves: &[Curve<'_>]) {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let Some(first) = points().map(|(x, _)| *x).min_by(f64::total_cmp) else { return };
    let last = points().map(|(x, _)| *x).fold(first, f64::max);
    let most = ceiling(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let x = |value: f64| LEFT + (value - first) / (last - first).max(1e-9) * (WIDTH - LEFT - 10.0);
    let y = |value: f64| HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - TOP);
    let _ = write!(
        out,
        "<h3>{what}</h3><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{what}\">"
    );
    for part in 0..=4 {
        let value = most * f64::from(part) / 4.0;
        let at = y(value);
        let _ = write!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#8883\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (value, anchor) in [(first, "start"), (last, "end")] {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{value:.0}</text>",
            x(value),
            HEIGHT - 6.0
        );
    }
    for (nth, ((name, points), colour)) in (0_u32..).zip(curves.iter().zip(COLOURS)) {
        let line: Vec<String> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let left = LEFT + f64::from(nth) * 190.0;
        let _ = write!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>\
             <rect x=\"{left}\" y=\"4\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"14\">{name}</text>",
            line.join(" "),
            left + 15.0
        );
    }
    out.push_str("</svg>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_line_for_each_curve_within_its_frame() {
        let mut out = String::new();
        let curves = [("a", vec![(0.0, 0.0), (10.0, 70.0)]), ("b", vec![(5.0, 30.0)])];
        plot(&mut out, "milliseconds", &curves);
        assert_eq!(out.matches("<polyline").count(), 2);
        assert!(out.contains(">100</text>"), "the axis ends at a round number: {out}");
        assert!(out.contains("points=\"60.0,196.0 870.0,75.6\""), "{out}");
        let mut none = String::new();
        plot(&mut none, "nothing", &[("a", Vec::new())]);
        assert!(none.is_empty());
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (most, end) in
            [(0.0, 1.0), (0.7, 1.0), (3.0, 5.0), (10.0, 10.0), (11.0, 20.0), (760.0, 1000.0)]
        {
            assert!((ceiling(most) - end).abs() < 1e-9, "{most}");
        }
    }
}
