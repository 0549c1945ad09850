//! One process at a time has a data directory; administration works beside it and without it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use crate::child::{Home, integrate, ready};

const STOP: Duration = Duration::from_secs(30);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_second_server_is_told_who_has_the_directory() {
    let home = Home::new("one-writer");
    let server = home.serve().await;
    let key = integrate(&server).await;
    let pid = server.pid().unwrap().as_raw_nonzero();
    let second = home.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(second.status.code(), Some(3));
    assert_eq!(text(&second.stdout), "", "it must not say that it listens");
    let said = text(&second.stderr);
    assert!(said.contains(&format!("is in use by process {pid}")), "{said}");
    assert!(said.contains("--data"), "{said}");

    // the first one hasn't noticed
    assert_eq!(ready(&server).await.unwrap(), (200, "ready".to_owned()));
    let http = server::demo::http::Http::new(&server.url, &key);
    crate::child::ask(&http, "alice", "browser").await;
    server.admin(&["user", "list"]).await.unwrap();
}

#[tokio::test]
async fn administration_works_beside_a_server_and_without_one() {
    let home = Home::new("admin");
    let nothing = home.run(&["admin", "user", "list"]).await;
    assert_eq!(nothing.status.code(), Some(3), "nothing is made in passing");
    assert!(!home.data().join("countersign.db").exists());

    let mut server = home.serve().await;
    let beside = home.run(&["admin", "--json", "user", "create", "--name", "alice"]).await;
    assert!(beside.status.success(), "{}", text(&beside.stderr));
    server.terminate().unwrap();
    assert!(server.ended(STOP).await.unwrap().success());
    let without = home.run(&["admin", "--json", "user", "create", "--name", "bob"]).await;
    assert!(without.status.success(), "{}", text(&without.stderr));
    // what was done without a server is anchored like the rest
    assert_eq!(home.verified(None).await["unanchored"], 0);

    // a server that was killed leaves its socket behind
    home.serve().await.kill().await.unwrap();
    assert!(home.data().join("admin.sock").exists());
    let after = home.run(&["admin", "--json", "user", "create", "--name", "carol"]).await;
    assert!(after.status.success(), "{}", text(&after.stderr));
    let server = home.serve().await;
    assert_eq!(names(&server.admin(&["user", "list"]).await.unwrap()), ["alice", "bob", "carol"]);
}

#[tokio::test]
async fn commands_without_a_server_take_turns_or_say_why_not() {
    let home = Home::new("admin-turns");
    let mut server = home.serve().await;
    server.terminate().unwrap();
    assert!(server.ended(STOP).await.unwrap().success());
    let wanted: Vec<String> = (0..8).map(|number| format!("user-{number}")).collect();
    let create = async |name: &String| {
        home.run(&["admin", "--json", "user", "create", "--name", name]).await
    };
    let outcomes = join_all(wanted.iter().map(create)).await;
    let mut made = Vec::new();
    for (name, outcome) in wanted.into_iter().zip(outcomes) {
        let said = text(&outcome.stderr);
        match outcome.status.code() {
            Some(0) => made.push(name),
            Some(3) => assert!(said.contains("is in use by process"), "{said}"),
            other => panic!("{other:?}: {said}"),
        }
    }
    assert!(!made.is_empty(), "one of them comes first");
    let listed = home.run(&["admin", "--json", "user", "list"]).await;
    let mut listed = names(&serde_json::from_slice(&listed.stdout).unwrap());
    listed.sort();
    assert_eq!(listed, made);
    home.verified(None).await;
}

fn names(list: &Value) -> Vec<String> {
    let users = list["data"].as_array().unwrap().iter();
    users.map(|user| user["name"].as_str().unwrap().to_owned()).collect()
}
