//! Requests that may be sent twice, until they get through.

use std::time::Duration;

use rand::RngExt as _;
use reqwest::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Body, Countersign, Error, POLL_S, new_session, rng};

/// Before a request is given up: what a poll takes, and a slow connection.
const TIMEOUT: Duration = Duration::from_secs(POLL_S + 10);
/// Tries of a request that didn't get through.
const TRIES: u32 = 5;
/// Before the second of them; doubled each time.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder().redirect(redirects).timeout(TIMEOUT).build()
}

impl Countersign {
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Body>,
    ) -> Result<T, Error> {
        // a try that got through although its answer didn't is not asked for twice
        let once = new_session();
        let mut pause = PAUSE;
        for left in (0..TRIES).rev() {
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.url));
            request = request.bearer_auth(&self.key);
            if path == "/v1/challenges" {
                request = request.header("idempotency-key", &once);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            match request.send().await {
                Ok(reply) if reply.status().is_success() => return Ok(reply.json().await?),
                Ok(reply) if left == 0 || !is_busy(reply.status()) => {
                    return Err(refusal(reply).await);
                }
                Ok(reply) => {
                    let after = reply.headers().get(header::RETRY_AFTER);
                    let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
                    pause = after.map_or(pause, |s: u64| Duration::from_secs(s.min(POLL_S)));
                }
                Err(error) if left == 0 => return Err(error.into()),
                Err(_) => {}
            }
            let jitter = rng().random_range(0.5..1.5);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
            pause *= 2;
        }
        Err(Error::NotApproved("expired".to_owned()))
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

async fn refusal(reply: reqwest::Response) -> Error {
    let status = reply.status();
    let body: Value = reply.json().await.unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    Error::Refused {
        status: status.as_u16(),
        code: text("code").unwrap_or_else(|| "unexpected".to_owned()),
        detail: text("detail").or_else(|| text("title")).unwrap_or_else(|| status.to_string()),
        request_id: text("request_id"),
    }
}
