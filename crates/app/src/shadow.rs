//! The shadow policy: it judges beside the live one, changes nothing, and is written down where it differs. It
//! looks at the same sums, which the live policy has weighed and faded.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::audit::Shadow;
use domain::challenge::Mode;
use domain::create::{self, Plan, Slot};
use domain::guard::{Asker, Charge, Facts, Memory, Release, Seconds, Verdict, seconds};
use ports::HotUser;
use statement::{ChallengeId, IntegrationId, TenantId, Timestamp};

use crate::App;

/// About what it decides otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differs {
    Create,
    Approval,
}

/// How often it did.
#[derive(Default)]
pub(crate) struct Shadowed([AtomicU64; 2]);

impl Shadowed {
    pub(crate) fn note(&self, what: Differs) {
        self.0[what as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// What it says of a request.
#[derive(Clone, Copy)]
pub(crate) struct Beside {
    pub(crate) mode: Mode,
    pub(crate) level: u8,
}

impl Beside {
    /// What is written down where the live policy says something else.
    pub(crate) fn unlike(self, live: &Verdict) -> Option<Shadow> {
        let Self { mode, level } = self;
        let shadow = Shadow { mode: Some(mode), level: Some(level), withheld: None };
        ((mode, level) != (live.mode, live.level)).then_some(shadow)
    }
}

impl App {
    /// How often the shadow policy would have decided otherwise, by what about.
    #[must_use]
    pub fn shadow_differences(&self) -> [(&'static str, u64); 2] {
        let [create, approval] = &self.shadowed.0;
        [("create", create.load(Ordering::Relaxed)), ("approval", approval.load(Ordering::Relaxed))]
    }

    /// What the shadow policy says of a request that isn't merged.
    pub(crate) fn shadow_create(
        &self,
        tenant: TenantId,
        (hot, slot): (&HotUser, &Slot),
        (facts, asker): (&Facts, Asker),
        now: Timestamp,
    ) -> Option<Beside> {
        let policy = &self.shadow_rules(tenant, slot.integration)?.policy;
        let Plan::New { verdict, .. } =
            create::plan(policy, &hot.cell, &hot.live, slot, facts, now)
        else {
            return None;
        };
        // any id: this cell goes no further
        let which = (ChallengeId::from_bytes([0; ChallengeId::LEN]), slot.integration);
        let now = seconds(now);
        let (cell, _) = hot.cell.clone().open_as(policy, which, facts, asker, &verdict, now);
        Some(Beside { mode: verdict.mode, level: cell.memory.level(policy, now) })
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
        let policy = &self.shadow_rules(tenant, integration)?.policy;
        let release = memory.judge_approval(policy, charge, has_code, break_glass, now);
        let withheld = Some(release == Release::Withheld);
        (release != released).then_some(Shadow { mode: None, level: None, withheld })
    }
}
