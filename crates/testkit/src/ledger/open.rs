//! Opening, idempotency keys, and what is due.

use std::sync::Arc;
use std::time::Duration;

use domain::audit::Event;
use domain::challenge::{Decision, MAX_TTL, MIN_TTL, Mode, State};
use domain::guard::Cell;
use ports::{HotChange, Open, Opened, Replay, ReplayKey};
use statement::UserId;

use super::count;
use crate::backend::World;
use crate::fixture::opened;
use crate::rules::{race, within};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn key(world: &mut World) -> ReplayKey {
    ReplayKey {
        integration: world.fixture.integration.id,
        key: world.fixture.bytes(),
        request: world.fixture.bytes(),
    }
}

fn under(world: &mut World, key: ReplayKey) -> Open {
    let challenge = world.fixture.challenge();
    Open {
        audit: world.about(&challenge, Event::ChallengeCreated),
        alerts: vec![world.about(&challenge, Event::Alert)],
        challenge,
        replay: Some(key),
        rider: None,
    }
}

async fn recall(world: &World, key: ReplayKey) -> Option<Replay> {
    world.backend.ledger.recall(key).await.expect("recalls")
}

pub(super) async fn an_open_challenge_is_looked_up_as_it_was(mut world: World) {
    let challenge = world.open().await;
    let found = world.find(challenge.id).await.expect("is there");
    assert_eq!(found.challenge, challenge, "every field");
    assert_eq!((found.state, found.decided), (State::Pending, None));
    let created = world.told(Event::ChallengeCreated).await;
    assert_eq!(created.len(), 1);
    assert_eq!(found.opened, created[0].id);
}

pub(super) async fn an_unknown_challenge_is_nothing(mut world: World) {
    let never_opened = world.fixture.challenge();
    assert!(world.find(never_opened.id).await.is_none());
}

pub(super) async fn a_challenge_of_an_unknown_user_opens_too(mut world: World) {
    // the stand-in of a name that nobody has: a decoy's life must not differ
    let mut decoy = world.fixture.plain_challenge();
    decoy.user = UserId::from_bytes(world.fixture.bytes());
    decoy.mode = Mode::Decoy;
    let decoy = Arc::new(decoy);
    world.open_this(&decoy).await;
    world.backend.clock.advance_to(decoy.expires);
    let settled = world.settle(world.decision(&decoy, Decision::Expired)).await;
    assert_eq!(super::decided(settled).map(|decided| decided.decision), Some(Decision::Expired));
}

pub(super) async fn the_rider_becomes_durable_with_its_challenge(mut world: World) {
    let challenge = world.fixture.challenge();
    let change = addition(&mut world, &challenge);
    let hot = Arc::clone(&world.backend.hot);
    let committed = hot.commit(change).await.expect("commits");
    let open = Open {
        challenge: Arc::clone(&challenge),
        replay: None,
        audit: world.about(&challenge, Event::ChallengeCreated),
        alerts: Vec::new(),
        rider: committed.rider,
    };
    assert_eq!(world.ledger().open(open).await, Ok(Opened::Opened));
    let loaded = hot.load(challenge.tenant, challenge.user).await;
    let loaded = loaded.expect("loads");
    assert_eq!(loaded.version, committed.version);
    assert_eq!(loaded.live, [challenge]);
}

pub(super) async fn a_rider_becomes_durable_with_entries_that_stand_for_themselves(
    mut world: World,
) {
    let challenge = world.fixture.challenge();
    world.open_this(&challenge).await;
    let change = addition(&mut world, &challenge);
    let hot = Arc::clone(&world.backend.hot);
    let committed = hot.commit(change).await.expect("commits");
    let entries = [Event::CodeFailed, Event::Alert].map(|event| world.about(&challenge, event));
    let recorded = world.ledger().record_all(entries.to_vec(), committed.rider).await;
    assert_eq!(recorded, Ok(()));
    let loaded = hot.load(challenge.tenant, challenge.user).await.expect("loads");
    assert_eq!((loaded.version, loaded.live.len()), (committed.version, 1));
    let failed = world.told(Event::CodeFailed).await;
    let alerts = world.told(Event::Alert).await;
    assert_eq!((failed.len(), alerts.len()), (1, 1));
    assert!(failed[0].id < alerts[0].id, "in order");
}

fn addition(world: &mut World, challenge: &Arc<domain::challenge::Challenge>) -> HotChange {
    let mut cell = Cell::default();
    cell.open.push(opened(challenge.id, challenge.integration));
    HotChange {
        tenant: challenge.tenant,
        user: challenge.user,
        version: 0,
        cell,
        add: vec![Arc::clone(challenge)],
        remove: Vec::new(),
        op_id: world.fixture.bytes(),
        derived: false,
    }
}

