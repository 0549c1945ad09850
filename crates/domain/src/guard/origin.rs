//! Where a request comes from, as far as anybody vouched for it, and how familiar that is.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A keyed hash of a place, short enough to remember many: whoever can't key it can't aim for a collision.
pub type Tag = u32;

/// An address or a network as every user shares it: for counting over users.
pub type SourceKey = u64;

/// Where a request says that it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// Its autonomous system, where a table of them is mounted.
    pub asn: Option<u32>,
    /// ISO 3166 code of its country.
    pub country: Option<[u8; 2]>,
}

impl Place {
    /// The address as it identifies a household: IPv4 whole, IPv6 its /64 (one subscriber's smallest share).
    #[must_use]
    pub fn address(&self) -> Option<[u8; 9]> {
        Some(match self.ip?.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                [4, a, b, c, d, 0, 0, 0, 0]
            }
            IpAddr::V6(ip) => {
                let o = ip.octets();
                [6, o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7]]
            }
        })
    }

    /// The provider's network: the autonomous system where it is known, else the /24 or /48.
    #[must_use]
    pub fn network(&self) -> Option<[u8; 9]> {
        let address = self.address()?;
        if let Some(asn) = self.asn {
            let [a, b, c, d] = asn.to_be_bytes();
            return Some([1, a, b, c, d, 0, 0, 0, 0]);
        }
        let kept = if address[0] == 4 { 4 } else { 7 };
        let mut network = [0; 9];
        network[..kept].copy_from_slice(&address[..kept]);
        // apart from the address of the same bytes
        network[0] += 64;
        Some(network)
    }
}

impl Place {
    /// The network, as people write it.
    #[must_use]
    pub fn network_name(&self) -> Option<String> {
        if let (Some(asn), Some(_)) = (self.asn, self.ip) {
            return Some(format!("AS{asn}"));
        }
        let [kind, a, b, c, d, e, f, ..] = self.address()?;
        Some(if kind == 4 {
            format!("{a}.{b}.{c}.0/24")
        } else {
            let group = |high: u8, low: u8| u16::from_be_bytes([high, low]);
            format!("{:x}:{:x}:{:x}::/48", group(a, b), group(c, d), group(e, f))
        })
    }
}

impl fmt::Display for Place {
    /// Network and country, as far as they are known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(network) = self.network_name() else { return f.write_str("an unknown place") };
        f.write_str(&network)?;
        match self.country.as_ref().map(|code| std::str::from_utf8(code)) {
            Some(Ok(country)) => write!(f, " ({country})"),
            _ => Ok(()),
        }
    }
}

/// Where a request comes from, as the guard remembers it. Tags are per user and integration: an address that
/// one integration asserts proves nothing at another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The valid device cookie.
    pub cookie: Option<Tag>,
    /// The address.
    pub address: Option<Tag>,
    /// The network.
    pub network: Option<Tag>,
}

impl Origin {
    /// Builds the tags by `keyed`, a keyed hash of what it is given.
    pub fn new(
        place: &Place,
        cookie: Option<&[u8]>,
        mut keyed: impl FnMut(&'static str, &[u8]) -> Tag,
    ) -> Self {
        Self {
            cookie: cookie.map(|id| keyed("cookie", id)),
            address: place.address().map(|bytes| keyed("address", &bytes)),
            network: place.network().map(|bytes| keyed("network", &bytes)),
        }
    }

    /// What its failures are kept under: the most exact thing that is known.
    #[must_use]
    pub fn context(&self) -> Option<Tag> {
        self.cookie.or(self.address)
    }
}

/// How familiar an origin is, for one user at one integration. Later is more familiar.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Familiarity {
    /// Neither address nor cookie: can't be recognised, now or later.
    #[default]
    Nowhere,
    /// Nothing about it is known.
    Unknown,
    /// Its network is known, its address isn't.
    Near,
    /// Its address is known.
    Known,
    /// Its device cookie is known.
    Own,
}

impl Familiarity {
    /// Whether the person has proved possession from there, at least a day ago.
    #[must_use]
    pub fn is_known(self) -> bool {
        self >= Self::Known
    }

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nowhere => "nowhere",
            Self::Unknown => "unknown",
            Self::Near => "near",
            Self::Known => "known",
            Self::Own => "own",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(ip: &str, asn: Option<u32>) -> Place {
        Place { ip: Some(ip.parse().unwrap()), asn, country: None }
    }

    #[test]
    fn a_household_is_one_address_and_a_provider_one_network() {
        let (a, b) = (place("2001:db8:1:2::1", None), place("2001:db8:1:2:ffff::9", None));
        assert_eq!(a.address(), b.address());
        let c = place("2001:db8:1:3::1", None);
        assert_ne!(a.address(), c.address());
        assert_eq!(a.network(), c.network());
        assert_ne!(a.network(), place("2001:db8:2:2::1", None).network());
        let mapped = place("::ffff:192.0.2.7", None);
        assert_eq!(mapped.address(), place("192.0.2.7", None).address());
        assert_eq!(mapped.network(), place("192.0.2.200", None).network());
        assert_ne!(mapped.network(), place("192.0.3.7", None).network());
        assert_eq!(place("192.0.2.7", Some(1)).network(), place("198.51.100.1", Some(1)).network());
        assert_ne!(mapped.network(), mapped.address());
        assert_eq!(Place { ip: None, asn: Some(1), country: None }.network(), None);
    }
}
