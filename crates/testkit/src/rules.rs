//! How suites name their rules and race their writers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;

/// Says which rule was broken when a check panics under it.
pub(crate) struct Rule(&'static str);

impl Rule {
    pub(crate) const fn named(name: &'static str) -> Self {
        Self(name)
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("conformance: the broken rule is `{}`", self.0);
        }
    }
}

/// A seed from a rule's name (FNV-1a), so that rules never share ids.
pub(crate) const fn seed(rule: &str) -> u64 {
    let bytes = rule.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Runs checks one after the other, each in a world of its own that `$set_up` makes from a seed.
macro_rules! rules {
    ($set_up:expr; $($check:path),+ $(,)?) => {
        let set_up = $set_up;
        $({
            let rule = $crate::rules::Rule::named(stringify!($check));
            let world = set_up($crate::rules::seed(stringify!($check))).await;
            $check(world).await;
            drop(rule);
        })+
    };
}
pub(crate) use rules;

/// Starts `count` tasks at the same moment; their results in order.
///
/// # Panics
/// If one of them does.
pub async fn race<T, F>(count: usize, mut make: impl FnMut(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let start = Arc::clone(&start);
            let task = make(index);
            tokio::spawn(async move {
                start.wait().await;
                task.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        results.push(task.await.expect("a racing task panicked"));
    }
    results
}

/// How long a check waits for something that must happen: far above what it takes, so that only a hang fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// The result of `future`, which must come soon.
///
/// # Panics
/// If it doesn't.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} didn't happen"),
    }
}
