//! Reads the data of `iptocc`, whose layout is its own affair: every boundary that is found here is compared with
//! what that crate itself answers there and one step before.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Change, Changes};

/// Buckets of the first level: one for each first 16 bits of an address.
const BUCKETS: u32 = 1 << 16;
/// Says that nothing is registered.
const NONE: u8 = 0xff;
/// Pairs of the second and third level of IPv6's index, each 16 bits.
const DEEP: usize = 257 * 2 * 2;

/// A reader that ends where the data ends.
struct Data<'a>(&'a [u8]);

impl Data<'_> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// A number of things.
    fn count(&self, at: usize) -> Option<usize> {
        usize::try_from(self.u32(at)?).ok()
    }

    fn country(&self, dictionary: usize, index: u8) -> Option<Option<[u8; 2]>> {
        match index {
            NONE => Some(None),
            index => self.array(dictionary + 2 * usize::from(index)).map(Some),
        }
    }
}

/// IPv4: each bucket is of one country, or lists its changes.
pub(super) fn v4(bytes: &[u8]) -> Option<Changes> {
    let data = Data(bytes);
    let at = 4 * usize::try_from(BUCKETS).ok()?;
    let dictionary = at + 4;
    let at = dictionary + 2 * data.count(at)?;
    let (mixed, mixed_count) = (at + 4, data.count(at)?);
    let initial = mixed + 4 * (mixed_count + 1);
    let at = initial + mixed_count;
    let offsets = at + 4;
    let codes = offsets + 2 * data.count(at)?;
    let mut changes = Merged::default();
    for bucket in 0..BUCKETS {
        let start = bucket << 16;
        let word = data.u32(4 * usize::try_from(bucket).ok()?)?;
        let [index, ..] = word.to_le_bytes();
        match word >> 30 {
            0 => {
                let nth = usize::try_from(word).ok()?;
                changes.note(start, data.country(dictionary, data.byte(initial + nth)?)?);
                let (from, until) =
                    (data.count(mixed + 4 * nth)?, data.count(mixed + 4 * nth + 4)?);
                for at in from..until {
                    let key = start | u32::from(data.u16(offsets + 2 * at)?);
                    changes.note(key, data.country(dictionary, data.byte(codes + at)?)?);
                }
            }
            1 => changes.note(start, data.country(dictionary, index)?),
            _ => changes.note(start, None),
        }
    }
    let agrees = changes.0.iter().all(|(key, country)| {
        let said = iptocc::country_code(Ipv4Addr::from(*key)).map(str::as_bytes);
        let before = key.checked_sub(1).map(Ipv4Addr::from).and_then(iptocc::country_code);
        let differs = before.map(str::as_bytes) != said;
        said == country.as_ref().map(|code| code.as_slice()) && differs
    });
    let change = |(key, country): (u32, _)| Change { key: u64::from(key) << 32, country };
    agrees.then(|| changes.0.into_iter().map(change).collect())
}

/// IPv6: a sorted list of blocks, most of them a prefix beside their bucket's.
pub(super) fn v6(bytes: &[u8]) -> Option<Changes> {
    let data = Data(bytes);
    let at = usize::try_from(BUCKETS).ok()?;
    let (firsts, populated) = (at + 4, data.count(at)?);
    let at = firsts + 4 * (populated + 1) + populated * 257 * 2;
    let at = at + 4 + data.count(at)? * (2 + DEEP);
    let at = at + 4 + data.count(at)? * (2 + DEEP);
    let dictionary = at + 4;
    let at = dictionary + 2 * data.count(at)?;
    let (side, side_count) = (at + 4, data.count(at)?);
    let blocks = side + 33 * side_count + 4;
    let mut changes = Merged::default();
    let mut free_from = 0;
    for bucket in 0..=u16::MAX {
        let nth = data.byte(usize::from(bucket))?;
        if nth == NONE {
            continue;
        }
        let nth = usize::from(nth);
        for at in data.count(firsts + 4 * nth)?..data.count(firsts + 4 * nth + 4)? {
            let at = blocks + 6 * at;
            let (first, last, country) = match data.byte(at + 4)? {
                0 => {
                    let at = side + 33 * data.count(at)?;
                    let first = u128::from_le_bytes(data.array(at)?);
                    (first, u128::from_le_bytes(data.array(at + 16)?), data.byte(at + 32)?)
                }
                prefix => {
                    let first = u128::from(bucket) << 112 | u128::from(data.u32(at)?) << 80;
                    (first, first | u128::MAX.checked_shr(prefix.into())?, data.byte(at + 5)?)
                }
            };
            if first > free_from {
                changes.note(free_from, None);
            }
            changes.note(first, data.country(dictionary, country)?);
            free_from = last.checked_add(1)?;
        }
    }
    changes.note(free_from, None);
    let agrees = changes.0.iter().all(|(key, country)| {
        let said = iptocc::country_code(Ipv6Addr::from(*key)).map(str::as_bytes);
        let before = key.checked_sub(1).map(Ipv6Addr::from).and_then(iptocc::country_code);
        let differs = before.map(str::as_bytes) != said;
        said == country.as_ref().map(|code| code.as_slice()) && differs
    });
    let change = |(key, country): (u128, _)| {
        // whoever gets less than a /64 is nobody's network
        let whole = key.trailing_zeros() >= 64;
        whole.then(|| Change { key: u64::try_from(key >> 64).unwrap_or(u64::MAX), country })
    };
    if agrees { changes.0.into_iter().map(change).collect() } else { None }
}

/// Changes of country, told apart from what only looks like one.
struct Merged<K>(Vec<(K, Option<[u8; 2]>)>);

impl<K> Default for Merged<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K> Merged<K> {
    fn note(&mut self, from: K, country: Option<[u8; 2]>) {
        if self.0.last().and_then(|(_, before)| *before) != country {
            self.0.push((from, country));
        }
    }
}
