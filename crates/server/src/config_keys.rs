//! The settings, one by one: name, what it is for, how its text is read and shown.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use http_limits::{Cidr, MAX_PER_MINUTE};
use statement::{ServerUrl, UrlError};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// A value as a file, the environment or a flag gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// One word.
    Text(String),
    /// Several; in the environment they are separated by commas.
    List(Vec<String>),
}

impl Value {
    fn text(self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::List(_) => Err("takes one value, not a list".to_owned()),
        }
    }

    fn list(self) -> Vec<String> {
        match self {
            Self::List(list) => list,
            Self::Text(text) => text
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect(),
        }
    }
}

/// A setting.
pub(crate) struct Key {
    /// Its dotted name.
    pub(crate) name: &'static str,
    /// What it is for, in one line.
    pub(crate) about: &'static str,
    /// Reads it.
    pub(crate) set: fn(&mut Config, Value) -> Result<(), String>,
    /// Shows it as TOML; `None` if it isn't set.
    pub(crate) show: fn(&Config) -> Option<toml::Value>,
}

/// All settings, those of one table together.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "listen",
        about: "where integrations, browsers and devices connect",
        set: |config, value| set_address(&mut config.listen, value),
        show: |config| Some(config.listen.to_string().into()),
    },
    Key {
        name: "data",
        about: "directory of the database, the keys and the admin socket",
        set: |config, value| {
            config.data = path(value)?;
            Ok(())
        },
        show: |config| Some(show_path(&config.data)),
    },
    Key {
        name: "public_url",
        about: "how the outside reaches this server; required when `listen` is not loopback",
        set: |config, value| {
            config.public_url = Some(public_url(&value.text()?)?);
            Ok(())
        },
        show: |config| config.public_url.as_ref().map(|url| url.as_str().into()),
    },
    Key {
        name: "trusted_proxies",
        about: "networks whose X-Forwarded-For is believed",
        set: set_proxies,
        show: |config| {
            let networks = config.trusted_proxies.iter();
            Some(networks.map(Cidr::to_string).collect::<Vec<_>>().into())
        },
    },
    Key {
        name: "admin.listen",
        about: "where /livez, /readyz and /metrics are; no one is asked who they are",
        set: |config, value| set_address(&mut config.admin_listen, value),
        show: |config| Some(config.admin_listen.to_string().into()),
    },
    Key {
        name: "authenticator.listen",
        about: "where the web authenticator is; an origin of its own",
        set: |config, value| {
            let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
            set_address(&mut address, value)?;
            config.authenticator_listen = Some(address);
            Ok(())
        },
        show: |config| config.authenticator_listen.map(|address| address.to_string().into()),
    },
    Key {
        name: "authenticator.url",
        about: "how browsers reach the web authenticator; required beside `public_url`",
        set: |config, value| {
            config.authenticator_url = Some(public_url(&value.text()?)?);
            Ok(())
        },
        show: |config| config.authenticator_url.as_ref().map(|url| url.as_str().into()),
    },
    Key {
        name: "tls.cert",
        about: "PEM file with the certificate chain, leaf first",
        set: |config, value| {
            config.tls_cert = Some(path(value)?);
            Ok(())
        },
        show: |config| config.tls_cert.as_deref().map(show_path),
    },
    Key {
        name: "tls.key",
        about: "PEM file with the certificate's private key",
        set: |config, value| {
            config.tls_key = Some(path(value)?);
            Ok(())
        },
        show: |config| config.tls_key.as_deref().map(show_path),
    },
    Key {
        name: "log.level",
        about: "error, warn, info, debug, trace, or a filter such as info,edge_ws=debug",
        set: |config, value| {
            let text = value.text()?;
            EnvFilter::try_new(&text).map_err(|_| "isn't a level or filter".to_owned())?;
            config.log_level = text;
            Ok(())
        },
        show: |config| Some(config.log_level.clone().into()),
    },
    Key {
        name: "log.format",
        about: "text or json",
        set: |config, value| {
            config.log_format = match value.text()?.as_str() {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err("must be text or json".to_owned()),
            };
            Ok(())
        },
        show: |config| Some(config.log_format.name().into()),
    },
    Key {
        name: "quota.per_minute",
        about: "requests a minute that each integration may make; not set: any number",
        set: |config, value| {
            let number = value.text()?.parse().ok();
            let number = number.filter(|number: &NonZeroU32| number.get() <= MAX_PER_MINUTE);
            let why = || format!("must be a number from 1 to {MAX_PER_MINUTE}");
            config.quota = Some(number.ok_or_else(why)?);
            Ok(())
        },
        show: |config| config.quota.map(|number| i64::from(number.get()).into()),
    },
    Key {
        name: "guard.policy",
        about: "TOML file with the guard's numbers; docs/guard-policy.md",
        set: |config, value| {
            config.guard_policy = Some(path(value)?);
            Ok(())
        },
        show: |config| config.guard_policy.as_deref().map(show_path),
    },
    Key {
        name: "guard.shadow",
        about: "another, which judges beside it and changes nothing",
        set: |config, value| {
            config.guard_shadow = Some(path(value)?);
            Ok(())
        },
        show: |config| config.guard_shadow.as_deref().map(show_path),
    },
    Key {
        name: "places.city_mmdb",
        about: "MMDB file that says in which country and city an address is",
        set: |config, value| {
            config.city_mmdb = Some(path(value)?);
            Ok(())
        },
        show: |config| config.city_mmdb.as_deref().map(show_path),
    },
    Key {
        name: "places.asn_mmdb",
        about: "MMDB file that says of which autonomous system an address is",
        set: |config, value| {
            config.asn_mmdb = Some(path(value)?);
            Ok(())
        },
        show: |config| config.asn_mmdb.as_deref().map(show_path),
    },
    Key {
        name: "store.url",
        about: "not built yet: a database that many nodes share",
        set: |_, _| Err(not_built()),
        show: |_| None,
    },
    Key {
        name: "hot.url",
        about: "not built yet: a Redis or Valkey that many nodes share",
        set: |_, _| Err(not_built()),
        show: |_| None,
    },
];

