//! The built-in table: in which country a registry registered an address. `cargo xtask countries` makes it; where
//! its data come from is said in assets/README.md.
//!
//! Layout, numbers big-endian: the text `countries/1\n`; the day of the data as `YYYY-MM-DD`; how many countries
//! there are (one byte) and their codes, two letters each; then IPv4 and IPv6, each the length of its index and of
//! its entries in bytes (four bytes each), the index, the entries.
//!
//! An entry is a change: from its key on, addresses belong to a country (its number from 1, or 0 for none). A key is
//! an address's first 64 bits, where an IPv4 address is followed by zeros. Entries come in rising order, in blocks.
//! The index holds of each block the key of its first entry (eight bytes) and where that entry is (four). A
//! block's further entries say before their country how far they are from the one before: a byte whose low six bits
//! shift an odd number 2n + 1, where n is its high two bits, or for 3 those and a LEB128 number that follows.

use std::net::IpAddr;

static BYTES: &[u8] = include_bytes!("../assets/countries.bin");
const TABLE: Table<'_> = match Table::read(BYTES) {
    Some(table) => table,
    None => panic!("assets/countries.bin is damaged: run cargo xtask countries"),
};

/// The day of the registries' lists, as `YYYY-MM-DD`.
pub const PUBLISHED: &str = TABLE.published;

const MAGIC: &[u8] = b"countries/1\n";
/// Bytes of a block in the index: a key, and where its entries start.
const INDEXED: usize = 8 + 4;

#[derive(Clone, Copy, Debug)]
struct Table<'a> {
    published: &'a str,
    countries: &'a [u8],
    v4: Family<'a>,
    v6: Family<'a>,
}

#[derive(Clone, Copy, Debug)]
struct Family<'a> {
    index: &'a [u8],
    entries: &'a [u8],
}

/// The country in which an address is registered: ISO 3166-1, two letters. Addresses for special use (private,
/// loopback, documentation, ..) are in no registry's list and have none.
#[must_use]
pub fn registered_country(ip: IpAddr) -> Option<[u8; 2]> {
    let (family, key) = match ip {
        IpAddr::V4(ip) => (TABLE.v4, u64::from(ip.to_bits()) << 32),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            (TABLE.v6, u64::from_be_bytes([a, b, c, d, e, f, g, h]))
        }
    };
    TABLE.country(family.find(key)?)
}

impl<'a> Table<'a> {
    const fn read(bytes: &'a [u8]) -> Option<Self> {
        let Some((magic, rest)) = bytes.split_at_checked(MAGIC.len()) else { return None };
        let mut at = 0;
        while at < MAGIC.len() {
            if magic[at] != MAGIC[at] {
                return None;
            }
            at += 1;
        }
        let Some((published, rest)) = rest.split_at_checked("YYYY-MM-DD".len()) else {
            return None;
        };
        let Ok(published) = str::from_utf8(published) else { return None };
        let Some((count, rest)) = rest.split_first() else { return None };
        let Some((countries, rest)) = rest.split_at_checked(2 * *count as usize) else {
            return None;
        };
        let Some((v4, rest)) = Family::read(rest) else { return None };
        let Some((v6, [])) = Family::read(rest) else { return None };
        Some(Self { published, countries, v4, v6 })
    }

    fn country(&self, number: u8) -> Option<[u8; 2]> {
        let at = 2 * usize::from(number.checked_sub(1)?);
        self.countries.get(at..)?.first_chunk().copied()
    }
}

impl<'a> Family<'a> {
    const fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let Some((index_length, rest)) = bytes.split_first_chunk() else { return None };
        let Some((entries_length, rest)) = rest.split_first_chunk() else { return None };
        let index_length = u32::from_be_bytes(*index_length) as usize;
        let entries_length = u32::from_be_bytes(*entries_length) as usize;
        let Some((index, rest)) = rest.split_at_checked(index_length) else { return None };
        let Some((entries, rest)) = rest.split_at_checked(entries_length) else { return None };
        Some((Self { index, entries }, rest))
    }

    /// The number of the country that a key belongs to.
    fn find(self, key: u64) -> Option<u8> {
        let (blocks, _) = self.index.as_chunks::<INDEXED>();
        let after = blocks.partition_point(|block| first_key(block) <= key);
        let mut block = self.block(after.checked_sub(1)?)?;
        let mut found = block.next()?;
        for entry in block {
            if entry.0 > key {
                break;
            }
            found = entry;
        }
        Some(found.1)
    }

    fn block(self, nth: usize) -> Option<Block<'a>> {
        let (blocks, _) = self.index.as_chunks::<INDEXED>();
        let block = blocks.get(nth)?;
        let from = start(block)?;
        let until = blocks.get(nth + 1).map_or(Some(self.entries.len()), start)?;
        Some(Block { key: first_key(block), is_first: true, rest: self.entries.get(from..until)? })
    }
}

fn first_key(block: &[u8; INDEXED]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *block;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn start(block: &[u8; INDEXED]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(*block.last_chunk()?)).ok()
}

/// The entries of a block that are still to come: key, and number of the country.
struct Block<'a> {
    key: u64,
    is_first: bool,
    rest: &'a [u8],
}

