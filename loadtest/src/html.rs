//! The report of a run as one HTML file: plots drawn as SVG, nothing fetched from anywhere.

mod plot;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::latency::{FOR_P99, FOR_P999, Percentiles, or_dash};
use crate::plan::Plan;
use crate::record::Step;
use crate::report::{self, Report};
use crate::series::{Second, Spent};
use plot::{Curve, Shows};

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Load test</title><style>\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:62em;padding:0 1em;color:#1d2330;background:#fff}\
h2{margin:1.6em 0 .4em}pre{overflow-x:auto;font-size:13px;padding:.8em 1em;border-radius:6px;background:#8881}\
.wide{overflow-x:auto}table{border-collapse:collapse;margin:1em 0}\
td,th{padding:.2em .5em;border-bottom:1px solid #dde;text-align:left;font-size:14px}\
.n{text-align:right;font-variant-numeric:tabular-nums}.ok{color:#0a6b3d}.no{color:#b3261e;font-weight:700}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26em),1fr));gap:1.2em 1.6em}\
figure{margin:0}figcaption{font-weight:600}.legend{margin:0;font-size:13px}.legend span{margin-right:1em}\
.legend i{display:inline-block;width:.7em;height:.7em;margin-right:.35em}\
svg{width:100%;max-width:34em;height:auto}svg text{font:12px system-ui,sans-serif;fill:currentColor}\
@media(max-width:30em){td,th{padding:.2em .3em;font-size:12px}}\
@media(prefers-color-scheme:dark){body{background:#14171e;color:#e4e7ee}td,th{border-color:#333a48}\
.ok{color:#5dd39e}.no{color:#ff8a80}}</style>";

/// More kinds of errors than this aren't drawn over time.
const MOST_KINDS: usize = 6;

/// The page.
pub(crate) fn page(plan: &Plan, report: &Report) -> String {
    let mut out = String::from(HEAD);
    let _ = write!(
        out,
        "<h1>Load test</h1><p>{}. {}.</p>",
        escaped(&report::describe(plan)),
        if plan.in_flight.is_some() {
            "Whoever has been answered asks again, so a server that stalls is asked for less, and its waits look shorter"
        } else {
            "Arrivals don't wait for answers; latency counts from when a ceremony should have started"
        }
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
    latency(&mut out, report);
    limit(&mut out, report);
    storm(&mut out, report);
    seconds(&mut out, report.seconds());
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
    let shows = Shows { what: "Waits", x: "ceremonies/s that arrive", y: "milliseconds" };
    plot::curves(out, &shows, &curves);
    out.push_str(
        "<div class=\"wide\"><table><tr><th>rate/s</th><th>come through/s</th><th>CPU ms each</th><th></th></tr>",
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
    out.push_str("</table></div>");
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
        ("come through", curve(|level| Some(level.through()))),
        ("could come through", curve(|level| level.ideal_per_s)),
    ];
    let shows = Shows { what: "Goodput", x: "ceremonies/s that arrive", y: "ceremonies/s" };
    plot::curves(out, &shows, &curves);
    out.push_str(
        "<div class=\"wide\"><table><tr><th>arrive/s</th><th>asked/s</th><th>come through/s</th><th>refused/s</th><th>of what could</th></tr>",
    );
    for level in &overload.levels {
        let goodput = level.goodput.map(|goodput| format!("{:.1} %", goodput * 100.0));
        let _ = write!(
            out,
            "<tr><td class=\"n\">{:.0}</td><td class=\"n\">{:.0}</td><td class=\"n\">{:.0}</td>\
             <td class=\"n\">{:.0}</td><td class=\"n\">{}</td></tr>",
            level.rate,
            level.asked_per_s,
            level.through(),
            level.refused_per_s,
            goodput.unwrap_or_else(|| "the peak".to_owned())
        );
    }
    out.push_str("</table></div>");
}

fn seconds(out: &mut String, all: &[Second]) {
    // what isn't a second would be drawn as one in which hardly anything happened
    let all: Vec<&Second> = all.iter().filter(|second| second.is_whole()).collect();
    if all.is_empty() {
        return;
    }
    out.push_str("<h2>Over time</h2><div class=\"plots\">");
    let curve = |value: &dyn Fn(&Second) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |second: &&Second| Some((second.at_s as f64, value(second)?));
        all.iter().filter_map(point).collect()
    };
    let mut over_time = |what, y, curves: &[Curve<'_>]| {
        plot::curves(out, &Shows { what, x: "seconds", y }, curves);
    };
    let count = |pick: fn(&Second) -> u64| curve(&|second| Some(second.per_s(pick(second))));
    let curves = [
        ("started", count(|second| second.started)),
        ("right", count(|second| second.right)),
        ("ended otherwise", count(|second| second.ended - second.right)),
    ];
    over_time("Ceremonies", "a second", &curves);
    let waits = |of: fn(&Second) -> Option<Percentiles>| {
        let part =
            |part: fn(Percentiles) -> Option<f64>| curve(&|second| of(second).and_then(part));
        [
            ("p50", part(|found| Some(found.p50))),
            ("p99", part(|found| found.p99)),
            ("longest", part(|found| Some(found.max))),
        ]
    };
    over_time("create", "milliseconds", &waits(|second| second.create));
    over_time("answer_to_waiter", "milliseconds", &waits(|second| second.answer_to_waiter));
    let spent = |who: fn(&Second) -> Option<Spent>, what: fn(Spent) -> f64| {
        curve(&|second| who(second).map(what))
    };
    let curves = [
        ("server", spent(|second| second.server, |spent| spent.cores)),
        ("client", spent(|second| second.client, |spent| spent.cores)),
    ];
    over_time("CPU", "cores in use", &curves);
    let mib = |spent: Spent| spent.rss_bytes as f64 / f64::from(1 << 20);
    let curves = [
        ("server", spent(|second| second.server, mib)),
        ("client", spent(|second| second.client, mib)),
    ];
    over_time("Memory", "MiB resident", &curves);
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in all.iter().flat_map(|second| &second.errors) {
        *kinds.entry(kind).or_default() += count;
    }
    let mut kinds: Vec<(&str, u64)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| Reverse(*count));
    let of = |kind: &str| {
        let count = |second: &Second| second.errors.get(kind).copied().unwrap_or_default();
        curve(&|second| Some(second.per_s(count(second))))
    };
    let curves: Vec<Curve<'_>> =
        kinds.iter().take(MOST_KINDS).map(|(kind, _)| (*kind, of(kind))).collect();
    over_time("Errors by kind", "a second", &curves);
    out.push_str("</div>");
}

fn latency(out: &mut String, report: &Report) {
    let all = Step::ALL.into_iter().filter_map(|step| Some((step, report.percentiles(step)?)));
    let all: Vec<(Step, Percentiles)> = all.collect();
    if all.is_empty() {
        return;
    }
    out.push_str("<h2>Latency by step</h2><div class=\"plots\">");
    let row = |(step, found): &(Step, Percentiles)| {
        let Percentiles { p50, p99, p999, max, .. } = *found;
        (step.name(), vec![Some(p50), p99, p999, Some(max)])
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let kinds = ["p50", "p99", "p99.9", "longest"];
    plot::dots(out, "Milliseconds, logarithmic", &kinds, &rows);
    out.push_str(
        "<div class=\"wide\"><table><tr><th>ms</th><th>p50</th><th>p99</th><th>p99.9</th><th>longest</th>\
         <th>of</th></tr>",
    );
    for (step, found) in all {
        let Percentiles { p50, p99, p999, max, count } = found;
        let (p99, p999) = (or_dash(p99, 2), or_dash(p999, 2));
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{p50:.2}</td><td class=\"n\">{p99}</td><td class=\"n\">{p999}</td>\
             <td class=\"n\">{max:.2}</td><td class=\"n\">{count}</td></tr>",
            step.name()
        );
    }
    let _ = write!(
        out,
        "</table></div></div><p>p99 takes {FOR_P99} of them and p99.9 takes {FOR_P999}: of fewer it would be the \
         longest.</p>"
    );
}

/// What a ceremony takes, beside what it takes at least.
fn limit(out: &mut String, report: &Report) {
    let Some((limit, own)) = report.against_limit() else { return };
    out.push_str("<h2>Against the limit of this machine</h2>");
    let what = "Server CPU of a ceremony, microseconds";
    plot::bars(out, what, &[("cer_raw, at least", limit), ("this run", own)]);
    let _ = write!(out, "<p>Ratio: {:.3}.</p>", limit / own);
}

fn storm(out: &mut String, report: &Report) {
    let Some(back) = report.storm() else { return };
    out.push_str("<h2>Storm</h2>");
    let points = back.after_s.iter().enumerate();
    let part = back.back as f64 / back.devices as f64;
    let curve = points.map(|(nth, after_s)| (*after_s, nth as f64 * part)).collect();
    let shows = Shows { what: "Devices that are back", x: "seconds after the cut", y: "percent" };
    plot::curves(out, &shows, &[("back", curve)]);
}

fn errors(out: &mut String, report: &Report) {
    if report.errors().is_empty() {
        return;
    }
    out.push_str("<h2>Errors by kind</h2>");
    let mut all: Vec<(&str, f64)> =
        report.errors().iter().map(|(kind, count)| (&**kind, *count as f64)).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    plot::bars(out, "Errors, counted over the whole run", &all);
}

#[cfg(test)]
mod tests;
