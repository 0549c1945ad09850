//! Rules for Rust files.

use super::is_data;
use super::source::{body, closing, code_only, is_ident, line_of, tokens};

const FUNCTION_LINES_MAX: usize = 70;

pub(crate) fn check(path: &str, content: &str) -> Vec<String> {
    let code = code_only(content);
    let mut found = Vec::new();
    if !is_data(path) {
        for (line, name, length) in long_functions(&code) {
            found.push(format!(
                "{path}:{line}: fn {name} has {length} lines, more than {FUNCTION_LINES_MAX}"
            ));
        }
    }
    for name in ["todo", "unimplemented"] {
        for at in tokens(&code, &[name, "!", "("]) {
            found.push(format!("{path}:{}: {name}! left behind", line_of(&code, at)));
        }
    }
    for attribute in [["#", "[", "allow", "("].as_slice(), &["#", "!", "[", "allow", "("]] {
        for at in tokens(&code, attribute) {
            found.push(format!(
                "{path}:{}: allow stays when its cause is gone: use expect, with a reason",
                line_of(&code, at)
            ));
        }
    }
    found.extend(sleeps(path, content, &code));
    found
}

/// Line, name and length of each function that is too long, from `fn` to its last brace.
fn long_functions(code: &[char]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for at in tokens(code, &["fn"]) {
        let name: String = code[at + 2..]
            .iter()
            .skip_while(|c| c.is_whitespace())
            .take_while(|c| is_ident(**c))
            .collect();
        // `fn(u8)` is a type and `fn $name` a macro's business
        if name.is_empty() {
            continue;
        }
        let Some(end) = body(code, at).and_then(|open| closing(code, open)) else {
            continue;
        };
        let (first, last) = (line_of(code, at), line_of(code, end));
        if last - first + 1 > FUNCTION_LINES_MAX {
            found.push((first, name, last - first + 1));
        }
    }
    found
}

/// A test that sleeps is slow when it passes and wrong when the machine is slow.
fn sleeps(path: &str, content: &str, code: &[char]) -> Vec<String> {
    let lines: Vec<&str> = content.lines().collect();
    let tested = test_lines(path, code, lines.len());
    let mut found = Vec::new();
    for name in ["sleep", "sleep_until", "sleep_ms"] {
        for at in tokens(code, &[name, "("]) {
            let line = line_of(code, at);
            if is_method_or_definition(code, at) || !tested[line - 1] || excused(&lines, line) {
                continue;
            }
            found.push(format!(
                "{path}:{line}: {name} in a test: wait for the thing itself, or say `// wait: why`"
            ));
        }
    }
    found
}

/// `clock.sleep(..)` is a fake clock's, and `fn sleep(..)` defines one.
fn is_method_or_definition(code: &[char], at: usize) -> bool {
    let before: Vec<char> =
        code[..at].iter().rev().skip_while(|c| c.is_whitespace()).take(3).copied().collect();
    match before.as_slice() {
        ['.', ..] => true,
        ['n', 'f', rest @ ..] => !rest.first().copied().is_some_and(is_ident),
        _ => false,
    }
}

/// The reason stands on the line itself or on a comment line right above it.
fn excused(lines: &[&str], line: usize) -> bool {
    let above = line.checked_sub(2).and_then(|index| lines.get(index));
    lines[line - 1].contains("// wait:")
        || above.is_some_and(|text| text.trim_start().starts_with("// wait:"))
}

/// Which lines are test code: all of a file under `tests/`, and what `#[cfg(test)]` covers.
fn test_lines(path: &str, code: &[char], lines: usize) -> Vec<bool> {
    let whole = path.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
        || !tokens(code, &["#", "!", "[", "cfg", "(", "test", ")"]).is_empty();
    let mut tested = vec![whole; lines];
    for at in tokens(code, &["#", "[", "cfg", "("]) {
        let Some(end) = closing(code, at + 1) else {
            continue;
        };
        if !names_test(&code[at..end]) {
            continue;
        }
        let Some(last) = body(code, end + 1).and_then(|open| closing(code, open)) else {
            continue;
        };
        tested[line_of(code, at) - 1..line_of(code, last)].fill(true);
    }
    tested
}

/// `cfg(test)` and `cfg(all(test, ..))`, not `cfg(not(test))`.
fn names_test(attribute: &[char]) -> bool {
    !tokens(attribute, &["test"]).is_empty() && tokens(attribute, &["not"]).is_empty()
}
