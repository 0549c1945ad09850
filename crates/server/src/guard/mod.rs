//! `countersign guard`: the guard without a service around it.

mod lab;
mod policy_file;

use crate::cli::Guard;
use crate::exit::Exit;

/// Runs `countersign guard`.
pub(crate) fn guard(command: &Guard) -> Exit {
    match command {
        Guard::Lab { policy } => match policy_file::load(policy.as_deref()) {
            Ok(policy) => lab::run(policy),
            Err(why) => {
                eprintln!("error: {why}");
                Exit::Usage
            }
        },
    }
}
