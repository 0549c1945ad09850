//! The directory in memory: what was read once is read again only after a change.
//!
//! Who logs in with a device is read too, and not kept for that: most devices that are connected are idle, and a
//! record is several times what else one costs. What is asked for in any other way is kept.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use domain::directory::{Integration, UserRecord};
use ports::KeyOwner;
use statement::{DeviceId, IntegrationId, TenantId, UserId};

/// Entries of each map; a user's record is about a kilobyte. Above it an eighth is dropped.
const MAX_ENTRIES: usize = 50_000;
/// Who logged in last: a login reads its record more than once, and whoever signs in then was often among them.
const MAX_LOGINS: usize = 1_024;

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
    logins: Logins,
    keys: HashMap<[u8; 32], Arc<KeyOwner>>,
    integrations: HashMap<IntegrationId, Arc<Integration>>,
}

/// Owners of devices that logged in, for a while.
#[derive(Default)]
struct Logins {
    users: HashMap<UserId, Arc<UserRecord>>,
    devices: HashMap<DeviceId, UserId>,
    order: VecDeque<(DeviceId, UserId)>,
}

impl Logins {
    fn keep(&mut self, device: DeviceId, record: &Arc<UserRecord>) {
        if self.order.len() >= MAX_LOGINS
            && let Some((device, user)) = self.order.pop_front()
        {
            self.devices.remove(&device);
            self.users.remove(&user);
        }
        self.order.push_back((device, record.user.id));
        self.devices.insert(device, record.user.id);
        self.users.insert(record.user.id, Arc::clone(record));
    }
}

impl Known {
    fn keep_user(&mut self, record: &Arc<UserRecord>) {
        for device in &record.devices {
            keep(&mut self.devices, device.id, record.user.id);
        }
        let name = (record.user.tenant, record.user.name.clone());
        keep(&mut self.names, name, Some(record.user.id));
        keep(&mut self.users, record.user.id, Arc::clone(record));
    }
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
        let (known, logged_in) = self.look(|known| {
            let found = known.users.get(&id).cloned().map(Some);
            let found = found.or_else(|| known.nobody.get(&id).map(|()| None));
            let logged_in = found.is_none() && known.logins.users.contains_key(&id);
            (found, logged_in)
        });
        if !logged_in {
            return known;
        }
        // no longer for its login alone
        let mut record = None;
        self.change(|known| {
            record = known.logins.users.remove(&id);
            record.iter().for_each(|record| known.keep_user(record));
        });
        record.map(Some)
    }

    /// The owner of a device, if it is known that there is one.
    pub(crate) fn owner(&self, device: DeviceId) -> Option<Arc<UserRecord>> {
        self.look(|known| {
            let user = known.devices.get(&device).or_else(|| known.logins.devices.get(&device))?;
            known.users.get(user).or_else(|| known.logins.users.get(user)).cloned()
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
        self.learn(generation, |known| known.keep_user(record));
    }

    /// Keeps the owner of a device that logs in, until others have done so.
    pub(crate) fn learn_owner(&self, generation: u64, device: DeviceId, record: &Arc<UserRecord>) {
        self.learn(generation, |known| known.logins.keep(device, record));
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
                Stale::User(id) => {
                    known.users.remove(id);
                    known.logins.users.remove(id);
                }
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

#[cfg(test)]
mod tests {
    use domain::directory::User;
    use testkit::Fixture;

    use super::*;

    fn record(n: usize) -> Arc<UserRecord> {
        let mut id = [0; UserId::LEN];
        id[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let user = Fixture::new(1).user();
        let user = User { id: UserId::from_bytes(id), name: format!("user{n}"), ..user };
        Arc::new(testkit::fresh(&user))
    }

    fn device(n: usize) -> DeviceId {
        DeviceId::from_bytes(*record(n).user.id.as_bytes())
    }

    #[test]
    fn a_crowd_that_logs_in_is_not_kept_and_who_is_asked_for_is() {
        let people = People::default();
        let known = || people.look(|known| (known.users.len(), known.logins.users.len()));
        for n in 0..MAX_LOGINS {
            people.learn_owner(people.generation(), device(n), &record(n));
        }
        assert_eq!(known(), (0, MAX_LOGINS));
        let first = Some(record(0));
        assert_eq!(people.owner(device(0)), first);
        assert_eq!(people.user(record(0).user.id), Some(first.clone()));
        for n in MAX_LOGINS..3 * MAX_LOGINS {
            people.learn_owner(people.generation(), device(n), &record(n));
        }
        assert_eq!(known(), (1, MAX_LOGINS));
        assert_eq!(people.user(record(0).user.id), Some(first));
        assert_eq!(people.owner(device(1)), None);
        people.look(|known| {
            assert_eq!((known.names.len(), known.logins.devices.len()), (1, MAX_LOGINS));
        });
    }

    #[test]
    fn a_change_is_seen_by_the_next_login() {
        let people = People::default();
        let before = people.generation();
        people.learn_owner(before, device(7), &record(7));
        people.forget(&Stale::User(record(7).user.id));
        assert_eq!(people.owner(device(7)), None);
        assert_eq!(people.user(record(7).user.id), None);
        people.learn_owner(before, device(7), &record(7));
        assert_eq!(people.owner(device(7)), None, "read before the change");
    }
}
