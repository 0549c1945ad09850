//! The tables: who may name whom. A new crate, or a new edge, is a line here and nothing else.

/// One of our crates, and what its manifest may say.
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    pub(crate) layer: u8,
    /// Our crates that it may name as normal or build dependencies.
    pub(crate) ours: &'static [&'static str],
    /// The only outside crates it may name, for those that must stay pure; `None` is no limit.
    pub(crate) outside: Option<&'static [&'static str]>,
}

const L3_AND_BELOW: &[&str] =
    &["app", "http-limits", "ports", "session", "authenticator", "domain", "wire", "statement"];
const BACKEND: &[&str] = &["ports", "domain", "statement"];
const TOOL: &[&str] = &[
    "authenticator-native",
    "app",
    "http-limits",
    "ports",
    "session",
    "authenticator",
    "domain",
    "wire",
    "statement",
];

/// The crate that other crates may name only in their dev-dependencies.
pub(crate) const TESTKIT: &str = "testkit";

/// Backends are the test doubles, so the tests of every crate may name them.
pub(crate) const BACKENDS: &[&str] = &["backend-local", "backend-sql", "backend-redis"];

/// The layer whose programs may name anything in their tests.
pub(crate) const PROGRAMS: u8 = 5;

const fn pure(
    name: &'static str,
    layer: u8,
    ours: &'static [&'static str],
    outside: &'static [&'static str],
) -> Crate {
    Crate { name, layer, ours, outside: Some(outside) }
}

const fn shell(name: &'static str, layer: u8, ours: &'static [&'static str]) -> Crate {
    Crate { name, layer, ours, outside: None }
}

/// Our crates, bottom up. Arrows only go down; the one arrow inside a layer is http-limits -> app
/// (and testkit -> app, which no shipped crate can see).
pub(crate) const CRATES: &[Crate] = &[
    pure("statement", 0, &[], &["aws-lc-rs", "data-encoding", "serde", "thiserror", "zeroize"]),
    pure(
        "domain",
        1,
        &["statement"],
        &["data-encoding", "rand", "serde", "subtle", "thiserror", "totp-rs", "zeroize"],
    ),
    pure(
        "wire",
        1,
        &["statement"],
        &["prost", "prost-build", "protox", "serde", "serde_json", "utoipa"],
    ),
    pure("ports", 2, &["domain", "statement"], &["bytes", "serde", "thiserror", "zeroize"]),
    pure("session", 2, &["domain", "wire", "statement"], &["rand", "prost", "thiserror"]),
    pure(
        "authenticator",
        2,
        &["wire", "statement"],
        &["prost", "rand", "serde", "serde_json", "thiserror", "totp-rs", "zeroize"],
    ),
    pure(
        "app",
        3,
        &["ports", "domain", "wire", "statement"],
        &[
            "data-encoding",
            "futures-util",
            "prost",
            "rand",
            "serde",
            "serde_json",
            "subtle",
            "thiserror",
            "tracing",
            "zeroize",
        ],
    ),
    shell("http-limits", 3, &["app", "ports", "domain", "wire", "statement"]),
    shell(TESTKIT, 3, &["app", "ports", "session", "authenticator", "domain", "wire", "statement"]),
    shell("edge-http", 4, L3_AND_BELOW),
    shell("edge-ws", 4, L3_AND_BELOW),
    shell("edge-pages", 4, L3_AND_BELOW),
    shell("edge-oidc", 4, L3_AND_BELOW),
    shell("authenticator-web", 4, &["statement"]),
    shell("backend-local", 4, BACKEND),
    shell("backend-sql", 4, BACKEND),
    shell("backend-redis", 4, BACKEND),
    shell("places", 4, &["app", "statement"]),
    // what apps link: it knows the API by its description alone
    shell("countersign-client", 4, &[]),
    shell("authenticator-native", 4, &["authenticator", "wire", "statement"]),
    shell(
        "server",
        PROGRAMS,
        &[
            "edge-http",
            "edge-ws",
            "edge-pages",
            "edge-oidc",
            "backend-local",
            "backend-sql",
            "backend-redis",
            "places",
            "authenticator-native",
            "authenticator-web",
            "app",
            "http-limits",
            "ports",
            "session",
            "authenticator",
            "domain",
            "wire",
            "statement",
        ],
    ),
    shell("authenticator-cli", PROGRAMS, TOOL),
    shell(
        "loadtest",
        PROGRAMS,
        &["authenticator-native", "authenticator", "domain", "wire", "statement"],
    ),
    shell("xtask", PROGRAMS, TOOL),
];

/// Who alone may name an outside crate.
pub(crate) struct Reserved {
    pub(crate) outside: &'static [&'static str],
    pub(crate) normal: &'static [&'static str],
    pub(crate) dev: Dev,
}

