//! The writer: atomic batches, riders, the truth in memory.

use std::sync::Arc;

use domain::attempts::{Budgets, Counter, Lane};
use domain::audit::Event;
use domain::challenge::{Challenge, Collect, Decision, Mode, Proof, State};
use domain::guard::Cell;
use ports::{
    Effect, HotChange, HotError, Open, Opened, Redeem, Redeemed, ReplayKey, Rider, Settle, Settled,
    StoreError,
};
use sqlx::Row as _;
use statement::{DeviceId, FactorId, UserId};
use testkit::{Fixture, race};

use super::support::Disk;
use crate::{MasterKey, Store, verify_audit, writes};

fn change(fixture: &mut Fixture, version: u64, challenge: &Arc<Challenge>) -> HotChange {
    HotChange {
        tenant: fixture.tenant.id,
        user: fixture.user.id,
        version,
        cell: Cell {
            open: vec![testkit::opened(challenge.id, challenge.integration)],
            ..Cell::default()
        },
        add: vec![Arc::clone(challenge)],
        remove: Vec::new(),
        op_id: fixture.bytes(),
        derived: false,
    }
}

async fn ride(store: &Store, change: &HotChange) -> Rider {
    store.hot().commit(change.clone()).await.unwrap().rider.expect("SQLite stores with the ledger")
}

fn open(fixture: &Fixture, challenge: &Arc<Challenge>, rider: Option<Rider>) -> Open {
    let audit = fixture.entry(Event::ChallengeCreated);
    let (challenge, alerts) = (Arc::clone(challenge), Vec::new());
    Open { challenge, replay: None, audit, alerts, rider }
}

fn deny(fixture: &Fixture, challenge: &Challenge) -> Settle {
    Settle {
        challenge: challenge.id,
        decision: Decision::Denied,
        proof: None,
        after_expiry: false,
        device: None,
        effects: Vec::new(),
        audit: fixture.entry(Event::ChallengeDecided),
        alerts: Vec::new(),
    }
}

async fn count(disk: &Disk, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(&mut disk.tamper().await).await.unwrap().get(0)
}

#[tokio::test]
async fn a_dropped_rider_leaves_nothing() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(1, disk.clock.clone());
    let challenge = fixture.challenge();
    let change = change(&mut fixture, 0, &challenge);
    drop(ride(&store, &change).await);
    let loaded = store.hot().load(change.tenant, change.user).await.unwrap();
    assert_eq!((loaded.version, loaded.live.len()), (0, 0));
    assert_eq!(count(&disk, "SELECT COUNT(*) FROM hot").await, 0);
    // the version is free again
    let rider = ride(&store, &change).await;
    let opened = store.ledger().open(open(&fixture, &challenge, Some(rider))).await;
    assert_eq!(opened, Ok(Opened::Opened));
    let loaded = store.hot().load(change.tenant, change.user).await.unwrap();
    assert_eq!((loaded.version, loaded.live.len()), (1, 1));
}

/// A bug once kept a row for each name that somebody made up, for ever.
#[tokio::test]
async fn the_state_of_somebody_whom_nobody_knows_goes_with_their_last_challenge() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(9, disk.clock.clone());
    let nobody = UserId::from_bytes(fixture.bytes());
    let tenant = fixture.tenant.id;
    let mut decoys = Vec::new();
    for version in 0..2 {
        let decoy = fixture.plain_challenge();
        let decoy = Arc::new(Challenge { user: nobody, mode: Mode::Decoy, ..decoy });
        let change = HotChange { user: nobody, ..change(&mut fixture, version, &decoy) };
        let rider = ride(&store, &change).await;
        store.ledger().open(open(&fixture, &decoy, Some(rider))).await.unwrap();
        decoys.push(decoy);
    }
    let lane = Counter::Totp(nobody, Lane::Unknown);
    store.ledger().count_attempt(lane, Budgets::DEFAULT).await.unwrap();
    let end = |decoy: &Challenge| Settle {
        decision: Decision::Cancelled,
        effects: vec![Effect::ForgetNobody(tenant)],
        ..deny(&fixture, decoy)
    };
    store.ledger().settle(vec![end(&decoys[0])]).await.unwrap();
    assert_eq!(count(&disk, "SELECT COUNT(*) FROM hot").await, 1, "one is live");
    store.ledger().settle(vec![end(&decoys[1])]).await.unwrap();
    assert_eq!(count(&disk, "SELECT COUNT(*) FROM hot").await, 0);
    assert_eq!(count(&disk, "SELECT COUNT(*) FROM attempts").await, 0);
}

