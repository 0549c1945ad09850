//! SPDX licence expressions: may we ship this?

/// Whether an expression leaves a choice that meets `allowed`; `Err` when it can't be read.
pub(crate) fn permits(expression: &str, allowed: &[&str]) -> Result<bool, String> {
    // crates published before SPDX expressions wrote "MIT/Apache-2.0" for "MIT OR Apache-2.0"
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut reader = Reader { words: spaced.split_whitespace().peekable(), allowed };
    let verdict = reader.any()?;
    match reader.words.next() {
        None => Ok(verdict),
        Some(word) => Err(format!("unexpected `{word}`")),
    }
}

struct Reader<'a, I: Iterator<Item = &'a str>> {
    words: std::iter::Peekable<I>,
    allowed: &'a [&'a str],
}

impl<'a, I: Iterator<Item = &'a str>> Reader<'a, I> {
    /// `a OR b`: one that we may use is enough.
    fn any(&mut self) -> Result<bool, String> {
        let mut verdict = self.all()?;
        while self.words.next_if_eq(&"OR").is_some() {
            verdict |= self.all()?;
        }
        Ok(verdict)
    }

    /// `a AND b`: both bind. Binds tighter than `OR`.
    fn all(&mut self) -> Result<bool, String> {
        let mut verdict = self.one()?;
        while self.words.next_if_eq(&"AND").is_some() {
            verdict &= self.one()?;
        }
        Ok(verdict)
    }

    fn one(&mut self) -> Result<bool, String> {
        match self.words.next() {
            None => Err("it ends too early".to_owned()),
            Some("(") => {
                let verdict = self.any()?;
                self.words.next_if_eq(&")").ok_or("a bracket is not closed")?;
                Ok(verdict)
            }
            Some(word @ (")" | "AND" | "OR" | "WITH")) => Err(format!("unexpected `{word}`")),
            Some(id) => {
                if self.words.next_if_eq(&"WITH").is_some() {
                    self.words.next().ok_or("`WITH` names no exception")?;
                }
                Ok(self.allowed.contains(&id.trim_end_matches('+')))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::permits;
    use crate::layers::table::LICENCES;

    #[test]
    fn reads_the_expressions_found_in_the_wild() {
        let good = [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            "ISC AND (Apache-2.0 OR ISC) AND Apache-2.0 AND MIT AND (Apache-2.0 OR ISC OR MIT-0)",
            "ISC AND (Apache-2.0 OR ISC) AND OpenSSL",
        ];
        for expression in good {
            assert_eq!(permits(expression, LICENCES), Ok(true), "{expression}");
        }
    }

    #[test]
    fn refuses_what_leaves_no_choice() {
        let bad = [
            "GPL-3.0-only",
            "MIT AND GPL-2.0-only",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "AGPL-3.0-only OR GPL-3.0-or-later",
        ];
        for expression in bad {
            assert_eq!(permits(expression, LICENCES), Ok(false), "{expression}");
        }
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let expression = "MIT OR Apache-2.0 AND GPL-2.0-only";
        assert_eq!(permits(expression, LICENCES), Ok(true));
        let expression = "(MIT OR Apache-2.0) AND GPL-2.0-only";
        assert_eq!(permits(expression, LICENCES), Ok(false));
    }

    #[test]
    fn says_when_it_can_not_read_one() {
        for expression in ["", "(MIT", "MIT)", "MIT AND", "OR MIT", "MIT WITH", "MIT Apache-2.0"] {
            assert!(permits(expression, LICENCES).is_err(), "{expression}");
        }
    }
}
