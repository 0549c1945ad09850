//! `countersign entra doctor`: whether Entra would be content with what a provider publishes, and what its error
//! codes mean.

mod certificate;
mod keys;
mod provider;
mod registered;

use serde_json::{Value, json};

use crate::cli::EntraDoctor;
use crate::commands::{settings, show};
use crate::doctor::{Finding, Grade};
use crate::exit::Exit;
use crate::fetch::Fetcher;

/// Entra's codes that an external method meets, and what to do.
pub(crate) const CODES: [(&str, &str); 8] = [
    (
        "50161",
        "the authorization endpoint isn't a reply URL of the application: add {public_url}/entra/authorize, to the letter",
    ),
    ("900491", "the application isn't in the directory: an administrator must grant it consent"),
    (
        "50012",
        "the token's signature wasn't accepted: Entra keeps keys for a day; compare the kid that `entra doctor` shows with the one that it names, and wait a day after a rotation that was not published ahead",
    ),
    ("70002", "as 50012: the token was not accepted"),
    (
        "50158",
        "the second factor wasn't satisfied: see the server's log for the same client-request-id",
    ),
    ("50166", "Entra throttles this provider: it was too slow, or failed too often"),
    ("50176", "the external method is not defined in the directory, or was removed"),
    ("50105", "the user isn't assigned to the application: check the group that the method is for"),
];

/// Runs the command.
pub(crate) async fn run(command: &EntraDoctor, json: bool) -> Exit {
    if let Some(code) = &command.code {
        return meaning(code, json);
    }
    let fetcher = match Fetcher::new() {
        Ok(fetcher) => fetcher,
        Err(why) => {
            eprintln!("error: {why}");
            return Exit::Unreachable;
        }
    };
    let findings = look(&fetcher, command).await;
    let is_ok = findings.iter().all(|finding| finding.grade != Grade::Wrong);
    let next = next(&findings);
    if json {
        let all: Vec<Value> = findings
            .iter()
            .map(|one| {
                let ok = one.grade == Grade::Ok;
                json!({"check": one.check, "ok": ok, "grade": one.grade.name(), "found": one.found,
                    "next": one.next})
            })
            .collect();
        show(&json!({"ok": is_ok, "findings": all, "next": next}).to_string());
    } else {
        for Finding { check, grade, found, .. } in &findings {
            show(&format!("{:<6} {check}: {found}", grade.name()));
        }
        let all_is_well = "enter client id, discovery URL and application id in Entra";
        show(&format!("next: {}", next.unwrap_or(all_is_well)));
    }
    if is_ok { Exit::Ok } else { Exit::Wrong }
}

fn meaning(code: &str, json: bool) -> Exit {
    let digits: String = code.chars().filter(char::is_ascii_digit).collect();
    let known = CODES.iter().find(|(known, _)| *known == digits);
    let meaning = known.map_or("not one that an external method usually meets", |(_, what)| what);
    if json {
        show(&json!({"code": digits, "meaning": meaning}).to_string());
    } else {
        show(&format!("{digits}: {meaning}"));
    }
    if known.is_some() { Exit::Ok } else { Exit::Wrong }
}

/// What to do first: about the first of the worst.
fn next(findings: &[Finding]) -> Option<&str> {
    let bad = findings.iter().filter(|finding| finding.grade != Grade::Ok);
    let worst = bad.reduce(|worst, other| if other.grade > worst.grade { other } else { worst });
    worst.and_then(|finding| finding.next.as_deref())
}

async fn look(fetcher: &Fetcher, command: &EntraDoctor) -> Vec<Finding> {
    let issuer = command.provider.as_str();
    let (client, app) = (command.client_id.as_deref(), command.app_id.as_deref());
    let asked = match settings(&command.place) {
        Ok(loaded) => registered::ask(&loaded.config.data, issuer).await,
        Err(issues) => Err(issues.to_string()),
    };
    let (mut findings, provider) = provider::examine(fetcher, issuer).await;
    findings.extend(registered::audience(&asked, client, app));
    let Some(provider) = provider else { return findings };
    let known = asked.unwrap_or_default();
    let meant = known.iter().filter(|one| client.is_none_or(|client| one.client == client));
    let mut clients: Vec<_> = meant.map(|one| (one.client.as_str(), Some(one))).collect();
    if clients.is_empty() {
        clients.extend(client.map(|client| (client, None)));
    }
    if clients.is_empty() {
        findings.push(provider::answers_unknown());
    }
    for (client, registered) in clients {
        findings.push(provider::answers(fetcher, &provider, client, registered).await);
    }
    findings
}