#[tokio::test]
async fn nobody_sees_a_commit_before_it_is_stored() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(2, disk.clock.clone());
    let challenge = fixture.challenge();
    let change = change(&mut fixture, 0, &challenge);
    let rider = ride(&store, &change).await;
    let hot = store.hot();
    let mut load = std::pin::pin!(hot.load(change.tenant, change.user));
    let waits =
        std::future::poll_fn(|cx| std::task::Poll::Ready(load.as_mut().poll(cx).is_pending()));
    assert!(waits.await, "the load has to wait");
    store.hot().flush(rider).await.unwrap();
    assert_eq!(load.await.unwrap().version, 1);
    // a retry is success, another change from the same version is not
    let again = store.hot().commit(change.clone()).await.unwrap();
    assert!(again.version == 1 && again.rider.is_none());
    let other = HotChange { op_id: fixture.bytes(), ..change };
    assert!(matches!(store.hot().commit(other).await, Err(HotError::Conflict(_))));
}

#[tokio::test]
async fn a_restart_finds_what_was_committed_and_forgets_what_was_decided() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(3, disk.clock.clone());
    let challenges = [fixture.challenge(), fixture.challenge()];
    for (version, challenge) in challenges.iter().enumerate() {
        let change = change(&mut fixture, version as u64, challenge);
        let rider = ride(&store, &change).await;
        store.ledger().open(open(&fixture, challenge, Some(rider))).await.unwrap();
    }
    let settled = store.ledger().settle(vec![deny(&fixture, &challenges[0])]).await.unwrap();
    assert!(matches!(settled[0], Settled::Settled(_)));
    drop(store);

    let store = disk.open().await;
    let loaded = store.hot().load(fixture.tenant.id, fixture.user.id).await.unwrap();
    assert_eq!(loaded.version, 2);
    assert_eq!(loaded.live, [Arc::clone(&challenges[1])], "number and all");
    let decided = store.ledger().lookup(challenges[0].id).await.unwrap().unwrap();
    assert!(decided.challenge.number.is_empty() && decided.decided.is_some());
    assert!(matches!(decided.state, State::Decided(d) if d.decision == Decision::Denied));
}

#[tokio::test]
async fn the_number_is_gone_from_disk_and_memory_once_it_is_decided() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(4, disk.clock.clone());
    let challenge = fixture.challenge();
    store.ledger().open(open(&fixture, &challenge, None)).await.unwrap();
    let pending = store.ledger().lookup(challenge.id).await.unwrap().unwrap();
    assert_eq!(pending.challenge, challenge);
    store.ledger().settle(vec![deny(&fixture, &challenge)]).await.unwrap();
    let decided = store.ledger().lookup(challenge.id).await.unwrap().unwrap();
    assert!(decided.challenge.number.is_empty());
    assert_eq!(count(&disk, "SELECT COUNT(*) FROM challenges WHERE number IS NOT NULL").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_decisions_one_stands_and_all_are_told_it() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(5, disk.clock.clone());
    let challenge = fixture.challenge();
    store.ledger().open(open(&fixture, &challenge, None)).await.unwrap();
    let answers = race(100, |n| {
        let (ledger, mut item) = (store.ledger(), deny(&fixture, &challenge));
        item.decision = if n % 2 == 0 { Decision::Denied } else { Decision::Reported };
        async move { ledger.settle(vec![item]).await.unwrap()[0] }
    })
    .await;
    let won: Vec<_> = answers.iter().filter(|a| matches!(a, Settled::Settled(_))).collect();
    assert_eq!(won.len(), 1);
    let Settled::Settled(stands) = *won[0] else { unreachable!() };
    for answer in answers {
        assert!(matches!(answer, Settled::Settled(d) | Settled::Already(d) if d == stands));
    }
    assert_eq!(count(&disk, "SELECT COUNT(*) FROM audit").await, 2);
}

