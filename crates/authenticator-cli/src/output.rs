//! stdout, without a panic when nobody reads it any more.

use std::io::Write as _;

/// Prints a line. If the reader is gone there is nobody left to work for: the process ends.
pub(crate) fn say(line: &str) {
    put(&format!("{line}\n"));
}

/// Prints without ending the line.
pub(crate) fn put(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(i32::from(crate::failure::WRONG));
    }
}
