//! The rules. Each finding names the crate and what it may do instead.

use std::collections::{BTreeMap, BTreeSet};

use super::licence;
use super::metadata::{Dependency, Metadata, Package};
use super::table::{self, Dev};
use crate::toml_lines;

/// All that the rules look at.
pub(crate) struct Facts {
    pub(crate) metadata: Metadata,
    /// The manifest of each of our crates, by name.
    pub(crate) manifests: BTreeMap<String, String>,
    pub(crate) workspace_manifest: String,
}

/// Everything that is wrong, sorted and without repeats.
pub(crate) fn check(facts: &Facts) -> Vec<String> {
    let mut found = BTreeSet::new();
    let members: BTreeSet<&str> = facts.metadata.members().map(|p| p.name.as_str()).collect();
    for package in facts.metadata.members() {
        edges(package, &members, &mut found);
        manifest(package, facts.manifests.get(&package.name), &mut found);
    }
    if !forbids_unsafe(&facts.workspace_manifest) {
        found.insert(
            "the workspace: [workspace.lints.rust] must say unsafe_code = \"forbid\"".to_owned(),
        );
    }
    let reachable = facts.metadata.reachable();
    for package in &reachable {
        let ours = facts.metadata.workspace_members.contains(&package.id);
        licence_of(package, ours, &mut found);
    }
    copies(&reachable, &mut found);
    found.into_iter().collect()
}

/// What one of our crates names in its manifest.
fn edges(package: &Package, members: &BTreeSet<&str>, found: &mut BTreeSet<String>) {
    let name = &package.name;
    let Some(rule) = table::find(name) else {
        found.insert(format!(
            "{name}: not in the table of crates; give it a layer in xtask/src/layers/table.rs"
        ));
        return;
    };
    for dependency in &package.dependencies {
        let target = dependency.name.as_str();
        if dependency.path.is_none() {
            outside(rule, dependency, found);
        } else if !members.contains(target) {
            found.insert(format!(
                "{name}: names {target} by a path that leads out of the workspace"
            ));
        } else if let Some(why) = refused_edge(rule, dependency) {
            found.insert(format!("{name}: may not depend on {target}: {why}"));
        }
    }
}

/// Why an arrow between two of our crates is refused, if it is.
fn refused_edge(rule: &table::Crate, dependency: &Dependency) -> Option<String> {
    let target = dependency.name.as_str();
    if rule.ours.contains(&target) {
        return None;
    }
    let for_tests = target == table::TESTKIT || table::BACKENDS.contains(&target);
    if dependency.is_dev() && (for_tests || rule.layer == table::PROGRAMS) {
        return None;
    }
    if target == table::TESTKIT {
        return Some("testkit is for dev-dependencies only".to_owned());
    }
    let allowed = match rule.ours {
        [] => "none of our crates".to_owned(),
        some => format!("only {}", some.join(", ")),
    };
    let layer =
        table::find(target).map_or(String::new(), |krate| format!(", of layer {},", krate.layer));
    let tests = if dependency.is_dev() { " (tests may add testkit and backends)" } else { "" };
    Some(format!(
        "{target}{layer} is out of reach; layer {} here may name {allowed}{tests}",
        rule.layer
    ))
}

/// What one of our crates takes from outside.
fn outside(rule: &table::Crate, dependency: &Dependency, found: &mut BTreeSet<String>) {
    let (name, target) = (rule.name, dependency.name.as_str());
    if let Some(allowed) = rule.outside
        && !dependency.is_dev()
        && !allowed.contains(&target)
    {
        found.insert(format!(
            "{name}: may not depend on {target}: {name} is pure and takes only {} from outside",
            allowed.join(", "),
        ));
    }
    for reserved in table::RESERVED.iter().filter(|r| r.outside.contains(&target)) {
        let allowed = match (&reserved.dev, dependency.is_dev()) {
            (Dev::Anyone, true) => continue,
            (Dev::Only(list), true) => *list,
            (_, false) => reserved.normal,
        };
        if !allowed.contains(&name) {
            let kind = if dependency.is_dev() { "dev-dependency" } else { "dependency" };
            let who = match allowed {
                [] => format!("no crate may name it as a {kind}"),
                some => format!("as a {kind} it is reserved for {}", some.join(", ")),
            };
            found.insert(format!("{name}: may not depend on {target}: {who}"));
        }
    }
}

/// What each of our manifests must say.
fn manifest(package: &Package, text: Option<&String>, found: &mut BTreeSet<String>) {
    let name = &package.name;
    let Some(text) = text else {
        found.insert(format!("{name}: can't read {}", package.manifest_path));
        return;
    };
    if toml_lines::value(text, "lints", "workspace") != Some("true") {
        found.insert(format!("{name}: its Cargo.toml must say [lints] workspace = true"));
    }
}

fn forbids_unsafe(workspace_manifest: &str) -> bool {
    toml_lines::value(workspace_manifest, "workspace.lints.rust", "unsafe_code")
        .is_some_and(|value| value.contains("\"forbid\""))
}

fn licence_of(package: &Package, ours: bool, found: &mut BTreeSet<String>) {
    let who = format!("{} {}", package.name, package.version);
    let is_it = |(name, version, _): &&(&str, &str, &str)| {
        (*name, *version) == (package.name.as_str(), package.version.as_str())
    };
    let read = || table::READ.iter().find(is_it).map(|(_, _, licence)| *licence);
    let Some(expression) = package.license.as_deref().or_else(read) else {
        found.insert(format!("{who}: states no licence"));
        return;
    };
    if ours {
        if expression != table::OUR_LICENCE {
            let wanted = table::OUR_LICENCE;
            found.insert(format!("{who}: our own crates are {wanted}, not {expression}"));
        }
        return;
    }
    match licence::permits(expression, table::LICENCES) {
        Ok(true) => {}
        Ok(false) => {
            found.insert(format!("{who}: its licence, {expression}, is not on the list"));
        }
        Err(why) => {
            found.insert(format!("{who}: can't read its licence, {expression}: {why}"));
        }
    }
}

/// Packages that must be there once, or not at all.
fn copies(packages: &[&Package], found: &mut BTreeSet<String>) {
    for name in table::EXACTLY_ONE {
        let versions: Vec<&str> =
            packages.iter().filter(|p| p.name == *name).map(|p| p.version.as_str()).collect();
        if versions.len() != 1 {
            let seen = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
            found.insert(format!("{name}: there must be exactly one version, there is {seen}"));
        }
    }
    for package in packages.iter().filter(|p| table::NONE_OF.contains(&p.name.as_str())) {
        let users: Vec<&str> = packages
            .iter()
            .filter(|p| p.dependencies.iter().any(|d| d.name == package.name))
            .map(|p| p.name.as_str())
            .collect();
        found.insert(format!(
            "{} {}: must not be in the tree; named by {}",
            package.name,
            package.version,
            users.join(", "),
        ));
    }
}
