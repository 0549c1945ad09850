//! A client that asks without a browser.

use std::collections::BTreeMap;

use authenticator_native::{AnswerOutcome, Choice, Decision};
use data_encoding::BASE64;
use serde_json::Value;
use statement::ChallengeId;

use crate::browser::encode;
use crate::oidc::client::{Party, USER};
use crate::rest::{Reply, Rest};

pub(crate) const ASK: &str = "/oidc/bc-authorize";
pub(crate) const GRANT: &str = "urn:openid:params:grant-type:ciba";
pub(crate) const CLAIM: &str = "urn:openid:params:jwt:claim:auth_req_id";

/// What a client was given.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) id: String,
    pub(crate) number: String,
    pub(crate) expires_in: u64,
}

impl Given {
    pub(crate) fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.headers["cache-control"], "no-store");
        let body = reply.json();
        let members: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["auth_req_id", "expires_in", "interval", "number"]);
        assert_eq!(body["interval"], 2);
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let given = Self {
            id: text("auth_req_id"),
            number: text("number"),
            expires_in: body["expires_in"].as_u64().unwrap(),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!(given.id.bytes().all(allowed), "{}", given.id);
        assert!(given.number.len() == 6 && given.number.bytes().all(|b| b.is_ascii_digit()));
        given
    }

    /// The challenge that it names.
    pub(crate) fn challenge(&self) -> ChallengeId {
        self.id.split_once('.').unwrap().0.parse().unwrap()
    }
}

/// Fields of a good request, with some changed, added, or (empty) left out.
pub(crate) fn fields<'a>(changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields: BTreeMap<&str, &str> = [("scope", "openid"), ("login_hint", USER)].into();
    fields.extend(changed.iter().copied());
    fields.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

impl Party {
    /// One that is registered for CIBA.
    pub(crate) async fn ciba(name: &str, more: &[&str]) -> Self {
        Self::registered(name, &[&["--kind", "ciba"], more].concat()).await
    }

    pub(crate) async fn try_ask(&self, changed: &[(&str, &str)]) -> Reply {
        self.post(ASK, &fields(changed), true).await
    }

    pub(crate) async fn ask(&self, changed: &[(&str, &str)]) -> Given {
        Given::of(&self.try_ask(changed).await)
    }

    pub(crate) async fn poll(&self, id: &str) -> Reply {
        self.post("/oidc/token", &[("grant_type", GRANT), ("auth_req_id", id)], true).await
    }

    /// Waits as long as it takes.
    pub(crate) async fn wait(&self, id: &str) -> Reply {
        self.waiter().wait(id).await
    }

    /// The client once more, for a task that waits.
    pub(crate) fn waiter(&self) -> Waiter {
        let pair = format!("{}:{}", self.id, self.secret);
        let authorization = format!("Basic {}", BASE64.encode(pair.as_bytes()));
        Waiter { rest: self.world.rest.clone(), authorization }
    }

    /// Types what was given into the phone that rings.
    pub(crate) async fn types(&mut self, given: &Given) {
        let card = self.phone.prompt().await.unwrap();
        assert!(card.alert, "it rings");
        let choice = Choice::approve(&given.number);
        let outcome = self.phone.answer(card.challenge, choice).await.unwrap();
        assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
    }

    /// The challenges that were created for anybody.
    pub(crate) async fn created(&self) -> Vec<Value> {
        let mut events = self.world.events(&self.world.own_key).await;
        events.retain(|event| event["type"] == "challenge_created");
        events
    }
}

/// A client that waits.
pub(crate) struct Waiter {
    rest: Rest,
    authorization: String,
}

impl Waiter {
    pub(crate) async fn wait(&self, id: &str) -> Reply {
        loop {
            let request = http::Request::builder()
                .method("POST")
                .header("content-type", "application/x-www-form-urlencoded")
                .header("prefer", "wait=20")
                .header("authorization", &self.authorization);
            let body = encode(&[("grant_type", GRANT), ("auth_req_id", id)]);
            let reply = self.rest.raw(request, "/oidc/token", body.into()).await;
            let again = ["authorization_pending", "slow_down"];
            if !(reply.status == 400 && again.iter().any(|error| reply.json()["error"] == *error)) {
                return reply;
            }
        }
    }
}
