//! What `doctor` finds about webhooks: from their files, so that no server has to run.

use std::path::Path;

use super::settings::Endpoint;
use super::state;
use crate::data_dir::open_to_others;
use crate::doctor::{Finding, Grade};
use crate::webhooks::SecretSource;

/// Looks at each webhook.
pub(crate) fn examine(endpoints: &[Endpoint], data: &Path) -> Vec<Finding> {
    endpoints.iter().map(|endpoint| one(endpoint, data)).collect()
}

fn one(endpoint: &Endpoint, data: &Path) -> Finding {
    let name = &endpoint.name;
    let finding = |grade, found: String, next: Option<String>| Finding {
        check: "webhook",
        grade,
        found: format!("{name}: {found}"),
        next,
    };
    if let Err(error) = endpoint.secret.load() {
        let next = "mend the secret that the settings name".to_owned();
        return finding(Grade::Wrong, error.to_string(), Some(next));
    }
    if let SecretSource::File(file) = &endpoint.secret
        && let Ok(Some(mode)) = open_to_others(file)
    {
        let found = format!("others can read its secret (mode {mode:03o})");
        return finding(Grade::Warn, found, Some(format!("chmod 600 {}", file.display())));
    }
    let state = match state::read(&state::path(data, name)) {
        Ok(state) => state.unwrap_or_default(),
        Err(error) => {
            let next = "run doctor as the user that the server runs as".to_owned();
            return finding(Grade::Warn, error.to_string(), Some(next));
        }
    };
    let error = state.last_error.clone().unwrap_or_default();
    match state.disabled {
        Some(why) => finding(
            Grade::Warn,
            format!("disabled, as {}: {error}", why.why()),
            Some(format!("mend the receiver, then: countersign admin webhook enable {name}")),
        ),
        None if state.failures > 0 => finding(
            Grade::Warn,
            format!("failed {} times in a row: {error}", state.failures),
            Some(format!("countersign admin webhook test {name}")),
        ),
        None => finding(Grade::Ok, format!("told {:?}", endpoint.url), None),
    }
}
