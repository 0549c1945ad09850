//! Redeeming: exactly once, in time, by the right browser.

use std::sync::Arc;
use std::time::Duration;

use domain::audit::Event;
use domain::challenge::{
    COLLECT_WINDOW, Challenge, Collect, Decided, Decision, MAX_WRONG_SESSIONS, Proof, State,
};
use ports::{Change, Effect, Redeem, Redeemed, Settle, Settled};
use statement::FactorId;

use super::count;
use crate::backend::World;
use crate::rules::{race, within};

const MOMENT: Duration = Duration::from_millis(1);

impl World {
    fn wrong_session(&mut self, challenge: &Challenge) -> Redeem {
        Redeem { session: self.fixture.bytes(), ..self.redeem_item(challenge) }
    }

    async fn collect(&self, challenge: &Challenge) -> Collect {
        match self.state(challenge).await {
            State::Decided(decided) => decided.collect,
            State::Pending => panic!("it was decided"),
        }
    }

    async fn lapse(&self, challenge: &Challenge) -> bool {
        let audit = self.about(challenge, Event::ChallengeLapsed);
        let effects = vec![Effect::RaiseEpoch];
        let lapsed = self.backend.ledger.lapse(challenge.id, effects, audit);
        lapsed.await.expect("writes")
    }
}

pub(super) async fn an_approval_is_redeemed_exactly_once(mut world: World) {
    let device = world.enrol().await;
    let (challenge, decided) = world.approved(&device).await;
    let item = world.redeem_item(&challenge);
    let redeemed = Decided { collect: Collect::Redeemed, ..decided };
    assert_eq!(world.redeem(item.clone()).await, Redeemed::Redeemed(redeemed));
    assert_eq!(world.state(&challenge).await, State::Decided(redeemed));
    assert_eq!(world.redeem(item.clone()).await, Redeemed::Already);
    world.backend.clock.advance(COLLECT_WINDOW);
    assert_eq!(world.redeem(item.clone()).await, Redeemed::Already);
    let rows = world.told(Event::ChallengeRedeemed).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].public, item.audit.public);
}

pub(super) async fn what_is_not_approved_is_not_redeemed(mut world: World) {
    let device = world.enrol().await;
    let pending = world.open().await;
    let item = world.redeem_item(&pending);
    assert_eq!(world.redeem(item.clone()).await, Redeemed::NotApproved);
    for decision in [
        Decision::Denied,
        Decision::Reported,
        Decision::Mismatch,
        Decision::Cancelled,
        Decision::Superseded,
    ] {
        let challenge = world.open().await;
        world.settle(world.answer(&challenge, &device, decision)).await;
        let item = world.redeem_item(&challenge);
        assert_eq!(world.redeem(item).await, Redeemed::NotApproved);
    }
    world.backend.clock.advance_to(pending.expires);
    assert_eq!(world.redeem(item.clone()).await, Redeemed::NotApproved);
    world.settle(world.decision(&pending, Decision::Expired)).await;
    assert_eq!(world.redeem(item).await, Redeemed::NotApproved);
    let never_opened = world.fixture.challenge();
    let item = world.redeem_item(&never_opened);
    assert_eq!(world.redeem(item).await, Redeemed::Unknown);
    for event in [Event::ChallengeRedeemed, Event::RedeemRefused] {
        assert!(world.told(event).await.is_empty());
    }
}

const RACERS: usize = 64;

async fn race_redeems(world: &World, items: &[Redeem]) -> Vec<Redeemed> {
    let racing = race(items.len(), |index| {
        let (ledger, item) = (world.ledger(), items[index].clone());
        async move { ledger.redeem(item).await.expect("redeems") }
    });
    within("the race", racing).await
}

pub(super) async fn of_racing_redeems_one_wins(mut world: World) {
    let device = world.enrol().await;
    let (challenge, _) = world.approved(&device).await;
    let items = vec![world.redeem_item(&challenge); RACERS];
    let told = race_redeems(&world, &items).await;
    assert_eq!(count(&told, &Redeemed::Already), RACERS - 1, "{told:?}");
    assert_eq!(world.told(Event::ChallengeRedeemed).await.len(), 1);
    assert_eq!(world.collect(&challenge).await, Collect::Redeemed);
}

