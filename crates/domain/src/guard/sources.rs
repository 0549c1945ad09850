//! What spans users: addresses and networks that ask many people, an organisation under a spray, an outage of
//! push, an integration that fails. Approximate, bounded, per node; lost in a restart.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertKind, Scope, Severity};
use super::decay::{Seconds, fade};
use super::judge::Around;
use super::origin::{Familiarity, SourceKey};
use super::policy::Policy;

/// Addresses, and as many networks, that are remembered at once: about 10 MiB each.
pub const MAX_SOURCES: usize = 100_000;
/// Integrations that are told apart.
const MAX_INTEGRATIONS: usize = 1_024;
/// Users of one source that are told apart: far above every threshold.
const MAX_USERS: usize = 16;
/// Entries that are looked at to find the one to forget.
const SAMPLE: usize = 8;

/// A short keyed hash of a user, for counting.
pub type UserTag = u32;

/// What one address or network did.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    at: Seconds,
    /// Users who were asked without success, newest first in turn; zero is nobody.
    users: [UserTag; MAX_USERS],
    next: u8,
    /// How many they are, fading.
    failing: f32,
    /// Users who succeeded, fading; and which ones lately, as bits.
    good: f32,
    good_seen: [u64; 4],
    hot_until: Seconds,
    alerted_until: Seconds,
    /// Unknown recovery codes: when the budget is full again.
    junk: Seconds,
}

const _: () = assert!(size_of::<Source>() <= 160, "what is remembered per source stays small");

impl Source {
    fn bring_to(&mut self, policy: &Policy, now: Seconds) {
        let elapsed = now.saturating_sub(self.at);
        if elapsed == 0 {
            return;
        }
        self.failing *= fade(elapsed, Policy::seconds(policy.source_half_life_s));
        let half_life = Policy::seconds(policy.source_good_half_life_s);
        self.good *= fade(elapsed, half_life);
        // who was counted long ago is counted anew: a crowd that is never away for long stays one
        let seen: u32 = self.good_seen.iter().map(|bits| bits.count_ones()).sum();
        if f64::from(self.good) < f64::from(seen) / 2.0 {
            self.good_seen = [0; 4];
        }
        if elapsed > half_life {
            self.users = [0; MAX_USERS];
        }
        self.at = now;
    }

    fn asked(&mut self, user: UserTag) {
        if self.users.contains(&user) {
            return;
        }
        self.users[usize::from(self.next)] = user;
        self.next = (self.next + 1) % 16;
        self.failing += 1.0;
    }

    fn passed(&mut self, user: UserTag) {
        if let Some(slot) = self.users.iter_mut().find(|other| **other == user) {
            *slot = 0;
            self.failing = (self.failing - 1.0).max(0.0);
        }
        let (word, bit) = ((user >> 6 & 3) as usize, 1 << (user & 63));
        // the same few users again and again don't make an address a crowd's
        if self.good_seen[word] & bit == 0 {
            self.good_seen[word] |= bit;
            self.good += 1.0;
            let full = self.good_seen.iter().map(|bits| bits.count_ones()).sum::<u32>() > 192;
            if full {
                self.good_seen = [0; 4];
            }
        }
    }
}

/// A bounded table of sources. When it is full, the stalest of a few is forgotten; a source that sprays is
/// the last to go.
#[derive(Clone, Debug, Default)]
struct Table {
    at: HashMap<SourceKey, usize, Spread>,
    entries: Vec<(SourceKey, Source)>,
    hand: usize,
}

/// The keys are keyed hashes already: nobody outside can aim at one bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Spread;

/// Takes a key as it is.
#[derive(Clone, Copy, Debug, Default)]
struct Hashed(u64);

impl std::hash::BuildHasher for Spread {
    type Hasher = Hashed;
    fn build_hasher(&self) -> Hashed {
        Hashed(0)
    }
}

impl std::hash::Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}

impl Table {
    fn get(&self, key: SourceKey) -> Option<&Source> {
        self.at.get(&key).map(|at| &self.entries[*at].1)
    }

    fn entry(&mut self, key: SourceKey, now: Seconds) -> &mut Source {
        let at = match self.at.get(&key) {
            Some(at) => *at,
            None if self.entries.len() < MAX_SOURCES => {
                self.entries.push((key, Source { at: now, ..Source::default() }));
                self.at.insert(key, self.entries.len() - 1);
                self.entries.len() - 1
            }
            None => {
                let at = self.stalest(now);
                self.at.remove(&self.entries[at].0);
                self.entries[at] = (key, Source { at: now, ..Source::default() });
                self.at.insert(key, at);
                at
            }
        };
        &mut self.entries[at].1
    }

    fn stalest(&mut self, now: Seconds) -> usize {
        let first = self.hand;
        self.hand = (self.hand + SAMPLE) % MAX_SOURCES;
        let candidates = (0..SAMPLE).map(|step| (first + step) % MAX_SOURCES);
        let rank = |at: &usize| {
            let source = &self.entries[*at].1;
            (now < source.hot_until, source.failing >= 2.0, source.at)
        };
        candidates.min_by_key(rank).unwrap_or(first)
    }
}

/// Sums over a whole organisation.
#[derive(Clone, Copy, Debug, Default)]
struct Surge {
    at: Seconds,
    /// Users rung from unknown places without success.
    asked: f32,
    /// Users who succeeded from unknown places.
    passed: f32,
    hot_until: Seconds,
    alerted_until: Seconds,
}

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

