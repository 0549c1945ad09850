//! The number, or an enrolment link, as a QR code, for authenticators with a camera.

use std::fmt::Write as _;

use fast_qr::QRBuilder;

/// Light modules around the code, as ISO/IEC 18004 asks.
const QUIET: usize = 4;

/// A code as a page draws it: a square of `size` modules, and the path of the dark ones.
pub(crate) struct Drawn {
    pub(crate) size: usize,
    pub(crate) path: String,
}

/// The code of a number. It holds no address: a phone's own camera has nothing to open, and whoever reads it has
/// what the page shows anyway.
pub(crate) fn number(digits: &str) -> Option<Drawn> {
    draw(format!("countersign:{digits}"))
}

/// The code of an enrolment link, for the phone that is to be enrolled.
pub(crate) fn link(link: &str) -> Option<Drawn> {
    draw(link.to_owned())
}

fn draw(text: String) -> Option<Drawn> {
    let code = QRBuilder::new(text).build().ok()?;
    let mut path = String::new();
    for y in 0..code.size {
        let mut x = 0;
        while x < code.size {
            let run = (x..code.size).take_while(|at| code[y][*at].value()).count();
            if run > 0 {
                let _ = write!(path, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run + 1;
        }
    }
    Some(Drawn { size: code.size + 2 * QUIET, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dark modules of a path.
    fn dark(drawn: &Drawn) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for run in drawn.path.split('M').skip(1) {
            let (at, rest) = run.split_once('h').unwrap();
            let (x, y) = at.split_once(' ').unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            let length: usize = rest.split('v').next().unwrap().parse().unwrap();
            found.extend((x..x + length).map(|x| (x, y)));
        }
        found
    }

    #[test]
    fn the_path_is_the_code_with_room_around_it() {
        let drawn = number("042917").unwrap();
        let code = QRBuilder::new("countersign:042917").build().unwrap();
        let mut expected = Vec::new();
        for y in 0..code.size {
            expected.extend((0..code.size).filter(|x| code[y][*x].value()).map(|x| (x + 4, y + 4)));
        }
        assert_eq!(dark(&drawn), expected);
        assert_eq!(drawn.size, code.size + 8);
        assert!(!drawn.path.contains("042917"));
    }
}
