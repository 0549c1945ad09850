//! TLS from PEM files, by rustls with aws-lc-rs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::NoServerSessionStorage;

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct TlsConfig(pub(crate) Arc<ServerConfig>);

/// Why TLS can't be spoken. Names files, never what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or isn't PEM.
    #[error("{0}: {1}")]
    File(PathBuf, pem::Error),
    /// There is nothing in it.
    #[error("{0}: holds no certificate")]
    NoCertificate(PathBuf),
    /// The two don't belong together, or the key is of an unsupported kind.
    #[error("{cert} and {key} can't be used: {error}")]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
}

impl TlsConfig {
    /// From a certificate chain, leaf first, and its private key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_files(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect)
            .map_err(|error| TlsError::File(cert.to_owned(), error))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate(cert.to_owned()));
        }
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TlsError::File(key.to_owned(), error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|error| TlsError::Unusable {
                cert: cert.to_owned(),
                key: key.to_owned(),
                error,
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // devices hold a connection for hours: sessions to resume would cost memory for each and save little
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A self-signed certificate for `localhost` in `dir`.
    pub(crate) fn self_signed(dir: &Path) -> (PathBuf, PathBuf, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (cert, key, made.cert.der().clone())
    }

    #[test]
    fn loads_what_belongs_together() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key, _) = self_signed(dir.path());
        TlsConfig::from_files(&cert, &key).unwrap();
    }

    #[test]
    fn says_which_file_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let (cert, key, _) = self_signed(dir.path());
        let (_, other_key, _) = self_signed(other.path());
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let missing = dir.path().join("missing.pem");
        for (cert, key, named) in [
            (&cert, &other_key, "key.pem can't be used"),
            (&empty, &key, "empty.pem: holds no certificate"),
            (&cert, &empty, "empty.pem: "),
            (&missing, &key, "missing.pem: "),
            (&cert, &missing, "missing.pem: "),
        ] {
            let error = TlsConfig::from_files(cert, key).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
