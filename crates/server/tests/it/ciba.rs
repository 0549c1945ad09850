//! CIBA over real sockets: a client without a browser, Keycloak's channel, and an authenticator that answers.

pub(crate) mod client;
mod grant;
mod keycloak;
mod listener;
mod ping;
mod refused;
mod secrecy;
mod user_code;
