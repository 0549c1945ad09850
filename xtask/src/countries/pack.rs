//! Writes the table; `crates/places/src/registry.rs` reads it and says how it is laid out.

use std::collections::BTreeSet;

use super::Changes;

/// What the table starts with: its name and version.
const MAGIC: &[u8] = b"countries/1\n";
/// Changes of one block, of which only the first is found by its key alone.
const BLOCK: usize = 32;

/// The table of both families.
pub(super) fn pack(published: &str, families: [Changes; 2]) -> Result<Vec<u8>, String> {
    let countries: BTreeSet<[u8; 2]> =
        families.iter().flatten().filter_map(|change| change.country).collect();
    let countries: Vec<[u8; 2]> = countries.into_iter().collect();
    let count =
        u8::try_from(countries.len()).map_err(|_| "countries: more than a byte tells apart")?;
    let mut table = MAGIC.to_vec();
    table.extend(published.as_bytes());
    table.push(count);
    table.extend(countries.as_flattened());
    for changes in families {
        family(&mut table, &countries, &changes)?;
    }
    Ok(table)
}

fn family(table: &mut Vec<u8>, countries: &[[u8; 2]], changes: &Changes) -> Result<(), String> {
    let length = |bytes: &[u8]| {
        u32::try_from(bytes.len()).map_err(|_| "countries: the table is too long".to_owned())
    };
    let (mut index, mut entries) = (Vec::new(), Vec::new());
    for block in changes.chunks(BLOCK) {
        let mut before = None;
        for change in block {
            match before {
                None => {
                    index.extend(change.key.to_be_bytes());
                    index.extend(length(&entries)?.to_be_bytes());
                }
                Some(key) => step(&mut entries, change.key - key),
            }
            before = Some(change.key);
            let known = |code: [u8; 2]| countries.iter().position(|of| *of == code);
            let number = change.country.and_then(known).map_or(0, |at| at + 1);
            entries.extend(u8::try_from(number));
        }
    }
    table.extend(length(&index)?.to_be_bytes());
    table.extend(length(&entries)?.to_be_bytes());
    table.extend(index);
    table.extend(entries);
    Ok(())
}

/// How far it is to the next change: an odd number, shifted left. Most are a power of two, which takes a byte.
fn step(entries: &mut Vec<u8>, distance: u64) {
    let shift = distance.trailing_zeros();
    let half = distance >> shift >> 1;
    let [shift, ..] = shift.to_le_bytes();
    let [small, ..] = half.min(3).to_le_bytes();
    entries.push(shift | small << 6);
    let Some(mut rest) = half.checked_sub(3) else { return };
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            return entries.push(low & 0x7f);
        }
        entries.push(low | 0x80);
    }
}
