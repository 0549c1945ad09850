//! The guard's rules, and `countersign guard`: the guard without a service around it.

mod bound;
mod describe;
mod lab;
pub(crate) mod policy_file;
mod replay;

use std::path::PathBuf;

use app::Guards;
use domain::guard::Rules;
use policy_file::PolicyFileError;

use crate::cli::Guard;
use crate::commands::{run, show};
use crate::config::Config;
use crate::exit::Exit;

/// What whoever sets the profile `familiar` has to know.
pub(crate) const FAMILIAR: &str = "the profile \"familiar\" asks known places for fewer than six digits: it doesn't \
    conform to NIST SP 800-63B-4 §3.1.3.2, and receipts say urn:countersign:acr:number-match-familiar";

/// The rules that the settings name.
pub(crate) fn load(config: &Config) -> Result<Guards, PolicyFileError> {
    let live = policy_file::load(config.guard_policy.as_deref())?;
    let shadow = config.guard_shadow.as_deref().map(|file| policy_file::load(Some(file)));
    Ok(Guards { live, shadow: shadow.transpose()? })
}

/// Says in the log what an operator has to know of the rules.
pub(crate) fn warn(guards: &Guards) {
    if guards.live.has_familiar() {
        tracing::warn!("{FAMILIAR}");
    }
    let base = guards.live.base();
    if let Some(bound) = base.success_bound {
        let (unknown, nowhere) = (base.budgets.unknown.month, base.budgets.nowhere.month);
        let digits = base.digits;
        tracing::info!(bound, digits, ?unknown, ?nowhere, "the success bound is met by these");
    }
    if guards.shadow.is_some() {
        tracing::info!("a shadow policy judges beside the live one and changes nothing");
    }
}

/// Runs `countersign guard`.
pub(crate) fn guard(command: Guard, json: bool) -> Exit {
    let with = |policy: Option<PathBuf>, then: &dyn Fn(Rules) -> Exit| {
        policy_file::load_base(policy.as_deref()).map_or_else(|why| refuse(&why), then)
    };
    match command {
        Guard::Lab { policy } => with(policy, &lab::run),
        Guard::Policy { policy } if json => {
            with(policy, &|rules| show(&describe::json(&rules).to_string()))
        }
        Guard::Policy { policy } => with(policy, &|rules| show(&describe::text(&rules))),
        Guard::Bound { policy, success } => {
            with(policy, &|rules| bound::run(&rules, success, json))
        }
        Guard::Replay { place, from, policy, since } => {
            run(replay::run(place, from, policy, since, json))
        }
    }
}

fn refuse(why: &dyn std::fmt::Display) -> Exit {
    eprintln!("error: {why}");
    Exit::Usage
}
