//! The web authenticator's place: a listener and an origin of its own, and how browsers come there.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::Method;
use http_limits::{Front, Fronted, RequestIds, front};
use statement::ServerUrl;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock;
use crate::config::Config;
use crate::connections::{Bounds, Drained};
use crate::listener::Listener;
use crate::node::{StartError, local_hosts};
use crate::tls::TlsConfig;

/// Where enrolment links lead.
const ENROL: &str = "/enrol";

/// A web authenticator that is bound and doesn't serve yet.
pub(crate) struct Site {
    listener: Listener,
    fronted: Fronted,
    /// How browsers write the origins from which its sockets come.
    pub(crate) origins: Vec<String>,
    /// Where it is.
    pub(crate) url: ServerUrl,
}

impl Site {
    /// Binds what `config` asks for, if it does; `server` is where its devices connect. A `local` one is for
    /// browsers on this machine alone.
    pub(crate) async fn bind(
        config: &Config,
        server: &ServerUrl,
        tls: Option<TlsConfig>,
        bounds: Bounds,
        local: bool,
    ) -> Result<Option<Self>, StartError> {
        let Some(address) = config.authenticator_listen else { return Ok(None) };
        let listener = Listener::bind(address, tls, bounds).await?;
        let bound = listener.local_addr();
        let url = match &config.authenticator_url {
            Some(url) => url.clone(),
            None => format!("{}://{bound}", listener.scheme()).parse()?,
        };
        if Place::of(&url) == Place::of(server) {
            return Err(StartError::SharedOrigin(url));
        }
        let hosts = local.then(|| local_hosts(bound));
        let mut origins = vec![origin(&url)];
        origins.extend(hosts.iter().flat_map(|hosts| hosts.iter()).map(|h| format!("http://{h}")));
        let settings = Front {
            trusted_proxies: config.trusted_proxies.clone().into(),
            ids: RequestIds::new(clock::seed()),
            hosts,
            shed: None,
        };
        let fronted = front(authenticator_web::router(server), settings);
        Ok(Some(Self { listener, fronted, origins, url }))
    }

    /// Where it listens, with its scheme.
    pub(crate) fn address(&self) -> (&'static str, SocketAddr) {
        (self.listener.scheme(), self.listener.local_addr())
    }

    /// Serves in a task of its own until `stop`.
    pub(crate) fn spawn(self, stop: watch::Receiver<bool>) -> JoinHandle<Drained> {
        tokio::spawn(self.listener.run(self.fronted, stop))
    }
}

/// Lets enrolment links that a browser opens lead to the authenticator, if there is one. Browsers carry the
/// fragment, which is the secret, over to an address that has none (Fetch §4.4); neither server is sent it.
pub(crate) fn led_to(router: Router, site: Option<&Site>) -> Router {
    match site {
        Some(Site { url, .. }) => router.layer(from_fn_with_state(format!("{url}{ENROL}"), lead)),
        None => router,
    }
}

async fn lead(State(to): State<String>, request: Request, next: Next) -> Response {
    if request.uri().path() == ENROL && request.method() == Method::GET {
        return Redirect::temporary(&to).into_response();
    }
    next.run(request).await
}

/// What is wrong with the settings of the web authenticator: the key to blame, and why.
pub(crate) fn check(config: &Config) -> Vec<(&'static str, &'static str)> {
    const LISTEN: &str = "authenticator.listen";
    const URL: &str = "authenticator.url";
    let mut found = Vec::new();
    let Some(listen) = config.authenticator_listen else {
        if config.authenticator_url.is_some() {
            found.push((URL, "needs `authenticator.listen` beside it"));
        }
        return found;
    };
    let taken = |other: SocketAddr| overlap(listen, other);
    if taken(config.listen) {
        let why = "must differ from `listen`: the authenticator needs an origin of its own, where no script \
                   of a sign-in page can reach its key";
        found.push((LISTEN, why));
    }
    if taken(config.admin_listen) {
        found.push((LISTEN, "must differ from `admin.listen`"));
    }
    match (&config.authenticator_url, &config.public_url) {
        (Some(url), Some(public)) if Place::of(url) == Place::of(public) => {
            let why = "must be another origin than `public_url`: no script of a sign-in page may reach the \
                       authenticator's key";
            found.push((URL, why));
        }
        (None, Some(_)) => {
            let why = "is not enough where `public_url` is set: `authenticator.url` must say how browsers \
                       reach it";
            found.push((LISTEN, why));
        }
        (None, None) if !listen.ip().is_loopback() => {
            found.push((LISTEN, "is not loopback, so `authenticator.url` is required"));
        }
        _ => {}
    }
    found
}

/// Whether a browser that is sent to one may reach the other: `localhost` is any address of this machine.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let both = a == b || a.is_unspecified() || b.is_unspecified();
    one.port() == other.port() && one.port() != 0 && (both || (a.is_loopback() && b.is_loopback()))
}

