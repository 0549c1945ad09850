//! Hot state on a real Redis server, which the tests start themselves.

mod server;

use std::sync::Arc;
use std::time::Duration;

use backend_redis::{ConnectError, RedisHot};
use domain::guard::Cell;
use ports::{Hot, HotChange, StoreError};
use server::Server;
use testkit::{Fixture, hot_suite, race, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hot_state_keeps_its_port_s_promises() {
    let server = Server::start().await;
    hot_suite(async || Arc::new(server.connect().await) as Arc<dyn Hot>).await;
}

fn change(fixture: &mut Fixture) -> HotChange {
    HotChange {
        tenant: fixture.tenant.id,
        user: fixture.user.id,
        version: 0,
        cell: Cell::default(),
        add: vec![fixture.challenge()],
        remove: Vec::new(),
        op_id: fixture.bytes(),
        derived: false,
    }
}

async fn commit(hot: &RedisHot, change: &HotChange) -> u64 {
    let committed = hot.commit(change.clone()).await.expect("commits");
    assert!(committed.rider.is_none(), "redis stores at once");
    committed.version
}

/// A call may take half a second; the rest is for a slow machine.
const PROMPT: Duration = Duration::from_secs(1);

async fn promptly<T>(what: &str, call: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PROMPT, call).await {
        Ok(value) => value,
        Err(_) => panic!("{what} hangs"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dead_server_is_told_at_once_and_one_that_returns_is_found() {
    let mut server = Server::start().await;
    let hot = Arc::new(server.connect().await);
    let mut fixture = Fixture::new(1);
    let first = change(&mut fixture);
    let ids = (first.tenant, first.user);
    commit(&hot, &first).await;

    server.kill();
    // one after the other: each must end in time, whatever the reconnecting is at
    for _ in 0..5 {
        let load = promptly("a load", hot.load(ids.0, ids.1)).await;
        assert!(matches!(load, Err(StoreError::Unavailable(_))), "{load:?}");
        let commit = promptly("a commit", hot.commit(first.clone())).await;
        assert!(commit.is_err(), "{commit:?}");
    }
    // and all at once: nobody queues behind anybody
    let calls = race(64, |_| {
        let hot = Arc::clone(&hot);
        async move { promptly("a load", hot.load(ids.0, ids.1)).await.is_err() }
    });
    assert!(within("the calls", calls).await.into_iter().all(|failed| failed));

    server.restart().await;
    let recovered = async {
        while hot.load(ids.0, ids.1).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("the recovery", recovered).await;
    // it came back empty: the user starts anew, and the retry of an old commit is a new one
    let loaded = hot.load(ids.0, ids.1).await.expect("loads");
    assert_eq!((loaded.version, loaded.live.len()), (0, 0));
    commit(&hot, &first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_call_after_a_quick_restart_succeeds() {
    let mut server = Server::start().await;
    let hot = server.connect().await;
    let mut fixture = Fixture::new(2);
    let change = change(&mut fixture);
    commit(&hot, &change).await;
    server.kill();
    server.restart().await;
    let loaded = hot.load(change.tenant, change.user).await;
    assert_eq!(loaded.expect("reconnects under the call").version, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_server_is_told_in_time_and_forgiven() {
    let server = Server::start().await;
    let hot = server.connect().await;
    let mut fixture = Fixture::new(3);
    let change = change(&mut fixture);
    server.signal("STOP");
    let load = promptly("a load", hot.load(change.tenant, change.user)).await;
    assert!(matches!(load, Err(StoreError::Unavailable(_))), "{load:?}");
    let commit = promptly("a commit", hot.commit(change.clone())).await;
    assert!(commit.is_err());
    server.signal("CONT");
    // the commit may have happened after all: the same operation is success either way
    let mut again = hot.commit(change.clone()).await;
    while again.is_err() {
        again = hot.commit(change.clone()).await;
    }
    let loaded = hot.load(change.tenant, change.user).await.expect("loads");
    assert_eq!(loaded.live, change.add);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_and_loses_nothing() {
    let server = Server::start().await;
    let hot = server.connect().await;
    let mut fixture = Fixture::new(4);
    let first = change(&mut fixture);
    let version = commit(&hot, &first).await;
    server.configure("maxmemory", "1").await;
    let mut second = change(&mut fixture);
    second.version = version;
    let refused = hot.commit(second.clone()).await;
    assert!(refused.is_err(), "{refused:?}");
    let loaded = hot.load(first.tenant, first.user).await.expect("loads");
    assert_eq!((loaded.version, &loaded.live), (version, &first.add));
    server.configure("maxmemory", "0").await;
    commit(&hot, &second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evicting_server_is_refused() {
    let server = Server::start().await;
    server.configure("maxmemory-policy", "allkeys-lru").await;
    let refused = RedisHot::connect(&server.url()).await.err();
    assert_eq!(refused, Some(ConnectError::Evicts("allkeys-lru".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenges_that_have_surely_ended_are_forgotten_and_the_hash_expires() {
    let server = Server::start().await;
    let hot = server.connect().await;
    let mut fixture = Fixture::new(5);
    let first = change(&mut fixture);
    let version = commit(&hot, &first).await;
    fixture.clock.advance(domain::challenge::MAX_TTL);
    let mut second = change(&mut fixture);
    second.version = version;
    let version = commit(&hot, &second).await;
    let live = async || {
        let loaded = hot.load(first.tenant, first.user).await.expect("loads");
        loaded.live.iter().map(|live| live.id).collect::<Vec<_>>()
    };
    assert_eq!(live().await, [first.add[0].id, second.add[0].id]);
    fixture.clock.advance(Duration::from_millis(1));
    let mut third = change(&mut fixture);
    third.version = version;
    commit(&hot, &third).await;
    assert_eq!(live().await, [second.add[0].id, third.add[0].id]);

    let key = format!("cs:{{{}:{}}}", first.tenant, first.user);
    let left: i64 = server.command(&["PTTL", &key]).await;
    assert!(left > 44 * 86_400_000, "{left} ms");
}
