//! What the guard promises, whatever anybody does: checked on virtual time, against random traffic.

mod bad_input;
mod codes;
mod learning;
mod lock_out;
mod moves;
mod replay;
mod reports;
mod ringing;
mod sources;
mod world;
