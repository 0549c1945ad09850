//! The audit: a row for every write, in lanes without gaps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::audit::{Entry, Event, Private};
use domain::challenge::Decision;
use domain::directory::Tenant;
use ports::{AuditFilter, AuditRow, Change};
use statement::{LaneHead, TenantId};

use crate::backend::World;
use crate::rules::{race, within};

impl World {
    async fn record_entry(&self, entry: Entry) {
        assert_eq!(self.backend.ledger.record(entry).await, Ok(()));
    }

    async fn rows_of(&self, tenant: TenantId) -> Vec<AuditRow> {
        self.read(AuditFilter { tenant, ..self.filter() }).await
    }
}

pub(super) async fn every_write_has_its_row_and_rows_come_as_they_went(mut world: World) {
    let set_up = world.audit_rows().await;
    let told: Vec<_> = set_up.iter().map(|row| row.public.event).collect();
    assert_eq!(told, [Event::TenantCreated, Event::IntegrationCreated, Event::UserCreated]);
    world.backend.clock.advance(Duration::from_millis(123));
    let challenge = world.open().await;
    let refusal = world
        .about(&challenge, Event::AnswerRefused)
        .with(|public| public.cause = Some("forged".to_owned()))
        .privately(|private| {
            private.address = Some("203.0.113.9".to_owned());
            private.agent = Some("Firefox \u{1F98A}".to_owned());
        });
    world.record_entry(refusal.clone()).await;
    let bare = Entry::new(world.fixture.tenant.id, Event::Alert);
    world.record_entry(bare.clone()).await;

    let rows = world.audit_rows().await.split_off(set_up.len());
    let created = world.about(&challenge, Event::ChallengeCreated);
    for (row, entry) in rows.iter().zip([&created, &refusal, &bare]) {
        assert_eq!(row.tenant, entry.tenant);
        assert_eq!(row.at, world.backend.clock.now(), "the ledger's clock");
        assert_eq!(row.public, entry.public);
        let private = row.private.clone().unwrap_or_default();
        assert_eq!(private, entry.private);
    }
    assert_eq!(rows.len(), 3);
    assert_eq!(bare.private, Private::default());
}

/// Checks that each lane counts from one without a gap, and returns where each stands.
fn lanes(rows: &[AuditRow]) -> BTreeMap<u64, u64> {
    let mut heads = BTreeMap::new();
    for row in rows {
        let (lane, seq) = row.id.position();
        let head = heads.entry(lane).or_insert(0);
        assert_eq!(seq, *head + 1, "a gap, or out of order, in lane {lane}");
        *head = seq;
    }
    heads
}

const RACERS: usize = 64;

pub(super) async fn lanes_have_no_gaps_and_tenants_have_their_own(mut world: World) {
    let own = world.fixture.tenant.id;
    let other = Tenant {
        id: TenantId::from_bytes(world.fixture.bytes()),
        name: "another tenant".to_owned(),
        created: world.backend.clock.now(),
    };
    let audit = vec![Entry::new(other.id, Event::TenantCreated)];
    let directory = Arc::clone(&world.backend.directory);
    let made = directory.apply(Change::CreateTenant(other.clone()), audit);
    assert_eq!(made.await, Ok(()));
    let before = [own, other.id].map(|tenant| (tenant, world.rows_of(tenant)));

    let mut entries: Vec<_> = (0..RACERS)
        .map(|n| {
            let tenant = [own, other.id][n % 2];
            Entry::new(tenant, Event::CodeFailed)
                .with(|public| public.cause = Some(format!("try {n}")))
        })
        .collect();
    let mut counts = Vec::new();
    for (tenant, rows) in before {
        counts.push((tenant, rows.await.len()));
    }
    let racing = race(RACERS, |_| {
        let (ledger, entry) = (world.ledger(), entries.pop().expect("enough"));
        async move { ledger.record(entry).await }
    });
    for done in within("the race", racing).await {
        assert_eq!(done, Ok(()));
    }
    for (tenant, before) in counts {
        let rows = world.rows_of(tenant).await;
        assert_eq!(rows.len(), before + RACERS / 2);
        assert!(rows.iter().all(|row| row.tenant == tenant));
        lanes(&rows);
    }
}

