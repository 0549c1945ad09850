//! How many requests an integration may make: off unless the operator sets a number.
//!
//! One number is stored for each integration, when its quota will be whole again (GCRA, as a leaky bucket). So
//! there is no window at whose edge twice as much passes.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::Extensions;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Whose quota: an integration's id.
type Whose = [u8; 16];

/// What it is counted over.
const WINDOW: Duration = Duration::from_secs(60);
const WINDOW_US: u64 = 60_000_000;
/// Most requests a minute that can be told apart: one a microsecond is no bound.
pub const MAX_PER_MINUTE: u32 = 10_000_000;
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The quota of each integration of a server. Integrations are made by operators, so there are few to remember.
#[derive(Debug)]
pub struct Quota {
    per_minute: NonZeroU32,
    whole_at: Mutex<BTreeMap<Whose, u64>>,
}

/// Where an integration stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    per_minute: NonZeroU32,
    /// Requests that may come at once.
    pub remaining: u32,
    /// Until the quota is whole again.
    pub whole_in: Duration,
    /// How long to wait, if this one was one too many.
    pub refused: Option<Duration>,
}

impl Quota {
    /// So many requests in any minute on average, and as many at once.
    #[must_use]
    pub const fn new(per_minute: NonZeroU32) -> Self {
        Self { per_minute, whole_at: Mutex::new(BTreeMap::new()) }
    }

    /// Counts a request at `now`, in microseconds. One that is refused costs nothing.
    pub fn count(&self, whose: Whose, now: u64) -> Standing {
        let each = WINDOW_US / u64::from(self.per_minute.get());
        let mut all = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let whole_at = all.entry(whose).or_default();
        // a clock that was set back must not keep an integration out for longer than a window
        let owed = whole_at.saturating_sub(now).min(WINDOW_US);
        let would_owe = owed + each;
        let refused = would_owe.checked_sub(WINDOW_US).filter(|wait| *wait > 0);
        let owed = if refused.is_some() { owed } else { would_owe };
        *whole_at = now + owed;
        Standing {
            per_minute: self.per_minute,
            remaining: u32::try_from((WINDOW_US - owed) / each.max(1)).unwrap_or(u32::MAX),
            whole_in: Duration::from_micros(owed),
            refused: refused.map(Duration::from_micros),
        }
    }
}

impl Standing {
    /// Says where the integration stands (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn tell(&self, headers: &mut HeaderMap) {
        let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let policy = format!("\"integration\";q={};w={}", self.per_minute, WINDOW.as_secs());
        let left = format!("\"integration\";r={};t={}", self.remaining, seconds(self.whole_in));
        for (name, text) in [(POLICY, policy), (LIMIT, left)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
}

/// Where the reply of one request finds what was counted.
#[derive(Clone, Default)]
struct Counted(Arc<OnceLock<Standing>>);

/// Counts a request of an integration at `now`, in milliseconds, for [`tell_quota`] around it to tell.
///
/// # Errors
/// How long to wait, if it is one too many.
pub fn count_request(
    quota: Option<&Quota>,
    extensions: &Extensions,
    whose: Whose,
    now: u64,
) -> Result<(), Duration> {
    let Some(quota) = quota else { return Ok(()) };
    let standing = quota.count(whose, now.saturating_mul(1000));
    if let Some(Counted(told)) = extensions.get() {
        // each request is counted once
        let _ = told.set(standing);
    }
    standing.refused.map_or(Ok(()), Err)
}

/// Tells callers where they stand, refused or not: a layer around whatever counts, where there is a quota.
pub async fn tell_quota(mut request: Request, next: Next) -> Response {
    let counted = Counted::default();
    request.extensions_mut().insert(counted.clone());
    let mut response = next.run(request).await;
    if let Some(standing) = counted.0.get() {
        standing.tell(response.headers_mut());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Whose = [1; 16];
    const B: Whose = [2; 16];
    const START: u64 = 1_800_000_000_000_000;
    const SECOND: u64 = 1_000_000;

    fn quota(per_minute: u32) -> Quota {
        Quota::new(NonZeroU32::new(per_minute).unwrap())
    }

    #[test]
    fn a_burst_is_the_quota_and_then_it_comes_back_evenly() {
        let quota = quota(60);
        for left in (0..60).rev() {
            let standing = quota.count(A, START);
            assert_eq!((standing.refused, standing.remaining), (None, left));
        }
        let refused = quota.count(A, START);
        assert_eq!(refused.refused, Some(Duration::from_secs(1)));
        assert_eq!(refused.whole_in, Duration::from_secs(60));
        assert_eq!(quota.count(B, START).remaining, 59, "each has its own");
        assert_eq!(quota.count(A, START + SECOND).refused, None);
        assert!(quota.count(A, START + SECOND).refused.is_some(), "one a second");
        assert_eq!(quota.count(A, START + 100 * SECOND).remaining, 59);
    }

    #[test]
    fn no_minute_holds_more_than_twice_the_quota_and_no_hour_much_more_than_its_share() {
        let quota = quota(7);
        let passes = |from: u64, to: u64| {
            let tries = (from..to).map(|tick| quota.count(A, START + tick * SECOND / 10));
            tries.filter(|standing| standing.refused.is_none()).count()
        };
        assert!(passes(0, 600) <= 14);
        assert_eq!(passes(600, 36_600), 60 * 7);
    }

    #[test]
    fn a_clock_set_back_keeps_nobody_out_for_long() {
        let quota = quota(1);
        assert_eq!(quota.count(A, START + 3600 * SECOND).refused, None);
        assert_eq!(quota.count(A, START).refused, Some(Duration::from_secs(60)));
        assert_eq!(quota.count(A, START + 60 * SECOND).refused, None);
    }

    #[test]
    fn it_is_told_as_the_draft_writes_it() {
        let mut headers = HeaderMap::new();
        quota(600).count(A, START).tell(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"integration\";q=600;w=60");
        assert_eq!(headers["ratelimit"], "\"integration\";r=599;t=1");
    }
}
