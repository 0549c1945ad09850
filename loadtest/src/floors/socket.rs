//! Both halves of a raw connection, without a task or a channel between whoever speaks and the kernel.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Larger than anything that comes at once: one read then empties the socket, which saves the next.
const READ_BUFFER: usize = 16 * 1024;

thread_local! {
    /// One for all connections of a thread: an idle one has none.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

/// Bytes that aren't what the floor's own other side would have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side sent what this one can't read")]
pub(crate) struct Malformed;

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

/// Splits a connection, without Nagle's delay.
pub(crate) fn open(stream: TcpStream) -> io::Result<(In, Arc<Out>)> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let out = Out { half: write, backlog: Mutex::default() };
    Ok((In { half: read, rest: Vec::new() }, Arc::new(out)))
}

/// What comes in.
pub(crate) struct In {
    half: OwnedReadHalf,
    /// The start of a message of which the end hasn't come.
    rest: Vec<u8>,
}

impl In {
    /// Whether it is open and nothing has come that wasn't asked for.
    pub(crate) fn is_silent(&self) -> bool {
        let read = self.half.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Waits for bytes and gives them to `one`, which takes one message from their start and says how long it was,
    /// or `None` if it isn't complete, until no more is. `false` at the end of the stream.
    pub(crate) async fn read(
        &mut self,
        mut one: impl FnMut(&[u8]) -> Result<Option<usize>, Malformed>,
    ) -> io::Result<bool> {
        poll_fn(|cx| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut filled = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.half).poll_read(cx, &mut filled))?;
                let chunk = filled.filled();
                if chunk.is_empty() {
                    return Poll::Ready(Ok(false));
                }
                feed(&mut self.rest, chunk, &mut one)?;
                Poll::Ready(Ok(true))
            })
        })
        .await
    }
}

/// Takes whole messages from `rest` and `chunk` laid end to end, and leaves in `rest` what is left.
fn feed(
    rest: &mut Vec<u8>,
    chunk: &[u8],
    one: &mut impl FnMut(&[u8]) -> Result<Option<usize>, Malformed>,
) -> Result<(), Malformed> {
    let joined;
    let mut data = if rest.is_empty() {
        chunk
    } else {
        rest.extend_from_slice(chunk);
        joined = std::mem::take(rest);
        joined.as_slice()
    };
    while !data.is_empty() {
        match one(data)? {
            Some(len) => data = &data[len..],
            None => {
                *rest = data.to_vec();
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Where things go out, from whichever task has something to say.
pub(crate) struct Out {
    half: OwnedWriteHalf,
    /// What the kernel wouldn't take at once.
    backlog: Mutex<Vec<u8>>,
}

impl Out {
    /// Writes at once; a task does the rest if the socket is full. A broken connection is noticed by its reader.
    pub(crate) fn send(self: &Arc<Self>, bytes: &[u8]) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let written = if backlog.is_empty() {
            match self.half.try_write(bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return,
            }
        } else {
            0
        };
        if written == bytes.len() {
            return;
        }
        let is_flushing = !backlog.is_empty();
        backlog.extend_from_slice(&bytes[written..]);
        if !is_flushing {
            tokio::spawn(Arc::clone(self).flush());
        }
    }

    async fn flush(self: Arc<Self>) {
        while self.half.writable().await.is_ok() {
            let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
            match self.half.try_write(&backlog) {
                Ok(written) => drop(backlog.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            if backlog.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Messages of three bytes.
    fn threes(taken: &mut Vec<Vec<u8>>) -> impl FnMut(&[u8]) -> Result<Option<usize>, Malformed> {
        |data| {
            let Some(message) = data.get(..3) else { return Ok(None) };
            taken.push(message.to_vec());
            Ok(Some(3))
        }
    }

    #[test]
    fn messages_are_whole_however_they_come() {
        let (mut rest, mut taken) = (Vec::new(), Vec::new());
        for chunk in [&b"abcde"[..], b"f", b"g", b"hi", b"jkl"] {
            feed(&mut rest, chunk, &mut threes(&mut taken)).expect("well-formed");
        }
        assert_eq!(taken, [b"abc", b"def", b"ghi", b"jkl"]);
        assert!(rest.is_empty());
        let refused = feed(&mut rest, b"a", &mut |_| Err(Malformed));
        assert_eq!(refused, Err(Malformed));
    }

    #[tokio::test]
    async fn a_full_socket_loses_nothing_and_keeps_the_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut reader = TcpStream::connect(address).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");
        let (_in, out) = open(stream).expect("split");
        let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n / 1_000) as u8).collect();
        for part in sent.chunks(10_000) {
            out.send(part);
        }
        assert!(!out.backlog.lock().expect("not poisoned").is_empty(), "it never was full");
        let mut received = vec![0; sent.len()];
        reader.read_exact(&mut received).await.expect("all of it");
        assert!(sent == received);
    }
}
