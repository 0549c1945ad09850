//! WebSocket frames as a server reads and writes them (RFC 6455), without I/O.
//!
//! By hand because of what an idle device costs: a reader here is nothing while no message is under way. What is
//! taken and what is refused is what tungstenite does, which is the oracle of the tests.

use std::str;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::body::Bytes;
use data_encoding::BASE64;
use http::HeaderValue;
use wire::device::MAX_FRAME;

/// The longest header: two bytes, eight of a length, four of a mask (§5.2).
pub(crate) const MAX_HEADER: usize = 14;
/// The longest payload of a control frame (§5.5).
const MAX_CONTROL: usize = 125;

/// What shows that a server has read a handshake's key (§4.2.2).
pub(crate) fn accept(key: &HeaderValue) -> HeaderValue {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
    HeaderValue::try_from(BASE64.encode(hash.as_ref())).expect("base64 is plain ASCII")
}

/// The kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    const fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What the device says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Binary(Bytes),
    /// What it says is of no use: this protocol has none.
    Text,
    /// With the payload of the pong that it asks for.
    Ping(Bytes),
    Pong,
    /// With the payload of the close frame that answers it.
    Close(Bytes),
}

/// Not a WebSocket message, or too long a one. Nothing after it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// What has arrived of a message that comes in several frames (§5.4).
#[derive(Debug)]
pub(crate) struct Fragments {
    is_text: bool,
    payload: Vec<u8>,
    /// So much of a text is known to be UTF-8.
    checked: usize,
}

/// Takes a message from the start of `data`: the first whole one, if there is any, and how many bytes are done with.
/// `fragments` keeps what was taken of a message whose last frame hasn't come.
pub(crate) fn take(
    fragments: &mut Option<Fragments>,
    data: &[u8],
) -> Result<(Option<Message>, usize), Unreadable> {
    let mut done = 0;
    while let Some(header) = Header::read(&data[done..])? {
        let from = done + header.len;
        let Some(masked) = data.get(from..from + header.payload) else { break };
        done = from + header.payload;
        if let Some(message) = header.take(fragments, masked)? {
            return Ok((Some(message), done));
        }
    }
    Ok((None, done))
}

struct Header {
    is_final: bool,
    is_reserved: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    /// Its own length.
    len: usize,
    /// The length of what follows.
    payload: usize,
}

impl Header {
    /// `None`: it isn't all there.
    fn read(data: &[u8]) -> Result<Option<Self>, Unreadable> {
        let [first, second, rest @ ..] = data else { return Ok(None) };
        let (payload, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
            }
            (126 | 127, _) => return Ok(None),
            (short, rest) => (u64::from(short), rest),
        };
        let (mask, rest) = match (second & 0x80, rest) {
            (0, rest) => (None, rest),
            (_, [a, b, c, d, rest @ ..]) => (Some([*a, *b, *c, *d]), rest),
            _ => return Ok(None),
        };
        let opcode = Opcode::of(first & 0x0f).ok_or(Unreadable)?;
        let payload = usize::try_from(payload).map_err(|_| Unreadable)?;
        if payload > MAX_FRAME {
            return Err(Unreadable);
        }
        Ok(Some(Self {
            is_final: first & 0x80 != 0,
            is_reserved: first & 0x70 != 0,
            opcode,
            mask,
            len: data.len() - rest.len(),
            payload,
        }))
    }

    fn take(
        &self,
        fragments: &mut Option<Fragments>,
        masked: &[u8],
    ) -> Result<Option<Message>, Unreadable> {
        // a client masks (§5.1), and no extension was agreed on (§5.2)
        let mask = self.mask.filter(|_| !self.is_reserved).ok_or(Unreadable)?;
        if self.opcode.is_control() {
            if !self.is_final || masked.len() > MAX_CONTROL {
                return Err(Unreadable);
            }
            return control(self.opcode, unmasked(masked, mask)).map(Some);
        }
        let mut message = match (self.opcode, fragments.take()) {
            (Opcode::Continuation, Some(started)) => started,
            (Opcode::Continuation, None) | (_, Some(_)) => return Err(Unreadable),
            (opcode, None) => {
                let is_text = opcode == Opcode::Text;
                Fragments { is_text, payload: Vec::new(), checked: 0 }
            }
        };
        message.add(unmasked(masked, mask))?;
        if self.is_final {
            return message.end().map(Some);
        }
        *fragments = Some(message);
        Ok(None)
    }
}

impl Fragments {
    fn add(&mut self, more: Vec<u8>) -> Result<(), Unreadable> {
        if self.payload.len() + more.len() > MAX_FRAME {
            return Err(Unreadable);
        }
        if self.payload.is_empty() {
            self.payload = more;
        } else {
            self.payload.extend_from_slice(&more);
        }
        if self.is_text
            && let Err(error) = str::from_utf8(&self.payload[self.checked..])
        {
            if error.error_len().is_some() {
                return Err(Unreadable);
            }
            self.checked += error.valid_up_to();
        } else {
            self.checked = self.payload.len();
        }
        Ok(())
    }

    fn end(self) -> Result<Message, Unreadable> {
        match self.is_text {
            false => Ok(Message::Binary(self.payload.into())),
            true if self.checked == self.payload.len() => Ok(Message::Text),
            true => Err(Unreadable),
        }
    }
}

fn control(opcode: Opcode, payload: Vec<u8>) -> Result<Message, Unreadable> {
    Ok(match opcode {
        Opcode::Ping => Message::Ping(payload.into()),
        Opcode::Pong => Message::Pong,
        _ => Message::Close(reply_to_close(payload)?.into()),
    })
}

/// The same code and reason, if it is a code that may be sent (§7.4).
fn reply_to_close(payload: Vec<u8>) -> Result<Vec<u8>, Unreadable> {
    let [a, b, reason @ ..] = payload.as_slice() else {
        return if payload.is_empty() { Ok(payload) } else { Err(Unreadable) };
    };
    str::from_utf8(reason).map_err(|_| Unreadable)?;
    match u16::from_be_bytes([*a, *b]) {
        1000..=1003 | 1007..=1013 | 3000..=4999 => Ok(payload),
        _ => Ok(close(1002, "Protocol violation")),
    }
}

/// The payload of a close frame. `reason` has at most 123 bytes (§5.5).
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// Writes a frame: a whole message, unmasked as a server's are.
pub(crate) fn write(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(len)) => {
            out.push(126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

fn unmasked(masked: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut payload = masked.to_vec();
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        word.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    words.into_remainder().iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    payload
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
