//! The guard's rules, and `countersign guard`: the guard without a service around it.

mod lab;
pub(crate) mod policy_file;

use app::Guards;
use policy_file::PolicyFileError;

use crate::cli::Guard;
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
    if guards.shadow.is_some() {
        tracing::info!("a shadow policy judges beside the live one and changes nothing");
    }
}

/// Runs `countersign guard`.
pub(crate) fn guard(command: &Guard) -> Exit {
    match command {
        Guard::Lab { policy } => match policy_file::load_base(policy.as_deref()) {
            Ok(rules) => lab::run(rules),
            Err(why) => {
                eprintln!("error: {why}");
                Exit::Usage
            }
        },
    }
}