fn not_built() -> String {
    "is not built yet: it comes with many nodes. This version stores in `data`".to_owned()
}

fn set_address(address: &mut SocketAddr, value: Value) -> Result<(), String> {
    *address = value
        .text()?
        .parse()
        .map_err(|_| "must be an address and a port, such as 127.0.0.1:8470".to_owned())?;
    Ok(())
}

fn set_proxies(config: &mut Config, value: Value) -> Result<(), String> {
    config.trusted_proxies = value
        .list()
        .into_iter()
        .map(|text| text.parse().map_err(|error| format!("{text}: {error}")))
        .collect::<Result<_, _>>()?;
    Ok(())
}

fn path(value: Value) -> Result<PathBuf, String> {
    match value.text()? {
        text if text.is_empty() => Err("must not be empty".to_owned()),
        text => Ok(text.into()),
    }
}

fn show_path(path: &Path) -> toml::Value {
    path.display().to_string().into()
}

/// An origin: cookies and the server's identity are bound to a host, not to a path on it.
fn public_url(text: &str) -> Result<ServerUrl, String> {
    let url: ServerUrl = text.parse().map_err(|error| match error {
        UrlError::Malformed => "must be an origin such as https://mfa.example.com".to_owned(),
        UrlError::Insecure => {
            "must be https: numbers, keys and cookies would cross the network in the clear"
                .to_owned()
        }
    })?;
    if url.as_str().ends_with(&format!("://{}", url.authority())) {
        Ok(url)
    } else {
        Err("must be an origin such as https://mfa.example.com, without a path".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_urls() {
        for (text, origin) in [
            ("https://mfa.example.com", Some("https://mfa.example.com")),
            ("https://MFA.example.com/", Some("https://mfa.example.com")),
            ("https://mfa.example.com:8443", Some("https://mfa.example.com:8443")),
            ("http://127.0.0.1:8470", Some("http://127.0.0.1:8470")),
            ("http://[::1]:8470", Some("http://[::1]:8470")),
            ("http://localhost", Some("http://localhost")),
            ("http://mfa.example.com", None),
            ("https://mfa.example.com/mfa", None),
            ("https://mfa.example.com?x", None),
            ("https://mfa.example.com/#x", None),
            ("https://u:p@mfa.example.com", None),
            ("mfa.example.com", None),
            ("ftp://mfa.example.com", None),
            ("", None),
        ] {
            let url = public_url(text).ok();
            assert_eq!(url.as_ref().map(ServerUrl::as_str), origin, "{text}");
        }
    }

    #[test]
    fn lists_come_as_lists_or_with_commas() {
        let comma = Value::Text(" 10.0.0.0/8, ::1 ,".to_owned()).list();
        assert_eq!(comma, ["10.0.0.0/8", "::1"]);
        assert!(Value::Text(String::new()).list().is_empty());
    }

    #[test]
    fn keys_of_one_table_stand_together() {
        let tables: Vec<_> = KEYS
            .iter()
            .map(|key| key.name.split_once('.').map_or("", |(table, _)| table))
            .collect();
        let mut seen: Vec<&str> = Vec::new();
        for pair in tables.windows(2) {
            if pair[0] != pair[1] {
                seen.push(pair[0]);
                assert!(!seen.contains(&pair[1]), "{}", pair[1]);
            }
        }
        assert_eq!(tables[0], "", "keys without a table come first in TOML");
    }

    #[test]
    fn every_key_is_documented() {
        let docs = include_str!("../../../docs/configuration.md");
        for key in KEYS {
            assert!(docs.contains(&format!("| `{}` |", key.name)), "{}", key.name);
        }
    }
}
