//! A policy out of a TOML file: numbers by name, defaults for the rest, tables for tenants and integrations.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use domain::attempts::Lane;
use domain::guard::{
    BudgetKnob, Change, FAMILIAR_DIGITS, KNOBS, MAX_TABLES, Policies, Profile, RulesError, Table,
    Tries,
};
use domain::number::{DEFAULT_DIGITS, MAX_DIGITS};
use toml::de::{DeTable, DeValue};

/// Largest policy file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// How many edits away a known name may be to be suggested.
const SUGGEST_WITHIN: usize = 4;
/// Names above all tables that are no numbers of [`KNOBS`].
const WORDS: [&str; 4] = ["profile", "familiar_digits", "digits", "success_bound"];
const TABLES: [&str; 3] = ["codes", "tenants", "integrations"];

/// What is wrong with a policy file, all of it, each with its line where it has one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PolicyFileError {
    file: PathBuf,
    found: Vec<(Option<usize>, String)>,
}

impl std::error::Error for PolicyFileError {}

impl fmt::Display for PolicyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (line, message)) in self.found.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", self.file.display())?;
            if let Some(line) = line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl PolicyFileError {
    /// Each with its line.
    pub(crate) fn found(&self) -> &[(Option<usize>, String)] {
        &self.found
    }
}

/// Reads a policy; the defaults without a file. The error says what to change.
pub(crate) fn load(file: Option<&Path>) -> Result<Policies, PolicyFileError> {
    let Some(file) = file else { return Ok(Policies::default()) };
    let wrong =
        |message: String| PolicyFileError { file: file.to_owned(), found: vec![(None, message)] };
    let long = fs::metadata(file).is_ok_and(|about| about.len() > MAX_BYTES);
    if long {
        return Err(wrong(format!("a policy has at most {MAX_BYTES} bytes")));
    }
    let text =
        fs::read_to_string(file).map_err(|error| wrong(format!("can't be read: {error}")))?;
    parse(&text).map_err(|found| PolicyFileError { file: file.to_owned(), found })
}

fn parse(text: &str) -> Result<Policies, Vec<(Option<usize>, String)>> {
    let mut reader = Reader { text, found: Vec::new(), lines: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or_default();
        let message = match (error.message(), text.get(span.clone())) {
            ("duplicate key", Some(name)) => format!("`{name}` is there twice"),
            (message, _) => message.to_owned(),
        };
        reader.refuse(span, message);
    }
    if !reader.found.is_empty() {
        return Err(reader.found);
    }
    let (top, tenants, integrations) = reader.top(table.get_ref());
    if !reader.found.is_empty() {
        // tables come by name
        reader.found.sort_by_key(|(line, _)| *line);
        return Err(reader.found);
    }
    Policies::new(&top, tenants, integrations).map_err(|(part, error)| {
        let name = name_of(&error);
        // where a table doesn't name it, the one above it does
        let exact = format!("{part}{name}");
        let line = |wanted: &str| {
            let named = reader.lines.iter().find(|(full, _)| full == wanted);
            named.map(|(_, line)| *line)
        };
        vec![(line(&exact).or_else(|| line(&name)), format!("{part}{error}"))]
    })
}

/// The name of the number that an error is about.
fn name_of(error: &RulesError) -> String {
    match error {
        RulesError::Number(error) => error.name.to_owned(),
        RulesError::Budget { name, .. } => name.clone(),
        RulesError::Caps(_) => "codes".to_owned(),
        RulesError::Digits(_) => "digits".to_owned(),
        RulesError::FamiliarDigits(_) | RulesError::NotFamiliar => "familiar_digits".to_owned(),
        RulesError::SuccessBound(_) | RulesError::Unmet { .. } => "success_bound".to_owned(),
    }
}

