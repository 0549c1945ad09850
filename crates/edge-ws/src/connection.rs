//! One socket and the task that owns it.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use ports::{Hint, Mailbox};
use rand::RngExt;
use session::{Close, Identified};
use tokio::time::{Instant, timeout};

use crate::admission::Permit;
use crate::enter::Device;
use crate::frames::{self, Message, Opcode};
use crate::socket::{Broken, Socket};
use crate::wheel::Alarm;
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
    /// The device closed it; with the answer to its close frame.
    Left(Bytes),
    /// It broke, or the device doesn't read.
    Lost,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
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
    socket: Socket<TokioIo<Upgraded>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) permit: Permit,
    began: Instant,
    alarm: Option<Alarm>,
    /// What arrives can't be read any more.
    deaf: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.wheel.cancel(&mut self.alarm);
    }
}

/// A connection that is its device's, and waits for what happens next.
pub(crate) struct Live {
    pub(crate) connection: Connection,
    pub(crate) session: Identified,
    pub(crate) device: Device,
}

/// The task of one connection.
///
/// An idle device costs its task's memory, and a task is as large as the largest thing that it could be waiting
/// for: so whatever isn't waiting for the next event is boxed while it lasts. By hand, because an `async fn` would
/// keep copies of what it hands on.
#[expect(clippy::large_enum_variant, reason = "it nearly always is the large one")]
pub(crate) enum Task {
    Idle(Live),
    /// `None`: that was the end.
    Busy(Pin<Box<dyn Future<Output = Option<Live>> + Send>>),
    Over,
}

/// Serves one connection to its end, once it is a WebSocket.
pub(crate) fn run(upgrade: OnUpgrade, shared: Arc<Shared>, permit: Permit) -> Task {
    Task::Busy(Box::pin(enter(upgrade, shared, permit)))
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = match &mut *self {
                Self::Idle(live) => ready!(live.poll_next(cx)),
                Self::Busy(busy) => {
                    match ready!(busy.as_mut().poll(cx)) {
                        Some(live) => self.set(Self::Idle(live)),
                        None => self.set(Self::Over),
                    }
                    continue;
                }
                Self::Over => return Poll::Ready(()),
            };
            if let Self::Idle(live) = mem::replace(&mut *self, Self::Over) {
                self.set(Self::Busy(Box::pin(live.react(next))));
            }
        }
    }
}

impl Live {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, End>> {
        let mailbox = &mut *self.device.mailbox;
        self.connection.poll_next(cx, Some(mailbox), self.session.deadline())
    }

    async fn react(self, next: Result<Event, End>) -> Option<Self> {
        let Self { mut connection, session, mut device } = self;
        let reacted = match next {
            Ok(event) => live::react(&mut connection, session, &mut device, event).await,
            Err(end) => Err(end),
        };
        let session = reacted.map(|session| (session, device));
        connection.go_on(session).await
    }
}

/// All that happens before a device is idle.
async fn enter(upgrade: OnUpgrade, shared: Arc<Shared>, permit: Permit) -> Option<Live> {
    // who asked and is gone: nobody is left to tell
    let stream = upgrade.await.ok()?;
    let mut connection = Connection {
        socket: Socket::new(TokioIo::new(stream)),
        shared,
        permit,
        began: instant(),
        alarm: None,
        deaf: false,
    };
    let entered = enter::handshake(&mut connection).await;
    let begun = match entered {
        Ok((session, mut device)) => {
            let begun = live::begin(&mut connection, &session, &mut device).await;
            begun.map(|()| (session, device))
        }
        Err(end) => Err(end),
    };
    connection.go_on(begun).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "sockets time out on a clock that doesn't jump; no rule is judged by it"
)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

impl Connection {
    /// Waits for the next event, or ends. Whoever comes to an end isn't connected any more while it is told why.
    async fn go_on(self, with: Result<(Identified, Device), End>) -> Option<Live> {
        match with {
            Ok((session, device)) => Some(Live { connection: self, session, device }),
            Err(end) => {
                self.end(end).await;
                None
            }
        }
    }

    /// The time since the connection was accepted: the session's clock.
    pub(crate) fn now(&self) -> Duration {
        instant().saturating_duration_since(self.began)
    }

    /// What happens next to one that isn't identified.
    pub(crate) async fn next(&mut self, deadline: Duration) -> Result<Event, End> {
        poll_fn(|cx| self.poll_next(cx, None, deadline)).await
    }

