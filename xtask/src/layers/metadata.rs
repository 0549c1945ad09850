//! The parts of `cargo metadata` that the rules read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) resolve: Resolve,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) manifest_path: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

/// A dependency as a manifest declares it; `name` is the package's own name even when renamed.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
    pub(crate) rename: Option<String>,
    pub(crate) optional: bool,
    pub(crate) path: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<NodeDep>,
    pub(crate) features: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct NodeDep {
    pub(crate) pkg: String,
}

impl Dependency {
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }

    /// Whether the features that are on switch this dependency on.
    fn is_active(&self, owner: &Package, enabled: &[String]) -> bool {
        let key = self.rename.as_ref().unwrap_or(&self.name);
        let (explicit, strong) = (format!("dep:{key}"), format!("{key}/"));
        !self.optional
            || enabled.iter().filter_map(|feature| owner.features.get(feature)).flatten().any(
                |entry| *entry == explicit || entry == key || entry.starts_with(strong.as_str()),
            )
    }
}

impl Metadata {
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Every package that some build of ours, on any platform, can compile.
    ///
    /// The lock file, and with it `resolve`, also lists optional packages that are mentioned only
    /// weakly (`ring?/alloc`) and that cargo never builds; a ban that counted those would cry wolf.
    pub(crate) fn reachable(&self) -> Vec<&Package> {
        let packages: BTreeMap<&str, &Package> =
            self.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let nodes: BTreeMap<&str, &Node> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = self.workspace_members.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let (Some(owner), Some(node)) = (packages.get(id), nodes.get(id)) else {
                continue;
            };
            for dep in &node.deps {
                let Some(target) = packages.get(dep.pkg.as_str()) else {
                    continue;
                };
                let mut declared =
                    owner.dependencies.iter().filter(|d| d.name == target.name).peekable();
                if declared.peek().is_none() || declared.any(|d| d.is_active(owner, &node.features))
                {
                    open.push(&dep.pkg);
                }
            }
        }
        seen.into_iter().filter_map(|id| packages.get(id).copied()).collect()
    }
}
