//! How admin commands reach the use cases: through the running server's socket, or, when none runs, through
//! the same routes in this process.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use http_limits::PeerUid;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tower::ServiceExt;

use crate::admin_socket::own_uid;
use crate::data_dir::socket_path;

/// Most bytes of a reply: a page of events is far smaller.
const MAX_REPLY: usize = 16 * 1024 * 1024;
/// How long a request may take: long polls end after 25 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No server listens on the socket.
    #[error("no server runs on {0}")]
    NotRunning(PathBuf),
    /// The socket may not be used, or failed on the way.
    #[error("the admin socket failed: {0}")]
    Io(#[from] io::Error),
    /// What came isn't HTTP, or broke off: the server stopped, or turned this user away.
    #[error("the server hung up: {0}")]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("the server didn't answer within a minute")]
    Late,
    /// What came isn't a reply of ours.
    #[error("the server's reply can't be read")]
    Reply,
}

/// The way to the use cases.
pub enum Transport {
    /// Through a running server's socket.
    Socket(PathBuf),
    /// In this process, which holds the data directory's lock.
    InProcess(Router),
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body; `null` if it has none.
    pub body: Value,
}

impl Transport {
    /// Through the socket of a data directory.
    #[must_use]
    pub fn socket(data: &Path) -> Self {
        Self::Socket(socket_path(data))
    }

    /// Sends one request.
    ///
    /// # Errors
    /// [`ClientError`]. A refusal is a reply.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, ClientError> {
        let exchange = async {
            match self {
                Self::Socket(socket) => over_socket(socket, request(method, path, body)).await,
                Self::InProcess(router) => in_process(router, request(method, path, body)).await,
            }
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(Err(ClientError::Late))
    }
}

fn request(method: Method, path: &str, body: Option<&Value>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    request.body(Full::from(body)).expect("paths are built from encoded parts")
}

async fn over_socket(socket: &Path, request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => {
            return Err(ClientError::NotRunning(socket.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        read(parts.status, body).await
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        reply = exchange.as_mut() => reply,
        // the connection may end with the reply still in hand
        _ = connection => exchange.await,
    }
}

async fn in_process(router: &Router, request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(PeerUid(own_uid()));
    let Ok(response) = router.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    read(parts.status, body).await
}

async fn read<B>(status: StatusCode, body: B) -> Result<Reply, ClientError>
where
    B: axum::body::HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bytes = match Limited::new(body, MAX_REPLY).collect().await {
        Ok(whole) => whole.to_bytes(),
        Err(error) => {
            return Err(match error.downcast::<hyper::Error>() {
                Ok(error) => ClientError::Http(*error),
                Err(error) if error.is::<LengthLimitError>() => ClientError::Reply,
                Err(error) => ClientError::Io(io::Error::other(error)),
            });
        }
    };
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).map_err(|_| ClientError::Reply)?
    };
    Ok(Reply { status, body })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use axum::routing::{get, post};
    use http_limits::Json;
    use serde_json::json;
    use tokio::sync::watch;

    use super::*;
    use crate::admin_socket::AdminSocket;

    fn router() -> Router {
        Router::new()
            .route("/who", get(|PeerUid(uid): PeerUid| async move { Json(uid) }))
            .route("/echo", post(|Json(body): Json<Value>| async move { Json(body) }))
            .route("/none", get(|| async { StatusCode::NO_CONTENT }))
            .route("/text", get(|| async { "not json" }))
    }

    /// Asks the same of both ways.
    async fn check(transport: &Transport) {
        let ask = async |method, path, body: Option<&Value>| {
            transport.request(method, path, body).await.unwrap()
        };
        let who = ask(Method::GET, "/who", None).await;
        assert_eq!(who.body, json!(own_uid()));
        let body = json!({ "a": [1, "x"] });
        let echo = ask(Method::POST, "/echo", Some(&body)).await;
        assert_eq!(echo, Reply { status: StatusCode::OK, body });
        let none = ask(Method::GET, "/none", None).await;
        assert_eq!(none.body, Value::Null);
        let text = transport.request(Method::GET, "/text", None).await;
        assert!(matches!(text, Err(ClientError::Reply)));
    }

    #[tokio::test]
    async fn both_ways_lead_to_the_same_routes() {
        check(&Transport::InProcess(router())).await;

        let dir = tempfile::tempdir().unwrap();
        let socket = AdminSocket::bind(dir.path()).unwrap();
        let path = socket_path(dir.path());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(socket.run(router(), stopped));
        let transport = Transport::socket(dir.path());
        check(&transport).await;
        check(&transport).await;

        stop.send(true).unwrap();
        running.await.unwrap();
        assert!(!path.exists());
        let gone = transport.request(Method::GET, "/who", None).await;
        assert!(matches!(gone, Err(ClientError::NotRunning(_))));
    }

    #[tokio::test]
    async fn what_a_killed_server_left_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let transport = Transport::socket(dir.path());
        let dead = transport.request(Method::GET, "/who", None).await;
        assert!(matches!(dead, Err(ClientError::NotRunning(_))));
        AdminSocket::bind(dir.path()).unwrap();
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(120));
        let error = AdminSocket::bind(&deep).err().unwrap().to_string();
        assert!(error.contains("--data"), "{error}");
    }
}
