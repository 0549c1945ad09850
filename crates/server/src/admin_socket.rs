//! The admin socket: operators on this machine, known by their uid.

use std::io;
use std::path::{Path, PathBuf};

use axum::Router;
use http_limits::{Fronted, PeerUid};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::connections::{Bounds, Drained, Held, Serving};
use crate::data_dir::{close_to_others, socket_path};

/// Longest path that a Unix address can hold (`sun_path` less its final zero).
const MAX_PATH: usize = 107;

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel can't address it.
    #[error("{0}: a socket's path has at most 107 bytes: choose a shorter --data")]
    TooLong(PathBuf),
    /// It can't be made.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// A bound admin socket. Its file goes when this is dropped.
pub struct AdminSocket {
    socket: UnixListener,
    file: SocketFile,
}

struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl AdminSocket {
    /// Binds the socket of a data directory, mode 0600. The caller holds the directory's lock, so a file
    /// that is in the way belongs to nobody any more.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(data: &Path) -> Result<Self, SocketError> {
        let path = socket_path(data);
        if path.as_os_str().len() > MAX_PATH {
            return Err(SocketError::TooLong(path));
        }
        let bound = match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            // between bind and chmod the directory's own mode keeps others out
            _ => UnixListener::bind(&path).and_then(|socket| {
                close_to_others(&path, 0o600)?;
                Ok(socket)
            }),
        };
        match bound {
            Ok(socket) => Ok(Self { socket, file: SocketFile(path) }),
            Err(error) => Err(SocketError::Io(path, error)),
        }
    }

    /// Serves `router` until `shutdown` turns true, to this user and root only. Requests carry [`PeerUid`].
    pub async fn run(self, router: Router, mut shutdown: watch::Receiver<bool>) -> Drained {
        let serving = Serving::new(Fronted::bare(router), Bounds::operators());
        loop {
            let accepted = tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop) => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => admit(&serving, stream),
                Err(error) => {
                    tracing::error!(%error, "can't accept on the admin socket, trying on");
                    tokio::time::sleep(crate::listener::ACCEPT_PAUSE).await;
                }
            }
        }
        drop((self.socket, self.file));
        serving.drain().await
    }
}

fn admit(serving: &Serving, stream: UnixStream) {
    let own = own_uid();
    let uid = match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => peer.uid(),
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "turned away from the admin socket");
            return;
        }
        Err(_) => return,
    };
    let Ok(slot) = serving.slots.take(None) else {
        return;
    };
    let task = serving.clone();
    let task = task.serve(Held::new(stream, slot), PeerUid(uid));
    serving.tasks.spawn(task);
}

/// The user that this process runs as.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
