//! `[[webhooks]]` tables of the configuration file.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use domain::audit::Event;
use http::Uri;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};
use zeroize::Zeroizing;

use super::addresses;
use super::signer::{SecretError, Signer};

/// Most webhooks: each has a task, a file and a connection, and reads the audit once a second.
const MAX_WEBHOOKS: usize = 16;
/// Longest name: it is a file's name and a metric's label.
const MAX_NAME: usize = 40;
/// Longest URL: what every HTTP implementation takes (RFC 9110 §4.1 asks for 8000; receivers' are far shorter).
const MAX_URL: usize = 2_000;
/// What a webhook is told unless it says otherwise.
const DEFAULT_TYPES: [Event; 1] = [Event::Alert];
/// The settings of one webhook.
const KEYS: [&str; 9] = [
    "name",
    "tenant",
    "integration",
    "url",
    "secret",
    "secret_file",
    "types",
    "allow_private",
    "ca_file",
];

/// A receiver as the operator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name in commands, metrics and the data directory.
    pub name: String,
    /// Whose events; all tenants' if `None`.
    pub tenant: Option<String>,
    /// Where it is.
    pub url: Target,
    /// What messages to it are signed with.
    pub secret: SecretSource,
    /// Types of events that it is told.
    pub types: Vec<Event>,
    /// The name or id of an integration that is told how its own challenges end, and nothing else: what it could
    /// ask for by itself.
    pub integration: Option<String>,
    /// Whether it may be on a private network or, by plain http, on this machine.
    pub allow_private: bool,
    /// A PEM file with more authorities that may vouch for it.
    pub ca_file: Option<PathBuf>,
}