pub(super) async fn the_window_ends_a_minute_after_the_decision(mut world: World) {
    let device = world.enrol().await;
    let (in_time, decided) = world.approved(&device).await;
    let (late, _) = world.approved(&device).await;
    let clock = world.backend.clock.clone();
    let end = decided.at.plus(COLLECT_WINDOW);
    clock.advance_to(end.minus(MOMENT));
    let item = world.redeem_item(&in_time);
    assert!(matches!(world.redeem(item).await, Redeemed::Redeemed(_)));
    clock.advance_to(end);
    let item = world.redeem_item(&late);
    assert_eq!(world.redeem(item).await, Redeemed::Lapsed);
    let record = world.find(late.id).await.expect("is there");
    let State::Decided(stands) = record.state else {
        panic!("it was decided");
    };
    assert_eq!(stands.decision, Decision::Approved, "decided for ever");
    assert_eq!(stands.collect, Collect::Open, "lapses by time aren't shown");
    assert_eq!(world.told(Event::ChallengeRedeemed).await.len(), 1);
}

pub(super) async fn four_wrong_sessions_are_forgiven_and_the_fifth_lapses(mut world: World) {
    let device = world.enrol().await;
    for wrong in [MAX_WRONG_SESSIONS - 1, MAX_WRONG_SESSIONS] {
        let (challenge, _) = world.approved(&device).await;
        for _ in 0..wrong {
            let item = world.wrong_session(&challenge);
            assert_eq!(world.redeem(item).await, Redeemed::WrongSession);
        }
        let right = world.redeem_item(&challenge);
        if wrong == MAX_WRONG_SESSIONS {
            assert_eq!(world.collect(&challenge).await, Collect::Lapsed);
            assert_eq!(world.redeem(right).await, Redeemed::Lapsed);
            let item = world.wrong_session(&challenge);
            assert_eq!(world.redeem(item).await, Redeemed::Lapsed);
        } else {
            assert!(matches!(world.redeem(right).await, Redeemed::Redeemed(_)));
        }
    }
    let refused = world.told(Event::RedeemRefused).await.len();
    assert_eq!(refused, usize::from(2 * MAX_WRONG_SESSIONS - 1));
}

pub(super) async fn racing_wrong_sessions_are_counted_exactly(mut world: World) {
    let device = world.enrol().await;
    let (challenge, _) = world.approved(&device).await;
    let items: Vec<_> = (0..RACERS).map(|_| world.wrong_session(&challenge)).collect();
    let told = race_redeems(&world, &items).await;
    let allowed = usize::from(MAX_WRONG_SESSIONS);
    assert_eq!(count(&told, &Redeemed::WrongSession), allowed);
    assert_eq!(count(&told, &Redeemed::Lapsed), RACERS - allowed);
    let right = world.redeem_item(&challenge);
    assert_eq!(world.redeem(right).await, Redeemed::Lapsed);
}

pub(super) async fn a_report_lapses_what_was_not_redeemed(mut world: World) {
    let device = world.enrol().await;
    let epoch = world.record().await.user.epoch;
    let (challenge, decided) = world.approved(&device).await;
    assert!(world.lapse(&challenge).await);
    let lapsed = Decided { collect: Collect::Lapsed, ..decided };
    assert_eq!(world.state(&challenge).await, State::Decided(lapsed));
    let item = world.redeem_item(&challenge);
    assert_eq!(world.redeem(item).await, Redeemed::Lapsed);
    assert_eq!(world.record().await.user.epoch, epoch + 1, "with effects");
    assert_eq!(world.told(Event::ChallengeLapsed).await.len(), 1);
}

pub(super) async fn a_lapse_of_anything_else_leaves_nothing_behind(mut world: World) {
    let device = world.enrol().await;
    let pending = world.open().await;
    let denied = world.open().await;
    world.settle(world.answer(&denied, &device, Decision::Denied)).await;
    let (redeemed, _) = world.approved(&device).await;
    world.redeem(world.redeem_item(&redeemed)).await;
    let never_opened = world.fixture.challenge();
    let epoch = world.record().await.user.epoch;
    for challenge in [&pending, &denied, &redeemed, &never_opened] {
        assert!(!world.lapse(challenge).await);
    }
    assert_eq!(world.state(&pending).await, State::Pending);
    assert_eq!(world.collect(&redeemed).await, Collect::Redeemed);
    assert_eq!(world.record().await.user.epoch, epoch, "no effects");

    let (twice, _) = world.approved(&device).await;
    assert!(world.lapse(&twice).await);
    assert!(!world.lapse(&twice).await, "once is all there is");
    assert_eq!(world.told(Event::ChallengeLapsed).await.len(), 1);
}

