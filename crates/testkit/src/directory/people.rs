//! Users, their devices and factors.

use std::time::Duration;

use domain::attempts::{Counter, Lane};
use domain::audit::Event;
use domain::challenge::Methods;
use domain::directory::{TotpFactor, User};
use domain::ticket::TicketState;
use ports::{Change, DirectoryError, Page, UserRef};
use statement::{DeviceId, TenantId, UserId};

use crate::backend::World;
use crate::fresh;

const RACERS: usize = 16;

impl World {
    async fn put_totp(&mut self) -> TotpFactor {
        let totp = self.fixture.totp();
        let change = Change::PutTotp(self.fixture.user.id, totp.clone());
        self.apply(change, Event::FactorCreated).await;
        totp
    }
}

pub(super) async fn a_user_is_found_by_id_and_name_in_their_tenant_alone(mut world: World) {
    let tenant = world.fixture.tenant.id;
    let user = world.fixture.user.clone();
    let other = world.new_tenant().await;
    let by_name = UserRef::Name(user.name.clone());
    for name in [UserRef::Id(user.id), by_name.clone()] {
        let found = world.find_user(tenant, name.clone()).await;
        assert_eq!(found.as_deref(), Some(&fresh(&user)));
        assert_eq!(world.find_user(other.id, name).await, None);
    }
    // the same name in the other tenant is another person
    let mut twin = world.fixture.user();
    twin.name.clone_from(&user.name);
    let refusal = world.refused(Change::CreateUser(twin.clone())).await;
    assert_eq!(refusal, DirectoryError::NameTaken);
    twin.tenant = other.id;
    let made = world.backend.directory.apply(Change::CreateUser(twin.clone()), Vec::new()).await;
    assert_eq!(made, Ok(()));
    for (tenant, expected) in [(tenant, user.id), (other.id, twin.id)] {
        let found = world.find_user(tenant, by_name.clone()).await;
        assert_eq!(found.map(|found| found.user.id), Some(expected));
    }
    let nowhere = TenantId::from_bytes(world.fixture.bytes());
    assert_eq!(world.find_user(nowhere, by_name).await, None);
    let mut stray = world.fixture.user();
    stray.tenant = nowhere;
    let refusal = world.refused(Change::CreateUser(stray)).await;
    assert_eq!(refusal, DirectoryError::NotFound);
}

pub(super) async fn a_name_that_was_asked_for_in_vain_is_found_once_it_is_made(mut world: World) {
    let tenant = world.fixture.tenant.id;
    let user = world.fixture.user();
    let names = [UserRef::Id(user.id), UserRef::Name(user.name.clone())];
    for name in &names {
        assert_eq!(world.find_user(tenant, name.clone()).await, None);
    }
    world.apply(Change::CreateUser(user.clone()), Event::UserCreated).await;
    for name in names {
        let found = world.find_user(tenant, name).await;
        assert_eq!(found.as_deref(), Some(&fresh(&user)));
    }
}

pub(super) async fn of_racing_users_of_one_name_one_is_made(mut world: World) {
    let changes: Vec<_> = (0..RACERS)
        .map(|_| {
            let mut user = world.fixture.user();
            user.name = "bob".to_owned();
            Change::CreateUser(user)
        })
        .collect();
    let made = world.race_changes(changes, &DirectoryError::NameTaken).await;
    assert_eq!(made, 1);
}

pub(super) async fn users_are_listed_in_order_page_by_page(mut world: World) {
    let other = world.new_tenant().await;
    let mut expected = vec![world.fixture.user.clone()];
    for n in 0..6 {
        // some in the same millisecond, some later
        world.backend.clock.advance(Duration::from_millis(n % 2));
        expected.push(world.new_user().await);
    }
    let directory = world.directory();
    let mut listed = Vec::new();
    let mut page = Page { after: None, limit: 3 };
    loop {
        let part = directory.users(world.fixture.tenant.id, page.clone()).await.expect("reads");
        assert!(part.items.len() <= 3);
        listed.extend(part.items);
        page.after = part.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), expected.len(), "each once");
    assert!(listed.is_sorted_by_key(|user| user.created), "oldest first");
    for user in &expected {
        assert!(listed.contains(user));
    }
    let first = Page { after: None, limit: 10 };
    let elsewhere = directory.users(other.id, first).await.expect("reads");
    assert_eq!((elsewhere.items.len(), elsewhere.next), (0, None));
}

