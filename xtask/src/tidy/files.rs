//! Which files belong to the project.

use std::path::Path;
use std::process::{Command, Stdio};

/// Paths from the root, sorted, as git knows them; from an export without git, all but build output.
pub(crate) fn list(root: &Path) -> Result<Vec<String>, String> {
    let mut paths = if root.join(".git").exists() { from_git(root)? } else { from_disk(root)? };
    // git still lists a file that was deleted and not yet staged
    paths.retain(|path| root.join(path).is_file());
    paths.sort();
    Ok(paths)
}

fn from_git(root: &Path) -> Result<Vec<String>, String> {
    // a checkout that belongs to another user (a container's bind mount) is still ours to read
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .args(["--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("tidy: can't run git: {e}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("tidy: git ls-files failed: {}", why.trim()));
    }
    let paths = String::from_utf8_lossy(&output.stdout);
    Ok(paths.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn from_disk(root: &Path) -> Result<Vec<String>, String> {
    const SKIPPED: [&str; 3] = ["target", "node_modules", "countersign-data"];
    let mut paths = Vec::new();
    let mut open = vec![String::new()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(root.join(&folder))
            .map_err(|e| format!("tidy: can't list {folder}: {e}"))?;
        for entry in entries {
            let entry = entry.map_err(|e| format!("tidy: can't list {folder}: {e}"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !SKIPPED.contains(&name.as_str()) => open.push(path),
                Ok(kind) if kind.is_file() => paths.push(path),
                _ => {}
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::{from_disk, list};

    #[test]
    fn both_ways_see_this_file() {
        let root = crate::workspace_root().expect("tests run inside the workspace");
        let here = "xtask/src/tidy/files.rs".to_owned();
        assert!(list(&root).expect("a list").contains(&here));
        let walked = from_disk(&root).expect("a walk");
        assert!(walked.contains(&here));
        assert!(walked.iter().all(|path| !path.starts_with("target/")));
    }
}
