//! The Sigma rules of deploy/sigma, run over events that a real server wrote: each fires for its attack and for
//! nothing else. The events are held against docs/event.schema.json on the way.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rsigma_eval::{
    CorrelationConfig, CorrelationEngine, JsonEvent, TimestampFallback, parse_pipeline_file,
};
use rsigma_parser::{SigmaCollection, parse_sigma_yaml};
use serde_json::{Value, json};
use server::demo::raw_device::RawDevice;
use statement::AnswerDecision;

use crate::child::{Asked, ask, request};
use crate::world::World;

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/sigma");

/// The numbers that the acts go by. One after another people are attacked here: that is no attack on all.
const POLICY: &str = "
    alert_at = 3
    alert_at_once = 4.5
    surge_users = 100
    codes.unknown.day = { burst = 3, refill = 3 }
";

/// Between two events as the engine sees them: it tells times apart by the second.
const SECOND: Duration = Duration::from_secs(1);
/// Longer than any rule looks back.
const APART: Duration = Duration::from_secs(20 * 60);

/// All rule files as one text.
fn text() -> String {
    let files = std::fs::read_dir(RULES).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|end| end == "yml")).collect();
    files.sort();
    let texts: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    texts.join("---\n")
}

fn rules() -> SigmaCollection {
    parse_sigma_yaml(&text()).unwrap().into_result().unwrap()
}

/// Of the rules that find something: what is only counted has a name to be counted by.
fn titles(rules: &SigmaCollection) -> BTreeSet<String> {
    let alone = rules.rules.iter().filter(|rule| rule.name.is_none()).map(|rule| &rule.title);
    alone.chain(rules.correlations.iter().map(|rule| &rule.title)).cloned().collect()
}

/// What fires, by title, if the events came `gap` apart. `wrapped`: as the messages of a webhook hold them.
fn run(events: &[Value], gap: Duration, wrapped: bool) -> BTreeSet<String> {
    let mut engine = CorrelationEngine::new(CorrelationConfig {
        timestamp_fields: vec![if wrapped { "timestamp" } else { "at" }.to_owned()],
        timestamp_fallback: TimestampFallback::Skip,
        ..CorrelationConfig::default()
    });
    if wrapped {
        let pipeline = Path::new(RULES).join("pipelines/webhook.yml");
        engine.add_pipeline(parse_pipeline_file(&pipeline).unwrap());
    }
    let rules = rules();
    engine.add_collection(&rules).unwrap();
    let first: jiff::Timestamp = "2027-01-01T12:00:00Z".parse().unwrap();
    let mut fired = BTreeSet::new();
    for (event, count) in events.iter().zip(0..) {
        let at = (first + gap * count).to_string();
        let seen = if wrapped {
            json!({"type": event["type"], "timestamp": at, "data": event})
        } else {
            let mut event = event.clone();
            event["at"] = at.into();
            event
        };
        let found = engine.process_event(&JsonEvent::borrow(&seen));
        fired.extend(found.into_iter().map(|found| found.header.rule_title));
    }
    // what others only count is no finding
    fired.retain(|title| titles(&rules).contains(title));
    fired
}

/// The schema, without room for what it doesn't name.
fn schema() -> jsonschema::Validator {
    let mut schema: Value =
        serde_json::from_str(include_str!("../../../../docs/event.schema.json")).unwrap();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    schema["additionalProperties"] = false.into();
    for part in schema["$defs"].as_object_mut().unwrap().values_mut() {
        if part["type"] == "object" {
            part["additionalProperties"] = false.into();
        }
    }
    jsonschema::draft202012::new(&schema).unwrap()
}

/// What a server writes down, act by act.
struct Log<'a> {
    world: &'a World,
    schema: jsonschema::Validator,
    cursor: String,
    fired: BTreeSet<String>,
}

impl<'a> Log<'a> {
    async fn new(world: &'a World) -> Self {
        let mut log =
            Self { world, schema: schema(), cursor: String::new(), fired: BTreeSet::new() };
        log.next().await;
        log
    }

    async fn next(&mut self) -> Vec<Value> {
        let path = format!("/v1/events?limit=200{}", self.cursor);
        let events = self.world.get(&path).await["data"].as_array().unwrap().clone();
        if let Some(last) = events.last() {
            self.cursor = format!("&cursor={}", last["id"].as_str().unwrap());
        }
        for event in &events {
            let wrong: Vec<_> = self.schema.iter_errors(event).map(|e| e.to_string()).collect();
            assert!(wrong.is_empty(), "{wrong:?} {event:#}");
        }
        events
    }

    /// The act that just ended is seen by these rules and no other.
    async fn fires(&mut self, titles: &[&str]) -> Vec<Value> {
        let events = self.next().await;
        let expected: BTreeSet<_> =
            titles.iter().map(|title| format!("Countersign {title}")).collect();
        assert_eq!(run(&events, SECOND, false), expected, "{events:#?}");
        assert_eq!(run(&events, SECOND, true), expected);
        self.fired.extend(expected);
        events
    }
}

