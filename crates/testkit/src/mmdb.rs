//! Writes small MMDB files (<https://maxmind.github.io/MaxMind-DB/>), version 2.0.

use std::net::IpAddr;

use serde_json::{Value, json};
use statement::Timestamp;

/// Bits that stand before an IPv4 address in a tree of IPv6 addresses.
const V4_DEPTH: u8 = 96;
const SEPARATOR: usize = 16;
const METADATA: &[u8] = b"\xab\xcd\xefMaxMind.com";

// the types of values, as the format numbers them
const STRING: u8 = 2;
const U16: u8 = 5;
const U32: u8 = 6;
const MAP: u8 = 7;
const U64: u8 = 9;
const ARRAY: u8 = 11;

/// A file under construction.
#[derive(Clone, Debug)]
pub struct Mmdb {
    kind: &'static str,
    built: Timestamp,
    nodes: Vec<[Record; 2]>,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

impl Mmdb {
    /// An empty one, named and dated.
    #[must_use]
    pub fn new(kind: &'static str, built: Timestamp) -> Self {
        Self { kind, built, nodes: vec![[Record::Nothing; 2]], data: Vec::new() }
    }

    /// With what is known of a network, such as `192.0.2.0/24`; inside of one that was named before, this wins.
    ///
    /// # Panics
    /// If it isn't a network.
    #[must_use]
    pub fn with(mut self, network: &str, known: &Value) -> Self {
        let (ip, length) = network.split_once('/').expect("address/length");
        let length: u8 = length.parse().expect("a length");
        let (bits, length) = match ip.parse().expect("an address") {
            IpAddr::V4(ip) => (u128::from(ip.to_bits()), V4_DEPTH + length),
            IpAddr::V6(ip) => (ip.to_bits(), length),
        };
        let at = self.data.len();
        value(&mut self.data, known);
        let side = |depth: u8| usize::from(bits >> (127 - depth) & 1 == 1);
        let mut node = 0;
        for depth in 0..length - 1 {
            let next = match self.nodes[node][side(depth)] {
                Record::Node(next) => next,
                leaf => {
                    self.nodes.push([leaf; 2]);
                    self.nodes.len() - 1
                }
            };
            self.nodes[node][side(depth)] = Record::Node(next);
            node = next;
        }
        self.nodes[node][side(length - 1)] = Record::Data(at);
        self
    }

    /// The file.
    ///
    /// # Panics
    /// If it grew too large for 24 bits.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let count = self.nodes.len();
        let mut bytes = Vec::new();
        for record in self.nodes.iter().flatten() {
            let number = match record {
                Record::Nothing => count,
                Record::Node(node) => *node,
                Record::Data(at) => count + SEPARATOR + at,
            };
            let [high, rest @ ..] = u32::try_from(number).expect("a small file").to_be_bytes();
            assert_eq!(high, 0, "24 bits are enough");
            bytes.extend(rest);
        }
        bytes.extend([0; SEPARATOR]);
        bytes.extend(&self.data);
        bytes.extend(METADATA);
        let texts = [
            ("database_type", json!(self.kind)),
            ("description", json!({"en": "for tests"})),
            ("languages", json!(["en"])),
        ];
        let numbers = [
            ("binary_format_major_version", U16, 2),
            ("binary_format_minor_version", U16, 0),
            ("build_epoch", U64, self.built.seconds()),
            ("ip_version", U16, 6),
            ("node_count", U32, count as u64),
            ("record_size", U16, 24),
        ];
        header(&mut bytes, MAP, texts.len() + numbers.len());
        for (name, text) in texts {
            value(&mut bytes, &json!(name));
            value(&mut bytes, &text);
        }
        for (name, kind, of) in numbers {
            value(&mut bytes, &json!(name));
            number(&mut bytes, kind, of);
        }
        bytes
    }
}

fn value(out: &mut Vec<u8>, of: &Value) {
    match of {
        Value::String(text) => {
            header(out, STRING, text.len());
            out.extend(text.as_bytes());
        }
        Value::Number(natural) => {
            let of = natural.as_u64().expect("a natural number");
            number(out, if u32::try_from(of).is_ok() { U32 } else { U64 }, of);
        }
        Value::Array(items) => {
            header(out, ARRAY, items.len());
            items.iter().for_each(|item| value(out, item));
        }
        Value::Object(members) => {
            header(out, MAP, members.len());
            for (name, member) in members {
                value(out, &Value::String(name.clone()));
                value(out, member);
            }
        }
        Value::Null | Value::Bool(_) => panic!("{of} isn't needed"),
    }
}

fn number(out: &mut Vec<u8>, kind: u8, of: u64) {
    let bytes = of.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    header(out, kind, bytes.len() - zeros);
    out.extend(&bytes[zeros..]);
}

fn header(out: &mut Vec<u8>, kind: u8, size: usize) {
    let (size, more) = match size {
        0..29 => (size, None),
        _ => (29, Some(size - 29)),
    };
    let [size, ..] = size.to_le_bytes();
    match kind {
        1..8 => out.push(kind << 5 | size),
        _ => out.extend([size, kind - 7]),
    }
    out.extend(more.map(|more| u8::try_from(more).expect("at most 284")));
}
