//! Rules of tenants and integrations, and the profile that asks known places for few digits.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use app::{Created, Guards, NewIntegration};
use domain::challenge::{Methods, Purpose};
use domain::directory::Scope;
use domain::guard::{Change, Policies, Profile, Table};

use crate::world::{OPERATOR, Person, World};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

fn live(policies: Policies) -> Guards {
    Guards { live: policies, shadow: None }
}

async fn from(
    world: &World,
    caller: &app::Caller,
    user: &str,
    session: &str,
    ip: IpAddr,
) -> Created {
    let mut request = world.request(user, session);
    request.context.ip = Some(ip);
    world.create_with(caller, request).await.expect("a challenge")
}

/// Alice, who signed in at home a while ago.
async fn settled(world: &World, caller: &app::Caller) -> Person {
    let alice = world.enrolled("alice").await;
    let created = from(world, caller, "alice", "first", HOME).await;
    world.approve(&alice.device, &created).await;
    world.pass(Duration::from_secs(3 * 24 * 60 * 60));
    alice
}

fn claims(receipt: &app::Receipt) -> String {
    let part = receipt.receipt.split('.').nth(1).expect("three parts");
    let bytes = data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url");
    String::from_utf8(bytes).expect("JSON")
}

#[tokio::test]
async fn known_places_alone_are_asked_for_few_digits_and_the_receipt_says_so() {
    let familiar = [Change::Profile(Profile::Familiar), Change::FamiliarDigits(2)];
    let policies = Policies::new(&familiar, Vec::new(), Vec::new()).expect("a policy");
    let world = World::with(live(policies)).await;
    let vpn = world.integration("vpn").await;
    let alice = settled(&world, &vpn).await;
    let home = from(&world, &vpn, "alice", "home", HOME).await;
    assert_eq!((home.digits, home.number.as_ref().map(|n| n.len())), (2, Some(2)));
    world.approve(&alice.device, &home).await;
    let receipt = world.redeem(&vpn, home.view.id, "home").await.expect("a receipt");
    assert_eq!(receipt.acr, "urn:countersign:acr:number-match-familiar");
    assert!(claims(&receipt).contains("\"acr\":\"urn:countersign:acr:number-match-familiar\""));
    // strangers, and those whom nobody knows, whatever the level
    for round in 0..4 {
        for user in ["alice", "nobody"] {
            let session = format!("{user}{round}");
            let created = from(&world, &vpn, user, &session, ELSEWHERE).await;
            assert_eq!(created.digits, 6, "{session}");
        }
    }
    let elsewhere = from(&world, &vpn, "alice", "elsewhere", ELSEWHERE).await;
    world.approve(&alice.device, &elsewhere).await;
    let receipt = world.redeem(&vpn, elsewhere.view.id, "elsewhere").await.expect("a receipt");
    assert_eq!(receipt.acr, "urn:countersign:acr:number-match");
    // at home it stays at two, however alarmed the guard is about elsewhere
    assert_eq!(from(&world, &vpn, "alice", "again", HOME).await.digits, 2);
}

#[tokio::test]
async fn an_integration_s_table_holds_for_it_alone() {
    let digits = |digits| vec![Change::Digits(digits)];
    let table = |of: &str, changes| Table { of: of.to_owned(), changes };
    let integrations = vec![table("vault", digits(8))];
    let tenants = vec![table("acme", digits(7))];
    let policies = Policies::new(&[], tenants, integrations).expect("a policy");
    let world = World::with(live(policies)).await;
    let (vpn, vault) = (world.integration("vpn").await, world.integration("vault").await);
    world.enrolled("alice").await;
    assert_eq!(from(&world, &vpn, "alice", "a", HOME).await.digits, 6);
    assert_eq!(from(&world, &vault, "alice", "b", HOME).await.digits, 8);
    let mut call = world.call();
    let acme = world.app.create_tenant(&mut call, &OPERATOR, "acme").await.expect("a tenant");
    let new = NewIntegration {
        name: "mail".to_owned(),
        protocol: domain::protocol::Protocol::default(),
        purposes: vec![Purpose::SignIn],
        methods: Methods::ALL,
        scopes: vec![Scope::Challenges],
        verifies_first_factor: false,
        reveal_users: false,
    };
    let key = world.app.create_integration(&mut call, &OPERATOR, acme.id, new).await;
    let key = key.expect("an integration");
    let mail = world.app.authenticate(&call, key.key.reveal()).await.expect("its key works");
    assert_eq!(from(&world, &mail, "somebody", "c", HOME).await.digits, 7);
}
