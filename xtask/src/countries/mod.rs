//! `cargo xtask countries`: the table of countries that is built into the server, from the registries' own lists.
//!
//! The five regional internet registries publish which country each of their blocks is registered in. The crate
//! `iptocc` carries those lists, merged; Cargo.lock says which release, and by its checksum which bytes. Nothing
//! here asks a network. To renew the table: `cargo update -p iptocc`, the new date in [`PUBLISHED`], then this.

mod pack;
mod source;

use std::path::Path;

use crate::layers::{self, Metadata};

/// The release of `iptocc` that [`PUBLISHED`] is the date of.
const RELEASE: &str = "1.4.175";
/// When that was published: its lists are of that day.
const PUBLISHED: &str = "2026-11-01";
/// Where the table goes.
const ASSET: &str = "crates/places/assets/countries.bin";
/// What is no country of ISO 3166-1: `EU` stands for a registry's whole region.
const NO_COUNTRY: [[u8; 2]; 3] = [*b"EU", *b"AP", *b"ZZ"];

/// From `key` on, addresses are registered in `country`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    /// The address's first 64 bits; an IPv4 address is followed by zeros.
    key: u64,
    country: Option<[u8; 2]>,
}

/// One family of addresses: changes in rising order.
type Changes = Vec<Change>;

/// Writes the table, or with `check` says whether it is the one that would be written.
pub(crate) fn run(root: &Path, check: bool) -> Result<(), String> {
    let table = make(root)?;
    let path = root.join(ASSET);
    if check {
        let committed = std::fs::read(&path).unwrap_or_default();
        return match committed == table {
            true => Ok(()),
            false => Err(format!("countries: {ASSET} is out of date: run cargo xtask countries")),
        };
    }
    std::fs::write(&path, &table).map_err(|e| format!("countries: can't write {ASSET}: {e}"))?;
    println!("countries: {ASSET}, {} bytes, of {PUBLISHED}", table.len());
    Ok(())
}

fn make(root: &Path) -> Result<Vec<u8>, String> {
    let json = layers::cargo_metadata(root)?;
    let metadata: Metadata = serde_json::from_slice(&json)
        .map_err(|e| format!("countries: this is not the output of cargo metadata: {e}"))?;
    let package = metadata.packages.iter().find(|package| package.name == "iptocc");
    let package = package.ok_or("countries: the lock file doesn't name iptocc")?;
    if package.version != RELEASE {
        return Err(format!(
            "countries: iptocc is {}; say in xtask/src/countries/mod.rs when that was published",
            package.version
        ));
    }
    let manifest = Path::new(&package.manifest_path);
    let folder = manifest.parent().ok_or("countries: iptocc has no folder")?.join("src/data");
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|e| format!("countries: can't read {}: {e}", path.display()))
    };
    let families = [source::v4(&read("v4.bin")?), source::v6(&read("v6.bin")?)];
    let [v4, v6] = families.map(|found| found.ok_or("countries: iptocc lays its data out anew"));
    pack::pack(PUBLISHED, [without_regions(v4?), without_regions(v6?)])
}

/// Drops what is no country, and what changes nothing then.
fn without_regions(mut changes: Changes) -> Changes {
    let no_country = |code: &[u8; 2]| !NO_COUNTRY.contains(code);
    let mut before = None;
    changes.retain_mut(|change| {
        change.country = change.country.filter(no_country);
        let differs = change.country != before;
        before = change.country;
        differs
    });
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_table_is_what_the_locked_release_makes() {
        let root = crate::workspace_root().expect("tests run inside the workspace");
        run(&root, true).expect("an up-to-date table");
    }

    #[test]
    fn regions_are_no_countries() {
        let change = |key, country: Option<&[u8; 2]>| Change { key, country: country.copied() };
        let changes = vec![
            change(1, Some(b"EU")),
            change(2, Some(b"DE")),
            change(3, Some(b"EU")),
            change(4, None),
            change(5, Some(b"DE")),
        ];
        let kept = [change(2, Some(b"DE")), change(3, None), change(5, Some(b"DE"))];
        assert_eq!(without_regions(changes), kept);
    }
}
