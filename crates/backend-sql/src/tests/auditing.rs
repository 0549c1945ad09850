//! Whatever is done to the audit is found, and where.

use std::time::Duration;

use domain::audit::{Entry, Event};
use ports::{Change, SignedCheckpoint};
use sqlx::Row as _;
use statement::TenantId;
use testkit::Fixture;

use super::support::Disk;
use crate::audit::CHECKPOINT_ROWS;
use crate::{Broken, Fault, MasterKey, Place, Store, Verified, VerifyError, verify_audit};

/// Rows under the second of two checkpoints; three more follow that no checkpoint covers.
const ANCHORED: u64 = 8;
const ROWS: u64 = ANCHORED + 3;

struct Scene {
    disk: Disk,
    tenant: TenantId,
    lane: u64,
    kept: SignedCheckpoint,
}

impl Scene {
    /// A stopped store whose rows end unanchored, as after a crash.
    async fn new() -> Self {
        let disk = Disk::new();
        let store = disk.open().await;
        let tenant = store.directory().tenants().await.unwrap()[0].id;
        record(&store, tenant, ANCHORED / 2).await;
        assert_eq!(store.ledger().checkpoint().await, Ok(1));
        disk.clock.advance(Duration::from_secs(60));
        record(&store, tenant, ANCHORED / 2).await;
        assert_eq!(store.ledger().checkpoint().await, Ok(1));
        assert_eq!(store.ledger().checkpoint().await, Ok(0), "nothing new to sign for");
        record(&store, tenant, ROWS - ANCHORED).await;
        let kept = store.ledger().last_checkpoint(tenant).await.unwrap().unwrap();
        let lane = kept.checkpoint.heads[0].lane;
        Self { disk, tenant, lane, kept }
    }

    async fn sql(&self, sql: &'static str) {
        let mut conn = self.disk.tamper().await;
        let done = sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        assert_ne!(done.rows_affected(), 0, "{sql}");
    }

    async fn verify(&self, kept: Option<&SignedCheckpoint>) -> Result<Verified, Broken> {
        let master = MasterKey::from_bytes([7; 32]);
        match verify_audit(self.disk.path(), &master, kept).await {
            Ok(verified) => Ok(verified),
            Err(VerifyError::Broken(broken)) => Err(broken),
            Err(VerifyError::Open(error)) => panic!("{error}"),
        }
    }

    fn row(&self, seq: u64, fault: Fault) -> Result<Verified, Broken> {
        let place = Place::Row { lane: self.lane, seq };
        Err(Broken { tenant: self.tenant, place, fault })
    }

    fn checkpoint(&self, number: u64, fault: Fault) -> Result<Verified, Broken> {
        let place = Place::Checkpoint(number);
        Err(Broken { tenant: self.tenant, place, fault })
    }
}

async fn record(store: &Store, tenant: TenantId, rows: u64) {
    for row in 0..rows {
        let entry = Entry::new(tenant, Event::CodeFailed)
            .with(|public| public.cause = Some(format!("row {row}")))
            .privately(|private| private.address = Some("192.0.2.1".to_owned()));
        store.ledger().record(entry).await.unwrap();
    }
}

#[tokio::test]
async fn an_untouched_audit_is_whole_and_its_end_is_told_to_be_unanchored() {
    let scene = Scene::new().await;
    let whole = Verified { rows: ROWS, unanchored: ROWS - ANCHORED, checkpoints: 2 };
    assert_eq!(scene.verify(None).await, Ok(whole));
    assert_eq!(scene.verify(Some(&scene.kept)).await, Ok(whole));
}

#[tokio::test]
async fn erasing_private_parts_leaves_it_whole() {
    let scene = Scene::new().await;
    scene.sql("UPDATE audit SET private = NULL, salt = NULL WHERE seq % 2 = 0").await;
    assert!(scene.verify(Some(&scene.kept)).await.is_ok());
}

