//! What comes in, read here and by tungstenite: the same messages, the same replies, the same refusals.

use std::io::{self, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message as Theirs};

use super::*;

/// What was made of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    messages: Vec<Message>,
    is_refused: bool,
    /// Pongs and the answer to a close.
    replies: Vec<u8>,
}

/// Bytes that came, and those that went.
struct Wire<'a> {
    incoming: &'a [u8],
    out: Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.incoming.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn by_tungstenite(incoming: &[u8]) -> Outcome {
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME));
    let wire = Wire { incoming, out: Vec::new() };
    let mut socket = WebSocket::from_raw_socket(wire, Role::Server, Some(config));
    let mut read = Outcome::default();
    loop {
        let message = match socket.read() {
            Ok(message) => message,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                break;
            }
            Err(_) => {
                read.is_refused = true;
                break;
            }
        };
        read.messages.push(match message {
            Theirs::Binary(payload) => Message::Binary(payload),
            Theirs::Text(_) => Message::Text,
            Theirs::Ping(payload) => Message::Ping(payload),
            Theirs::Pong(_) => Message::Pong,
            Theirs::Close(close) => Message::Close(
                close.map_or(Vec::new(), |c| super::close(c.code.into(), &c.reason)).into(),
            ),
            Theirs::Frame(_) => unreachable!("it never reads one"),
        });
        if matches!(read.messages.last(), Some(Message::Close(_))) {
            break;
        }
    }
    // an error after a close says that this was all
    let _ = socket.flush();
    read.replies = std::mem::take(&mut socket.get_mut().out);
    read
}

/// In pieces of these lengths, one after the other, again and again.
fn by_us(mut incoming: &[u8], pieces: &[usize]) -> Outcome {
    let (mut read, mut rest, mut fragments) = (Outcome::default(), Vec::new(), None);
    for piece in pieces.iter().cycle() {
        loop {
            let Ok((message, done)) = take(&mut fragments, &rest) else {
                read.is_refused = true;
                return read;
            };
            rest.drain(..done);
            match &message {
                Some(Message::Ping(payload)) => write(Opcode::Pong, payload, &mut read.replies),
                Some(Message::Close(reply)) => write(Opcode::Close, reply, &mut read.replies),
                _ => {}
            }
            let Some(message) = message else { break };
            let is_last = matches!(message, Message::Close(_));
            read.messages.push(message);
            if is_last {
                return read;
            }
        }
        if incoming.is_empty() {
            break;
        }
        let (now, later) = incoming.split_at(incoming.len().min(*piece));
        rest.extend_from_slice(now);
        incoming = later;
    }
    read
}

#[derive(Clone, Debug)]
struct Sent {
    first: u8,
    is_masked: bool,
    /// 0, 2 or 8 bytes of length, if it fits.
    length: usize,
    payload: Vec<u8>,
}

