//! The device gateway: WebSockets in front of session and use cases.
//!
//! One task owns one socket. It waits for whichever comes first of a stop, a hint, a message and a timer, and
//! does one thing at a time: while a use case runs nothing is read, so a device is held back by TCP and not by
//! a queue of ours. What it is told while it doesn't read waits in its mailbox, which is bounded.
//!
//! Architecture invariant: every refusal before the upgrade is a problem, every end after it a close code.

mod admission;
mod cards;
mod connection;
mod enter;
mod live;
mod told;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use app::{App, Call};
use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderMap;
use http::header::ORIGIN;
use http_limits::{ClientAddr, Code, Problem};
use session::HelloFacts;
use tokio::sync::watch;
use wire::device::{MAX_FRAME, PATH, SUBPROTOCOL};

pub use admission::Limits;
use admission::{Admission, Refusal};

/// Makes the call of one request: the server's time and randomness.
pub type Calls = Arc<dyn Fn() -> Call + Send + Sync>;

/// Read buffer per connection. Allocated at once and kept, so it is what an idle device mostly costs; larger
/// messages are read in pieces.
const READ_BUFFER: usize = 1024;
/// Most that waits to be written: one frame, and a pong beside it. Each frame is flushed before the next.
const WRITE_BUFFER: usize = 2 * MAX_FRAME;
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
    stop: watch::Receiver<bool>,
}

impl Gateway {
    /// A gateway that runs until `stop` is true, or its sender is gone.
    #[must_use]
    pub fn new(app: Arc<App>, calls: Calls, limits: Limits, stop: watch::Receiver<bool>) -> Self {
        let certified = app.vault().certified().iter();
        let hello = HelloFacts::new(
            app.vault().identity(),
            certified.map(|certified| (&certified.certificate, &certified.signature)),
        );
        told::describe();
        Self(Arc::new(Shared {
            app,
            calls,
            hello: Arc::new(hello),
            admission: Arc::new(Admission::new(limits)),
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
    if *shared.stop.borrow() {
        told::refused("stopping");
        return no_place(Code::Unavailable);
    }
    // without a front all clients share one address: the bounds hold, if for all together
    let address = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ClientAddr(ip)| ip);
    let permit = match shared.admission.enter(address, connection::instant()) {
        Ok(permit) => permit,
        Err(Refusal::Full) => {
            told::refused("full");
            return no_place(Code::Unavailable);
        }
        Err(Refusal::AddressFull) => {
            told::refused("address");
            return no_place(Code::TooManyConnections);
        }
    };
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .on_upgrade(move |socket| connection::run(socket, shared, permit))
}

fn no_place(code: Code) -> Response {
    Problem::new(code).retry_after(RETRY_FULL).into_response()
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
