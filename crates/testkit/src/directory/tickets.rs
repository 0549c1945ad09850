//! Tickets: single-use permissions to enrol a device.

use std::time::Duration;

use domain::audit::Event;
use domain::directory::{Device, MAX_DEVICES};
use domain::ticket::{MAX_CODE_TRIES, Ticket, TicketState};
use ports::{Change, DirectoryError};
use statement::TicketId;

use crate::backend::World;
use crate::rules::{race, within};

const RACERS: usize = 30;

impl World {
    /// An open ticket for the user.
    pub(super) async fn new_ticket(&mut self) -> Ticket {
        let user = self.fixture.user.clone();
        let ticket = self.fixture.ticket(&user);
        let change = Change::CreateTicket(ticket.clone());
        self.apply(change, Event::TicketCreated).await;
        ticket
    }

    pub(super) async fn ticket(&self, id: TicketId) -> Option<Ticket> {
        self.backend.directory.ticket(id).await.expect("reads")
    }

    async fn try_code(&self, user: &str, hash: [u8; 32]) -> Option<Ticket> {
        let found = self.backend.directory.ticket_by_code(user.to_owned(), hash);
        found.await.expect("reads")
    }

    /// A ticket that a device claimed, and the device.
    async fn claimed(&mut self) -> (Ticket, Device) {
        let ticket = self.new_ticket().await;
        let device = self.fixture.device();
        let claim = self.fixture.claim(&device);
        let change = Change::ClaimTicket(ticket.id, claim);
        self.apply(change, Event::TicketClaimed).await;
        (ticket, device)
    }

    fn claim(&mut self, ticket: &Ticket) -> Change {
        let device = self.fixture.device();
        Change::ClaimTicket(ticket.id, self.fixture.claim(&device))
    }
}

fn enrol(ticket: &Ticket, device: &Device) -> Change {
    Change::Enrol { ticket: ticket.id, device: device.clone(), totp: None }
}

pub(super) async fn a_ticket_is_found_by_id_secret_and_code(mut world: World) {
    let ticket = world.new_ticket().await;
    assert_eq!(world.ticket(ticket.id).await.as_ref(), Some(&ticket));
    let directory = world.directory();
    let found = directory.ticket_by_secret(ticket.secret_hash).await;
    assert_eq!(found, Ok(Some(ticket.clone())));
    let name = world.fixture.user.name.clone();
    let found = world.try_code(&name, ticket.code_hash).await;
    assert_eq!(found.map(|found| found.id), Some(ticket.id));

    let unknown = world.fixture.bytes();
    assert_eq!(directory.ticket_by_secret(unknown).await, Ok(None));
    assert_eq!(world.try_code("nobody", ticket.code_hash).await, None);
    let unknown = TicketId::from_bytes(world.fixture.bytes());
    assert_eq!(world.ticket(unknown).await, None);
}

pub(super) async fn a_new_ticket_cancels_the_open_one(mut world: World) {
    let first = world.new_ticket().await;
    let second = world.new_ticket().await;
    let state = world.ticket(first.id).await.map(|ticket| ticket.state);
    assert_eq!(state, Some(TicketState::Cancelled));
    assert_eq!(world.ticket(second.id).await, Some(second));
    // somebody else's stays
    let other = world.new_user().await;
    let theirs = world.fixture.ticket(&other);
    let change = Change::CreateTicket(theirs.clone());
    world.apply(change, Event::TicketCreated).await;
    world.new_ticket().await;
    assert_eq!(world.ticket(theirs.id).await, Some(theirs));
}

pub(super) async fn a_ticket_is_claimed_once_and_in_time(mut world: World) {
    let ticket = world.new_ticket().await;
    let device = world.fixture.device();
    let claim = world.fixture.claim(&device);
    world.apply(Change::ClaimTicket(ticket.id, claim.clone()), Event::TicketClaimed).await;
    let stored = world.ticket(ticket.id).await.expect("is known");
    assert_eq!(stored.state, TicketState::Claimed(claim));
    let again = world.claim(&ticket);
    assert_eq!(world.refused(again).await, DirectoryError::NotFound);

    let late = world.new_ticket().await;
    world.backend.clock.advance_to(late.expires);
    let claim = world.claim(&late);
    assert_eq!(world.refused(claim).await, DirectoryError::NotFound);
    let user = world.fixture.user.clone();
    let unknown = world.fixture.ticket(&user);
    let claim = world.claim(&unknown);
    assert_eq!(world.refused(claim).await, DirectoryError::NotFound);
}

pub(super) async fn of_racing_claims_one_wins(mut world: World) {
    let ticket = world.new_ticket().await;
    let changes: Vec<_> = (0..RACERS).map(|_| world.claim(&ticket)).collect();
    let made = world.race_changes(changes, &DirectoryError::NotFound).await;
    assert_eq!(made, 1);
}

