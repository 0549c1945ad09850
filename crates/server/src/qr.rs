//! QR codes for terminals.

use fast_qr::QRBuilder;

/// A QR code of `text` in half blocks, dark on light whatever the terminal's colours are; `None` if it is too
/// long for one.
pub(crate) fn terminal(text: &str) -> Option<String> {
    let code = QRBuilder::new(text).build().ok()?;
    let size = code.size;
    // four modules of quiet zone, as ISO/IEC 18004 asks
    let quiet = 4;
    let dark = |x: usize, y: usize| {
        let inside = |at: usize| (quiet..quiet + size).contains(&at);
        inside(x) && inside(y) && code[y - quiet][x - quiet].value()
    };
    let mut lines = String::new();
    for y in (0..size + 2 * quiet).step_by(2) {
        lines.push_str("\x1b[38;5;16m\x1b[48;5;231m");
        for x in 0..size + 2 * quiet {
            lines.push(match (dark(x, y), dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        lines.push_str("\x1b[0m\n");
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_link_fits_and_every_line_is_as_wide() {
        let text = "http://127.0.0.1:8470/enrol#v1.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let code = super::terminal(text).expect("it fits");
        let widths: Vec<usize> = code.lines().map(|line| line.chars().count()).collect();
        assert!(widths.len() > 20 && widths.iter().all(|width| *width == widths[0]));
    }
}
