//! What every [`ports::Directory`] must do.

mod integrations;
mod links;
mod notices;
mod people;
mod tickets;
mod waits;

use std::sync::Arc;

use domain::audit::{Entry, Event};
use domain::directory::{Tenant, User, UserRecord};
use ports::{Change, Directory, DirectoryError, UserRef};
use statement::TenantId;

use crate::Backend;
use crate::backend::World;
use crate::rules::{race, rules, within};

/// Runs the suite.
///
/// # Panics
/// At the first rule that is broken.
pub async fn directory_suite(make: impl AsyncFn() -> Backend) {
    let set_up = async |seed| World::new(make().await, seed).await;
    rules!(
        &set_up;
        links::a_link_is_found_replaced_and_ended,
        links::a_link_stays_within_its_tenant,
        integrations::the_default_tenant_exists_and_others_follow_in_order,
        integrations::a_tenant_s_name_is_its_own,
        integrations::an_integration_comes_back_as_it_went,
        integrations::an_integration_s_name_is_free_in_another_tenant,
        integrations::two_keys_may_live_at_once,
        integrations::racing_keys_stop_at_two,
        integrations::a_dead_key_is_still_known,
        integrations::an_unknown_key_is_nobody_s,
    );
    rules!(
        &set_up;
        people::a_user_is_found_by_id_and_name_in_their_tenant_alone,
        people::a_name_that_was_asked_for_in_vain_is_found_once_it_is_made,
        people::of_racing_users_of_one_name_one_is_made,
        people::users_are_listed_in_order_page_by_page,
        people::a_revoked_device_stays_known_and_raises_the_epoch,
        people::a_totp_secret_takes_the_old_one_s_place_and_its_caps_start_anew,
        people::a_totp_factor_locks_once,
        people::recovery_codes_take_the_old_ones_place,
        people::a_reset_takes_everything,
        people::a_user_is_for_emergencies_when_told,
        people::a_user_has_the_time_they_were_given,
        people::changes_of_nobody_are_refused,
        people::a_change_and_its_entries_are_one,
    );
    rules!(
        &set_up;
        waits::a_device_that_waits_is_known_and_its_wait_ends_once,
        waits::what_waits_leaves_what_works_until_its_time,
        waits::what_waits_for_time_can_be_made_to_wait_for_somebody,
        waits::somebody_agrees_to_one_factor_alone,
        waits::what_is_made_at_once_ends_what_waits,
        waits::a_reset_is_asked_for_and_done,
        waits::waits_of_nobody_are_refused,
    );
    rules!(
        &set_up;
        links::a_user_code_is_replaced_ended_and_counted_anew,
        tickets::a_ticket_is_found_by_id_secret_and_code,
        tickets::a_new_ticket_cancels_the_open_one,
        tickets::a_ticket_is_claimed_once_and_in_time,
        tickets::of_racing_claims_one_wins,
        tickets::a_cancelled_ticket_is_of_no_use,
        tickets::a_device_is_enrolled_with_the_claim_s_key_alone,
        tickets::of_racing_enrolments_with_one_ticket_one_wins,
        tickets::a_user_has_no_more_devices_than_allowed,
        tickets::a_claimed_ticket_ends_with_its_time,
        tickets::a_first_ticket_is_of_no_use_once_there_is_a_factor,
        notices::a_notice_is_kept_for_each_device_until_it_has_had_it,
        notices::a_device_is_told_what_came_after_it,
        notices::a_flood_of_one_kind_leaves_the_others,
        notices::a_refused_change_tells_nothing,
        tickets::the_fifth_wrong_code_ends_the_code_alone,
        tickets::wrong_codes_of_others_count_for_nobody_else,
        tickets::racing_codes_get_five_tries,
    );
}

/// What directory rules do often.
impl World {
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.backend.directory)
    }

    /// Makes a change that must be refused, and leave no audit row.
    async fn refused(&self, change: Change) -> DirectoryError {
        let rows = self.rows().await;
        let audit = vec![self.fixture.entry(Event::Alert)];
        let refusal = self
            .backend
            .directory
            .apply(change.clone(), audit)
            .await
            .expect_err(&format!("{change:?} is refused"));
        assert_eq!(self.rows().await, rows, "{change:?} left a row");
        refusal
    }

    /// How many audit rows the tenant has.
    async fn rows(&self) -> usize {
        self.audit_rows().await.len()
    }

    async fn find_user(&self, tenant: TenantId, user: UserRef) -> Option<Arc<UserRecord>> {
        let found = self.backend.directory.user(tenant, user).await;
        found.expect("reads")
    }

    /// The fixture's user.
    async fn own(&self) -> Arc<UserRecord> {
        let user = UserRef::Id(self.fixture.user.id);
        let found = self.find_user(self.fixture.tenant.id, user).await;
        found.expect("is there")
    }

    async fn new_user(&mut self) -> User {
        let user = self.fixture.user();
        self.apply(Change::CreateUser(user.clone()), Event::UserCreated).await;
        user
    }

    async fn new_tenant(&mut self) -> Tenant {
        let id: [u8; 16] = self.fixture.bytes();
        let tenant = Tenant {
            id: TenantId::from_bytes(id),
            name: format!("tenant {:02x}{:02x}{:02x}", id[0], id[1], id[2]),
            created: self.backend.clock.now(),
        };
        let audit = vec![Entry::new(tenant.id, Event::TenantCreated)];
        let change = Change::CreateTenant(tenant.clone());
        let made = self.backend.directory.apply(change, audit).await;
        assert_eq!(made, Ok(()));
        tenant
    }

    /// Races changes; how many were made, and that the others were refused as `refusal`.
    async fn race_changes(&self, changes: Vec<Change>, refusal: &DirectoryError) -> usize {
        let racing = race(changes.len(), |index| {
            let (directory, change) = (self.directory(), changes[index].clone());
            let audit = vec![self.fixture.entry(Event::Alert)];
            async move { directory.apply(change, audit).await }
        });
        let before = self.rows().await;
        let mut made = 0;
        for result in within("the race", racing).await {
            match result {
                Ok(()) => made += 1,
                Err(error) => assert_eq!(error, *refusal),
            }
        }
        assert_eq!(self.rows().await, before + made, "a row for each change");
        made
    }
}
