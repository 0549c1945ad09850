//! The gateway over real sockets, on the embedded store.

mod ceremonies;
mod refusals;
mod world;
