//! The shapes that cross a socket: the device gateway's protobuf and the REST bodies. No behaviour.

pub mod device;
mod redacted;
pub mod rest;