pub(super) async fn a_taken_replay_key_stores_nothing(mut world: World) {
    let key = key(&mut world);
    let first = under(&mut world, key);
    let winner = first.challenge.id;
    assert_eq!(world.ledger().open(first).await, Ok(Opened::Opened));
    assert_eq!(recall(&world, key).await, Some(Replay::Challenge(winner)));

    let mut second = under(&mut world, key);
    let loser = Arc::clone(&second.challenge);
    let change = addition(&mut world, &loser);
    let hot = Arc::clone(&world.backend.hot);
    let committed = hot.commit(change).await.expect("commits");
    let rides = committed.rider.is_some();
    second.rider = committed.rider;
    assert_eq!(world.ledger().open(second).await, Ok(Opened::Replayed));
    assert!(world.find(loser.id).await.is_none(), "no challenge");
    assert_eq!(world.told(Event::ChallengeCreated).await.len(), 1, "no row");
    assert_eq!(world.told(Event::Alert).await.len(), 1, "nor an alert");
    if rides {
        let loaded = hot.load(loser.tenant, loser.user).await.expect("loads");
        assert_eq!((loaded.version, loaded.live.len()), (0, 0), "no commit");
    }
    assert_eq!(recall(&world, key).await, Some(Replay::Challenge(winner)));
    let mut other = key;
    other.request = world.fixture.bytes();
    assert_eq!(recall(&world, other).await, Some(Replay::OtherRequest));
}

const RACERS: usize = 64;

pub(super) async fn of_racing_opens_under_one_replay_key_one_wins(mut world: World) {
    let key = key(&mut world);
    let racing = race(RACERS, |_| {
        let (ledger, open) = (world.ledger(), under(&mut world, key));
        let id = open.challenge.id;
        async move { (ledger.open(open).await.expect("opens"), id) }
    });
    let results = within("the race", racing).await;
    let (opened, ids): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    assert_eq!(count(&opened, &Opened::Opened), 1);
    assert_eq!(count(&opened, &Opened::Replayed), RACERS - 1);
    let mut stored = Vec::new();
    for (opened, id) in opened.iter().zip(ids) {
        let found = world.find(id).await.is_some();
        assert_eq!(found, *opened == Opened::Opened);
        stored.extend(found.then_some(id));
    }
    assert_eq!(recall(&world, key).await, Some(Replay::Challenge(stored[0])));
    assert_eq!(world.told(Event::ChallengeCreated).await.len(), 1);
}

pub(super) async fn a_replay_key_is_its_integration_s_own_and_lives_a_day(mut world: World) {
    let own = key(&mut world);
    assert_eq!(recall(&world, own).await, None);
    let open = under(&mut world, own);
    let first = open.challenge.id;
    assert_eq!(world.ledger().open(open).await, Ok(Opened::Opened));

    let mut foreign = own;
    foreign.integration = world.fixture.integration().id;
    assert_eq!(recall(&world, foreign).await, None);
    let open = under(&mut world, foreign);
    assert_eq!(world.ledger().open(open).await, Ok(Opened::Opened));
    assert_eq!(recall(&world, own).await, Some(Replay::Challenge(first)));

    world.backend.clock.advance(DAY - Duration::from_millis(1));
    assert_eq!(recall(&world, own).await, Some(Replay::Challenge(first)));
    world.backend.clock.advance(Duration::from_millis(2));
    assert_eq!(recall(&world, own).await, None);
    // and is free again
    let open = under(&mut world, own);
    let next = open.challenge.id;
    assert_eq!(world.ledger().open(open).await, Ok(Opened::Opened));
    assert_eq!(recall(&world, own).await, Some(Replay::Challenge(next)));
}

pub(super) async fn a_stored_reply_is_recalled(mut world: World) {
    let ledger = world.ledger();
    for body in [Some("{\"user\":\"usr_1\"}".to_owned()), None] {
        let key = key(&mut world);
        let status = 201;
        let done = ledger.remember(key, status, body.clone()).await;
        assert_eq!(done, Ok(()));
        assert_eq!(recall(&world, key).await, Some(Replay::Reply { status, body }));
        let mut other = key;
        other.request = world.fixture.bytes();
        assert_eq!(recall(&world, other).await, Some(Replay::OtherRequest));
        world.backend.clock.advance(DAY + Duration::from_millis(1));
        assert_eq!(recall(&world, key).await, None);
    }
}

pub(super) async fn what_has_expired_is_due_oldest_first_up_to_the_limit(mut world: World) {
    let mut opened = Vec::new();
    for n in 0..6_u32 {
        let mut challenge = world.fixture.plain_challenge();
        challenge.expires = challenge.created.plus(MIN_TTL + Duration::from_secs(n.into()));
        challenge.mode = if n == 1 { Mode::Decoy } else { Mode::Silent };
        let challenge = Arc::new(challenge);
        world.open_this(&challenge).await;
        opened.push(challenge);
    }
    let due = async |limit| {
        let due = world.backend.ledger.due(limit).await.expect("reads");
        due.iter().map(|challenge| challenge.id).collect::<Vec<_>>()
    };
    let ids: Vec<_> = opened.iter().map(|challenge| challenge.id).collect();
    assert_eq!(due(10).await, []);
    let clock = &world.backend.clock;
    clock.advance_to(opened[0].expires.minus(Duration::from_millis(1)));
    assert_eq!(due(10).await, []);
    clock.advance_to(opened[0].expires);
    assert_eq!(due(10).await, ids[..1], "at the moment of expiry");
    clock.advance(MAX_TTL);
    assert_eq!(due(3).await, ids[..3], "the oldest first");
    assert_eq!(due(10).await, ids);

    let expired = world.decision(&opened[0], Decision::Expired);
    world.settle(expired).await;
    assert_eq!(due(10).await, ids[1..], "what is decided isn't due");
}
