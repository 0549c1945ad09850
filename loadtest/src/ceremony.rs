//! One ceremony: the page asks and waits, the device answers, the page redeems.

use std::time::Duration;

use authenticator_native::{AnswerOutcome, Choice, Event};
use hyper::Method;
use statement::ChallengeId;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use wire::rest::{
    BrowserContext, Challenge, CreateChallenge, CreatedChallenge, FirstFactor, RedeemChallenge,
    Redeemed, State, SubmitCode,
};

use crate::browser::{self, Left, Open};
use crate::child::RETURN_URL;
use crate::clock;
use crate::fleet::{Trouble, User};
use crate::receipt;
use crate::record::{Record, Step};
use crate::rest::{Api, PATIENCE};
use crate::schedule::{Act, Arrival};

/// How long after its time a challenge may take to be known as ended.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// How long a person whose device should ring waits for that before they open the app.
const RING_WITHIN: Duration = Duration::from_secs(3);
/// One long poll, in seconds.
const WAIT_S: u64 = 25;
/// Between a poll that failed and the next.
const POLL_PAUSE: Duration = Duration::from_millis(200);
const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 loadtest";

/// What the page shows to the person.
struct Shown {
    challenge: ChallengeId,
    number: String,
    until: Instant,
}

/// What the page learnt.
#[derive(Default)]
struct Page {
    told: Option<Instant>,
    /// When the hosted page left.
    left: Option<Instant>,
    cookie: Option<String>,
}

/// What the device did and learnt.
#[derive(Default)]
struct Device {
    prompted: Option<Instant>,
    /// The person opened the app.
    pulled: bool,
    /// It rang.
    rang: bool,
    /// How many others rang.
    besides: u64,
    withheld: bool,
    answered: Option<Instant>,
    told: Option<Instant>,
}

/// Runs one; `start` is when it should have started.
pub(crate) async fn run(
    api: &Api,
    user: &mut User,
    arrival: Arrival,
    start: Instant,
    ttl: Duration,
) -> Record {
    let session = clock::browser_session();
    let mut record = Record::new(arrival.act, session);
    let mut device_record = Record::new(arrival.act, String::new());
    let (show, shown) = oneshot::channel();
    let request = request(user, &record.session, arrival.hosted, ttl);
    let (page, device) = tokio::join!(
        page(api, &request, (arrival, start), ttl, show, &mut record),
        device(api, user, arrival, shown, &mut device_record),
    );
    record.join(device_record);
    record.answered = device.answered.is_some();
    record.prompted = device.prompted.is_some();
    record.silent = record.prompted && !device.rang;
    record.withheld = device.withheld;
    // its own ring is no other's
    record.rang_besides = device.besides.saturating_sub(u64::from(device.rang));
    if let (Some(prompted), false) = (device.prompted, device.pulled) {
        record.took(Step::CreateToDevice, start, prompted);
    }
    let first = device.told.into_iter().chain(page.told).min();
    // a withheld answer decides nothing: the code does
    let answered = device.answered.filter(|_| !device.withheld);
    if let (Some(answered), Some(first), Some(told)) = (answered, first, page.told) {
        record.took(Step::AnswerToDecision, answered, first);
        record.took(Step::DecisionToWaiter, first, told);
        record.took(Step::AnswerToWaiter, answered, told);
        if !device.pulled {
            record.took(Step::CreateToKnown, start, told);
        }
    }
    if let (Some(answered), Some(left)) = (answered, page.left) {
        record.took(Step::AnswerToLeaving, answered, left);
    }
    if page.cookie.is_some() {
        user.cookie = page.cookie;
    }
    if record.refused {
        return record;
    }
    user.trouble = user.trouble.max(match arrival.act {
        Act::Approve => Trouble::None,
        Act::Wrong | Act::Ignore => Trouble::Silent,
        Act::Deny => Trouble::Suspect,
    });
    record
}

fn request(user: &User, session: &str, hosted: bool, ttl: Duration) -> CreateChallenge {
    CreateChallenge {
        user: user.id.clone(),
        context: BrowserContext {
            browser_session: session.to_owned(),
            ip: Some(user.address.clone()),
            user_agent: Some(AGENT.to_owned()),
            device_cookie: user.cookie.clone(),
        },
        first_factor: Some(FirstFactor { method: "password".to_owned(), at: clock::wall() }),
        purpose: None,
        methods: None,
        ttl_s: u32::try_from(ttl.as_secs()).ok(),
        details: Vec::new(),
        return_url: hosted.then(|| RETURN_URL.to_owned()),
    }
}

