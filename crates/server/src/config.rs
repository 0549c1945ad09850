//! What the server is told: defaults < a TOML file < the environment < flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write};
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};

use http_limits::Cidr;
use statement::{ServerUrl, UrlError};
use toml::de::{DeTable, DeValue};

use crate::authenticator;
use crate::config_keys::{KEYS, Key, Value};
use crate::guard::policy_file;
use crate::webhooks::{self, Endpoint, Wrong};

/// What environment variables start with.
const ENV_PREFIX: &str = "COUNTERSIGN__";
/// How many edits away a known key may be to be suggested.
const SUGGEST_WITHIN: usize = 3;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl LogFormat {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// The settings in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where integrations, browsers and devices connect.
    pub listen: SocketAddr,
    /// Directory of the database, the keys and the admin socket.
    pub data: PathBuf,
    /// The origin under which the outside reaches the server.
    pub public_url: Option<ServerUrl>,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Where health and metrics are.
    pub admin_listen: SocketAddr,
    /// Where the web authenticator is, if there is one.
    pub authenticator_listen: Option<SocketAddr>,
    /// The origin under which browsers reach it.
    pub authenticator_url: Option<ServerUrl>,
    /// The certificate chain's file.
    pub tls_cert: Option<PathBuf>,
    /// The private key's file.
    pub tls_key: Option<PathBuf>,
    /// Level or filter of the log.
    pub log_level: String,
    /// Its form.
    pub log_format: LogFormat,
    /// Requests a minute that an integration may make.
    pub quota: Option<NonZeroU32>,
    /// The guard's policy.
    pub guard_policy: Option<PathBuf>,
    /// The policy that judges beside it.
    pub guard_shadow: Option<PathBuf>,
    /// The MMDB file that says where addresses are.
    pub city_mmdb: Option<PathBuf>,
    /// The MMDB file that says of which autonomous system they are.
    pub asn_mmdb: Option<PathBuf>,
    /// Who is told of events.
    pub webhooks: Vec<Endpoint>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8470)),
            data: PathBuf::from("countersign-data"),
            public_url: None,
            trusted_proxies: Vec::new(),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8471)),
            authenticator_listen: None,
            authenticator_url: None,
            tls_cert: None,
            tls_key: None,
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            quota: None,
            guard_policy: None,
            guard_shadow: None,
            city_mmdb: None,
            asn_mmdb: None,
            webhooks: Vec::new(),
        }
    }
}

impl Config {
    /// Certificate and key, if TLS is spoken.
    #[must_use]
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        Some((self.tls_cert.as_deref()?, self.tls_key.as_deref()?))
    }

    /// The origin to put into links: what is configured, else where the server came to listen, which is
    /// loopback then.
    ///
    /// # Errors
    /// If neither gives one.
    pub fn origin(&self, bound: SocketAddr) -> Result<ServerUrl, UrlError> {
        let scheme = if self.tls_files().is_some() { "https" } else { "http" };
        match &self.public_url {
            Some(url) => Ok(url.clone()),
            None => format!("{scheme}://{bound}").parse(),
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Env(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Something that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Where.
    pub origin: Origin,
    /// Which key, if it is about one.
    pub key: Option<String>,
    /// What, and what to do.
    pub message: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if let Some(key) = &self.key {
            write!(f, "`{key}` ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with the settings: all at once, so that they can be mended in one go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Issues(pub Vec<Issue>);

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, issue) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{issue}")?;
        }
        Ok(())
    }
}

/// Where settings are read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--data`.
    pub data: Option<PathBuf>,
}

/// The settings in effect and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

/// Reads the settings.
///
/// # Errors
/// All [`Issues`] at once.
pub fn load(sources: &Sources) -> Result<Loaded, Issues> {
    let mut loader = Loader {
        loaded: Loaded { config: Config::default(), origins: BTreeMap::new() },
        issues: Vec::new(),
    };
    if let Some(path) = &sources.file {
        loader.file(path);
    }
    for (name, value) in &sources.env {
        loader.env(name, value);
    }
    if let Some(listen) = sources.listen {
        loader.set("listen", text(listen), Origin::Flag("--listen"));
    }
    if let Some(data) = &sources.data {
        loader.set("data", text(data.display()), Origin::Flag("--data"));
    }
    loader.check();
    if loader.issues.is_empty() { Ok(loader.loaded) } else { Err(Issues(loader.issues)) }
}

