//! What a connected device may do: prove itself, enrol, read what is pending.

use std::sync::Arc;

use domain::audit::{Cause, Entry, Event};
use domain::challenge::{Challenge, Mode, State};
use domain::directory::{Device, TotpFactor, UserRecord};
use domain::number::{DEFAULT_DIGITS, Number};
use domain::ticket::{self, Claim as StoredClaim, Ticket, TicketState};
use domain::totp;
use ports::{Certified, Change, DirectoryError, NoticeKind, SealFor, StoreError, UserRef};
use statement::{
    ChallengeId, DeviceId, EnrolClaim, EnrolConfirm, FactorId, PublicKey, TenantId, TicketId,
    UserId,
};
use zeroize::Zeroizing;

use crate::answer::needs_totp;
use crate::guarding::{self, About};
use crate::waiting::{wait, waits_for};
use crate::{Actor, App, Call};

/// A device's login.
#[derive(Clone, Debug)]
pub struct Login {
    /// The tenant that it names.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The connection's nonce.
    pub nonce: [u8; 32],
    /// The signature over the login statement.
    pub signature: Vec<u8>,
}

/// A device that proved itself. Only [`App::login`] makes one. Kept for as long as it is connected: it holds no
/// more than is asked for again and again.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// Whether it doesn't count yet: see [`App::waiting_notice`].
    pub waits: bool,
}

/// A device that has just proved itself, with what it is told once.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The device.
    pub connected: Connected,
    /// The user's name.
    pub user_name: String,
    /// The organisation's name; empty where there is only one.
    pub organisation: String,
    /// Whether the user has no working TOTP secret.
    pub totp_rebind: bool,
}

/// Why a login failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Unknown, revoked, or the signature doesn't verify: all alike.
    #[error("login refused")]
    Refused,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a new device shows for a ticket.
#[derive(Clone)]
pub enum TicketProof {
    /// The secret in a link.
    Secret([u8; ticket::SECRET_LEN]),
    /// User name and typed code.
    Code {
        /// The name.
        user: String,
        /// The code.
        code: [u8; ticket::CODE_LEN],
    },
}

/// A new device's claim on a ticket.
#[derive(Clone)]
pub struct Claim {
    /// What it shows.
    pub proof: TicketProof,
    /// Its public key.
    pub key: PublicKey,
    /// What it calls itself.
    pub device_name: String,
    /// The connection's nonce.
    pub nonce: [u8; 32],
    /// The signature over the enrolment statement.
    pub signature: Vec<u8>,
}

/// A claimed ticket, waiting for its number.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// How many digits to type; 0: confirm with none.
    pub digits: u8,
    ticket: TicketId,
    hash: [u8; 32],
    nonce: [u8; 32],
    key: PublicKey,
}

/// A new device, enrolled.
#[derive(Clone)]
pub struct Enrolled {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its id.
    pub device: DeviceId,
    /// The user's name.
    pub user_name: String,
    /// The organisation's name; empty where there is only one.
    pub organisation: String,
    /// The user's TOTP secret: new, or the one that works already. None for a device that waits: whoever holds it
    /// may not be the user.
    pub totp: Option<totp::Secret>,
}

/// Why an enrolment failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// The ticket is unknown, used, expired or cancelled, or the number was wrong: all alike.
    #[error("enrolment refused")]
    Refused,
    /// The claim isn't signed by the key that it names.
    #[error("signature does not verify")]
    BadSignature,
    /// The device's name can't be shown.
    #[error("device name: {0}")]
    Name(#[from] domain::directory::NameError),
    /// The user has as many devices as are allowed.
    #[error("too many devices")]
    TooManyDevices,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DirectoryError> for EnrolError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NameTaken | DirectoryError::NotFound => Self::Refused,
            DirectoryError::Limit => Self::TooManyDevices,
            DirectoryError::Store(error) => Self::Store(error),
        }
    }
}

impl App {
    /// The keys that a connecting device is shown.
    #[must_use]
    pub fn hello(&self) -> (&PublicKey, &[Certified]) {
        (self.vault.identity(), self.vault.certified())
    }

