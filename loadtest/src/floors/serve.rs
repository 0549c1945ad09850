//! The servers that are measured, each a process of its own: `loadtest floor-server KIND`, hidden, since nobody but
//! `floors` has a use for it. Each ends when whoever started it closes its standard input.

use std::io::{self, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::{ceremony, cores, http, socket, tls, ws};
use crate::failure::{Exit, Failure};

/// How many connections may wait to be accepted: as many as come at once.
const BACKLOG: u32 = 4096;
/// As small as they can be: its own defaults are the other floor.
const READ_BUFFER: usize = 1024;
const WRITE_BUFFER: usize = 2 * wire::device::MAX_FRAME;

/// What a floor server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Echoes JSON over hand-written HTTP on bare sockets.
    HttpRaw,
    /// Echoes JSON through axum.
    HttpAxum,
    /// Echoes WebSocket messages, with hand-written frames on bare sockets.
    WsRaw,
    /// The same, but sends each message twice, in two writes.
    WsRawTwice,
    /// Echoes WebSocket messages through axum, with small buffers.
    WsAxum,
    /// The same with axum's own defaults.
    WsAxumDefault,
    /// Holds connections, and waits for a byte on each, which it sends back.
    Tcp,
    /// The same under TLS: a task around a boxed stream.
    Tls,
    /// Whole ceremonies.
    Ceremony,
    /// The same, made durable in the folder that [`STORE`] names.
    CeremonyDurable,
}

/// In the environment of a server: where it makes things durable.
pub(crate) const STORE: &str = "COUNTERSIGN_FLOOR_STORE";

impl Kind {
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value().expect("no kind is skipped");
        value.get_name().to_owned()
    }
}

#[derive(Args)]
pub(crate) struct ServerArgs {
    #[arg(value_enum)]
    kind: Kind,
    /// The core to stay on
    #[arg(long)]
    core: Option<usize>,
}

/// What HTTP echoes carry: about 90 bytes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Echo {
    pub(crate) user: String,
    pub(crate) session: String,
    pub(crate) sequence: u64,
}

impl Echo {
    pub(crate) fn sample() -> Self {
        Self {
            user: "usr_064jp1m1c4000vb5cqg1l6eiqk".to_owned(),
            session: "9d1fTr3CxJ".to_owned(),
            sequence: 1_234_567,
        }
    }
}

/// Serves until standard input ends.
pub(crate) fn start(args: &ServerArgs) -> Result<Exit, Failure> {
    crate::raise_open_files();
    let failed = |error: io::Error| Failure::Server(format!("floor server: {error}"));
    cores::pin(args.core).map_err(failed)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(until_abandoned(args.kind)).map_err(failed)?;
    Ok(Exit::Ok)
}

async fn until_abandoned(kind: Kind) -> io::Result<()> {
    let listener = listen()?;
    let address = listener.local_addr()?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {address}")?;
    stdout.flush()?;
    let (abandon, abandoned) = oneshot::channel();
    std::thread::spawn(move || {
        // an error is as good as an end
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = abandon.send(());
    });
    tokio::select! {
        served = serve(kind, listener) => served,
        _ = abandoned => Ok(()),
    }
}

/// A free port.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

/// Serves for ever.
pub(crate) async fn serve(kind: Kind, listener: TcpListener) -> io::Result<()> {
    match kind {
        Kind::HttpRaw => accept(listener, http_raw).await,
        Kind::HttpAxum => through_axum(listener, Router::new().route("/echo", post(echo))).await,
        Kind::WsRaw => accept(listener, |stream| ws_raw(stream, 1)).await,
        Kind::WsRawTwice => accept(listener, |stream| ws_raw(stream, 2)).await,
        Kind::WsAxum => through_axum(listener, gateway(true)).await,
        Kind::WsAxumDefault => through_axum(listener, gateway(false)).await,
        Kind::Tcp => accept(listener, hold).await,
        Kind::Tls => {
            let acceptor = tls::acceptor()?;
            accept(listener, move |stream| tls::hold(acceptor.clone(), stream)).await
        }
        Kind::Ceremony => ceremony::serve(listener, None).await,
        Kind::CeremonyDurable => {
            let store = std::env::var_os(STORE).map(PathBuf::from);
            let store = store.ok_or_else(|| io::Error::other(format!("{STORE} isn't set")))?;
            ceremony::serve(listener, Some(&store)).await
        }
    }
}

/// A task for each connection. One that breaks is missed by the other side, which says so.
async fn accept<F>(listener: TcpListener, one: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        // nothing around it: a task that holds another future is twice as large
        drop(tokio::spawn(one(stream)));
    }
}

async fn http_raw(stream: TcpStream) -> io::Result<()> {
    let (mut incoming, out) = socket::open(stream)?;
    while incoming
        .read(|data| {
            let Some((request, len)) = http::request(data)? else { return Ok(None) };
            let body: Echo = serde_json::from_slice(request.body).map_err(|_| socket::Malformed)?;
            let body = serde_json::to_vec(&body).map_err(|_| socket::Malformed)?;
            out.send(&http::reply("200 OK", &body));
            Ok(Some(len))
        })
        .await?
    {}
    Ok(())
}

async fn ws_raw(stream: TcpStream, times: usize) -> io::Result<()> {
    let (mut incoming, out) = socket::open(stream)?;
    let mut greeted = false;
    while incoming
        .read(|data| {
            if greeted {
                let Some((payload, len)) = ws::read(data)? else { return Ok(None) };
                for _ in 0..times {
                    out.send(&ws::message(&payload, false));
                }
                return Ok(Some(len));
            }
            let Some((request, len)) = http::request(data)? else { return Ok(None) };
            out.send(&ws::welcome(request.websocket.ok_or(socket::Malformed)?));
            greeted = true;
            Ok(Some(len))
        })
        .await?
    {}
    Ok(())
}

/// What an idle connection costs at least.
#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` would keep a second copy of its argument"
)]
fn hold(mut stream: TcpStream) -> impl Future<Output = io::Result<()>> + Send {
    async move {
        // one byte: nothing more is kept for an idle connection
        let mut byte = [0];
        while stream.read(&mut byte).await? > 0 {
            // not awaited: that would be a larger task
            stream.try_write(&byte)?;
        }
        Ok(())
    }
}

async fn through_axum(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // without it the floor is a slower one, and no error
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}

async fn echo(Json(body): Json<Echo>) -> Json<Echo> {
    Json(body)
}

fn gateway(tuned: bool) -> Router {
    let upgrade = move |upgrade: WebSocketUpgrade| async move {
        let upgrade = upgrade.protocols([wire::device::SUBPROTOCOL]);
        let upgrade = if tuned {
            upgrade
                .read_buffer_size(READ_BUFFER)
                .write_buffer_size(0)
                .max_write_buffer_size(WRITE_BUFFER)
                .max_message_size(wire::device::MAX_FRAME)
                .max_frame_size(wire::device::MAX_FRAME)
        } else {
            upgrade
        };
        upgrade.on_upgrade(ws_axum)
    };
    Router::new().route(wire::device::PATH, get(upgrade))
}

async fn ws_axum(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Binary(payload) = message
            && socket.send(Message::Binary(payload)).await.is_err()
        {
            return;
        }
    }
}
