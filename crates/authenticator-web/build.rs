//! Lists the built page, whose names hold hashes, so that Rust builds in what `web/build.mjs` made last. No Node is
//! needed: `dist` is part of the tree, and the test command checks that it is what the sources give.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = root.join("dist");
    println!("cargo:rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    collect(&dist, &dist, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for (path, file) in &files {
        // writing to a String can't fail
        let _ = writeln!(table, "    File {{ path: {path:?}, bytes: include_bytes!({file:?}) }},");
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("files.rs"), table)
}

/// Every file under `folder`: its address on the site, and where it is.
fn collect(dist: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(dist, &path, files)?;
        } else if let Ok(below) = path.strip_prefix(dist) {
            files.push((format!("/{}", below.display()), path));
        }
    }
    Ok(())
}