/// An origin as browsers write it: a scheme's own port is left out (RFC 6454 §6.2), and so is a path.
fn origin(url: &ServerUrl) -> String {
    let (scheme, _) = url.as_str().split_once("://").unwrap_or_default();
    let own_port = if scheme == "https" { ":443" } else { ":80" };
    let authority = url.authority();
    format!("{scheme}://{}", authority.strip_suffix(own_port).unwrap_or(authority))
}

/// Where an address leads, however it is written. Browsers count `localhost`, `127.0.0.1` and `[::1]` as origins of
/// their own, and a name with a dot at its end as another one; what answers there is the same.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: Host,
    port: u16,
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    Loopback,
    Address(IpAddr),
    Name(String),
}

impl Place {
    fn of(url: &ServerUrl) -> Self {
        let own_port = if url.as_str().starts_with("https:") { 443 } else { 80 };
        let authority = url.authority();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(own_port)),
            _ => (authority, own_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let host = match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(address) if address.is_loopback() => Host::Loopback,
            Ok(address) => Host::Address(address),
            // RFC 6761 §6.3
            Err(_) if host == "localhost" || host.ends_with(".localhost") => Host::Loopback,
            Err(_) => Host::Name(host.to_ascii_lowercase()),
        };
        Self { host, port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str, url: Option<&str>, public: Option<&str>) -> Config {
        Config {
            authenticator_listen: Some(listen.parse().unwrap()),
            authenticator_url: url.map(|url| url.parse().unwrap()),
            public_url: public.map(|url| url.parse().unwrap()),
            ..Config::default()
        }
    }

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        for (url, written) in [
            ("https://Auth.example.org:443/x", "https://auth.example.org"),
            ("https://auth.example.org:8443", "https://auth.example.org:8443"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://127.0.0.1:8472", "http://127.0.0.1:8472"),
        ] {
            assert_eq!(origin(&url.parse().unwrap()), written);
        }
    }

    #[tokio::test]
    async fn nor_with_a_server_that_named_itself_when_it_was_bound() {
        let url = Some("http://localhost:8470");
        let config = config("127.0.0.1:0", url, None);
        let server = "http://127.0.0.1:8470".parse().unwrap();
        let bound = Site::bind(&config, &server, None, Bounds::operators(), false).await;
        assert!(matches!(bound, Err(StartError::SharedOrigin(_))));
    }

    #[track_caller]
    fn blamed(config: &Config, keys: &[&str]) {
        let found: Vec<_> = check(config).into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, keys);
    }

    #[test]
    fn the_authenticator_shares_no_origin() {
        const LISTEN: &str = "authenticator.listen";
        const URL: &str = "authenticator.url";
        let public = Some("https://mfa.example.org");
        blamed(&Config::default(), &[]);
        blamed(&config("127.0.0.1:8472", None, None), &[]);
        blamed(&config("127.0.0.1:8470", None, None), &[LISTEN]);
        blamed(&config("127.0.0.1:8471", None, None), &[LISTEN]);
        blamed(&config("127.0.0.1:0", None, None), &[]);
        blamed(&config("0.0.0.0:8472", None, None), &[LISTEN]);
        blamed(&config("127.0.0.1:8472", None, public), &[LISTEN]);
        blamed(&config("127.0.0.1:8472", Some("https://auth.example.org"), public), &[]);
        blamed(&config("127.0.0.1:8472", Some("https://mfa.example.org:8443"), public), &[]);
        for same in [
            "https://mfa.example.org",
            "https://MFA.example.org:443",
            "https://mfa.example.org.",
            "https://mfa.example.org.:443/authenticator",
        ] {
            blamed(&config("127.0.0.1:8472", Some(same), public), &[URL]);
        }
        // one machine, whatever it is called
        let local = Some("http://127.0.0.1:8470");
        for same in [
            "http://localhost:8470",
            "http://LOCALHOST:8470/x",
            "http://[::1]:8470",
            "http://[0:0:0:0:0:0:0:1]:8470",
            "http://127.0.0.2:8470",
        ] {
            blamed(&config("127.0.0.1:8472", Some(same), local), &[URL]);
        }
        blamed(
            &config("127.0.0.1:8472", Some("http://localhost:80"), Some("http://[::1]")),
            &[URL],
        );
        blamed(&config("127.0.0.1:8472", Some("http://localhost:8472"), local), &[]);
        let address = Some("https://[2001:db8::1]");
        blamed(&config("127.0.0.1:8472", Some("https://[2001:DB8:0::1]:443"), address), &[URL]);
        blamed(&config("127.0.0.1:8472", Some("https://[2001:db8::2]"), address), &[]);
        for same in ["[::1]:8470", "127.0.0.2:8470"] {
            blamed(&config(same, None, None), &[LISTEN]);
        }
        blamed(&config("0.0.0.0:8470", Some("https://auth.example.org"), public), &[LISTEN]);
        let alone = Config { authenticator_listen: None, ..config("[::1]:1", public, None) };
        blamed(&alone, &[URL]);
    }
}
