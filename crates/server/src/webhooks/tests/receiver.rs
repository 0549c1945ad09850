//! A receiver that looks at each message as the standard says, and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use tokio::sync::mpsc;

use super::*;
use crate::connections::Bounds;
use crate::listener::Listener;
use crate::tls::TlsConfig;
use crate::webhooks::signer::Signer;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How far a message's time may be off: the standard's libraries allow five minutes.
const TOLERANCE: u64 = 5 * 60;

/// What a receiver does with a message.
#[derive(Clone, Copy)]
pub(super) enum Does {
    Status(u16),
    /// Sends it elsewhere on the same server.
    Redirect(u16),
    /// Says nothing, ever.
    Hang,
    /// Is content, at great length.
    Chatter,
}

/// A message whose signature held.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) path: String,
    pub(super) id: String,
    pub(super) body: Value,
}

#[derive(Clone)]
struct Shared {
    script: Arc<Mutex<VecDeque<Does>>>,
    /// Messages about this user are never taken.
    rejected: Arc<Mutex<Option<&'static str>>>,
    got: mpsc::UnboundedSender<Got>,
}

pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    scheme: &'static str,
    shared: Shared,
    got: mpsc::UnboundedReceiver<Got>,
    _stop: watch::Sender<bool>,
}

impl Receiver {
    /// Answers 204, but `script` first.
    pub(super) async fn new(script: &[Does]) -> Self {
        Self::listening(script, None).await
    }

    pub(super) async fn listening(script: &[Does], tls: Option<TlsConfig>) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any, tls, Bounds::operators()).await.unwrap();
        let (address, scheme) = (listener.local_addr(), listener.scheme());
        let (sender, got) = mpsc::unbounded_channel();
        let script = Arc::new(Mutex::new(script.iter().copied().collect()));
        let shared = Shared { script, rejected: Arc::default(), got: sender };
        let router = Router::new().fallback(take).with_state(shared.clone());
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(listener.run(http_limits::Fronted::bare(router), stopping));
        Self { address, scheme, shared, got, _stop: stop }
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}/hook?a=b", self.scheme, self.address)
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        endpoint("soc", &self.url())
    }

    /// From now on it first does this.
    pub(super) fn then(&self, script: &[Does]) {
        self.shared.script.lock().unwrap().extend(script);
    }

    /// From now on it refuses whatever is about this user.
    pub(super) fn reject(&self, name: &'static str) {
        *self.shared.rejected.lock().unwrap() = Some(name);
    }

    pub(super) async fn next(&mut self) -> Got {
        timeout(PATIENCE, self.got.recv()).await.expect("a message in time").unwrap()
    }

    /// The user whom the next message is about.
    pub(super) async fn next_user(&mut self) -> String {
        let got = self.next().await;
        got.body["data"]["private"]["name"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether nothing has come that wasn't taken.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.got.try_recv().is_err()
    }
}

async fn take(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, at, signature) =
        (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"));
    let at: u64 = at.parse().unwrap();
    assert!(clock::now().seconds().abs_diff(at) <= TOLERANCE);
    assert_eq!(signature, Signer::from_text(SECRET).unwrap().sign(&id, at, &body));
    assert_eq!(text("content-type"), "application/json");
    assert!(text("user-agent").starts_with("countersign/"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    let path = uri.path_and_query().unwrap().to_string();
    let about = body["data"]["private"]["name"].as_str();
    let rejected = about.is_some() && about == *shared.rejected.lock().unwrap();
    shared.got.send(Got { path, id, body }).unwrap();
    if rejected {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    let does = shared.script.lock().unwrap().pop_front().unwrap_or(Does::Status(204));
    let status = |status: u16| StatusCode::from_u16(status).unwrap();
    match does {
        Does::Status(code) => status(code).into_response(),
        Does::Redirect(code) => (status(code), [(LOCATION, "/elsewhere")]).into_response(),
        Does::Hang => std::future::pending().await,
        Does::Chatter => {
            let chunk = || Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64 * 1024]));
            Body::from_stream(futures_util::stream::repeat_with(chunk)).into_response()
        }
    }
}
