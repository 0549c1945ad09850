//! Decisions: exactly one per challenge, for ever.

use std::sync::Arc;
use std::time::Duration;

use domain::audit::Event;
use domain::challenge::{Challenge, Collect, Decided, Decision, Proof, State};
use ports::{Change, Settle, Settled};

use super::{count, decided};
use crate::backend::World;
use crate::rules::{race, within};

pub(super) async fn every_decision_settles_once_and_for_ever(mut world: World) {
    let device = world.enrol().await;
    for decision in Decision::ALL {
        let challenge = world.open().await;
        let mut item = match decision {
            Decision::Approved | Decision::Denied | Decision::Reported | Decision::Mismatch => {
                world.answer(&challenge, &device, decision)
            }
            Decision::Expired | Decision::Cancelled | Decision::Superseded => {
                world.decision(&challenge, decision)
            }
        };
        if decision == Decision::Expired {
            world.backend.clock.advance_to(challenge.expires);
        }
        let stands = Decided {
            decision,
            at: world.backend.clock.now(),
            proof: item.proof,
            collect: Collect::Open,
        };
        assert_eq!(world.settle(item.clone()).await, Settled::Settled(stands));
        let found = world.find(challenge.id).await.expect("is there");
        assert_eq!(found.state, State::Decided(stands));
        let rows = world.told(Event::ChallengeDecided).await;
        let row = rows.last().expect("a row");
        assert_eq!(found.decided, Some(row.id));
        assert_eq!(row.public, item.audit.public);

        world.backend.clock.advance(Duration::from_millis(7));
        assert_eq!(world.settle(item.clone()).await, Settled::Already(stands));
        item.decision = Decision::Cancelled;
        assert_eq!(world.settle(item).await, Settled::Already(stands));
        let told = world.told(Event::ChallengeDecided).await;
        assert_eq!(told.len(), rows.len(), "no row without a decision");
    }
}

pub(super) async fn alerts_are_written_with_their_decision_or_not_at_all(mut world: World) {
    let challenge = world.open().await;
    let mut item = world.decision(&challenge, Decision::Cancelled);
    item.alerts = vec![world.about(&challenge, Event::Alert), world.fixture.entry(Event::Alert)];
    world.settle(item.clone()).await;
    let rows = world.told(Event::Alert).await;
    let expected: Vec<_> = item.alerts.iter().map(|alert| alert.public.clone()).collect();
    let told: Vec<_> = rows.iter().map(|row| row.public.clone()).collect();
    assert_eq!(told, expected, "in order");
    world.settle(item).await;
    assert_eq!(world.told(Event::Alert).await.len(), 2, "it was decided before");
}

pub(super) async fn a_decided_challenge_has_no_number(mut world: World) {
    let challenge = world.open().await;
    world.settle(world.decision(&challenge, Decision::Cancelled)).await;
    let found = world.find(challenge.id).await.expect("is there");
    assert!(found.challenge.number.is_empty(), "erased at the decision");
    let mut rest = (*challenge).clone();
    rest.number.clear();
    assert_eq!(*found.challenge, rest, "and nothing else");
}

pub(super) async fn an_unknown_challenge_is_not_settled(mut world: World) {
    let challenge = world.fixture.challenge();
    let item = world.decision(&challenge, Decision::Denied);
    assert_eq!(world.settle(item).await, Settled::Unknown);
    assert!(world.told(Event::ChallengeDecided).await.is_empty());
}

pub(super) async fn the_ledger_s_clock_judges_at_the_boundary(mut world: World) {
    let device = world.enrol().await;
    let [last_moment, too_late] = [world.open().await, world.open().await];
    let clock = world.backend.clock.clone();
    let expiry = world.decision(&too_late, Decision::Expired);
    assert_eq!(world.settle(expiry.clone()).await, Settled::Early);

    clock.advance_to(last_moment.expires.minus(Duration::from_millis(1)));
    assert_eq!(world.settle(expiry.clone()).await, Settled::Early);
    let in_time = world.answer(&last_moment, &device, Decision::Approved);
    assert!(matches!(world.settle(in_time).await, Settled::Settled(_)));

    clock.advance_to(too_late.expires);
    for decision in [Decision::Approved, Decision::Denied, Decision::Reported, Decision::Mismatch] {
        let late = world.answer(&too_late, &device, decision);
        assert_eq!(world.settle(late).await, Settled::Late, "{decision:?}");
    }
    for decision in [Decision::Cancelled, Decision::Superseded] {
        let late = world.decision(&too_late, decision);
        assert_eq!(world.settle(late).await, Settled::Late, "{decision:?}");
    }
    assert_eq!(world.state(&too_late).await, State::Pending);
    assert!(matches!(world.settle(expiry).await, Settled::Settled(_)));
    let after = world.answer(&too_late, &device, Decision::Approved);
    let told = decided(world.settle(after).await).expect("told what stands");
    assert_eq!(told.decision, Decision::Expired, "expired beats late");
}

