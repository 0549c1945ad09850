//! stdin, line by line.

use std::io::{BufRead as _, Read as _};

use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// The longest line that is read; the longest that means anything is far shorter.
const MAX_LINE: u64 = 4096;

/// A line of input. May hold a number, so it is wiped when dropped.
pub(crate) type Line = Zeroizing<String>;

/// The lines of stdin, until it ends. They are read by a thread of their own, since a read can't be taken back.
pub(crate) fn lines() -> mpsc::Receiver<Line> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut bytes = Zeroizing::new(Vec::new());
            match (&mut stdin).take(MAX_LINE).read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let line = Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned());
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
