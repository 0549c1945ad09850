//! A session against every kind of device.

mod frames;
mod properties;
mod states;