pub(super) async fn items_are_judged_alone_and_in_order(mut world: World) {
    let device = world.enrol().await;
    let [first, second] = [world.open().await, world.open().await];
    let never_opened = world.fixture.challenge();
    let settled = world
        .settle_all(vec![
            world.decision(&first, Decision::Superseded),
            world.decision(&never_opened, Decision::Denied),
            world.answer(&first, &device, Decision::Approved),
            world.decision(&second, Decision::Expired),
            world.answer(&second, &device, Decision::Approved),
        ])
        .await;
    let told = |settled| decided(settled).map(|decided| decided.decision);
    assert!(matches!(settled[0], Settled::Settled(_)));
    assert_eq!(settled[1], Settled::Unknown);
    assert!(matches!(settled[2], Settled::Already(_)));
    assert_eq!(told(settled[2]), Some(Decision::Superseded));
    assert_eq!(settled[3], Settled::Early);
    assert!(matches!(settled[4], Settled::Settled(_)));
    assert_eq!(settled.len(), 5);
    assert_eq!(world.told(Event::ChallengeDecided).await.len(), 2);
}

pub(super) async fn no_items_are_no_work(world: World) {
    assert_eq!(world.settle_all(Vec::new()).await, []);
}

pub(super) async fn a_device_that_is_not_active_decides_nothing(mut world: World) {
    let [revoked, active] = [world.enrol().await, world.enrol().await];
    let challenge = world.open().await;
    world.revoke_device(&revoked).await;
    let unknown = world.fixture.device();
    for device in [&revoked, &unknown] {
        for decision in [Decision::Approved, Decision::Denied, Decision::Reported] {
            let item = world.answer(&challenge, device, decision);
            assert_eq!(world.settle(item).await, Settled::DeviceRevoked);
        }
    }
    assert_eq!(world.state(&challenge).await, State::Pending);
    let item = world.answer(&challenge, &active, Decision::Approved);
    assert!(matches!(world.settle(item).await, Settled::Settled(_)));
}

const RACERS: usize = 100;

/// Races `items`; what each was told.
async fn race_items(world: &World, items: &[Settle]) -> Vec<Settled> {
    let racing = race(items.len(), |index| {
        let (ledger, item) = (world.ledger(), items[index].clone());
        async move { ledger.settle(vec![item]).await.expect("settles")[0] }
    });
    within("the race", racing).await
}

/// Exactly one settled; everybody who was told a decision was told that one. It stands.
async fn one_won(world: &World, challenge: &Challenge, told: &[Settled]) -> Decided {
    let winners: Vec<_> = told.iter().filter(|told| matches!(told, Settled::Settled(_))).collect();
    assert_eq!(winners.len(), 1, "{told:?}");
    let stands = decided(*winners[0]).expect("a decision");
    for told in told {
        assert!(decided(*told).is_none_or(|told| told == stands), "{told:?}");
    }
    assert_eq!(world.state(challenge).await, State::Decided(stands));
    stands
}

pub(super) async fn of_racing_decisions_one_wins(mut world: World) {
    let device = world.enrol().await;
    for round in 0..4_usize {
        let challenge = world.open().await;
        let items: Vec<_> = (0..RACERS)
            .map(|n| match (n + round) % 6 {
                0 => world.answer(&challenge, &device, Decision::Approved),
                1 => world.answer(&challenge, &device, Decision::Denied),
                2 => world.answer(&challenge, &device, Decision::Reported),
                3 => world.answer(&challenge, &device, Decision::Mismatch),
                4 => world.decision(&challenge, Decision::Expired),
                _ => world.decision(&challenge, Decision::Superseded),
            })
            .collect();
        let told = race_items(&world, &items).await;
        let stands = one_won(&world, &challenge, &told).await;
        assert_ne!(stands.decision, Decision::Expired, "it hadn't expired");
        // an expiry that came too early may have been told so, or what had been decided by then
        let refused = count(&told, &Settled::Early);
        assert_eq!(told.iter().filter_map(|t| decided(*t)).count() + refused, RACERS);
        assert_eq!(world.told(Event::ChallengeDecided).await.len(), round + 1);
    }
}

