//! Plain HTTP of which the caller's own task writes the request and reads the reply. A pool with a task for each
//! connection took more of the generator's core for a refused create than the kernel did.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::{Method, StatusCode};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{CONNECT_WITHIN, CallError, KEEP_IDLE};
use crate::clock;
use crate::floors::http;
use crate::floors::socket::{self, In, Out};

/// A reply that is all there.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// Whether it says when to come back.
    pub(super) says_when: bool,
    pub(super) body: Vec<u8>,
}

/// A connection.
struct Line {
    incoming: In,
    out: Arc<Out>,
}

/// Kept connections to one server. The last one used is the next, so that no more are kept than are needed.
pub(super) struct Lines {
    /// Where to, as the request's `Host` says it.
    host: String,
    /// The header fields that every request has.
    fields: String,
    idle: Mutex<VecDeque<(Line, Instant)>>,
}

impl Lines {
    /// `None` unless `base` is `http://A:P`.
    pub(super) fn new(base: &str, key: &str) -> Option<Self> {
        let host = base.strip_prefix("http://")?;
        let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return None;
        }
        let fields = format!("host: {host}\r\nauthorization: Bearer {key}\r\n");
        Some(Self { host: host.to_owned(), fields, idle: Mutex::default() })
    }

    /// Asks and waits for the reply. Whoever gives up closes the connection.
    pub(super) async fn ask(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
    ) -> Result<Reply, CallError> {
        let request = self.request(method, path, body);
        let mut line = match self.take() {
            Some(line) => line,
            None => self.connect().await?,
        };
        line.out.send(&request);
        let mut got = None;
        while got.is_none() {
            let more = line.incoming.read(|data| {
                let Some((response, len)) = http::response(data)? else { return Ok(None) };
                let status =
                    StatusCode::from_u16(response.status).map_err(|_| socket::Malformed)?;
                let http::Response { says_when, keeps, body, .. } = response;
                let reply = Reply { status, says_when, body: body.to_vec() };
                if got.replace((reply, keeps)).is_some() {
                    return Err(socket::Malformed);
                }
                Ok(Some(len))
            });
            match more.await {
                Ok(true) => {}
                Ok(false) => return Err(CallError::Broken("it was closed".to_owned())),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(CallError::Reply);
                }
                Err(error) => return Err(CallError::Broken(error.to_string())),
            }
        }
        let (reply, keeps) = got.ok_or(CallError::Reply)?;
        if keeps {
            self.keep(line);
        }
        Ok(reply)
    }

    fn request(&self, method: &Method, path: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160 + path.len() + self.fields.len() + body.len());
        let first = [method.as_str(), " ", path, " HTTP/1.1\r\n", &self.fields];
        first.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
        if !body.is_empty() {
            bytes.extend_from_slice(b"content-type: application/json\r\n");
        }
        if *method != Method::GET {
            let length = format!("content-length: {}\r\n", body.len());
            bytes.extend_from_slice(length.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        bytes
    }

    /// A kept connection that the server hasn't closed, nor is about to.
    fn take(&self) -> Option<Line> {
        loop {
            let last = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
            let (line, since) = last?;
            if clock::now().duration_since(since) < KEEP_IDLE && line.incoming.is_silent() {
                return Some(line);
            }
        }
    }

    fn keep(&self, line: Line) {
        let now = clock::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |kept: &(Line, Instant)| now.duration_since(kept.1) > KEEP_IDLE;
        while idle.front().is_some_and(is_old) {
            idle.pop_front();
        }
        idle.push_back((line, now));
    }

    async fn connect(&self) -> Result<Line, CallError> {
        let unreachable = |error: std::io::Error| CallError::Unreachable(error.to_string());
        let connected = timeout(CONNECT_WITHIN, TcpStream::connect(&self.host)).await;
        let stream = connected.map_err(|_| CallError::Unreachable("no answer".to_owned()))?;
        let (incoming, out) = socket::open(stream.map_err(unreachable)?).map_err(unreachable)?;
        Ok(Line { incoming, out })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request on each connection, or as many as there are replies for it.
    async fn serve(listener: TcpListener, connections: Vec<Vec<&'static str>>) -> Vec<String> {
        let mut heard = Vec::new();
        for replies in connections {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            for reply in replies {
                let mut chunk = [0; 1024];
                let read = stream.read(&mut chunk).await.expect("a request");
                heard.push(String::from_utf8_lossy(&chunk[..read]).into_owned());
                stream.write_all(reply.as_bytes()).await.expect("written");
            }
        }
        heard
    }

    async fn asked(connections: Vec<Vec<&'static str>>) -> (Vec<Result<u16, String>>, Vec<String>) {
        let count: usize = connections.iter().map(Vec::len).sum();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(serve(listener, connections));
        let lines = Lines::new(&base, "csk_a").expect("plain HTTP");
        let mut replies = Vec::new();
        for _ in 0..count {
            let reply = lines.ask(&Method::PUT, "/v1/x", b"{}").await;
            replies.push(reply.map(|reply| reply.status.as_u16()).map_err(|error| error.kind()));
        }
        (replies, server.await.expect("served"))
    }

    #[tokio::test]
    async fn a_connection_is_kept_unless_either_side_says_otherwise() {
        let fine = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let last =
            "HTTP/1.1 503 x\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let (replies, heard) = asked(vec![vec![fine, fine, last], vec![fine]]).await;
        assert_eq!(replies, [Ok(200), Ok(200), Ok(503), Ok(200)]);
        assert!(heard[0].starts_with("PUT /v1/x HTTP/1.1\r\nhost: 127.0.0.1:"), "{}", heard[0]);
        assert!(heard[0].ends_with("content-length: 2\r\n\r\n{}"), "{}", heard[0]);
        assert!(heard[0].contains("\r\nauthorization: Bearer csk_a\r\n"));
    }

    #[tokio::test]
    async fn what_is_no_reply_is_said() {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        let (replies, _) = asked(vec![vec![chunked], vec!["HTTP/1.1 "]]).await;
        assert_eq!(replies, [Err("bad_reply".to_owned()), Err("connection_broke".to_owned())]);
    }

    #[test]
    fn only_plain_http_goes_this_way() {
        assert!(Lines::new("https://127.0.0.1:1", "csk_a").is_none());
        assert!(Lines::new("http://localhost", "csk_a").is_none());
        assert!(Lines::new("http://[::1]:8470", "csk_a").is_some());
    }
}