async fn ask_from(world: &World, user: &str, session: &str, address: &str) -> Asked {
    let session = format!("{session:-<22}");
    let mut body = request(user, &session);
    body["context"]["ip"] = address.into();
    Asked::read(&world.own.send("POST", "/v1/challenges", body).await.unwrap(), &session)
}

async fn post(world: &World, path: &str, body: Value) -> Value {
    world.own.send("POST", path, body).await.unwrap().body
}

async fn device(world: &World, user: &str) -> RawDevice {
    RawDevice::connect(world.enrolled(user).await).await.unwrap()
}

async fn recovery_code(world: &World, user: &str) -> Value {
    let path = format!("/v1/users/name:{user}/factors");
    post(world, &path, json!({"type": "recovery_code"})).await["codes"][0].clone()
}

/// The person opens the app and answers; says what came of it.
async fn answer(device: &mut RawDevice, asked: &Asked, how: AnswerDecision, typed: &str) -> String {
    let document = device.find(asked.challenge()).await.unwrap();
    let answer = device.sign(asked.challenge(), &document, how, typed);
    device.answer(answer).await.unwrap()
}

async fn approve(device: &mut RawDevice, asked: &Asked) -> String {
    answer(device, asked, AnswerDecision::Approve, &asked.number).await
}

async fn deny(device: &mut RawDevice, asked: &Asked) {
    assert_eq!(answer(device, asked, AnswerDecision::Deny, "").await, "denied");
}

/// A day in the life of people: they sign in, mistype, use codes, change their mind, lose a phone.
async fn ordinary(world: &World) {
    let mut anna = device(world, "anna").await;
    for (session, typed_wrong) in [("first", false), ("second", true), ("third", false)] {
        let asked = ask(&world.own, "anna", session).await;
        let typed = if typed_wrong { asked.wrong_number() } else { asked.number.clone() };
        answer(&mut anna, &asked, AnswerDecision::Approve, &typed).await;
        let body = json!({"browser_session": asked.session});
        let redeemed = world.own.send("POST", &asked.path("/redeem"), body).await.unwrap();
        assert_eq!(redeemed.status == 200, !typed_wrong, "{redeemed:?}");
    }
    let asked = ask(&world.own, "anna", "fourth").await;
    deny(&mut anna, &asked).await;

    let lost = world.enrolled("ben").await.device.to_string();
    let code = recovery_code(world, "ben").await;
    let asked = ask(&world.own, "ben", "page").await;
    for code in [json!("000000"), code] {
        post(world, &asked.path("/code"), json!({"code": code})).await;
    }
    assert_eq!(crate::child::state(&world.own, &asked).await, "approved");
    let asked = ask(&world.own, "ben", "another").await;
    world.own.send("DELETE", &asked.path(""), Value::Null).await.unwrap();
    world.server.admin(&["device", "revoke", &lost]).await.unwrap();
    world.enrolled("ben").await;
}

/// A stranger asks again and again; the person says no, is talked into a yes, and calls the help desk.
async fn bombed(world: &World, log: &mut Log<'_>) {
    let mut vera = device(world, "vera").await;
    log.fires(&[]).await;
    let mut asked = Vec::new();
    for session in ["a", "b", "c", "d", "e"] {
        asked.push(ask_from(world, "vera", session, "203.0.113.9").await);
    }
    log.fires(&["Push Bombing"]).await;
    answer(&mut vera, &asked[0], AnswerDecision::Report, "").await;
    log.fires(&["Push Bombing Confirmed by the Person", "Sign-in Reported by the Person"]).await;
    assert_eq!(approve(&mut vera, &asked[1]).await, "withheld");
    let events = log.fires(&["Approval Withheld After a Denial or Report"]).await;
    assert_eq!(events[0]["reasons"], json!(["reported_lately"]));
    recovery_code(world, "vera").await;
    log.fires(&["Enrolment or Reset Under Attack"]).await;
    let reset = json!({"reason": "lost phone"});
    world.own.send("DELETE", "/v1/users/name:vera/factors", reset).await.unwrap();
    log.fires(&["Enrolment or Reset Under Attack"]).await;
    for asked in &asked[2..4] {
        deny(&mut vera, asked).await;
    }
    let two = log.fires(&[]).await;
    deny(&mut vera, &asked[4]).await;
    let three = [two, log.fires(&[]).await].concat();
    let several = ["Countersign Several Sign-ins Denied by One Person".to_owned()].into();
    assert_eq!(run(&three, SECOND, false), several);
    assert_eq!(run(&three, SECOND, true), several);
    assert_eq!(run(&three, APART, false), BTreeSet::new());
    log.fired.extend(several);
}

