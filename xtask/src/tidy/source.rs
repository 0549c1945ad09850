//! Rust source with everything that is not code blanked out, so that counting braces and looking
//! for calls can't be fooled by a string or a comment. Lines keep their numbers.

/// Replaces comments, strings and character literals by spaces; newlines stay.
pub(crate) fn code_only(source: &str) -> Vec<char> {
    let chars: Vec<char> = source.chars().collect();
    let mut out = Vec::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// The end of the comment or literal that starts at `at`; `at` itself when none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    match (chars[at], chars.get(at + 1)) {
        ('/', Some('/')) => find(chars, at, |c| c == '\n'),
        ('/', Some('*')) => block_comment_end(chars, at),
        ('"', _) => string_end(chars, at + 1),
        ('\'', _) => char_end(chars, at),
        ('r', _) if starts_literal(chars, at) => raw_string_end(chars, at).unwrap_or(at),
        _ => at,
    }
}

/// Whether the `r` at `at` is a prefix and not the end of an identifier; `br` and `cr` are both.
fn starts_literal(chars: &[char], at: usize) -> bool {
    let before = chars[..at].iter().rev().take_while(|c| is_ident(**c)).count();
    before == 0 || (before == 1 && matches!(chars[at - 1], 'b' | 'c'))
}

fn find(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    chars[from..].iter().position(|&c| stop(c)).map_or(chars.len(), |offset| from + offset)
}

/// Block comments nest.
fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// The end of a string whose text starts at `at`.
fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `r"..."` with any number of hashes; `None` for `r#name`.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let open = find(chars, start + 1, |c| c != '#');
    let hashes = open - start - 1;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    loop {
        let quote = find(chars, at, |c| c == '"');
        if quote == chars.len() {
            return Some(quote);
        }
        let after = find(chars, quote + 1, |c| c != '#').min(quote + 1 + hashes);
        if after == quote + 1 + hashes {
            return Some(after);
        }
        at = quote + 1;
    }
}

/// `'x'` and `'\n'` are literals, `'a` is a lifetime.
fn char_end(chars: &[char], start: usize) -> usize {
    match chars.get(start + 1) {
        Some('\\') => find(chars, start + 3, |c| c == '\'').saturating_add(1).min(chars.len()),
        Some(_) if chars.get(start + 2) == Some(&'\'') => start + 3,
        _ => start,
    }
}

pub(crate) fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The position of the bracket that closes the one at `open`.
pub(crate) fn closing(code: &[char], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code.iter().enumerate().skip(open) {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The `{` that opens the body of the item that starts at `from`, or `None` for one without a
/// body. Braces inside brackets belong to a type (`[u8; { N + 1 }]`), not to the body.
pub(crate) fn body(code: &[char], from: usize) -> Option<usize> {
    let mut at = from;
    while at < code.len() {
        match code[at] {
            '{' => return Some(at),
            ';' | '}' => return None,
            '(' | '[' => at = closing(code, at)?,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Every place where `words` stand in the code, told apart from longer identifiers and blind to
/// spacing: `["#", "[", "cfg"]` also finds an attribute that is broken over lines.
pub(crate) fn tokens(code: &[char], words: &[&str]) -> Vec<usize> {
    let mut found = Vec::new();
    for start in 0..code.len() {
        if code[start].is_whitespace() {
            continue;
        }
        let mut at = start;
        let all = words.iter().all(|word| {
            at = find(code, at, |c| !c.is_whitespace());
            let here = word.chars().enumerate().all(|(i, c)| code.get(at + i) == Some(&c));
            let length = word.chars().count();
            let whole = !word.ends_with(is_ident)
                || ((at == 0 || !is_ident(code[at - 1]))
                    && !code.get(at + length).copied().is_some_and(is_ident));
            at += length;
            here && whole
        });
        if all {
            found.push(start);
        }
    }
    found
}

/// The line, counted from 1, of a position.
pub(crate) fn line_of(code: &[char], at: usize) -> usize {
    1 + code[..at].iter().filter(|&&c| c == '\n').count()
}
