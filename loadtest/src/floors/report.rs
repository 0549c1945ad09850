//! What the floors of a run are, as JSON and in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::ser::SerializeMap as _;
use statement::Algorithm;

use super::ceremonies::Round;
use super::cores::Cores;
use super::echo::{Bound, Figures, Sample};
use super::limit::{DEVICES_SIGN, Limit, Open, Parts};
use super::serve::Kind;
use super::{crypto, durable, durable_ceremony, idle};
use crate::failure::Exit;
use crate::plan::name_of;

/// Of the machine's time: if others use more, figures are of a busy machine.
const QUIET: f64 = 0.05;

/// How it was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Setting {
    #[serde(flatten)]
    pub(crate) cores: Cores,
    /// Seconds of each window.
    pub(crate) window_s: f64,
    pub(crate) rounds: u32,
    pub(crate) quick: bool,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, window_s, rounds, quick } = self;
        let quick = if *quick { " (quick: not to rely on)" } else { "" };
        write!(f, "{rounds} rounds of {window_s} s each{quick}; ")?;
        match (cores.server, cores.generator) {
            (Some(server), Some(generator)) => {
                write!(f, "server on core {server}, generator on core {generator}")
            }
            _ => f.write_str("one core for server and generator: nothing is pinned"),
        }
    }
}

/// All that was measured.
pub(crate) struct Floors {
    setting: Setting,
    echoes: Vec<(Kind, Vec<Sample>)>,
    pub(crate) crypto: Vec<crypto::Round>,
    ceremonies: Vec<(Algorithm, Vec<Round>)>,
    pub(crate) durable: Vec<durable::Round>,
    pub(crate) durable_ceremonies: Vec<Round>,
    idle: Vec<(Kind, Vec<idle::Round>)>,
    others: Option<f64>,
    problems: Vec<String>,
}

fn add<K: PartialEq, V>(list: &mut Vec<(K, Vec<V>)>, key: K, value: V) {
    match list.iter_mut().find(|(known, _)| *known == key) {
        Some((_, values)) => values.push(value),
        None => list.push((key, vec![value])),
    }
}

impl Floors {
    pub(crate) const fn new(setting: Setting) -> Self {
        Self {
            setting,
            echoes: Vec::new(),
            crypto: Vec::new(),
            ceremonies: Vec::new(),
            durable: Vec::new(),
            durable_ceremonies: Vec::new(),
            idle: Vec::new(),
            others: None,
            problems: Vec::new(),
        }
    }

    pub(crate) fn echo(&mut self, kind: Kind, sample: Sample) {
        add(&mut self.echoes, kind, sample);
    }

    pub(crate) fn ceremony(&mut self, algorithm: Algorithm, round: Round) {
        add(&mut self.ceremonies, algorithm, round);
    }

    pub(crate) fn idle(&mut self, kind: Kind, round: idle::Round) {
        add(&mut self.idle, kind, round);
    }

    /// No more rounds come; others used this share of the machine meanwhile.
    pub(crate) fn finish(&mut self, others: Option<f64>) {
        self.others = others;
        let mut problems = Vec::new();
        for (name, limit) in self.limits() {
            let because = limit.invalid_because.iter();
            problems.extend(because.map(|why| format!("cer_raw {name} is no limit: {why}")));
            let late = limit.open.iter().filter_map(Open::late);
            problems.extend(late.map(|why| format!("cer_raw {name}: {why}")));
        }
        if let Some(figures) = self.durable_ceremony() {
            let because = figures.invalid_because.iter();
            problems.extend(because.map(|why| format!("cer_durable: {why}")));
        }
        if let Some(others) = others.filter(|others| *others > QUIET) {
            problems.push(format!(
                "other programs used {:.0} % of the machine: measure again when it is idle",
                others * 100.0
            ));
        }
        self.problems = problems;
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.problems.is_empty() { Exit::Ok } else { Exit::Wrong }
    }

    fn samples(&self, kind: Kind) -> &[Sample] {
        let found = self.echoes.iter().find(|(known, _)| *known == kind);
        found.map_or(&[], |(_, samples)| samples)
    }

    /// What each round's ceremony is held against.
    fn parts(&self) -> Vec<Parts> {
        let calls = self.samples(Kind::HttpRaw).iter().map(Sample::cpu_us);
        let messages = self.samples(Kind::WsRawTwice).iter().map(Sample::cpu_us);
        let both = calls.zip(messages).zip(&self.crypto);
        both.map(|((http_call, ws_messages), crypto)| Parts {
            http_call,
            ws_messages,
            crypto: *crypto,
        })
        .collect()
    }

