//! A policy out of a TOML file: numbers by name, defaults for the rest.

use std::fs;
use std::path::Path;

use domain::guard::Policy;

/// Largest policy file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads a policy; the defaults without a file. The error says what to change.
pub(crate) fn load(file: Option<&Path>) -> Result<Policy, String> {
    let Some(file) = file else { return Ok(Policy::default()) };
    let name = file.display();
    let long = fs::metadata(file).is_ok_and(|about| about.len() > MAX_BYTES);
    if long {
        return Err(format!("{name}: a policy has at most {MAX_BYTES} bytes"));
    }
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let policy: Policy = toml::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    policy.check().map_err(|error| format!("{name}: {error}"))?;
    Ok(policy)
}
