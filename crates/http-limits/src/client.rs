//! Who is at the other end, past the proxies that are trusted.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use crate::{Cidr, Problem};

/// The header in which each proxy appends whom it heard from.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address: the socket's peer, or what trusted proxies say about it. IPv4 is never shown as
/// IPv6. Set by [`crate::front`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// Walks `X-Forwarded-For` from the right, past trusted proxies. The first address that isn't one of
    /// them is the client: everything left of it, the client may have made up. An entry that can't be read
    /// ends the walk at the last address that is known.
    pub(crate) fn from(peer: IpAddr, headers: &HeaderMap, trusted: &[Cidr]) -> Self {
        let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
        let mut client = peer.to_canonical();
        // several headers are one list (RFC 9110 §5.3); the last header is the nearest proxy's
        let mut hops = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .rev()
            .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        while is_trusted(client) {
            match hops.next().and_then(parse_hop) {
                Some(address) => client = address,
                None => break,
            }
        }
        Self(client)
    }
}

/// The user at the other end of the admin socket, as the kernel tells it. The audit names it. Set by whoever
/// serves the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerUid(pub u32);

impl<S: Sync> FromRequestParts<S> for PeerUid {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .copied()
            .ok_or_else(|| Problem::internal("the peer's uid is missing: not the admin socket"))
    }
}

/// An entry: an address, which some proxies write with a port.
fn parse_hop(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .ok()
        .or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
        .map(|address| address.to_canonical())
}

impl<S: Sync> FromRequestParts<S> for ClientAddr {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .copied()
            .ok_or_else(|| Problem::internal("the client's address is missing: no front"))
    }
}

impl<S: Sync> axum::extract::OptionalFromRequestParts<S> for ClientAddr {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().copied())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Who the client is for a peer, the headers from top to bottom, and proxies in 10/8 and `2001:db8::/32`.
    #[track_caller]
    fn check(peer: &str, headers: &[&str], client: &str) {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        let got = ClientAddr::from(peer.parse().unwrap(), &map, &trusted);
        assert_eq!(got.0, client.parse::<IpAddr>().unwrap());
    }

    #[test]
    fn without_a_trusted_peer_the_header_counts_for_nothing() {
        check("203.0.113.9", &[], "203.0.113.9");
        check("203.0.113.9", &["198.51.100.1"], "203.0.113.9");
        check("::ffff:203.0.113.9", &["10.0.0.1"], "203.0.113.9");
    }

    #[test]
    fn a_trusted_peer_names_the_client() {
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("2001:db8::5", &["2a00::1"], "2a00::1");
        check("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1");
        check("10.0.0.1", &["[2a00::1]:4711"], "2a00::1");
        check("10.0.0.1", &["[2a00::1]"], "2a00::1");
    }

    #[test]
    fn only_the_rightmost_untrusted_hop_is_believed() {
        check("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1");
        // the client sent a header of its own: proxies append, to the list or as a further header
        check("10.0.0.1", &["127.0.0.1, 198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["127.0.0.1", "198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["10.0.0.9, 198.51.100.1"], "198.51.100.1");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk() {
        check("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1");
        check("10.0.0.1", &["198.51.100.1,, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &["198.51.100.1, _hidden, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &[""], "10.0.0.1");
        check("10.0.0.1", &["é"], "10.0.0.1");
    }

    #[test]
    fn a_chain_of_nothing_but_proxies_ends_at_the_farthest() {
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
    }
}
