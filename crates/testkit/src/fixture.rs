//! Things to store, made from a seed: the same seed, the same ids and keys.

use std::sync::Arc;

use domain::audit::{Entry, Event};
use domain::challenge::{Challenge, DEFAULT_TTL, Methods, Mode, Purpose};
use domain::directory::{
    ApiKey, Device, Integration, Scope, StoredCode, Tenant, TotpFactor, User, UserRecord,
};
use domain::guard::{Asker, Charge, Familiarity, Opened};
use domain::recovery::CODES;
use domain::ticket::{self, Claim, Ticket, TicketState};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use statement::{
    ChallengeId, DeviceId, FactorId, IntegrationId, SigningKey, TenantId, TicketId, UserId,
};

use crate::TestClock;

/// What a cell keeps of an open challenge that cost nothing.
#[must_use]
pub fn opened(id: ChallengeId, integration: IntegrationId) -> Opened {
    let (charge, asker) = (Charge::default(), Asker::default());
    Opened { id, integration, charge, asker, withheld: false, by: None }
}

/// What is known of a user with nothing but a name.
#[must_use]
pub fn fresh(user: &User) -> UserRecord {
    UserRecord {
        user: user.clone(),
        devices: Vec::new(),
        totp: None,
        recovery: Vec::new(),
        waiting: Vec::new(),
        second_request: None,
        killed_cookies: Vec::new(),
    }
}

/// A tenant with an integration and a user, and whatever else is drawn from its seed.
pub struct Fixture {
    /// Stamps everything that is made.
    pub clock: TestClock,
    /// Where everything that is made belongs.
    pub tenant: Tenant,
    /// Who asks.
    pub integration: Integration,
    /// Who is asked.
    pub user: User,
    rng: StdRng,
}

