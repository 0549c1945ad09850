//! The ceremonies of `demo --script`, one function each, through real sockets, each with its own user.

use authenticator_native::{AnswerOutcome, Choice, Decision};
use serde_json::{Value, json};
use statement::ChallengeId;

use super::http::{Http, Reply};
use super::phone::{Phone, enrol};
use super::raw_device::RawDevice;
use crate::clock;

/// What a step ends with: what was seen, or why nothing was.
pub(super) type Seen = Result<String, String>;

/// The parties.
pub(super) struct Stage {
    /// The integration under test.
    pub(super) app: Http,
    /// Another integration of the same organisation.
    pub(super) neighbour: Http,
    /// An integration of another organisation.
    pub(super) foreign: Http,
}

/// A challenge as its caller got it.
struct Asked {
    id: String,
    number: String,
    session: String,
}

impl Asked {
    fn path(&self, rest: &str) -> String {
        format!("/v1/challenges/{}{rest}", self.id)
    }

    fn challenge(&self) -> Result<ChallengeId, String> {
        self.id.parse().map_err(|_| format!("not a challenge id: {}", self.id))
    }
}

fn body(user: &str, session: &str) -> Value {
    let context = json!({"browser_session": format!("{session:-<22}"), "ip": "127.0.0.1"});
    json!({"user": format!("name:{user}"), "context": context})
}

async fn ask(http: &Http, body: Value) -> Result<Asked, String> {
    let session = body["context"]["browser_session"].as_str().unwrap_or_default().to_owned();
    let reply = http.send("POST", "/v1/challenges", body).await?;
    if reply.status != 201 && reply.status != 200 {
        return Err(format!("create: {}", reply.outcome()));
    }
    let (id, number) = (reply.text("id").to_owned(), reply.text("number").to_owned());
    Ok(Asked { id, number, session })
}

/// Waits for the end of a challenge by long poll.
async fn ended(http: &Http, asked: &Asked) -> Result<Reply, String> {
    for _ in 0..20 {
        let reply = http.send("GET", &asked.path("?wait=10"), Value::Null).await?;
        if reply.text("state") != "pending" {
            return Ok(reply);
        }
    }
    Err("still pending".to_owned())
}

async fn redeem(http: &Http, asked: &Asked, session: &str) -> Result<Reply, String> {
    let body = json!({"browser_session": session});
    http.send("POST", &asked.path("/redeem"), body).await
}

fn name(outcome: AnswerOutcome) -> String {
    match outcome {
        AnswerOutcome::Settled(decision) => decision.name().to_owned(),
        other => other.name().to_owned(),
    }
}

/// Create, card, and the person's choice: what device and long poll are told. Nobody waits for the ring: so many
/// sign-ins that fail at once look like an attack on everybody, and who isn't rung opens the app.
async fn ceremony(
    stage: &Stage,
    user: &str,
    choose: impl Fn(&Asked) -> Choice,
) -> Result<(Asked, Phone, String), String> {
    let mut phone = Phone::connect(enrol(&stage.app, user).await?).await?;
    let asked = ask(&stage.app, body(user, "browser")).await?;
    let card = phone.find(asked.challenge()?).await?;
    told(stage, asked, phone, card.challenge, choose).await
}

async fn told(
    stage: &Stage,
    asked: Asked,
    mut phone: Phone,
    challenge: ChallengeId,
    choose: impl Fn(&Asked) -> Choice,
) -> Result<(Asked, Phone, String), String> {
    let (outcome, poll) =
        tokio::join!(phone.answer(challenge, choose(&asked)), ended(&stage.app, &asked));
    let (device, page) = (name(outcome?), poll?.text("state").to_owned());
    let told = if device == page { page } else { format!("device {device}, page {page}") };
    Ok((asked, phone, told))
}

fn right(asked: &Asked) -> Choice {
    Choice::approve(&asked.number)
}

/// A number that isn't the one shown.
fn wrong(asked: &Asked) -> Choice {
    let last = if asked.number.ends_with('0') { '1' } else { '0' };
    let stem = asked.number.get(..asked.number.len().saturating_sub(1)).unwrap_or_default();
    Choice::approve(&format!("{stem}{last}"))
}

pub(super) async fn approve(stage: &Stage) -> Seen {
    let mut phone = Phone::connect(enrol(&stage.app, "approve").await?).await?;
    let asked = ask(&stage.app, body("approve", "browser")).await?;
    let card = phone.prompt().await?;
    if card.challenge != asked.challenge()? {
        return Err("the prompt is for another challenge".to_owned());
    }
    let (asked, _phone, told) = told(stage, asked, phone, card.challenge, right).await?;
    let receipt = redeem(&stage.app, &asked, &asked.session).await?;
    let parts = receipt.text("receipt").split('.').count();
    Ok(format!("{told}, receipt of {parts} parts"))
}

