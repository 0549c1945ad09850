//! The report as one HTML file: plots drawn as SVG, nothing fetched from anywhere.

use std::fmt::Write as _;

use super::report::{Report, View, cell_text};
use super::stats::Stats;
use super::targets::{Row, figure};

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<title>The guard under attack</title><style>\
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#1d2330}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .7em;border-bottom:1px solid #dde;text-align:left;\
vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}\
.ok{color:#0a6b3d}.no{color:#b3261e;font-weight:700}svg{max-width:100%;height:auto}svg text{font:12px system-ui}\
@media(prefers-color-scheme:dark){body{background:#14171e;color:#e4e7ee}td,th{border-color:#333a48}\
svg text{fill:#e4e7ee}.ok{color:#5dd39e}.no{color:#ff8a80}}</style>";

const OURS: &str = "#1f77b4";
const THEIRS: [&str; 4] = ["#bbb", "#e58f29", "#8c6bb1", "#5aa469"];

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::from(HEAD);
    let views = std::iter::once(&report.view).chain(&report.also);
    let networks: Vec<&str> = views.map(|view| view.networks.words()).collect();
    let _ = write!(
        out,
        "<h1>The guard under attack</h1><p>World {}, seeds {:?}, {} users, {}. Everything here is \
         simulated: people, clients and attackers are drawn from the numbers in the world's file, and the guard \
         that decides is the one that ships. Plots show the first.</p><p><b>{}</b></p>",
        escaped(&report.world),
        report.seeds,
        report.users,
        networks.join("; "),
        if report.missed == 0 {
            "Every target holds.".to_owned()
        } else {
            format!("{} targets are missed.", report.missed)
        }
    );
    rings_by_control(&mut out, report);
    spread(&mut out, report);
    held(&mut out, report);
    comparison(&mut out, report);
    every_row(&mut out, report);
    out.push_str("</html>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A length on a logarithmic axis that begins at 0.
fn log_length(value: f64, most: f64, width: f64) -> f64 {
    (1.0 + value).ln() / (1.0 + most).ln() * width
}

fn rings_by_control(out: &mut String, report: &Report) {
    if report.compared.is_empty() {
        return;
    }
    let compared = &report.compared;
    let ids: Vec<&Stats> = report
        .view
        .attacks
        .iter()
        .filter(|of| compared[0].attacks.iter().any(|it| it.id == of.id && it.attempts > 0.0))
        .filter(|of| of.id != "a10")
        .collect();
    let (bar, gap) = (9.0, 14.0);
    let lines = f64::from(u32::try_from(compared.len() + 1).unwrap_or(1));
    let each = bar * lines + gap;
    let height = each * f64::from(u32::try_from(ids.len()).unwrap_or(1)) + 40.0;
    out.push_str("<h2>How often a phone rings (median per attack; logarithmic)</h2>");
    let _ = write!(out, "<svg viewBox=\"0 0 900 {height:.0}\" role=\"img\">");
    let names = std::iter::once(("this guard", OURS))
        .chain(compared.iter().zip(THEIRS).map(|(it, colour)| (it.control, colour)));
    for (nth, (name, colour)) in (0_u32..).zip(names) {
        let x = 60.0 + f64::from(nth) * 165.0;
        let _ = write!(
            out,
            "<rect x=\"{x}\" y=\"4\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"14\">{}</text>",
            x + 15.0,
            escaped(name)
        );
    }
    for (nth, of) in (0_u32..).zip(&ids) {
        let y = 32.0 + f64::from(nth) * each;
        let _ = write!(
            out,
            "<text x=\"4\" y=\"{:.0}\">{}</text>",
            y + each / 2.0 - 4.0,
            of.id.to_uppercase()
        );
        let others = compared.iter().filter_map(|it| it.attacks.iter().find(|a| a.id == of.id));
        let colours = std::iter::once(OURS).chain(THEIRS);
        for (row, (stats, colour)) in (0_u32..).zip(std::iter::once(*of).chain(others).zip(colours))
        {
            let rings = f64::from(stats.rings_median);
            let y = y + f64::from(row) * bar;
            let width = log_length(rings, 300.0, 760.0).max(1.0);
            let _ = write!(
                out,
                "<rect x=\"60\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{:.0}\" \
                 fill=\"{colour}\"/><text x=\"{:.0}\" y=\"{:.0}\" font-size=\"9\">{rings}</text>",
                bar - 1.0,
                width + 64.0,
                y + bar - 1.0
            );
        }
    }
    out.push_str("</svg>");
}

/// Each campaign a dot: how many rings it had.
fn spread(out: &mut String, report: &Report) {
    let attacks: Vec<&Stats> =
        report.view.attacks.iter().filter(|of| !of.id.starts_with("a10")).collect();
    if attacks.is_empty() {
        return;
    }
    let most = attacks.iter().map(|of| of.rings_max).max().unwrap_or(1).max(1);
    let height = 22 * attacks.len() + 30;
    out.push_str("<h2>Rings of each campaign (a dot is one; logarithmic)</h2>");
    let _ = write!(out, "<svg viewBox=\"0 0 900 {height}\" role=\"img\">");
    for tick in [0, 1, 2, 3, 5, 10, 20, 40, 100].into_iter().filter(|tick| *tick <= most) {
        let x = 60.0 + log_length(f64::from(tick), f64::from(most), 800.0);
        let _ = write!(
            out,
            "<line x1=\"{x:.0}\" x2=\"{x:.0}\" y1=\"18\" y2=\"{height}\" stroke=\"#8884\"/>\
             <text x=\"{x:.0}\" y=\"12\" text-anchor=\"middle\">{tick}</text>"
        );
    }
    for (nth, of) in attacks.iter().enumerate() {
        let y = 34 + 22 * nth;
        let _ = write!(out, "<text x=\"4\" y=\"{}\">{}</text>", y + 4, of.id.to_uppercase());
        let mut from = 0;
        while from < of.rings.len() {
            let rings = of.rings[from];
            let count = of.rings[from..].iter().take_while(|other| **other == rings).count();
            let share = super::stats::percent(count, of.rings.len());
            let x = 60.0 + log_length(f64::from(rings), f64::from(most), 800.0);
            let radius = 2.0 + (share / 100.0).sqrt() * 8.0;
            let _ = write!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y}\" r=\"{radius:.1}\" fill=\"{OURS}\" opacity=\".75\">\
                 <title>{count} of {} rang {rings} times</title></circle>",
                of.rings.len()
            );
            from += count;
        }
    }
    out.push_str("</svg>");
}

/// How many users had how many of their own prompts held.
fn held(out: &mut String, report: &Report) {
    let most = report.view.held.iter().map(|(_, users)| *users).max().unwrap_or(0);
    if most == 0 {
        return;
    }
    out.push_str("<h2>Users by how many of their own prompts were held silent (at least)</h2>");
    out.push_str("<svg viewBox=\"0 0 900 190\" role=\"img\">");
    for (least, users) in &report.view.held {
        let x = 20 + 105 * (usize::from(*least) - 1);
        let share = super::stats::percent(*users, most);
        let height = share * 1.4;
        let _ = write!(
            out,
            "<rect x=\"{x}\" y=\"{:.0}\" width=\"80\" height=\"{height:.0}\" fill=\"{OURS}\"/>\
             <text x=\"{}\" y=\"{:.0}\" text-anchor=\"middle\">{users}</text>\
             <text x=\"{}\" y=\"185\" text-anchor=\"middle\">{least}</text>",
            168.0 - height,
            x + 40,
            162.0 - height,
            x + 40
        );
    }
    out.push_str("</svg>");
}

fn comparison(out: &mut String, report: &Report) {
    let Some(first) = report.compared.first() else { return };
    out.push_str(
        "<h2>Beside what others ship</h2><p>Median rings; in brackets the person's own sign-ins that \
         had no way, in per cent. Controls by their published counters alone.</p><table><tr><th></th>",
    );
    for attack in &first.attacks {
        let _ =
            write!(out, "<th title=\"{}\">{}</th>", escaped(attack.what), attack.id.to_uppercase());
    }
    out.push_str("</tr><tr><th>this guard</th>");
    for attack in &first.attacks {
        let ours = report.view.attacks.iter().find(|of| of.id == attack.id);
        let text = ours.map_or_else(|| "-".to_owned(), cell_text);
        let _ = write!(out, "<td class=\"n\"><b>{text}</b></td>");
    }
    for control in &report.compared {
        let _ = write!(out, "</tr><tr><th>{}</th>", escaped(control.control));
        for attack in &control.attacks {
            let _ = write!(out, "<td class=\"n\">{}</td>", cell_text(attack));
        }
    }
    out.push_str(
        "</tr></table><p>Public rules, which stop nothing: attempts until the first alert, and the per \
         cent of campaigns that they saw.</p><table><tr><th></th><th>false alerts per 10,000 user-days</th>",
    );
    for attack in &first.attacks {
        let _ = write!(out, "<th>{}</th>", attack.id.to_uppercase());
    }
    for (at, rule) in report.rules.iter().enumerate() {
        let _ = write!(
            out,
            "</tr><tr><th>{}</th><td class=\"n\">{}</td>",
            escaped(rule.rule),
            figure(rule.per_10k_user_days)
        );
        for attack in &first.attacks {
            let (median, seen) = attack.rules[at];
            let text = median.map_or_else(|| "-".to_owned(), |n| format!("{n} ({seen:.0})"));
            let _ = write!(out, "<td class=\"n\">{text}</td>");
        }
    }
    out.push_str("</tr></table>");
}

fn every_row(out: &mut String, report: &Report) {
    out.push_str("<h2>Every figure</h2><table><tr><th></th><th>what</th><th>target</th>");
    let views: Vec<&View> = std::iter::once(&report.view).chain(&report.also).collect();
    for view in &views {
        let _ = write!(out, "<th>{}</th><th></th>", view.networks.words());
    }
    let mut shown: Vec<&Row> = Vec::new();
    for row in views.iter().flat_map(|view| &view.rows) {
        if shown.iter().any(|before| before.is_like(row)) {
            continue;
        }
        shown.push(row);
        let _ = write!(
            out,
            "</tr><tr><td>{}</td><td>{}</td><td>{}</td>",
            row.metric,
            escaped(&row.about),
            escaped(&row.target)
        );
        for view in &views {
            let found = view.like(row);
            let (class, mark) = match found.and_then(|found| found.ok) {
                Some(true) => ("ok", "holds"),
                Some(false) => ("no", "missed"),
                None => ("", ""),
            };
            let got = found.map(|found| escaped(&found.got)).unwrap_or_default();
            let _ = write!(out, "<td>{got}</td><td class=\"{class}\">{mark}</td>");
        }
    }
    out.push_str("</tr></table><h2>The attacks</h2><table>");
    for attack in &report.view.attacks {
        let _ = write!(
            out,
            "<tr><th>{}</th><td>{}</td><td class=\"n\">{} campaigns</td></tr>",
            attack.id.to_uppercase(),
            escaped(attack.what),
            attack.campaigns
        );
    }
    out.push_str("</table>");
}

#[cfg(test)]
mod tests {
    use super::super::config::Networks;
    use super::*;

    #[test]
    fn the_page_is_whole_and_asks_for_nothing() {
        let row = |about: &str, got: &str, ok| Row {
            metric: "M1",
            about: about.to_owned(),
            got: got.to_owned(),
            target: "max 2".to_owned(),
            ok: Some(ok),
        };
        let view =
            |networks, rows| View { networks, rows, attacks: Vec::new(), held: vec![(1, 2)] };
        let prefix =
            vec![row("rings, a1 (% of 7)", "max 9", false), row("rings, a2", "max 7", true)];
        let report = Report {
            world: "<w>".to_owned(),
            seeds: vec![1],
            users: 10,
            seconds: 1.0,
            missed: 0,
            view: view(Networks::Asn, vec![row("rings, a1 (% of 8)", "max <1>", true)]),
            also: vec![view(Networks::Prefix, prefix)],
            compared: Vec::new(),
            rules: Vec::new(),
        };
        let page = page(&report);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert!(page.contains("&lt;w&gt;") && page.contains("Every target holds."));
        let beside = "<td>max &lt;1&gt;</td><td class=\"ok\">holds</td><td>max 9</td><td class=\"no\">missed</td>";
        assert!(page.contains(beside), "{page}");
        let alone = "<td></td><td class=\"\"></td><td>max 7</td><td class=\"ok\">holds</td>";
        assert!(page.contains(alone), "{page}");
        let text = report.text();
        assert!(text.contains("networks by /24 and /48") && text.contains("max 9"), "{text}");
        assert!(
            text.contains("Only with networks by /24 and /48:") && text.contains("max 7"),
            "{text}"
        );
        for asks in ["http:", "https:", "src=", "<script", "@import", "url("] {
            assert!(!page.contains(asks), "{asks}");
        }
    }
}
