//! What spans users: addresses and networks that ask many people, an organisation under a spray, an outage of
//! push, an integration that fails. Approximate, bounded, per node; lost in a restart.

mod surge;
mod table;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use self::surge::Surge;
use self::table::{Limit, Source, Spread, Table};
use super::alert::{Alert, AlertKind, Scope, Severity};
use super::decay::{Seconds, fade};
use super::evidence::{Counts, Evidence, count};
use super::judge::{Around, Charge};
use super::origin::{Familiarity, SourceKey};
use super::policy::Policy;
use crate::challenge::Decision;

/// Addresses, and as many networks, that are remembered at once: about 10 MiB each.
pub const MAX_SOURCES: usize = 100_000;
/// Users whose time-outs at home are told apart: far more than make an outage.
const MAX_RECENT: usize = 64;
/// Integrations that are told apart.
const MAX_INTEGRATIONS: usize = 1_024;
/// A short keyed hash of a user, for counting.
pub type UserTag = u32;

/// What one integration saw of known places.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    at: Seconds,
    timed_out: f32,
    passed: f32,
    alerted_until: Seconds,
}

impl Known {
    fn bring_to(&mut self, policy: &Policy, now: Seconds) {
        let half_life = Policy::seconds(policy.outage_half_life_s);
        let kept = fade(now.saturating_sub(self.at), half_life);
        self.timed_out *= kept;
        self.passed *= kept;
        self.at = now;
    }
}

/// Where a request comes from, as counted over users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// The address.
    pub address: Option<SourceKey>,
    /// The network.
    pub network: Option<SourceKey>,
    /// The integration that says so.
    pub integration: u64,
    /// The user that is asked for.
    pub user: UserTag,
}

/// What a request added to what spans users, before it came to be.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Reserved {
    /// Whether its user wasn't counted yet: at its address, in its network, in the organisation.
    is_new: [bool; 3],
    /// The same at its address and in its network, as its integration alone has said.
    is_new_here: [bool; 2],
    /// Whether it alerted of its address, its network, the organisation.
    told: [bool; 3],
}

/// What spans the users of one tenant.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    addresses: Table,
    networks: Table,
    surge: Surge,
    integrations: HashMap<u64, Known, Spread>,
    /// Whose known places timed out lately, in turn, and when.
    timed_out: Recent,
    outage_until: Seconds,
    outage_alerted: Seconds,
}

/// Users whom something befell lately: each counts once, however often it befalls them.
#[derive(Clone, Copy, Debug)]
struct Recent {
    users: [(UserTag, Seconds); MAX_RECENT],
    next: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { users: [(0, 0); MAX_RECENT], next: 0 }
    }
}

impl Recent {
    /// Whether a user is new for `life` seconds; remembers them.
    fn is_new(&mut self, user: UserTag, life: Seconds, now: Seconds) -> bool {
        let known = self.users.iter_mut().find(|(other, _)| *other == user);
        if let Some((_, since)) = known {
            let is_new = now.saturating_sub(*since) >= life;
            if is_new {
                *since = now;
            }
            return is_new;
        }
        self.users[self.next] = (user, now);
        self.next = (self.next + 1) % MAX_RECENT;
        true
    }
}

/// How long one alert about many users stands for what goes on.
const ALERT_LIFE_S: Seconds = 12 * 60 * 60;
/// How long an outage is believed after its last evidence.
const OUTAGE_S: Seconds = 300;

/// Under which key is kept what one integration says of a source. Elsewhere that is believed where it is half of the
/// evidence, or where three say so: an address that one integration asserts proves nothing at another.
const fn here(key: SourceKey, integration: u64) -> SourceKey {
    // an odd constant: none maps to zero but zero itself
    key ^ integration.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1
}

impl Sources {
    fn scopes(
        &mut self,
        policy: &Policy,
        from: &Asker,
    ) -> [(&mut Table, Option<SourceKey>, Limit); 2] {
        let (users, ratio) = (policy.address_users, policy.address_ratio);
        let address = Limit { users, ratio };
        let (users, ratio) = (policy.network_users, policy.network_ratio);
        let network = Limit { users, ratio };
        [(&mut self.addresses, from.address, address), (&mut self.networks, from.network, network)]
    }

    /// What is known beyond the user about a request.
    #[must_use]
    pub fn around(&mut self, policy: &Policy, from: &Asker, now: Seconds) -> Around {
        let outage = now < self.outage_until;
        let [address_hot, network_hot] = self.scopes(policy, from).map(|(table, key, limit)| {
            let Some(key) = key else { return false };
            // what one integration says is part of it; `hot_until` is set on both
            if table.is_calm(key, now) {
                return false;
            }
            let (mut spray, mut many) = (false, false);
            if let Some(all) = table.get(policy, key, now) {
                (spray, many) = (all.is_spray(limit), all.is_said_by_many());
            }
            table.get(policy, here(key, from.integration), now).map_or(many && spray, |own| {
                let alone = own.is_spray(limit) || own.is_crowded(limit);
                let believed = spray && (many || own.is_half_a_spray(limit));
                // when nobody's phone rings, time-outs say nothing new
                now < own.hot_until || (alone || believed) && !outage
            })
        });
        let organisation_hot = self.surge.is_hot(policy, from.integration, outage, now);
        Around { address_hot, network_hot, organisation_hot, outage }
    }

