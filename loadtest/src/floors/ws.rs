//! As much of WebSocket as a floor needs (RFC 6455): whole binary messages in single frames. Not for strangers.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;

use super::socket::Malformed;

/// More than any message of a floor.
const MAX_PAYLOAD: usize = 8 * 1024;
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The key of the RFC's own example: every handshake of a floor is the same.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// FIN and opcode 2.
const BINARY: u8 = 0x82;

/// What a client asks for before it is a WebSocket.
pub(crate) fn knock(host: &str, path: &str) -> Vec<u8> {
    let protocol = wire::device::SUBPROTOCOL;
    let text = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\nsec-websocket-protocol: {protocol}\r\n\r\n"
    );
    text.into_bytes()
}

/// The server's yes to `key`.
pub(crate) fn welcome(key: &str) -> Vec<u8> {
    let (accept, protocol) = (accept(key), wire::device::SUBPROTOCOL);
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: {protocol}\r\n\r\n"
    );
    text.into_bytes()
}

fn accept(key: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, [key, GUID].concat().as_bytes());
    BASE64.encode(hash.as_ref())
}

/// A binary message. A client's is masked: with a fixed mask here, since no proxy lies between.
pub(crate) fn message(payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let flag = if masked { 0x80 } else { 0 };
    let mut bytes = Vec::with_capacity(8 + payload.len());
    bytes.push(BINARY);
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => bytes.push(flag | len),
        _ => {
            let len = u16::try_from(payload.len()).expect("floors send short messages");
            bytes.push(flag | 126);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
    }
    if masked {
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// The payload of the first message in `data`, unmasked, and how long the message is; `None` if it isn't all
/// there yet.
pub(crate) fn read(data: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let [first, second, rest @ ..] = data else { return Ok(None) };
    if *first != BINARY {
        return Err(Malformed);
    }
    let (len, rest) = match (second & 0x7f, rest) {
        (127, _) => return Err(Malformed),
        (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        (126, _) => return Ok(None),
        (len, rest) => (usize::from(len), rest),
    };
    if len > MAX_PAYLOAD {
        return Err(Malformed);
    }
    let (mask, rest) = match (second & 0x80, rest) {
        (0, rest) => (None, rest),
        (_, [a, b, c, d, rest @ ..]) => (Some([*a, *b, *c, *d]), rest),
        _ => return Ok(None),
    };
    let Some(payload) = rest.get(..len) else { return Ok(None) };
    let mut payload = payload.to_vec();
    if let Some(mask) = mask {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    Ok(Some((payload, data.len() - rest.len() + len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_that_of_the_rfc() {
        assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        for len in [0, 1, 125, 126, 1_000] {
            for masked in [false, true] {
                let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
                let bytes = message(&payload, masked);
                for cut in 0..bytes.len() {
                    assert_eq!(read(&bytes[..cut]), Ok(None), "{len} {masked} {cut}");
                }
                let two = [bytes.as_slice(), &[BINARY]].concat();
                assert_eq!(read(&two), Ok(Some((payload, bytes.len()))), "{len} {masked}");
            }
        }
    }

    #[test]
    fn what_no_floor_sends_is_refused() {
        for bad in [&[0x81, 0][..], &[BINARY, 127], &[BINARY, 126, 0xff, 0xff]] {
            assert_eq!(read(bad), Err(Malformed), "{bad:?}");
        }
    }
}
