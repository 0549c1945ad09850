//! Foreign text, made safe to show.

/// `text` without what could forge the screen that it is shown on: control characters (terminal escapes among
/// them), line breaks and characters that reorder or hide others (Unicode bidirectional controls, zero-width).
/// Cut after `max` characters.
pub(crate) fn plain(text: &str, max: usize) -> String {
    text.chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .take(max)
        .collect::<String>()
        .trim()
        .to_owned()
}

const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_that_moves_the_cursor_or_the_eye_survives() {
        assert_eq!(plain("a\u{1b}[2Jb\r\nc\u{7}", 99), "a[2Jb  c");
        assert_eq!(plain("\u{202e}drow\u{2066}ssap\u{200b}", 99), "drowssap");
        assert_eq!(plain("  Zürich 東京  ", 99), "Zürich 東京");
        assert_eq!(plain("abcdef", 3), "abc");
    }
}
