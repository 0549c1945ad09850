//! Which addresses a webhook may be sent to. Whoever writes a receiver's name, or answers for it in the DNS, must
//! not make this server speak to its own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network that is not the public internet.
struct Net {
    base: u128,
    bits: u32,
    what: &'static str,
    /// Whether a receiver may really be there: with `allow_private` it may.
    inside: bool,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u32, what: &'static str, inside: bool) -> Net {
    Net { base: Ipv4Addr::new(a, b, c, d).to_bits() as u128, bits, what, inside }
}

const fn v6(a: u16, b: u16, bits: u32, what: &'static str, inside: bool) -> Net {
    Net { base: Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0).to_bits(), bits, what, inside }
}

/// IANA's special-purpose registry (RFC 6890 and successors) and addresses at which clouds hand out credentials.
/// The first that holds an address names it.
const V4: [Net; 20] = [
    v4(168, 63, 129, 16, 32, "a cloud's metadata service", false),
    v4(100, 100, 100, 200, 32, "a cloud's metadata service", false),
    v4(127, 0, 0, 0, 8, "loopback", true),
    v4(10, 0, 0, 0, 8, "private", true),
    v4(172, 16, 0, 0, 12, "private", true),
    v4(192, 168, 0, 0, 16, "private", true),
    v4(100, 64, 0, 0, 10, "a carrier's shared network", true),
    v4(0, 0, 0, 0, 8, "this host", false),
    v4(169, 254, 0, 0, 16, "link-local", false),
    v4(192, 0, 0, 0, 24, "reserved for protocols", false),
    v4(192, 0, 2, 0, 24, "documentation", false),
    v4(198, 51, 100, 0, 24, "documentation", false),
    v4(203, 0, 113, 0, 24, "documentation", false),
    v4(192, 88, 99, 0, 24, "6to4", false),
    v4(192, 31, 196, 0, 24, "reserved for protocols", false),
    v4(192, 52, 193, 0, 24, "reserved for protocols", false),
    v4(192, 175, 48, 0, 24, "reserved for protocols", false),
    v4(198, 18, 0, 0, 15, "benchmarks", false),
    v4(224, 0, 0, 0, 4, "multicast", false),
    v4(240, 0, 0, 0, 4, "reserved", false),
];

/// Likewise; beside these only global unicast (2000::/3) is public.
const V6: [Net; 8] = [
    v6(0xfd00, 0x0ec2, 64, "a cloud's metadata service", false),
    v6(0xfc00, 0, 7, "unique-local", true),
    v6(0xfe80, 0, 10, "link-local", false),
    v6(0xff00, 0, 8, "multicast", false),
    v6(0x2001, 0, 23, "reserved for protocols", false),
    v6(0x2001, 0x0db8, 32, "documentation", false),
    v6(0x3fff, 0, 20, "documentation", false),
    v6(0x2002, 0, 16, "6to4", false),
];

/// Where the well-known prefix of NAT64 puts an IPv4 address (RFC 6052).
const NAT64: Net = v6(0x0064, 0xff9b, 96, "NAT64", false);
const GLOBAL: Net = v6(0x2000, 0, 3, "global unicast", false);

/// Why `address` may not be sent to, if so.
pub(crate) fn refusal(address: IpAddr, allow_private: bool) -> Option<&'static str> {
    let allowed = |net: &Net| net.inside && allow_private;
    match address {
        IpAddr::V4(address) => {
            let bits = u128::from(address.to_bits());
            let net = V4.iter().find(|net| holds(net, bits, 32))?;
            (!allowed(net)).then_some(net.what)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            if address.is_loopback() {
                return (!allow_private).then_some("loopback");
            }
            if address.to_ipv4_mapped().is_some() {
                return Some("an IPv4 address in disguise");
            }
            if holds(&NAT64, bits, 128) {
                let inner = Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32);
                // never inside: a translator in between would make it public
                return refusal(IpAddr::V4(inner), false);
            }
            match V6.iter().find(|net| holds(net, bits, 128)) {
                Some(net) => (!allowed(net)).then_some(net.what),
                None => (!holds(&GLOBAL, bits, 128)).then_some("not public"),
            }
        }
    }
}

const fn holds(net: &Net, bits: u128, width: u32) -> bool {
    (net.base ^ bits) >> (width - net.bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(address: &str, allow_private: bool) -> Option<&'static str> {
        refusal(address.parse().unwrap(), allow_private)
    }

    #[test]
    fn the_public_internet_is_allowed() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "2a00:1450:4001::1",
            "64:ff9b::101:101",
        ] {
            assert_eq!(judge(address, false), None, "{address}");
        }
    }

    #[test]
    fn a_receiver_inside_needs_leave() {
        for (address, what) in [
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("::1", "loopback"),
            ("10.0.0.1", "private"),
            ("10.255.255.255", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.0.1", "private"),
            ("100.64.0.1", "a carrier's shared network"),
            ("100.127.255.255", "a carrier's shared network"),
            ("fc00::1", "unique-local"),
            ("fdff:ffff::1", "unique-local"),
        ] {
            assert_eq!(judge(address, false), Some(what), "{address}");
            assert_eq!(judge(address, true), None, "{address}");
        }
    }

    #[test]
    fn nobody_gets_leave_for_the_rest() {
        for (address, what) in [
            ("169.254.169.254", "link-local"),
            ("169.254.0.1", "link-local"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("168.63.129.16", "a cloud's metadata service"),
            ("100.100.100.200", "a cloud's metadata service"),
            ("fd00:ec2::254", "a cloud's metadata service"),
            ("0.0.0.0", "this host"),
            ("0.1.2.3", "this host"),
            ("192.0.0.192", "reserved for protocols"),
            ("192.0.2.1", "documentation"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("198.18.0.1", "benchmarks"),
            ("198.19.255.255", "benchmarks"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("ff02::1", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "not public"),
            ("::7f00:1", "not public"),
            ("::ffff:127.0.0.1", "an IPv4 address in disguise"),
            ("::ffff:1.1.1.1", "an IPv4 address in disguise"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::a00:1", "private"),
            ("64:ff9b:1::a00:1", "not public"),
            ("2001::1", "reserved for protocols"),
            ("2002:7f00:1::1", "6to4"),
            ("100::1", "not public"),
            ("5f00::1", "not public"),
            ("fec0::1", "not public"),
        ] {
            assert_eq!(judge(address, false), Some(what), "{address}");
            assert_eq!(judge(address, true), Some(what), "{address}");
        }
    }
}
