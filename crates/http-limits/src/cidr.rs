//! A network: an address and how many of its leading bits count.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network in CIDR notation (RFC 4632, RFC 4291 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCidr {
    /// Not an address.
    #[error("must be an address or a network such as 10.0.0.0/8")]
    Address,
    /// The part after the slash isn't a number, or is too large.
    #[error("must have a prefix length between 0 and 32 (IPv4) or 128 (IPv6)")]
    Prefix,
    /// Bits are set behind the prefix: somebody mistook the prefix or the address.
    #[error("has bits set behind its prefix length")]
    HostBits,
}

impl Cidr {
    /// Whether `address` lies in this network. An IPv4 address written as IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                let differ = u64::from(network.to_bits() ^ address.to_bits());
                differ >> shift == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differ = network.to_bits() ^ address.to_bits();
                differ.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    const fn bits(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| BadCidr::Address)?;
        let prefix = match prefix {
            None => Self::bits(written),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| BadCidr::Prefix)?
            }
            Some(_) => return Err(BadCidr::Prefix),
        };
        if prefix > Self::bits(written) {
            return Err(BadCidr::Prefix);
        }
        // ::ffff:10.0.0.0/104 means 10.0.0.0/8
        let (network, prefix) = match written.to_canonical() {
            v4 @ IpAddr::V4(_) if written.is_ipv6() => {
                (v4, prefix.checked_sub(96).ok_or(BadCidr::Prefix)?)
            }
            same => (same, prefix),
        };
        let cidr = Self { network, prefix };
        let masked = match network {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        };
        if masked.checked_shl(u32::from(prefix)).unwrap_or(0) != 0 {
            return Err(BadCidr::HostBits);
        }
        Ok(cidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, inside: bool) {
        let network: Cidr = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), inside);
    }

    #[test]
    fn contains() {
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.6", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "203.0.113.9", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("2001:db8::1/128", "2001:db8::1", true);
        check("::1", "::1", true);
        check("::ffff:10.0.0.0/104", "10.9.9.9", true);
        check("::ffff:10.0.0.0/104", "11.9.9.9", false);
    }

    #[test]
    fn refuses_what_is_no_network() {
        for (text, error) in [
            ("", BadCidr::Address),
            ("example.com", BadCidr::Address),
            ("10.0.0/8", BadCidr::Address),
            ("10.0.0.0/", BadCidr::Prefix),
            ("10.0.0.0/33", BadCidr::Prefix),
            ("10.0.0.0/-1", BadCidr::Prefix),
            ("10.0.0.0/+8", BadCidr::Prefix),
            ("10.0.0.0/8/8", BadCidr::Prefix),
            ("::1/129", BadCidr::Prefix),
            ("::1/999", BadCidr::Prefix),
            ("::ffff:10.0.0.0/64", BadCidr::Prefix),
            ("10.0.0.1/8", BadCidr::HostBits),
            ("2001:db8::1/32", BadCidr::HostBits),
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text}");
        }
    }

    #[test]
    fn shows_what_it_was_made_from() {
        for text in ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
    }
}