impl Fixture {
    /// From a seed, with a clock of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::at(seed, TestClock::new())
    }

    /// From a seed, on a clock that a backend shares.
    #[must_use]
    pub fn at(seed: u64, clock: TestClock) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = clock.now();
        let tenant = Tenant {
            id: TenantId::from_bytes(draw(&mut rng)),
            name: format!("tenant {seed:x}"),
            created: now,
        };
        let integration = integration(&mut rng, tenant.id, &clock);
        let user = user(&mut rng, tenant.id, &clock);
        Self { clock, tenant, integration, user, rng }
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        draw(&mut self.rng)
    }

    /// The generator itself.
    pub const fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// Another relying party.
    pub fn integration(&mut self) -> Integration {
        integration(&mut self.rng, self.tenant.id, &self.clock)
    }

    /// A live API key of an integration.
    pub fn api_key(&mut self, integration: &Integration) -> ApiKey {
        let hash: [u8; 32] = self.bytes();
        ApiKey {
            hash,
            integration: integration.id,
            hint: format!("csk_{:02x}{:02x}", hash[0], hash[1]),
            created: self.clock.now(),
            expires: None,
            revoked: None,
        }
    }

    /// Another person.
    pub fn user(&mut self) -> User {
        user(&mut self.rng, self.tenant.id, &self.clock)
    }

    /// A private key; Ed25519.
    pub fn key(&mut self) -> SigningKey {
        SigningKey::from_seed(&self.bytes())
    }

    /// An authenticator of the user.
    pub fn device(&mut self) -> Device {
        self.device_with_key().0
    }

    /// An authenticator of the user, and its private key.
    pub fn device_with_key(&mut self) -> (Device, SigningKey) {
        let key = self.key();
        let device = Device {
            id: DeviceId::from_bytes(self.bytes()),
            tenant: self.tenant.id,
            user: self.user.id,
            name: "phone".to_owned(),
            key: key.public().clone(),
            created: self.clock.now(),
            revoked: None,
            wait: None,
        };
        (device, key)
    }

    /// A TOTP factor whose secret nobody sealed.
    pub fn totp(&mut self) -> TotpFactor {
        TotpFactor {
            id: FactorId::from_bytes(self.bytes()),
            secret: self.bytes::<48>().to_vec(),
            last_step: 0,
            locked: false,
            created: self.clock.now(),
        }
    }

    /// A set of recovery codes.
    pub fn recovery_codes(&mut self) -> Vec<StoredCode> {
        let factor = FactorId::from_bytes(self.bytes());
        (0..CODES)
            .map(|_| StoredCode {
                id: self.bytes(),
                factor,
                salt: self.bytes(),
                hash: self.bytes(),
                used: false,
            })
            .collect()
    }

    /// An open ticket for a user.
    pub fn ticket(&mut self, user: &User) -> Ticket {
        let now = self.clock.now();
        Ticket {
            id: TicketId::from_bytes(self.bytes()),
            tenant: user.tenant,
            user: user.id,
            secret_hash: self.bytes(),
            code_hash: self.bytes(),
            confirm: true,
            first: false,
            by: "operator (uid 0)".to_owned(),
            created: now,
            expires: now.plus(ticket::LIFE),
            code_tries: 0,
            state: TicketState::Open,
        }
    }

    /// What a device brings to claim a ticket.
    pub fn claim(&mut self, device: &Device) -> Claim {
        Claim {
            key: device.key.clone(),
            device_name: device.name.clone(),
            number: Some(self.bytes::<34>().to_vec()),
        }
    }

    /// A ringing challenge to the user.
    pub fn challenge(&mut self) -> Arc<Challenge> {
        Arc::new(self.plain_challenge())
    }

    /// The same, to be changed before it is used.
    pub fn plain_challenge(&mut self) -> Challenge {
        let now = self.clock.now();
        let shard = u16::from_be_bytes([self.user.id.as_bytes()[0], self.user.id.as_bytes()[1]]);
        Challenge {
            id: ChallengeId::new(now, shard, self.bytes()),
            tenant: self.tenant.id,
            integration: self.integration.id,
            user: self.user.id,
            session: self.bytes(),
            request: self.bytes(),
            purpose: Purpose::SignIn,
            methods: Methods::ALL,
            digits: 6,
            mode: Mode::Ring,
            created: now,
            expires: now.plus(DEFAULT_TTL),
            number: self.bytes::<34>().to_vec(),
            document: self.bytes::<200>().to_vec(),
            signature: self.bytes::<64>().to_vec(),
            signing_key: 1,
            first_factor: true,
            cookie: Some(self.bytes()),
            familiarity: Familiarity::Own,
            returns: true,
        }
    }

    /// An audit entry of the tenant about the user.
    #[must_use]
    pub fn entry(&self, event: Event) -> Entry {
        Entry::new(self.tenant.id, event)
            .with(|public| public.user = Some(self.user.id))
            .privately(|private| private.by = Some("testkit".to_owned()))
    }
}

fn draw<const N: usize>(rng: &mut StdRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn integration(rng: &mut StdRng, tenant: TenantId, clock: &TestClock) -> Integration {
    let id: [u8; 16] = draw(rng);
    Integration {
        id: IntegrationId::from_bytes(id),
        tenant,
        name: format!("vpn {:02x}{:02x}{:02x}", id[0], id[1], id[2]),
        protocol: domain::protocol::Protocol::default(),
        purposes: vec![Purpose::SignIn],
        methods: Methods::ALL,
        scopes: vec![Scope::Challenges, Scope::EventsRead],
        verifies_first_factor: false,
        reveal_users: false,
        created: clock.now(),
    }
}

fn user(rng: &mut StdRng, tenant: TenantId, clock: &TestClock) -> User {
    let id: [u8; 16] = draw(rng);
    User {
        id: UserId::from_bytes(id),
        tenant,
        name: format!("alice {:02x}{:02x}{:02x}", id[0], id[1], id[2]),
        epoch: 0,
        break_glass: false,
        ttl: None,
        reset: None,
        created: clock.now(),
    }
}
