//! Who calls: an integration with a key, or an operator on the admin socket.

use std::fmt;
use std::sync::Arc;

use domain::api_key::ApiKeyText;
use domain::directory::{Integration, Scope};
use domain::protocol::Protocol;
use ports::KeyOwner;
use statement::{IntegrationId, TenantId};

use crate::{App, Call, Error};

/// An integration that proved itself.
#[derive(Clone, Debug)]
pub struct Caller(Proven);

#[derive(Clone, Debug)]
enum Proven {
    ByKey(Arc<KeyOwner>),
    ByPage(Arc<Integration>),
}

impl Caller {
    /// The integration.
    #[must_use]
    pub fn integration(&self) -> &Integration {
        match &self.0 {
            Proven::ByKey(owner) => &owner.integration,
            Proven::ByPage(integration) => integration,
        }
    }

    /// Its tenant.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.integration().tenant
    }

    /// Whether it came with a key of its own, rather than by a page.
    pub(crate) const fn has_key(&self) -> bool {
        matches!(self.0, Proven::ByKey(_))
    }

    /// Demands a scope.
    ///
    /// # Errors
    /// [`Error::ScopeMissing`].
    pub fn demand(&self, scope: Scope) -> Result<(), Error> {
        if self.integration().scopes.contains(&scope) {
            return Ok(());
        }
        Err(Error::ScopeMissing(scope.name()))
    }

    /// Who this is, for the audit.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let key = match &self.0 {
            Proven::ByKey(owner) => owner.key.hint.clone(),
            Proven::ByPage(_) => "hosted page".to_owned(),
        };
        Actor::Integration { name: self.integration().name.clone(), key }
    }
}

/// Who makes a change, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// An integration, by one of its keys.
    Integration {
        /// Its name.
        name: String,
        /// The key's first characters.
        key: String,
    },
    /// Somebody on the admin socket, by their user id on this machine.
    Operator {
        /// The peer's uid.
        uid: u32,
    },
    /// The person themselves, on a device of theirs.
    Owner,
    /// Nobody: a rule of the server's own.
    Rule,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integration { name, key } => write!(f, "{name} ({key})"),
            Self::Operator { uid } => write!(f, "operator (uid {uid})"),
            Self::Owner => f.write_str("the user"),
            Self::Rule => f.write_str("the server"),
        }
    }
}

impl App {
    /// Finds the integration of an API key. Unknown, damaged and dead keys are all alike to the caller.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::Store`].
    pub async fn authenticate(&self, call: &Call, key: &str) -> Result<Caller, Error> {
        let key = ApiKeyText::parse(key).ok_or(Error::Unauthenticated)?;
        let owner = self.directory.key_owner(key.hash()).await?.ok_or(Error::Unauthenticated)?;
        // what a relying party of another protocol holds is a secret of that protocol alone
        if !owner.key.is_live(call.now) || !matches!(owner.integration.protocol, Protocol::Api(_)) {
            return Err(Error::Unauthenticated);
        }
        Ok(Caller(Proven::ByKey(owner)))
    }

    /// The integration of a client id, if `secret` is one of its secrets. Says no more than that it isn't.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::Store`].
    pub async fn authenticate_client(
        &self,
        call: &Call,
        client: &str,
        secret: &str,
    ) -> Result<Arc<Integration>, Error> {
        let key = ApiKeyText::parse(secret).ok_or(Error::Unauthenticated)?;
        let owner = self.directory.key_owner(key.hash()).await?.ok_or(Error::Unauthenticated)?;
        let id: IntegrationId = client.parse().map_err(|_| Error::Unauthenticated)?;
        if !owner.key.is_live(call.now) || owner.integration.id != id {
            return Err(Error::Unauthenticated);
        }
        Ok(Arc::new(owner.integration.clone()))
    }

    /// The integration of a client id; whoever names it has proven nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn client(&self, client: &str) -> Result<Arc<Integration>, Error> {
        let id: IntegrationId = client.parse().map_err(|_| Error::NotFound)?;
        // to the letter: what is compared elsewhere is compared as text
        if id.to_string() != client {
            return Err(Error::NotFound);
        }
        self.directory.integration(id).await?.ok_or(Error::NotFound)
    }

    /// The integration on whose behalf a hosted page acts. The page's edge has proven it by a sign-in that the
    /// integration started.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn page_caller(&self, integration: IntegrationId) -> Result<Caller, Error> {
        let integration = self.directory.integration(integration).await?.ok_or(Error::NotFound)?;
        Ok(Caller(Proven::ByPage(integration)))
    }
}