impl Sent {
    fn write(&self, out: &mut Vec<u8>) {
        let flag = if self.is_masked { 0x80 } else { 0 };
        let len = self.payload.len();
        out.push(self.first);
        match u8::try_from(len) {
            Ok(short) if short < 126 && self.length == 0 => out.push(flag | short),
            _ if len <= 0xffff && self.length != 8 => {
                out.push(flag | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                out.push(flag | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        let mask = if self.is_masked { [0x37, 0xfa, 0x21, 0x3d] } else { [0; 4] };
        if self.is_masked {
            out.extend_from_slice(&mask);
        }
        out.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let text = "naïve 日本語 🙂".as_bytes();
    let of = |len: usize| vec![b'x'; len];
    prop_oneof![
        4 => vec(any::<u8>(), 0..8),
        // whole texts and ones that are cut within a character
        4 => (0..text.len(), 0..text.len())
            .prop_map(move |(a, b)| text[a.min(b)..a.max(b)].to_vec()),
        2 => (0..4_usize).prop_map(move |n| text[n * 5..].to_vec()),
        2 => prop::sample::select(vec![124, 125, 126, 127, 255, 256, 4096, 8191, 8192, 8193, 70_000])
            .prop_map(of),
        // close codes
        2 => (990_u16..1020, 0..6_usize).prop_map(|(code, len)| close(code, &"reason"[..len])),
        1 => any::<u16>().prop_map(|code| close(code, "")),
    ]
}

fn frame() -> impl Strategy<Value = Sent> {
    let opcode = prop_oneof![
        30 => prop::sample::select(vec![0_u8, 0, 1, 2, 9, 10]),
        2 => Just(8_u8),
        1 => 0..16_u8,
    ];
    let is_final = prop::bool::weighted(0.7);
    let reserved = prop_oneof![40 => Just(0_u8), 1 => 0..8_u8];
    let length = prop_oneof![6 => Just(0_usize), 1 => Just(2), 1 => Just(8)];
    (opcode, is_final, reserved, prop::bool::weighted(0.98), length, payload()).prop_map(
        |(opcode, is_final, reserved, is_masked, length, payload)| {
            let first = opcode | reserved << 4 | if is_final { 0x80 } else { 0 };
            Sent { first, is_masked, length, payload }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn frames_are_read_as_tungstenite_reads_them(
        frames in vec(frame(), 0..12),
        cut in 0..20_usize,
        pieces in vec(1..2_000_usize, 1..4),
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(10)));
        prop_assert_eq!(by_us(&bytes, &pieces), by_tungstenite(&bytes));
    }

    #[test]
    fn any_bytes_are_read_as_tungstenite_reads_them(
        bytes in vec(any::<u8>(), 0..64),
        pieces in vec(1..9_usize, 1..4),
    ) {
        prop_assert_eq!(by_us(&bytes, &pieces), by_tungstenite(&bytes));
    }

    /// A text in as many frames as it has bytes, right and wrong ones.
    #[test]
    fn texts_in_pieces_are_checked_as_tungstenite_checks_them(
        text in prop_oneof![
            vec(any::<char>(), 1..6).prop_map(|text| text.into_iter().collect::<String>().into_bytes()),
            vec(prop::sample::select(vec![0x41_u8, 0x80, 0xc3, 0xe6, 0xed, 0xf0, 0xf4, 0x9f, 0xbf]), 1..6),
        ],
        is_ended in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        for (n, byte) in text.iter().enumerate() {
            let end = if is_ended && n + 1 == text.len() { 0x80 } else { 0 };
            let first = end | u8::from(n == 0);
            Sent { first, is_masked: true, length: 0, payload: vec![*byte] }.write(&mut bytes);
        }
        prop_assert_eq!(by_us(&bytes, &[3]), by_tungstenite(&bytes));
    }
}

#[test]
fn frames_are_written_as_tungstenite_writes_them() {
    for len in [0, 1, 125, 126, 127, 8192, 65_535, 65_536] {
        let payload = vec![7; len];
        let wire = Wire { incoming: &[], out: Vec::new() };
        let mut socket = WebSocket::from_raw_socket(wire, Role::Server, None);
        socket.send(Theirs::binary(payload.clone())).expect("written");
        let mut ours = Vec::new();
        write(Opcode::Binary, &payload, &mut ours);
        assert!(ours == socket.get_ref().out, "{len}");
    }
}

#[test]
fn the_handshake_is_that_of_the_rfc() {
    let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/// The RFC's own examples (§5.7).
#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(take(&mut None, &hello), Ok((Some(Message::Text), hello.len())));
    let ping = [0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let payload = Bytes::from_static(b"Hello");
    assert_eq!(take(&mut None, &ping), Ok((Some(Message::Ping(payload)), ping.len())));
    assert_eq!(take(&mut None, &[0x81, 0x05, b'H', b'e', b'l', b'l', b'o']), Err(Unreadable));
}