    fn limits(&self) -> Vec<(&'static str, Limit)> {
        let parts = self.parts();
        let limit = |(algorithm, rounds): &(Algorithm, Vec<Round>)| {
            Some((name_of(*algorithm), Limit::of(*algorithm, &parts, rounds)?))
        };
        self.ceremonies.iter().filter_map(limit).collect()
    }

    fn durable_ceremony(&self) -> Option<durable_ceremony::Figures> {
        let raw = self.ceremonies.iter().find(|(known, _)| *known == DEVICES_SIGN);
        durable_ceremony::Figures::of(&self.durable_ceremonies, &raw?.1, &self.durable)
    }

    /// The limit that `loadtest run` is held against, if it can be used.
    fn limit(&self) -> Option<f64> {
        let limits = self.limits();
        let (_, limit) = limits.iter().find(|(known, _)| *known == name_of(DEVICES_SIGN))?;
        limit.valid.then_some(limit.ceremonies_per_s)
    }

    fn echo_figures(&self) -> Vec<(String, Figures)> {
        let figures =
            |(kind, samples): &(Kind, Vec<Sample>)| Some((snake(*kind), Figures::of(samples)?));
        self.echoes.iter().filter_map(figures).collect()
    }

    fn idle_figures(&self) -> Vec<(String, idle::Figures)> {
        let figures = |(kind, rounds): &(Kind, Vec<idle::Round>)| {
            Some((snake(*kind), idle::Figures::of(rounds)?))
        };
        self.idle.iter().filter_map(figures).collect()
    }

    /// What one WebSocket message costs to send and to receive: the difference of sending it once and twice.
    fn ws_halves(&self) -> Option<(f64, f64)> {
        let once = Figures::of(self.samples(Kind::WsRaw))?.cpu_us.median;
        let send = Figures::of(self.samples(Kind::WsRawTwice))?.cpu_us.median - once;
        Some((send, once - send))
    }
}

fn snake(kind: Kind) -> String {
    kind.name().replace('-', "_")
}

impl Serialize for Floors {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ok", &self.problems.is_empty())?;
        map.serialize_entry("problems", &self.problems)?;
        map.serialize_entry("setting", &self.setting)?;
        map.serialize_entry("others_busy", &self.others)?;
        let named = |list| BTreeMap::<String, Figures>::from_iter(list);
        map.serialize_entry("echo", &named(self.echo_figures()))?;
        let halves = self
            .ws_halves()
            .map(|(send, receive)| BTreeMap::from([("send_us", send), ("receive_us", receive)]));
        map.serialize_entry("ws_message", &halves)?;
        map.serialize_entry("crypto", &crypto::Figures::of(&self.crypto))?;
        map.serialize_entry("durable", &durable::Figures::of(&self.durable))?;
        map.serialize_entry("idle", &BTreeMap::from_iter(self.idle_figures()))?;
        map.serialize_entry("cer_raw", &BTreeMap::from_iter(self.limits()))?;
        map.serialize_entry("cer_durable", &self.durable_ceremony())?;
        map.serialize_entry("device_algorithm", name_of(DEVICES_SIGN))?;
        map.serialize_entry("limit_ceremonies_per_s", &self.limit())?;
        map.end()
    }
}

impl fmt::Display for Floors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.setting)?;
        writeln!(f, "median [least-most] of the rounds; CPU is the server's")?;
        self.show_echoes(f)?;
        self.show_crypto(f)?;
        self.show_durable(f)?;
        for (name, figures) in self.idle_figures() {
            let idle::Figures { connections, user_bytes, kernel_bytes } = figures;
            let kernel = kernel_bytes.map_or("unknown".to_owned(), |bytes| format!("{bytes:.0}"));
            writeln!(
                f,
                "{:<24} {user_bytes:.0} bytes, kernel about {kernel}, of {connections}",
                format!("idle {name}")
            )?;
        }
        for (name, limit) in self.limits() {
            show_limit(f, name, &limit)?;
        }
        if let Some(figures) = self.durable_ceremony() {
            show_durable_ceremony(f, &figures)?;
        }
        if let Some(limit) = self.limit() {
            writeln!(f, "limit: {limit:.0} ceremonies/s on one core, devices with Ed25519")?;
        }
        if let Some(others) = self.others {
            writeln!(f, "other programs used {:.1} % of the machine", others * 100.0)?;
        }
        for problem in &self.problems {
            writeln!(f, "WRONG: {problem}")?;
        }
        Ok(())
    }
}

