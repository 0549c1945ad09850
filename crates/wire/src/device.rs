//! The device gateway, version 1: generated from proto/countersign/device/v1/device.proto, described in
//! proto/README.md. Limits that both sides keep stand here beside it.

#[expect(missing_docs, reason = "generated: the .proto file has the comments")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/countersign.device.v1.rs"));
}
pub use generated::*;

/// The only protocol version spoken.
pub const VERSION: u32 = 1;

/// The WebSocket subprotocol, without which the gateway refuses the upgrade.
pub const SUBPROTOCOL: &str = "countersign.device";

/// The path of the gateway below the server's public URL.
pub const PATH: &str = "/device";

/// Largest frame in either direction, in bytes: a challenge with all details is about 3 KiB.
pub const MAX_FRAME: usize = 8 * 1024;

/// Why the server closed the connection (RFC 6455 §7.4.2, private range).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// Clean stop; come back after the time in the last Goodbye (RFC 6455 registry: service restart).
    Restart = 1012,
    /// A frame that doesn't parse, or isn't allowed in this state.
    Malformed = 4400,
    /// Login refused: unknown, revoked or a signature that doesn't verify. Don't retry.
    Unauthenticated = 4401,
    /// The device was revoked while connected. Don't retry.
    Revoked = 4403,
    /// No common protocol version; the reason names the supported range.
    Version = 4406,
    /// Nothing was said in time.
    Deadline = 4408,
    /// A newer connection of the same device took over. Don't come back by yourself.
    Replaced = 4409,
    /// The ticket is used, expired, cancelled or was never there.
    Ticket = 4410,
    /// Too many frames or connections; back off.
    TooMany = 4429,
    /// The server can't reach its store. Come back later.
    Unavailable = 4503,
}

impl CloseCode {
    /// From the number on the wire.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1012 => Self::Restart,
            4400 => Self::Malformed,
            4401 => Self::Unauthenticated,
            4403 => Self::Revoked,
            4406 => Self::Version,
            4408 => Self::Deadline,
            4409 => Self::Replaced,
            4410 => Self::Ticket,
            4429 => Self::TooMany,
            4503 => Self::Unavailable,
            _ => return None,
        })
    }
}