/// Where a receiver is. Shown only as an origin: what follows may be a secret of the receiver's.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Over TLS, or in the clear to this machine.
    pub https: bool,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name or address as a `Host` header has it.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Target {
    pub(crate) fn parse(text: &str, allow_private: bool) -> Result<Self, String> {
        let malformed = || "must be a URL such as https://soc.example.com/countersign".to_owned();
        if text.len() > MAX_URL {
            return Err(format!("must have at most {MAX_URL} characters"));
        }
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(malformed()),
        };
        if authority.as_str().contains('@') {
            return Err("must not hold a name or password: messages are signed".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let address: Option<IpAddr> = host.parse().ok();
        let here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        // nothing stands behind the host but a port
        let bare = authority.as_str() == authority.host();
        if host.is_empty() || !bare && authority.port_u16().is_none() {
            return Err(malformed());
        }
        if !(https || here && allow_private) {
            return Err(
                "must be https; plain http only to this machine, with allow_private = true"
                    .to_owned(),
            );
        }
        if let Some(what) = address.and_then(|at| addresses::refusal(at, allow_private)) {
            return Err(format!("leads to {what}{}", hint(what)));
        }
        Ok(Self {
            https,
            host,
            port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// Scheme, name and port.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

/// What to do about an address that isn't public.
pub(crate) fn hint(what: &str) -> &'static str {
    match what {
        "private" | "loopback" | "unique-local" | "a carrier's shared network" => {
            "; allow_private = true allows it"
        }
        _ => "",
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/..", self.origin())
    }
}

/// Where the secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In the configuration.
    Inline(Zeroizing<String>),
    /// In a file of its own, read at the start.
    File(PathBuf),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(..)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretLoadError {
    /// The file can't be read.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// What is there is none.
    #[error("{place}: {error}")]
    Secret {
        /// Where.
        place: String,
        /// Why.
        error: SecretError,
    },
}

impl SecretSource {
    pub(crate) fn load(&self) -> Result<Signer, SecretLoadError> {
        let (place, text) = match self {
            Self::Inline(text) => ("secret".to_owned(), text.clone()),
            Self::File(path) => {
                let text = fs::read_to_string(path);
                let text = text.map_err(|error| SecretLoadError::File(path.clone(), error))?;
                (path.display().to_string(), Zeroizing::new(text))
            }
        };
        Signer::from_text(&text).map_err(|error| SecretLoadError::Secret { place, error })
    }
}

impl Endpoint {
    /// As it is shown in settings: without what may be secret.
    pub(crate) fn shown(&self) -> toml::Table {
        let mut table = toml::Table::new();
        let mut put = |key: &str, value: toml::Value| table.insert(key.to_owned(), value);
        put("name", self.name.clone().into());
        if let Some(tenant) = &self.tenant {
            put("tenant", tenant.clone().into());
        }
        put("url", format!("{:?}", self.url).into());
        let path = |path: &Path| toml::Value::from(path.display().to_string());
        match &self.secret {
            SecretSource::Inline(_) => put("secret", "whsec_..".into()),
            SecretSource::File(file) => put("secret_file", path(file)),
        };
        let types = self.types.iter().map(|kind| kind.name().to_owned());
        match &self.integration {
            Some(integration) => put("integration", integration.clone().into()),
            None => put("types", types.collect::<Vec<_>>().into()),
        };
        put("allow_private", self.allow_private.into());
        if let Some(file) = &self.ca_file {
            put("ca_file", path(file));
        }
        table
    }
}

/// Something wrong with a table.
pub(crate) struct Wrong {
    /// Where in the file.
    pub(crate) span: Range<usize>,
    /// Which key.
    pub(crate) key: String,
    /// What, and what to do.
    pub(crate) message: String,
}

/// Reads the `[[webhooks]]` tables of a file, and tells everything that is wrong with them.
pub(crate) fn read(tables: &DeArray<'_>, span: Range<usize>) -> (Vec<Endpoint>, Vec<Wrong>) {
    let (mut endpoints, mut wrong) = (Vec::<Endpoint>::new(), Vec::new());
    let mut refuse = |span: Range<usize>, key: &str, message: &str| {
        wrong.push(Wrong { span, key: key.to_owned(), message: message.to_owned() });
    };
    if tables.len() > MAX_WEBHOOKS {
        refuse(span, "webhooks", &format!("has more than {MAX_WEBHOOKS} tables"));
        return (endpoints, wrong);
    }
    for table in tables {
        let DeValue::Table(fields) = table.get_ref() else {
            refuse(table.span(), "webhooks", "must be [[webhooks]] tables");
            continue;
        };
        let mut reader = Reader { fields, span: table.span(), wrong: Vec::new() };
        let endpoint = reader.endpoint();
        for Wrong { span, key, message } in reader.wrong {
            refuse(span, &format!("webhooks.{key}"), &message);
        }
        let Some(endpoint) = endpoint else { continue };
        if endpoints.iter().any(|other| other.name == endpoint.name) {
            refuse(table.span(), "webhooks.name", "is the name of another webhook already");
        }
        endpoints.push(endpoint);
    }
    (endpoints, wrong)
}

struct Reader<'a, 'i> {
    fields: &'a DeTable<'i>,
    span: Range<usize>,
    wrong: Vec<Wrong>,
}

impl<'a, 'i> Reader<'a, 'i> {
    fn refuse(&mut self, span: Range<usize>, key: &str, message: impl Into<String>) {
        self.wrong.push(Wrong { span, key: key.to_owned(), message: message.into() });
    }

    /// The table's webhook; `None` if something is wrong with it.
    fn endpoint(&mut self) -> Option<Endpoint> {
        for name in self.fields.keys() {
            if !KEYS.contains(&name.get_ref().as_ref()) {
                let message =
                    format!("is not a setting of a webhook; those are {}", KEYS.join(", "));
                self.refuse(name.span(), name.get_ref(), message);
            }
        }
        let allow_private = self.boolean("allow_private");
        let name = self.parsed("name", name);
        let url = self.parsed("url", |text| Target::parse(text, allow_private));
        let tenant = self.parsed("tenant", |text| full(text).map(str::to_owned));
        let ca_file = self.parsed("ca_file", |text| full(text).map(PathBuf::from));
        let secret = self.secret();
        let integration = self.parsed("integration", |text| full(text).map(str::to_owned));
        let types = self.types(integration.is_some());
        for (missing, key) in [(!self.has("name"), "name"), (!self.has("url"), "url")] {
            if missing {
                self.refuse(self.span.clone(), key, "is required");
            }
        }
        if !self.wrong.is_empty() {
            return None;
        }
        Some(Endpoint {
            name: name?,
            tenant,
            url: url?,
            secret: secret?,
            types,
            integration,
            allow_private,
            ca_file,
        })
    }

    fn has(&self, key: &str) -> bool {
        self.field(key).is_some()
    }

    fn field(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.fields.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn parsed<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.field(key)?;
        let parsed = match value.get_ref() {
            DeValue::String(text) => parse(text),
            _ => Err("must be a string".to_owned()),
        };
        parsed.map_err(|message| self.refuse(value.span(), key, message)).ok()
    }

    fn boolean(&mut self, key: &str) -> bool {
        let Some(value) = self.field(key) else { return false };
        match value.get_ref() {
            DeValue::Boolean(truth) => *truth,
            _ => {
                self.refuse(value.span(), key, "must be true or false");
                false
            }
        }
    }

    fn secret(&mut self) -> Option<SecretSource> {
        let inline = self.parsed("secret", |text| {
            Signer::from_text(text).map_err(|error| error.to_string())?;
            Ok(SecretSource::Inline(Zeroizing::new(text.to_owned())))
        });
        let file = self
            .parsed("secret_file", |text| full(text).map(|text| SecretSource::File(text.into())));
        match (self.has("secret"), self.has("secret_file")) {
            (false, false) => {
                self.refuse(self.span.clone(), "secret_file", "is required, or `secret`");
            }
            (true, true) => {
                self.refuse(self.span.clone(), "secret_file", "and `secret` exclude each other");
            }
            _ => {}
        }
        inline.or(file)
    }

    fn types(&mut self, decisions: bool) -> Vec<Event> {
        let Some(value) = self.field("types") else {
            return if decisions { vec![Event::ChallengeDecided] } else { DEFAULT_TYPES.to_vec() };
        };
        if decisions {
            let message = "and `integration` exclude each other: an integration is told how its \
                           challenges end, and nothing else";
            self.refuse(value.span(), "types", message);
            return Vec::new();
        }
        let named = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
            DeValue::String(text) => Event::from_name(text),
            _ => None,
        };
        let types: Option<Vec<Event>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(named).collect(),
            _ => None,
        };
        types.filter(|types| !types.is_empty()).unwrap_or_else(|| {
            let message =
                "must be a list of event types, such as [\"alert\"]; docs/events.md has all";
            self.refuse(value.span(), "types", message);
            Vec::new()
        })
    }
}

fn name(text: &str) -> Result<String, String> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {MAX_NAME} of a-z, 0-9, - and _"))
    }
}

