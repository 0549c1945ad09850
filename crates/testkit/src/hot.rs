//! What every [`Hot`] must do.

use std::collections::HashSet;
use std::sync::Arc;

use domain::challenge::Challenge;
use domain::guard::Cell;
use ports::{Committed, Hot, HotChange, HotError, HotUser};
use statement::{ChallengeId, TenantId, UserId};

use crate::rules::{race, rules, within};
use crate::{Fixture, opened};

/// Runs the suite. All that `make` gives may share one store: every rule has users of its own.
///
/// # Panics
/// At the first rule that is broken.
pub async fn hot_suite(make: impl AsyncFn() -> Arc<dyn Hot>) {
    rules!(
        async |seed| HotWorld { hot: make().await, fixture: Fixture::new(seed) };
        an_unknown_user_is_empty,
        what_was_committed_is_loaded,
        what_is_removed_is_gone,
        a_stale_version_is_a_conflict_and_changes_nothing,
        a_version_of_a_user_who_is_not_stored_is_a_conflict,
        a_retry_with_the_same_op_id_is_success_and_happens_once,
        a_derived_commit_is_loaded_too,
        tenants_and_users_are_apart,
        a_full_user_fits,
        a_dropped_rider_undoes_its_commit,
        riders_that_are_dropped_among_others_lose_nothing,
        racing_committers_lose_no_update,
        of_racing_commits_of_one_version_one_wins,
    );
}

struct HotWorld {
    hot: Arc<dyn Hot>,
    fixture: Fixture,
}

impl HotWorld {
    fn ids(&self) -> (TenantId, UserId) {
        (self.fixture.tenant.id, self.fixture.user.id)
    }

    async fn load(&self) -> HotUser {
        let (tenant, user) = self.ids();
        self.hot.load(tenant, user).await.expect("loads")
    }

    fn change(&mut self, version: u64, cell: Cell) -> HotChange {
        HotChange {
            tenant: self.fixture.tenant.id,
            user: self.fixture.user.id,
            version,
            cell,
            add: Vec::new(),
            remove: Vec::new(),
            op_id: self.fixture.bytes(),
            derived: false,
        }
    }

    /// A change that adds a challenge to what was loaded.
    fn addition(&mut self, loaded: &HotUser) -> (HotChange, Arc<Challenge>) {
        let challenge = self.fixture.challenge();
        let mut change = self.change(loaded.version, with(&loaded.cell, &challenge));
        change.add.push(Arc::clone(&challenge));
        (change, challenge)
    }

    /// Commits and flushes; the version.
    async fn commit(&self, change: HotChange) -> Result<u64, HotError> {
        let committed = self.hot.commit(change).await?;
        let version = committed.version;
        flush(&*self.hot, committed).await;
        Ok(version)
    }
}

fn with(cell: &Cell, challenge: &Challenge) -> Cell {
    let mut cell = cell.clone();
    cell.open.push(opened(challenge.id, challenge.integration));
    cell
}

async fn flush(hot: &dyn Hot, committed: Committed) {
    if let Some(rider) = committed.rider {
        assert_eq!(hot.flush(rider).await, Ok(()));
    }
}

async fn an_unknown_user_is_empty(world: HotWorld) {
    let loaded = world.load().await;
    assert_eq!((loaded.version, loaded.live.len()), (0, 0));
    assert_eq!(loaded.cell, Cell::default());
}

async fn what_was_committed_is_loaded(mut world: HotWorld) {
    let (change, first) = world.addition(&HotUser::default());
    let cell = change.cell.clone();
    let version = world.commit(change).await.expect("commits");
    let loaded = world.load().await;
    assert!(version > 0);
    assert_eq!((loaded.version, &loaded.cell), (version, &cell));
    assert_eq!(loaded.live, [Arc::clone(&first)], "every field comes back as it went");

    let (change, second) = world.addition(&loaded);
    let newer = world.commit(change).await.expect("commits");
    let loaded = world.load().await;
    assert!(newer > version, "versions grow");
    assert!(loaded.cell.open_ids().eq([first.id, second.id]));
    assert_eq!(ids(&loaded), HashSet::from([first.id, second.id]));
}