fn text(value: impl ToString) -> Value {
    Value::Text(value.to_string())
}

struct Loader {
    loaded: Loaded,
    issues: Vec<Issue>,
}

impl Loader {
    fn issue(&mut self, origin: Origin, key: Option<&str>, message: impl Into<String>) {
        self.issues.push(Issue {
            origin,
            key: key.map(ToOwned::to_owned),
            message: message.into(),
        });
    }

    fn set(&mut self, name: &str, value: Value, origin: Origin) {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let message = match suggestion(name) {
                Some(known) => format!("is not a setting; did you mean `{known}`?"),
                None if name.starts_with("webhooks") => {
                    "are [[webhooks]] tables of the configuration file".to_owned()
                }
                None => "is not a setting; docs/configuration.md lists them".to_owned(),
            };
            return self.issue(origin, Some(name), message);
        };
        match (key.set)(&mut self.loaded.config, value) {
            Ok(()) => {
                self.loaded.origins.insert(key.name, origin);
            }
            Err(message) => self.issue(origin, Some(name), message),
        }
    }

    fn file(&mut self, path: &Path) {
        let source = match fs::read_to_string(path) {
            Ok(source) => source,
            Err(error) => {
                let message = format!("{} can't be read: {error}", path.display());
                return self.issue(Origin::Flag("--config"), None, message);
            }
        };
        let origin =
            |span: Range<usize>| Origin::File(path.to_owned(), line_of(&source, span.start));
        let (table, errors) = DeTable::parse_recoverable(&source);
        for error in &errors {
            let at = origin(error.span().unwrap_or_default());
            self.issue(at, None, error.message());
        }
        if errors.is_empty() {
            self.table("", table.get_ref(), &origin);
        }
    }

    fn table(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        origin: &dyn Fn(Range<usize>) -> Origin,
    ) {
        for (name, value) in table {
            let full = format!("{prefix}{}", name.get_ref());
            let at = origin(name.span());
            match value.get_ref() {
                DeValue::Table(inner) => self.table(&format!("{full}."), inner, origin),
                DeValue::Array(tables) if full == "webhooks" => {
                    let (endpoints, wrong) = webhooks::read(tables, name.span());
                    self.loaded.config.webhooks = endpoints;
                    self.loaded.origins.insert("webhooks", at);
                    for Wrong { span, key, message } in wrong {
                        self.issue(origin(span), Some(&key), message);
                    }
                }
                DeValue::Array(items) => {
                    let items: Option<Vec<String>> =
                        items.iter().map(|item| scalar(item.get_ref())).collect();
                    match items {
                        Some(items) => self.set(&full, Value::List(items), at),
                        None => self.issue(at, Some(&full), "must be a list of strings"),
                    }
                }
                other => match scalar(other) {
                    Some(value) => self.set(&full, Value::Text(value), at),
                    None => self.issue(at, Some(&full), "must be a string"),
                },
            }
        }
    }

    fn env(&mut self, name: &OsString, value: &OsString) {
        let Some(name) = name.to_str() else { return };
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            return;
        };
        let key = rest.to_ascii_lowercase().replace("__", ".");
        let origin = Origin::Env(name.to_owned());
        match value.to_str() {
            Some(value) => self.set(&key, text(value), origin),
            None => self.issue(origin, Some(&key), "must be UTF-8"),
        }
    }

    /// What no key can say alone.
    fn check(&mut self) {
        let config = self.loaded.config.clone();
        let blame = |name| self.loaded.origin(name);
        let mut found: Vec<(Origin, &'static str, &'static str)> = Vec::new();
        if config.public_url.is_none() && !config.listen.ip().is_loopback() {
            found.push((
                blame("listen"),
                "listen",
                "is not loopback, so `public_url` is required: links, cookies and devices need the name \
                 under which the outside reaches this server",
            ));
        }
        if config.tls_cert.is_some() != config.tls_key.is_some() {
            let (has, name) = if config.tls_cert.is_some() {
                ("tls.cert", "needs `tls.key` beside it")
            } else {
                ("tls.key", "needs `tls.cert` beside it")
            };
            found.push((blame(has), has, name));
        }
        let is_http = |url: &ServerUrl| url.as_str().starts_with("http:");
        if config.tls_files().is_some() && config.public_url.as_ref().is_some_and(is_http) {
            found.push((blame("public_url"), "public_url", "must be https when TLS is on"));
        }
        if config.admin_listen == config.listen && config.listen.port() != 0 {
            found.push((blame("admin.listen"), "admin.listen", "must differ from `listen`"));
        }
        for (key, message) in authenticator::check(&config) {
            found.push((blame(key), key, message));
        }
        for (origin, key, message) in found {
            self.issue(origin, Some(key), message);
        }
        for (key, file) in
            [("guard.policy", &config.guard_policy), ("guard.shadow", &config.guard_shadow)]
        {
            self.check_policy(key, file.as_deref());
        }
    }

    /// A policy's own lines are told as those of the settings are.
    fn check_policy(&mut self, key: &str, file: Option<&Path>) {
        let (Some(file), Err(wrong)) = (file, policy_file::load(file)) else { return };
        for (line, message) in wrong.found() {
            let origin = match line {
                Some(line) => Origin::File(file.to_owned(), *line),
                None => self.loaded.origin(key),
            };
            let message = match line {
                Some(_) => message.clone(),
                None => format!("names {}: {message}", file.display()),
            };
            self.issue(origin, line.is_none().then_some(key), message);
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// 1 for the first line.
fn line_of(source: &str, offset: usize) -> usize {
    let before = source.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

fn suggestion(name: &str) -> Option<&'static str> {
    let near = |key: &Key| strsim::damerau_levenshtein(name, key.name);
    let best = KEYS.iter().min_by_key(|key| near(key))?;
    // a table that was left out: `cert` for `tls.cert`
    let tail =
        KEYS.iter().find(|key| key.name.rsplit_once('.').is_some_and(|(_, last)| last == name));
    if near(best) <= SUGGEST_WITHIN { Some(best.name) } else { tail.map(|key| key.name) }
}

impl Loaded {
    /// Where a key's value came from.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        self.origins.get(name).cloned().unwrap_or(Origin::Default)
    }

    /// The settings in effect as a TOML file, each with where it came from. Nothing secret is among them: keys
    /// are named by file, and webhooks are shown without what may be secret.
    #[must_use]
    pub fn print(&self) -> String {
        let mut out = String::new();
        let mut table = "";
        for key in KEYS {
            let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
            let shown = (key.show)(&self.config);
            if section != table {
                table = section;
                let _ = writeln!(out, "\n[{section}]");
            }
            let _ = match shown {
                Some(value) => writeln!(out, "{name} = {value} # {}", self.origin(key.name)),
                None => writeln!(out, "# {name}: {}", key.about),
            };
        }
        for endpoint in &self.config.webhooks {
            let _ = write!(out, "\n[[webhooks]]\n{}", endpoint.shown());
        }
        out
    }

    /// The same as JSON: `{key: {value, from}}`.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let entry = |key: &str, value| {
            let from = self.origin(key).to_string();
            (key.to_owned(), serde_json::json!({ "value": value, "from": from }))
        };
        let webhooks = self.config.webhooks.iter().map(Endpoint::shown);
        let webhooks = serde_json::json!(webhooks.collect::<Vec<_>>());
        KEYS.iter()
            .map(|key| {
                let value = match (key.show)(&self.config) {
                    Some(toml::Value::Array(items)) => {
                        items.iter().filter_map(toml::Value::as_str).collect()
                    }
                    Some(toml::Value::Integer(number)) => number.into(),
                    Some(value) => value.as_str().into(),
                    None => serde_json::Value::Null,
                };
                entry(key.name, value)
            })
            .chain([entry("webhooks", webhooks)])
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

impl Issues {
    /// As JSON: `{ok, problems: [{origin, key, message}]}`.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let problems: Vec<_> = self
            .0
            .iter()
            .map(|issue| {
                serde_json::json!({
                    "origin": issue.origin.to_string(),
                    "key": issue.key,
                    "message": issue.message,
                })
            })
            .collect();
        serde_json::json!({ "ok": problems.is_empty(), "problems": problems })
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