    /// Notes a request that was opened with a first factor. From known places it is no evidence.
    pub fn asked(
        &mut self,
        policy: &Policy,
        from: &Asker,
        familiarity: Familiarity,
        rang: bool,
        now: Seconds,
    ) -> Vec<Alert> {
        self.reserve(policy, from, familiarity, rang, now).1
    }

    /// The same for a request that may never come to be: what [`Sources::take_back`] needs then. To look around
    /// and to reserve must be one step, or requests that come all at once don't see each other.
    pub fn reserve(
        &mut self,
        policy: &Policy,
        from: &Asker,
        familiarity: Familiarity,
        rang: bool,
        now: Seconds,
    ) -> (Reserved, Vec<Alert>) {
        let mut reserved = Reserved::default();
        if familiarity.is_known() {
            return (reserved, Vec::new());
        }
        let outage = now < self.outage_until;
        let (mut alerts, mut explained) = (Vec::new(), None);
        for (at, (table, key, limit)) in self.scopes(policy, from).into_iter().enumerate() {
            let Some(key) = key else { continue };
            let own = table.entry(policy, here(key, from.integration), now);
            reserved.is_new_here[at] = own.asked(from.user, from.integration, now);
            let own_spray = own.is_half_a_spray(limit);
            let source = table.entry(policy, key, now);
            reserved.is_new[at] = source.asked(from.user, from.integration, now);
            if !source.is_spray(limit) || outage {
                continue;
            }
            if own_spray || source.is_said_by_many() {
                // on both: who looks at all that is said sees that something of it is hot
                let hot_until = now + Policy::seconds(policy.source_hot_s);
                source.hot_until = hot_until;
                table.entry(policy, here(key, from.integration), now).hot_until = hot_until;
            }
            let source = table.entry(policy, key, now);
            // one campaign is one alert: the address speaks for its network
            if now >= source.alerted_until && explained.is_none() {
                let scope = if at == 0 { Scope::Address } else { Scope::Network };
                alerts.push(Alert { kind: AlertKind::Spray, severity: Severity::Medium, scope });
                reserved.told[at] = true;
            }
            source.alerted_until = now + ALERT_LIFE_S;
            explained = explained.or(Some(source.users()));
        }
        if let Some(users) = explained {
            // what one source explains is no surge of the whole organisation
            users.into_iter().for_each(|user| self.surge.forget(policy, user, now));
        } else {
            let who = (from.user, from.integration);
            let (is_new, is_hot) = self.surge.asked(policy, who, rang, now);
            reserved.is_new[2] = is_new;
            if is_hot && !outage {
                let alert = self.surge.heat(policy, from.integration, now);
                reserved.told[2] = alert.is_some();
                alerts.extend(alert);
            }
        }
        (reserved, alerts)
    }

    /// Takes back what was reserved for a request that never came to be. What it alerted of is told again by the
    /// next one.
    pub fn take_back(&mut self, policy: &Policy, from: &Asker, reserved: &Reserved, now: Seconds) {
        for (at, (table, key, _)) in self.scopes(policy, from).into_iter().enumerate() {
            let Some(key) = key else { continue };
            if reserved.is_new_here[at]
                && let Some(own) = table.get(policy, here(key, from.integration), now)
            {
                own.take_back(from.user);
            }
            let Some(source) = table.get(policy, key, now) else { continue };
            if reserved.is_new[at] {
                source.take_back(from.user);
            }
            if reserved.told[at] {
                source.alerted_until = 0;
            }
        }
        if reserved.is_new[2] {
            self.surge.forget(policy, from.user, now);
        }
        if reserved.told[2] {
            self.surge.untell();
        }
    }

