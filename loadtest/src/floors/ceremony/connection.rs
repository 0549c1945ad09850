//! One connection: requests, until it turns into a device's.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};

use super::super::socket::{self, Malformed, Out};
use super::super::{http, ws};
use super::state::State;

/// Serves ceremonies for ever.
pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    // one thread: nobody ever waits for this
    let state = Arc::new(Mutex::new(State::new()));
    loop {
        let (stream, _) = listener.accept().await?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // whoever breaks off is missed by the other side, which says so
            let _ = one(stream, &state).await;
        });
    }
}

async fn one(stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let (mut incoming, out) = socket::open(stream)?;
    let (mut is_device, mut whose) = (false, None);
    let locked = || state.lock().unwrap_or_else(PoisonError::into_inner);
    while incoming
        .read(|data| {
            if is_device {
                let Some((payload, len)) = ws::read(data)? else { return Ok(None) };
                let reply = locked().frame(&payload, &mut whose, &out).ok_or(Malformed)?;
                out.send(&ws::message(&reply, false));
                return Ok(Some(len));
            }
            let Some((request, len)) = http::request(data)? else { return Ok(None) };
            is_device = request.websocket.is_some();
            respond(&request, &mut locked(), &out);
            Ok(Some(len))
        })
        .await?
    {}
    Ok(())
}

fn respond(request: &http::Request<'_>, state: &mut State, out: &Arc<Out>) {
    if let Some(key) = request.websocket {
        return out.send(&ws::welcome(key));
    }
    if let Some(reply) = state.call(request, out) {
        out.send(&reply);
    }
}
