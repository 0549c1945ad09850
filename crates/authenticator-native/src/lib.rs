//! Sockets and key file under the authenticator core.
