//! Whether the disk holds what a first run builds: to be told after twenty minutes of building is late.

use std::path::Path;
use std::process::{Command, Stdio};

/// What a first run takes in GiB: `du -sh target` says 12 after it, of which 3 are incremental files.
const FIRST_RUN_GIB: u64 = 13;
const WITHOUT_INCREMENTAL_GIB: u64 = 10;

/// Refuses a first run that won't fit. Later ones, and those after another build, find much of it there.
pub(super) fn fits(target: &Path) -> Result<(), String> {
    let built = ["release", "debug/countersign"];
    if built.iter().any(|built| target.join(built).exists()) {
        return Ok(());
    }
    let target = std::path::absolute(target).unwrap_or_else(|_| target.to_owned());
    let folder = target.ancestors().find(|folder| folder.exists()).unwrap_or(&target);
    let df = Command::new("df").arg("-Pk").arg(folder).stdin(Stdio::null()).output();
    let said = df.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let lean = std::env::var_os("CARGO_INCREMENTAL").is_some_and(|value| value == "0");
    let needed = if lean { WITHOUT_INCREMENTAL_GIB } else { FIRST_RUN_GIB };
    // where nothing can be said the build itself will
    said.ok().and_then(|said| free_gib(&said)).map_or(Ok(()), |free| enough(free, needed, &target))
}

fn enough(free_gib: u64, needed: u64, target: &Path) -> Result<(), String> {
    if free_gib >= needed {
        return Ok(());
    }
    let target = target.display();
    Err(format!(
        "a first run takes {needed} GiB in {target}, and {free_gib} are free: make room, or name another folder \
         by CARGO_TARGET_DIR"
    ))
}

/// The fourth column of the last line: what is available to us, in KiB (POSIX, `df -P`).
fn free_gib(said: &str) -> Option<u64> {
    let kib: u64 = said.lines().last()?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_df_says_is_read() {
        let said = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                    /dev/vda         263174212 12582912  83886080      14% /\n";
        assert_eq!(free_gib(said), Some(80));
        assert_eq!(free_gib(""), None);
        assert_eq!(free_gib("df: /x: No such file or directory"), None);
    }

    #[test]
    fn a_full_disk_is_told_before_the_first_build() {
        let target = Path::new("/there/target");
        assert_eq!(enough(13, 13, target), Ok(()));
        let why = enough(3, 10, target).unwrap_err();
        assert!(why.contains("takes 10 GiB in /there/target, and 3 are free"), "{why}");
    }
}
