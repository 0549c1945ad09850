//! Opening a socket to a server.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use authenticator::{AGENT, Account};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use statement::{Algorithm, ServerUrl};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, error::TlsError};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    connect_async_tls_with_config,
};
use wire::device::{MAX_FRAME, PATH, SUBPROTOCOL};

/// How long name lookup, TCP, TLS and upgrade may take together.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// tungstenite allocates this at once for every connection, 128 KiB unless told otherwise.
const READ_BUFFER: usize = 4096;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What can't be set up before a server is even tried.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of certificates can't be read.
    #[error("{path}: {reason}")]
    Roots {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A certificate isn't one.
    #[error("a certificate of the account's server can't be used: {0}")]
    Certificate(String),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// Where.
        server: String,
        /// What the network said.
        reason: String,
    },
    /// Somebody answers, who isn't trusted.
    #[error("{server} can't be trusted: {reason}")]
    Untrusted {
        /// Where.
        server: String,
        /// What is wrong with its certificate.
        reason: String,
    },
    /// A web server that isn't ours, or doesn't want us.
    #[error("{server} does not take device connections: {reason}")]
    Refused {
        /// Where.
        server: String,
        /// What it said instead.
        reason: String,
        /// When it wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
    /// Trust can't be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Certificates from a PEM file, as DER, for servers that no public authority vouches for.
///
/// # Errors
/// [`ClientError::Roots`] if the file can't be read or holds none.
pub fn read_roots(path: &Path) -> Result<Vec<Vec<u8>>, ClientError> {
    let failed = |reason: String| ClientError::Roots { path: path.display().to_string(), reason };
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let roots: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(&pem)
        .map(|der| der.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if roots.is_empty() {
        return Err(failed("no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// Connects accounts to their servers. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) agent: Arc<str>,
    public_roots: Arc<ClientConfig>,
    source: Option<IpAddr>,
    pub(crate) algorithm: Algorithm,
}

impl Default for Client {
    fn default() -> Self {
        Self::new(AGENT)
    }
}

impl Client {
    /// `agent` names the program to the owner of an account: at most 64 plain characters.
    ///
    /// # Panics
    /// Never: the public roots are a fixed list.
    #[must_use]
    pub fn new(agent: &str) -> Self {
        let public_roots = tls(&[]).expect("the public roots are certificates");
        Self { agent: agent.into(), public_roots, source: None, algorithm: Algorithm::Ed25519 }
    }

    /// The same from this one of the machine's addresses: each has some 28,000 ports, and servers bound what one
    /// address may hold.
    #[must_use]
    pub fn with_source(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The same, whose keys will be of this algorithm: Ed25519 unless one says otherwise, as fits a key in software.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    pub(crate) async fn dial(
        &self,
        server: &ServerUrl,
        roots: &[Vec<u8>],
    ) -> Result<Socket, ConnectError> {
        let tls = if roots.is_empty() { Arc::clone(&self.public_roots) } else { tls(roots)? };
        let unreachable =
            |reason: String| ConnectError::Unreachable { server: server.to_string(), reason };
        let mut request = server
            .websocket(PATH)
            .into_client_request()
            .map_err(|error| unreachable(error.to_string()))?;
        let protocol = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(4 * MAX_FRAME)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let connector = Some(Connector::Rustls(tls));
        let connecting = async {
            let Some(source) = self.source else {
                return connect_async_tls_with_config(request, Some(config), true, connector).await;
            };
            let stream = connect_from(source, request.uri()).await?;
            client_async_tls_with_config(request, stream, Some(config), connector).await
        };
        match timeout(CONNECT_WITHIN, connecting).await {
            Err(_) => Err(unreachable("no answer in time".to_owned())),
            Ok(Err(error)) => Err(explain(server, error)),
            Ok(Ok((socket, _))) => Ok(socket),
        }
    }
}

/// A connection from one of the machine's addresses to the first of the server's that is of its kind.
async fn connect_from(source: IpAddr, server: &Uri) -> io::Result<TcpStream> {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    let port =
        server.port_u16().unwrap_or(if server.scheme_str() == Some("wss") { 443 } else { 80 });
    let found = lookup_host((host, port)).await?.find(|to| to.is_ipv4() == source.is_ipv4());
    let to = found.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind((source, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Trust in the public authorities, and in `roots` beside them.
fn tls(roots: &[Vec<u8>]) -> Result<Arc<ClientConfig>, ClientError> {
    let mut store = RootCertStore::empty();
    store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for root in roots {
        store
            .add(CertificateDer::from(root.clone()))
            .map_err(|error| ClientError::Certificate(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Certificate(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn explain(server: &ServerUrl, error: WsError) -> ConnectError {
    let server = server.to_string();
    match error {
        WsError::Http(response) => {
            let wait = response.headers().get(header::RETRY_AFTER);
            let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
            ConnectError::Refused {
                server,
                reason: format!("it answered {}", response.status()),
                retry_after: wait.map(Duration::from_secs),
            }
        }
        WsError::Protocol(error) => {
            ConnectError::Refused { server, reason: error.to_string(), retry_after: None }
        }
        WsError::Tls(TlsError::InvalidDnsName) => {
            ConnectError::Untrusted { server, reason: "not a host name".to_owned() }
        }
        // rustls' errors arrive inside an I/O error
        WsError::Io(error) => match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>())
        {
            Some(tls) => ConnectError::Untrusted { server, reason: tls.to_string() },
            None => ConnectError::Unreachable { server, reason: error.to_string() },
        },
        error => ConnectError::Unreachable { server, reason: error.to_string() },
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.agent)
    }
}

/// The connection that `account` asks for.
pub(crate) async fn dial_account(
    client: &Client,
    account: &Account,
) -> Result<Socket, ConnectError> {
    client.dial(&account.server, &account.roots).await
}
