//! The ports' conformance suites on a real SQLite file.

use std::sync::Mutex;

use backend_sql::{MasterKey, Store};
use testkit::{Backend, TestClock, directory_suite, hot_suite, ledger_suite};

async fn backend() -> Backend {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = TestClock::new();
    let store = Store::open(dir.path(), clock.reader(), MasterKey::from_bytes([7; 32]))
        .await
        .expect("opens");
    Backend {
        ledger: store.ledger(),
        directory: store.directory(),
        hot: store.hot(),
        vault: store.vault(),
        clock,
        keep: Box::new(dir),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hot_state_keeps_its_port_s_promises() {
    let kept = Mutex::new(Vec::new());
    hot_suite(async || {
        let backend = backend().await;
        kept.lock().unwrap().push(backend.keep);
        backend.hot
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_ledger_keeps_its_port_s_promises() {
    ledger_suite(backend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_directory_keeps_its_port_s_promises() {
    directory_suite(backend).await;
}
