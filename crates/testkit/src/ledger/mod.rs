//! What every [`ports::Ledger`] must do.

mod attempts;
mod audit;
mod effects;
mod open;
mod redeem;
mod settle;

use std::sync::Arc;

use domain::audit::{Entry, Event};
use domain::challenge::{Challenge, Collect, Decided, Decision, Proof, State};
use domain::directory::{Device, UserRecord};
use ports::{
    AuditFilter, AuditRow, Ledger, LedgerRecord, Open, Opened, Redeem, Redeemed, Settle, Settled,
    UserRef,
};
use statement::ChallengeId;

use crate::Backend;
use crate::backend::World;
use crate::rules::rules;

/// Runs the suite.
///
/// # Panics
/// At the first rule that is broken.
pub async fn ledger_suite(make: impl AsyncFn() -> Backend) {
    let set_up = async |seed| World::new(make().await, seed).await;
    rules!(
        &set_up;
        open::an_open_challenge_is_looked_up_as_it_was,
        open::an_unknown_challenge_is_nothing,
        open::a_challenge_of_an_unknown_user_opens_too,
        open::the_rider_becomes_durable_with_its_challenge,
        open::a_rider_becomes_durable_with_entries_that_stand_for_themselves,
        open::a_taken_replay_key_stores_nothing,
        open::of_racing_opens_under_one_replay_key_one_wins,
        open::a_replay_key_is_its_integration_s_own_and_lives_a_day,
        open::a_stored_reply_is_recalled,
        open::what_has_expired_is_due_oldest_first_up_to_the_limit,
    );
    rules!(
        &set_up;
        settle::every_decision_settles_once_and_for_ever,
        settle::a_decided_challenge_has_no_number,
        settle::an_unknown_challenge_is_not_settled,
        settle::the_ledger_s_clock_judges_at_the_boundary,
        settle::items_are_judged_alone_and_in_order,
        settle::alerts_are_written_with_their_decision_or_not_at_all,
        settle::no_items_are_no_work,
        settle::a_device_that_is_not_active_decides_nothing,
        settle::of_racing_decisions_one_wins,
        settle::racing_past_the_expiry_never_approves_late,
        settle::racing_batches_of_one_user_settle_each_challenge_once,
        settle::a_revocation_and_an_approval_never_both_win,
    );
    rules!(
        &set_up;
        effects::a_totp_step_is_accepted_once_and_never_an_older_one,
        effects::a_locked_or_replaced_totp_factor_passes_nothing,
        effects::a_recovery_code_is_spent_once,
        effects::racing_uses_of_one_code_pass_once,
        effects::racing_uses_of_one_step_pass_once,
        effects::counted_failures_are_forgotten,
        effects::cookies_die_one_by_one_and_all_at_once,
        effects::a_refused_item_leaves_nothing_behind,
    );
    rules!(
        &set_up;
        redeem::an_approval_is_redeemed_exactly_once,
        redeem::what_is_not_approved_is_not_redeemed,
        redeem::of_racing_redeems_one_wins,
        redeem::the_window_ends_a_minute_after_the_decision,
        redeem::four_wrong_sessions_are_forgiven_and_the_fifth_lapses,
        redeem::racing_wrong_sessions_are_counted_exactly,
        redeem::a_report_lapses_what_was_not_redeemed,
        redeem::a_lapse_of_anything_else_leaves_nothing_behind,
        redeem::a_redeem_and_a_lapse_never_both_win,
        redeem::a_revoked_device_s_approvals_lapse,
        redeem::an_approval_by_push_and_code_lapses_with_its_device,
        redeem::a_reset_user_s_approvals_lapse,
    );
    counts_and_rows(&set_up).await;
}

async fn counts_and_rows(set_up: &impl AsyncFn(u64) -> World) {
    rules!(
        set_up;
        attempts::racing_attempts_share_one_budget,
        attempts::waiting_frees_one_try_at_a_time_and_the_cap_is_final,
        attempts::a_lane_ends_at_its_day_its_month_and_its_cap,
        attempts::neither_success_nor_a_new_secret_refills_a_month,
        attempts::a_refused_attempt_changes_nothing,
        attempts::a_try_that_is_taken_back_leaves_the_others_counted,
        attempts::counters_are_apart,
        audit::every_write_has_its_row_and_rows_come_as_they_went,
        audit::lanes_have_no_gaps_and_tenants_have_their_own,
        audit::rows_are_filtered_and_paged,
        audit::checkpoints_name_the_lanes_heads_and_chain,
    );
}