#[tokio::test]
async fn every_edit_of_a_row_is_found_at_that_row() {
    for (sql, fault) in [
        (
            "UPDATE audit SET public = CAST(replace(public, 'row', 'raw') AS BLOB) WHERE seq = 3",
            Fault::Changed,
        ),
        ("UPDATE audit SET at = at + 1 WHERE seq = 3", Fault::Changed),
        ("UPDATE audit SET hash = x'00' WHERE seq = 3", Fault::Malformed),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 3", Fault::Changed),
        ("UPDATE audit SET private = CAST('{}' AS BLOB) WHERE seq = 3", Fault::PrivateChanged),
        ("UPDATE audit SET private = NULL WHERE seq = 3", Fault::PrivateChanged),
        ("UPDATE audit SET salt = zeroblob(16) WHERE seq = 3", Fault::PrivateChanged),
        (
            "UPDATE audit SET commitment = zeroblob(32), private = NULL, salt = NULL WHERE seq = 3",
            Fault::Changed,
        ),
        ("DELETE FROM audit WHERE seq = 3", Fault::Missing),
    ] {
        let scene = Scene::new().await;
        scene.sql(sql).await;
        assert_eq!(scene.verify(None).await, scene.row(3, fault), "{sql}");
    }
}

#[tokio::test]
async fn rows_in_each_other_s_place_are_found_at_the_first_of_them() {
    let scene = Scene::new().await;
    scene
        .sql(
            "UPDATE audit SET seq = 100 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5;
             UPDATE audit SET seq = 5 WHERE seq = 100",
        )
        .await;
    assert_eq!(scene.verify(None).await, scene.row(4, Fault::Changed));
}

#[tokio::test]
async fn a_cut_end_is_found_where_a_checkpoint_signed_for_it() {
    let scene = Scene::new().await;
    scene.sql("DELETE FROM audit WHERE seq > 8").await;
    let verified = scene.verify(None).await.expect("nobody signed for those");
    assert_eq!((verified.rows, verified.unanchored), (ANCHORED, 0));
    scene.sql("DELETE FROM audit WHERE seq > 6").await;
    assert_eq!(scene.verify(None).await, scene.row(7, Fault::Missing));
    scene.sql("DELETE FROM audit").await;
    assert_eq!(scene.verify(None).await, scene.row(1, Fault::Missing));
}

#[tokio::test]
async fn an_audit_that_was_dropped_whole_is_found_where_there_are_users_or_integrations() {
    for with_user in [true, false] {
        let disk = Disk::new();
        let store = disk.open().await;
        let tenant = store.directory().tenants().await.unwrap()[0].id;
        let mut fixture = Fixture::at(1, disk.clock.clone());
        fixture.user.tenant = tenant;
        fixture.integration.tenant = tenant;
        let change = if with_user {
            Change::CreateUser(fixture.user.clone())
        } else {
            let integration = fixture.integration.clone();
            let key = fixture.api_key(&integration);
            Change::CreateIntegration(integration, key)
        };
        let entry = Entry::new(tenant, Event::UserCreated);
        store.directory().apply(change, vec![entry]).await.unwrap();
        store.close().await.unwrap();
        let mut conn = disk.tamper().await;
        let dropped = "DELETE FROM audit; DELETE FROM checkpoints";
        sqlx::raw_sql(dropped).execute(&mut conn).await.unwrap();
        let master = MasterKey::from_bytes([7; 32]);
        let found = verify_audit(disk.path(), &master, None).await;
        let broken = Broken { tenant, place: Place::Everything, fault: Fault::Missing };
        assert!(matches!(found, Err(VerifyError::Broken(told)) if told == broken), "{found:?}");
    }
}

#[tokio::test]
async fn a_store_that_nobody_used_has_no_audit_and_is_whole() {
    let disk = Disk::new();
    disk.open().await.close().await.unwrap();
    let master = MasterKey::from_bytes([7; 32]);
    let verified = verify_audit(disk.path(), &master, None).await.unwrap();
    assert_eq!(verified, Verified::default());
}

#[tokio::test]
async fn an_end_that_was_cut_with_its_checkpoint_is_found_with_a_kept_one() {
    let scene = Scene::new().await;
    scene.sql("DELETE FROM audit WHERE seq > 4").await;
    scene.sql("DELETE FROM checkpoints WHERE number = 2").await;
    assert!(scene.verify(None).await.is_ok());
    let found = scene.verify(Some(&scene.kept)).await;
    assert_eq!(found, scene.checkpoint(2, Fault::Missing));
}

