//! The languages of the pages: texts come from catalogues, chosen by whoever asks or by the browser.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;
use http_limits::LANGUAGES;

/// How much of a list of languages is read: browsers send a tenth.
const MAX_LIST: usize = 512;

type Catalogue = BTreeMap<String, String>;

static EN: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("../catalogues/en.json")));
static DE: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("../catalogues/de.json")));

fn read(json: &str) -> Catalogue {
    serde_json::from_str(json).expect("a test reads every catalogue")
}

/// A language that the pages speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    #[default]
    En,
    De,
}

impl Language {
    /// What whoever asks wants (BCP 47 tags between spaces, best first), or the browser, or English.
    pub(crate) fn of(asked: Option<&str>, headers: &HeaderMap) -> Self {
        asked.and_then(Self::first).or_else(|| Self::accepted(headers)).unwrap_or_default()
    }

    /// The first of a list that is spoken here.
    fn first(list: &str) -> Option<Self> {
        list.get(..MAX_LIST).unwrap_or(list).split(' ').find_map(Self::from_tag)
    }

    /// What a browser likes most of what is spoken here (RFC 9110 §12.5.4).
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let list = headers.get(ACCEPT_LANGUAGE)?.to_str().ok()?;
        let ranges = list.get(..MAX_LIST).unwrap_or(list).split(',');
        let known = ranges.filter_map(|range| {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            Some((Self::from_tag(tag.trim())?, weight))
        });
        // of two that are liked as much the first
        let best = known
            .filter(|(_, weight)| *weight > 0.0)
            .reduce(|best, one| if one.1 > best.1 { one } else { best });
        best.map(|(language, _)| language)
    }

    fn from_tag(tag: &str) -> Option<Self> {
        match tag.split('-').next()?.to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "de" => Some(Self::De),
            _ => None,
        }
    }

    /// Its tag, for `lang`.
    pub(crate) const fn tag(self) -> &'static str {
        LANGUAGES[self as usize]
    }

    /// The text of a key. A test finds keys that are in no catalogue.
    pub(crate) fn say(self, key: &'static str) -> &'static str {
        let catalogue = match self {
            Self::En => &*EN,
            Self::De => &*DE,
        };
        catalogue.get(key).map_or(key, String::as_str)
    }

    /// The text of a key, with `{name}` replaced.
    pub(crate) fn say_with(self, key: &'static str, name: &str, value: &str) -> String {
        self.say(key).replace(&format!("{{{name}}}"), value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use http::HeaderValue;

    use super::*;

    fn chosen(asked: Option<&str>, accepted: &str) -> &'static str {
        let value = HeaderValue::from_str(accepted).unwrap();
        Language::of(asked, &[(ACCEPT_LANGUAGE, value)].into_iter().collect()).tag()
    }

    #[test]
    fn whoever_asks_comes_first_then_the_browser_then_english() {
        assert_eq!(Language::of(None, &HeaderMap::new()).tag(), "en");
        for (accepted, expected) in [
            ("de", "de"),
            ("de-AT,de;q=0.9,en;q=0.8", "de"),
            ("en-US,en;q=0.9,de;q=0.8", "en"),
            ("fr, de;q=0.3, en;q=0.2", "de"),
            ("de;q=0, en;q=0.1", "en"),
            ("en;q=0.5,de;q=0.5", "en"),
            ("DE", "de"),
            ("*", "en"),
            ("fr", "en"),
            ("", "en"),
            ("de;q=x", "en"),
        ] {
            assert_eq!(chosen(None, accepted), expected, "{accepted}");
        }
        assert_eq!(chosen(Some("fr de en"), "en"), "de");
        assert_eq!(chosen(Some("en-GB"), "de"), "en");
        assert_eq!(chosen(Some("fr"), "de"), "de");
        assert_eq!(chosen(Some(&"x".repeat(4096)), "de"), "de");
    }

    #[test]
    fn catalogues_hold_the_same_keys_and_none_is_empty() {
        let keys = |catalogue: &Catalogue| catalogue.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&EN), keys(&DE));
        for (key, text) in EN.iter().chain(DE.iter()) {
            assert!(!text.trim().is_empty(), "{key}");
        }
        let holes = |text: &str| {
            let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
            names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        for (key, text) in EN.iter() {
            assert_eq!(holes(text), holes(&DE[key]), "{key}");
        }
        assert_eq!(LANGUAGES, [Language::En.tag(), Language::De.tag()]);
    }

    /// Every string literal of the sources that could be a key.
    fn literals(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                literals(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            found.extend(text.split('"').map(str::to_owned));
        }
    }

    #[test]
    fn what_is_said_is_in_the_catalogues_and_all_of_it_is_said() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = BTreeSet::new();
        literals(&root.join("templates"), &mut found);
        literals(&root.join("src"), &mut found);
        for key in EN.keys() {
            assert!(found.contains(key), "nothing says {key}");
        }
        for text in found.iter().filter(|text| looks_like_a_key(text)) {
            assert!(EN.contains_key(text), "{text} is in no catalogue");
        }
    }

    /// Whether a literal is words and a dot, and no file.
    fn looks_like_a_key(text: &str) -> bool {
        let of_words = text.bytes().all(|b| b.is_ascii_lowercase() || b"_.".contains(&b));
        let inside = text.trim_matches('.').len() == text.len() && text.contains('.');
        of_words
            && inside
            && ![".html", ".json", ".js", ".css"].iter().any(|end| text.ends_with(end))
    }
}
