//! Reads the audit for a webhook, from where it stands.

use app::{App, Error, EventFilter, EventView};
use domain::audit::Event;
use domain::directory::Tenant;
use statement::{EventId, IntegrationId, TenantId};

use super::settings::Endpoint;
use super::state::State;

/// Rows read at once.
const PAGE: u32 = 100;

/// What comes next, in order.
pub(crate) enum Next {
    /// An event to be told.
    Event {
        /// Whose.
        tenant: TenantId,
        /// The name, if it says anything.
        tenant_name: Option<String>,
        /// What happened.
        event: Box<EventView>,
    },
    /// Nothing to be told up to this row.
    Passed(TenantId, EventId),
}

/// What was read, and whether there is more.
pub(crate) struct Read {
    pub(crate) next: Vec<Next>,
    pub(crate) more: bool,
}

/// Reads on behind `state` for each tenant whose events `endpoint` is told.
pub(crate) async fn read(app: &App, endpoint: &Endpoint, state: &State) -> Result<Read, Error> {
    let tenants = app.tenants().await?;
    let several = tenants.len() > 1;
    let mut read = Read { next: Vec::new(), more: false };
    for tenant in tenants {
        let wanted = |named: &String| *named == tenant.name || *named == tenant.id.to_string();
        if endpoint.tenant.as_ref().is_none_or(wanted) {
            page(app, endpoint, state, tenant, several, &mut read).await?;
        }
    }
    Ok(read)
}

async fn page(
    app: &App,
    endpoint: &Endpoint,
    state: &State,
    tenant: Tenant,
    several: bool,
    read: &mut Read,
) -> Result<(), Error> {
    let cursor = state.cursors.get(&tenant.id).copied();
    // with one type the store drops the other rows unread
    let only = match endpoint.types.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    // taken before the rows are read: all rows up to it are there by then
    let anchored = anchored(app, tenant.id).await?;
    let integration = match &endpoint.integration {
        None => None,
        Some(named) => match named_integration(app, tenant.id, named).await? {
            // it may be made later: nothing is told until then, and nothing is passed by
            None => return Ok(()),
            found => found,
        },
    };
    let filter = EventFilter {
        event: only,
        integration,
        since: cursor.is_none().then_some(state.since),
        after: cursor,
        limit: PAGE,
        ..EventFilter::default()
    };
    let events = app.events(tenant.id, filter).await?;
    let full = events.len() >= PAGE as usize;
    read.more |= full;
    let last = events.last().map(|event| event.id);
    let told = |kind: Event| endpoint.types.contains(&kind);
    for event in events.into_iter().filter(|event| told(event.public.event)) {
        let tenant_name = several.then(|| tenant.name.clone());
        read.next.push(Next::Event { tenant: tenant.id, tenant_name, event: Box::new(event) });
    }
    // a full page says nothing of the rows behind it
    let passed = if full { last } else { last.max(anchored) };
    if let Some(passed) = passed.filter(|passed| cursor.is_none_or(|cursor| *passed > cursor)) {
        read.next.push(Next::Passed(tenant.id, passed));
    }
    Ok(())
}

async fn named_integration(
    app: &App,
    tenant: TenantId,
    named: &str,
) -> Result<Option<IntegrationId>, Error> {
    let integrations = app.integrations(tenant).await?;
    let mut all = integrations.into_iter();
    Ok(all.find(|one| one.name == named || one.id.to_string() == named).map(|one| one.id))
}

/// The newest row that a checkpoint covers. Without it rows that the store drops, being of other types or too
/// old, would be searched again each time. A checkpoint comes every minute or thousand rows.
async fn anchored(app: &App, tenant: TenantId) -> Result<Option<EventId>, Error> {
    let signed = app.last_checkpoint(tenant).await?;
    let heads = signed.into_iter().flat_map(|signed| signed.checkpoint.heads);
    Ok(heads.map(|head| EventId::new(head.lane, head.seq)).max())
}
