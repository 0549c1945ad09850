//! Whether the server still answers: what tells one that is gone from one that refuses, or that is slow.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::rest::CallError;

/// For how long nothing may get through before the server is taken for gone: longer than a restart takes, and than
/// a connection that broke by chance is missed, and far shorter than anybody wants to measure nothing. Long polls ask
/// again five times a second meanwhile, so at this length many have tried.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// What the calls of one integration met with.
#[derive(Debug, Default)]
pub(crate) struct Reach(Mutex<Option<Down>>);

/// Nothing has got through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Down {
    /// Since this call, and still at the last one.
    pub(crate) since: Instant,
    last: Instant,
    pub(crate) why: String,
}

impl Reach {
    /// Notes what became of a call. Any answer counts, a refusal too; that none came in time says nothing.
    pub(crate) fn note<T>(&self, call: &Result<T, CallError>) {
        match call {
            Ok(_) | Err(CallError::Refused { .. } | CallError::Reply) => *self.down() = None,
            Err(CallError::Unreachable(why) | CallError::Broken(why)) => {
                self.miss(clock::now(), why);
            }
            Err(CallError::Timeout) => {}
        }
    }

    fn miss(&self, now: Instant, why: &str) {
        let mut down = self.down();
        let since = down.as_ref().map_or(now, |down| down.since);
        *down = Some(Down { since, last: now, why: why.to_owned() });
    }

    /// Since when and why, if for so long that it won't come back.
    pub(crate) fn gone(&self) -> Option<Down> {
        self.down().clone().filter(|down| down.last >= down.since + GONE_AFTER)
    }

    fn down(&self) -> MutexGuard<'_, Option<Down>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    #[test]
    fn only_a_server_that_nothing_gets_through_to_for_long_is_gone() {
        let reach = Reach::default();
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        reach.miss(at(0), "refused");
        assert_eq!(reach.gone(), None, "once is chance");
        reach.miss(at(4_999), "refused");
        assert_eq!(reach.gone(), None);
        let refused = CallError::Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "unavailable".to_owned(),
            detail: String::new(),
        };
        reach.note(&Err::<(), _>(refused));
        reach.miss(at(5_000), "refused");
        assert_eq!(reach.gone(), None, "it said no, so it is there");
        reach.note(&Err::<(), _>(CallError::Timeout));
        reach.miss(at(9_999), "refused");
        assert_eq!(reach.gone(), None);
        reach.miss(at(10_000), "still refused");
        let down = reach.gone().expect("gone");
        assert_eq!((down.since, &*down.why), (at(5_000), "still refused"));
        reach.note(&Ok(()));
        assert_eq!(reach.gone(), None);
    }
}
