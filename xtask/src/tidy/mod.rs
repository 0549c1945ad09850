//! `cargo xtask tidy`: what a formatter and a compiler do not see.
//!
//! Sizes that keep a file readable, leftovers, sleeps in tests, paths of somebody's machine, links
//! that lead nowhere. Everything works on (path, text), so the rules are tested on doctored texts.

mod files;
mod links;
mod rust;
mod source;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;

/// Checks every tracked file, and every new one that git would not ignore.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let files = files::list(root)?;
    let mut findings = Vec::new();
    for path in &files {
        let bytes =
            std::fs::read(root.join(path)).map_err(|e| format!("tidy: can't read {path}: {e}"))?;
        // what is not text (a screenshot, a font) has no lines to check
        let Ok(content) = String::from_utf8(bytes) else {
            continue;
        };
        if content.contains('\0') {
            continue;
        }
        findings.extend(check(path, &content, &|target| root.join(target).exists()));
    }
    crate::report("tidy", &findings, &format!("{} files: nothing to tidy", files.len()))
}

/// Everything wrong with one file; `exists` answers for a path from the root of the tree.
fn check(path: &str, content: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = text::check(path, content);
    if path.ends_with(".rs") {
        found.extend(rust::check(path, content));
    }
    if path.ends_with(".md") {
        found.extend(links::check(path, content, exists));
    }
    found
}

/// Files that a tool wrote or that are data: nobody reads them from top to bottom.
fn is_data(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "generated" | "vectors" | "migrations"))
}