struct Reader<'a> {
    text: &'a str,
    found: Vec<(Option<usize>, String)>,
    /// Where each name stands.
    lines: Vec<(String, usize)>,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().iter().take(span.start);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    fn refuse(&mut self, span: Range<usize>, message: String) {
        let line = self.line(&span);
        self.found.push((Some(line), message));
    }

    fn top(&mut self, table: &DeTable<'_>) -> (Vec<Change>, Vec<Table>, Vec<Table>) {
        let (mut tenants, mut integrations) = (Vec::new(), Vec::new());
        let mut changes = Vec::new();
        for (name, value) in table {
            let tables = match name.get_ref().as_ref() {
                "tenants" => &mut tenants,
                "integrations" => &mut integrations,
                _ => {
                    changes.extend(self.entry("", name.get_ref(), name.span(), value.get_ref()));
                    continue;
                }
            };
            let DeValue::Table(inner) = value.get_ref() else {
                self.refuse(name.span(), format!("`{}` must be a table", name.get_ref()));
                continue;
            };
            if inner.len() > MAX_TABLES {
                let message = format!("`{}` has more than {MAX_TABLES} tables", name.get_ref());
                self.refuse(name.span(), message);
                continue;
            }
            for (of, value) in inner {
                let full = format!("{}.{}", name.get_ref(), of.get_ref());
                if of.get_ref().is_empty() {
                    self.refuse(of.span(), format!("a table of `{}` has no name", name.get_ref()));
                    continue;
                }
                let DeValue::Table(entries) = value.get_ref() else {
                    self.refuse(of.span(), format!("`{full}` must be a table"));
                    continue;
                };
                let changes = entries.iter().flat_map(|(key, value)| {
                    let prefix = format!("{full}: ");
                    self.entry(&prefix, key.get_ref(), key.span(), value.get_ref())
                });
                tables.push(Table { changes: changes.collect(), of: of.get_ref().to_string() });
            }
        }
        (changes, tenants, integrations)
    }

    /// One name with its value. `prefix` says in which table, and how errors begin.
    fn entry(
        &mut self,
        prefix: &str,
        name: &str,
        span: Range<usize>,
        value: &DeValue<'_>,
    ) -> Vec<Change> {
        let line = self.line(&span);
        self.lines.push((format!("{prefix}{name}"), line));
        let spans_integrations = name == "codes" || name == "success_bound";
        if prefix.starts_with("integrations.") && spans_integrations {
            let message = format!(
                "{prefix}`{name}` is counted over all integrations of a user: set it for the tenant or above \
                 all tables"
            );
            self.refuse(span, message);
            return Vec::new();
        }
        if name == "codes" {
            return self.codes(prefix, span, value);
        }
        let change = if let Some(knob) = KNOBS.iter().find(|knob| knob.name == name) {
            number(value).map(|value| Change::Number(knob, narrow(value)))
        } else {
            match name {
                "profile" => match value {
                    DeValue::String(text) => Profile::from_name(text).map(Change::Profile),
                    _ => None,
                },
                "digits" => whole(value).map(Change::Digits),
                "familiar_digits" => whole(value).map(Change::FamiliarDigits),
                "success_bound" => number(value).map(Change::SuccessBound),
                _ => {
                    let known = KNOBS.iter().map(|knob| knob.name).chain(WORDS).chain(TABLES);
                    let message = unknown(prefix, name, known.map(ToOwned::to_owned));
                    self.refuse(span, message);
                    return Vec::new();
                }
            }
        };
        if change.is_none() {
            let wanted = match name {
                "profile" => "\"standard\" or \"familiar\"".to_owned(),
                "digits" => format!("a whole number from {DEFAULT_DIGITS} to {MAX_DIGITS}"),
                "familiar_digits" => {
                    let (least, most) = (FAMILIAR_DIGITS.start(), FAMILIAR_DIGITS.end());
                    format!("a whole number from {least} to {most}")
                }
                _ => "a number".to_owned(),
            };
            self.refuse(span, format!("{prefix}`{name}` must be {wanted}"));
        }
        change.into_iter().collect()
    }

    /// `[codes.LANE]`: `cap`, and `day` and `month` with `burst` and `refill`.
    fn codes(&mut self, prefix: &str, span: Range<usize>, value: &DeValue<'_>) -> Vec<Change> {
        let mut flat = Vec::new();
        flatten("codes", span, value, &mut flat);
        let mut changes = Vec::new();
        for (full, span, value) in flat {
            let line = self.line(&span);
            self.lines.push((format!("{prefix}{full}"), line));
            let dotted = format!("{full}.");
            if BudgetKnob::all().any(|knob| knob.name().starts_with(&dotted)) {
                self.refuse(span, format!("{prefix}`{full}` must be a table"));
                continue;
            }
            let Some(knob) = BudgetKnob::all().find(|knob| knob.name() == full) else {
                let message = unknown(prefix, &full, BudgetKnob::all().map(|knob| knob.name()));
                self.refuse(span, message);
                continue;
            };
            let (lane, tries): (Lane, Tries) = (knob.lane, knob.tries);
            match whole(value) {
                Some(value) => changes.push(Change::Budget(lane, tries, value)),
                None => {
                    let most = knob.max;
                    let message =
                        format!("{prefix}`{full}` must be a whole number from 1 to {most}");
                    self.refuse(span, message);
                }
            }
        }
        changes
    }
}

/// A value by its dotted name.
type Flat<'a, 'i> = (String, Range<usize>, &'a DeValue<'i>);

/// The values of nested tables by their dotted names.
fn flatten<'a, 'i>(
    name: &str,
    span: Range<usize>,
    value: &'a DeValue<'i>,
    into: &mut Vec<Flat<'a, 'i>>,
) {
    let DeValue::Table(inner) = value else {
        return into.push((name.to_owned(), span, value));
    };
    for (key, value) in inner {
        flatten(&format!("{name}.{}", key.get_ref()), key.span(), value.get_ref(), into);
    }
}

