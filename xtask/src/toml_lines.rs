//! Just enough TOML to find `key = value` lines under a heading: our manifests are written one key
//! a line, and a parser would be one more dependency of the test command itself.

/// The value of `key` under `[section]`, as written, without a trailing comment.
pub(crate) fn value<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.trim_start_matches('[').split(']').next() == Some(section);
            continue;
        }
        let Some((name, rest)) = line.split_once('=') else {
            continue;
        };
        if inside && name.trim() == key {
            return Some(rest.split('#').next().unwrap_or(rest).trim());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn finds_a_key_only_under_its_own_heading() {
        let text = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true # all of them\n";
        assert_eq!(value(text, "lints", "workspace"), Some("true"));
        assert_eq!(value(text, "package", "workspace"), None);
        assert_eq!(value(text, "lint", "workspace"), None);
    }
}
