//! What openapi.json promises, held against a running server by schemathesis: a share of it; more with
//! `COUNTERSIGN_TEST_FULL` set.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use statement::UserId;

use crate::child::{ask, is_full};
use crate::oidc::external::python;
use crate::world::World;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients");

/// Runs it with `more` after the description, which is a file or an address.
async fn schemathesis(world: &World, ids: [&str; 3], description: &str, more: &[&str]) -> Output {
    let mut command = python("-c");
    command.arg("from schemathesis.cli import schemathesis; schemathesis()");
    command.arg("--config-file").arg(Path::new(CLIENTS).join("schemathesis.toml"));
    command.args(["run", description, "--seed", "1"]).args(more);
    // it would leave a folder behind
    command.current_dir(world.home.data()).stdin(Stdio::null()).kill_on_drop(true);
    let [user, challenge, device] = ids;
    command.env("KEY", &world.own_key).env("USER_ID", user);
    command.env("CHALLENGE_ID", challenge).env("DEVICE_ID", device);
    command.env("NO_PROXY", "*").output().await.unwrap()
}

#[tokio::test]
#[ignore = "needs python with tests/clients/requirements.txt: cargo xtask test --only external"]
async fn external_schemathesis_finds_the_api_as_described() {
    let world = World::new("openapi").await;
    let device = world.enrolled("alice").await.device.to_string();
    world.enrolled("bob").await;
    let alice = world.get("/v1/users/name:alice").await;
    let user = alice["id"].as_str().unwrap();
    assert!(user.parse::<UserId>().is_ok(), "{alice}");
    let asked = ask(&world.own, "alice", "openapi").await;
    // a pending one would make whoever waits for it wait
    world.own.send("DELETE", &asked.path(""), Value::Null).await.unwrap();
    let ids = [user, asked.id.as_str(), device.as_str()];

    let description = format!("{}/openapi.json", world.server.url);
    let share = ["--phases", "examples,coverage,fuzzing", "--max-examples", "10"];
    let all = ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "100"];
    let done = schemathesis(&world, ids, &description, if is_full() { &all } else { &share }).await;
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let mut described = world.get("/openapi.json").await;
    let methods = |path: &Value| path.as_object().unwrap().len();
    let operations: usize = described["paths"].as_object().unwrap().values().map(methods).sum();
    // it leaves out the one that it was given
    let operations = operations - 1;
    assert!(said.contains(&format!("Tested: {operations}\n")), "{said}");
    println!("counted: {operations} operations by schemathesis");

    // were the description wrong, it would say so
    let responses = &mut described["paths"]["/v1/users/{user}"]["get"]["responses"];
    responses.as_object_mut().unwrap().remove("422").unwrap();
    let file = world.home.data().join("wrong.json");
    std::fs::write(&file, described.to_string()).unwrap();
    let one = ["--include-path", "/v1/users/{user}"];
    let more = [&one[..], &["--phases", "coverage", "--url", &world.server.url]].concat();
    let done = schemathesis(&world, ids, file.to_str().unwrap(), &more).await;
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("Undocumented status code"), "{said}");
}