#[tokio::test]
async fn a_chain_that_was_made_anew_is_found_at_the_first_anchor() {
    let scene = Scene::new().await;
    let mut conn = scene.disk.tamper().await;
    let rows = sqlx::query("SELECT seq, at, public, commitment FROM audit ORDER BY seq")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    let mut previous = [0; 32];
    for row in rows {
        let commitment: Vec<u8> = row.get("commitment");
        let (seq, at): (i64, i64) = (row.get("seq"), row.get("at"));
        let mut public: Vec<u8> = row.get("public");
        if seq == 2 {
            public = b"{\"type\":\"alert\"}".to_vec();
        }
        let link = statement::AuditLink {
            tenant: scene.tenant,
            lane: scene.lane,
            seq: u64::try_from(seq).unwrap(),
            at: crate::codec::time(at),
            public: &public,
            private: &commitment.try_into().unwrap(),
        };
        previous = link.hash(&previous);
        sqlx::query("UPDATE audit SET public = $2, hash = $3 WHERE seq = $1")
            .bind(seq)
            .bind(public.as_slice())
            .bind(previous.as_slice())
            .execute(&mut conn)
            .await
            .unwrap();
    }
    let found = scene.verify(None).await;
    assert_eq!(found, scene.row(ANCHORED / 2, Fault::NotAsAnchored));
}

#[tokio::test]
async fn a_checkpoint_that_was_touched_is_found() {
    for (sql, number, fault) in [
        ("UPDATE checkpoints SET at = at + 1 WHERE number = 1", 1, Fault::Signature),
        ("UPDATE checkpoints SET heads = x'' WHERE number = 2", 2, Fault::Signature),
        ("UPDATE checkpoints SET heads = x'00' WHERE number = 2", 2, Fault::Malformed),
        ("UPDATE checkpoints SET signature = zeroblob(64) WHERE number = 2", 2, Fault::Signature),
        ("DELETE FROM checkpoints WHERE number = 1", 1, Fault::Missing),
    ] {
        let scene = Scene::new().await;
        scene.sql(sql).await;
        assert_eq!(scene.verify(None).await, scene.checkpoint(number, fault), "{sql}");
    }
    let scene = Scene::new().await;
    let mut forged = scene.kept.clone();
    forged.checkpoint.heads[0].hash[0] ^= 1;
    assert_eq!(scene.verify(Some(&forged)).await, scene.checkpoint(2, Fault::Signature));
}

#[tokio::test]
async fn each_run_has_a_lane_and_checkpoints_go_on_where_they_were() {
    let scene = Scene::new().await;
    // the clock stands still: the lane is another one all the same
    let store = scene.disk.open().await;
    assert_eq!(store.ledger().checkpoint().await, Ok(1), "what the crash left unanchored");
    record(&store, scene.tenant, 2).await;
    store.close().await.unwrap();
    let whole = Verified { rows: ROWS + 2, unanchored: 0, checkpoints: 4 };
    assert_eq!(scene.verify(Some(&scene.kept)).await, Ok(whole));
    let store = scene.disk.open().await;
    let last = store.ledger().last_checkpoint(scene.tenant).await.unwrap().unwrap();
    let heads: Vec<_> = last.checkpoint.heads.iter().map(|head| head.seq).collect();
    assert_eq!(heads, [ROWS, 2]);
    assert_eq!(store.ledger().checkpoint().await, Ok(0), "a clean stop leaves nothing to sign for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rows_are_anchored_without_being_asked_for_beside_a_running_server() {
    let scene = Scene::new().await;
    let store = scene.disk.open().await;
    let rows = usize::try_from(CHECKPOINT_ROWS).unwrap();
    for written in testkit::race(rows, |_| {
        let (ledger, entry) = (store.ledger(), Entry::new(scene.tenant, Event::Alert));
        async move { ledger.record(entry).await }
    })
    .await
    {
        written.unwrap();
    }
    let verified = scene.verify(Some(&scene.kept)).await.unwrap();
    assert_eq!(verified.rows, ROWS + CHECKPOINT_ROWS);
    assert!(verified.unanchored < CHECKPOINT_ROWS && verified.checkpoints == 3, "{verified:?}");
}
