//! User codes (CIBA Core §7.1): what a person tells a client so that it may ask them at all. It proves nothing;
//! whoever doesn't know it can't make their phone ring.

use domain::attempts::Counter;
use domain::audit::{Cause, Entry, Event};
use domain::number::{MAX_DIGITS, Number};
use futures_util::future::join;
use ports::{Change, Counted, MacKey, UserRef};
use statement::{TenantId, UserId};
use subtle::ConstantTimeEq as _;

use crate::{Actor, App, Call, Caller, Error};

impl App {
    /// Draws a user's code, in place of the one before; given out once, kept as a keyed hash.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn draw_user_code(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        user: UserRef,
    ) -> Result<(UserId, Number), Error> {
        let user = self.user(tenant, user).await?.user.id;
        let code = Number::draw(&mut *call.rng, MAX_DIGITS, &[]);
        let hash = self.user_code_hash(tenant, user, code.as_str());
        self.change_user_code(actor, tenant, user, Some(hash)).await?;
        Ok((user, code))
    }

    /// Ends a user's code: whoever must bring one can't ask them.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn remove_user_code(
        &self,
        actor: &Actor,
        tenant: TenantId,
        user: UserRef,
    ) -> Result<UserId, Error> {
        let user = self.user(tenant, user).await?.user.id;
        self.change_user_code(actor, tenant, user, None).await?;
        Ok(user)
    }

    async fn change_user_code(
        &self,
        actor: &Actor,
        tenant: TenantId,
        user: UserId,
        hash: Option<[u8; 32]>,
    ) -> Result<(), Error> {
        let cause = if hash.is_some() { Cause::UserCode } else { Cause::NoUserCode };
        let entry = Entry::new(tenant, Event::UserChanged)
            .with(|public| {
                public.user = Some(user);
                public.cause = Some(cause.into());
            })
            .privately(|private| private.by = Some(actor.to_string()));
        Ok(self.directory.apply(Change::PutUserCode(user, hash), vec![entry]).await?)
    }

    /// Whether `code` is the user's. Counted durably before it is compared, over all clients; of somebody who is
    /// unknown, or has none, every code is wrong.
    ///
    /// # Errors
    /// [`Error::UserUnknown`] and [`Error::NotEnrolled`] only to integrations that may know; [`Error::Store`].
    pub async fn check_user_code(
        &self,
        caller: &Caller,
        user: &UserRef,
        code: &str,
    ) -> Result<bool, Error> {
        self.meet(caller).await?;
        let tenant = caller.tenant();
        let user = self.target(caller, user, true).await?.id;
        let (counter, budgets) = (Counter::UserCode(user), self.budgets(tenant));
        let counted = self.ledger.count_attempt(counter, budgets).await?;
        let stored = self.directory.user_code(user).await?;
        let mine = self.user_code_hash(tenant, user, code);
        let right = stored.is_some_and(|stored| stored.ct_eq(&mine).into());
        let cause = match counted {
            Counted::Counted(_) if right => {
                self.ledger.uncount_attempt(counter, budgets).await?;
                return Ok(true);
            }
            Counted::Counted(_) => Cause::Wrong,
            Counted::Refused(_) => Cause::BudgetSpent,
        };
        let entry = Entry::new(tenant, Event::CodeFailed).with(|public| {
            public.user = Some(user);
            public.integration = Some(caller.integration().id);
            public.cause = Some(cause.into());
        });
        let noted = self.ledger.record(entry);
        if stored.is_none() {
            // there is nothing to guess, and names that somebody makes up fill no table; at once, so that it takes
            // no longer
            let (noted, uncounted) =
                join(noted, self.ledger.uncount_attempt(counter, budgets)).await;
            noted.and(uncounted)?;
        } else {
            noted.await?;
        }
        Ok(false)
    }

    fn user_code_hash(&self, tenant: TenantId, user: UserId, code: &str) -> [u8; 32] {
        let parts: [&[u8]; 3] = [tenant.as_bytes(), user.as_bytes(), code.as_bytes()];
        self.vault.mac(MacKey::UserCode, &parts)
    }
}