pub(super) async fn a_cancelled_ticket_is_of_no_use(mut world: World) {
    let (claimed, device) = world.claimed().await;
    cancel_for_good(&mut world, &claimed, &device).await;
    let open = world.new_ticket().await;
    cancel_for_good(&mut world, &open, &device).await;
    let name = world.fixture.user.name.clone();
    assert_eq!(world.try_code(&name, open.code_hash).await, None);
    // a newer ticket of the same user ends a claimed one too
    let (overtaken, _) = world.claimed().await;
    world.new_ticket().await;
    let stored = world.ticket(overtaken.id).await.expect("is known");
    assert_eq!(stored.state, TicketState::Cancelled);
}

async fn cancel_for_good(world: &mut World, ticket: &Ticket, device: &Device) {
    let cancel = Change::CancelTicket(ticket.id);
    world.apply(cancel.clone(), Event::TicketCancelled).await;
    let stored = world.ticket(ticket.id).await.expect("is known");
    assert_eq!(stored.state, TicketState::Cancelled);
    assert_eq!(world.refused(cancel).await, DirectoryError::NotFound);
    let claim = world.claim(ticket);
    assert_eq!(world.refused(claim).await, DirectoryError::NotFound);
    let enrol = enrol(ticket, device);
    assert_eq!(world.refused(enrol).await, DirectoryError::NotFound);
}

pub(super) async fn a_device_is_enrolled_with_the_claim_s_key_alone(mut world: World) {
    let open = world.new_ticket().await;
    let stranger = world.fixture.device();
    let early = enrol(&open, &stranger);
    assert_eq!(world.refused(early).await, DirectoryError::NotFound);

    let (ticket, device) = world.claimed().await;
    let foreign_key = enrol(&ticket, &stranger);
    assert_eq!(world.refused(foreign_key).await, DirectoryError::NotFound);
    let mut foreign_user = device.clone();
    foreign_user.user = world.new_user().await.id;
    let foreign_user = enrol(&ticket, &foreign_user);
    assert_eq!(world.refused(foreign_user).await, DirectoryError::NotFound);
    assert!(!world.own().await.is_enrolled());

    let totp = world.fixture.totp();
    let change =
        Change::Enrol { ticket: ticket.id, device: device.clone(), totp: Some(totp.clone()) };
    world.apply(change.clone(), Event::DeviceEnrolled).await;
    let record = world.own().await;
    assert_eq!(record.devices, std::slice::from_ref(&device));
    assert_eq!(record.totp, Some(totp));
    let owner = world.backend.directory.device_owner(device.id).await;
    assert_eq!(owner, Ok(Some(record)));
    let stored = world.ticket(ticket.id).await.expect("is known");
    assert_eq!(stored.state, TicketState::Used);
    assert!(world.directory().apply(change, Vec::new()).await.is_err());
    let cancel = Change::CancelTicket(ticket.id);
    assert_eq!(world.refused(cancel).await, DirectoryError::NotFound);
}

pub(super) async fn of_racing_enrolments_with_one_ticket_one_wins(mut world: World) {
    let (ticket, device) = world.claimed().await;
    let changes: Vec<_> = (0..RACERS)
        .map(|_| {
            let mut twin = world.fixture.device();
            twin.key = device.key.clone();
            enrol(&ticket, &twin)
        })
        .collect();
    let made = world.race_changes(changes, &DirectoryError::NotFound).await;
    assert_eq!(made, 1);
    assert_eq!(world.own().await.devices.len(), 1);
}

pub(super) async fn a_user_has_no_more_devices_than_allowed(mut world: World) {
    let mut devices = Vec::new();
    for _ in 0..MAX_DEVICES {
        devices.push(world.enrol().await);
    }
    let (ticket, device) = world.claimed().await;
    let change = Change::Enrol {
        ticket: ticket.id,
        device: device.clone(),
        totp: Some(world.fixture.totp()),
    };
    let before = world.own().await;
    let refusal = world.refused(change.clone()).await;
    assert_eq!(refusal, DirectoryError::Limit);
    assert_eq!(world.own().await, before, "no device, no secret");
    // the ticket still stands, and one that goes makes room
    world.revoke_device(&devices[0]).await;
    world.apply(change, Event::DeviceEnrolled).await;
    let record = world.own().await;
    assert_eq!(record.active_devices().count(), MAX_DEVICES);
    assert_eq!(record.devices.len(), MAX_DEVICES + 1);
}

