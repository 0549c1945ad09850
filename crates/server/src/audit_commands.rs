//! `countersign audit verify` and `audit checkpoint`.

use std::path::Path;

use backend_sql::{MasterKey, VerifyError};
use edge_http::CheckpointFile;
use http::Method;
use ports::SignedCheckpoint;
use serde_json::json;

use crate::admin_commands::{Ask, demand_store, present, send};
use crate::cli::{Audit, Where};
use crate::commands::{settings, show};
use crate::exit::Exit;

/// Runs `countersign audit`.
pub(crate) async fn audit(command: Audit, json: bool) -> Exit {
    match command {
        Audit::Verify { place, checkpoint } => verify(&place, checkpoint.as_deref(), json).await,
        Audit::Checkpoint { place, out } => checkpoint(&place, &out, json).await,
    }
}

async fn verify(place: &Where, file: Option<&Path>, json: bool) -> Exit {
    let data = match settings(place) {
        Ok(loaded) => loaded.config.data,
        Err(issues) => {
            eprintln!("{issues}");
            return Exit::Usage;
        }
    };
    if let Err(exit) = demand_store(&data) {
        return exit;
    }
    let given = match file.map(read).transpose() {
        Ok(given) => given,
        Err(why) => {
            eprintln!("error: {why}");
            return Exit::Usage;
        }
    };
    let master = match MasterKey::load(&data.join("keys").join("master.key")) {
        Ok(master) => master,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Unreachable;
        }
    };
    match backend_sql::verify_audit(&data, &master, given.as_ref()).await {
        Ok(verified) if json => show(
            &json!({
                "ok": true,
                "rows": verified.rows,
                "unanchored": verified.unanchored,
                "checkpoints": verified.checkpoints,
            })
            .to_string(),
        ),
        Ok(verified) => show(&format!(
            "the audit is whole: {} rows, {} checkpoints, {} rows newer than the last checkpoint",
            verified.rows, verified.checkpoints, verified.unanchored
        )),
        Err(VerifyError::Broken(broken)) => {
            if json {
                show(&json!({"ok": false, "broken": broken.to_string()}).to_string());
            } else {
                show(&format!("the audit is broken: {broken}"));
            }
            Exit::Wrong
        }
        Err(error) => {
            eprintln!("error: {error}");
            Exit::Unreachable
        }
    }
}

fn read(file: &Path) -> Result<SignedCheckpoint, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let file: CheckpointFile =
        serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    file.signed().ok_or_else(|| format!("{name}: not a checkpoint"))
}

async fn checkpoint(place: &Where, out: &Path, json: bool) -> Exit {
    let ask = Ask { method: Method::POST, ..Ask::get("/audit/checkpoint") };
    let reply = match send(place, ask).await {
        Ok(reply) => reply,
        Err(exit) => return exit,
    };
    present(&reply, |body| {
        if let Err(error) = std::fs::write(out, format!("{body:#}\n")) {
            eprintln!("error: {}: {error}", out.display());
            return Exit::Unreachable;
        }
        let (number, out) = (&body["number"], out.display());
        if json {
            return show(&json!({"number": number, "file": out.to_string()}).to_string());
        }
        show(&format!("checkpoint {number} is in {out}: keep it where this server can't write"))
    })
}
