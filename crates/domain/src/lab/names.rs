//! Tags of names and places: keyed in the service, plain here, so that the same input gives the same output.

use std::hash::{BuildHasherDefault, Hasher};

use super::Caller;
use crate::guard::{Asker, Origin};

/// FNV-1a, then mixed (SplitMix64), so that every bit depends on every byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        let mut z = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

pub(super) type Map<V> = std::collections::HashMap<String, V, BuildHasherDefault<Fnv>>;

fn hash(parts: &[&[u8]]) -> u64 {
    let mut fnv = Fnv::default();
    for part in parts {
        fnv.write(&part.len().to_le_bytes());
        fnv.write(part);
    }
    fnv.finish()
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is as good as any")]
const fn short(value: u64) -> u32 {
    value as u32
}

/// Where it comes from, as one user's memory has it.
pub(super) fn origin(caller: &Caller) -> Origin {
    let (user, integration) = (caller.user.as_bytes(), caller.integration.as_bytes());
    let cookie = caller.cookie.as_deref().map(str::as_bytes);
    Origin::new(&caller.place, cookie, |kind, bytes| {
        short(hash(&[kind.as_bytes(), user, integration, bytes])).max(1)
    })
}

/// The browser session, for one user.
pub(super) fn session(caller: &Caller) -> Option<u32> {
    let session = caller.session.as_deref()?;
    let whose = [b"session", caller.user.as_bytes(), caller.integration.as_bytes()];
    Some(short(hash(&[whose[0], whose[1], whose[2], session.as_bytes()])).max(1))
}

/// Where it comes from, as counted over users.
pub(super) fn asker(caller: &Caller) -> Asker {
    let key = |bytes: [u8; 9]| hash(&[b"source", &bytes]);
    Asker {
        address: caller.place.address().map(key),
        network: caller.place.network().map(key),
        integration: hash(&[b"integration", caller.integration.as_bytes()]),
        user: short(hash(&[b"user", caller.user.as_bytes()])).max(1),
    }
}
