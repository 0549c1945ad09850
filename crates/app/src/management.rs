//! Tenants, integrations, keys and users.

use std::sync::Arc;
use std::time::Duration;

use domain::api_key::ApiKeyText;
use domain::audit::{Cause, Entry, Event};
use domain::challenge::{MAX_TTL, MIN_TTL, Methods, Purpose};
use domain::directory::{ApiKey, Device, Integration, Scope, TakesTwo, Tenant, User, UserRecord};
use domain::protocol::Protocol;
use ports::{Change, DirectoryError, Listed, Page, UserRef};
use statement::{DeviceId, IntegrationId, TenantId, Timestamp, UserId};

use crate::{Actor, App, Call, Error};

/// An integration to be registered.
#[derive(Clone, Debug)]
pub struct NewIntegration {
    /// What prompts call it.
    pub name: String,
    /// How it speaks to this server.
    pub protocol: Protocol,
    /// Why it may ask, beside everyday purposes; the first is meant unless it says otherwise.
    pub purposes: Vec<Purpose>,
    /// The ways to pass that it allows.
    pub methods: Methods,
    /// What its keys may do.
    pub scopes: Vec<Scope>,
    /// Whether it always verifies a first factor before it asks.
    pub verifies_first_factor: bool,
    /// Whether it is told who exists.
    pub reveal_users: bool,
}

/// A key, given out once. Redacted in `Debug`.
#[derive(Debug)]
pub struct NewKey {
    /// Whose.
    pub integration: IntegrationId,
    /// The key.
    pub key: ApiKeyText,
}

/// What a user should be; what isn't said stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserWish {
    /// Whether they are for emergencies.
    pub break_glass: Option<bool>,
    /// How long their hosted sign-ins wait; 30 to 300 s.
    pub ttl: Option<Duration>,
}

/// A user as management sees them.
#[derive(Clone, Debug)]
pub struct UserView {
    /// The user.
    pub user: User,
    /// Whether they have any factor.
    pub enrolled: bool,
    /// The ways in which they could pass.
    pub methods: Methods,
}

impl From<&UserRecord> for UserView {
    fn from(record: &UserRecord) -> Self {
        Self {
            user: record.user.clone(),
            enrolled: record.is_enrolled(),
            methods: record.methods(),
        }
    }
}

impl App {
    /// Makes an organisation.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NameTaken`], [`Error::Store`].
    pub async fn create_tenant(
        &self,
        call: &mut Call,
        actor: &Actor,
        name: &str,
    ) -> Result<Tenant, Error> {
        let name = domain::directory::name(name).map_err(Error::name("name"))?;
        let tenant = Tenant { id: TenantId::from_bytes(call.random()), name, created: call.now };
        let entry = Entry::new(tenant.id, Event::TenantCreated).privately(|private| {
            private.name = Some(tenant.name.clone());
            private.by = Some(actor.to_string());
        });
        self.directory.apply(Change::CreateTenant(tenant.clone()), vec![entry]).await?;
        Ok(tenant)
    }

    /// The tenant of that name or id; the only one, if none is named.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] if there are several and none is named, [`Error::Store`].
    pub async fn find_tenant(&self, named: Option<&str>) -> Result<Tenant, Error> {
        let mut tenants = self.directory.tenants().await?;
        match named {
            None if tenants.len() == 1 => Ok(tenants.remove(0)),
            None => {
                let default = tenants.into_iter().find(|tenant| tenant.name == "default");
                default.ok_or(Error::NotFound)
            }
            Some(named) => tenants
                .into_iter()
                .find(|tenant| tenant.name == named || tenant.id.to_string() == named)
                .ok_or(Error::NotFound),
        }
    }