pub(super) async fn a_redeem_and_a_lapse_never_both_win(mut world: World) {
    let device = world.enrol().await;
    for _ in 0..8 {
        let (challenge, _) = world.approved(&device).await;
        let (redeem, audit) =
            (world.redeem_item(&challenge), world.about(&challenge, Event::ChallengeLapsed));
        let racing = race(2, |index| {
            let ledger = world.ledger();
            let (redeem, audit, id) = (redeem.clone(), audit.clone(), challenge.id);
            async move {
                if index == 0 {
                    let told = ledger.redeem(redeem).await.expect("redeems");
                    matches!(told, Redeemed::Redeemed(_))
                } else {
                    let lapsed = ledger.lapse(id, Vec::new(), audit).await;
                    lapsed.expect("writes")
                }
            }
        });
        let won = within("the race", racing).await;
        assert_ne!(won[0], won[1]);
        let expected = if won[0] { Collect::Redeemed } else { Collect::Lapsed };
        assert_eq!(world.collect(&challenge).await, expected);
    }
}

pub(super) async fn a_revoked_device_s_approvals_lapse(mut world: World) {
    let [revoked, other] = [world.enrol().await, world.enrol().await];
    let (by_revoked, _) = world.approved(&revoked).await;
    let (by_other, _) = world.approved(&other).await;
    let (redeemed, _) = world.approved(&revoked).await;
    world.redeem(world.redeem_item(&redeemed)).await;
    world.revoke_device(&revoked).await;
    assert_eq!(world.collect(&by_revoked).await, Collect::Lapsed);
    assert_eq!(world.collect(&redeemed).await, Collect::Redeemed);
    let item = world.redeem_item(&by_revoked);
    assert_eq!(world.redeem(item).await, Redeemed::Lapsed);
    let item = world.redeem_item(&by_other);
    assert!(matches!(world.redeem(item).await, Redeemed::Redeemed(_)));
}

pub(super) async fn an_approval_by_push_and_code_lapses_with_its_device(mut world: World) {
    let [revoked, other] = [world.enrol().await, world.enrol().await];
    let mut challenges = Vec::new();
    for device in [&revoked, &other] {
        let challenge = world.open().await;
        let proof = Proof::Both(device.id, FactorId::from_bytes([7; 16]));
        let answer = world.answer(&challenge, device, Decision::Approved);
        let settled = world.settle(Settle { proof: Some(proof), ..answer }).await;
        assert!(matches!(settled, Settled::Settled(decided) if decided.proof == Some(proof)));
        challenges.push((challenge, proof));
    }
    world.revoke_device(&revoked).await;
    assert_eq!(world.collect(&challenges[0].0).await, Collect::Lapsed);
    let item = world.redeem_item(&challenges[0].0);
    assert_eq!(world.redeem(item).await, Redeemed::Lapsed);
    let item = world.redeem_item(&challenges[1].0);
    let Redeemed::Redeemed(decided) = world.redeem(item).await else { panic!("it stands") };
    assert_eq!(decided.proof, Some(challenges[1].1), "it comes back as it went");
}

pub(super) async fn a_reset_user_s_approvals_lapse(mut world: World) {
    let device = world.enrol().await;
    let (challenge, _) = world.approved(&device).await;
    // somebody else's approval stays
    let somebody = world.fixture.user();
    world.apply(Change::CreateUser(somebody.clone()), Event::UserCreated).await;
    let mut other = world.fixture.plain_challenge();
    other.user = somebody.id;
    let other = Arc::new(other);
    world.open_this(&other).await;
    world.settle(world.decision(&other, Decision::Approved)).await;

    let now = world.backend.clock.now();
    let change = Change::ResetUser(world.fixture.user.id, now);
    world.apply(change, Event::FactorReset).await;
    assert_eq!(world.collect(&challenge).await, Collect::Lapsed);
    let item = world.redeem_item(&challenge);
    assert_eq!(world.redeem(item).await, Redeemed::Lapsed);
    let item = world.redeem_item(&other);
    assert!(matches!(world.redeem(item).await, Redeemed::Redeemed(_)));
}
