//! Security staff, or a playbook of theirs, steps in: contains a user, or says that the attack is over.

use domain::audit::{Entry, Event, Told};
use domain::guard::{self, Memory, Policy};
use ports::{StoreError, UserRef};
use statement::{TenantId, UserId};

use crate::live::MAX_TRIES;
use crate::tickets::reason;
use crate::{Actor, App, Call, Error};

/// How alarmed the guard is about a user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Who.
    pub user: UserId,
    /// 0 calm, 1 silent elsewhere, 2 alerted, 3 confirmed.
    pub level: u8,
    /// The number behind the level.
    pub score: f32,
}

impl App {
    /// Contains a user: for a while nothing rings from places that aren't theirs, and an approval from there
    /// needs a code as well. Known places go on as before.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Store`].
    pub async fn contain_user(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        user: UserRef,
        why: Option<String>,
    ) -> Result<Standing, Error> {
        let why = reason(why)?;
        let step = (Event::UserContained, why);
        self.step_in(call, actor, (tenant, user), step, Memory::contain).await
    }

    /// Says that an attack is over: failures are forgotten, what is familiar stays.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Store`].
    pub async fn clear_user(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        user: UserRef,
        why: Option<String>,
    ) -> Result<Standing, Error> {
        let why = reason(why)?;
        let step = (Event::UserCleared, why);
        self.step_in(call, actor, (tenant, user), step, |memory, _, _| memory.clear()).await
    }

    async fn step_in(
        &self,
        call: &mut Call,
        actor: &Actor,
        (tenant, user): (TenantId, UserRef),
        (event, why): (Event, Option<String>),
        step: impl Fn(&mut Memory, &Policy, guard::Seconds),
    ) -> Result<Standing, Error> {
        let record = self.directory.user(tenant, user).await?.ok_or(Error::NotFound)?;
        let user = record.user.id;
        let (policy, now) = (self.user_policy(tenant), guard::seconds(call.now));
        let entry = Entry::new(tenant, event)
            .with(|public| {
                public.user = Some(user);
                public.told = Some(Told::at(now));
            })
            .privately(|private| {
                private.by = Some(actor.to_string());
                private.reason = why;
            });
        // what ended before comes before it in the log, as it does for the guard
        self.load_user(call, tenant, user).await?;
        for _ in 0..MAX_TRIES {
            let hot = self.load_user(call, tenant, user).await?;
            let mut cell = hot.cell;
            cell.memory.bring_to(policy, now);
            step(&mut cell.memory, policy, now);
            let level = cell.memory.level(policy, now);
            let score = cell.memory.shown_score(policy);
            // written down with it: nobody ends a containment without a trace
            let entries = vec![entry.clone()];
            if self.store_cell(call, (tenant, user, hot.version), cell, entries).await? {
                return Ok(Standing { user, level, score });
            }
        }
        Err(StoreError::Overloaded.into())
    }
}