    /// What happens next: an event before `deadline` or little after it, or the end.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        mailbox: Option<&mut (dyn Mailbox + '_)>,
        deadline: Duration,
    ) -> Poll<Result<Event, End>> {
        let at = self.began + deadline;
        // first the alarm: whoever has one is woken at the end too
        self.shared.wheel.set(&mut self.alarm, at, cx.waker());
        if self.shared.wheel.is_over() {
            return Poll::Ready(Err(self.restart().into()));
        }
        match mailbox {
            Some(mailbox) => {
                if let Poll::Ready(hint) = mailbox.poll_hint(cx) {
                    return Poll::Ready(Ok(Event::Hint(hint)));
                }
            }
            None => {
                if self.permit.poll_dismissed(cx).is_ready() {
                    return Poll::Ready(Err(Close::make_room().into()));
                }
            }
        }
        if let Poll::Ready(message) = self.socket.poll_message(cx) {
            return Poll::Ready(self.heard(cx, message));
        }
        if instant() >= at { Poll::Ready(Ok(Event::Timer)) } else { Poll::Pending }
    }

    fn heard(
        &mut self,
        cx: &mut Context<'_>,
        message: Result<Message, Broken>,
    ) -> Result<Event, End> {
        let message = match message {
            Ok(message) => message,
            Err(Broken::Gone) => return Err(End::Lost),
            Err(Broken::Unreadable) => {
                self.deaf = true;
                return Err(Close::unreadable().into());
            }
        };
        told::frame_in();
        match message {
            Message::Binary(frame) => Ok(Event::Frame(frame)),
            Message::Ping(payload) => {
                self.socket.pong(cx, &payload).map_err(|_| End::Lost)?;
                Ok(Event::Control)
            }
            Message::Pong => Ok(Event::Control),
            Message::Text => Err(Close::text_message().into()),
            Message::Close(answer) => Err(End::Left(answer)),
        }
    }

    fn restart(&self) -> Close {
        let spread = u64::try_from(RETURN_OVER.as_millis()).unwrap_or(u64::MAX);
        let after = self.shared.call().rng.random_range(0..spread);
        Close::restart(Duration::from_millis(after))
    }

    /// Sends a frame of the session's.
    pub(crate) async fn send(&mut self, frame: Bytes) -> Result<(), End> {
        told::frame_out();
        self.write(Opcode::Binary, &frame).await
    }

    pub(crate) async fn ping(&mut self) -> Result<(), End> {
        told::frame_out();
        self.write(Opcode::Ping, &[]).await
    }

    async fn write(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), End> {
        let socket = &mut self.socket;
        let put = poll_fn(|cx| Poll::Ready(socket.put(cx, opcode, payload))).await;
        put.map_err(|_| End::Lost)?;
        // a device that reads lets it through at once: no timer, which is large, and nearly all of what is sent
        if socket.is_drained() {
            return Ok(());
        }
        let drained = poll_fn(|cx| socket.poll_drain(cx));
        match Box::pin(timeout(SEND_WITHIN, drained)).await {
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
            End::Left(answer) => {
                // it may be gone already
                let _ = timeout(LINGER, self.write(Opcode::Close, &answer)).await;
                told::NORMAL
            }
            End::Lost => told::ABNORMAL,
        };
        told::closed(code);
        tracing::debug!(code, "device connection ended");
        if !matches!(code, told::ABNORMAL | told::NORMAL) {
            let _ = timeout(LINGER, self.until_gone()).await;
        }
    }

    async fn close(&mut self, close: Close) -> Result<(), End> {
        if let Some(farewell) = close.farewell {
            self.send(farewell).await?;
        }
        told::frame_out();
        let payload = frames::close(close.code as u16, close.reason);
        self.write(Opcode::Close, &payload).await
    }

    /// Reads on until the device has closed too. Bytes that nobody reads would make the kernel reset the
    /// connection, and the reason might not arrive.
    async fn until_gone(&mut self) {
        let socket = &mut self.socket;
        while !self.deaf {
            match poll_fn(|cx| socket.poll_message(cx)).await {
                Ok(Message::Close(_)) | Err(Broken::Gone) => return,
                Ok(_) => {}
                Err(Broken::Unreadable) => self.deaf = true,
            }
        }
        poll_fn(|cx| socket.poll_gone(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_an_idle_device_stays_small() {
        // beside it tokio takes 104, in steps of 128
        assert!(size_of::<Task>() <= 280, "{} bytes", size_of::<Task>());
    }
}