pub(super) async fn mismatch(stage: &Stage) -> Seen {
    let (asked, _phone, told) = ceremony(stage, "mismatch", wrong).await?;
    let refused = redeem(&stage.app, &asked, &asked.session).await?;
    Ok(format!("{told}, {}", refused.outcome()))
}

pub(super) async fn deny(stage: &Stage) -> Seen {
    Ok(ceremony(stage, "deny", |_| Choice::Deny).await?.2)
}

pub(super) async fn report(stage: &Stage) -> Seen {
    Ok(ceremony(stage, "report", |_| Choice::Report).await?.2)
}

pub(super) async fn expire(stage: &Stage) -> Seen {
    let mut phone = Phone::connect(enrol(&stage.app, "expire").await?).await?;
    let mut body = body("expire", "browser");
    body["ttl_s"] = json!(30);
    let asked = ask(&stage.app, body).await?;
    let card = phone.find(asked.challenge()?).await?;
    let page = ended(&stage.app, &asked).await?.text("state").to_owned();
    let device = phone.settled(card.challenge).await?;
    Ok(if device == Decision::Expired { page } else { format!("device {}", device.name()) })
}

async fn code_of(phone: &Phone) -> Result<String, String> {
    let code = phone.account().await?.code(clock::now()).ok_or("no TOTP secret on the device")?;
    Ok(code.digits.to_string())
}

async fn submit(stage: &Stage, asked: &Asked, code: &str) -> Result<Reply, String> {
    stage.app.send("POST", &asked.path("/code"), json!({"code": code})).await
}

pub(super) async fn totp(stage: &Stage) -> Seen {
    let phone = Phone::connect(enrol(&stage.app, "totp").await?).await?;
    let asked = ask(&stage.app, body("totp", "browser")).await?;
    let reply = submit(stage, &asked, &code_of(&phone).await?).await?;
    let receipt = redeem(&stage.app, &asked, &asked.session).await?;
    Ok(format!("{} by {}, {}", reply.text("state"), reply.text("factor"), receipt.outcome()))
}

pub(super) async fn totp_replay(stage: &Stage) -> Seen {
    let phone = Phone::connect(enrol(&stage.app, "totp_replay").await?).await?;
    let code = code_of(&phone).await?;
    let first = ask(&stage.app, body("totp_replay", "browser")).await?;
    let accepted = submit(stage, &first, &code).await?;
    let second = ask(&stage.app, body("totp_replay", "another")).await?;
    let replayed = submit(stage, &second, &code).await?;
    Ok(format!("{}, {}", accepted.text("state"), replayed.outcome()))
}

pub(super) async fn recovery_code(stage: &Stage) -> Seen {
    enrol(&stage.app, "recovery_code").await?;
    let path = "/v1/users/name:recovery_code/factors";
    let made = stage.app.send("POST", path, json!({"type": "recovery_code"})).await?;
    let codes = made.body["codes"].as_array().map_or(0, Vec::len);
    let code = made.body["codes"][0].as_str().unwrap_or_default().to_owned();
    let asked = ask(&stage.app, body("recovery_code", "browser")).await?;
    let reply = submit(stage, &asked, &code).await?;
    let again = ask(&stage.app, body("recovery_code", "another")).await?;
    let spent = submit(stage, &again, &code).await?;
    let by = reply.text("factor");
    Ok(format!("{codes} codes, {} by {by}, then {}", reply.text("state"), spent.outcome()))
}

pub(super) async fn answer_replay(stage: &Stage) -> Seen {
    let mut device = RawDevice::connect(enrol(&stage.app, "answer_replay").await?).await?;
    let asked = ask(&stage.app, body("answer_replay", "browser")).await?;
    let id = asked.challenge()?;
    let document = device.find(id).await?;
    let answer = device.approval(id, &document, &asked.number);
    let first = device.answer(answer.clone()).await?;
    let second = device.answer(answer.clone()).await?;
    // the same signature on another challenge of the same person is worth nothing
    let other = ask(&stage.app, body("answer_replay", "another")).await?;
    let id = other.challenge()?;
    device.find(id).await?;
    let moved = wire::device::Answer { challenge: id.as_bytes().to_vec().into(), ..answer };
    let third = device.answer(moved).await?;
    let state = stage.app.send("GET", &other.path(""), Value::Null).await?;
    Ok(format!("{first}, {second}, {third}, {}", state.text("state")))
}

