//! One connection: requests, until it turns into a device's.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};

use super::super::socket::{self, Malformed};
use super::super::{http, ws};
use super::outbox::Outbox;
use super::state::State;

/// Serves ceremonies for ever; durable ones if there is a folder for them.
pub(crate) async fn serve(listener: TcpListener, store: Option<&Path>) -> io::Result<()> {
    let outbox = store.map_or(Ok(Outbox::AtOnce), Outbox::durable).map_err(io::Error::other)?;
    // one thread: nobody ever waits for this
    let state = Arc::new(Mutex::new(State::new(outbox)));
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
                locked().frame(&payload, &mut whose, &out).ok_or(Malformed)?;
                return Ok(Some(len));
            }
            let Some((request, len)) = http::request(data)? else { return Ok(None) };
            is_device = request.websocket.is_some();
            match request.websocket {
                Some(key) => out.send(&ws::welcome(key)),
                None => locked().call(&request, &out),
            }
            Ok(Some(len))
        })
        .await?
    {}
    Ok(())
}
