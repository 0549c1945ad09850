//! Commands on kept accounts that need no server.

use std::io::{BufRead as _, IsTerminal as _};

use authenticator_native::{Account, KeyFile, unix_time};
use serde_json::json;
use statement::fingerprint;

use crate::failure::Failure;
use crate::output::{put, say};

/// The account that somebody means: by its name, its device id, or its user's name if that is only one's.
fn find(file: &KeyFile, wanted: &str) -> Result<Account, Failure> {
    let accounts = file.accounts()?;
    let exact = accounts
        .iter()
        .find(|account| account.name == wanted || account.device.to_string() == wanted);
    if let Some(account) = exact {
        return Ok(account.clone());
    }
    let mut of_user = accounts.iter().filter(|account| account.user == wanted);
    match (of_user.next(), of_user.next()) {
        (Some(account), None) => Ok(account.clone()),
        (None, _) => Err(Failure::usage("no_account", format_args!("no account {wanted}"))),
        (Some(_), Some(_)) => Err(Failure::usage(
            "no_account",
            format_args!("several accounts of {wanted}: name one as `accounts` prints it"),
        )),
    }
}

pub(crate) fn list(json: bool, file: &KeyFile) -> Result<(), Failure> {
    let accounts = file.accounts()?;
    if json {
        let data: Vec<_> = accounts
            .iter()
            .map(|account| {
                json!({
                    "account": account.name,
                    "user": account.user,
                    "organisation": account.organisation,
                    "server": account.server,
                    "server_fingerprint": fingerprint(&account.identity),
                    "device": account.device,
                    "device_name": account.device_name,
                    "totp": account.totp.is_some(),
                })
            })
            .collect();
        say(&json!({ "data": data }).to_string());
        return Ok(());
    }
    if accounts.is_empty() {
        say("No accounts yet: enrol with a link.");
    }
    for account in accounts {
        say(&account.name);
        if !account.organisation.is_empty() {
            say(&format!("  organisation  {}", account.organisation));
        }
        say(&format!("  server        {}", account.server));
        say(&format!("  fingerprint   {}", fingerprint(&account.identity)));
        say(&format!("  device        {} ({})", account.device_name, account.device));
        let codes = if account.totp.is_some() { "yes" } else { "no, another app has them" };
        say(&format!("  codes         {codes}"));
    }
    Ok(())
}

pub(crate) fn code(json: bool, file: &KeyFile, wanted: &str) -> Result<(), Failure> {
    let account = find(file, wanted)?;
    let code = account.code(unix_time()).ok_or_else(|| {
        Failure::wrong("no_totp", "this device has no codes of that account: another app has them")
    })?;
    if json {
        let value = json!({
            "account": account.name,
            "code": code.digits.as_str(),
            "seconds_left": code.seconds_left,
        });
        say(&value.to_string());
    } else {
        say(&format!("{}   (for {} s more)", code.digits.as_str(), code.seconds_left));
    }
    Ok(())
}

pub(crate) fn remove(json: bool, file: &KeyFile, wanted: &str, yes: bool) -> Result<(), Failure> {
    let account = find(file, wanted)?;
    if !yes && !json && std::io::stdin().is_terminal() {
        put(&format!("Forget {} and its key? There is no way back. [y/N] ", account.name));
        let mut line = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(|error| Failure::wrong("terminal", error))?;
        if !matches!(line.trim(), "y" | "Y" | "yes") {
            return Err(Failure::refused("given_up", "nothing was removed"));
        }
    }
    file.remove(&account.name)?;
    if json {
        say(&json!({ "removed": account.name }).to_string());
    } else {
        say(&format!("Removed {}.", account.name));
        say(&format!(
            "The server still lists the device: ask for {} to be revoked.",
            account.device
        ));
    }
    Ok(())
}
