//! The guard's rules, and `countersign guard`: the guard without a service around it.

mod bound;
mod describe;
mod lab;
pub(crate) mod policy_file;
mod replay;

use std::path::PathBuf;

use app::Guards;
use domain::guard::{Policies, Rules, Who};
use policy_file::PolicyFileError;

use crate::cli::{Guard, Whose};
use crate::commands::{run, show};
use crate::config::Config;
use crate::exit::Exit;

/// What whoever sets the profile `familiar` has to know.
pub(crate) const FAMILIAR: &str = "the profile \"familiar\" asks known places for fewer than six digits: it doesn't \
    conform to NIST SP 800-63B-4 §3.1.3.2, and receipts say urn:countersign:acr:number-match-familiar";

/// The tenant that every installation has.
const DEFAULT_TENANT: &str = "default";

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
    let with = |policy: Option<PathBuf>, whose: Whose, then: &dyn Fn(&Rules) -> Exit| {
        match policy_file::load(policy.as_deref()) {
            Ok(policies) => match whose.rules(&policies) {
                Ok(rules) => then(rules),
                Err(why) => refuse(&why),
            },
            Err(why) => refuse(&why),
        }
    };
    match command {
        Guard::Lab { policy, tenant } => match policy_file::load(policy.as_deref()) {
            Ok(policies) => {
                let whose = Whose { tenant, integration: None };
                match whose.check(&policies) {
                    Ok(()) => lab::run(&policies, whose.tenant()),
                    Err(why) => refuse(&why),
                }
            }
            Err(why) => refuse(&why),
        },
        Guard::Policy { policy, whose } if json => {
            with(policy, whose, &|rules| show(&describe::json(rules).to_string()))
        }
        Guard::Policy { policy, whose } => {
            with(policy, whose, &|rules| show(&describe::text(rules)))
        }
        Guard::Bound { policy, whose, success } => {
            with(policy, whose, &|rules| bound::run(rules, success, json))
        }
        Guard::Replay { place, from, policy, since } => {
            run(replay::run(place, from, policy, since, json))
        }
    }
}

impl Whose {
    fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or(DEFAULT_TENANT)
    }

    /// Refuses names that the policy doesn't know: a misspelt one would be shown the numbers of nobody.
    fn check(&self, policies: &Policies) -> Result<(), String> {
        let (tenants, integrations) = policies.tables();
        for (flag, named, known) in [
            ("--tenant", &self.tenant, tenants),
            ("--integration", &self.integration, integrations),
        ] {
            // the tenant that every installation has needs no table
            let is_there = |name: &String| {
                known.contains(name) || flag == "--tenant" && name == DEFAULT_TENANT
            };
            let Some(named) = named.as_ref().filter(|named| !is_there(named)) else { continue };
            return Err(if known.is_empty() {
                format!(
                    "{flag} {named}: the policy has no tables of their own for any; leave it out"
                )
            } else {
                format!("{flag} {named}: the policy has tables for these: {}", known.join(", "))
            });
        }
        Ok(())
    }

    /// The rules that hold for them. Says which others the policy has.
    fn rules<'p>(&self, policies: &'p Policies) -> Result<&'p Rules, String> {
        self.check(policies)?;
        let (tenants, integrations) = policies.tables();
        if !policies.are_one() && self.tenant.is_none() && self.integration.is_none() {
            let all: Vec<&str> = tenants.iter().chain(integrations).map(String::as_str).collect();
            eprintln!(
                "note: the policy has tables of their own for {}; --tenant and --integration choose them",
                all.join(", ")
            );
        }
        let integration = self.integration.as_deref().map(|name| Who { id: name, name });
        let tenant = Who { id: self.tenant(), name: self.tenant() };
        Ok(policies.at(policies.place(tenant, integration)))
    }
}

fn refuse(why: &dyn std::fmt::Display) -> Exit {
    eprintln!("error: {why}");
    Exit::Usage
}