/// All bytes of a row are handed over as one value: what isn't there must come out of it as nothing.
#[tokio::test]
async fn what_a_row_lacks_is_null_and_what_is_empty_is_not() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(8, disk.clock.clone());
    let ledger = store.ledger();
    let [denied, approved] = [(); 2].map(|()| fixture.challenge());
    for challenge in [&denied, &approved] {
        ledger.open(open(&fixture, challenge, None)).await.unwrap();
    }
    let both =
        Proof::Both(DeviceId::from_bytes(fixture.bytes()), FactorId::from_bytes(fixture.bytes()));
    let proof = Some(both);
    let approve = Settle { decision: Decision::Approved, proof, ..deny(&fixture, &approved) };
    ledger.settle(vec![deny(&fixture, &denied), approve]).await.unwrap();
    for (rows, sql) in [
        (1, "SELECT COUNT(*) FROM challenges WHERE proof_kind = 0 AND proof_id IS NULL"),
        (1, "SELECT COUNT(*) FROM challenges WHERE proof_kind = 4 AND length(proof_id) = 32"),
        (
            2,
            "SELECT COUNT(*) FROM challenges WHERE length(decided) = 16 AND number IS NULL AND lapsed_at IS NULL",
        ),
        (4, "SELECT COUNT(*) FROM audit WHERE redeems IS NULL"),
        (
            4,
            "SELECT COUNT(*) FROM audit WHERE typeof(private) = 'blob' AND length(salt) = 16 AND length(hash) = 32",
        ),
    ] {
        assert_eq!(count(&disk, sql).await, rows, "{sql}");
    }
}

/// What was redeemed stays so for whoever reads it from the disk, by a row that is the only one of its kind.
#[tokio::test]
async fn a_redeem_is_its_audit_row_and_outlives_a_restart() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(7, disk.clock.clone());
    // one that is there, so that its audit chain goes on after a restart
    fixture.tenant = store.directory().tenants().await.unwrap().remove(0);
    let (challenge, session) = (fixture.challenge(), fixture.bytes());
    let challenge = Arc::new(Challenge { session, ..Challenge::clone(&challenge) });
    let proof = Some(Proof::Totp(FactorId::from_bytes(fixture.bytes())));
    let approve = Settle { decision: Decision::Approved, proof, ..deny(&fixture, &challenge) };
    let entry = |event| fixture.entry(event);
    let (audit, audit_wrong) = (entry(Event::ChallengeRedeemed), entry(Event::RedeemRefused));
    let item = Redeem { challenge: challenge.id, session, audit, audit_wrong };

    store.ledger().open(open(&fixture, &challenge, None)).await.unwrap();
    let settled = store.ledger().settle(vec![approve]).await.unwrap();
    assert!(matches!(settled[0], Settled::Settled(_)), "{settled:?}");
    store.close().await.unwrap();

    let store = disk.open().await;
    let before = store.written().await.unwrap();
    let redeemed = store.ledger().redeem(item.clone()).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Redeemed(_)), "{redeemed:?}");
    assert_eq!(store.written().await.unwrap().rows, before.rows + 1);
    assert_eq!(store.ledger().redeem(item.clone()).await.unwrap(), Redeemed::Already);
    store.close().await.unwrap();

    let store = disk.open().await;
    let record = store.ledger().lookup(challenge.id).await.unwrap().expect("it is there");
    let State::Decided(decided) = record.state else { panic!("it was decided") };
    assert_eq!(decided.collect, Collect::Redeemed);
    assert_eq!(store.ledger().redeem(item).await.unwrap(), Redeemed::Already);
    let second = "INSERT INTO audit SELECT tenant, lane, seq + 9, at, public, private, salt, commitment, hash, \
                  redeems FROM audit WHERE redeems IS NOT NULL";
    let second = sqlx::query(second).execute(&mut disk.tamper().await).await;
    assert!(second.is_err(), "there can't be two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_bad_job_spoils_no_other() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(6, disk.clock.clone());
    let twice = fixture.challenge();
    store.ledger().open(open(&fixture, &twice, None)).await.unwrap();
    let challenges: Vec<_> = (0..64)
        .map(|n| if n % 16 == 3 { Arc::clone(&twice) } else { fixture.challenge() })
        .collect();
    let opened = race(challenges.len(), |n| {
        let (ledger, item) = (store.ledger(), open(&fixture, &challenges[n], None));
        async move { ledger.open(item).await }
    })
    .await;
    for (challenge, opened) in challenges.iter().zip(opened) {
        if challenge.id == twice.id {
            assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{opened:?}");
        } else {
            assert_eq!(opened, Ok(Opened::Opened));
        }
    }
    assert_eq!(store.healthy(), Ok(()));
    assert_eq!(count(&disk, "SELECT COUNT(*) FROM challenges").await, 61);
    assert_eq!(count(&disk, "SELECT COUNT(*) FROM audit").await, 61);
}

