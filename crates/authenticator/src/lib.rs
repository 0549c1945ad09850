//! The device half of the protocol, without I/O.
