//! Plots as SVG, each small enough for a phone: a page sets them side by side where it is wide.

use std::fmt::Write as _;

use super::escaped;

/// Told apart on white and on black.
const COLOURS: [&str; 6] = ["#3b82c4", "#e58f29", "#3f9b62", "#9b6fc4", "#d6455d", "#2a9d9d"];
/// A plot, in its own units.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 200.0;
/// Room for the numbers of the axes, and at the ends.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const BOTTOM: f64 = 36.0;
const TOP: f64 = 12.0;
/// A row of bars or dots, and the room for its name.
const ROW: f64 = 24.0;
const NAMES: f64 = 138.0;
/// Room for the number at a bar's end.
const NUMBER: f64 = 64.0;
/// Numbers on an axis.
const MOST_TICKS: f64 = 5.0;
/// What is less on a logarithmic axis stands at its start.
const LEAST_LOG: f64 = 0.01;

/// A curve: its name and its points.
pub(super) type Curve<'a> = (&'a str, Vec<(f64, f64)>);

/// What a plot shows, and what its axes count.
pub(super) struct Shows<'a> {
    pub(super) what: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
}

/// The distance of round numbers, at most five of which come to `most`.
fn step(most: f64) -> f64 {
    let least = (most / MOST_TICKS).max(1e-9);
    let unit = 10_f64.powf(least.log10().floor());
    let round = [1.0, 2.0, 5.0].into_iter().find(|n| n * unit >= least * (1.0 - 1e-9));
    round.unwrap_or(10.0) * unit
}

/// A number of an axis whose numbers are so far apart.
fn label(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
}

/// A number with three digits that count.
fn short(value: f64) -> String {
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `legend` says whose colour is whose.
fn open(out: &mut String, what: &str, height: f64, legend: &[(&str, &str)]) {
    let what = escaped(what);
    let _ = write!(out, "<figure><figcaption>{what}</figcaption>");
    if !legend.is_empty() {
        out.push_str("<p class=\"legend\">");
        for (name, colour) in legend {
            let _ =
                write!(out, "<span><i style=\"background:{colour}\"></i>{}</span>", escaped(name));
        }
        out.push_str("</p>");
    }
    let _ =
        write!(out, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{what}\">");
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, what: &str) {
    let what = escaped(what);
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>");
}

fn line(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = write!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#8884\"/>"
    );
}

/// Curves over a common axis; nothing if there is no point.
pub(super) fn curves(out: &mut String, shows: &Shows<'_>, curves: &[Curve<'_>]) {
    let coloured = curves.iter().zip(COLOURS.iter().cycle());
    let several = curves.len() > 1;
    let curves: Vec<(&Curve<'_>, &str)> = coloured
        .filter(|((_, points), _)| !points.is_empty())
        .map(|(curve, colour)| (curve, *colour))
        .collect();
    let points = || curves.iter().flat_map(|((_, points), _)| points);
    let Some(first) = points().map(|(x, _)| *x).min_by(f64::total_cmp) else { return };
    let last = points().map(|(x, _)| *x).fold(first, f64::max);
    let most = points().map(|(_, y)| *y).fold(0.0, f64::max);
    let most = if most > 0.0 { most } else { 1.0 };
    let rise = step(most);
    let ticks = (most / rise - 1e-9).ceil();
    let end = rise * ticks;
    let x = |value: f64| LEFT + (value - first) / (last - first).max(1e-9) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / end * (HEIGHT - BOTTOM - TOP);
    let legend = curves.iter().map(|((name, _), colour)| (*name, *colour));
    // of several, it matters which one is there
    let legend: Vec<_> = legend.filter(|_| several).collect();
    let what = format!("{}, {}", shows.what, shows.y);
    open(out, &what, HEIGHT, &legend);
    for tick in 0..=ticks as u32 {
        let value = rise * f64::from(tick);
        line(out, (LEFT, y(value)), (WIDTH - RIGHT, y(value)));
        text(out, (LEFT - 6.0, y(value) + 4.0), "end", &label(value, rise));
    }
    let run = step(last - first);
    let mut value = (first / run).ceil() * run;
    while value <= last + 1e-9 {
        text(out, (x(value), HEIGHT - BOTTOM + 15.0), "middle", &label(value, run));
        value += run;
    }
    text(out, (f64::midpoint(LEFT, WIDTH), HEIGHT - 5.0), "middle", shows.x);
    for ((_, points), colour) in curves {
        if let [point] = points[..] {
            dot(out, (x(point.0), y(point.1)), colour);
            continue;
        }
        let line: Vec<String> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let _ = write!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
            line.join(" ")
        );
    }
    out.push_str("</svg></figure>");
}

fn dot(out: &mut String, (x, y): (f64, f64), colour: &str) {
    let _ = write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{colour}\"/>");
}

/// A bar for each, from the same zero; nothing if there is none.
pub(super) fn bars(out: &mut String, what: &str, all: &[(&str, f64)]) {
    if all.is_empty() {
        return;
    }
    let most = all.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    open(out, what, ROW * all.len() as f64 + 4.0, &[]);
    for (nth, (name, value)) in (0_u32..).zip(all) {
        let top = ROW * f64::from(nth);
        text(out, (NAMES - 8.0, top + 16.0), "end", name);
        let width = (value / most * (WIDTH - NAMES - NUMBER)).max(1.0);
        let colour = COLOURS[0];
        let _ = write!(
            out,
            "<rect x=\"{NAMES}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>",
            top + 4.0
        );
        text(out, (NAMES + width + 6.0, top + 16.0), "start", &short(*value));
    }
    out.push_str("</svg></figure>");
}

