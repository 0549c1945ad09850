//! What no port promises, but this store does.

mod opening;
mod support;
