//! The OpenID provider over real sockets, with an authenticator that answers.

pub(crate) mod client;
mod codes;
mod crates;
pub(crate) mod external;
mod front;
mod quota;
pub(crate) mod refused;
mod signed;