/// A row for each, with a dot for each of its values, on a logarithmic axis; nothing if there is none.
pub(super) fn dots(
    out: &mut String,
    what: &str,
    kinds: &[&str],
    rows: &[(&str, Vec<Option<f64>>)],
) {
    let values = || rows.iter().flat_map(|(_, row)| row.iter().flatten().copied());
    let Some(least) = values().min_by(f64::total_cmp) else { return };
    let most = values().fold(least, f64::max);
    let from = least.max(LEAST_LOG).log10().floor();
    let to = most.max(LEAST_LOG).log10().ceil().max(from + 1.0);
    let height = ROW * rows.len() as f64 + 24.0;
    let x = |value: f64| {
        let part = (value.max(LEAST_LOG).log10() - from).max(0.0) / (to - from);
        NAMES + 10.0 + part * (WIDTH - NAMES - 10.0 - RIGHT * 2.0)
    };
    let is_there =
        |nth: usize| rows.iter().any(|(_, row)| row.get(nth).copied().flatten().is_some());
    let legend = kinds.iter().copied().zip(COLOURS).enumerate();
    let legend: Vec<_> = legend.filter(|(nth, _)| is_there(*nth)).map(|(_, kind)| kind).collect();
    open(out, what, height, &legend);
    for power in from as i32..=to as i32 {
        let value = 10_f64.powi(power);
        line(out, (x(value), 2.0), (x(value), height - 20.0));
        text(out, (x(value), height - 5.0), "middle", &label(value, value));
    }
    for (nth, (name, row)) in (0_u32..).zip(rows) {
        let at = ROW * f64::from(nth) + ROW / 2.0;
        text(out, (NAMES - 8.0, at + 4.0), "end", name);
        let known = || row.iter().flatten().copied();
        if let Some(first) = known().min_by(f64::total_cmp) {
            line(out, (x(first), at), (x(known().fold(first, f64::max)), at));
        }
        // the lower ones above the higher ones
        for (value, colour) in row.iter().zip(COLOURS).rev() {
            if let Some(value) = value {
                dot(out, (x(*value), at), colour);
            }
        }
    }
    out.push_str("</svg></figure>");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWS: Shows<'_> = Shows { what: "waits", x: "seconds", y: "milliseconds" };

    #[test]
    fn a_plot_has_a_line_for_each_curve_within_its_frame_and_names_its_units() {
        let mut out = String::new();
        let all = [
            ("a", vec![(0.0, 0.0), (10.0, 70.0)]),
            ("b", vec![(5.0, 30.0)]),
            ("absent", Vec::new()),
        ];
        curves(&mut out, &SHOWS, &all);
        assert_eq!((out.matches("<polyline").count(), out.matches("<circle").count()), (1, 1));
        assert!(out.contains(">80</text>"), "the axis ends at a round number: {out}");
        assert!(out.contains("points=\"52.0,164.0 426.0,31.0\""), "{out}");
        assert!(
            out.contains("waits, milliseconds</figcaption>") && out.contains(">seconds</text>")
        );
        assert!(!out.contains("absent"), "a curve without points has no name either");
        let mut none = String::new();
        curves(&mut none, &SHOWS, &[("a", Vec::new())]);
        assert!(none.is_empty());
    }

    #[test]
    fn axes_have_few_round_numbers() {
        for (most, apart) in [(1.0, 0.2), (0.7, 0.2), (3.0, 1.0), (10.0, 2.0), (760.0, 200.0)] {
            assert!((step(most) - apart).abs() < 1e-9, "{most}: {}", step(most));
        }
        for most in (1..5_000).map(|n| f64::from(n) / 7.0) {
            assert!((1.0..=5.0).contains(&(most / step(most)).floor()), "{most}");
        }
        let mut out = String::new();
        curves(&mut out, &SHOWS, &[("a", vec![(0.0, 1_000.0 / 3.0), (29.4, 0.1)])]);
        for number in [">0<", ">100<", ">400<", ">10<", ">20<"] {
            assert!(out.contains(number), "{number}: {out}");
        }
        assert!(!out.contains(">333") && !out.contains(">29"), "{out}");
    }

    #[test]
    fn bars_end_in_their_numbers_and_names_are_escaped() {
        let mut out = String::new();
        bars(&mut out, "errors", &[("<b>", 200.0), ("few", 3.0)]);
        assert!(out.contains("&lt;b&gt;") && !out.contains("<b>"), "{out}");
        assert!(out.contains(">200</text>") && out.contains(">3</text>"), "{out}");
        assert!(out.contains("width=\"238.0\"") && out.contains("width=\"3.6\""), "{out}");
    }

    #[test]
    fn dots_stand_in_the_order_of_their_values() {
        let mut out = String::new();
        let rows = [("create", vec![Some(1.0), Some(10.0), None]), ("zero", vec![Some(0.0)])];
        dots(&mut out, "milliseconds", &["p50", "p99", "p99.9"], &rows);
        assert_eq!(out.matches("<circle").count(), 3, "what isn't known has no dot");
        assert!(out.contains("p99</span>") && !out.contains("p99.9"), "nor a name");
        let at: Vec<f64> = out
            .split("cx=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().expect("a number").parse().expect("a number"))
            .collect();
        assert!(at[0] > at[1] && at[1] > at[2], "{at:?}");
        for number in [">0.01<", ">0.1<", ">1<", ">10<"] {
            assert!(out.contains(number), "{number}: {out}");
        }
    }
}
