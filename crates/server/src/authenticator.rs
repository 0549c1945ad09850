//! The web authenticator's place: a listener and an origin of its own, and how browsers come there.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::Method;
use http_limits::{Front, RequestIds, front};
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
    router: Router,
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
        if origin(&url) == origin(server) {
            return Err(StartError::SharedOrigin(url));
        }
        let hosts = local.then(|| local_hosts(bound));
        let mut origins = vec![origin(&url)];
        origins.extend(hosts.iter().flat_map(|hosts| hosts.iter()).map(|h| format!("http://{h}")));
        let fronted = Front {
            trusted_proxies: config.trusted_proxies.clone().into(),
            ids: RequestIds::new(clock::seed()),
            hosts,
            shed: None,
        };
        let router = front(authenticator_web::router(server), fronted);
        Ok(Some(Self { listener, router, origins, url }))
    }

    /// Where it listens, with its scheme.
    pub(crate) fn address(&self) -> (&'static str, SocketAddr) {
        (self.listener.scheme(), self.listener.local_addr())
    }

    /// Serves in a task of its own until `stop`.
    pub(crate) fn spawn(self, stop: watch::Receiver<bool>) -> JoinHandle<Drained> {
        tokio::spawn(self.listener.run(self.router, stop))
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
    let taken = |other: SocketAddr| listen == other && listen.port() != 0;
    if taken(config.listen) {
        let why = "must differ from `listen`: the authenticator needs an origin of its own, where no script \
                   of a sign-in page can reach its key";
        found.push((LISTEN, why));
    }
    if taken(config.admin_listen) {
        found.push((LISTEN, "must differ from `admin.listen`"));
    }
    match (&config.authenticator_url, &config.public_url) {
        (Some(url), Some(public)) if origin(url) == origin(public) => {
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

/// An origin as browsers write it: a scheme's own port is left out (RFC 6454 §6.2).
fn origin(url: &ServerUrl) -> String {
    let text = url.as_str();
    let own_port = if text.starts_with("https:") { ":443" } else { ":80" };
    text.strip_suffix(own_port).unwrap_or(text).to_owned()
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
        for same in ["https://mfa.example.org", "https://MFA.example.org:443"] {
            blamed(&config("127.0.0.1:8472", Some(same), public), &[URL]);
        }
        let alone = Config { authenticator_listen: None, ..config("[::1]:1", public, None) };
        blamed(&alone, &[URL]);
    }
}
