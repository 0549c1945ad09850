//! Whether a server stands by what was said before it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use server::clock;

use super::coder::shown;
use super::facts::{Collected, Decided, Enrolled, FRESH, Facts, Revoked, Spent, Used};
use super::spender::{FREE, guess};
use super::{Lost, Site, Told};

/// Of what was said long ago one in so many is looked at.
const SAMPLE: usize = 10;

/// How much is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// What this run and the one before it said, and a sample of the rest.
    Recent,
    All,
}

/// How much was found to hold.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) decisions: usize,
    pub(crate) receipts: usize,
    /// Approvals that were redeemed only after the restart.
    pub(crate) collected_later: usize,
    pub(crate) enrolled: usize,
    pub(crate) revoked: usize,
    pub(crate) codes: usize,
    pub(crate) budgets: usize,
    pub(crate) events: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "held: {} decisions, {} receipts ({} given after a restart), {} enrolments, \
             {} revocations, {} used codes, {} spent budgets, {} events",
            self.decisions,
            self.receipts,
            self.collected_later,
            self.enrolled,
            self.revoked,
            self.codes,
            self.budgets,
            self.events
        )
    }
}

impl Told {
    /// Makes sure that what was said holds. Nobody may be at work.
    pub(crate) async fn holds(
        &self,
        site: &Site,
        which: Which,
        checked: &mut Checked,
    ) -> Result<(), Lost> {
        let mut facts = std::mem::take(&mut *self.lock());
        let run = facts.run;
        for spent in facts.spent.iter().filter(|spent| spent.run == run) {
            budget_holds(site, spent, checked).await?;
        }
        let is_due = |place: usize, of: u32| {
            which == Which::All || of + 1 >= run || (place + run as usize).is_multiple_of(SAMPLE)
        };
        for (place, decided) in facts.decided.iter_mut().enumerate() {
            if is_due(place, decided.run) {
                decision_holds(site, decided, checked).await?;
            }
        }
        for (place, device) in facts.devices.iter().enumerate() {
            if is_due(place, device.run) {
                device_holds(site, device, checked).await?;
            }
        }
        for used in facts.used.iter().filter(|used| used.run + 1 >= run) {
            code_is_used(site, used, checked).await?;
        }
        let events = events(site).await?;
        events_hold(&facts, &events);
        checked.events = events.len();
        *self.lock() = facts;
        Ok(())
    }
}

async fn decision_holds(
    site: &Site,
    decided: &mut Decided,
    checked: &mut Checked,
) -> Result<(), Lost> {
    let asked = &decided.asked;
    let reply = site.send("GET", &asked.path(""), Value::Null).await?;
    assert_eq!(reply.text("state"), decided.state, "{}", asked.id);
    checked.decisions += 1;
    let is_redeemed = reply.body["redeemed"] == true;
    match decided.collected {
        Collected::Yes => assert!(is_redeemed, "{} was redeemed", asked.id),
        Collected::No | Collected::Lapsed => assert!(!is_redeemed, "{} was not", asked.id),
        Collected::Asked => {}
    }
    let body = json!({"browser_session": asked.session});
    let age = clock::now().since(decided.since);
    let reply = site.send("POST", &asked.path("/redeem"), body).await?;
    decided.collected = match reply.outcome().as_str() {
        "409 not_approved" if decided.state != "approved" => return Ok(()),
        "409 already_redeemed" if is_redeemed => {
            checked.receipts += 1;
            Collected::Yes
        }
        "200" if decided.state == "approved" && !is_redeemed => {
            checked.collected_later += 1;
            Collected::Yes
        }
        "409 lapsed" if decided.state == "approved" && age > FRESH => Collected::Lapsed,
        other => panic!("redeem of {} ({}): {other}", asked.id, decided.state),
    };
    Ok(())
}

async fn device_holds(site: &Site, device: &Enrolled, checked: &mut Checked) -> Result<(), Lost> {
    let id = device.account.device;
    match (device.revoked, site.log_in(&device.account).await) {
        (Revoked::No, Ok(_)) => checked.enrolled += 1,
        (Revoked::Yes, Err(why)) if why == "closed: 4401" => checked.revoked += 1,
        (Revoked::Asked, _) => {}
        (revoked, outcome) => {
            let outcome = outcome.map(|_| "welcome");
            panic!("{id} of {}, revoked: {revoked:?}: {outcome:?}", device.user)
        }
    }
    Ok(())
}