pub(super) async fn racing_past_the_expiry_never_approves_late(mut world: World) {
    let device = world.enrol().await;
    for _ in 0..4 {
        let challenge = world.open().await;
        let clock = world.backend.clock.clone();
        clock.advance_to(challenge.expires.minus(Duration::from_millis(1)));
        let approve = world.answer(&challenge, &device, Decision::Approved);
        let expire = world.decision(&challenge, Decision::Expired);
        let racing = race(RACERS, |index| {
            let (ledger, clock, expires) = (world.ledger(), clock.clone(), challenge.expires);
            let item = match index % 2 {
                0 => approve.clone(),
                _ => expire.clone(),
            };
            async move {
                if index == RACERS / 2 {
                    clock.advance_to(expires);
                }
                ledger.settle(vec![item]).await.expect("settles")[0]
            }
        });
        let mut told = within("the race", racing).await;
        // if all expiries came early and all approvals late, the sweep comes next
        told.push(world.settle(expire).await);
        let stands = one_won(&world, &challenge, &told).await;
        let in_time = stands.at < challenge.expires;
        assert_eq!(in_time, stands.decision == Decision::Approved, "{stands:?}");
    }
}

pub(super) async fn racing_batches_of_one_user_settle_each_challenge_once(mut world: World) {
    let device = world.enrol().await;
    let mut challenges = Vec::new();
    for _ in 0..8 {
        challenges.push(world.open().await);
    }
    let batches: Vec<Vec<Settle>> = (0..24)
        .map(|n| {
            let decision = [Decision::Approved, Decision::Denied][n % 2];
            let mut items: Vec<_> = challenges
                .iter()
                .map(|challenge| world.answer(challenge, &device, decision))
                .collect();
            items.rotate_left(n % 8);
            items
        })
        .collect();
    let racing = race(batches.len(), |index| {
        let (ledger, items) = (world.ledger(), batches[index].clone());
        async move {
            let ids: Vec<_> = items.iter().map(|item| item.challenge).collect();
            let told = ledger.settle(items).await.expect("settles");
            ids.into_iter().zip(told).collect::<Vec<_>>()
        }
    });
    let told: Vec<_> = within("the race", racing).await.concat();
    for challenge in &challenges {
        let told: Vec<_> =
            told.iter().filter(|(id, _)| *id == challenge.id).map(|(_, told)| *told).collect();
        assert_eq!(told.len(), batches.len());
        one_won(&world, challenge, &told).await;
    }
    let rows = world.told(Event::ChallengeDecided).await;
    assert_eq!(rows.len(), challenges.len());
}

pub(super) async fn a_revocation_and_an_approval_never_both_win(mut world: World) {
    for _ in 0..8 {
        let device = world.enrol().await;
        let challenge = world.open().await;
        let approve = world.answer(&challenge, &device, Decision::Approved);
        let (ledger, directory) = (world.ledger(), Arc::clone(&world.backend.directory));
        let now = world.backend.clock.now();
        let audit = vec![world.fixture.entry(Event::DeviceRevoked)];
        let racing = race(2, |index| {
            let (ledger, directory) = (Arc::clone(&ledger), Arc::clone(&directory));
            let (approve, audit, id) = (approve.clone(), audit.clone(), device.id);
            async move {
                if index == 0 {
                    Some(ledger.settle(vec![approve]).await.expect("settles")[0])
                } else {
                    let change = Change::RevokeDevice(id, now);
                    directory.apply(change, audit).await.expect("revokes");
                    None
                }
            }
        });
        let settled = within("the race", racing).await[0].expect("an answer");
        // either it came too late, or the revocation found an approval and lapsed it
        match (settled, world.state(&challenge).await) {
            (Settled::DeviceRevoked, State::Pending) => {}
            (Settled::Settled(_), State::Decided(stands)) => {
                assert_eq!(stands.proof, Some(Proof::Push(device.id)));
                assert_eq!(stands.collect, Collect::Lapsed);
            }
            other => panic!("{other:?}"),
        }
    }
}