#[tokio::test]
async fn what_should_change_and_is_not_there_fails_whole() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(10, disk.clock.clone());
    let challenge = fixture.challenge();
    store.ledger().open(open(&fixture, &challenge, None)).await.unwrap();
    let stolen = sqlx::query("DELETE FROM challenges").execute(&mut disk.tamper().await).await;
    assert_eq!(stolen.unwrap().rows_affected(), 1);
    let settled = store.ledger().settle(vec![deny(&fixture, &challenge)]).await;
    assert!(matches!(settled, Err(StoreError::Unavailable(_))), "{settled:?}");
    assert_eq!(count(&disk, "SELECT COUNT(*) FROM audit").await, 1, "the decision's row either");
    assert_eq!(store.healthy(), Ok(()));
}

#[tokio::test]
async fn a_refused_open_leaves_its_user_as_it_was() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(7, disk.clock.clone());
    let key = ReplayKey {
        integration: fixture.integration.id,
        key: fixture.bytes(),
        request: fixture.bytes(),
    };
    store.ledger().remember(key, 204, None).await.unwrap();
    let challenge = fixture.challenge();
    let change = change(&mut fixture, 0, &challenge);
    let rider = ride(&store, &change).await;
    let mut item = open(&fixture, &challenge, Some(rider));
    item.replay = Some(key);
    assert_eq!(store.ledger().open(item).await, Ok(Opened::Replayed));
    let loaded = store.hot().load(change.tenant, change.user).await.unwrap();
    assert_eq!((loaded.version, loaded.live.len()), (0, 0));
    assert!(store.ledger().lookup(challenge.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_closed_store_takes_no_writes_and_says_so() {
    let disk = Disk::new();
    let store = disk.open().await;
    let fixture = Fixture::at(8, disk.clock.clone());
    store.close().await.unwrap();
    store.close().await.unwrap();
    let refused = store.ledger().record(fixture.entry(Event::Alert)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

/// More rows than one statement takes, and nothing to be read first, which would begin a transaction.
#[tokio::test]
async fn a_batch_of_several_statements_is_stored_whole_or_not_at_all() {
    let disk = Disk::new();
    let store = disk.open().await;
    let mut fixture = Fixture::at(12, disk.clock.clone());
    let challenges: Vec<_> = (0..=writes::MOST / 2).map(|_| fixture.challenge()).collect();
    for challenge in &challenges {
        store.ledger().open(open(&fixture, challenge, None)).await.unwrap();
    }
    let all = i64::try_from(challenges.len()).unwrap();
    let settles = || challenges.iter().map(|challenge| deny(&fixture, challenge)).collect();
    // the last row of the last statement meets one that is there already
    let last = "INSERT INTO audit SELECT tenant, lane, 2 * $1, at, public, private, salt, commitment, hash, NULL \
                FROM audit LIMIT 1";
    sqlx::query(last).bind(all).execute(&mut disk.tamper().await).await.unwrap();
    let settled = store.ledger().settle(settles()).await;
    assert!(matches!(settled, Err(StoreError::Unavailable(_))), "{settled:?}");
    let undecided = "SELECT COUNT(*) FROM challenges WHERE decision = 0 AND number IS NOT NULL";
    assert_eq!(count(&disk, undecided).await, all);
    assert_eq!(store.healthy(), Ok(()));
    let gone = sqlx::query("DELETE FROM audit WHERE seq = 2 * $1").bind(all);
    assert_eq!(gone.execute(&mut disk.tamper().await).await.unwrap().rows_affected(), 1);
    let settled = store.ledger().settle(settles()).await.unwrap();
    assert!(settled.iter().all(|settled| matches!(settled, Settled::Settled(_))), "{settled:?}");
    assert_eq!(count(&disk, undecided).await, 0);
    let verified = verify_audit(disk.path(), &MasterKey::from_bytes([7; 32]), None).await.unwrap();
    assert_eq!(i64::try_from(verified.rows).unwrap(), 2 * all);
}