fn full(text: &str) -> Result<&str, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\n";

    fn read_text(text: &str) -> (Vec<Endpoint>, Vec<String>) {
        let table = DeTable::parse(text).unwrap();
        let (_, value) = table.get_ref().iter().next().unwrap();
        let DeValue::Array(tables) = value.get_ref() else { panic!("{text}") };
        let (endpoints, wrong) = read(tables, value.span());
        (endpoints, wrong.iter().map(|w| format!("{}: {}", w.key, w.message)).collect())
    }

    fn one(fields: &str) -> (Vec<Endpoint>, Vec<String>) {
        read_text(&format!("[[webhooks]]\n{SECRET}{fields}"))
    }

    #[track_caller]
    fn refuses(fields: &str, key: &str, part: &str) {
        let (endpoints, wrong) = one(fields);
        assert!(endpoints.is_empty(), "{fields}");
        assert!(
            wrong.iter().any(|w| w.starts_with(&format!("{key}: ")) && w.contains(part)),
            "{wrong:?}"
        );
        assert!(!wrong.concat().contains("MfKQ9r8GKYqr"), "{wrong:?}");
    }

    #[test]
    fn a_short_table_has_defaults() {
        let (endpoints, wrong) = one("name = 'soc'\nurl = 'https://soc.example.com/hook?k=v'\n");
        assert_eq!(wrong, Vec::<String>::new());
        let endpoint = &endpoints[0];
        assert_eq!((endpoint.url.host.as_str(), endpoint.url.port), ("soc.example.com", 443));
        assert_eq!(endpoint.url.path, "/hook?k=v");
        assert_eq!(endpoint.types, [Event::Alert]);
        assert!(!endpoint.allow_private && endpoint.tenant.is_none());
        let shown = format!("{endpoint:?}{:?}", endpoint.shown());
        assert!(!shown.contains("hook?") && !shown.contains("MfKQ9r8GKYqr"), "{shown}");
    }

    #[test]
    fn every_type_of_event_can_be_named() {
        let all: Vec<String> =
            Event::ALL.iter().map(|event| format!("'{}'", event.name())).collect();
        let fields = format!("name = 'x'\nurl = 'https://x.example'\ntypes = [{}]", all.join(","));
        let (endpoints, _) = one(&fields);
        assert_eq!(endpoints[0].types, Event::ALL);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_key() {
        let url = "url = 'https://x.example'\n";
        refuses("", "webhooks.name", "required");
        refuses("name = 'x'\n", "webhooks.url", "required");
        for name in ["''", "'../x'", "'A'", "'a b'", "7", "'a.json'"] {
            refuses(&format!("name = {name}\n{url}"), "webhooks.name", "");
        }
        refuses(&format!("name = 'x'\n{url}nmae = 'y'\n"), "webhooks.nmae", "not a setting");
        refuses(
            &format!("name = 'x'\n{url}types = ['alarm']\n"),
            "webhooks.types",
            "docs/events.md",
        );
        refuses(&format!("name = 'x'\n{url}types = []\n"), "webhooks.types", "list");
        refuses(
            &format!("name = 'x'\n{url}allow_private = 'yes'\n"),
            "webhooks.allow_private",
            "true",
        );
        refuses(
            &format!("name = 'x'\n{url}secret_file = 'f'\n"),
            "webhooks.secret_file",
            "exclude",
        );
        let (_, wrong) = read_text("[[webhooks]]\nname = 'x'\nurl = 'https://x.example'\n");
        assert_eq!(wrong, ["webhooks.secret_file: is required, or `secret`"]);
        let twice = format!("[[webhooks]]\nname = 'x'\n{url}{SECRET}").repeat(2);
        assert_eq!(read_text(&twice).1, ["webhooks.name: is the name of another webhook already"]);
        let many = format!("[[webhooks]]\nname = 'x'\n{url}{SECRET}").repeat(MAX_WEBHOOKS + 1);
        assert_eq!(read_text(&many).1, ["webhooks: has more than 16 tables"]);
        assert_eq!(read_text("webhooks = ['x']").1, ["webhooks: must be [[webhooks]] tables"]);
    }

    #[test]
    fn urls() {
        for (url, private, part) in [
            ("https://x.example", false, None),
            ("https://x.example:8443/a?b", false, None),
            ("https://[2606:4700::1111]:444/", false, None),
            ("http://127.0.0.1:9/", true, None),
            ("http://[::1]:9/", true, None),
            ("http://localhost/", true, None),
            ("https://10.0.0.1/", true, None),
            ("http://127.0.0.1:9/", false, Some("must be https")),
            ("http://10.0.0.1/", true, Some("must be https")),
            ("http://x.example/", true, Some("must be https")),
            ("https://10.0.0.1/", false, Some("allow_private = true")),
            ("https://[::1]/", false, Some("loopback")),
            ("https://169.254.169.254/", true, Some("link-local")),
            ("https://[::ffff:7f00:1]/", true, Some("disguise")),
            ("https://u:p@x.example/", false, Some("password")),
            ("ftp://x.example/", false, Some("must be a URL")),
            ("x.example", false, Some("must be a URL")),
            ("/x", false, Some("must be a URL")),
            ("https://", false, Some("must be a URL")),
            ("https://x.example:99999/", false, Some("must be a URL")),
            ("", false, Some("must be a URL")),
        ] {
            let fields = format!("name = 'x'\nurl = '{url}'\nallow_private = {private}\n");
            match part {
                None => assert_eq!(one(&fields).1, Vec::<String>::new(), "{url}"),
                Some(part) => refuses(&fields, "webhooks.url", part),
            }
        }
        refuses(
            &format!("name='x'\nurl='https://x.example/{}'\n", "a".repeat(2_000)),
            "webhooks.url",
            "2000",
        );
    }

    #[test]
    fn a_secret_in_a_file_is_read_when_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        let source = SecretSource::File(file.clone());
        assert!(matches!(source.load(), Err(SecretLoadError::File(..))));
        fs::write(&file, "hunter2").unwrap();
        let error = source.load().unwrap_err().to_string();
        assert!(error.contains("whsec_") && !error.contains("hunter2"), "{error}");
        fs::write(&file, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        assert!(source.load().is_ok());
    }
}
