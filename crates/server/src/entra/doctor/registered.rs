//! What is registered here about Entra, as the running server on this machine says it: the network doesn't know to
//! whom hints are made out.

use std::path::Path;

use domain::protocol::is_guid;
use http::Method;
use serde_json::Value;

use crate::admin_client::{ClientError, Reply, Transport};
use crate::doctor::{Finding, ok, warn, wrong};

const CHECK: &str = "audience";

/// An integration of the kind `entra`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) name: String,
    /// What Entra calls this server.
    pub(super) client: String,
    /// The application that hints are made out to.
    pub(super) app: String,
    pub(super) other: Option<String>,
    pub(super) directories: Vec<String>,
    /// Where the cloud's sign-in service is.
    pub(super) authority: String,
}

impl Registered {
    fn read(shown: &Value) -> Option<Self> {
        let text = |name: &str| shown[name].as_str().map(str::to_owned);
        let directories = shown["tenant_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        (shown["kind"] == "entra").then(|| Self {
            name: text("name").unwrap_or_default(),
            client: text("integration").unwrap_or_default(),
            app: text("app_id").unwrap_or_default(),
            other: text("other_audience"),
            directories: directories
                .iter()
                .filter_map(|id| id.as_str().map(str::to_owned))
                .collect(),
            authority: text("authority").unwrap_or_default(),
        })
    }
}

/// What the server that has its data in `data` says, if it is the one whose issuer is `issuer`.
pub(super) async fn ask(data: &Path, issuer: &str) -> Result<Vec<Registered>, String> {
    let socket = Transport::socket(data);
    let status = get(&socket, "/status").await?;
    let url = status["public_url"].as_str().unwrap_or_default();
    if format!("{url}/entra") != issuer {
        return Err(format!("the server in {} is another one, {url}", data.display()));
    }
    let mut found = Vec::new();
    let tenants = get(&socket, "/tenants").await?;
    for tenant in tenants["data"].as_array().into_iter().flatten() {
        let tenant = tenant["tenant"].as_str().unwrap_or_default();
        let all = get(&socket, &format!("/integrations?tenant={tenant}")).await?;
        found.extend(all["data"].as_array().into_iter().flatten().filter_map(Registered::read));
    }
    Ok(found)
}

async fn get(socket: &Transport, path: &str) -> Result<Value, String> {
    match socket.request(Method::GET, path, None).await {
        Ok(Reply { status, body }) if status.is_success() => Ok(body),
        Ok(Reply { status, .. }) => Err(format!("the server answered {}", status.as_u16())),
        Err(error @ ClientError::NotRunning(_)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether hints are expected for whom Entra makes them out to. `client` and `app` are what Entra was given, as far as
/// whoever asks says it.
pub(super) fn audience(
    asked: &Result<Vec<Registered>, String>,
    client: Option<&str>,
    app: Option<&str>,
) -> Vec<Finding> {
    let all = match asked {
        Ok(all) => all,
        Err(why) => {
            let next = "run it where the server runs, with its --data";
            return vec![warn(CHECK, format!("not looked at: {why}"), next)];
        }
    };
    let meant: Vec<&Registered> =
        all.iter().filter(|one| client.is_none_or(|client| one.client == client)).collect();
    if meant.is_empty() {
        let found = match client {
            Some(client) => format!("no integration of the kind entra is {client}"),
            None => "no integration of the kind entra".to_owned(),
        };
        let next = "register one: countersign admin integration create --kind entra; its client_id goes to Entra";
        return vec![wrong(CHECK, found, next)];
    }
    meant.into_iter().map(|one| one_audience(one, app)).collect()
}

fn one_audience(one: &Registered, app: Option<&str>) -> Finding {
    let Registered { name, client, app: expected, other, directories, .. } = one;
    let next = "register it anew with --app-id: what Entra calls Application (client) ID, a GUID";
    let why = match () {
        () if expected == client => "is the client id, which goes the other way",
        () if directories.contains(expected) => "is a directory's id",
        () if !is_guid(&expected.to_ascii_lowercase()) => "is no GUID",
        () if app.is_some_and(|app| app != expected && Some(app) != other.as_deref()) => {
            "isn't the App ID that Entra was given"
        }
        () => {
            let found = format!("{name}: hints made out to {expected}; client id {client}");
            return ok(CHECK, found);
        }
    };
    wrong(CHECK, format!("{name}: the expected audience {expected} {why}"), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    const APP: &str = "66666666-7777-4888-9999-000000000000";
    const TID: &str = "11111111-2222-4333-8444-555555555555";

    fn registered() -> Registered {
        Registered {
            name: "entra".to_owned(),
            client: "int_a".to_owned(),
            app: APP.to_owned(),
            directories: vec![TID.to_owned()],
            ..Registered::default()
        }
    }

    #[test]
    fn an_audience_that_entra_does_not_write_is_told() {
        let grade = |one: Registered, client, app| {
            let [finding] = audience(&Ok(vec![one]), client, app).try_into().expect("one");
            finding.grade
        };
        let with = |change: fn(&mut Registered)| {
            let mut one = registered();
            change(&mut one);
            one
        };
        assert_eq!(grade(registered(), None, None), Grade::Ok);
        assert_eq!(grade(registered(), Some("int_a"), Some(APP)), Grade::Ok);
        let both = with(|one| one.other = Some(TID.to_owned()));
        assert_eq!(grade(both, None, Some(TID)), Grade::Ok);
        assert_eq!(grade(registered(), None, Some(TID)), Grade::Wrong);
        assert_eq!(grade(registered(), Some("int_b"), None), Grade::Wrong);
        assert_eq!(grade(with(|one| one.app = "int_a".into()), None, None), Grade::Wrong);
        assert_eq!(grade(with(|one| one.app = TID.into()), None, None), Grade::Wrong);
        assert_eq!(grade(with(|one| one.app = "my app".into()), None, None), Grade::Wrong);
        assert_eq!(audience(&Ok(Vec::new()), None, None)[0].grade, Grade::Wrong);
        assert_eq!(audience(&Err("none runs".to_owned()), None, None)[0].grade, Grade::Warn);
    }
}
