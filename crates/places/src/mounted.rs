//! An MMDB file that the operator mounts, in the layouts in which such files are given out: `GeoLite2`'s (DB-IP's
//! too) and the flat one of `IPinfo`.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::Path;

use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use statement::Timestamp;

/// The largest file that is read: it is held in memory, and the largest that are given out stay below.
const MAX_FILE: u64 = 2 << 30;
/// Networks for each node of a tree: two at most, if it is one.
const NETWORKS_PER_NODE: usize = 2;

type Way = &'static [PathElement<'static>];

/// Where a country's code may be.
const COUNTRY: [Way; 3] = [
    &[PathElement::Key("country"), PathElement::Key("iso_code")],
    &[PathElement::Key("country_code")],
    &[PathElement::Key("country")],
];
/// Where a city's name may be.
const CITY: [Way; 2] = [
    &[PathElement::Key("city"), PathElement::Key("names"), PathElement::Key("en")],
    &[PathElement::Key("city")],
];
/// Where the number of an autonomous system may be.
const ASN: [Way; 2] = [&[PathElement::Key("autonomous_system_number")], &[PathElement::Key("asn")]];

/// What a file is mounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Country and city.
    City,
    /// The number of the autonomous system.
    Asn,
}

impl Wanted {
    /// The setting that names the file.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::City => "places.city_mmdb",
            Self::Asn => "places.asn_mmdb",
        }
    }

    const fn lacks(self) -> &'static str {
        match self {
            Self::City => "neither countries nor cities",
            Self::Asn => "no numbers of autonomous systems",
        }
    }
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    #[error("is larger than 2 GiB")]
    TooLarge,
    #[error("is no MMDB file, or a damaged one: {0}")]
    Damaged(#[from] MaxMindDbError),
    #[error("is a damaged MMDB file: its tree has no end")]
    Endless,
    #[error("is an MMDB file ({0}) with {1}: is it the right one?")]
    Unfit(String, &'static str),
}

/// A file that is in use.
pub struct Mounted {
    reader: Reader<Vec<u8>>,
    country: Option<Way>,
    city: Option<Way>,
    asn: Option<Way>,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mounted").field(&self.kind()).finish()
    }
}

impl Mounted {
    /// Reads a file whole and looks at all of it, so that no look-up meets a damaged part later.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, wanted: Wanted) -> Result<Self, OpenError> {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        // one more than fits, to tell a file that is too large from one that just fits
        if file.take(MAX_FILE + 1).read_to_end(&mut bytes)? as u64 > MAX_FILE {
            return Err(OpenError::TooLarge);
        }
        let reader = Reader::from_source(bytes)?;
        let mut mounted = Self { reader, country: None, city: None, asn: None };
        mounted.walk(wanted)?;
        match (mounted.country, mounted.city, mounted.asn) {
            (None, None, None) => Err(OpenError::Unfit(mounted.kind().to_owned(), wanted.lacks())),
            _ => Ok(mounted),
        }
    }

    /// Looks at every network, and each record once: by which ways it says what is wanted, and that nothing on them
    /// is damaged. What else a file holds is never read.
    fn walk(&mut self, wanted: Wanted) -> Result<(), OpenError> {
        let reader = &self.reader;
        let nodes = usize::try_from(reader.metadata().node_count).unwrap_or(usize::MAX);
        let mut left = nodes.saturating_mul(NETWORKS_PER_NODE);
        let mut seen = HashSet::new();
        for found in reader.networks(WithinOptions::default())? {
            let found = found?;
            left = left.checked_sub(1).ok_or(OpenError::Endless)?;
            if !seen.insert(found.offset()) {
                continue;
            }
            match wanted {
                Wanted::City => {
                    follow(&found, &COUNTRY, &mut self.country, country)?;
                    follow(&found, &CITY, &mut self.city, city)?;
                }
                Wanted::Asn => follow(&found, &ASN, &mut self.asn, asn)?,
            }
        }
        Ok(())
    }

    /// What its maker calls it: `GeoLite2-City`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When its maker made it.
    #[must_use]
    pub fn built(&self) -> Timestamp {
        Timestamp::from_millis(self.reader.metadata().build_epoch.saturating_mul(1_000))
    }

    /// The country's code and the city's name.
    pub(crate) fn place(&self, ip: IpAddr) -> (Option<[u8; 2]>, Option<String>) {
        // a file of IPv4 addresses alone knows of no others
        let Ok(found) = self.reader.lookup(ip) else { return (None, None) };
        let country = self.country.and_then(|way| country(&found, way).ok()?);
        (country, self.city.and_then(|way| city(&found, way).ok()?))
    }

    /// The number of the autonomous system.
    pub(crate) fn asn(&self, ip: IpAddr) -> Option<u32> {
        let found = self.reader.lookup(ip).ok()?;
        asn(&found, self.asn?).ok()?
    }
}

type Found<'a> = LookupResult<'a, Vec<u8>>;

/// Reads a record by the way that is known, or looks for it.
fn follow<T>(
    found: &Found<'_>,
    ways: &[Way],
    known: &mut Option<Way>,
    read: impl Fn(&Found<'_>, Way) -> Result<Option<T>, MaxMindDbError>,
) -> Result<(), MaxMindDbError> {
    if let Some(way) = *known {
        return read(found, way).map(drop);
    }
    for way in ways {
        if read(found, way)?.is_some() {
            *known = Some(way);
            break;
        }
    }
    Ok(())
}

/// What a way leads to; nothing, if that is of another kind.
fn at<'a, T: Deserialize<'a>>(found: &Found<'a>, way: Way) -> Result<Option<T>, MaxMindDbError> {
    match found.decode_path(way) {
        Err(MaxMindDbError::Decoding { .. }) => Ok(None),
        other => other,
    }
}

fn country(found: &Found<'_>, way: Way) -> Result<Option<[u8; 2]>, MaxMindDbError> {
    let code: Option<&str> = at(found, way)?;
    let code: Option<[u8; 2]> = code.and_then(|code| code.as_bytes().try_into().ok());
    Ok(code.filter(|code| code.iter().all(u8::is_ascii_uppercase)))
}

fn city(found: &Found<'_>, way: Way) -> Result<Option<String>, MaxMindDbError> {
    let name: Option<&str> = at(found, way)?;
    Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

fn asn(found: &Found<'_>, way: Way) -> Result<Option<u32>, MaxMindDbError> {
    let number = at(found, way)?.map(|Asn(number)| number);
    // 0 is nobody's (RFC 7607)
    Ok(number.filter(|number| *number != 0))
}

/// A number, or text such as `AS64500`.
struct Asn(u32);

impl<'de> Deserialize<'de> for Asn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Asn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of an autonomous system")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Asn, E> {
                let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
                u32::try_from(number).map(Asn).map_err(|_| wrong())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Asn, E> {
                let digits = text.strip_prefix("AS").unwrap_or(text);
                let wrong = |_| E::invalid_value(Unexpected::Str(text), &self);
                digits.parse().map(Asn).map_err(wrong)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
