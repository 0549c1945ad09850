//! `countersign entra`: a stand-in for Microsoft Entra to try the whole flow with, and a look at whether Entra
//! would be content.

mod commands;
mod doctor;
pub mod fake;
mod pages;
pub mod verdict;

pub(crate) use commands::entra;