async fn code_is_used(site: &Site, used: &Used, checked: &mut Checked) -> Result<(), Lost> {
    if !used.code.is_good() {
        return Ok(());
    }
    let session = format!("{:-<22}", format!("{}-check", used.user));
    let asked = site.ask(&used.user, &session).await?;
    let body = json!({"code": used.code.digits});
    let reply = site.send("POST", &asked.path("/code"), body).await?;
    assert_eq!(reply.outcome(), "422 code_wrong", "a used code of {}", used.user);
    site.send("DELETE", &asked.path(""), Value::Null).await?;
    checked.codes += 1;
    Ok(())
}

/// As many more wrong codes as are free are taken, then a right one is refused. If failures had been
/// forgotten, it would pass: see [`free_guesses_leave_the_right_code`].
async fn budget_holds(site: &Site, spent: &Spent, checked: &mut Checked) -> Result<(), Lost> {
    let session = format!("{:-<22}", format!("{}-check", spent.user));
    let asked = site.ask(&spent.user, &session).await?;
    for _ in spent.failures..FREE {
        guess(site, &asked, &spent.account).await?;
    }
    let body = json!({"code": shown(&spent.account).digits});
    let reply = site.send("POST", &asked.path("/code"), body).await?;
    assert_eq!(reply.outcome(), "422 code_wrong", "the budget of {} was spent", spent.user);
    checked.budgets += 1;
    Ok(())
}

/// The other side of [`budget_holds`]: one failure less, and the same code passes.
pub(crate) async fn free_guesses_leave_the_right_code(
    site: &Site,
    told: &Told,
) -> Result<(), Lost> {
    let account = site.enrol("hal", told).await?;
    let asked = site.ask("hal", "hal-has-one-guess-left").await?;
    for _ in 1..FREE {
        guess(site, &asked, &account).await?;
    }
    let body = json!({"code": shown(&account).digits});
    let reply = site.send("POST", &asked.path("/code"), body).await?;
    assert_eq!(reply.text("state"), "approved", "{reply:?}");
    Ok(())
}

async fn events(site: &Site) -> Result<Vec<Value>, Lost> {
    let mut events = Vec::new();
    let mut path = "/v1/events?limit=200".to_owned();
    loop {
        let reply = site.send("GET", &path, Value::Null).await?;
        assert_eq!(reply.status, 200, "{reply:?}");
        events.extend(reply.body["data"].as_array().unwrap().iter().cloned());
        match reply.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/events?limit=200&cursor={cursor}"),
            None => return Ok(events),
        }
    }
}

/// Every fact has its one event, and nothing was decided or redeemed twice, told or not.
fn events_hold(facts: &Facts, events: &[Value]) {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut decisions: BTreeMap<&str, &str> = BTreeMap::new();
    for event in events {
        let text = |member: &str| event[member].as_str().unwrap_or_default();
        let (kind, challenge) = (text("type"), text("challenge"));
        let about = match kind {
            "device_enrolled" | "device_revoked" => text("device"),
            "challenge_created" | "challenge_redeemed" | "challenge_decided" => challenge,
            _ => continue,
        };
        let count = counts.entry((kind, about)).or_default();
        *count += 1;
        assert_eq!(*count, 1, "{kind} of {about} happened twice");
        if kind == "challenge_decided" {
            decisions.insert(challenge, text("decision"));
        }
    }
    let has = |kind: &str, about: &str| counts.contains_key(&(kind, about));
    for decided in &facts.decided {
        let id = decided.asked.id.as_str();
        assert_eq!(decisions.get(id), Some(&decided.state.as_str()), "the event of {id}");
        assert!(has("challenge_created", id), "the creation of {id}");
        let is_collected = decided.collected == Collected::Yes;
        assert!(!is_collected || has("challenge_redeemed", id), "the redeeming of {id}");
    }
    for device in &facts.devices {
        let id = device.account.device.to_string();
        assert!(has("device_enrolled", &id), "the enrolment of {id}");
        let is_revoked = device.revoked == Revoked::Yes;
        assert!(!is_revoked || has("device_revoked", &id), "the revocation of {id}");
    }
}