impl Floors {
    fn show_echoes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, figures) in self.echo_figures() {
            let Figures { cpu_us, per_s, server_busy, generator_busy, bound_by } = figures;
            write!(f, "{name:<24} {cpu_us:.2} us each, {per_s:.0}/s")?;
            match bound_by {
                Bound::Server => writeln!(f)?,
                Bound::Generator | Bound::Neither => writeln!(
                    f,
                    " (not saturated: server {:.0} % busy, generator {:.0} %)",
                    server_busy.median * 100.0,
                    generator_busy.median * 100.0
                )?,
            }
        }
        if let Some((send, receive)) = self.ws_halves() {
            let what = "a WebSocket message";
            writeln!(f, "{what:<24} {send:.1} us to send, {receive:.1} to receive")?;
        }
        Ok(())
    }

    fn show_crypto(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(figures) = crypto::Figures::of(&self.crypto) else { return Ok(()) };
        for (what, figure) in [
            ("P-256 verify", figures.p256_verify_us),
            ("P-256 sign", figures.p256_sign_us),
            ("Ed25519 verify", figures.ed25519_verify_us),
            ("Ed25519 sign", figures.ed25519_sign_us),
            ("hashes, JSON, protobuf", figures.bookkeeping_us),
        ] {
            writeln!(f, "{what:<24} {figure:.1} us")?;
        }
        Ok(())
    }

    fn show_durable(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(figures) = durable::Figures::of(&self.durable) else { return Ok(()) };
        let durable::Figures { record_bytes, in_flight, cpu_us, per_s, .. } = figures;
        let (p50, p99) = (figures.p50_ms, figures.p99_ms);
        let what = "durable, in groups";
        writeln!(f, "{what:<24} {cpu_us:.2} us a record of {record_bytes} bytes, {per_s:.0}/s")?;
        let many = figures.records_per_commit.median;
        let what = format!("  {in_flight} in flight");
        writeln!(f, "{what:<24} p50 {p50:.2} p99 {p99:.2} ms, {many:.0} in a commit")?;
        let durable::Single { cpu_us, p50_ms, p99_ms } = figures.one_at_a_time;
        let what = "durable, one at a time";
        writeln!(f, "{what:<24} {cpu_us:.1} us, p50 {p50_ms:.2} p99 {p99_ms:.2} ms")
    }
}

fn show_limit(f: &mut fmt::Formatter<'_>, name: &str, limit: &Limit) -> fmt::Result {
    let what = format!("cer_raw {name}");
    let Limit { cpu_us, parts_us, ratio_to_parts, ceremonies_per_s, .. } = limit;
    writeln!(f, "{what:<24} {cpu_us:.1} us a ceremony, {ceremonies_per_s:.0}/s on one core")?;
    let valid = if limit.valid { "a limit" } else { "NO LIMIT" };
    let what = "  its parts";
    writeln!(f, "{what:<24} {parts_us:.1} us; it costs {ratio_to_parts:.2} x that: {valid}")?;
    for Open { load_percent, rate, p50_ms, p99_ms, cpu_us, .. } in &limit.open {
        let what = format!("  at {load_percent} %, {:.0}/s", rate.median);
        writeln!(f, "{what:<24} p50 {p50_ms:.3} p99 {p99_ms:.2} ms, {cpu_us:.0} us each")?;
    }
    Ok(())
}

