//! Runs `countersign entra`.

use tokio::sync::mpsc;

use super::doctor;
use super::fake::{Fake, Settings};
use crate::cli::{Entra, EntraFake};
use crate::commands::show;
use crate::exit::Exit;

/// Runs the command.
pub(crate) async fn entra(command: Entra, json: bool) -> Exit {
    match command {
        Entra::Fake(command) => fake(command, json).await,
        Entra::Doctor(command) => doctor::run(&command, json).await,
    }
}

async fn fake(command: EntraFake, json: bool) -> Exit {
    if !command.listen.ip().is_loopback() {
        eprintln!("error: the stand-in never leaves this machine: --listen must be loopback");
        return Exit::Usage;
    }
    let EntraFake { listen, provider, client_id, directory_id, app_id, object_id, name } = command;
    let settings = Settings {
        provider: provider.trim_end_matches('/').to_owned(),
        client: client_id.unwrap_or_default(),
        tenant: directory_id,
        app: app_id,
        object: object_id,
        name,
    };
    let without = settings.client.is_empty();
    let (send, mut verdicts) = mpsc::channel(16);
    let fake = match Fake::start(listen, settings, Some(send)).await {
        Ok(fake) => fake,
        Err(why) => {
            eprintln!("error: {why}");
            return Exit::Unreachable;
        }
    };
    if without {
        eprintln!("{}", set_up(&fake));
        return Exit::Usage;
    }
    show(&format!("open {}", fake.url()));
    loop {
        let verdict = tokio::select! {
            verdict = verdicts.recv() => verdict,
            _ = tokio::signal::ctrl_c() => return Exit::Ok,
        };
        let Some(verdict) = verdict else { return Exit::Ok };
        if json {
            show(&verdict.json().to_string());
            continue;
        }
        for look in &verdict.looks {
            show(&format!("  {} {}", if look.ok { "right" } else { "WRONG" }, look.words));
        }
        show(&verdict.summary);
    }
}

/// What is to be done before the stand-in can be used.
fn set_up(fake: &Fake) -> String {
    let Settings { tenant, app, object, name, .. } = fake.settings();
    let url = fake.url();
    format!(
        "error: --client-id is missing. Register this stand-in first:\n\
         \x20 countersign admin integration create --name entra --kind entra --cloud fake --fake {url} \\\n\
         \x20     --directory-id {tenant} --app-id {app}\n\
         \x20 countersign admin link create --integration entra --subject {tenant}:{object} --user USER\n\
         then start it with the client_id that the first command prints; it signs {name} in."
    )
}
