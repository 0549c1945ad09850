//! Where addresses are: the files that the settings name, and what is said of them.

use std::fmt::Write as _;
use std::time::Duration;

use places::{Atlas, Mounted, PUBLISHED, Refused};
use statement::Timestamp;

use crate::config::{Config, Issue, Loaded};

/// Makers renew their files at least each month: past this somebody forgot to.
const OLD: Duration = Duration::from_secs(60 * 86_400);

/// The built-in table and the files that are mounted.
///
/// # Errors
/// Which file can't be used, and why.
pub(crate) fn open(config: &Config) -> Result<Atlas, Refused> {
    Atlas::open(config.city_mmdb.as_deref(), config.asn_mmdb.as_deref())
}

/// What is wrong with the files, as the settings' own faults are told.
pub(crate) fn check(loaded: &Loaded) -> Option<Issue> {
    let refused = open(&loaded.config).err()?;
    let key = refused.wanted.setting();
    let message = format!("names {}: it {}", refused.path.display(), refused.why);
    Some(Issue { origin: loaded.origin(key), key: Some(key.to_owned()), message })
}

/// What is in use, and how old it is.
pub(crate) fn describe(atlas: &Atlas, now: Timestamp) -> String {
    let mut said = match atlas.city() {
        Some(file) => format!("places by {}, else ", aged(file, now)),
        None => String::new(),
    };
    let _ = write!(said, "countries as registered on {PUBLISHED}");
    match atlas.asn() {
        Some(file) => write!(said, "; networks by {}", aged(file, now)),
        None => write!(said, "; a /24 or /48 stands for a network"),
    }
    .unwrap_or_default();
    said
}

/// The setting of a file that somebody should renew.
pub(crate) fn outdated(atlas: &Atlas, now: Timestamp) -> Option<&'static str> {
    let is_old = |file: &Mounted| now.since(file.built()) > OLD;
    let files = [("places.city_mmdb", atlas.city()), ("places.asn_mmdb", atlas.asn())];
    files.into_iter().find(|(_, file)| file.is_some_and(is_old)).map(|(setting, _)| setting)
}

fn aged(file: &Mounted, now: Timestamp) -> String {
    let days = now.since(file.built()).as_secs() / 86_400;
    let age = if days == 1 { "a day".to_owned() } else { format!("{days} days") };
    format!("{} ({age} old)", file.kind())
}