fn show_durable_ceremony(
    f: &mut fmt::Formatter<'_>,
    figures: &durable_ceremony::Figures,
) -> fmt::Result {
    let durable_ceremony::Figures { cpu_us, server_busy, cpu_ratio, .. } = figures;
    let what = "cer_durable ed25519";
    writeln!(
        f,
        "{what:<24} {cpu_us:.1} us a ceremony, {:.0} % of a core; {cpu_ratio:.2} x cer_raw",
        server_busy.median * 100.0
    )?;
    for (percentile, wait, ratio, open) in [
        ("p50", figures.light.p50_ms, figures.p50_ratio, &figures.light),
        ("p99", figures.heavy.p99_ms, figures.p99_ratio, &figures.heavy),
    ] {
        let Open { load_percent, rate, cpu_us, .. } = open;
        let what = format!("  at {load_percent} %, {:.0}/s", rate.median);
        writeln!(
            f,
            "{what:<24} {percentile} {wait:.2} ms, {ratio:.2} x cer_raw and two appends; {cpu_us:.0} us each"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::durable_ceremony::tests::APPEND;
    use super::super::limit::tests::{parts, round};
    use super::*;

    fn floors() -> Floors {
        let cores = Cores { available: 2, server: Some(0), generator: Some(1) };
        let setting = Setting { cores, window_s: 2.0, rounds: 2, quick: false };
        let mut floors = Floors::new(setting);
        let sample = |cpu_us: u64| Sample {
            done: 100_000,
            wall: Duration::from_secs(1),
            server: Duration::from_micros(cpu_us * 100_000),
            generator: Duration::from_millis(700),
        };
        for _ in 0..2 {
            floors.echo(Kind::HttpRaw, sample(6));
            floors.echo(Kind::WsRaw, sample(7));
            floors.echo(Kind::WsRawTwice, sample(11));
            floors.crypto.push(parts().crypto);
        }
        floors
    }

    #[test]
    fn what_wasnt_measured_is_null_and_what_was_has_its_spread() {
        let mut floors = floors();
        floors.finish(Some(0.01));
        let json = serde_json::to_value(&floors).expect("JSON");
        assert_eq!(json["ok"], true);
        assert!(json["limit_ceremonies_per_s"].is_null() && json["durable"].is_null());
        assert_eq!(json["echo"]["http_raw"]["cpu_us"]["median"], 6.0);
        assert_eq!(json["echo"]["http_raw"]["cpu_us"]["rounds"], 2);
        assert_eq!(json["ws_message"], serde_json::json!({"send_us": 4.0, "receive_us": 3.0}));
        assert_eq!(json["setting"]["server"], 0);
        assert_eq!(json["others_busy"], 0.01);
        assert_eq!(floors.exit(), Exit::Ok);
    }

    /// Rounds of both algorithms, without waits.
    fn with_ceremonies(ed25519_us: f64) -> Floors {
        let mut floors = floors();
        for (algorithm, cpu_us) in [(Algorithm::P256, 125.0), (Algorithm::Ed25519, ed25519_us)] {
            for _ in 0..2 {
                let mut round = round(cpu_us, 0.99, 0.6);
                round.open.clear();
                floors.ceremony(algorithm, round);
            }
        }
        floors.finish(None);
        floors
    }

    #[test]
    fn the_limit_is_that_of_the_devices_algorithm() {
        let floors = with_ceremonies(100.0);
        let limit = floors.limit().expect("it is valid");
        assert!((limit - 10_000.0).abs() < 1.0, "{limit}");
        assert_eq!(floors.exit(), Exit::Ok);
        assert!(floors.to_string().contains("limit: 10000 ceremonies/s"), "{floors}");
        let json = serde_json::to_value(&floors).expect("JSON");
        assert_eq!(json["device_algorithm"], "ed25519");
        assert!(json["cer_raw"]["p256"]["ratio_to_parts"]["median"].is_f64());
    }

    #[test]
    fn a_durable_ceremony_is_shown_by_its_floors_and_judged() {
        let mut floors = floors();
        for _ in 0..2 {
            floors.ceremony(Algorithm::Ed25519, round(100.0, 0.99, 0.6));
            floors.durable_ceremonies.push(round(150.0, 0.97, 0.6));
            floors.durable.push(APPEND);
        }
        floors.finish(None);
        let text = floors.to_string();
        assert!(text.contains("97 % of a core; 1.50 [1.50-1.50] x cer_raw"), "{text}");
        assert!(text.contains("0.50 [0.50-0.50] x cer_raw and two appends"), "{text}");
        assert!(text.contains("WRONG: cer_durable: at 70 % arrivals"), "{text}");
        let json = serde_json::to_value(&floors).expect("JSON");
        assert_eq!(json["cer_durable"]["light"]["load_percent"], 10);
        assert!(json["cer_durable"]["cpu_ratio"]["median"].is_f64());
    }

    #[test]
    fn what_is_far_above_its_parts_is_no_limit() {
        let floors = with_ceremonies(180.0);
        assert_eq!((floors.limit(), floors.exit()), (None, Exit::Wrong));
        assert!(floors.to_string().contains("WRONG: cer_raw ed25519 is no limit"), "{floors}");
    }

    #[test]
    fn a_busy_machine_and_a_slow_generator_are_said() {
        let mut floors = floors();
        floors.ceremony(Algorithm::Ed25519, round(100.0, 0.99, 0.6));
        floors.finish(Some(0.5));
        let text = floors.to_string();
        assert!(text.contains("WRONG: other programs used 50 % of the machine"), "{text}");
        assert!(text.contains("at 70 % arrivals didn't go as planned: 20 % late"), "{text}");
    }
}
