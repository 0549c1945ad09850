//! A WebSocket that costs nothing while it is idle: bytes are read into a buffer of the thread's, and whatever else
//! it needs it holds for as long as it needs it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::device::MAX_FRAME;

use crate::frames::{self, Fragments, MAX_HEADER, Message, Opcode, Unreadable};

/// Most that is read at once, and that is kept of what can't be read as messages yet: one frame.
const ROOM: usize = MAX_HEADER + MAX_FRAME;

thread_local! {
    /// For what is read.
    static INCOMING: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into());
    /// For what is written.
    static OUTGOING: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(ROOM));
}

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The connection is gone.
    Gone,
    /// The device sends what isn't a message.
    Unreadable,
}

impl From<Unreadable> for Broken {
    fn from(_: Unreadable) -> Self {
        Self::Unreadable
    }
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// The server's end of a WebSocket.
pub(crate) struct Socket<S> {
    stream: S,
    /// `None` while nothing is under way.
    busy: Option<Box<Busy>>,
}

/// What is under way.
#[derive(Default)]
struct Busy {
    /// Was read and isn't taken: at most [`ROOM`] bytes.
    rest: Vec<u8>,
    fragments: Option<Fragments>,
    /// The kernel hasn't taken it yet: at most a frame, and a pong.
    backlog: Vec<u8>,
    /// A pong that waits for the backlog. A newer one takes its place (RFC 6455 §5.5.3).
    pong: Vec<u8>,
    /// The stream holds something back.
    is_unflushed: bool,
}

impl Busy {
    const fn is_over(&self) -> bool {
        self.rest.is_empty() && self.fragments.is_none() && self.is_drained()
    }

    const fn is_drained(&self) -> bool {
        self.backlog.is_empty() && self.pong.is_empty() && !self.is_unflushed
    }

    /// Takes a message of what was read before.
    fn take(&mut self) -> Result<Option<Message>, Unreadable> {
        let (message, done) = frames::take(&mut self.fragments, &self.rest)?;
        self.rest.drain(..done);
        Ok(message)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, busy: None }
    }

    /// The next message. Who asks answers pings.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Broken>> {
        // a device that doesn't read may still be heard
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error.into()));
        }
        let message = loop {
            let waiting = self.busy.as_mut().filter(|busy| !busy.rest.is_empty());
            if let Some(message) = waiting.map(|busy| busy.take()).transpose()?.flatten() {
                break message;
            }
            if let Some(message) = ready!(self.poll_read(cx))? {
                break message;
            }
        };
        self.tidy();
        Poll::Ready(Ok(message))
    }

    /// Reads once: a message, if that was one's end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Broken>> {
        INCOMING.with_borrow_mut(|buffer| {
            // what is kept is less than a frame
            let kept = self.busy.as_ref().map_or(0, |busy| busy.rest.len());
            let mut read = ReadBuf::new(&mut buffer[..ROOM - kept]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            let read = read.filled();
            if read.is_empty() {
                return Poll::Ready(Err(Broken::Gone));
            }
            let Some(busy) = &mut self.busy else {
                // nearly always: whole messages, and no copy of them is kept
                let mut fragments = None;
                let (message, done) = frames::take(&mut fragments, read)?;
                if done < read.len() || fragments.is_some() {
                    let rest = read[done..].to_vec();
                    self.busy = Some(Box::new(Busy { rest, fragments, ..Busy::default() }));
                }
                return Poll::Ready(Ok(message));
            };
            busy.rest.extend_from_slice(read);
            Poll::Ready(Ok(busy.take()?))
        })
    }

    /// Discards what arrives, until the device closes its end.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        INCOMING.with_borrow_mut(|buffer| {
            loop {
                let mut read = ReadBuf::new(buffer);
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                    Ok(()) if !read.filled().is_empty() => {}
                    Ok(()) | Err(_) => return Poll::Ready(()),
                }
            }
        })
    }

    /// Answers a ping: at once, or as soon as the kernel takes more.
    pub(crate) fn pong(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> io::Result<()> {
        if self.is_drained() {
            return self.put(cx, Opcode::Pong, payload);
        }
        let busy = self.busy.get_or_insert_default();
        busy.pong.clear();
        frames::write(Opcode::Pong, payload, &mut busy.pong);
        Ok(())
    }

    /// Writes as much of a frame as the kernel takes now, and keeps the rest for [`Socket::poll_drain`].
    pub(crate) fn put(
        &mut self,
        cx: &mut Context<'_>,
        opcode: Opcode,
        payload: &[u8],
    ) -> io::Result<()> {
        if let Some(busy) = self.busy.as_mut().filter(|busy| !busy.is_drained()) {
            if opcode == Opcode::Close {
                // a close is the last frame: Chromium fails a connection for any after it, and the code is lost
                busy.pong = Vec::new();
            }
            frames::write(opcode, payload, &mut busy.backlog);
            return Ok(());
        }
        OUTGOING.with_borrow_mut(|frame| {
            frame.clear();
            frames::write(opcode, payload, frame);
            let mut left = frame.as_slice();
            while !left.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, left)? {
                    Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(written) => left = &left[written..],
                    Poll::Pending => {
                        self.busy.get_or_insert_default().backlog = left.to_vec();
                        return Ok(());
                    }
                }
            }
            if Pin::new(&mut self.stream).poll_flush(cx)?.is_pending() {
                self.busy.get_or_insert_default().is_unflushed = true;
            }
            Ok(())
        })
    }

    /// Whether the kernel has all that was written.
    pub(crate) fn is_drained(&self) -> bool {
        self.busy.as_ref().is_none_or(|busy| busy.is_drained())
    }

    /// Writes what the kernel wouldn't take before.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(busy) = &mut self.busy else { return Poll::Ready(Ok(())) };
        while !busy.is_drained() {
            if busy.backlog.is_empty() {
                busy.backlog = std::mem::take(&mut busy.pong);
            }
            while !busy.backlog.is_empty() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, &busy.backlog))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => drop(busy.backlog.drain(..written)),
                }
            }
            busy.is_unflushed = true;
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            busy.is_unflushed = false;
        }
        self.tidy();
        Poll::Ready(Ok(()))
    }

    /// Holds nothing that isn't needed any more.
    fn tidy(&mut self) {
        if self.busy.as_ref().is_some_and(|busy| busy.is_over()) {
            self.busy = None;
        }
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
