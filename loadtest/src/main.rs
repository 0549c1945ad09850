//! Drives a running Countersign with real authenticators and measures it.
fn main() {}