    /// All organisations.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        Ok(self.directory.tenants().await?)
    }

    /// Registers an integration and draws its first key.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NameTaken`], [`Error::Store`].
    pub async fn create_integration(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        new: NewIntegration,
    ) -> Result<NewKey, Error> {
        let name = domain::directory::name(&new.name).map_err(Error::name("name"))?;
        if new.methods.is_empty() {
            return Err(Error::invalid("methods", "at least one"));
        }
        crate::protocols::check(&new)?;
        self.demand_token_keys(call, &new.protocol).await?;
        let integration = Integration {
            id: IntegrationId::from_bytes(call.random()),
            tenant,
            name,
            protocol: new.protocol,
            purposes: new.purposes,
            methods: new.methods,
            scopes: new.scopes,
            verifies_first_factor: new.verifies_first_factor,
            reveal_users: new.reveal_users,
            created: call.now,
        };
        // its secret is dead from the start, and nobody is told it
        let dead = integration.protocol.has_no_secret().then_some(call.now);
        let (text, key) = draw_key(call, integration.id, dead);
        let scopes: Vec<&str> = integration.scopes.iter().map(|scope| scope.name()).collect();
        let created = Entry::new(tenant, Event::IntegrationCreated)
            .with(|public| {
                public.integration = Some(integration.id);
                public.cause = Some(format!("scopes {}", scopes.join(" ")));
            })
            .privately(|private| {
                private.name = Some(integration.name.clone());
                private.by = Some(actor.to_string());
            });
        let id = integration.id;
        let keyed = key_entry(tenant, id, Event::KeyCreated, actor);
        let change = Change::CreateIntegration(integration, key);
        self.directory.apply(change, vec![created, keyed]).await?;
        Ok(NewKey { integration: id, key: text })
    }

    /// Integrations of a tenant.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn integrations(&self, tenant: TenantId) -> Result<Vec<Integration>, Error> {
        Ok(self.directory.integrations(tenant).await?)
    }

    /// An integration of the tenant, by id or name.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn find_integration(
        &self,
        tenant: TenantId,
        named: &str,
    ) -> Result<Arc<Integration>, Error> {
        let all = self.directory.integrations(tenant).await?;
        all.into_iter()
            .find(|integration| integration.id.to_string() == named || integration.name == named)
            .map(Arc::new)
            .ok_or(Error::NotFound)
    }

    /// Draws another key of an integration; at most two live at once.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Limit`], [`Error::Store`].
    pub async fn create_key(
        &self,
        call: &mut Call,
        actor: &Actor,
        integration: &Integration,
        expires: Option<Timestamp>,
    ) -> Result<NewKey, Error> {
        let (text, key) = draw_key(call, integration.id, expires);
        let entry = key_entry(integration.tenant, integration.id, Event::KeyCreated, actor);
        match self.directory.apply(Change::CreateKey(key), vec![entry]).await {
            Err(DirectoryError::Limit) => {
                Err(Error::Limit("two keys are live already: revoke one first"))
            }
            other => Ok(other?),
        }?;
        Ok(NewKey { integration: integration.id, key: text })
    }

    /// Keys of an integration.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keys(&self, integration: IntegrationId) -> Result<Vec<ApiKey>, Error> {
        Ok(self.directory.keys(integration).await?)
    }

    /// Ends a key, named by its hint.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn revoke_key(
        &self,
        call: &Call,
        actor: &Actor,
        integration: &Integration,
        hint: &str,
    ) -> Result<(), Error> {
        let entry = key_entry(integration.tenant, integration.id, Event::KeyRevoked, actor);
        let change = Change::RevokeKey(integration.id, hint.to_owned(), call.now);
        Ok(self.directory.apply(change, vec![entry]).await?)
    }

    /// Makes a user, or returns the one of that name.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Store`].
    pub async fn upsert_user(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        name: &str,
    ) -> Result<(UserView, bool), Error> {
        self.make_user(call, actor, tenant, name, UserWish::default()).await
    }

    /// Makes sure that a user exists and is as `wish` says. By name it makes them, by id it only finds. Under attack it takes two people to make them one for emergencies: nothing is
    /// withheld from those.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::SecondApprover`], [`Error::Store`].
    pub async fn put_user(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        user: UserRef,
        wish: UserWish,
    ) -> Result<(UserView, bool), Error> {
        check_ttl(wish.ttl)?;
        let (view, made) = match user {
            UserRef::Name(name) => self.make_user(call, actor, tenant, &name, wish).await?,
            id @ UserRef::Id(_) => (self.user(tenant, id).await?, false),
        };
        let id = view.user.id;
        let changed = |cause: Cause| {
            Entry::new(tenant, Event::UserChanged)
                .with(|public| {
                    public.user = Some(id);
                    public.cause = Some(cause.into());
                })
                .privately(|private| private.by = Some(actor.to_string()))
        };
        if let Some(on) = wish.break_glass.filter(|on| *on != view.user.break_glass) {
            if on {
                let record = self.user_record(call, tenant, UserRef::Id(id)).await?;
                let what = (TakesTwo::BreakGlass, None);
                self.demand_second(call, actor, &record, what).await?;
            }
            let cause = if on { Cause::BreakGlass } else { Cause::NoBreakGlass };
            self.directory.apply(Change::SetBreakGlass(id, on), vec![changed(cause)]).await?;
        }
        if let Some(ttl) = wish.ttl.filter(|ttl| Some(*ttl) != view.user.ttl) {
            self.directory.apply(Change::SetTtl(id, ttl), vec![changed(Cause::Ttl)]).await?;
        }
        Ok((self.user(tenant, UserRef::Id(id)).await?, made))
    }

    /// Makes a user, or returns the one of that name as they are.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Store`].
    pub async fn make_user(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        name: &str,
        wish: UserWish,
    ) -> Result<(UserView, bool), Error> {
        check_ttl(wish.ttl)?;
        let break_glass = wish.break_glass == Some(true);
        let name = domain::directory::name(name).map_err(Error::name("name"))?;
        if name.starts_with(UserId::PREFIX) || name.starts_with("name:") {
            return Err(Error::invalid("name", "must not start with usr_ or name:"));
        }
        if let Some(found) = self.directory.user(tenant, UserRef::Name(name.clone())).await? {
            return Ok((UserView::from(&*found), false));
        }
        let user = User {
            id: UserId::from_bytes(call.random()),
            tenant,
            name: name.clone(),
            epoch: 0,
            break_glass,
            ttl: wish.ttl,
            reset: None,
            created: call.now,
        };
        let entry = Entry::new(tenant, Event::UserCreated)
            .with(|public| {
                public.user = Some(user.id);
                public.cause = break_glass.then(|| Cause::BreakGlass.into());
            })
            .privately(|private| {
                private.name = Some(name.clone());
                private.by = Some(actor.to_string());
            });
        match self.directory.apply(Change::CreateUser(user.clone()), vec![entry]).await {
            Ok(()) => {
                let methods = Methods::default();
                Ok((UserView { user, enrolled: false, methods }, true))
            }
            // somebody else made them first
            Err(DirectoryError::NameTaken) => {
                self.user(tenant, UserRef::Name(name)).await.map(|view| (view, false))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A user.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn user(&self, tenant: TenantId, user: UserRef) -> Result<UserView, Error> {
        let record = self.directory.user(tenant, user).await?.ok_or(Error::NotFound)?;
        Ok(UserView::from(&*record))
    }

    /// Users of a tenant.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn users(&self, tenant: TenantId, page: Page) -> Result<Listed<User>, Error> {
        Ok(self.directory.users(tenant, page).await?)
    }

    /// A user's devices, revoked ones included.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn devices(&self, tenant: TenantId, user: UserRef) -> Result<Vec<Device>, Error> {
        let record = self.directory.user(tenant, user).await?.ok_or(Error::NotFound)?;
        Ok(record.devices.clone())
    }

    /// A device of a tenant.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn device(&self, tenant: TenantId, id: DeviceId) -> Result<Device, Error> {
        let owner = self.directory.device_owner(id).await?.ok_or(Error::NotFound)?;
        let device = owner.devices.iter().find(|device| device.id == id && device.tenant == tenant);
        device.cloned().ok_or(Error::NotFound)
    }

    /// A user's factors: when the TOTP secret was made and whether it is locked, and how many recovery codes
    /// are left.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn user_record(
        &self,
        call: &Call,
        tenant: TenantId,
        user: UserRef,
    ) -> Result<Arc<UserRecord>, Error> {
        self.user_now(call, tenant, user).await?.ok_or(Error::NotFound)
    }
}

fn check_ttl(ttl: Option<Duration>) -> Result<(), Error> {
    match ttl {
        Some(ttl) if !(MIN_TTL..=MAX_TTL).contains(&ttl) => {
            Err(Error::invalid("ttl_s", "must be between 30 and 300"))
        }
        _ => Ok(()),
    }
}

fn draw_key(
    call: &mut Call,
    integration: IntegrationId,
    expires: Option<Timestamp>,
) -> (ApiKeyText, ApiKey) {
    let text = ApiKeyText::draw(&mut *call.rng);
    let key = ApiKey {
        hash: text.hash(),
        integration,
        hint: text.hint(),
        created: call.now,
        expires,
        revoked: None,
    };
    (text, key)
}

fn key_entry(tenant: TenantId, integration: IntegrationId, event: Event, by: &Actor) -> Entry {
    Entry::new(tenant, event)
        .with(|public| public.integration = Some(integration))
        .privately(|private| private.by = Some(by.to_string()))
}