async fn what_is_removed_is_gone(mut world: HotWorld) {
    let (change, first) = world.addition(&HotUser::default());
    world.commit(change).await.expect("commits");
    let (change, second) = world.addition(&world.load().await);
    world.commit(change).await.expect("commits");

    let loaded = world.load().await;
    let mut change = world.change(loaded.version, Cell::default());
    let never_stored = world.fixture.challenge().id;
    change.remove = vec![first.id, never_stored];
    world.commit(change).await.expect("commits");
    let loaded = world.load().await;
    assert_eq!(ids(&loaded), HashSet::from([second.id]));
    assert_eq!(loaded.cell, Cell::default());

    // one challenge takes another's place in one step
    let (mut change, third) = world.addition(&loaded);
    change.remove.push(second.id);
    world.commit(change).await.expect("commits");
    assert_eq!(ids(&world.load().await), HashSet::from([third.id]));
}

async fn a_stale_version_is_a_conflict_and_changes_nothing(mut world: HotWorld) {
    let (change, first) = world.addition(&HotUser::default());
    let old = world.commit(change).await.expect("commits");
    let (change, second) = world.addition(&world.load().await);
    world.commit(change).await.expect("commits");
    let before = world.load().await;
    for version in [0, old, before.version + 1] {
        let mut change = world.change(version, Cell::default());
        change.add.push(world.fixture.challenge());
        change.remove.push(first.id);
        assert!(is_conflict(&world.commit(change).await), "{version}");
    }
    let after = world.load().await;
    assert_eq!((after.version, &after.cell), (before.version, &before.cell));
    assert_eq!(ids(&after), HashSet::from([first.id, second.id]));
}

async fn a_version_of_a_user_who_is_not_stored_is_a_conflict(mut world: HotWorld) {
    let change = world.change(1, Cell::default());
    assert!(is_conflict(&world.commit(change).await));
    assert_eq!(world.load().await.version, 0);
}

async fn a_retry_with_the_same_op_id_is_success_and_happens_once(mut world: HotWorld) {
    let (change, challenge) = world.addition(&HotUser::default());
    let version = world.commit(change.clone()).await.expect("commits");
    let again = world.commit(change.clone()).await;
    assert_eq!(again, Ok(version), "a retry is told the version it made");
    let loaded = world.load().await;
    assert_eq!(loaded.version, version);
    assert!(loaded.cell.open_ids().eq([challenge.id]));
    assert_eq!(ids(&loaded), HashSet::from([challenge.id]));
    // the same change under another name is a stale one
    let mut other = change;
    other.op_id = world.fixture.bytes();
    assert!(is_conflict(&world.commit(other).await));
}

async fn a_derived_commit_is_loaded_too(mut world: HotWorld) {
    let (change, challenge) = world.addition(&HotUser::default());
    let version = world.commit(change).await.expect("commits");
    let mut change = world.change(version, Cell::default());
    change.remove.push(challenge.id);
    change.derived = true;
    let version = world.commit(change).await.expect("commits");
    let loaded = world.load().await;
    assert_eq!((loaded.version, loaded.live.len()), (version, 0));
    assert_eq!(loaded.cell, Cell::default());
    // and the next commit stands on it
    let (change, next) = world.addition(&loaded);
    world.commit(change).await.expect("commits");
    assert!(world.load().await.cell.open_ids().eq([next.id]));
}

async fn tenants_and_users_are_apart(mut world: HotWorld) {
    let (change, challenge) = world.addition(&HotUser::default());
    world.commit(change).await.expect("commits");
    let (tenant, user) = world.ids();
    let other_tenant = TenantId::from_bytes(world.fixture.bytes());
    let other_user = world.fixture.user().id;
    for (tenant, user) in [(other_tenant, user), (tenant, other_user)] {
        let loaded = world.hot.load(tenant, user).await.expect("loads");
        assert_eq!((loaded.version, loaded.live.len()), (0, 0));
    }
    assert_eq!(ids(&world.load().await), HashSet::from([challenge.id]));
}

/// As many live challenges as a user can have, decoys included.
const FULL: usize = 40;

async fn a_full_user_fits(mut world: HotWorld) {
    let mut expected = HashSet::new();
    for _ in 0..FULL {
        let loaded = world.load().await;
        let (change, challenge) = world.addition(&loaded);
        expected.insert(challenge.id);
        world.commit(change).await.expect("commits");
    }
    let loaded = world.load().await;
    assert_eq!(loaded.cell.open.len(), FULL);
    assert_eq!(ids(&loaded), expected);
}

