//! Where the passphrase comes from.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use authenticator_native::{KeyFile, KeyFileError, Passphrase};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::failure::Failure;

const VARIABLE: &str = "COUNTERSIGN_PASSPHRASE";

/// Opens the accounts in `home`; makes the file if `fresh`.
pub(crate) fn key_file(home: &Path, file: Option<&Path>, fresh: bool) -> Result<KeyFile, Failure> {
    let exists = home.join("accounts.sealed").exists();
    if !exists && !fresh {
        return Err(KeyFileError::Missing(home.display().to_string()).into());
    }
    let passphrase = passphrase(file, !exists)?;
    Ok(if fresh {
        KeyFile::open_or_create(home, &passphrase)?
    } else {
        KeyFile::open(home, &passphrase)?
    })
}

fn passphrase(file: Option<&Path>, new: bool) -> Result<Passphrase, Failure> {
    let text = if let Some(path) = file {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| {
            Failure::usage("passphrase", format_args!("{}: {error}", path.display()))
        })?;
        Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
    } else if let Ok(text) = std::env::var(VARIABLE) {
        Zeroizing::new(text)
    } else if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        ask(new)?
    } else {
        return Err(Failure::usage(
            "passphrase",
            format_args!("no passphrase: give --passphrase-file FILE or set {VARIABLE}"),
        ));
    };
    Passphrase::new(&text).ok_or_else(|| Failure::usage("passphrase", "the passphrase is empty"))
}

fn ask(new: bool) -> Result<Zeroizing<String>, Failure> {
    let first =
        read_hidden(if new { "New passphrase for this device's keys: " } else { "Passphrase: " })?;
    if new && *read_hidden("Once more: ")? != *first {
        return Err(Failure::usage("passphrase", "the two passphrases differ"));
    }
    Ok(first)
}

/// Puts the terminal back when dropped.
struct Quiet(Termios);

impl Drop for Quiet {
    fn drop(&mut self) {
        // nothing can be done if the terminal is gone
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

fn read_hidden(question: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: std::io::Error| Failure::wrong("terminal", error);
    let before = tcgetattr(std::io::stdin()).map_err(|error| failed(error.into()))?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    eprint!("{question}");
    std::io::stderr().flush().map_err(failed)?;
    let guard = Quiet(before);
    tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)
        .map_err(|error| failed(error.into()))?;
    let mut line = Zeroizing::new(String::with_capacity(1024));
    let read = std::io::stdin().lock().read_line(&mut line);
    drop(guard);
    eprintln!();
    read.map_err(failed)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
