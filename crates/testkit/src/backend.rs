//! What the suites of a durable backend are given.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use domain::attempts::{Budgets, Counter};
use domain::audit::Event;
use domain::directory::Device;
use ports::{AuditFilter, AuditRow, Change, Counted, Directory, Hot, Ledger, Vault};

use crate::{Fixture, TestClock};

/// An empty store on virtual time.
pub struct Backend {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The directory, over the same rows.
    pub directory: Arc<dyn Directory>,
    /// Hot state; its riders ride in `ledger`.
    pub hot: Arc<dyn Hot>,
    /// The keys.
    pub vault: Arc<dyn Vault>,
    /// The clock that all of them were given.
    pub clock: TestClock,
    /// What must live as long: a temporary directory, a child process.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

/// A backend that knows the fixture's tenant, integration and user.
pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) fixture: Fixture,
}

impl World {
    pub(crate) async fn new(backend: Backend, seed: u64) -> Self {
        let fixture = Fixture::at(seed, backend.clock.clone());
        let mut world = Self { backend, fixture };
        let tenant = world.fixture.tenant.clone();
        let integration = world.fixture.integration.clone();
        let user = world.fixture.user.clone();
        let key = world.fixture.api_key(&integration);
        world.apply(Change::CreateTenant(tenant), Event::TenantCreated).await;
        world.apply(Change::CreateIntegration(integration, key), Event::IntegrationCreated).await;
        world.apply(Change::CreateUser(user), Event::UserCreated).await;
        world
    }

    /// Makes a change that must succeed.
    pub(crate) async fn apply(&self, change: Change, event: Event) {
        let audit = vec![self.fixture.entry(event)];
        let done = self.backend.directory.apply(change.clone(), audit).await;
        assert_eq!(done, Ok(()), "{change:?}");
    }
    /// Another active device of the user, by a ticket.
    pub(crate) async fn enrol(&mut self) -> Device {
        let user = self.fixture.user.clone();
        let ticket = self.fixture.ticket(&user);
        let device = self.fixture.device();
        let claim = self.fixture.claim(&device);
        let id = ticket.id;
        self.apply(Change::CreateTicket(ticket), Event::TicketCreated).await;
        self.apply(Change::ClaimTicket(id, claim), Event::TicketClaimed).await;
        let change = Change::Enrol { ticket: id, device: device.clone(), totp: None };
        self.apply(change, Event::DeviceEnrolled).await;
        device
    }
    pub(crate) async fn revoke_device(&self, device: &Device) {
        let change = Change::RevokeDevice(device.id, self.backend.clock.now());
        self.apply(change, Event::DeviceRevoked).await;
    }

    /// All audit rows of the tenant.
    pub(crate) async fn audit_rows(&self) -> Vec<AuditRow> {
        let filter = self.filter();
        self.backend.ledger.read(filter).await.expect("reads")
    }

    /// A filter that lets all rows of the tenant pass.
    pub(crate) const fn filter(&self) -> AuditFilter {
        AuditFilter {
            tenant: self.fixture.tenant.id,
            after: None,
            since: None,
            event: None,
            user: None,
            integration: None,
            challenge: None,
            limit: 1_000,
        }
    }
    /// How many failures are counted, found out by one more.
    pub(crate) async fn failures(&self, counter: Counter) -> u16 {
        let counted = self.backend.ledger.count_attempt(counter, Budgets::DEFAULT).await;
        match counted.expect("counts") {
            Counted::Counted(attempts) => attempts.failures - 1,
            Counted::Refused(refusal) => panic!("{refusal}"),
        }
    }
}
