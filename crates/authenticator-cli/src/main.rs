//! The command-line authenticator.
fn main() {}