    /// Checks a device's login. One that is refused is written down, at most once a minute for each device:
    /// somebody plays with its id. An id that no device has is only noise.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login(&self, call: &mut Call, login: Login) -> Result<LoggedIn, LoginError> {
        let record = self.directory.device_owner(login.device).await?;
        let record = self.end_waits(call, record.ok_or(LoginError::Refused)?).await?;
        let device = record.devices.iter().find(|device| device.id == login.device);
        let device = device.ok_or(LoginError::Refused)?;
        if let Err(cause) = self.check_login(device, &login) {
            if self.refused_logins.note(device.id, call.now) {
                let entry = Entry::new(device.tenant, Event::LoginRefused).with(|public| {
                    public.user = Some(device.user);
                    public.device = Some(device.id);
                    public.cause = Some(cause.into());
                });
                self.ledger.record(entry).await?;
            }
            return Err(LoginError::Refused);
        }
        Ok(LoggedIn {
            connected: Connected {
                tenant: device.tenant,
                user: device.user,
                device: device.id,
                waits: device.wait.is_some(),
            },
            user_name: record.user.name.clone(),
            organisation: self.organisation(device.tenant).await?,
            totp_rebind: device.wait.is_none() && needs_totp(&record),
        })
    }

    /// Whether a login is this device's; why not, if it isn't.
    fn check_login(&self, device: &Device, login: &Login) -> Result<(), Cause> {
        let statement = statement::Login {
            server: &self.vault.identity().identity_hash(),
            tenant: device.tenant,
            device: device.id,
            nonce: &login.nonce,
        };
        let is_signed = statement.verify(&device.key, &login.signature).is_ok();
        match (is_signed && login.tenant == device.tenant, device.revoked) {
            (false, _) => Err(Cause::Forged),
            (true, Some(_)) => Err(Cause::Revoked),
            (true, None) => Ok(()),
        }
    }

    /// The tenant's name where there are several; the word never shows where there is one.
    async fn organisation(&self, tenant: TenantId) -> Result<String, StoreError> {
        let tenants = self.directory.tenants().await?;
        let own = tenants.iter().find(|other| other.id == tenant && tenants.len() > 1);
        Ok(own.map(|tenant| tenant.name.clone()).unwrap_or_default())
    }

    /// The user's challenges that a device shows: those that ring, or, when a person pulls, all. None to a device
    /// that waits.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pending(
        &self,
        call: &mut Call,
        connected: &Connected,
        silent: bool,
    ) -> Result<Vec<Arc<Challenge>>, StoreError> {
        if self.waiting_notice(call, connected).await?.is_some() {
            return Ok(Vec::new());
        }
        let hot = self.load_user(call, connected.tenant, connected.user).await?;
        let shown = |challenge: &Arc<Challenge>| {
            !challenge.is_past(call.now)
                && challenge.reaches_devices()
                && hot.cell.shows(challenge.id)
                && (silent || challenge.mode == Mode::Ring)
        };
        Ok(hot.live.iter().filter(|challenge| shown(challenge)).map(Arc::clone).collect())
    }

    /// Where a challenge stands that a device was shown.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn card_state(
        &self,
        connected: &Connected,
        id: ChallengeId,
    ) -> Result<State, StoreError> {
        let record = self.ledger.lookup(id).await?;
        let own = record.filter(|record| {
            let challenge = &record.challenge;
            (challenge.tenant, challenge.user) == (connected.tenant, connected.user)
        });
        Ok(own.map_or(State::Pending, |record| record.state))
    }

    /// Claims a ticket for a new device, which then types the number that the ticket's owner sees.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub async fn claim(&self, call: &mut Call, claim: Claim) -> Result<Claimed, EnrolError> {
        let device_name = domain::directory::name(&claim.device_name)?;
        let (hash, ticket) = match &claim.proof {
            TicketProof::Secret(secret) => {
                let hash = ticket::secret_hash(secret);
                (hash, self.directory.ticket_by_secret(hash).await?)
            }
            TicketProof::Code { user, code } => {
                let hash = ticket::code_hash(user, code);
                (hash, self.directory.ticket_by_code(user.trim().to_owned(), hash).await?)
            }
        };
        let ticket = ticket.filter(|ticket| ticket.state_name(call.now) == "open");
        let ticket = ticket.ok_or(EnrolError::Refused)?;
        self.demand_first(call, &ticket).await?;
        let server = self.vault.identity().identity_hash();
        let statement = EnrolClaim { ticket: &hash, server: &server, nonce: &claim.nonce };
        statement.verify(&claim.key, &claim.signature).map_err(|_| EnrolError::BadSignature)?;
        let number = ticket.confirm.then(|| {
            let number = Number::draw(&mut *call.rng, DEFAULT_DIGITS, &[]);
            let purpose = SealFor::TicketNumber(ticket.tenant, ticket.id);
            self.vault.seal(purpose, number.as_str().as_bytes())
        });
        let digits = if ticket.confirm { DEFAULT_DIGITS } else { 0 };
        let entry = ticket_entry(&ticket, Event::TicketClaimed)
            .privately(|private| private.agent = Some(device_name.clone()));
        let stored = StoredClaim { key: claim.key.clone(), device_name, number };
        self.directory.apply(Change::ClaimTicket(ticket.id, stored), vec![entry]).await?;
        Ok(Claimed { digits, ticket: ticket.id, hash, nonce: claim.nonce, key: claim.key })
    }

    /// Ends an enrolment: the number must match; a wrong one cancels the ticket.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub async fn confirm(
        &self,
        call: &mut Call,
        claimed: Claimed,
        number: &str,
        signature: &[u8],
    ) -> Result<Enrolled, EnrolError> {
        let ticket = self.directory.ticket(claimed.ticket).await?;
        let ticket = ticket.filter(|ticket| ticket.state_name(call.now) == "claimed");
        let ticket = ticket.ok_or(EnrolError::Refused)?;
        let TicketState::Claimed(claim) = &ticket.state else {
            return Err(EnrolError::Refused);
        };
        if claim.key != claimed.key {
            return Err(EnrolError::Refused);
        }
        let statement = EnrolConfirm { ticket: &claimed.hash, nonce: &claimed.nonce, number };
        statement.verify(&claim.key, signature).map_err(|_| EnrolError::BadSignature)?;
        if !self.ticket_number_matches(&ticket, claim, number)? {
            let entry = ticket_entry(&ticket, Event::TicketCancelled)
                .with(|public| public.cause = Some(Cause::WrongNumber.into()));
            self.directory.apply(Change::CancelTicket(ticket.id), vec![entry]).await?;
            return Err(EnrolError::Refused);
        }
        self.enrol(call, &ticket, claim).await
    }

    fn ticket_number_matches(
        &self,
        ticket: &Ticket,
        claim: &StoredClaim,
        typed: &str,
    ) -> Result<bool, StoreError> {
        let Some(sealed) = &claim.number else {
            return Ok(typed.is_empty());
        };
        Ok(self.ticket_number(ticket, sealed)?.matches(typed))
    }

    /// Opens a claimed ticket's number.
    pub(crate) fn ticket_number(
        &self,
        ticket: &Ticket,
        sealed: &[u8],
    ) -> Result<Number, StoreError> {
        let wrong = || StoreError::Inconsistent("a ticket's number doesn't open".into());
        let purpose = SealFor::TicketNumber(ticket.tenant, ticket.id);
        let plain = self.vault.open(purpose, sealed).map_err(|_| wrong())?;
        std::str::from_utf8(&plain).ok().and_then(Number::parse).ok_or_else(wrong)
    }

    /// Cancels a ticket that was made for a user without any factor, who has one by now: it was given without the
    /// reason that this takes, and maybe without a number.
    async fn demand_first(&self, call: &Call, ticket: &Ticket) -> Result<(), EnrolError> {
        if !ticket.first {
            return Ok(());
        }
        let user = self.user_now(call, ticket.tenant, UserRef::Id(ticket.user)).await?;
        if !user.is_some_and(|user| user.is_enrolled()) {
            return Ok(());
        }
        let entry = ticket_entry(ticket, Event::TicketCancelled)
            .with(|public| public.cause = Some("factor_made".to_owned()));
        self.directory.apply(Change::CancelTicket(ticket.id), vec![entry]).await?;
        Err(EnrolError::Refused)
    }

    async fn enrol(
        &self,
        call: &mut Call,
        ticket: &Ticket,
        claim: &StoredClaim,
    ) -> Result<Enrolled, EnrolError> {
        let user = self.user_now(call, ticket.tenant, UserRef::Id(ticket.user)).await?;
        let user = user.ok_or(EnrolError::Refused)?;
        self.demand_first(call, ticket).await?;
        let (decision, alerts) = self.judge_new(call, &user).await?;
        let wait = wait(self.user_policy(ticket.tenant), decision, &ticket.by, call.now);
        let (secret, new_factor) = match user.totp.as_ref().filter(|totp| !totp.locked) {
            _ if wait.is_some() => (None, None),
            Some(factor) => {
                let purpose = SealFor::Totp(ticket.tenant, ticket.user, factor.id);
                (Some(self.open_totp(purpose, &factor.secret)?), None)
            }
            None => {
                let (secret, factor) = self.new_totp(call, ticket.tenant, ticket.user);
                (Some(secret), Some(factor))
            }
        };
        let device = Device {
            id: DeviceId::from_bytes(call.random()),
            tenant: ticket.tenant,
            user: ticket.user,
            name: claim.device_name.clone(),
            key: claim.key.clone(),
            created: call.now,
            revoked: None,
            wait,
        };
        let id = device.id;
        // read first: a ticket that is used up for a device that never hears of it would be lost
        let organisation = self.organisation(ticket.tenant).await?;
        let waits = device.wait.as_ref().map(waits_for);
        let but = if waits.is_some() { " and doesn't work yet" } else { "" };
        let text = format!(
            "\"{}\" was added to your account{but}. If it wasn't you, tell your administrator now.",
            claim.device_name
        );
        let mut audit = vec![
            ticket_entry(ticket, Event::DeviceEnrolled)
                .with(|public| public.device = Some(id))
                .privately(|private| private.agent = Some(claim.device_name.clone()))
                .telling_others(ticket.user, id, NoticeKind::DeviceEnrolled, text),
        ];
        if let Some(cause) = waits {
            audit.push(ticket_entry(ticket, Event::DeviceWaiting).with(|public| {
                public.device = Some(id);
                public.cause = Some(cause.into());
            }));
        }
        if new_factor.is_some() {
            audit.push(factor_entry(ticket.tenant, ticket.user, &Actor::Owner));
        }
        let about = About { device: Some(id), ..About::user(ticket.tenant, ticket.user) };
        audit.extend(guarding::raise(about, alerts, None));
        self.directory
            .apply(Change::Enrol { ticket: ticket.id, device, totp: new_factor }, audit)
            .await?;
        self.hint_notices(ticket.tenant, ticket.user);
        Ok(Enrolled {
            tenant: ticket.tenant,
            device: id,
            user_name: user.user.name.clone(),
            organisation,
            totp: secret,
        })
    }

    /// Draws a TOTP secret and seals it as a factor of the user's.
    pub(crate) fn new_totp(
        &self,
        call: &mut Call,
        tenant: TenantId,
        user: UserId,
    ) -> (totp::Secret, TotpFactor) {
        let secret: totp::Secret = Zeroizing::new(call.random());
        let id = FactorId::from_bytes(call.random());
        let sealed = self.vault.seal(SealFor::Totp(tenant, user, id), secret.as_slice());
        let factor =
            TotpFactor { id, secret: sealed, last_step: 0, locked: false, created: call.now };
        (secret, factor)
    }

    /// Gives a new TOTP secret to a device that approved a push within the last ten minutes, if the user's
    /// own is locked or missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rebind_totp(
        &self,
        call: &mut Call,
        connected: &Connected,
    ) -> Result<Option<totp::Secret>, StoreError> {
        let (tenant, user) = (connected.tenant, connected.user);
        let record = self.user_now(call, tenant, UserRef::Id(user)).await?;
        let active = |record: &Arc<UserRecord>| {
            record.active_devices().any(|device| device.id == connected.device)
        };
        let Some(_) = record.filter(|record| active(record) && needs_totp(record)) else {
            return Ok(None);
        };
        let hot = self.load_user(call, tenant, user).await?;
        if !hot.cell.may_rebind(connected.device, call.now) {
            return Ok(None);
        }
        let (secret, factor) = self.new_totp(call, tenant, user);
        let text = "A new code generator was set up from one of your devices.";
        let entry = factor_entry(tenant, user, &Actor::Owner)
            .with(|public| public.device = Some(connected.device))
            .telling(user, NoticeKind::FactorCreated, text);
        match self.directory.apply(Change::PutTotp(user, factor), vec![entry]).await {
            Ok(()) => {}
            Err(DirectoryError::Store(error)) => return Err(error),
            Err(_) => return Ok(None),
        }
        self.hint_notices(tenant, user);
        Ok(Some(secret))
    }
}

pub(crate) fn ticket_entry(ticket: &Ticket, event: Event) -> Entry {
    Entry::new(ticket.tenant, event).with(|public| {
        public.ticket = Some(ticket.id);
        public.user = Some(ticket.user);
    })
}

pub(crate) fn factor_entry(tenant: TenantId, user: UserId, by: &Actor) -> Entry {
    Entry::new(tenant, Event::FactorCreated)
        .with(|public| {
            public.user = Some(user);
            public.factor = Some(domain::challenge::Method::Totp);
        })
        .privately(|private| private.by = Some(by.to_string()))
}
