//! What a decision does beside deciding: all of it, or none.

use domain::attempts::{Budgets, Counter, Lane};
use domain::audit::Event;
use domain::challenge::{Challenge, Decision, Proof, State};
use domain::directory::{Device, StoredCode, TotpFactor};
use ports::{Change, Counted, Effect, Settle, Settled};

use super::count;
use crate::backend::World;
use crate::rules::{race, within};

impl World {
    /// A TOTP factor of the user, stored.
    async fn with_totp(&mut self) -> TotpFactor {
        let factor = self.fixture.totp();
        let change = Change::PutTotp(self.fixture.user.id, factor.clone());
        self.apply(change, Event::FactorCreated).await;
        factor
    }

    async fn with_codes(&mut self) -> Vec<StoredCode> {
        let codes = self.fixture.recovery_codes();
        let change = Change::PutRecoveryCodes(self.fixture.user.id, codes.clone());
        self.apply(change, Event::FactorCreated).await;
        codes
    }

    fn by_totp(&self, challenge: &Challenge, factor: &TotpFactor, step: u64) -> Settle {
        Settle {
            proof: Some(Proof::Totp(factor.id)),
            effects: vec![Effect::BurnStep {
                factor: factor.id,
                step,
                lane: Lane::Own,
                budgets: Budgets::DEFAULT,
            }],
            ..self.decision(challenge, Decision::Approved)
        }
    }

    fn by_code(&self, challenge: &Challenge, code: &StoredCode) -> Settle {
        Settle {
            proof: Some(Proof::RecoveryCode(code.factor)),
            effects: vec![Effect::SpendCode { code: code.id }],
            ..self.decision(challenge, Decision::Approved)
        }
    }

    async fn try_once(&self, counter: Counter) -> Counted {
        let counted = self.backend.ledger.count_attempt(counter, Budgets::DEFAULT).await;
        counted.expect("counts")
    }

    /// Ends a challenge with effects and nothing else.
    async fn ends_with(&mut self, device: &Device, effects: Vec<Effect>) {
        let challenge = self.open().await;
        let item = Settle { effects, ..self.answer(&challenge, device, Decision::Mismatch) };
        assert!(matches!(self.settle(item).await, Settled::Settled(_)));
    }
}

const fn is_settled(settled: Settled) -> bool {
    matches!(settled, Settled::Settled(_))
}

pub(super) async fn a_totp_step_is_accepted_once_and_never_an_older_one(mut world: World) {
    let factor = world.with_totp().await;
    let counter = Counter::Totp(world.fixture.user.id, Lane::Own);
    for _ in 0..3 {
        world.try_once(counter).await;
    }
    let challenge = world.open().await;
    let settled = world.settle(world.by_totp(&challenge, &factor, 100)).await;
    assert!(is_settled(settled));
    let stored = world.record().await.totp.clone().expect("a factor");
    assert_eq!((stored.last_step, stored.locked), (100, false));
    assert_eq!(world.failures(counter).await, 0, "success resets");

    for step in [100, 99, 1] {
        let challenge = world.open().await;
        let item = world.by_totp(&challenge, &factor, step);
        assert_eq!(world.settle(item).await, Settled::Replayed, "{step}");
        assert_eq!(world.state(&challenge).await, State::Pending);
    }
    let [first, second] = [world.open().await, world.open().await];
    let settled = world
        .settle_all(vec![world.by_totp(&first, &factor, 101), world.by_totp(&second, &factor, 101)])
        .await;
    assert!(is_settled(settled[0]));
    assert_eq!(settled[1], Settled::Replayed, "in one batch too");
}

pub(super) async fn a_locked_or_replaced_totp_factor_passes_nothing(mut world: World) {
    let old = world.with_totp().await;
    let new = world.with_totp().await;
    let challenge = world.open().await;
    let item = world.by_totp(&challenge, &old, 7);
    assert_eq!(world.settle(item).await, Settled::Locked, "replaced");
    let user = world.fixture.user.id;
    world.apply(Change::LockTotp(user), Event::FactorLocked).await;
    let item = world.by_totp(&challenge, &new, 7);
    assert_eq!(world.settle(item).await, Settled::Locked);
    assert_eq!(world.state(&challenge).await, State::Pending);
    let stored = world.record().await.totp.clone().expect("a factor");
    assert_eq!((stored.last_step, stored.locked), (0, true));
}

pub(super) async fn a_recovery_code_is_spent_once(mut world: World) {
    let codes = world.with_codes().await;
    let user = world.fixture.user.id;
    let [spent, other] = [&codes[0], &codes[1]].map(|code| Counter::RecoveryCode(user, code.id));
    for counter in [spent, spent, other] {
        world.try_once(counter).await;
    }
    let [first, second] = [world.open().await, world.open().await];
    assert!(is_settled(world.settle(world.by_code(&first, &codes[0])).await));
    let item = world.by_code(&second, &codes[0]);
    assert_eq!(world.settle(item).await, Settled::Spent);
    assert_eq!(world.state(&second).await, State::Pending);
    let used: Vec<_> = world.record().await.recovery.clone();
    for code in &used {
        assert_eq!(code.used, code.id == codes[0].id);
    }
    assert_eq!(used.len(), codes.len());
    assert_eq!(world.failures(spent).await, 0, "success resets its counter");
    assert_eq!(world.failures(other).await, 1, "and no other");

    let stranger = world.fixture.recovery_codes().remove(0);
    let settled = world.settle(world.by_code(&second, &stranger)).await;
    assert!(
        matches!(settled, Settled::Spent | Settled::Locked),
        "a code that isn't there: {settled:?}"
    );
    assert!(is_settled(world.settle(world.by_code(&second, &codes[1])).await));
}