pub(super) async fn a_claimed_ticket_ends_with_its_time(mut world: World) {
    let (ticket, device) = world.claimed().await;
    let end = ticket.expires;
    world.backend.clock.advance_to(end.minus(Duration::from_millis(1)));
    let in_time = enrol(&ticket, &device);
    world.apply(in_time, Event::DeviceEnrolled).await;
    let other = world.claimed().await;
    world.backend.clock.advance_to(other.0.expires);
    let late = enrol(&other.0, &other.1);
    assert_eq!(world.refused(late).await, DirectoryError::NotFound);
}

pub(super) async fn a_first_ticket_is_of_no_use_once_there_is_a_factor(mut world: World) {
    let first = async |world: &mut World| {
        let user = world.new_user().await;
        let ticket = Ticket { first: true, ..world.fixture.ticket(&user) };
        let device = Device { user: user.id, ..world.fixture.device() };
        let claim = world.fixture.claim(&device);
        world.apply(Change::CreateTicket(ticket.clone()), Event::TicketCreated).await;
        world.apply(Change::ClaimTicket(ticket.id, claim), Event::TicketClaimed).await;
        (user.id, enrol(&ticket, &device))
    };
    let (_, alone) = first(&mut world).await;
    world.apply(alone, Event::DeviceEnrolled).await;
    let (user, second) = first(&mut world).await;
    let totp = Change::PutTotp(user, world.fixture.totp());
    world.apply(totp, Event::FactorCreated).await;
    assert_eq!(world.refused(second).await, DirectoryError::NotFound);
    let (user, second) = first(&mut world).await;
    let codes = Change::PutRecoveryCodes(user, world.fixture.recovery_codes());
    world.apply(codes, Event::FactorCreated).await;
    assert_eq!(world.refused(second).await, DirectoryError::NotFound);
}

pub(super) async fn the_fifth_wrong_code_ends_the_code_alone(mut world: World) {
    let name = world.fixture.user.name.clone();
    let ticket = world.new_ticket().await;
    for _ in 1..MAX_CODE_TRIES {
        let wrong = world.fixture.bytes();
        assert_eq!(world.try_code(&name, wrong).await, None);
    }
    let found = world.try_code(&name, ticket.code_hash).await;
    assert_eq!(found.map(|found| found.state), Some(TicketState::Open));

    let ticket = world.new_ticket().await;
    for _ in 0..MAX_CODE_TRIES {
        let wrong = world.fixture.bytes();
        assert_eq!(world.try_code(&name, wrong).await, None);
    }
    assert_eq!(world.try_code(&name, ticket.code_hash).await, None);
    // whoever knows a name can end the code, but not the link
    let claim = world.claim(&ticket);
    world.apply(claim, Event::TicketClaimed).await;
}

pub(super) async fn wrong_codes_of_others_count_for_nobody_else(mut world: World) {
    let ticket = world.new_ticket().await;
    let other = world.new_user().await;
    let theirs = world.fixture.ticket(&other);
    let change = Change::CreateTicket(theirs.clone());
    world.apply(change, Event::TicketCreated).await;
    for name in [other.name.as_str(), "nobody"] {
        for _ in 0..MAX_CODE_TRIES {
            let wrong = world.fixture.bytes();
            assert_eq!(world.try_code(name, wrong).await, None);
        }
    }
    let stored = world.ticket(theirs.id).await.expect("is known");
    assert_eq!(stored.code_tries, MAX_CODE_TRIES);
    assert_eq!(world.ticket(ticket.id).await.as_ref(), Some(&ticket));
    // a user's code under another's name is wrong
    let fresh = world.new_ticket().await;
    assert_eq!(world.try_code(&other.name, fresh.code_hash).await, None);
    let name = world.fixture.user.name.clone();
    assert!(world.try_code(&name, fresh.code_hash).await.is_some());
    // and no code works after its time
    let late = world.new_ticket().await;
    world.backend.clock.advance_to(late.expires);
    assert_eq!(world.try_code(&name, late.code_hash).await, None);
}

pub(super) async fn racing_codes_get_five_tries(mut world: World) {
    let name = world.fixture.user.name.clone();
    let ticket = world.new_ticket().await;
    let mut guesses: Vec<[u8; 32]> = (0..RACERS).map(|_| world.fixture.bytes()).collect();
    let racing = race(RACERS, |_| {
        let (directory, name) = (world.directory(), name.clone());
        let guess = guesses.pop().expect("enough");
        async move { directory.ticket_by_code(name, guess).await.expect("reads") }
    });
    assert!(within("the race", racing).await.iter().all(Option::is_none));
    let stored = world.ticket(ticket.id).await.expect("is known");
    assert_eq!(stored.code_tries, MAX_CODE_TRIES, "not one more was compared");
    assert_eq!(world.try_code(&name, ticket.code_hash).await, None);
}
