//! What doesn't count yet.

use std::time::Duration;

use domain::audit::Event;
use domain::challenge::Method;
use domain::directory::{
    Device, SecondRequest, StoredCode, TakesTwo, TotpFactor, Wait, WaitingFactor,
};
use ports::{Change, DirectoryError};
use statement::{FactorId, Timestamp};

use crate::backend::World;

const A_WHILE: Duration = Duration::from_secs(60);

impl World {
    fn wait(&self) -> Wait {
        let until = Some(self.backend.clock.now().plus(A_WHILE));
        Wait { until, by: "console (csk_1234)".to_owned() }
    }

    /// Enrols a device that waits.
    async fn enrol_waiting(&mut self, wait: Wait) -> Device {
        let ticket = self.new_ticket().await;
        let device = Device { wait: Some(wait), ..self.fixture.device() };
        let claim = self.fixture.claim(&device);
        self.apply(Change::ClaimTicket(ticket.id, claim), Event::TicketClaimed).await;
        let enrol = Change::Enrol { ticket: ticket.id, device: device.clone(), totp: None };
        self.apply(enrol, Event::DeviceEnrolled).await;
        device
    }

    async fn end_waits(&self, at: Timestamp) {
        self.apply(Change::EndWaits(self.fixture.user.id, at), Event::DeviceApproved).await;
    }

    async fn both(&mut self) -> (TotpFactor, Vec<StoredCode>) {
        let (totp, codes) = (self.fixture.totp(), self.fixture.recovery_codes());
        let user = self.fixture.user.id;
        self.apply(Change::PutTotp(user, totp.clone()), Event::FactorCreated).await;
        self.apply(Change::PutRecoveryCodes(user, codes.clone()), Event::FactorCreated).await;
        (totp, codes)
    }

    async fn both_waiting(&mut self, wait: &Wait) -> (TotpFactor, Vec<StoredCode>) {
        let (totp, codes) = (self.fixture.totp(), self.fixture.recovery_codes());
        let user = self.fixture.user.id;
        let add = Change::AddTotp(user, totp.clone(), wait.clone());
        self.apply(add, Event::FactorCreated).await;
        let add = Change::AddRecoveryCodes(user, codes.clone(), wait.clone());
        self.apply(add, Event::FactorCreated).await;
        (totp, codes)
    }

    /// The secret and the set of codes that count.
    async fn counting(&self) -> (Option<FactorId>, Option<FactorId>) {
        let record = self.own().await;
        let sets: Vec<FactorId> = record.recovery.iter().map(|code| code.factor).collect();
        assert!(sets.windows(2).all(|pair| pair[0] == pair[1]), "one set at a time");
        (record.totp.as_ref().map(|totp| totp.id), sets.first().copied())
    }
}

fn ids((totp, codes): &(TotpFactor, Vec<StoredCode>)) -> (Option<FactorId>, Option<FactorId>) {
    (Some(totp.id), Some(codes[0].factor))
}

fn expected((totp, codes): &(TotpFactor, Vec<StoredCode>), wait: &Wait) -> [WaitingFactor; 2] {
    [(totp.id, Method::Totp), (codes[0].factor, Method::RecoveryCode)]
        .map(|(factor, method)| WaitingFactor { factor, method, wait: wait.clone() })
}

pub(super) async fn a_device_that_waits_is_known_and_its_wait_ends_once(mut world: World) {
    let waits = world.wait();
    let [timed, held] = [
        world.enrol_waiting(waits.clone()).await,
        world.enrol_waiting(Wait { until: None, ..waits.clone() }).await,
    ];
    let record = world.own().await;
    assert_eq!(record.devices, [timed.clone(), held.clone()]);
    assert_eq!(record.active_devices().count(), 0);
    assert!(record.is_enrolled());
    let until = waits.until.expect("a time");
    assert!(!record.has_waited(until.minus(Duration::from_millis(1))));
    assert!(record.has_waited(until));

    world.end_waits(until.minus(Duration::from_millis(1))).await;
    assert_eq!(world.own().await, record, "not yet");
    world.end_waits(until).await;
    let active: Vec<_> = world.own().await.active_devices().map(|device| device.id).collect();
    assert_eq!(active, [timed.id], "the other one waits for somebody");
    let agree = Change::EndDeviceWait(held.id);
    world.apply(agree.clone(), Event::DeviceApproved).await;
    assert_eq!(world.own().await.active_devices().count(), 2);
    assert_eq!(world.refused(agree).await, DirectoryError::NotFound, "it waits no more");

    let gone = world.enrol_waiting(waits).await;
    world.revoke_device(&gone).await;
    let refusal = world.refused(Change::EndDeviceWait(gone.id)).await;
    assert_eq!(refusal, DirectoryError::NotFound, "it was revoked");
}