const RACERS: usize = 30;

/// Races uses of one secret, each for a challenge of its own.
async fn race_uses(world: &mut World, item: impl Fn(&World, &Challenge) -> Settle) -> Vec<Settled> {
    let mut items = Vec::new();
    for _ in 0..RACERS {
        let challenge = world.open().await;
        items.push(item(world, &challenge));
    }
    let racing = race(RACERS, |index| {
        let (ledger, item) = (world.ledger(), items[index].clone());
        async move { ledger.settle(vec![item]).await.expect("settles")[0] }
    });
    let told = within("the race", racing).await;
    let decided = told.iter().filter(|told| is_settled(**told)).count();
    assert_eq!(decided, 1, "{told:?}");
    assert_eq!(world.told(Event::ChallengeDecided).await.len(), 1);
    told
}

pub(super) async fn racing_uses_of_one_code_pass_once(mut world: World) {
    let code = world.with_codes().await.remove(0);
    let told = race_uses(&mut world, |world, challenge| world.by_code(challenge, &code)).await;
    assert_eq!(count(&told, &Settled::Spent), RACERS - 1);
}

pub(super) async fn racing_uses_of_one_step_pass_once(mut world: World) {
    let factor = world.with_totp().await;
    let told = race_uses(&mut world, |world, challenge| world.by_totp(challenge, &factor, 5)).await;
    assert_eq!(count(&told, &Settled::Replayed), RACERS - 1);
}

pub(super) async fn counted_failures_are_forgotten(mut world: World) {
    let device = world.enrol().await;
    let [counter, other] = [Counter::Device(device.id), Counter::Totp(device.user, Lane::Own)];
    for counter in [counter, counter, other] {
        world.try_once(counter).await;
    }
    world.ends_with(&device, vec![Effect::Reset(counter)]).await;
    assert_eq!(world.failures(counter).await, 0);
    assert_eq!(world.failures(other).await, 1, "and no others");
}

pub(super) async fn cookies_die_one_by_one_and_all_at_once(mut world: World) {
    let device = world.enrol().await;
    let epoch = world.record().await.user.epoch;
    let cookie = world.fixture.bytes();
    for _ in 0..2 {
        world.ends_with(&device, vec![Effect::KillCookie(cookie)]).await;
        let record = world.record().await;
        assert_eq!(record.killed_cookies, [cookie], "once, however often");
        assert_eq!(record.user.epoch, epoch);
    }
    world.ends_with(&device, vec![Effect::RaiseEpoch]).await;
    assert_eq!(world.record().await.user.epoch, epoch + 1);
}

pub(super) async fn a_refused_item_leaves_nothing_behind(mut world: World) {
    let device = world.enrol().await;
    let revoked = world.enrol().await;
    world.revoke_device(&revoked).await;
    let (locked, codes) = (world.with_totp().await, world.with_codes().await);
    let factor = world.with_totp().await; // `locked` is gone by this
    let burnt = world.open().await;
    world.settle(world.by_totp(&burnt, &factor, 50)).await;
    let spent = world.open().await;
    world.settle(world.by_code(&spent, &codes[0])).await;
    let challenge = world.open().await;
    let expiring = world.open().await;
    let before = world.record().await;
    let rows = world.audit_rows().await.len();
    let counter = Counter::Device(device.id);
    world.try_once(counter).await;

    let settle = |item: &Settle| {
        // the effect that refuses stands last, so that those before it have to be taken back
        let mut item = item.clone();
        let mut effects =
            vec![Effect::RaiseEpoch, Effect::KillCookie([9; 16]), Effect::Reset(counter)];
        effects.append(&mut item.effects);
        item.effects = effects;
        item
    };
    let refused = [
        (world.by_totp(&challenge, &factor, 50), Settled::Replayed),
        (world.by_totp(&challenge, &locked, 60), Settled::Locked),
        (world.by_code(&challenge, &codes[0]), Settled::Spent),
        (world.answer(&challenge, &revoked, Decision::Approved), Settled::DeviceRevoked),
        (world.decision(&challenge, Decision::Expired), Settled::Early),
    ];
    for (item, expected) in &refused {
        assert_eq!(world.settle(settle(item)).await, *expected);
        assert_eq!(world.state(&challenge).await, State::Pending);
    }
    // a spent budget and a used step are both taken back if one of two conditions fails
    let mut both = world.by_totp(&challenge, &factor, 51);
    both.effects.push(Effect::SpendCode { code: codes[0].id });
    assert_eq!(world.settle(settle(&both)).await, Settled::Spent);
    let again = world.decision(&burnt, Decision::Denied);
    assert!(matches!(world.settle(settle(&again)).await, Settled::Already(_)));
    world.backend.clock.advance_to(expiring.expires);
    let late = world.answer(&expiring, &device, Decision::Approved);
    assert_eq!(world.settle(settle(&late)).await, Settled::Late);

    assert_eq!(world.record().await, before, "the user is as before");
    assert_eq!(world.audit_rows().await.len(), rows, "no rows");
    assert_eq!(world.failures(counter).await, 1, "nothing is forgotten");
}
