//! The programs: serve, demo, admin, doctor.
fn main() {}
