//! The use cases on the real embedded store, on virtual time.

mod alerts;
mod ceremonies;
mod codes;
mod containment;
mod counted;
mod crash;
mod decoys;
mod devices;
mod digest;
mod forgery;
mod hang_ups;
mod model;
mod races;
mod replayed;
mod rules;
mod waiting;
mod withheld;
mod world;
