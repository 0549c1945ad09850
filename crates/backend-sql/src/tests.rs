//! What no port promises, but this store does.

mod auditing;
mod failing;
mod opening;
mod support;
mod writing;
