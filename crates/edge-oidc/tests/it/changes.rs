//! What is done to a good form: the changes of a fuzzer that knows its structure.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

pub(crate) type Form = Vec<(String, String)>;

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Drop(Index),
    Repeat(Index),
    Add(String, String),
    Rename(Index, String),
    Replace(Index, String),
    Insert(Index, Index, String),
    Cut(Index, Index),
    Swap(Index, Index),
}

/// What may be put somewhere: a word that means something to whoever reads it, or anything.
pub(crate) fn text(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(words).prop_map(str::to_owned),
        2 => "\\PC{0,30}",
        1 => any::<char>().prop_map(String::from),
        1 => (1_usize..9_000).prop_map(|length| "x".repeat(length)),
    ]
}

fn change(words: &'static [&'static str]) -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        2 => at().prop_map(Change::Drop),
        2 => at().prop_map(Change::Repeat),
        2 => (text(words), text(words)).prop_map(|(name, value)| Change::Add(name, value)),
        1 => (at(), text(words)).prop_map(|(field, name)| Change::Rename(field, name)),
        4 => (at(), text(words)).prop_map(|(field, value)| Change::Replace(field, value)),
        2 => (at(), at(), text(words)).prop_map(|(field, place, more)| Change::Insert(field, place, more)),
        1 => (at(), at()).prop_map(|(field, place)| Change::Cut(field, place)),
        1 => (at(), at()).prop_map(|(one, other)| Change::Swap(one, other)),
    ]
}

/// A few changes, often none.
pub(crate) fn changes(words: &'static [&'static str]) -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec(change(words), 0..5)
}

/// A place between two characters.
fn place(text: &str, at: Index) -> usize {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    places[at.index(places.len())]
}

/// A form with changes.
pub(crate) fn changed(form: &Form, changes: &[Change]) -> Form {
    let mut form = form.clone();
    for change in changes {
        if let Change::Add(name, value) = change {
            form.push((name.clone(), value.clone()));
            continue;
        }
        let fields = form.len();
        if fields == 0 {
            continue;
        }
        match change {
            Change::Add(..) => {}
            Change::Drop(at) => drop(form.remove(at.index(fields))),
            Change::Repeat(at) => form.push(form[at.index(fields)].clone()),
            Change::Rename(at, name) => form[at.index(fields)].0.clone_from(name),
            Change::Replace(at, value) => form[at.index(fields)].1.clone_from(value),
            Change::Insert(at, inside, more) => {
                let value = &mut form[at.index(fields)].1;
                value.insert_str(place(value, *inside), more);
            }
            Change::Cut(at, inside) => {
                let value = &mut form[at.index(fields)].1;
                value.truncate(place(value, *inside));
            }
            Change::Swap(one, other) => form.swap(one.index(fields), other.index(fields)),
        }
    }
    form
}

/// The forms of a corpus, one a line, with `{..}` filled in.
pub(crate) fn corpus(lines: &str, filled: &[(&str, &str)]) -> Vec<Form> {
    let lines = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| {
        let pairs = form_urlencoded::parse(line.as_bytes()).into_owned();
        let fill =
            |text: String| filled.iter().fold(text, |text, (from, to)| text.replace(from, to));
        pairs.map(|(name, value)| (name, fill(value))).collect()
    };
    lines.map(read).collect()
}

/// What may be longer than other values, and how long.
const DOCUMENTS: [&str; 5] =
    ["request", "id_token_hint", "login_hint_token", "client_assertion", "claims"];
const MAX_DOCUMENT: usize = 32 * 1024;
const MAX_VALUE: usize = 2 * 1024;

/// The one value of a name, if there is one and no second, and it isn't too long; empty ones count for nothing
/// (RFC 6749 §3.1).
pub(crate) fn one<'a>(form: &'a Form, name: &str) -> Option<&'a str> {
    let most = if DOCUMENTS.contains(&name) { MAX_DOCUMENT } else { MAX_VALUE };
    let mut values = form.iter().filter(|(field, value)| field == name && !value.is_empty());
    let (_, value) = values.next()?;
    (values.next().is_none() && value.len() <= most).then_some(value)
}

/// Whether every name is there once at most, and no value too long.
pub(crate) fn is_plain(form: &Form) -> bool {
    form.iter().all(|(name, value)| value.is_empty() || one(form, name).is_some())
}

/// A runner of `file` that tries `share` times, `full` times where everything is tried.
pub(crate) fn runner(file: &'static str, share: u32, full: u32) -> TestRunner {
    let everything = std::env::var_os("COUNTERSIGN_TEST_FULL").is_some();
    let cases = if everything { full } else { share };
    let config = Config { cases, max_shrink_iters: 500, ..Config::with_source_file(file) };
    if everything {
        return TestRunner::new(config);
    }
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}
