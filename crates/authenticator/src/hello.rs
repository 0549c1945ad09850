//! The server's first frame, checked.

use statement::{Algorithm, Certificate, IdentityHash, PublicKey, Timestamp};
use wire::device as proto;

use crate::Fault;

/// What a device knows about the server that it talks to, once that has proved to be the pinned one.
#[derive(Debug)]
pub(crate) struct Hello {
    /// The nonce of this connection.
    pub(crate) nonce: [u8; 32],
    /// Hash of the identity key that was shown.
    pub(crate) identity: IdentityHash,
    /// The challenge-signing keys by their place in the frame; `None` where the identity key doesn't vouch for one.
    keys: Vec<Option<PublicKey>>,
}

impl Hello {
    /// Checks the frame. Without `pinned` the caller must have a person confirm [`Hello::identity`].
    ///
    /// The server proves that it holds the identity key by what it can certify: a man in the middle can repeat a
    /// hello, but neither sign a challenge nor use a login, which is bound to the pinned identity.
    pub(crate) fn check(
        hello: &proto::ServerHello,
        pinned: Option<&IdentityHash>,
    ) -> Result<Self, Fault> {
        if hello.version != proto::VERSION {
            return Err(Fault::Version);
        }
        let nonce = hello.nonce.as_ref().try_into().map_err(|_| Fault::Malformed)?;
        let identity = public_key(hello.identity.as_ref()).ok_or(Fault::Malformed)?;
        let hash = identity.identity_hash();
        if pinned.is_some_and(|pinned| *pinned != hash) {
            return Err(Fault::WrongServer);
        }
        let keys = hello.certificates.iter().map(|shown| certified(shown, &identity)).collect();
        Ok(Self { nonce, identity: hash, keys })
    }

    /// The certified key at `index`.
    pub(crate) fn key(&self, index: u32) -> Option<&PublicKey> {
        self.keys.get(usize::try_from(index).ok()?)?.as_ref()
    }
}

fn public_key(key: Option<&proto::PublicKey>) -> Option<PublicKey> {
    let key = key?;
    let algorithm = Algorithm::from_code(u8::try_from(key.algorithm).ok()?)?;
    PublicKey::new(algorithm, &key.key).ok()
}

fn certified(shown: &proto::Certificate, identity: &PublicKey) -> Option<PublicKey> {
    let certificate = Certificate {
        key: public_key(shown.key.as_ref())?,
        not_before: Timestamp::from_millis(shown.not_before_ms),
        not_after: Timestamp::from_millis(shown.not_after_ms),
    };
    certificate.verify(identity, &shown.signature).ok()?;
    Some(certificate.key)
}
