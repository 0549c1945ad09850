//! What clients send themselves counts against their quota, in the protocol's own words.

use http::HeaderMap;
use tokio::process::Command;

use super::client::{Party, refused};
use crate::child::countersign;
use crate::world::World;

async fn six(name: &str, kind: &[&str]) -> Party {
    let mut command = Command::new(countersign());
    command.env("COUNTERSIGN__QUOTA__PER_MINUTE", "6");
    Party::of(World::by(name, command).await, kind).await
}

#[track_caller]
fn left(headers: &HeaderMap, expected: u32) {
    assert_eq!(headers["ratelimit-policy"], "\"integration\";q=6;w=60");
    let told = headers["ratelimit"].to_str().unwrap();
    assert!(told.starts_with(&format!("\"integration\";r={expected};t=")), "{told}");
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let rows: [(&str, &[&str], &str, u16); 3] = [
        ("par", &["--kind", "oidc", "--redirect-uri", "https://rp.example/cb"], "/oidc/par", 400),
        ("token", &["--kind", "ciba"], "/oidc/token", 400),
        ("ask", &["--kind", "ciba"], "/oidc/bc-authorize", 400),
    ];
    for (name, kind, path, status) in rows {
        let party = six(&format!("oidc-quota-{name}"), kind).await;
        // who isn't proven counts for nobody
        let stranger = party.post(path, &[("scope", "profile")], false).await;
        refused(&stranger, 401, "invalid_client");
        assert!(stranger.headers.get("ratelimit").is_none());
        for expected in [5, 4, 3, 2, 1, 0] {
            let reply = party.post(path, &[("scope", "profile")], true).await;
            assert_eq!(reply.status, status, "{reply:?}");
            left(&reply.headers, expected);
        }
        let reply = party.post(path, &[("scope", "profile")], true).await;
        refused(&reply, 429, "temporarily_unavailable");
        left(&reply.headers, 0);
        let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=10).contains(&wait), "{wait}");
        // browsers bring nothing that proves a client
        assert_ne!(party.browser().open("/oidc/authorize").await.reply.status, 429);
    }
}
