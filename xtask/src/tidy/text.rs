//! Rules for every text file.

use super::is_data;

const FILE_LINES_MAX: usize = 600;

/// Words that mark something unfinished, in two halves so that this file does not hold them.
const LEFTOVERS: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];

/// Folders of somebody's machine, likewise. `{a-z}` is any lower-case letter.
const MACHINE_PATHS: [&str; 3] =
    [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/{a-z}")];

pub(crate) fn check(path: &str, content: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_code = [".rs", ".ts", ".py"].iter().any(|ending| path.ends_with(ending));
    let lines = content.lines().count();
    if is_code && !is_data(path) && lines > FILE_LINES_MAX {
        found.push(format!("{path}: {lines} lines, more than {FILE_LINES_MAX}: split it"));
    }
    // not `lines()`: that would hide a carriage return
    for (index, line) in content.split('\n').enumerate() {
        let place = format!("{path}:{}", index + 1);
        if !is_data(path) && line.ends_with([' ', '\t', '\r']) {
            found.push(format!("{place}: whitespace at the end of the line"));
        }
        // prose may speak of these words, code may not leave them behind
        if !path.ends_with(".md") {
            for word in LEFTOVERS.iter().filter(|word| holds_word(line, word)) {
                found.push(format!("{place}: {word} left behind: do it, or write an issue"));
            }
        }
        if let Some(folder) = MACHINE_PATHS.iter().find(|folder| holds_path(line, folder)) {
            let folder = folder.trim_end_matches("{a-z}");
            found.push(format!("{place}: {folder} is a path of one machine"));
        }
    }
    found
}

/// `word` with no letter, digit or underscore on either side.
fn holds_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(part_of_word) && !line[at + word.len()..].starts_with(part_of_word)
    })
}

/// `folder` as the start of an absolute path, not as a part of a longer or a relative one.
fn holds_path(line: &str, folder: &str) -> bool {
    let (fixed, then_letter) = match folder.strip_suffix("{a-z}") {
        Some(fixed) => (fixed, true),
        None => (folder, false),
    };
    line.match_indices(fixed).any(|(at, _)| {
        let part_of_path = |c: char| c.is_alphanumeric() || "_-.~*})>]".contains(c);
        let rest = &line[at + fixed.len()..];
        !line[..at].ends_with(part_of_path)
            && (!then_letter || rest.starts_with(|c: char| c.is_ascii_lowercase()))
    })
}
