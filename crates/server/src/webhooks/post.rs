//! One message to one receiver: a connection of its own to an address that was looked at, and the status of the
//! reply.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use statement::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::addresses;
use super::settings::{Endpoint, Target, hint};
use super::signer::Signer;

/// How long a delivery may take from looking up the name to the reply's head: the standard's recommendation is
/// 15 to 30 seconds.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(15);
/// How long one address may take to be connected to, so that another can still be tried.
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried: both families, and a second of each.
const MAX_ADDRESSES: usize = 4;
/// Bytes of a reply's head that are read.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes of a reply's body that are read, and thrown away: a receiver that is cut off while it speaks may think
/// that it failed.
const MAX_BODY: usize = 64 * 1024;
/// How long the body is waited for; the status counts already.
const BODY_WITHIN: Duration = Duration::from_secs(1);
/// What receivers' logs call this server.
pub(crate) const AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// Why authorities can't be trusted.
#[derive(Debug, thiserror::Error)]
#[error("{0}: {1}")]
pub struct RootsError(PathBuf, String);

/// Something to be told. Its id stays the same in every try.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: Bytes,
}

/// Why a message wasn't delivered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0} leads to {1}, which is {2}{hint}", hint = hint(.2))]
    Forbidden(String, std::net::IpAddr, &'static str),
    #[error("plain http only to this machine")]
    Plain,
    #[error("the name leads nowhere: {0}")]
    Unknown(std::io::Error),
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("no TLS: {0}")]
    Tls(std::io::Error),
    #[error("not a host name: {0}")]
    Name(InvalidDnsNameError),
    #[error("no reply: {0}")]
    Http(hyper::Error),
    #[error("no reply in time")]
    Late,
    /// Redirects are among these: following one would lead past the look at the address.
    #[error("the receiver answered {0}")]
    Status(StatusCode),
}

impl Failure {
    /// Its name in metrics.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Forbidden(..) | Self::Plain => "forbidden",
            Self::Unknown(_) | Self::Connect(_) | Self::Tls(_) | Self::Name(_) | Self::Http(_) => {
                "unreachable"
            }
            Self::Late => "timeout",
            Self::Status(StatusCode::GONE) => "gone",
            Self::Status(_) => "refused",
        }
    }

    /// Whether the receiver wants nothing ever again.
    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self, Self::Status(StatusCode::GONE))
    }
}

/// Sends to one receiver.
pub(crate) struct Sender {
    endpoint: Endpoint,
    signer: Signer,
    tls: TlsConnector,
    timeout: Duration,
}

impl Sender {
    pub(crate) fn new(
        endpoint: Endpoint,
        signer: Signer,
        timeout: Duration,
    ) -> Result<Self, RootsError> {
        let tls = TlsConnector::from(trust(endpoint.ca_file.as_deref())?);
        Ok(Self { endpoint, signer, tls, timeout })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a message, signed at `now`. Any status of success is one.
    pub(crate) async fn send(
        &self,
        message: &Message,
        now: Timestamp,
    ) -> Result<StatusCode, Failure> {
        let request = self.request(message, now);
        let Endpoint { url, allow_private, .. } = &self.endpoint;
        let sent = carry(&self.tls, (url, *allow_private), request);
        let status =
            tokio::time::timeout(self.timeout, sent).await.map_err(|_| Failure::Late)??;
        if status.is_success() { Ok(status) } else { Err(Failure::Status(status)) }
    }

    fn request(&self, message: &Message, now: Timestamp) -> Request<Full<Bytes>> {
        let url = &self.endpoint.url;
        let signature = self.signer.sign(&message.id, now.seconds(), &message.body);
        Request::builder()
            .method(Method::POST)
            .uri(&url.path)
            .header(HOST, &url.authority)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", now.seconds())
            .header("webhook-signature", signature)
            .body(Full::new(message.body.clone()))
            .expect("the URL was parsed, and ids and signatures are ASCII")
    }
}

/// Sends a request to an address that may be sent to: the status of the reply.
pub(crate) async fn carry(
    tls: &TlsConnector,
    (url, allow_private): (&Target, bool),
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, Failure> {
    let stream = connect(url, allow_private).await?;
    if !url.https {
        return exchange(stream, request).await;
    }
    let name = ServerName::try_from(url.host.clone()).map_err(Failure::Name)?;
    let stream = tls.connect(name, stream).await.map_err(Failure::Tls)?;
    exchange(stream, request).await
}

/// Connects to an address of the receiver. The name is looked up once: what was looked at is what is
/// connected to, whatever the DNS says a moment later.
pub(crate) async fn connect(url: &Target, allow_private: bool) -> Result<TcpStream, Failure> {
    let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
    let found: Vec<SocketAddr> = found.map_err(Failure::Unknown)?.collect();
    // one bad address is enough: names that lead both outside and inside are how this look is got around
    for address in &found {
        if let Some(what) = addresses::refusal(address.ip(), allow_private) {
            return Err(Failure::Forbidden(url.host.clone(), address.ip(), what));
        }
        if !url.https && !address.ip().is_loopback() {
            return Err(Failure::Plain);
        }
    }
    let mut failure = Failure::Unknown(std::io::ErrorKind::NotFound.into());
    for address in found.into_iter().take(MAX_ADDRESSES) {
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = Failure::Connect(error),
            Err(_) => failure = Failure::Connect(std::io::ErrorKind::TimedOut.into()),
        }
    }
    Err(failure)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut http = http1::Builder::new();
    http.max_buf_size(MAX_HEAD);
    let (mut sender, connection) =
        http.handshake(TokioIo::new(stream)).await.map_err(Failure::Http)?;
    let reply = async {
        let response = sender.send_request(request).await.map_err(Failure::Http)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect();
        // whatever it says, and if it breaks off
        let _ = tokio::time::timeout(BODY_WITHIN, body).await;
        Ok(head.status)
    };
    let mut reply = std::pin::pin!(reply);
    tokio::select! {
        reply = reply.as_mut() => reply,
        // the connection may end with the reply still in hand
        _ = connection => reply.await,
    }
}

/// Trust in the public authorities, and in those of `file` beside them.
pub(crate) fn trust(file: Option<&Path>) -> Result<Arc<ClientConfig>, RootsError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(file) = file {
        let failed = |error: String| RootsError(file.to_owned(), error);
        let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| failed(error.to_string()))?;
        if certificates.is_empty() {
            return Err(failed("holds no certificate".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
