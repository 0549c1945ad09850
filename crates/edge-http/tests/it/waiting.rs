//! The long poll.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::within;

use crate::world::{Reply, World, text};

struct Waiting {
    world: Arc<World>,
    key: String,
    path: String,
}

impl Waiting {
    async fn new() -> Self {
        let world = Arc::new(World::new().await);
        let key = world.key().await;
        world.user_with_codes("alice").await;
        let created = world.create(&key, "alice", "s1").await;
        let path = format!("/v1/challenges/{}", text(&created["id"]));
        Self { world, key, path }
    }

    /// Starts a long poll and comes back when it waits.
    async fn poll(&self) -> tokio::task::JoinHandle<Reply> {
        let (world, key) = (Arc::clone(&self.world), self.key.clone());
        let path = format!("{}?wait=30", self.path);
        let task = tokio::spawn(async move { world.send(&key, "GET", &path, Value::Null).await });
        let waits = poll_fn(|cx| match self.world.courier.waiting() {
            0 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(()),
        });
        within("the poll's wait", waits).await;
        task
    }
}

async fn state(task: tokio::task::JoinHandle<Reply>) -> String {
    let reply = within("the poll's answer", task).await.unwrap();
    text(&reply.ok(200)["state"]).to_owned()
}

#[tokio::test]
async fn a_change_wakes_the_poll() {
    let w = Waiting::new().await;
    let poll = w.poll().await;
    w.world.send(&w.key, "DELETE", &w.path, Value::Null).await.ok(200);
    assert_eq!(state(poll).await, "cancelled");
}

#[tokio::test]
async fn a_decided_challenge_is_told_at_once() {
    let w = Waiting::new().await;
    w.world.send(&w.key, "DELETE", &w.path, Value::Null).await.ok(200);
    let path = format!("{}?wait=30", w.path);
    let look = w.world.send(&w.key, "GET", &path, Value::Null);
    within("the answer", look).await.ok(200);
}

#[tokio::test]
async fn shutdown_ends_the_poll() {
    let w = Waiting::new().await;
    let poll = w.poll().await;
    w.world.shutdown.send(true).unwrap();
    assert_eq!(state(poll).await, "pending");
    assert_eq!(w.world.courier.waiting(), 0);
}

#[tokio::test]
async fn the_challenge_s_own_end_ends_the_poll() {
    let w = Waiting::new().await;
    w.world.pass(Duration::from_millis(89_900));
    let poll = w.poll().await;
    w.world.pass(Duration::from_millis(100));
    assert_eq!(state(poll).await, "expired");
}

#[tokio::test]
async fn the_wait_has_a_bound() {
    let w = Waiting::new().await;
    for wait in ["31", "-1", "x", ""] {
        let path = format!("{}?wait={wait}", w.path);
        let refused = w.world.send(&w.key, "GET", &path, Value::Null).await;
        assert_eq!(refused.refused(422, "invalid_request")["field"], "wait");
    }
    let path = format!("{}?wait=0", w.path);
    let view = w.world.send(&w.key, "GET", &path, Value::Null).await.ok(200);
    assert_eq!(view["state"], json!("pending"));
}

#[tokio::test]
async fn a_caller_who_hangs_up_keeps_nobody_from_being_told() {
    let w = Waiting::new().await;
    let poll = w.poll().await;
    {
        let mut cancel = std::pin::pin!(w.world.send(&w.key, "DELETE", &w.path, Value::Null));
        let once = poll_fn(|cx| Poll::Ready(cancel.as_mut().poll(cx).is_pending()));
        assert!(once.await, "still at work when its caller goes");
    }
    // well before the poll ends by itself
    let told = tokio::time::timeout(Duration::from_secs(20), state(poll)).await;
    assert_eq!(told.expect("a wake-up"), "cancelled");
}