pub(super) async fn a_revoked_device_stays_known_and_raises_the_epoch(mut world: World) {
    let [first, second] = [world.enrol().await, world.enrol().await];
    let before = world.own().await;
    assert_eq!(before.devices, [first.clone(), second.clone()]);
    assert!(before.methods().has(domain::challenge::Method::Push));
    let owner = async |device: DeviceId| {
        let owner = world.backend.directory.device_owner(device).await;
        owner.expect("reads")
    };
    assert_eq!(owner(first.id).await.as_deref(), Some(&*before));

    world.backend.clock.advance(Duration::from_secs(3));
    let now = world.backend.clock.now();
    world.revoke_device(&first).await;
    let after = world.own().await;
    assert_eq!(after.devices[0].revoked, Some(now));
    assert_eq!(after.devices[1], second);
    assert_eq!(after.user.epoch, before.user.epoch + 1);
    assert_eq!(owner(first.id).await.as_deref(), Some(&*after), "seen at once");
    assert_eq!(owner(second.id).await.as_deref(), Some(&*after));

    let unknown = world.fixture.device().id;
    let found = world.backend.directory.device_owner(unknown).await;
    assert_eq!(found, Ok(None));
    for device in [first.id, unknown] {
        let refusal = world.refused(Change::RevokeDevice(device, now)).await;
        assert_eq!(refusal, DirectoryError::NotFound);
    }
    assert_eq!(world.own().await, after, "once is all there is");
}

pub(super) async fn a_totp_secret_takes_the_old_one_s_place_and_its_caps_start_anew(
    mut world: World,
) {
    let first = world.put_totp().await;
    assert_eq!(world.own().await.totp.as_ref(), Some(&first));
    let counter = Counter::Totp(world.fixture.user.id, Lane::Own);
    for expected in 0..3 {
        assert_eq!(world.failures(counter).await, expected);
    }
    let user = world.fixture.user.id;
    world.apply(Change::LockTotp(user), Event::FactorLocked).await;
    let second = world.put_totp().await;
    assert_eq!(world.own().await.totp.as_ref(), Some(&second), "unlocked");
    assert_eq!(world.failures(counter).await, 0);
}

pub(super) async fn a_totp_factor_locks_once(mut world: World) {
    let user = world.fixture.user.id;
    let refusal = world.refused(Change::LockTotp(user)).await;
    assert_eq!(refusal, DirectoryError::NotFound, "there is none yet");
    let mut totp = world.put_totp().await;
    world.apply(Change::LockTotp(user), Event::FactorLocked).await;
    totp.locked = true;
    let record = world.own().await;
    assert_eq!(record.totp, Some(totp));
    assert_eq!(record.methods(), Methods::default());
    assert!(record.is_enrolled(), "locked is not new");
    let refusal = world.refused(Change::LockTotp(user)).await;
    assert_eq!(refusal, DirectoryError::NotFound, "it is locked");
}

pub(super) async fn recovery_codes_take_the_old_ones_place(mut world: World) {
    let mut sets = [(); 2].map(|()| world.fixture.recovery_codes());
    let user = world.fixture.user.id;
    let counter = Counter::RecoveryCode(user, sets[0][0].id);
    for set in &mut sets {
        let change = Change::PutRecoveryCodes(user, set.clone());
        world.apply(change, Event::FactorCreated).await;
        let mut stored = world.own().await.recovery.clone();
        stored.sort_by_key(|code| code.id);
        set.sort_by_key(|code| code.id);
        assert_eq!(stored, *set);
        assert_eq!(world.failures(counter).await, 0);
    }
}

