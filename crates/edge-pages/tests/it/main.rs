//! The pages over a real store, asked without sockets.

mod codes;
mod hosted;
mod languages;
mod leaving;
mod logs;
mod pages;
mod polling;
mod sign_in;
mod tabs;
mod world;
