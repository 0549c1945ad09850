//! Where a request comes from, by files that the operator mounted: on the device's screen, in the log, for the guard.

use std::path::{Path, PathBuf};

use authenticator_native::Choice;
use serde_json::{Value, json};
use server::clock;
use server::demo::child::ChildServer;
use server::demo::http::Http;
use server::demo::phone::{Phone, enrol};
use statement::Timestamp;
use testkit::Mmdb;
use tokio::process::Command;

use crate::child::{Asked, Home, countersign, integrate, request};

const MONTHS: u64 = 90 * 86_400_000;

/// A file for each purpose, in the data directory.
fn mounted(home: &Home, built: Timestamp) -> [PathBuf; 2] {
    let london = json!({"country": {"iso_code": "GB"}, "city": {"names": {"en": "London"}}});
    let city = Mmdb::new("Test-City", built).with("81.2.69.0/24", &london);
    let asn = json!({"autonomous_system_number": 64_500});
    let asn = Mmdb::new("Test-ASN", built).with("81.2.0.0/16", &asn);
    [("city.mmdb", city), ("asn.mmdb", asn)].map(|(name, file)| {
        let path = home.data().join(name);
        std::fs::write(&path, file.bytes()).unwrap();
        path
    })
}

fn mount(command: &mut Command, [city, asn]: &[PathBuf; 2]) {
    command.env("COUNTERSIGN__PLACES__CITY_MMDB", city);
    command.env("COUNTERSIGN__PLACES__ASN_MMDB", asn);
}

/// Asks from an address, and what the device's screen says of it.
async fn asks(http: &Http, phone: &mut Phone, session: &str, ip: &str) -> (Asked, String) {
    let session = format!("{session:-<22}");
    let mut body = request("alice", &session);
    body["context"]["ip"] = json!(ip);
    let asked = Asked::read(&http.send("POST", "/v1/challenges", body).await.unwrap(), &session);
    let card = phone.prompt().await.unwrap();
    assert_eq!((card.challenge, card.context.address.as_str()), (asked.challenge(), ip));
    phone.answer(card.challenge, Choice::approve(&asked.number)).await.unwrap();
    (asked, card.context.place)
}

/// The event of a challenge's creation.
async fn created(http: &Http, asked: &Asked) -> Value {
    let path = "/v1/events?type=challenge_created&limit=100";
    let page = http.send("GET", path, Value::Null).await.unwrap();
    let events = page.body["data"].as_array().unwrap().clone();
    events.into_iter().find(|event| event["challenge"] == asked.id.as_str()).unwrap()
}

async fn alice(server: &ChildServer) -> (Http, Phone) {
    let key = integrate(server).await;
    let http = Http::new(&server.url, &key);
    let phone = Phone::connect(enrol(&http, "alice").await.unwrap()).await.unwrap();
    (http, phone)
}

#[tokio::test]
async fn a_mounted_place_is_shown_and_logged_and_a_network_is_its_number() {
    let home = Home::new("places");
    let files = mounted(&home, clock::now());
    let mut command = Command::new(countersign());
    mount(&mut command, &files);
    let server = home.serve_by(command).await;
    assert!(home.logged().contains("places by Test-City (0 days old)"), "{}", home.logged());
    let (http, mut phone) = alice(&server).await;

    let (near, place) = asks(&http, &mut phone, "one", "81.2.69.142").await;
    assert_eq!(place, "London, United Kingdom");
    let (far, place) = asks(&http, &mut phone, "two", "81.2.100.1").await;
    assert_eq!(place, "registered in United Kingdom");
    let (_, place) = asks(&http, &mut phone, "three", "10.0.0.1").await;
    assert_eq!(place, "");

    let (near_event, far_event) = (created(&http, &near).await, created(&http, &far).await);
    let private = &near_event["private"];
    assert_eq!(private["place"], "London, United Kingdom");
    assert_eq!((&private["country"], &private["asn"]), (&json!("GB"), &json!(64_500)));
    // one provider, though not one /24
    let network = |event: &Value| event["guard"]["origin"]["network"].clone();
    assert!(network(&near_event).is_u64());
    assert_eq!(network(&near_event), network(&far_event));
    assert_eq!(far_event["guard"]["familiarity"], "unknown", "a day must pass first");

    let why = home.run(&["why", &near.id]).await;
    let why = String::from_utf8(why.stdout).unwrap();
    let from = "It was asked for from 81.2.69.142, London, United Kingdom, AS64500.";
    assert!(why.trim_end().ends_with(from), "{why}");

    drop(phone);
    server.kill().await.unwrap();
    let replayed = home.run(&["guard", "replay", "--from", "audit", "--json"]).await;
    let replayed: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!((&replayed["judged"], &replayed["equal"]), (&json!(3), &json!(3)), "{replayed}");
    home.verified(None).await;
}

#[tokio::test]
async fn without_a_file_the_registries_say_the_country_and_a_prefix_is_the_network() {
    let home = Home::new("no-places");
    let server = home.serve().await;
    let (http, mut phone) = alice(&server).await;
    let (one, place) = asks(&http, &mut phone, "one", "81.2.69.142").await;
    assert_eq!(place, "registered in United Kingdom");
    let (two, _) = asks(&http, &mut phone, "two", "81.2.69.7").await;
    let (other, _) = asks(&http, &mut phone, "three", "81.2.70.7").await;
    let mut networks = Vec::new();
    for asked in [&one, &two, &other] {
        let event = created(&http, asked).await;
        assert_eq!(
            (&event["private"]["country"], &event["private"]["asn"]),
            (&json!("GB"), &Value::Null)
        );
        networks.push(event["guard"]["origin"]["network"].clone());
    }
    assert!(networks[0] == networks[1] && networks[0] != networks[2], "{networks:?}");
}

/// Runs a command with the files mounted: whether it went well, and all that it said.
async fn says(home: &Home, files: &[PathBuf; 2], command: &[&str]) -> (bool, String) {
    let mut program = Command::new(countersign());
    program.args(command).arg("--data").arg(home.data());
    mount(&mut program, files);
    let output = program.kill_on_drop(true).output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_file_that_can_t_be_used_is_told_before_a_start_and_stops_it() {
    let home = Home::new("broken-places");
    let old = clock::now().millis() - MONTHS;
    let files = mounted(&home, Timestamp::from_millis(old));
    let (fine, said) = says(&home, &files, &["config", "check"]).await;
    assert!(fine && said.contains("the settings are fine"), "{said}");
    let (fine, said) = says(&home, &files, &["doctor"]).await;
    assert!(fine && said.contains("places by Test-City (90 days old)"), "{said}");
    assert!(said.contains("next: renew the file that places.city_mmdb names"), "{said}");

    let [city, asn] = files;
    let swapped = [asn.clone(), city];
    let broken = home.data().join("broken.mmdb");
    let bytes = std::fs::read(&asn).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let broken = [asn, broken];
    for (files, why) in [
        (&swapped, "(Test-ASN) with neither countries nor cities: is it the right one?"),
        (&broken, "(Test-ASN) with neither countries nor cities"),
        (&[broken[1].clone(), broken[0].clone()], "is no MMDB file, or a damaged one"),
    ] {
        for command in
            [&["config", "check"][..], &["doctor"], &["serve", "--listen", "127.0.0.1:0"]]
        {
            let (fine, said) = says(&home, files, command).await;
            assert!(
                !fine && said.contains(why) && said.contains("places.city_mmdb"),
                "{command:?}: {said}"
            );
        }
    }
    assert!(!Path::new(&home.data().join("countersign.db")).exists(), "no start, no store");
}
