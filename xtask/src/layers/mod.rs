//! `cargo xtask layers`: the fences between crates, read from `cargo metadata`.
//!
//! Cargo itself refuses circles; everything else that the architecture promises about who knows
//! whom is checked here, so that a slip is a failed check and not a matter of review.

mod check;
mod licence;
mod metadata;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use self::check::Facts;
pub(crate) use self::metadata::Metadata;

/// Checks the workspace, or the metadata in `file`.
pub(crate) fn run(root: &Path, file: Option<&Path>) -> Result<(), String> {
    let json = match file {
        Some(path) => std::fs::read(path)
            .map_err(|e| format!("layers: can't read {}: {e}", path.display()))?,
        None => cargo_metadata(root)?,
    };
    let metadata: Metadata = serde_json::from_slice(&json)
        .map_err(|e| format!("layers: this is not the output of cargo metadata: {e}"))?;
    let manifests: BTreeMap<String, String> = metadata
        .members()
        .filter_map(|package| {
            let text = std::fs::read_to_string(&package.manifest_path).ok()?;
            Some((package.name.clone(), text))
        })
        .collect();
    let workspace_manifest = std::fs::read_to_string(root.join("Cargo.toml"))
        .map_err(|e| format!("layers: can't read the workspace's Cargo.toml: {e}"))?;
    let facts = Facts { metadata, manifests, workspace_manifest };
    let clean = format!(
        "{} crates, {} packages in all: every arrow goes down",
        facts.metadata.workspace_members.len(),
        facts.metadata.reachable().len(),
    );
    crate::report("layers", &check::check(&facts), &clean)
}

/// What `cargo metadata` says of the locked dependencies.
pub(crate) fn cargo_metadata(root: &Path) -> Result<Vec<u8>, String> {
    let output = Command::new(crate::cargo())
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("layers: can't run cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("layers: cargo metadata failed: {}", output.status));
    }
    Ok(output.stdout)
}