/// What [`Ledger`] rules do often.
impl World {
    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.backend.ledger)
    }

    /// An open, ringing challenge of the user.
    async fn open(&mut self) -> Arc<Challenge> {
        let challenge = self.fixture.challenge();
        self.open_this(&challenge).await;
        challenge
    }

    async fn open_this(&self, challenge: &Arc<Challenge>) {
        let item = Open {
            challenge: Arc::clone(challenge),
            replay: None,
            audit: self.about(challenge, Event::ChallengeCreated),
            alerts: Vec::new(),
            rider: None,
        };
        assert_eq!(self.backend.ledger.open(item).await, Ok(Opened::Opened));
    }

    /// An audit entry about a challenge.
    fn about(&self, challenge: &Challenge, event: Event) -> Entry {
        self.fixture.entry(event).with(|public| {
            public.challenge = Some(challenge.id);
            public.user = Some(challenge.user);
            public.integration = Some(challenge.integration);
        })
    }

    /// A decision that nobody's device or code made.
    fn decision(&self, challenge: &Challenge, decision: Decision) -> Settle {
        Settle {
            challenge: challenge.id,
            decision,
            proof: None,
            after_expiry: decision == Decision::Expired,
            device: None,
            effects: Vec::new(),
            audit: self
                .about(challenge, Event::ChallengeDecided)
                .with(|public| public.decision = Some(decision)),
            alerts: Vec::new(),
        }
    }

    /// An answer of a device.
    fn answer(&self, challenge: &Challenge, device: &Device, decision: Decision) -> Settle {
        Settle {
            proof: Some(Proof::Push(device.id)),
            device: Some(device.id),
            ..self.decision(challenge, decision)
        }
    }

    async fn settle(&self, item: Settle) -> Settled {
        let settled = self.settle_all(vec![item]).await;
        assert_eq!(settled.len(), 1);
        settled[0]
    }

    async fn settle_all(&self, items: Vec<Settle>) -> Vec<Settled> {
        self.backend.ledger.settle(items).await.expect("settles")
    }

    /// A challenge that a device approved.
    async fn approved(&mut self, device: &Device) -> (Arc<Challenge>, Decided) {
        let challenge = self.open().await;
        let settled = self.settle(self.answer(&challenge, device, Decision::Approved)).await;
        let decided = Decided {
            decision: Decision::Approved,
            at: self.fixture.clock.now(),
            proof: Some(Proof::Push(device.id)),
            collect: Collect::Open,
        };
        assert_eq!(settled, Settled::Settled(decided));
        (challenge, decided)
    }

    fn redeem_item(&self, challenge: &Challenge) -> Redeem {
        Redeem {
            challenge: challenge.id,
            session: challenge.session,
            audit: self.about(challenge, Event::ChallengeRedeemed),
            audit_wrong: self.about(challenge, Event::RedeemRefused),
        }
    }

    async fn redeem(&self, item: Redeem) -> Redeemed {
        self.backend.ledger.redeem(item).await.expect("redeems")
    }

    async fn find(&self, id: ChallengeId) -> Option<LedgerRecord> {
        self.backend.ledger.lookup(id).await.expect("looks up")
    }

    async fn state(&self, challenge: &Challenge) -> State {
        self.find(challenge.id).await.expect("is there").state
    }

    /// All rows of the tenant that tell of `event`.
    async fn told(&self, event: Event) -> Vec<AuditRow> {
        let mut filter = self.filter();
        filter.event = Some(event);
        self.read(filter).await
    }

    async fn read(&self, filter: AuditFilter) -> Vec<AuditRow> {
        self.backend.ledger.read(filter).await.expect("reads")
    }

    /// The user as the directory has them.
    async fn record(&self) -> Arc<UserRecord> {
        let (tenant, user) = (self.fixture.tenant.id, self.fixture.user.id);
        self.backend
            .directory
            .user(tenant, UserRef::Id(user))
            .await
            .expect("reads")
            .expect("is there")
    }
}

/// The decision that an answer tells, whether it was made now or before.
fn decided(settled: Settled) -> Option<Decided> {
    match settled {
        Settled::Settled(decided) | Settled::Already(decided) => Some(decided),
        _ => None,
    }
}

/// How many of `all` are `one`.
fn count<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().filter(|other| *other == one).count()
}
