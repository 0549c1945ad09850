//! The real program, from outside.

#![expect(clippy::unwrap_used, reason = "a helper that can't go on says where")]

mod authenticator;
mod authz;
mod blind;
mod browser;
mod child;
mod ciba;
mod clocks;
mod commands;
mod crash_loop;
mod demo;
mod device;
mod disk;
mod docs;
mod entra;
mod hosted;
mod likeness;
mod load;
mod oidc;
mod one_writer;
mod openapi;
mod places;
mod protocol;
mod requests;
mod rest;
mod sdk;
mod secrecy;
mod sigma;
mod socket;
mod stop;
mod webhooks;
mod world;