pub(super) async fn answer_forged(stage: &Stage) -> Seen {
    let mut device = RawDevice::connect(enrol(&stage.app, "answer_forged").await?).await?;
    let asked = ask(&stage.app, body("answer_forged", "browser")).await?;
    let id = asked.challenge()?;
    let document = device.find(id).await?;
    let mut answer = device.approval(id, &document, &asked.number);
    let mut signature = answer.signature.to_vec();
    if let Some(byte) = signature.last_mut() {
        *byte ^= 1;
    }
    answer.signature = signature.into();
    let told = device.answer(answer).await?;
    let state = stage.app.send("GET", &asked.path(""), Value::Null).await?;
    Ok(format!("{told}, {}", state.text("state")))
}

pub(super) async fn redeem_twice(stage: &Stage) -> Seen {
    let (asked, _phone, _) = ceremony(stage, "redeem_twice", right).await?;
    let first = redeem(&stage.app, &asked, &asked.session).await?;
    let second = redeem(&stage.app, &asked, &asked.session).await?;
    Ok(format!("{}, {}", first.outcome(), second.outcome()))
}

pub(super) async fn redeem_wrong_session(stage: &Stage) -> Seen {
    let (asked, _phone, _) = ceremony(stage, "redeem_wrong_session", right).await?;
    let wrong = redeem(&stage.app, &asked, "another-browsers-session").await?;
    let right = redeem(&stage.app, &asked, &asked.session).await?;
    Ok(format!("{}, {}", wrong.outcome(), right.outcome()))
}

/// What somebody else's key is told of a challenge.
async fn from_outside(stage: &Stage, other: &Http, user: &str) -> Seen {
    enrol(&stage.app, user).await?;
    let asked = ask(&stage.app, body(user, "browser")).await?;
    let seen = other.send("GET", &asked.path(""), Value::Null).await?;
    let redeemed = redeem(other, &asked, &asked.session).await?;
    let cancelled = other.send("DELETE", &asked.path(""), Value::Null).await?;
    let state = stage.app.send("GET", &asked.path(""), Value::Null).await?;
    let told = [seen.outcome(), redeemed.outcome(), cancelled.outcome()].join(", ");
    Ok(format!("{told}, {}", state.text("state")))
}

pub(super) async fn cross_tenant(stage: &Stage) -> Seen {
    from_outside(stage, &stage.foreign, "cross_tenant").await
}

pub(super) async fn cross_integration(stage: &Stage) -> Seen {
    from_outside(stage, &stage.neighbour, "cross_integration").await
}

pub(super) async fn supersede(stage: &Stage) -> Seen {
    let mut phone = Phone::connect(enrol(&stage.app, "supersede").await?).await?;
    let first = ask(&stage.app, body("supersede", "browser")).await?;
    let card = phone.find(first.challenge()?).await?;
    let mut other = body("supersede", "browser");
    other["purpose"] = json!("step_up");
    let second = ask(&stage.app, other).await?;
    let gone = phone.settled(card.challenge).await?;
    let fresh = phone.find(second.challenge()?).await?;
    let answered = phone.answer(fresh.challenge, right(&second)).await?;
    let page = stage.app.send("GET", &first.path(""), Value::Null).await?;
    Ok(format!("{}, {}, {}", gone.name(), page.text("state"), name(answered)))
}

pub(super) async fn reconnect(stage: &Stage) -> Seen {
    let phone = Phone::connect(enrol(&stage.app, "reconnect").await?).await?;
    let account = phone.hang_up().await?;
    let asked = ask(&stage.app, body("reconnect", "browser")).await?;
    let mut phone = Phone::connect(account).await?;
    let card = phone.find(asked.challenge()?).await?;
    Ok(name(phone.answer(card.challenge, right(&asked)).await?))
}

/// What was there before a restart.
pub(super) struct BeforeRestart {
    redeemed: Asked,
    pending: Asked,
    phone: Phone,
}

pub(super) async fn before_restart(stage: &Stage) -> Result<BeforeRestart, String> {
    let (redeemed, mut phone, _) = ceremony(stage, "restart", right).await?;
    let receipt = redeem(&stage.app, &redeemed, &redeemed.session).await?;
    if receipt.status != 200 {
        return Err(format!("redeem: {}", receipt.outcome()));
    }
    let pending = ask(&stage.app, body("restart", "another")).await?;
    phone.find(pending.challenge()?).await?;
    Ok(BeforeRestart { redeemed, pending, phone })
}

pub(super) async fn after_restart(stage: &Stage, before: BeforeRestart) -> Seen {
    let BeforeRestart { redeemed, pending, mut phone } = before;
    let state = stage.app.send("GET", &pending.path(""), Value::Null).await?;
    let again = redeem(&stage.app, &redeemed, &redeemed.session).await?;
    // the authenticator comes back by itself, still showing the card
    let answered = phone.answer(pending.challenge()?, right(&pending)).await?;
    let receipt = redeem(&stage.app, &pending, &pending.session).await?;
    let (state, answered) = (state.text("state"), name(answered));
    Ok(format!("{state}, {}, {answered}, {}", again.outcome(), receipt.outcome()))
}
