//! The device gateway: WebSockets in front of session and use cases.
//!
//! One task owns one socket, from the moment that HTTP hands it over. It waits for whichever comes first of a stop, a hint, a message and a timer, and
//! does one thing at a time: while a use case runs nothing is read, so a device is held back by TCP and not by
//! a queue of ours. What it is told while it doesn't read waits in its mailbox, which is bounded.
//!
//! Architecture invariant: every refusal before the upgrade is a problem, every end after it a close code.

mod admission;
mod cards;
mod connection;
mod enter;
mod frames;
mod live;
mod socket;
mod told;
mod wheel;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use app::{App, Call};
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::header::{
    CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_limits::{ClientAddr, Code, Problem};
use hyper::upgrade::OnUpgrade;
use session::HelloFacts;
use tokio::sync::watch;
use wire::device::{PATH, SUBPROTOCOL};

pub use admission::Limits;
use admission::{Admission, LOGIN_TIME, Refusal};
use wheel::Wheel;

/// Makes the call of one request: the server's time and randomness.
pub type Calls = Arc<dyn Fn() -> Call + Send + Sync>;

/// When to come back after there was no place: about when silent connections have run out of time.
const RETRY_FULL: Duration = Duration::from_secs(5);

/// The gateway of one server. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    app: Arc<App>,
    calls: Calls,
    hello: Arc<HelloFacts>,
    admission: Arc<Admission>,
    wheel: Arc<Wheel>,
    stop: watch::Receiver<bool>,
}

impl Gateway {
    /// A gateway that runs until `stop` is true, or its sender is gone. Called within a runtime, which runs its
    /// clock.
    #[must_use]
    pub fn new(app: Arc<App>, calls: Calls, limits: Limits, stop: watch::Receiver<bool>) -> Self {
        let certified = app.vault().certified().iter();
        let hello = HelloFacts::new(
            app.vault().identity(),
            certified.map(|certified| (&certified.certificate, &certified.signature)),
        );
        told::describe();
        let wheel = Arc::new(Wheel::new());
        tokio::spawn(Arc::clone(&wheel).turn(stop.clone()));
        Self(Arc::new(Shared {
            app,
            calls,
            hello: Arc::new(hello),
            admission: Arc::new(Admission::new(limits)),
            wheel,
            stop,
        }))
    }

    /// Resolves when no connection is open. After a stop that is soon: each is told to come back later, and
    /// closed.
    pub async fn drained(&self) {
        self.0.admission.drained().await;
    }
}

impl Shared {
    fn call(&self) -> Call {
        (self.calls)()
    }
}

/// The route of the gateway, [`PATH`].
pub fn router(gateway: Gateway) -> Router {
    Router::new().route(PATH, get(upgrade)).with_state(gateway)
}

async fn upgrade(
    State(Gateway(shared)): State<Gateway>,
    client: Option<ClientAddr>,
    headers: HeaderMap,
    socket: Option<Extension<OnUpgrade>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if !is_welcome_origin(&headers, shared.admission.origins()) {
        told::refused("origin");
        return Problem::new(Code::ForeignOrigin).into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade.protocols([SUBPROTOCOL]),
        Err(rejection) => return rejection.into_response(),
    };
    if upgrade.selected_protocol().is_none() {
        told::refused("subprotocol");
        return Problem::new(Code::MalformedRequest)
            .detail("the WebSocket subprotocol countersign.device is required")
            .into_response();
    }
    // who got here over HTTP/1.1 has both
    let (Some(Extension(socket)), Some(key)) = (socket, headers.get(SEC_WEBSOCKET_KEY)) else {
        return Problem::new(Code::MalformedRequest).into_response();
    };
    if *shared.stop.borrow() {
        told::refused("stopping");
        return no_place(Code::Unavailable, RETRY_FULL);
    }
    // without a front all clients share one address: the bounds hold, if for all together
    let address = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ClientAddr(ip)| ip);
    let permit = match shared.admission.enter(address, connection::instant()) {
        Ok(permit) => permit,
        Err(Refusal::Full) => {
            told::refused("full");
            return no_place(Code::Unavailable, RETRY_FULL);
        }
        Err(Refusal::AddressFull) => {
            told::refused("address");
            return no_place(Code::TooManyConnections, RETRY_FULL);
        }
        Err(Refusal::AddressLoggingIn) => {
            told::refused("logging_in");
            // then there is a place for sure, and mostly sooner
            return no_place(Code::TooManyConnections, LOGIN_TIME);
        }
    };
    tokio::spawn(connection::run(socket, shared, permit));
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, frames::accept(key)),
        (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn no_place(code: Code, wait: Duration) -> Response {
    Problem::new(code).retry_after(wait).into_response()
}

/// Whether no browser asks, or one on a page that is let in (RFC 6455 §10.2).
fn is_welcome_origin(headers: &HeaderMap, allowed: &[String]) -> bool {
    headers.get_all(ORIGIN).iter().all(|origin| {
        let is_origin =
            |allowed: &String| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
        allowed.iter().any(is_origin)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_browser_needs_an_origin_that_is_let_in_and_others_need_none() {
        let welcome = |origins: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            let ours = ["https://auth.example.com".to_owned()];
            (is_welcome_origin(&headers, &[]), is_welcome_origin(&headers, &ours))
        };
        assert_eq!(welcome(&[]), (true, true));
        assert_eq!(welcome(&["https://auth.example.com"]), (false, true));
        assert_eq!(welcome(&["HTTPS://auth.EXAMPLE.com"]), (false, true));
        assert_eq!(welcome(&["https://auth.example.com.evil.test"]), (false, false));
        assert_eq!(welcome(&["http://auth.example.com"]), (false, false));
        assert_eq!(welcome(&["null"]), (false, false));
        assert_eq!(welcome(&[""]), (false, false));
        let two = ["https://auth.example.com", "https://evil.test"];
        assert_eq!(welcome(&two), (false, false));
    }
}
