//! `countersign entra doctor` against a running server: on loopback it lacks https, and all else is well.

use serde_json::Value;

use super::directory::{APP, Directory, TENANT};

/// What it finds, by check: the grade and the words of the worst; and how it ended.
async fn look(directory: &Directory, more: &[&str]) -> (Vec<(String, String, String)>, i32) {
    let provider = format!("{}/entra", directory.world.server.url);
    let command = ["entra", "doctor", "--json"];
    let own = ["--provider", &provider];
    let provider = if more.contains(&"--provider") { &[][..] } else { &own[..] };
    let output = directory.world.home.run(&[&command[..], provider, more].concat()).await;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = said["findings"].as_array().unwrap().iter();
    let findings =
        findings.map(|f| (text(f, "check"), text(f, "grade"), text(f, "found"))).collect();
    (findings, output.status.code().unwrap())
}

/// The checks that aren't as they should be.
fn bad(findings: &[(String, String, String)]) -> Vec<(&str, &str)> {
    let bad = findings.iter().filter(|(_, grade, _)| grade != "ok");
    bad.map(|(check, grade, _)| (check.as_str(), grade.as_str())).collect()
}

#[tokio::test]
async fn the_doctor_finds_what_entra_would_not_take() {
    let directory = Directory::new("entra-doctor").await;
    let always = [("https", "wrong")];
    let (found, code) = look(&directory, &[]).await;
    assert_eq!((bad(&found), code), (always.to_vec(), 1), "{found:?}");
    let text = |check: &str| &found.iter().find(|(name, ..)| name == check).unwrap().2;
    assert!(text("audience").contains(APP) && text("audience").contains(&directory.client));
    assert_eq!(*text("answers go to"), directory.answers());
    // its key was drawn a moment ago
    assert!(text("24 h").contains("the first of this server"));
    assert!(text("reply URL of the application").contains("/entra/authorize"));

    let good = ["--client-id", &directory.client, "--app-id", APP];
    assert_eq!(bad(&look(&directory, &good).await.0), always);
    let with = |more: &[(&'static str, &'static str)]| [&always[..], more].concat();
    let (found, _) = look(&directory, &["--app-id", TENANT]).await;
    assert_eq!(bad(&found), with(&[("audience", "wrong")]));
    let (found, _) = look(&directory, &["--client-id", "int_nobody"]).await;
    assert_eq!(bad(&found), with(&[("audience", "wrong"), ("answers go to", "wrong")]));
    // the general provider isn't Entra's
    let provider = directory.world.server.url.clone();
    let (found, _) = look(&directory, &["--provider", &provider]).await;
    let checks: Vec<&str> = bad(&found).into_iter().map(|(check, _)| check).collect();
    assert!(checks.contains(&"metadata") && checks.contains(&"reply URL of the application"));
    assert!(checks.contains(&"audience"), "that server has another issuer: {found:?}");
    let missing = format!("{provider}/nothing");
    let (found, code) = look(&directory, &["--provider", &missing]).await;
    assert!(bad(&found).contains(&("discovery", "wrong")) && code == 1, "{found:?}");
    assert_eq!(directory.created().await, 0, "it rings nobody");
}

#[tokio::test]
async fn the_doctor_sees_an_application_id_that_is_none() {
    let directory = Directory::new("entra-doctor-app").await;
    let command = [
        "integration",
        "create",
        "--name",
        "second",
        "--kind",
        "entra",
        "--tenant-id",
        TENANT,
        "--app-id",
        TENANT,
    ];
    let made = directory.world.server.admin(&command).await.unwrap();
    let client = made["client_id"].as_str().unwrap();
    let (found, _) = look(&directory, &["--client-id", client]).await;
    assert!(bad(&found).contains(&("audience", "wrong")), "{found:?}");
    let shown = directory.world.server.admin(&["integration", "show", "second"]).await.unwrap();
    assert_eq!(shown["app_id"], TENANT);
    assert_eq!(shown["authority"], "https://login.microsoftonline.com");
}

#[tokio::test]
async fn the_doctor_says_what_it_cannot_look_at() {
    let directory = Directory::new("entra-doctor-alone").await;
    let data = tempfile::tempdir().unwrap();
    let provider = format!("{}/entra", directory.world.server.url);
    let command = ["entra", "doctor", "--json", "--provider", &provider, "--data"];
    let output = tokio::process::Command::new(crate::child::countersign())
        .args(command)
        .arg(data.path())
        .output()
        .await
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let grade = |check: &str| {
        let findings = said["findings"].as_array().unwrap();
        findings.iter().find(|f| f["check"] == check).unwrap()["grade"].clone()
    };
    assert_eq!((grade("audience"), grade("answers go to")), ("warn".into(), "warn".into()));
}