pub(super) async fn what_waits_leaves_what_works_until_its_time(mut world: World) {
    let old = world.both().await;
    let wait = world.wait();
    let first = world.both_waiting(&wait).await;
    assert_eq!(world.counting().await, ids(&old));
    assert_eq!(world.own().await.waiting, expected(&first, &wait));
    let second = world.both_waiting(&wait).await;
    assert_eq!(world.own().await.waiting, expected(&second, &wait), "the newest alone");
    world.end_waits(wait.until.expect("a time").minus(Duration::from_millis(1))).await;
    assert_eq!(world.counting().await, ids(&old));

    // what has waited long enough isn't lost to what waits next, even if nobody said so
    world.backend.clock.advance(A_WHILE);
    let held = Wait { until: None, ..wait };
    let third = world.both_waiting(&held).await;
    assert_eq!(world.counting().await, ids(&second));
    assert_eq!(world.own().await.waiting, expected(&third, &held));
    world.end_waits(Timestamp::from_millis(u64::MAX / 2)).await;
    assert_eq!(world.counting().await, ids(&second), "that one waits for somebody");
}

pub(super) async fn what_waits_for_time_can_be_made_to_wait_for_somebody(mut world: World) {
    let old = world.both().await;
    let wait = world.wait();
    let device = world.enrol_waiting(wait.clone()).await;
    let new = world.both_waiting(&wait).await;
    let hold = Change::HoldWaits(world.fixture.user.id);
    assert!(world.own().await.waits_for_time());
    world.apply(hold.clone(), Event::WaitHeld).await;
    let held = Wait { until: None, ..wait };
    let record = world.own().await;
    assert_eq!(record.waiting, expected(&new, &held));
    assert_eq!(record.devices, [Device { wait: Some(held), ..device }]);
    assert!(!record.waits_for_time());
    world.end_waits(Timestamp::from_millis(u64::MAX / 2)).await;
    assert_eq!(world.own().await, record);
    assert_eq!(world.counting().await, ids(&old));
    world.apply(hold, Event::WaitHeld).await;
}

pub(super) async fn somebody_agrees_to_one_factor_alone(mut world: World) {
    let old = world.both().await;
    let wait = Wait { until: None, ..world.wait() };
    let new = world.both_waiting(&wait).await;
    let user = world.fixture.user.id;
    let agree = |factor| Change::EndFactorWait(user, factor);
    let totp = agree(new.0.id);
    world.apply(totp.clone(), Event::FactorApproved).await;
    assert_eq!(world.counting().await, (ids(&new).0, ids(&old).1));
    let codes = agree(new.1[0].factor);
    world.apply(codes, Event::FactorApproved).await;
    assert_eq!(world.counting().await, ids(&new));
    for change in [totp, agree(old.0.id)] {
        assert_eq!(world.refused(change).await, DirectoryError::NotFound);
    }
}

pub(super) async fn what_is_made_at_once_ends_what_waits(mut world: World) {
    world.both().await;
    let wait = world.wait();
    world.both_waiting(&wait).await;
    let new = world.both().await;
    assert_eq!(world.own().await.waiting, []);
    world.end_waits(wait.until.expect("a time")).await;
    assert_eq!(world.counting().await, ids(&new));
}

pub(super) async fn a_reset_is_asked_for_and_done(mut world: World) {
    world.both().await;
    let wait = world.wait();
    world.both_waiting(&wait).await;
    let (user, at) = (world.fixture.user.id, world.backend.clock.now());
    for by in ["operator (uid 1)", "operator (uid 2)"] {
        let request = SecondRequest { at, by: by.to_owned(), what: TakesTwo::BreakGlass };
        world.apply(Change::AskSecond(user, request.clone()), Event::ResetRequested).await;
        assert_eq!(world.own().await.second_request, Some(request), "the last one");
    }
    world.apply(Change::ResetUser(user, at), Event::FactorReset).await;
    let record = world.own().await;
    assert_eq!((&record.second_request, record.waiting.len()), (&None, 0));
    assert!(!record.is_enrolled());
}

pub(super) async fn waits_of_nobody_are_refused(mut world: World) {
    let nobody = world.fixture.user().id;
    let (totp, codes) = (world.fixture.totp(), world.fixture.recovery_codes());
    let (device, wait, at) = (world.fixture.device().id, world.wait(), world.backend.clock.now());
    let request = SecondRequest { at, by: "operator (uid 1)".to_owned(), what: TakesTwo::Reset };
    for change in [
        Change::AddTotp(nobody, totp.clone(), wait.clone()),
        Change::AddRecoveryCodes(nobody, codes, wait),
        Change::EndDeviceWait(device),
        Change::EndFactorWait(nobody, totp.id),
        Change::AskSecond(nobody, request),
    ] {
        assert_eq!(world.refused(change).await, DirectoryError::NotFound);
    }
}