    /// Notes how a challenge ended that `from` asked for.
    pub fn ended(
        &mut self,
        policy: &Policy,
        from: &Asker,
        charge: &Charge,
        decision: Decision,
        now: Seconds,
    ) -> Vec<Alert> {
        let known = charge.familiarity.is_known();
        match decision {
            Decision::Approved => self.passed(policy, from, charge, now),
            Decision::Expired if known && charge.rang => {
                return self.timed_out(policy, from, now);
            }
            // the person was there, and it wasn't them
            Decision::Denied | Decision::Reported if !known => {
                for (table, key, _) in self.scopes(policy, from) {
                    let Some(key) = key else { continue };
                    for key in [key, here(key, from.integration)] {
                        if let Some(source) = table.get(policy, key, now) {
                            source.failed(from.user);
                        }
                    }
                }
                self.surge.failed(policy, from.user, now);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Notes a success.
    pub fn passed(&mut self, policy: &Policy, from: &Asker, charge: &Charge, now: Seconds) {
        for (table, key, _) in self.scopes(policy, from) {
            let Some(key) = key else { continue };
            // successes at home are what makes a shared address a crowd's
            table.entry(policy, key, now).passed(from.user);
            if let Some(own) = table.get(policy, here(key, from.integration), now) {
                own.passed(from.user);
            }
        }
        if !charge.familiarity.is_known() {
            self.surge.passed(policy, from.user, now);
        } else if let Some(known) = self.known(policy, from.integration, now) {
            known.passed += 1.0;
        }
    }

    fn known(&mut self, policy: &Policy, integration: u64, now: Seconds) -> Option<&mut Known> {
        let is_there = self.integrations.contains_key(&integration);
        if !is_there && self.integrations.len() >= MAX_INTEGRATIONS {
            return None;
        }
        let known = self.integrations.entry(integration).or_default();
        known.bring_to(policy, now);
        Some(known)
    }

    /// Notes that a ring from a known place timed out. That is evidence of an outage, which attackers elsewhere
    /// can't make up; one integration supplies at most half of it.
    fn timed_out(&mut self, policy: &Policy, from: &Asker, now: Seconds) -> Vec<Alert> {
        // one person who doesn't answer is no outage; after four half-lives what they counted is gone
        let life = 4 * Policy::seconds(policy.outage_half_life_s);
        if !self.timed_out.is_new(from.user, life, now) {
            return Vec::new();
        }
        let Some(known) = self.known(policy, from.integration, now) else { return Vec::new() };
        known.timed_out += 1.0;
        let alone = *known;
        let (mut timed_out, mut passed) = (0.0, 0.0);
        for other in self.integrations.values_mut() {
            other.bring_to(policy, now);
            timed_out += other.timed_out;
            passed += other.passed;
        }
        let most = self.integrations.values().map(|known| known.timed_out).fold(0.0, f32::max);
        // the loudest counts at most as much as all others together
        let evidence = timed_out - (2.0 * most - timed_out).max(0.0);
        let mut alerts = Vec::new();
        if evidence >= policy.outage_users && evidence >= policy.outage_share * (passed + evidence)
        {
            if now >= self.outage_until && now >= self.outage_alerted {
                self.outage_alerted = now + ALERT_LIFE_S;
                let kind = AlertKind::PushOutage;
                alerts.push(Alert { kind, severity: Severity::Low, scope: Scope::Organisation });
            }
            self.outage_until = now + OUTAGE_S;
        } else if alone.timed_out >= 2.0 * policy.outage_users
            && alone.timed_out >= 2.0 * policy.outage_share * (alone.passed + alone.timed_out)
            && now >= alone.alerted_until
        {
            if let Some(known) = self.integrations.get_mut(&from.integration) {
                known.alerted_until = now + ALERT_LIFE_S;
            }
            let kind = AlertKind::IntegrationFailures;
            alerts.push(Alert { kind, severity: Severity::Low, scope: Scope::Integration });
        }
        alerts
    }

    /// What an alert stands on that was just raised because of `from`.
    #[must_use]
    pub fn evidence(
        &mut self,
        policy: &Policy,
        alert: Alert,
        from: &Asker,
        now: Seconds,
    ) -> Evidence {
        let spray = |users| Counts { users: count(users), ..Counts::default() };
        let [address, network] = self.scopes(policy, from).map(|(table, key, _)| {
            let failing =
                key.and_then(|key| table.get(policy, key, now)).map_or(0.0, |s| s.failing());
            let evidence = Evidence::fading(policy.source_half_life_s, spray(failing));
            Evidence { source: key, ..evidence }
        });
        let timed_out = match alert.kind {
            AlertKind::IntegrationFailures => {
                self.integrations.get(&from.integration).map_or(0.0, |known| known.timed_out)
            }
            _ => self.integrations.values().map(|known| known.timed_out).sum(),
        };
        match (alert.kind, alert.scope) {
            (_, Scope::Address) => address,
            (_, Scope::Network) => network,
            (AlertKind::Spray, _) => {
                Evidence::fading(policy.surge_half_life_s, spray(self.surge.failing()))
            }
            _ => {
                let counts = Counts { timed_out: count(timed_out), ..Counts::default() };
                Evidence::fading(policy.outage_half_life_s, counts)
            }
        }
    }

    /// Whether prompts time out everywhere.
    #[must_use]
    pub const fn is_outage(&self, now: Seconds) -> bool {
        now < self.outage_until
    }

    /// Counts an unknown recovery code; `false` if the source has sent too many: then nothing is hashed.
    pub fn junk(&mut self, policy: &Policy, from: &Asker, now: Seconds) -> bool {
        // who has no address shares one source
        let source = self.addresses.entry(policy, from.address.unwrap_or(0), now);
        let each = 600_u32.div_ceil(Policy::seconds(policy.junk_per_source).max(1));
        let full = source.junk.max(now);
        if full + each > now + 600 {
            return false;
        }
        source.junk = full + each;
        true
    }

    /// How many sources are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len() + self.networks.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of one remembered source.
    #[must_use]
    pub const fn bytes_per_source() -> usize {
        size_of::<Source>()
    }
}