/// Who may name it in dev-dependencies.
pub(crate) enum Dev {
    Anyone,
    Only(&'static [&'static str]),
}

/// `loadtest` measures axum by itself, as a floor of what the edges build on it.
const HTTP: &[&str] = &[
    "http-limits",
    "edge-http",
    "edge-ws",
    "edge-pages",
    "edge-oidc",
    "authenticator-web",
    "server",
    "loadtest",
];
/// `loadtest` drives a server that speaks it, and measures it by itself.
const TLS: &[&str] = &["server", "authenticator-native", "loadtest"];

/// Outside crates that would drag a database, a socket or a protocol where it does not belong.
pub(crate) const RESERVED: &[Reserved] = &[
    Reserved {
        outside: &["sqlx", "sqlx-core", "sqlx-sqlite", "sqlx-postgres", "libsqlite3-sys"],
        normal: &["backend-sql"],
        dev: Dev::Only(&["backend-sql"]),
    },
    Reserved { outside: &["maxminddb"], normal: &["places"], dev: Dev::Only(&["places"]) },
    Reserved { outside: &["iptocc"], normal: &["xtask"], dev: Dev::Only(&["places"]) },
    // `loadtest` measures SQLite by itself, as a floor of what backend-sql builds on it
    Reserved { outside: &["rusqlite"], normal: &["loadtest"], dev: Dev::Only(&["backend-sql"]) },
    Reserved {
        outside: &["redis"],
        normal: &["backend-redis"],
        dev: Dev::Only(&["backend-redis"]),
    },
    Reserved { outside: &["axum", "axum-core", "axum-extra"], normal: HTTP, dev: Dev::Only(HTTP) },
    Reserved {
        outside: &["tokio-tungstenite", "tungstenite"],
        normal: &["authenticator-native", "server"],
        dev: Dev::Anyone,
    },
    Reserved {
        outside: &["rustls", "tokio-rustls", "hyper-rustls"],
        normal: TLS,
        dev: Dev::Only(TLS),
    },
];

/// Licences whose terms we meet by shipping notices. An exception (`WITH`) only ever adds rights.
pub(crate) const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that state their licence in a file alone: which it is, as somebody has read there.
pub(crate) const READ: &[(&str, &str, &str)] = &[("www_authenticate_parser", "1.0.2", "MIT")];

pub(crate) const OUR_LICENCE: &str = "Apache-2.0";

/// Two copies of one of these in a program would be two protocols, two TLS stacks or two key
/// formats that do not know each other.
pub(crate) const EXACTLY_ONE: &[&str] = &["aws-lc-rs", "axum", "rustls", "tungstenite"];

/// A second crypto library, or one that comes from the host.
pub(crate) const NONE_OF: &[&str] = &["native-tls", "openssl-sys", "ring"];

pub(crate) fn find(name: &str) -> Option<&'static Crate> {
    CRATES.iter().find(|krate| krate.name == name)
}

#[cfg(test)]
mod tests {
    use super::{BACKENDS, CRATES, find};

    #[test]
    fn arrows_only_go_down() {
        let sideways = [("http-limits", "app"), ("testkit", "app")];
        for krate in CRATES {
            for below in krate.ours {
                let target = find(below).unwrap_or_else(|| panic!("{below} is not in the table"));
                let down = target.layer < krate.layer;
                let excused = sideways.contains(&(krate.name, below));
                assert!(down || excused, "{} -> {below} does not go down", krate.name);
            }
        }
    }

    #[test]
    fn only_the_server_names_edges_and_backends() {
        for krate in CRATES.iter().filter(|krate| krate.name != "server") {
            let shells = |name: &&&str| name.starts_with("edge-") || BACKENDS.contains(name);
            assert_eq!(krate.ours.iter().find(shells), None, "in {}", krate.name);
        }
    }
}
