//! One socket and the task that owns it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use ports::{Hint, Mailbox};
use rand::RngExt;
use session::Close;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::admission::Permit;
use crate::{Shared, enter, live, told};

/// How long a device may take to read a frame: one that doesn't keeps its memory from others.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How long a device may take to answer a close, so that it reads why before the socket is gone.
const LINGER: Duration = Duration::from_secs(2);
/// Over how long the devices of a server that stops come back.
const RETURN_OVER: Duration = Duration::from_secs(10);

/// How a connection ends.
pub(crate) enum End {
    /// We close it.
    Close(Close),
    /// The device closed it.
    Left,
    /// It broke, or the device doesn't read.
    Lost,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

enum Woken {
    Stop,
    Dismissed,
    Hint(Hint),
    Message(Option<Result<Message, axum::Error>>),
    Timer,
}

/// What a connection has to deal with.
pub(crate) enum Event {
    Frame(Bytes),
    /// A ping or pong.
    Control,
    Timer,
    Hint(Hint),
}

/// A socket with all that its task needs.
pub(crate) struct Connection {
    socket: WebSocket,
    pub(crate) shared: Arc<Shared>,
    pub(crate) permit: Permit,
    stop: watch::Receiver<bool>,
    began: Instant,
    /// What arrives can't be read any more.
    deaf: bool,
}

/// Serves one connection to its end.
///
/// An idle device costs its task's memory, and a task is as large as the largest thing that it could be waiting
/// for: so whatever isn't waiting for the next event is boxed while it lasts. Not an `async fn`, which would
/// keep a second copy of its arguments.
pub(crate) fn run(
    socket: WebSocket,
    shared: Arc<Shared>,
    permit: Permit,
) -> impl Future<Output = ()> + Send {
    let mut connection = Connection {
        stop: shared.stop.clone(),
        socket,
        shared,
        permit,
        began: instant(),
        deaf: false,
    };
    async move {
        let end = match Box::pin(enter::handshake(&mut connection)).await {
            Ok((session, mut device)) => live::serve(&mut connection, session, &mut device).await,
            Err(end) => end,
        };
        Box::pin(connection.end(end)).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "sockets time out on a clock that doesn't jump; no rule is judged by it"
)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

impl Connection {
    /// The time since the connection was accepted: the session's clock.
    pub(crate) fn now(&self) -> Duration {
        instant().saturating_duration_since(self.began)
    }

    /// What happens next: an event before or at `deadline`, or the end.
    pub(crate) async fn next(
        &mut self,
        mut mailbox: Option<&mut dyn Mailbox>,
        deadline: Duration,
    ) -> Result<Event, End> {
        let (permit, socket) = (&mut self.permit, &mut self.socket);
        let hint = poll_fn(|cx| match &mut mailbox {
            Some(mailbox) => mailbox.poll_hint(cx).map(Woken::Hint),
            None => permit.poll_dismissed(cx).map(|()| Woken::Dismissed),
        });
        let woken = tokio::select! {
            biased;
            // true, or nobody left to say so
            _ = self.stop.wait_for(|stop| *stop) => Woken::Stop,
            woken = hint => woken,
            message = socket.recv() => Woken::Message(message),
            () = sleep_until(self.began + deadline) => Woken::Timer,
        };
        let message = match woken {
            Woken::Stop => return Err(self.restart().into()),
            Woken::Dismissed => return Err(Close::make_room().into()),
            Woken::Hint(hint) => return Ok(Event::Hint(hint)),
            Woken::Timer => return Ok(Event::Timer),
            Woken::Message(None) => return Err(End::Lost),
            Woken::Message(Some(message)) => message,
        };
        let Ok(message) = message else {
            // a broken socket too: then the close goes nowhere
            self.deaf = true;
            return Err(Close::unreadable().into());
        };
        told::frame_in();
        match message {
            Message::Binary(frame) => Ok(Event::Frame(frame)),
            Message::Ping(_) | Message::Pong(_) => Ok(Event::Control),
            Message::Text(_) => Err(Close::text_message().into()),
            Message::Close(_) => Err(End::Left),
        }
    }

    fn restart(&self) -> Close {
        let spread = u64::try_from(RETURN_OVER.as_millis()).unwrap_or(u64::MAX);
        let after = self.shared.call().rng.random_range(0..spread);
        Close::restart(Duration::from_millis(after))
    }

    /// Sends a frame of the session's.
    pub(crate) async fn send(&mut self, frame: Bytes) -> Result<(), End> {
        self.write(Message::Binary(frame)).await
    }

    pub(crate) async fn ping(&mut self) -> Result<(), End> {
        self.write(Message::Ping(Bytes::new())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        told::frame_out();
        let mut sent = pin!(self.socket.send(message));
        // a device that reads lets it through at once: no timer, which is large, and nearly all of what is sent
        let sent = match poll_fn(|cx| Poll::Ready(sent.as_mut().poll(cx))).await {
            Poll::Ready(sent) => Ok(sent),
            Poll::Pending => Box::pin(timeout(SEND_WITHIN, sent)).await,
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Lost),
        }
    }

    async fn end(mut self, end: End) {
        let code = match end {
            End::Close(close) => {
                let code = close.code as u16;
                match self.close(close).await {
                    Ok(()) => code,
                    Err(_) => told::ABNORMAL,
                }
            }
            End::Left => told::NORMAL,
            End::Lost => told::ABNORMAL,
        };
        told::closed(code);
        tracing::debug!(code, "device connection ended");
        if code != told::ABNORMAL {
            let _ = timeout(LINGER, self.until_gone()).await;
        }
    }

    async fn close(&mut self, close: Close) -> Result<(), End> {
        if let Some(farewell) = close.farewell {
            self.send(farewell).await?;
        }
        let frame =
            CloseFrame { code: close.code as u16, reason: Utf8Bytes::from_static(close.reason) };
        self.write(Message::Close(Some(frame))).await
    }

    /// Reads on until the device has closed too. Bytes that nobody reads would make the kernel reset the
    /// connection, and the reason might not arrive.
    async fn until_gone(&mut self) {
        while let Some(Ok(_)) = self.socket.recv().await {}
        if self.deaf {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_an_idle_device_stays_small() {
        fn size<F>(_: impl Fn(WebSocket, Arc<Shared>, Permit) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(run);
        assert!(size <= 1408, "{size} bytes");
    }
}
