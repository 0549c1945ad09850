//! Parameters of a request, as forms and queries write them.

use std::collections::BTreeMap;

/// Most parameters of a request; the longest sensible one has a third.
const MAX_PARAMS: usize = 64;
/// Longest value, in bytes, but for those that hold a JWT.
const MAX_VALUE: usize = 2 * 1024;
/// Longest value that holds a JWT or a document.
const MAX_DOCUMENT: usize = 32 * 1024;
const DOCUMENTS: [&str; 5] =
    ["request", "id_token_hint", "login_hint_token", "client_assertion", "claims"];

/// Why parameters can't be read. Says nothing of their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadParams {
    /// One that counts is there twice (RFC 6749 §3.1).
    Repeated,
    /// Too many, or too long.
    TooLarge,
}

impl BadParams {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Repeated => "a parameter is there more than once",
            Self::TooLarge => "too many parameters, or one that is too long",
        }
    }
}

/// Parameters by name. One without a value is as if it weren't there (RFC 6749 §3.1).
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    /// `None` for one that counts for nothing: it is there more than once, or too long.
    values: BTreeMap<String, Option<String>>,
    bad: Option<BadParams>,
}

impl Params {
    /// From a query or a form. What is wrong is kept for whoever asks, because where that may be said depends on
    /// what is right.
    pub(crate) fn parse(encoded: &[u8]) -> Self {
        let mut params = Self::default();
        for (name, value) in form_urlencoded::parse(encoded) {
            params.add(&name, &value);
        }
        params
    }

    /// Adds one.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if let Some(known) = self.values.get_mut(name) {
            // whichever was meant, none is used to lead a browser anywhere
            *known = None;
            self.bad.get_or_insert(BadParams::Repeated);
            return;
        }
        let most = if DOCUMENTS.contains(&name) { MAX_DOCUMENT } else { MAX_VALUE };
        let (fits, room) = (value.len() <= most, self.values.len() < MAX_PARAMS);
        if !fits || !room {
            self.bad.get_or_insert(BadParams::TooLarge);
        }
        if room {
            self.values.insert(name.to_owned(), fits.then(|| value.to_owned()));
        }
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_deref()
    }

    pub(crate) fn bad(&self) -> Option<BadParams> {
        self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_once_and_bounded() {
        let params = Params::parse(b"a=1&b=x+y%20z&c=&d");
        assert_eq!((params.get("a"), params.get("b")), (Some("1"), Some("x y z")));
        assert_eq!((params.get("c"), params.get("d"), params.bad()), (None, None, None));
        let twice = Params::parse(b"a=1&a=2&b=1");
        assert_eq!((twice.get("a"), twice.bad()), (None, Some(BadParams::Repeated)));
        let thrice = Params::parse(b"a=1&a=2&a=3&b=1");
        assert_eq!((thrice.get("a"), thrice.bad()), (None, Some(BadParams::Repeated)));
        let other = format!("a=1&a={}&b=1", "x".repeat(MAX_VALUE + 1));
        assert_eq!(Params::parse(other.as_bytes()).get("a"), None);
        let many: String = (0..100).map(|n| format!("p{n}=1&")).collect();
        assert_eq!(Params::parse(many.as_bytes()).bad(), Some(BadParams::TooLarge));
        let long = format!("state={}", "x".repeat(MAX_VALUE + 1));
        assert_eq!(Params::parse(long.as_bytes()).bad(), Some(BadParams::TooLarge));
        let token = format!("request={}", "x".repeat(MAX_VALUE + 1));
        assert_eq!(Params::parse(token.as_bytes()).bad(), None);
    }
}