fn unknown(prefix: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    let near = |known: &String| strsim::damerau_levenshtein(name, known);
    let best = known.min_by_key(near).filter(|best| near(best) <= SUGGEST_WITHIN);
    match best {
        Some(best) => format!("{prefix}`{name}` is no number of a policy; did you mean `{best}`?"),
        None => format!(
            "{prefix}`{name}` is no number of a policy; `countersign guard policy` lists them"
        ),
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) => number.to_string().replace('_', "").parse().ok(),
        DeValue::Float(number) => number.to_string().replace('_', "").parse().ok(),
        _ => None,
    }
}

fn whole<T: std::str::FromStr>(value: &DeValue<'_>) -> Option<T> {
    match value {
        DeValue::Integer(number) => number.to_string().replace('_', "").parse().ok(),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the guard's numbers are of single precision")]
const fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use domain::guard::Who;

    use super::*;

    #[track_caller]
    fn refused(text: &str, said: &[&str]) {
        let found = parse(text).unwrap_err();
        let lines: Vec<String> = found
            .iter()
            .map(|(line, message)| match line {
                Some(line) => format!("{line}: {message}"),
                None => message.clone(),
            })
            .collect();
        assert_eq!(lines, said);
    }

    #[test]
    fn a_file_says_what_differs() {
        let policies = parse(
            "grace_s = 60\nsilent_at = 0.8\nprofile = 'familiar'\nfamiliar_digits = 2\n\
             [codes.own]\ncap = 40\nday = { burst = 5 }\n[codes.unknown.month]\nrefill = 3\n\
             [tenants.acme]\ngrace_s = 90\ncodes.nowhere.cap = 9\n\
             [integrations.'Old VPN']\nnowhere_retry = 1.0\nprofile = 'standard'\n",
        )
        .unwrap();
        let who = |id, name| Who { id, name };
        let acme = policies.of(who("t", "acme"), who("i", "Old VPN"));
        let base = policies.base();
        assert_eq!((base.policy.grace_s, acme.policy.grace_s), (60.0, 90.0));
        assert_eq!((base.policy.silent_at, acme.policy.silent_at), (0.8, 0.8));
        assert_eq!((base.profile, acme.profile), (Profile::Familiar, Profile::Standard));
        assert_eq!((base.budgets.own.cap, base.budgets.own.day.burst), (40, 5));
        assert_eq!(base.budgets.own.day.refill, 10, "the rest stays");
        assert_eq!((base.budgets.unknown.month.refill, acme.budgets.nowhere.cap), (3, 9));
        assert_eq!(acme.policy.nowhere_retry, 1.0);
        assert!(policies.has_familiar());
        assert_eq!(parse("").unwrap(), Policies::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        refused(
            "gracs_s = 60\nhold_s = 'long'\nprofile = 'lax'\n\n[codes.own]\ncaps = 3\nday = 4\n\
             [integrations.vpn]\nsuccess_bound = 1e-4\n",
            &[
                "1: `gracs_s` is no number of a policy; did you mean `grace_s`?",
                "2: `hold_s` must be a number",
                "3: `profile` must be \"standard\" or \"familiar\"",
                "6: `codes.own.caps` is no number of a policy; did you mean `codes.own.cap`?",
                "7: `codes.own.day` must be a table",
                "9: integrations.vpn: `success_bound` is counted over all integrations of a user: set it for \
                 the tenant or above all tables",
            ],
        );
        refused("\ngrace_s = 1e9\n", &["2: grace_s is 1000000000 s; it must be from 0 to 3600"]);
        refused(
            "[codes.own.day]\nburst = 90",
            &["2: codes.own.day.burst is 90 tries; it must be from 1 to 50"],
        );
        refused(
            "nowhere_silent_at = 1\n[tenants.acme]\nnowhere_alert_at = 0.5\n",
            &["3: tenants.acme: nowhere_alert_at is 0.5 score; it must be from 1 to 10"],
        );
        refused(
            "tenants = 3\nquantum = 1",
            &[
                "1: `tenants` must be a table",
                "2: `quantum` is no number of a policy; `countersign guard policy` lists them",
            ],
        );
        refused(
            "digits = 300\nfamiliar_digits = -1\n[codes.own]\ncap = -1\n",
            &[
                "1: `digits` must be a whole number from 6 to 8",
                "2: `familiar_digits` must be a whole number from 2 to 3",
                "4: `codes.own.cap` must be a whole number from 1 to 97",
            ],
        );
        refused("grace_s = 1\ngrace_s = 2\n", &["2: `grace_s` is there twice"]);
        refused("[tenants.'']\ngrace_s = 1\n", &["1: a table of `tenants` has no name"]);
        assert!(parse("a = = b").is_err());
    }
}