/// The relying party's half: create, show, wait, redeem.
async fn page(
    api: &Api,
    request: &CreateChallenge,
    (arrival, start): (Arrival, Instant),
    ttl: Duration,
    show: oneshot::Sender<Shown>,
    record: &mut Record,
) -> Page {
    let mut page = Page::default();
    let created = api.send::<CreatedChallenge>(Method::POST, "/v1/challenges", Some(request)).await;
    let now = clock::now();
    let created = match created {
        Ok(created) => created,
        Err(error) if arrival.may_be_refused && error.is_overload() => {
            record.refused = true;
            record.took(Step::Refusal, start, now);
            return page;
        }
        Err(error) => {
            record.error(format!("create_{}", error.kind()));
            return page;
        }
    };
    record.took(Step::Create, start, now);
    record.challenge = Some(created.id.clone());
    let until = now + ttl + GRACE;
    let (mut number, mut open) = (created.number, None);
    if let Some(url) = &created.page_url {
        match browser::open(api, url).await {
            Ok(opened) => {
                number = Some(opened.number.clone());
                open = Some(opened);
            }
            Err(error) => record.error(format!("page_{}", error.kind())),
        }
    }
    let (Ok(challenge), Some(number)) = (created.id.parse(), number) else {
        record.error("create_bad_reply");
        return page;
    };
    // an error means that the device is gone, which its half has noted
    let _ = show.send(Shown { challenge, number, until });
    if let Some(open) = open
        && !follow(api, open, until, &mut page, record).await
    {
        return page;
    }
    let Some(state) = wait(api, &created.id, until, record).await else {
        return page;
    };
    page.told.get_or_insert_with(clock::now);
    record.saw(state);
    if state == State::Approved {
        page.cookie = redeem(api, &created.id, record).await;
    }
    page
}

/// The hosted page's way to its end; `false` if it found none.
async fn follow(
    api: &Api,
    open: Open,
    until: Instant,
    page: &mut Page,
    record: &mut Record,
) -> bool {
    match open.follow(api, until).await {
        Ok(Some(Left { told, left, return_code })) => {
            (page.told, page.left) = (Some(told), Some(left));
            record.return_code = return_code;
            true
        }
        Ok(None) => false,
        Err(error) => {
            record.error(format!("page_{}", error.kind()));
            // how the challenge ends is asked for all the same
            true
        }
    }
}

/// Waits for the challenge's end, poll after poll; `None` if it didn't come.
async fn wait(api: &Api, id: &str, until: Instant, record: &mut Record) -> Option<State> {
    let path = format!("/v1/challenges/{id}?wait={WAIT_S}");
    let patience = Duration::from_secs(WAIT_S) + PATIENCE;
    loop {
        let polled = timeout_at(until, api.get::<Challenge>(&path, patience)).await;
        match polled.ok()? {
            Ok(challenge) if challenge.state != State::Pending => return Some(challenge.state),
            Ok(_) => {}
            Err(error) => {
                record.error(format!("poll_{}", error.kind()));
                tokio::time::sleep(POLL_PAUSE).await;
            }
        }
    }
}

async fn redeem(api: &Api, id: &str, record: &mut Record) -> Option<String> {
    let path = format!("/v1/challenges/{id}/redeem");
    let (browser_session, return_code) = (record.session.clone(), record.return_code.clone());
    let body = RedeemChallenge { browser_session, return_code };
    let began = clock::now();
    match api.send::<Redeemed>(Method::POST, &path, Some(&body)).await {
        Ok(redeemed) => {
            record.took(Step::Redeem, began, clock::now());
            record.receipts += 1;
            if !receipt::parses(&redeemed.receipt, id) {
                record.error("bad_receipt");
            }
            Some(redeemed.device_cookie)
        }
        Err(error) => {
            record.error(format!("redeem_{}", error.kind()));
            None
        }
    }
}