async fn a_dropped_rider_undoes_its_commit(mut world: HotWorld) {
    let (change, first) = world.addition(&HotUser::default());
    world.commit(change).await.expect("commits");
    let before = world.load().await;
    let (change, _) = world.addition(&before);
    let committed = world.hot.commit(change).await.expect("commits");
    if committed.rider.is_none() {
        return; // stored: there is nothing to drop
    }
    drop(committed);
    let after = world.load().await;
    assert_eq!(after.cell, before.cell);
    assert_eq!(ids(&after), HashSet::from([first.id]));
    // the place is free: whoever loads now can commit
    let (change, next) = world.addition(&after);
    world.commit(change).await.expect("commits");
    let loaded = world.load().await;
    assert!(loaded.cell.open_ids().eq([first.id, next.id]));
}

/// Loads, adds `challenge` to the cell, commits; again on conflict, as the use cases do.
async fn add_with_retries(hot: &dyn Hot, change: HotChange, challenge: &Challenge) -> Committed {
    loop {
        let loaded = hot.load(change.tenant, change.user).await.expect("loads while others write");
        let mut next = change.clone();
        next.version = loaded.version;
        next.cell = with(&loaded.cell, challenge);
        match hot.commit(next).await {
            Ok(committed) => return committed,
            Err(HotError::Conflict(_)) => tokio::task::yield_now().await,
            Err(HotError::Store(error)) => panic!("commit under load: {error}"),
        }
    }
}

const RACERS: usize = 64;

/// Races writers of one user; `keep` says whose rider is flushed. What should be stored after it.
async fn race_writers(world: &mut HotWorld, keep: fn(usize) -> bool) -> HashSet<ChallengeId> {
    let challenges: Vec<_> = (0..RACERS).map(|_| world.fixture.challenge()).collect();
    let mut kept = HashSet::new();
    let racing = race(RACERS, |index| {
        let challenge = Arc::clone(&challenges[index]);
        let mut change = world.change(0, Cell::default());
        change.add.push(Arc::clone(&challenge));
        let hot = Arc::clone(&world.hot);
        async move {
            let committed = add_with_retries(&*hot, change, &challenge).await;
            if keep(index) || committed.rider.is_none() {
                flush(&*hot, committed).await;
                Some(challenge.id)
            } else {
                None
            }
        }
    });
    kept.extend(within("the race", racing).await.into_iter().flatten());
    kept
}

async fn racing_committers_lose_no_update(mut world: HotWorld) {
    let kept = race_writers(&mut world, |_| true).await;
    let loaded = world.load().await;
    assert_eq!(kept.len(), RACERS);
    assert_eq!(loaded.cell.open.len(), RACERS, "each update is in, once");
    assert_eq!(ids(&loaded), kept);
}

async fn riders_that_are_dropped_among_others_lose_nothing(mut world: HotWorld) {
    let kept = race_writers(&mut world, |index| index % 3 != 0).await;
    let loaded = world.load().await;
    let open: HashSet<_> = loaded.cell.open_ids().collect();
    assert_eq!(open, kept, "those that were flushed, and no others");
    assert_eq!(ids(&loaded), kept);
}

async fn of_racing_commits_of_one_version_one_wins(mut world: HotWorld) {
    let racing = race(RACERS, |_| {
        let (change, challenge) = world.addition(&HotUser::default());
        let hot = Arc::clone(&world.hot);
        async move {
            match hot.commit(change).await {
                Ok(committed) => {
                    flush(&*hot, committed).await;
                    Some(challenge.id)
                }
                Err(HotError::Conflict(_)) => None,
                Err(HotError::Store(error)) => panic!("commit under load: {error}"),
            }
        }
    });
    let results = within("the race", racing).await;
    let winners: HashSet<_> = results.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(ids(&world.load().await), winners);
}

fn ids(loaded: &HotUser) -> HashSet<ChallengeId> {
    let ids: HashSet<_> = loaded.live.iter().map(|challenge| challenge.id).collect();
    assert_eq!(ids.len(), loaded.live.len(), "no challenge is live twice");
    ids
}

fn is_conflict(result: &Result<u64, HotError>) -> bool {
    matches!(result, Err(HotError::Conflict(_)))
}
