//! Which refused logins are written down: whoever repeats one fills no disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use statement::{DeviceId, Timestamp};

/// How long a refused login of a device stands for those after it.
const QUIET: Duration = Duration::from_secs(60);
/// Devices that are remembered at once, 32 KiB. Only who knows the ids of so many can go past it; those beyond
/// aren't written down.
const MAX_DEVICES: usize = 1024;

/// When a refused login was last written down, by device.
#[derive(Default)]
pub(crate) struct RefusedLogins(Mutex<HashMap<DeviceId, Timestamp>>);

impl RefusedLogins {
    /// Whether this one is to be written down.
    pub(crate) fn note(&self, device: DeviceId, now: Timestamp) -> bool {
        // entries are put in one by one: a poisoned lock holds whole ones
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |at: &Timestamp| now.since(*at) < QUIET;
        if noted.get(&device).is_some_and(is_quiet) {
            return false;
        }
        if noted.len() >= MAX_DEVICES {
            noted.retain(|_, at| is_quiet(at));
        }
        if noted.len() >= MAX_DEVICES {
            return false;
        }
        noted.insert(device, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: usize) -> DeviceId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(id)
    }

    #[test]
    fn a_flood_over_many_devices_is_bounded_and_over_in_a_minute() {
        let logins = RefusedLogins::default();
        let now = Timestamp::from_millis(1_000_000);
        let told = (0..MAX_DEVICES * 2).filter(|n| logins.note(device(*n), now)).count();
        assert_eq!(told, MAX_DEVICES);
        assert!(!logins.note(device(0), now.plus(QUIET - Duration::from_millis(1))));
        assert!(logins.note(device(MAX_DEVICES + 1), now.plus(QUIET)));
        assert_eq!(logins.0.lock().expect("not poisoned").len(), 1);
    }
}
