//! Documents from elsewhere, and what is told there: bounded in size and time, redirects refused.

use std::time::Duration;

use bytes::Bytes;
use edge_oidc::{Outgoing, Post};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ports::BoxFuture;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::webhooks::{AGENT, Target, carry, connect, trust};

/// How long all of it may take: a person waits at a page.
const WITHIN: Duration = Duration::from_secs(5);
/// Largest document; Entra's keys take about 20 KiB.
const MAX_BODY: usize = 256 * 1024;
/// Largest head of a reply.
const MAX_HEAD: usize = 16 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";

/// Ends that were told to clients, by outcome.
const CALLBACKS: &str = "countersign_oidc_callbacks_total";

/// A reply, whatever its status.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Fetches documents over https, and over http from this machine.
pub(crate) struct Fetcher {
    tls: TlsConnector,
}

impl Fetcher {
    /// One that trusts the public authorities.
    pub(crate) fn new() -> Result<Self, String> {
        let tls = trust(None).map_err(|error| error.to_string())?;
        Ok(Self { tls: TlsConnector::from(tls) })
    }

    /// One document.
    pub(crate) async fn fetch(&self, url: &str) -> Result<Fetched, String> {
        let fetched = tokio::time::timeout(WITHIN, self.exchange(url, None)).await;
        fetched.map_err(|_| "no reply in time".to_owned())?
    }

    /// The answer to a form, as `application/x-www-form-urlencoded`.
    pub(crate) async fn submit(&self, url: &str, form: String) -> Result<Fetched, String> {
        let fetched = tokio::time::timeout(WITHIN, self.exchange(url, Some(form))).await;
        fetched.map_err(|_| "no reply in time".to_owned())?
    }

    /// One document of a place that somebody registered: only from an address that may be spoken to.
    async fn fetch_guarded(&self, url: &str, allow_private: bool) -> Result<Fetched, String> {
        let target = Target::parse(url, allow_private)?;
        let request = Request::get(&target.path)
            .header(HOST, &target.authority)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "application/json")
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let fetched = async {
            let failed = |error: crate::webhooks::Failure| error.to_string();
            let stream = connect(&target, allow_private).await.map_err(failed)?;
            if !target.https {
                return read(stream, request).await;
            }
            let name = ServerName::try_from(target.host.clone()).map_err(|e| e.to_string())?;
            let stream = self.tls.connect(name, stream).await.map_err(|e| e.to_string())?;
            read(stream, request).await
        };
        tokio::time::timeout(WITHIN, fetched).await.map_err(|_| "no reply in time".to_owned())?
    }

    /// Tells somebody at a place that was registered something: the status of the answer.
    async fn tell(&self, post: Post) -> Result<u16, (&'static str, String)> {
        let malformed = |error: String| ("forbidden", error);
        let target = Target::parse(&post.url, post.allow_private).map_err(malformed)?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", post.bearer))
            .map_err(|error| malformed(error.to_string()))?;
        bearer.set_sensitive(true);
        let request = Request::post(&target.path)
            .header(HOST, &target.authority)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, bearer)
            .body(Full::new(Bytes::from(post.body)))
            .map_err(|error| malformed(error.to_string()))?;
        let told = carry(&self.tls, (&target, post.allow_private), request);
        match tokio::time::timeout(WITHIN, told).await {
            Ok(Ok(status)) => Ok(status.as_u16()),
            Ok(Err(failure)) => Err((failure.outcome(), failure.to_string())),
            Err(_) => Err(("timeout", "no reply in time".to_owned())),
        }
    }

    async fn exchange(&self, url: &str, form: Option<String>) -> Result<Fetched, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url} is no address"))?;
        let authority = uri.authority().ok_or_else(|| format!("{url} names no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("{url} is neither https nor http")),
        };
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let (kind, accepts) = match &form {
            Some(_) => (Request::post(path).header(CONTENT_TYPE, FORM), "text/html"),
            None => (Request::get(path), "application/json"),
        };
        let request = kind
            .header(HOST, authority.as_str())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, accepts)
            .body(Full::from(form.unwrap_or_default()))
            .map_err(|error| error.to_string())?;
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream.map_err(|error| format!("no connection to {authority}: {error}"))?;
        if https {
            let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
            let stream = self.tls.connect(name, stream).await;
            read(stream.map_err(|error| format!("no TLS with {authority}: {error}"))?, request)
                .await
        } else {
            let local = stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
            if !local {
                return Err("plain http only from this machine".to_owned());
            }
            read(stream, request).await
        }
    }
}

async fn read<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Fetched, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut http = http1::Builder::new();
    http.max_buf_size(MAX_HEAD);
    let handshake = http.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let reply = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Fetched { status: head.status, headers: head.headers, body })
    };
    let mut reply = std::pin::pin!(reply);
    tokio::select! {
        reply = reply.as_mut() => reply,
        // the connection may end with the reply still in hand
        _ = connection => reply.await,
    }
}

/// Documents for edges.
pub(crate) struct Documents(Fetcher);

impl Documents {
    pub(crate) fn new() -> Result<Self, String> {
        Fetcher::new().map(Self)
    }
}

impl Outgoing for Documents {
    fn get(&self, url: String, allow_private: bool) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move {
            let fetched = self.0.fetch_guarded(&url, allow_private).await?;
            succeeded(&url, fetched)
        })
    }

    fn post(&self, post: Post) -> BoxFuture<'_, Result<u16, String>> {
        Box::pin(async move {
            let told = self.0.tell(post).await;
            let outcome = match &told {
                Ok(200..=299) => "delivered",
                Ok(_) => "refused",
                Err((outcome, _)) => outcome,
            };
            metrics::counter!(CALLBACKS, "outcome" => outcome).increment(1);
            told.map_err(|(_, error)| error)
        })
    }
}

fn succeeded(url: &str, fetched: Fetched) -> Result<Bytes, String> {
    if fetched.status.is_success() {
        return Ok(fetched.body);
    }
    Err(format!("{url} answered {}", fetched.status.as_u16()))
}

impl edge_oidc::Fetch for Documents {
    fn get(&self, url: String) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move {
            let fetched = self.0.fetch(&url).await?;
            succeeded(&url, fetched)
        })
    }
}