pub(super) async fn rows_are_filtered_and_paged(mut world: World) {
    let first = world.open().await;
    let second = world.open().await;
    world.backend.clock.advance(Duration::from_secs(5));
    let later = world.backend.clock.now();
    world.settle(world.decision(&first, Decision::Cancelled)).await;
    let foreign = Entry::new(world.fixture.tenant.id, Event::CodeFailed).with(|public| {
        public.user = Some(world.fixture.user().id);
        public.integration = Some(world.fixture.integration().id);
    });
    world.record_entry(foreign.clone()).await;
    let all = world.audit_rows().await;
    let ids = |rows: &[AuditRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();

    let plain = world.filter();
    let filters = [
        AuditFilter { event: Some(Event::ChallengeCreated), ..plain.clone() },
        AuditFilter { user: foreign.public.user, ..plain.clone() },
        AuditFilter { integration: Some(world.fixture.integration.id), ..plain.clone() },
        AuditFilter { challenge: Some(first.id), ..plain.clone() },
        AuditFilter { since: Some(later), ..plain.clone() },
        AuditFilter {
            challenge: Some(second.id),
            event: Some(Event::ChallengeDecided),
            ..plain.clone()
        },
        AuditFilter { tenant: TenantId::from_bytes(world.fixture.bytes()), ..plain.clone() },
    ];
    for (filter, expected) in filters.into_iter().zip([2, 1, 3, 2, 2, 0, 0]) {
        let wanted: Vec<_> = all.iter().filter(|row| matches(&filter, row)).cloned().collect();
        assert_eq!(world.read(filter.clone()).await, wanted, "{filter:?}");
        assert_eq!(wanted.len(), expected, "{filter:?}");
    }

    let mut paged = Vec::new();
    let mut filter = AuditFilter { limit: 2, ..plain };
    loop {
        let page = world.read(filter.clone()).await;
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        filter.after = Some(last.id);
        paged.extend(ids(&page));
    }
    assert_eq!(paged, ids(&all));
}

fn matches(filter: &AuditFilter, row: &AuditRow) -> bool {
    fn is<T: PartialEq>(wanted: Option<T>, found: Option<T>) -> bool {
        wanted.is_none() || wanted == found
    }
    filter.tenant == row.tenant
        && filter.since.is_none_or(|since| row.at >= since)
        && is(filter.event, Some(row.public.event))
        && is(filter.user, row.public.user)
        && is(filter.integration, row.public.integration)
        && is(filter.challenge, row.public.challenge)
}

pub(super) async fn checkpoints_name_the_lanes_heads_and_chain(world: World) {
    let tenant = world.fixture.tenant.id;
    let ledger = world.ledger();
    let last = async || {
        let last = ledger.last_checkpoint(tenant).await.expect("reads");
        let signed = last?;
        let verified = signed.checkpoint.verify(world.backend.vault.audit_key(), &signed.signature);
        assert_eq!(verified, Ok(()));
        assert_eq!(signed.checkpoint.tenant, tenant);
        Some(signed.checkpoint)
    };
    assert!(last().await.is_none());
    assert!(ledger.checkpoint().await.expect("signs") >= 1);
    let first = last().await.expect("a checkpoint");
    assert_eq!((first.number, first.previous), (1, [0; 32]));
    assert_eq!(ledger.checkpoint().await, Ok(0), "nothing new, nothing signed");

    world.backend.clock.advance(Duration::from_secs(60));
    let entry = world.fixture.entry(Event::Alert);
    world.record_entry(entry).await;
    assert_eq!(ledger.checkpoint().await, Ok(1), "this tenant alone");
    let second = last().await.expect("a checkpoint");
    assert_eq!((second.number, second.previous), (2, first.hash()));
    assert_eq!(second.at, world.backend.clock.now());
    let heads = lanes(&world.rows_of(tenant).await);
    let named: BTreeMap<_, _> =
        second.heads.iter().map(|LaneHead { lane, seq, .. }| (*lane, *seq)).collect();
    assert_eq!(named, heads);
    assert_eq!(named.len(), second.heads.len(), "each lane once");
}