/// A person who denies, is called, and gives in.
async fn worn_down(world: &World, log: &mut Log<'_>) {
    let mut theo = device(world, "theo").await;
    let code = recovery_code(world, "theo").await;
    let (first, second) = (
        ask_from(world, "theo", "a", "203.0.113.20").await,
        ask_from(world, "theo", "b", "203.0.113.21").await,
    );
    log.fires(&[]).await;
    deny(&mut theo, &first).await;
    assert_eq!(approve(&mut theo, &second).await, "withheld");
    post(world, &second.path("/code"), json!({"code": code})).await;
    assert_eq!(crate::child::state(&world.own, &second).await, "approved");
    let (withheld, after) =
        ("Approval Withheld After a Denial or Report", "Sign-in Approved After a Denial");
    let events = log.fires(&[withheld, after]).await;
    let withheld = [format!("Countersign {withheld}")].into();
    assert_eq!(run(&events, APART, false), withheld);
}

async fn guessed(world: &World, log: &mut Log<'_>) {
    world.enrolled("gus").await;
    let asked = ask_from(world, "gus", "a", "203.0.113.30").await;
    let guess = async |code: &str| post(world, &asked.path("/code"), json!({"code": code})).await;
    for code in ["000001", "000002", "000003"] {
        guess(code).await;
    }
    log.fires(&[]).await;
    guess("000004").await;
    log.fires(&["Codes Guessed"]).await;
}

/// What a person does who signs in at the same moment as somebody else.
async fn crossed(world: &World, log: &mut Log<'_>) {
    let mut cleo = device(world, "cleo").await;
    let own = ask(&world.own, "cleo", "own").await;
    let other = ask_from(world, "cleo", "other", "203.0.113.40").await;
    answer(&mut cleo, &own, AnswerDecision::Approve, &other.number).await;
    log.fires(&["Number of Another Sign-in Typed"]).await;
}

async fn in_an_emergency(world: &World, log: &mut Log<'_>) {
    world.enrolled("root").await;
    let for_emergencies = json!({"break_glass": true});
    world.own.send("PUT", "/v1/users/name:root", for_emergencies).await.unwrap();
    log.fires(&[]).await;
    ask(&world.own, "root", "console").await;
    log.fires(&["Break-Glass User Used"]).await;
}

/// A key that is used from two places, which both count from where they were.
async fn cloned(world: &World, log: &mut Log<'_>) {
    let account = world.enrolled("clara").await;
    for (session, titles) in [("one", &[][..]), ("two", &["Device Key Copied"])] {
        let mut device = RawDevice::connect(account.clone()).await.unwrap();
        let asked = ask(&world.own, "clara", session).await;
        assert_eq!(approve(&mut device, &asked).await, "approved");
        log.fires(titles).await;
    }
}

/// "Not me", after the approval.
async fn reported_late(world: &World, log: &mut Log<'_>) {
    let mut lena = device(world, "lena").await;
    let asked = ask(&world.own, "lena", "page").await;
    let document = lena.find(asked.challenge()).await.unwrap();
    let approval = lena.approval(asked.challenge(), &document, &asked.number);
    lena.answer(approval).await.unwrap();
    log.fires(&[]).await;
    let report = lena.sign(asked.challenge(), &document, AnswerDecision::Report, "");
    lena.answer(report).await.unwrap();
    log.fires(&["Sign-in Reported by the Person"]).await;
}

/// One address asks many people, who say no.
async fn sprayed(world: &World, log: &mut Log<'_>) {
    for user in ["s1", "s2", "s3", "s4", "s5"] {
        let mut phone = device(world, user).await;
        let asked = ask_from(world, user, "a", "198.51.100.20").await;
        deny(&mut phone, &asked).await;
    }
    world.enrolled("s6").await;
    log.fires(&[]).await;
    ask_from(world, "s6", "a", "198.51.100.20").await;
    log.fires(&["Push Spray"]).await;
}

#[tokio::test]
async fn each_rule_fires_for_its_attack_and_for_nothing_else() {
    let world = World::guarded("sigma", POLICY).await;
    let mut log = Log::new(&world).await;
    ordinary(&world).await;
    log.fires(&[]).await;
    bombed(&world, &mut log).await;
    worn_down(&world, &mut log).await;
    guessed(&world, &mut log).await;
    crossed(&world, &mut log).await;
    in_an_emergency(&world, &mut log).await;
    cloned(&world, &mut log).await;
    reported_late(&world, &mut log).await;

    // what operators print is what the API shows
    let printed = world.home.run(&["events", "--json"]).await;
    let printed = String::from_utf8(printed.stdout).unwrap();
    let printed: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed, world.events(&world.own_key).await);

    let world = World::guarded("sigma-spray", "address_users = 4.5").await;
    let mut spray = Log::new(&world).await;
    sprayed(&world, &mut spray).await;

    let fired = &log.fired | &spray.fired;
    assert_eq!(fired, titles(&rules()), "each rule has an attack");
}

#[test]
fn rules_are_well_formed_and_read_these_events() {
    let warnings = rsigma_parser::lint::lint_yaml_str(&text());
    assert!(warnings.is_empty(), "{warnings:#?}");
    for rule in rules().rules {
        assert_eq!(rule.logsource.product.as_deref(), Some("countersign"), "{}", rule.title);
        assert_eq!(rule.logsource.service.as_deref(), Some("events"), "{}", rule.title);
    }
}
