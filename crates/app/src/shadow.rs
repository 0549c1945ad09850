//! The shadow policy: it judges beside the live one, changes nothing, and is written down where it differs. It
//! looks at the same sums, which the live policy has weighed and faded.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::attempts::{Attempts, Lane};
use domain::audit::Shadow;
use domain::challenge::{Challenge, Mode};
use domain::create::{self, Plan, Slot};
use domain::guard::{
    Alert, AlertKind, Asker, Charge, Facts, Memory, Origin, Release, Seconds, Verdict, seconds,
};
use ports::HotUser;
use statement::{ChallengeId, IntegrationId, TenantId, Timestamp};

use crate::App;

/// About what it decides otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differs {
    Create,
    Approval,
    Code,
}

/// How often it did.
#[derive(Default)]
pub(crate) struct Shadowed([AtomicU64; 3]);

impl Shadowed {
    pub(crate) fn note(&self, what: Differs) {
        self.0[what as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// What it says of a request.
#[derive(Clone)]
pub(crate) struct Beside {
    mode: Mode,
    level: u8,
    alerts: Vec<AlertKind>,
}

impl Beside {
    /// What is written down where the live policy says something else, or `raised` something else.
    pub(crate) fn unlike(self, live: &Verdict, raised: &[Alert]) -> Option<Shadow> {
        let Self { mode, level, alerts } = self;
        let judged = (mode, level) != (live.mode, live.level);
        let alerts = Some(alerts).filter(|alerts| *alerts != kinds(raised));
        (judged || alerts.is_some()).then(|| Shadow {
            mode: judged.then_some(mode),
            level: judged.then_some(level),
            alerts,
            ..Shadow::default()
        })
    }
}

/// What alerts are about, to be compared.
fn kinds(alerts: &[Alert]) -> Vec<AlertKind> {
    let mut kinds: Vec<AlertKind> = alerts.iter().map(|alert| alert.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

impl App {
    /// How often the shadow policy would have decided otherwise, by what about.
    #[must_use]
    pub fn shadow_differences(&self) -> [(&'static str, u64); 3] {
        let [create, approval, code] = &self.shadowed.0;
        [("create", create), ("approval", approval), ("code", code)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// What the shadow policy says of a request that isn't merged.
    pub(crate) fn shadow_create(
        &self,
        tenant: TenantId,
        (hot, slot): (&HotUser, &Slot),
        (facts, asker): (&Facts, Asker),
        now: Timestamp,
    ) -> Option<Beside> {
        let policy = &self.shadow_rules(tenant, Some(slot.integration))?.policy;
        let Plan::New { verdict, .. } =
            create::plan(policy, &hot.cell, &hot.live, slot, facts, now)
        else {
            return None;
        };
        // any id: this cell goes no further
        let which = (ChallengeId::from_bytes([0; ChallengeId::LEN]), slot.integration);
        let now = seconds(now);
        let (cell, raised) = hot.cell.clone().open_as(policy, which, facts, asker, &verdict, now);
        let alerts: Vec<Alert> = verdict.alerts.iter().copied().chain(raised).collect();
        let level = cell.memory.level(policy, now);
        Some(Beside { mode: verdict.mode, level, alerts: kinds(&alerts) })
    }

    /// What the shadow policy says of a right answer, where that is something else.
    pub(crate) fn shadow_approval(
        &self,
        (tenant, integration): (TenantId, IntegrationId),
        (memory, charge): (&Memory, &Charge),
        (has_code, break_glass): (bool, bool),
        released: Release,
        now: Seconds,
    ) -> Option<Shadow> {
        let policy = &self.shadow_rules(tenant, Some(integration))?.policy;
        let release = memory.judge_approval(policy, charge, has_code, break_glass, now);
        if release == released {
            return None;
        }
        let (withheld, mut memory) = (release == Release::Withheld, *memory);
        let alerts = withheld.then(|| kinds(&memory.withheld(policy, now)));
        let alerts = alerts.filter(|alerts| !alerts.is_empty());
        Some(Shadow { withheld: Some(withheld), alerts, ..Shadow::default() })
    }

    /// Whether the shadow policy would not have compared a code that was counted: `counted` says what was
    /// counted with it.
    pub(crate) fn shadow_refuses(
        &self,
        tenant: TenantId,
        lane: Lane,
        counted: Attempts,
        now: Timestamp,
    ) -> bool {
        let Some(rules) = self.shadow_rules(tenant, None) else { return false };
        let before = counted.given_back(lane, &self.budgets(tenant));
        before.count_in(lane, &rules.budgets, now).is_err()
    }

    /// What the shadow policy says of a code that didn't pass, where that is something else. `memory` is as it was
    /// before, `raised` what the live policy alerts of.
    pub(crate) fn shadow_code(
        &self,
        challenge: &Challenge,
        (memory, origin): (&Memory, &Origin),
        (spent, refused): (bool, bool),
        raised: &[Alert],
        now: Seconds,
    ) -> Option<Shadow> {
        let integration = Some(challenge.integration);
        let policy = &self.shadow_rules(challenge.tenant, integration)?.policy;
        let mut memory = memory.at(policy, now);
        let alerts = kinds(&memory.code_failed(policy, origin, spent || refused, now));
        let alerts = Some(alerts).filter(|alerts| *alerts != kinds(raised));
        let refused = refused.then_some(true);
        (refused.is_some() || alerts.is_some()).then(|| Shadow {
            alerts,
            refused,
            ..Shadow::default()
        })
    }
}
