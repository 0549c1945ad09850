//! TLS for the floor of an idle connection: rustls as the product sets it up, and nothing around it.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream as BlockingStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// Where a floor server finds its certificate and key, as PEM.
const CERT: &str = "LOADTEST_FLOOR_CERT";
const KEY: &str = "LOADTEST_FLOOR_KEY";

/// A certificate for one run.
pub(crate) struct Made {
    cert: String,
    key: String,
    config: Arc<ClientConfig>,
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl Made {
    pub(crate) fn new() -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).map_err(failed)?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).map_err(failed)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        Ok(Self { cert, key, config: Arc::new(config) })
    }

    /// What the server is to be started with.
    pub(crate) fn environment(&self) -> [(&str, &str); 2] {
        [(CERT, &self.cert), (KEY, &self.key)]
    }

    /// Shakes hands, and sees a byte come back. Nothing is said at the end, nor later.
    pub(crate) fn greet(&self, stream: BlockingStream) -> io::Result<BlockingStream> {
        // a handshake's flights would wait for each other's acknowledgement
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").map_err(failed)?;
        let session = ClientConnection::new(Arc::clone(&self.config), name).map_err(failed)?;
        let mut stream = StreamOwned::new(session, stream);
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        Ok(stream.sock)
    }
}

/// The server's half.
pub(crate) fn acceptor() -> io::Result<TlsAcceptor> {
    let read = |name: &str| std::env::var(name).map_err(failed);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(read(CERT)?.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(read(KEY)?.as_bytes()).map_err(failed)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let chain = chain.map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_no_client_auth().with_single_cert(chain, key)
        })
        .map_err(failed)?;
    // as crates/server sets it
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Waits for bytes, and sends them back.
pub(crate) async fn hold(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // boxed twice, or the task keeps room for the handshake and the stream beside each other
    let stream = Box::pin(acceptor.accept(stream)).await?;
    let mut stream = Box::new(stream);
    let mut byte = [0];
    while stream.read(&mut byte).await? > 0 {
        stream.write_all(&byte).await?;
        stream.flush().await?;
    }
    Ok(())
}
