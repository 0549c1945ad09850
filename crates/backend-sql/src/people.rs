//! The directory in memory: what was read once is read again only after a change.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use domain::directory::{Integration, UserRecord};
use ports::KeyOwner;
use statement::{DeviceId, IntegrationId, TenantId, UserId};

/// Entries of each map; a user's record is about a kilobyte. Above it an eighth is dropped.
const MAX_ENTRIES: usize = 50_000;

#[derive(Default)]
struct Known {
    /// Grows with every change. A record that was read while something changed is not kept: it may be of before.
    generation: u64,
    users: HashMap<UserId, Arc<UserRecord>>,
    /// `None`: there is nobody of that name. Kept too, so that asking for nobody takes as long as for somebody.
    names: HashMap<(TenantId, String), Option<UserId>>,
    /// Ids that are nobody's, such as those that stand in for unknown names. Kept for the same reason.
    nobody: HashMap<UserId, ()>,
    devices: HashMap<DeviceId, UserId>,
    keys: HashMap<[u8; 32], Arc<KeyOwner>>,
    integrations: HashMap<IntegrationId, Arc<Integration>>,
}

/// What a change makes stale.
#[derive(Clone, Debug)]
pub(crate) enum Stale {
    Nothing,
    User(UserId),
    Name(TenantId, String),
    Keys,
}

/// The memory.
#[derive(Default)]
pub(crate) struct People(RwLock<Known>);

fn keep<K: Hash + Eq + Clone, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= MAX_ENTRIES {
        let mut left = MAX_ENTRIES / 8;
        map.retain(|_, _| {
            let goes = left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
    map.insert(key, value);
}

impl People {
    fn look<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn generation(&self) -> u64 {
        self.look(|known| known.generation)
    }

    /// The outer `None`: not known whether there is such a user.
    pub(crate) fn user(&self, id: UserId) -> Option<Option<Arc<UserRecord>>> {
        self.look(|known| match known.users.get(&id) {
            Some(record) => Some(Some(Arc::clone(record))),
            None => known.nobody.get(&id).map(|()| None),
        })
    }

    /// The outer `None`: not known whether there is such a name.
    pub(crate) fn name(&self, key: &(TenantId, String)) -> Option<Option<UserId>> {
        self.look(|known| known.names.get(key).copied())
    }

    pub(crate) fn device(&self, id: DeviceId) -> Option<UserId> {
        self.look(|known| known.devices.get(&id).copied())
    }

    pub(crate) fn key(&self, hash: &[u8; 32]) -> Option<Arc<KeyOwner>> {
        self.look(|known| known.keys.get(hash).cloned())
    }

    pub(crate) fn integration(&self, id: IntegrationId) -> Option<Arc<Integration>> {
        self.look(|known| known.integrations.get(&id).cloned())
    }

    /// Keeps what was read after `generation` was asked for, unless something changed since.
    fn learn(&self, generation: u64, learn: impl FnOnce(&mut Known)) {
        self.change(|known| {
            if known.generation == generation {
                learn(known);
            }
        });
    }

    pub(crate) fn learn_user(&self, generation: u64, record: &Arc<UserRecord>) {
        self.learn(generation, |known| {
            for device in &record.devices {
                keep(&mut known.devices, device.id, record.user.id);
            }
            let name = (record.user.tenant, record.user.name.clone());
            keep(&mut known.names, name, Some(record.user.id));
            keep(&mut known.users, record.user.id, Arc::clone(record));
        });
    }

    pub(crate) fn learn_no_name(&self, generation: u64, key: (TenantId, String)) {
        self.learn(generation, |known| keep(&mut known.names, key, None));
    }

    pub(crate) fn learn_no_user(&self, generation: u64, id: UserId) {
        self.learn(generation, |known| keep(&mut known.nobody, id, ()));
    }

    pub(crate) fn learn_key(&self, generation: u64, owner: &Arc<KeyOwner>) {
        self.learn(generation, |known| {
            keep(&mut known.keys, owner.key.hash, Arc::clone(owner));
        });
    }

    pub(crate) fn learn_integration(&self, generation: u64, integration: &Arc<Integration>) {
        self.learn(generation, |known| {
            keep(&mut known.integrations, integration.id, Arc::clone(integration));
        });
    }

    /// Forgets what a change made stale; called after its commit and before anybody is told.
    pub(crate) fn forget(&self, stale: &Stale) {
        self.change(|known| {
            match stale {
                Stale::Nothing => return,
                Stale::User(id) => drop(known.users.remove(id)),
                // a new user: one of these ids may be theirs now
                Stale::Name(tenant, name) => {
                    known.names.remove(&(*tenant, name.clone()));
                    known.nobody.clear();
                }
                Stale::Keys => known.keys.clear(),
            }
            known.generation += 1;
        });
    }
}