/// The device's half: prompt, number, thought, answer, word of the decision.
async fn device(
    api: &Api,
    user: &mut User,
    arrival: Arrival,
    mut shown: oneshot::Receiver<Shown>,
    record: &mut Record,
) -> Device {
    let mut device = Device::default();
    let mut page: Option<Shown> = None;
    // prompts may come before the page knows its challenge
    let mut prompts: Vec<(ChallengeId, Instant, bool)> = Vec::new();
    let mut opens_app = None;
    loop {
        let until = page.as_ref().map(|page| page.until);
        tokio::select! {
            told = &mut shown, if page.is_none() => match told {
                Ok(told) => {
                    let rings = user.trouble == Trouble::None;
                    opens_app = Some(clock::now() + if rings { RING_WITHIN } else { Duration::ZERO });
                    page = Some(told);
                }
                Err(_) => return device,
            },
            () = sleep_until(opens_app), if device.prompted.is_none() && !device.pulled => {
                device.pulled = true;
                // an error means that the session has ended, which its events tell
                let _ = user.session.handle.pull().await;
            }
            event = user.session.events.recv() => {
                let Some((_, event)) = event else {
                    record.error("device_ended");
                    return device;
                };
                if let Event::Prompt(card) = &event {
                    device.besides += u64::from(card.alert);
                    prompts.push((card.challenge, clock::now(), card.alert));
                } else {
                    let suspect = user.trouble == Trouble::Suspect;
                    if heard(&event, page.as_ref(), suspect, &mut device, record) {
                        return device;
                    }
                }
            }
            () = sleep_until(until) => return device,
        }
        let Some(page) = &page else { continue };
        if device.withheld && device.told.take().is_some() {
            type_code(api, user, page, record).await;
        }
        let prompt = prompts.iter().find(|(id, ..)| *id == page.challenge);
        if let (Some((_, at, rang)), None) = (prompt, device.prompted) {
            (device.prompted, device.rang) = (Some(*at), *rang);
            if device.pulled && device.rang && user.trouble == Trouble::None {
                record.error("ring_not_delivered");
            }
            if arrival.act != Act::Ignore && !answer(user, arrival, page, &mut device, record).await
            {
                return device;
            }
        }
    }
}

/// Thinks and answers; `false` if the device took no answer.
async fn answer(
    user: &User,
    arrival: Arrival,
    page: &Shown,
    device: &mut Device,
    record: &mut Record,
) -> bool {
    if !arrival.think.is_zero() {
        tokio::time::sleep(arrival.think).await;
    }
    let choice = match arrival.act {
        Act::Wrong => Choice::approve(&another(&page.number)),
        Act::Deny => Choice::Deny,
        Act::Approve | Act::Ignore => Choice::approve(&page.number),
    };
    device.answered = Some(clock::now());
    let handle = &user.session.handle;
    let taken = handle.answer(page.challenge, choice, false).await;
    if !matches!(taken, Ok(Ok(()))) {
        record.error("answer_not_taken");
        device.answered = None;
        return false;
    }
    true
}

/// Types the code that the device shows into the page.
async fn type_code(api: &Api, user: &mut User, page: &Shown, record: &mut Record) {
    user.typed = clock::totp_step();
    let account = user.session.handle.account().await;
    let code = account.ok().and_then(|account| account.code(authenticator_native::unix_time()));
    let Some(code) = code else {
        record.error("no_code");
        return;
    };
    let path = format!("/v1/challenges/{}/code", page.challenge);
    let body = SubmitCode { code: code.digits.to_string() };
    match api.send::<Challenge>(Method::POST, &path, Some(&body)).await {
        Ok(challenge) => record.saw(challenge.state),
        Err(error) => record.error(format!("code_{}", error.kind())),
    }
}

/// Notes what the device is told; `true` if it is the last word on this ceremony.
fn heard(
    event: &Event,
    page: Option<&Shown>,
    suspect: bool,
    device: &mut Device,
    record: &mut Record,
) -> bool {
    let ours = |id: &ChallengeId| page.is_some_and(|page| page.challenge == *id);
    match event {
        Event::Answered { challenge, outcome } if ours(challenge) => {
            device.told = Some(clock::now());
            match outcome {
                AnswerOutcome::Settled(_) => return false,
                AnswerOutcome::Withheld if suspect => {
                    device.withheld = true;
                    return false;
                }
                AnswerOutcome::Withheld => record.error("answer_withheld"),
                AnswerOutcome::Late => record.error("answer_late"),
                AnswerOutcome::Refused => record.error("answer_refused"),
            }
            true
        }
        Event::Settled { challenge, decision } if ours(challenge) => {
            record.saw_on_device(*decision);
            true
        }
        Event::Lapsed { challenge } => ours(challenge),
        Event::GaveWay { challenge } if ours(challenge) => {
            record.error("gave_way");
            true
        }
        Event::Stopped(_) => {
            record.error("device_stopped");
            true
        }
        Event::Disconnected { .. } => {
            record.error("device_disconnected");
            false
        }
        Event::PromptDropped(_) => {
            record.error("prompt_dropped");
            false
        }
        Event::Fault(_) => {
            record.error("device_fault");
            false
        }
        _ => false,
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// A number of the same length that isn't `number`.
fn another(number: &str) -> String {
    let (first, rest) = number.split_at(1);
    let first = first.parse::<u8>().unwrap_or(0);
    format!("{}{rest}", (first + 1) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_number_has_as_many_digits_and_differs() {
        for (number, other) in [("042917", "142917"), ("99", "09"), ("5", "6")] {
            assert_eq!(another(number), other);
        }
    }
}