impl Iterator for Block<'_> {
    type Item = (u64, u8);

    fn next(&mut self) -> Option<(u64, u8)> {
        if !self.is_first {
            let (head, rest) = self.rest.split_first()?;
            self.rest = rest;
            let mut half = u64::from(head >> 6);
            if half == 3 {
                half += self.number()?;
            }
            let distance = (2 * half + 1) << (head & 0x3f);
            self.key = self.key.checked_add(distance)?;
        }
        self.is_first = false;
        let (number, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some((self.key, *number))
    }
}

impl Block<'_> {
    /// An unsigned LEB128 number.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    /// Every change of a family, block after block.
    fn changes(family: Family<'static>) -> Vec<(u64, Option<[u8; 2]>)> {
        let count = family.index.len() / INDEXED;
        let entries = (0..count).flat_map(|nth| family.block(nth).expect("a block"));
        entries.map(|(key, number)| (key, TABLE.country(number))).collect()
    }

    static V4: LazyLock<Vec<(u64, Option<[u8; 2]>)>> = LazyLock::new(|| changes(TABLE.v4));
    static V6: LazyLock<Vec<(u64, Option<[u8; 2]>)>> = LazyLock::new(|| changes(TABLE.v6));

    /// The last change that isn't behind the key, by looking at all of them.
    fn naive(changes: &[(u64, Option<[u8; 2]>)], key: u64) -> Option<[u8; 2]> {
        let before = changes.iter().take_while(|(from, _)| *from <= key);
        before.last().and_then(|(_, country)| *country)
    }

    fn v4(key: u64) -> IpAddr {
        Ipv4Addr::from_bits(u32::try_from(key >> 32).expect("32 bits")).into()
    }

    fn v6(key: u64, rest: u64) -> IpAddr {
        Ipv6Addr::from_bits(u128::from(key) << 64 | u128::from(rest)).into()
    }

    #[test]
    fn keys_rise_and_each_change_is_one() {
        for changes in [&*V4, &*V6] {
            assert!(changes.len() > 50_000);
            assert!(changes.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
        }
        assert!(TABLE.countries.iter().all(u8::is_ascii_uppercase));
        assert!(TABLE.countries.as_chunks::<2>().0.is_sorted());
        assert_eq!(PUBLISHED.split('-').map(str::len).collect::<Vec<_>>(), [4, 2, 2]);
    }

    #[test]
    fn it_agrees_with_where_its_data_come_from_around_every_change() {
        let says = |ip: IpAddr| {
            let code: Option<[u8; 2]> =
                iptocc::country_code(ip).map(|code| code.as_bytes().try_into().expect("a code"));
            code.filter(|code| code != b"EU")
        };
        for (key, _) in &*V4 {
            for key in [*key, key - (1 << 32)] {
                assert_eq!(registered_country(v4(key)), says(v4(key)), "{}", v4(key));
            }
        }
        for (key, _) in &*V6 {
            for ip in [v6(*key, 0), v6(key - 1, u64::MAX)] {
                assert_eq!(registered_country(ip), says(ip), "{ip}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_address_is_found_as_by_looking_at_all(key: u64, rest: u64, nth: prop::sample::Index, near in -2..=2_i64) {
            let by_v4 = key & !u64::from(u32::MAX);
            prop_assert_eq!(registered_country(v4(by_v4)), naive(&V4, by_v4));
            // where there is something
            let routed = key >> 3 | 1 << 61;
            prop_assert_eq!(registered_country(v6(routed, rest)), naive(&V6, routed));
            let (by_v4, _) = V4[nth.index(V4.len())];
            let by_v4 = by_v4.wrapping_add_signed(near << 32);
            prop_assert_eq!(registered_country(v4(by_v4)), naive(&V4, by_v4));
            let (by_v6, _) = V6[nth.index(V6.len())];
            let by_v6 = by_v6.wrapping_add_signed(near);
            prop_assert_eq!(registered_country(v6(by_v6, rest)), naive(&V6, by_v6));
        }
    }

    #[test]
    fn well_known_addresses_are_where_they_are_registered() {
        for (ip, code) in [
            ("8.8.8.8", "US"),
            ("193.0.6.139", "NL"),
            ("46.4.0.1", "DE"),
            ("133.11.0.1", "JP"),
            ("200.160.2.3", "BR"),
            ("196.216.2.6", "ZA"),
            ("81.2.69.142", "GB"),
            ("2001:4860:4860::8888", "US"),
            ("2001:200::1", "JP"),
            ("2a01:4f8::1", "DE"),
            ("2001:67c:2e8:22::c100:68b", "NL"),
        ] {
            let found = registered_country(ip.parse().expect("an address"));
            assert_eq!(found.as_ref().map(|code| code.as_slice()), Some(code.as_bytes()), "{ip}");
        }
    }

    /// RFC 6890 and its registries.
    #[test]
    fn addresses_for_special_use_are_nowhere() {
        for ip in [
            "0.0.0.0",
            "10.1.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "64:ff9b::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002::1",
            "3fff::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert_eq!(registered_country(ip.parse().expect("an address")), None, "{ip}");
        }
    }

    #[test]
    fn a_table_that_was_cut_is_none() {
        for length in [0, 5, 12, 21, 23, 600, BYTES.len() - 1] {
            assert!(Table::read(&BYTES[..length]).is_none(), "{length}");
        }
        let longer = [BYTES, b"x"].concat();
        assert!(Table::read(&longer).is_none());
    }
}
