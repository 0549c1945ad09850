//! Which rules hold for a request: the operator's tables name tenants and integrations, requests bring ids.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use domain::attempts::Budgets;
use domain::guard::{Policies, Policy, Rules, Who};
use ports::StoreError;
use statement::{IntegrationId, TenantId};

use crate::{App, Caller};

/// The guard's rules as the operator set them.
#[derive(Clone, Debug, Default)]
pub struct Guards {
    /// Those that hold.
    pub live: Policies,
    /// Those that judge beside them, and change nothing.
    pub shadow: Option<Policies>,
}

/// In which places of [`Guards`] somebody's rules are, the live ones first.
type Places = [usize; 2];
type Whose = (TenantId, Option<IntegrationId>);

/// The places of everybody who was met.
#[derive(Default)]
pub(crate) struct Met(RwLock<HashMap<Whose, Places>>);

impl Met {
    fn get(&self, whose: Whose) -> Option<Places> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&whose).copied()
    }

    fn put(&self, whose: Whose, places: Places) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(whose, places);
    }
}

impl Guards {
    fn are_one(&self) -> bool {
        self.live.are_one() && self.shadow.as_ref().is_none_or(Policies::are_one)
    }

    fn places(&self, tenant: Who<'_>, integration: Option<Who<'_>>) -> Places {
        let shadow = self.shadow.as_ref().map(|shadow| shadow.place(tenant, integration));
        [self.live.place(tenant, integration), shadow.unwrap_or(0)]
    }
}

impl App {
    /// Finds out which rules hold for everybody there is. To be called before anything is served: a sign-in of
    /// an earlier run may end before its integration is met again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn meet_everybody(&self) -> Result<(), StoreError> {
        if self.settings.guard.are_one() {
            return Ok(());
        }
        for tenant in self.directory.tenants().await? {
            let integrations = self.directory.integrations(tenant.id).await?;
            let ids = integrations.iter().map(|one| (one.id, one.name.as_str()));
            self.meet_all(tenant.id, &tenant.name, ids);
        }
        Ok(())
    }

    /// Finds out which rules hold for a caller, unless that is known.
    pub(crate) async fn meet(&self, caller: &Caller) -> Result<(), StoreError> {
        let integration = caller.integration();
        let whose = (integration.tenant, Some(integration.id));
        if self.settings.guard.are_one() || self.met.get(whose).is_some() {
            return Ok(());
        }
        let tenants = self.directory.tenants().await?;
        let tenant = tenants.iter().find(|tenant| tenant.id == integration.tenant);
        let name = tenant.map_or("", |tenant| tenant.name.as_str());
        let integrations = std::iter::once((integration.id, integration.name.as_str()));
        self.meet_all(integration.tenant, name, integrations);
        Ok(())
    }

    fn meet_all<'a>(
        &self,
        tenant: TenantId,
        name: &str,
        integrations: impl Iterator<Item = (IntegrationId, &'a str)>,
    ) {
        let guards = &self.settings.guard;
        let tenant_id = tenant.to_string();
        let who = Who { id: &tenant_id, name };
        self.met.put((tenant, None), guards.places(who, None));
        for (id, name) in integrations {
            let integration_id = id.to_string();
            let integration = Some(Who { id: &integration_id, name });
            self.met.put((tenant, Some(id)), guards.places(who, integration));
        }
    }

    fn places(&self, tenant: TenantId, integration: Option<IntegrationId>) -> Places {
        let exact = integration.and_then(|id| self.met.get((tenant, Some(id))));
        exact.or_else(|| self.met.get((tenant, None))).unwrap_or_default()
    }

    /// The rules that hold for an integration, or for what concerns a user at none.
    pub(crate) fn rules(&self, tenant: TenantId, integration: Option<IntegrationId>) -> &Rules {
        let live = &self.settings.guard.live;
        if live.are_one() {
            return live.base();
        }
        live.at(self.places(tenant, integration)[0])
    }

    /// The rules that judge beside those, where there are any.
    pub(crate) fn shadow_rules(
        &self,
        tenant: TenantId,
        integration: Option<IntegrationId>,
    ) -> Option<&Rules> {
        let shadow = self.settings.guard.shadow.as_ref()?;
        if shadow.are_one() {
            return Some(shadow.base());
        }
        Some(shadow.at(self.places(tenant, integration)[1]))
    }

    /// The policy that holds for an integration.
    pub(crate) fn policy(&self, tenant: TenantId, integration: IntegrationId) -> &Policy {
        &self.rules(tenant, Some(integration)).policy
    }

    /// The policy that holds for what concerns a user at no integration.
    pub(crate) fn user_policy(&self, tenant: TenantId) -> &Policy {
        &self.rules(tenant, None).policy
    }

    /// What the lanes of TOTP codes allow. They count over all integrations, so none has its own.
    pub(crate) fn budgets(&self, tenant: TenantId) -> Budgets {
        self.rules(tenant, None).budgets
    }
}
