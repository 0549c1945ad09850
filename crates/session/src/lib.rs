//! The server half of one device connection, without I/O.