/// What spans the users of one tenant.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    addresses: Table,
    networks: Table,
    surge: Surge,
    integrations: HashMap<u64, Known, Spread>,
    outage_until: Seconds,
    outage_alerted: Seconds,
}

/// How long one alert about many users stands for what goes on.
const ALERT_LIFE_S: Seconds = 12 * 60 * 60;
/// How long an outage is believed after its last evidence.
const OUTAGE_S: Seconds = 300;

impl Sources {
    /// What is known beyond the user about a request.
    #[must_use]
    pub fn around(&self, from: &Asker, now: Seconds) -> Around {
        let hot = |table: &Table, key: Option<SourceKey>| {
            key.and_then(|key| table.get(key)).is_some_and(|source| now < source.hot_until)
        };
        Around {
            address_hot: hot(&self.addresses, from.address),
            network_hot: hot(&self.networks, from.network),
            organisation_hot: now < self.surge.hot_until,
            outage: now < self.outage_until,
        }
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
        if familiarity.is_known() {
            return Vec::new();
        }
        let outage = now < self.outage_until;
        let (mut alerts, mut told) = (Vec::new(), false);
        let scopes = [
            (&mut self.addresses, from.address, policy.address_users, policy.address_ratio),
            (&mut self.networks, from.network, policy.network_users, policy.network_ratio),
        ];
        for (at, (table, key, users, ratio)) in scopes.into_iter().enumerate() {
            let Some(key) = key else { continue };
            let source = table.entry(key, now);
            source.bring_to(policy, now);
            source.asked(from.user);
            let spray = source.failing >= users && source.failing > ratio * (source.good + 1.0);
            if !spray || outage {
                continue;
            }
            source.hot_until = now + Policy::seconds(policy.source_hot_s);
            // one campaign is one alert: the address speaks for its network
            if now >= source.alerted_until && !told {
                let scope = if at == 0 { Scope::Address } else { Scope::Network };
                alerts.push(Alert { kind: AlertKind::Spray, severity: Severity::Medium, scope });
            }
            source.alerted_until = now + ALERT_LIFE_S;
            told = true;
        }
        if rang || now < self.surge.hot_until {
            alerts.extend(self.surged(policy, rang, outage, alerts.is_empty(), now));
        }
        alerts
    }

    fn surged(
        &mut self,
        policy: &Policy,
        rang: bool,
        outage: bool,
        tell: bool,
        now: Seconds,
    ) -> Option<Alert> {
        let surge = &mut self.surge;
        let kept = fade(now.saturating_sub(surge.at), Policy::seconds(policy.surge_half_life_s));
        surge.asked *= kept;
        surge.passed *= kept;
        surge.at = now;
        // what is silent because of the surge is weak evidence that it goes on: people don't find it either
        surge.asked += if rang { 1.0 } else { policy.surge_silent };
        let normal = policy.surge_share * surge.passed;
        // IEEE rounds a square root exactly: the same everywhere
        let limit = policy.surge_users + normal + policy.surge_sigma * normal.sqrt();
        if surge.asked < limit || outage {
            return None;
        }
        surge.hot_until = now + Policy::seconds(policy.surge_hot_s);
        let is_new = now >= surge.alerted_until && tell;
        if tell || now < surge.alerted_until {
            surge.alerted_until = now + ALERT_LIFE_S;
        }
        is_new.then_some(Alert {
            kind: AlertKind::Spray,
            severity: Severity::High,
            scope: Scope::Organisation,
        })
    }

    /// Notes a success.
    pub fn passed(
        &mut self,
        policy: &Policy,
        from: &Asker,
        familiarity: Familiarity,
        rang: bool,
        now: Seconds,
    ) {
        for (table, key) in
            [(&mut self.addresses, from.address), (&mut self.networks, from.network)]
        {
            let Some(key) = key else { continue };
            // successes at home are what makes a shared address a crowd's
            let source = table.entry(key, now);
            source.bring_to(policy, now);
            source.passed(from.user);
        }
        if familiarity.is_known() {
            if let Some(known) = self.known(policy, from.integration, now) {
                known.passed += 1.0;
            }
        } else {
            let hot = now < self.surge.hot_until;
            let asked = if rang { 1.0 } else { policy.surge_silent };
            if rang || hot {
                self.surge.asked = (self.surge.asked - asked).max(0.0);
            }
            self.surge.passed += 1.0;
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

    /// Notes that a ring timed out. From known places that is evidence of an outage, which attackers elsewhere
    /// can't make up; one integration supplies at most half of it.
    pub fn timed_out(
        &mut self,
        policy: &Policy,
        from: &Asker,
        familiarity: Familiarity,
        now: Seconds,
    ) -> Vec<Alert> {
        if !familiarity.is_known() {
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

    /// Whether prompts time out everywhere.
    #[must_use]
    pub const fn is_outage(&self, now: Seconds) -> bool {
        now < self.outage_until
    }

    /// Counts an unknown recovery code; `false` if the source has sent too many: then nothing is hashed.
    pub fn junk(&mut self, policy: &Policy, from: &Asker, now: Seconds) -> bool {
        // who has no address shares one source
        let source = self.addresses.entry(from.address.unwrap_or(0), now);
        source.bring_to(policy, now);
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
        self.addresses.entries.len() + self.networks.entries.len()
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