pub(super) async fn a_reset_takes_everything(mut world: World) {
    let device = world.enrol().await;
    world.put_totp().await;
    let codes = world.fixture.recovery_codes();
    let user = world.fixture.user.clone();
    let change = Change::PutRecoveryCodes(user.id, codes);
    world.apply(change, Event::FactorCreated).await;
    let claimed = world.new_ticket().await;
    let claim = {
        let device = world.fixture.device();
        world.fixture.claim(&device)
    };
    let change = Change::ClaimTicket(claimed.id, claim);
    world.apply(change, Event::TicketClaimed).await;
    let open = world.new_ticket().await;
    let bystander = world.new_user().await;
    let before = world.own().await;

    world.backend.clock.advance(Duration::from_secs(1));
    let now = world.backend.clock.now();
    world.apply(Change::ResetUser(user.id, now), Event::FactorReset).await;
    let after = world.own().await;
    assert_eq!(after.user.epoch, before.user.epoch + 1);
    assert_eq!(after.user.reset, Some(now));
    assert_eq!((after.totp.as_ref(), after.recovery.len()), (None, 0));
    assert_eq!(after.devices[0].revoked, Some(now));
    assert_eq!(after.devices[0].id, device.id, "known for ever");
    assert!(!after.is_enrolled());
    for ticket in [claimed, open] {
        let found = world.ticket(ticket.id).await.expect("is known");
        assert_eq!(found.state, TicketState::Cancelled);
    }
    let untouched = world.find_user(bystander.tenant, UserRef::Id(bystander.id));
    assert_eq!(untouched.await.as_deref(), Some(&fresh(&bystander)));
}

pub(super) async fn changes_of_nobody_are_refused(mut world: World) {
    let nobody = world.fixture.user();
    let now = world.backend.clock.now();
    let id: UserId = nobody.id;
    for change in [
        Change::SetBreakGlass(id, true),
        Change::SetTtl(id, Duration::from_secs(60)),
        Change::CreateTicket(world.fixture.ticket(&nobody)),
        Change::PutTotp(id, world.fixture.totp()),
        Change::LockTotp(id),
        Change::PutRecoveryCodes(id, world.fixture.recovery_codes()),
        Change::ResetUser(id, now),
    ] {
        let refusal = world.refused(change).await;
        assert_eq!(refusal, DirectoryError::NotFound);
    }
}

pub(super) async fn a_change_and_its_entries_are_one(mut world: World) {
    let user = world.fixture.user();
    let before = world.rows().await;
    let entries = [Event::UserCreated, Event::FactorCreated, Event::Alert]
        .map(|event| world.fixture.entry(event));
    let made =
        world.backend.directory.apply(Change::CreateUser(user.clone()), entries.to_vec()).await;
    assert_eq!(made, Ok(()));
    let rows = world.audit_rows().await.split_off(before);
    let told: Vec<_> = rows.iter().map(|row| &row.public).collect();
    assert_eq!(told, entries.each_ref().map(|entry| &entry.public));
}

pub(super) async fn a_user_is_for_emergencies_when_told(world: World) {
    let user = world.fixture.user.id;
    for on in [true, true, false] {
        world.apply(Change::SetBreakGlass(user, on), Event::UserChanged).await;
        assert_eq!(world.own().await.user.break_glass, on, "seen at once");
    }
}

pub(super) async fn a_user_has_the_time_they_were_given(mut world: World) {
    let user = world.fixture.user.id;
    for seconds in [300, 30] {
        let ttl = Duration::from_secs(seconds);
        world.apply(Change::SetTtl(user, ttl), Event::UserChanged).await;
        assert_eq!(world.own().await.user.ttl, Some(ttl), "seen at once");
    }
    let made = User { ttl: Some(Duration::from_secs(120)), ..world.fixture.user() };
    world.apply(Change::CreateUser(made.clone()), Event::UserCreated).await;
    let found = world.backend.directory.user(made.tenant, UserRef::Id(made.id)).await;
    assert_eq!(found.expect("the store works").map(|found| found.user.clone()), Some(made));
}
