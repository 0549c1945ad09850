//! As much of HTTP/1.1 as a floor needs (RFC 9112): kept-alive connections, bodies with a length. Not for strangers.

use super::socket::Malformed;

/// More than any head or body of a floor.
const MAX_HEAD: usize = 8 * 1024;
const MAX_BODY: usize = 64 * 1024;

/// A request as it lies in the buffer.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// The key after `Bearer `.
    pub(crate) key: Option<&'a str>,
    /// `Sec-WebSocket-Key`: it wants to be a WebSocket.
    pub(crate) websocket: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// The first request in `data` and how long it is; `None` if it isn't all there yet.
pub(crate) fn request(data: &[u8]) -> Result<Option<(Request<'_>, usize)>, Malformed> {
    let Some(head) = Head::read(data)? else { return Ok(None) };
    let mut words = head.first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Err(Malformed) };
    let request = Request {
        method,
        path,
        key: head.key,
        websocket: head.websocket,
        body: &data[head.len..head.len + head.body],
    };
    Ok(Some((request, head.len + head.body)))
}

/// A response as it lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    /// Whether it says when to come back.
    pub(crate) says_when: bool,
    /// Whether the connection stays open.
    pub(crate) keeps: bool,
    pub(crate) body: &'a [u8],
}

/// The first response in `data` and how long it is; `None` if it isn't all there yet.
pub(crate) fn response(data: &[u8]) -> Result<Option<(Response<'_>, usize)>, Malformed> {
    let Some(head) = Head::read(data)? else { return Ok(None) };
    let status = head.first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(Malformed)?;
    let len = head.len + head.body;
    let Head { says_when, keeps, .. } = head;
    Ok(Some((Response { status, says_when, keeps, body: &data[head.len..len] }, len)))
}

/// What stands in front of a body.
struct Head<'a> {
    first: &'a str,
    len: usize,
    body: usize,
    key: Option<&'a str>,
    websocket: Option<&'a str>,
    says_when: bool,
    keeps: bool,
}

impl<'a> Head<'a> {
    fn read(data: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut head = Head {
            first: "",
            len: 0,
            body: 0,
            key: None,
            websocket: None,
            says_when: false,
            keeps: true,
        };
        loop {
            let rest = &data[head.len..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                return if data.len() > MAX_HEAD { Err(Malformed) } else { Ok(None) };
            };
            let line = std::str::from_utf8(&rest[..end]).map_err(|_| Malformed)?;
            let line = line.strip_suffix('\r').ok_or(Malformed)?;
            let is_first = head.len == 0;
            head.len += end + 1;
            if is_first {
                head.first = line;
            } else if line.is_empty() {
                break;
            } else {
                head.field(line)?;
            }
        }
        let complete = data.len() - head.len >= head.body;
        Ok(complete.then_some(head))
    }

    fn field(&mut self, line: &'a str) -> Result<(), Malformed> {
        let (name, value) = line.split_once(':').ok_or(Malformed)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            self.body = value.parse().map_err(|_| Malformed)?;
            if self.body > MAX_BODY {
                return Err(Malformed);
            }
        } else if name.eq_ignore_ascii_case("authorization") {
            self.key = value.strip_prefix("Bearer ");
        } else if name.eq_ignore_ascii_case("sec-websocket-key") {
            self.websocket = Some(value);
        } else if name.eq_ignore_ascii_case("retry-after") {
            self.says_when = true;
        } else if name.eq_ignore_ascii_case("connection") {
            self.keeps = !value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Malformed);
        }
        Ok(())
    }
}

/// A POST of JSON, or a GET if there is no body.
pub(crate) fn ask(host: &str, path: &str, key: &str, body: &[u8]) -> Vec<u8> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n").into_bytes();
    if !key.is_empty() {
        bytes.extend_from_slice(format!("authorization: Bearer {key}\r\n").as_bytes());
    }
    if !body.is_empty() {
        let fields =
            format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        bytes.extend_from_slice(fields.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// A response of JSON.
pub(crate) fn reply(status: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96 + body.len());
    for part in ["HTTP/1.1 ", status, "\r\ncontent-type: application/json\r\ncontent-length: "] {
        bytes.extend_from_slice(part.as_bytes());
    }
    push_number(&mut bytes, body.len());
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(body);
    bytes
}

fn push_number(bytes: &mut Vec<u8>, number: usize) {
    let start = bytes.len();
    let mut left = number;
    loop {
        bytes.push(b"0123456789"[left % 10]);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    bytes[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once_it_is_all_there() {
        let bytes = ask("127.0.0.1:1", "/v1/x", "csk_a", b"{\"a\":1}");
        for cut in 0..bytes.len() {
            assert!(request(&bytes[..cut]).expect("well-formed").is_none(), "{cut}");
        }
        let two = [bytes.as_slice(), b"GET"].concat();
        let (read, len) = request(&two).expect("well-formed").expect("complete");
        assert_eq!((read.method, read.path, read.key), ("POST", "/v1/x", Some("csk_a")));
        assert_eq!((read.body, len), (&b"{\"a\":1}"[..], bytes.len()));
        let bytes = ask("127.0.0.1:1", "/v1/x", "", b"");
        let (read, _) = request(&bytes).expect("well-formed").expect("complete");
        assert_eq!((read.method, read.key, read.body.len()), ("GET", None, 0));
    }

    #[test]
    fn a_response_is_read_once_it_is_all_there() {
        for len in [0, 7, 10, 1_234] {
            let body = vec![b'x'; len];
            let bytes = reply("409 Conflict", &body);
            assert!(response(&bytes[..bytes.len() - 1]).expect("well-formed").is_none());
            let read = response(&bytes).expect("well-formed").expect("complete");
            let whole = Response { status: 409, says_when: false, keeps: true, body: &body };
            assert_eq!(read, (whole, bytes.len()));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &b"GET\r\n\r\n"[..],
            b"GET / HTTP/1.1\nhost: a\n\n",
            b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n",
            b"POST / HTTP/1.1\r\nno colon\r\n\r\n",
            &[b'a'; MAX_HEAD + 1],
        ] {
            assert!(request(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(response(b"HTTP/1.1 abc\r\n\r\n").is_err());
    }
}
