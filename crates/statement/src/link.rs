//! What an enrolment starts from: the server's address, and a ticket as a link or a code to type.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{IdentityHash, sha256};

/// Length of a link's secret in bytes: 128 bits, NIST 800-63B-4 §4.1.2.2 wants 112.
pub const TICKET_SECRET_LEN: usize = 16;
/// Length of a typed code in bytes: 40 bits, eight characters, together with the user's name.
pub const TICKET_CODE_LEN: usize = 5;

/// The longest address or link that is read: links are about 100 bytes longer than the address in them.
const MAX_LEN: usize = 1024;
const LINK_PATH: &str = "/enrol";
const LINK_VERSION: &str = "v1";

/// The hash under which a link's secret is stored and signed.
#[must_use]
pub fn ticket_secret_hash(secret: &[u8]) -> [u8; 32] {
    sha256(&[b"countersign/ticket-secret/v1\0", secret])
}

/// The hash under which a typed code is signed. The name goes in as it was typed, trimmed.
#[must_use]
pub fn ticket_code_hash(user: &str, code: &[u8; TICKET_CODE_LEN]) -> [u8; 32] {
    sha256(&[b"countersign/ticket-code/v1\0", user.trim().as_bytes(), &[0], code])
}

/// Why a text isn't a server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not `https://host[:port][/path]`.
    #[error("not an address of a server: expected https://host[:port]")]
    Malformed,
    /// Plain http to somewhere else than this machine.
    #[error("plain http is only for this machine itself: use https")]
    Insecure,
}

/// Where a server is reached: https, or http on a loopback address. No query, no fragment, no user name, no
/// slash at the end.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and, if it isn't the scheme's own, port.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }

    /// The same place for a WebSocket: `wss` for `https`, `ws` for `http`, then `path`.
    #[must_use]
    pub fn websocket(&self, path: &str) -> String {
        format!("ws{}{path}", &self.0["http".len()..])
    }
}

/// The host of `authority` and whether the port, if any, is a number.
fn split_port(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some("0"))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "0")),
    };
    (!host.is_empty() && port.parse::<u16>().is_ok()).then_some(host)
}

/// Whether a browser leaves `host` as it is written. It decodes `%2e`, and reads `127.1` and `0x7f000001` as addresses
/// (WHATWG URL §3.5): under such a spelling two addresses that look different would be one place.
fn is_plain(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    host.parse::<IpAddr>().is_ok() || !(number || host.contains('%'))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim().trim_end_matches('/');
        // what may stand in an address of ours; keeps white space, quotes, `@`, `?`, `#` and `\` out
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_~:/[]%".contains(c);
        if text.len() > MAX_LEN || !text.chars().all(plain) {
            return Err(UrlError::Malformed);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Malformed)?;
        let scheme = scheme.to_ascii_lowercase();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = authority.to_ascii_lowercase();
        let host = split_port(&authority).filter(|host| is_plain(host));
        let host = host.ok_or(UrlError::Malformed)?;
        match scheme.as_str() {
            "https" => {}
            "http" if is_loopback(host) => {}
            "http" => return Err(UrlError::Insecure),
            _ => return Err(UrlError::Malformed),
        }
        Ok(Self(format!("{scheme}://{authority}{path}")))
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that isn't an enrolment link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not of the form that [`EnrolLink`] describes.
    #[error("not an enrolment link: it may have been cut short, quote it as a whole")]
    Malformed,
    /// A link of a later version.
    #[error("this enrolment link is of a later version: update the authenticator")]
    Version,
    /// The address in it can't be used.
    #[error(transparent)]
    Url(#[from] UrlError),
}

/// An enrolment link: `{server}/enrol#v1.{secret}.{identity}`, both parts base64url without padding. What
/// follows `#` never leaves the browser, so the page behind the link doesn't learn it.
///
/// `Display` gives the whole link, secret included; `Debug` doesn't.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolLink {
    /// Where the server is.
    pub server: ServerUrl,
    /// The ticket's secret.
    pub secret: Zeroizing<[u8; TICKET_SECRET_LEN]>,
    /// Hash of the server's identity key, which the device pins.
    pub identity: IdentityHash,
}

impl FromStr for EnrolLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > MAX_LEN {
            return Err(LinkError::Malformed);
        }
        let (page, fragment) = text.split_once('#').ok_or(LinkError::Malformed)?;
        let (version, rest) = fragment.split_once('.').ok_or(LinkError::Malformed)?;
        if version != LINK_VERSION {
            let later = version.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok());
            return Err(if later { LinkError::Version } else { LinkError::Malformed });
        }
        let (secret, identity) = rest.split_once('.').ok_or(LinkError::Malformed)?;
        let server = page.strip_suffix(LINK_PATH).ok_or(LinkError::Malformed)?;
        Ok(Self {
            server: server.parse()?,
            secret: Zeroizing::new(decode(secret)?),
            identity: decode(identity)?,
        })
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], LinkError> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| LinkError::Malformed)?;
    bytes.as_slice().try_into().map_err(|_| LinkError::Malformed)
}

impl fmt::Display for EnrolLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{LINK_PATH}#{LINK_VERSION}.{}.{}",
            self.server,
            BASE64URL_NOPAD.encode_display(self.secret.as_slice()),
            BASE64URL_NOPAD.encode_display(&self.identity),
        )
    }
}

impl fmt::Debug for EnrolLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolLink({}, redacted)", self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> EnrolLink {
        EnrolLink {
            server: "https://mfa.example.org".parse().unwrap(),
            secret: Zeroizing::new([7; 16]),
            identity: [9; 32],
        }
    }

    #[test]
    fn a_link_reads_back_and_debug_hides_its_secret() {
        let text = link().to_string();
        assert_eq!(text.parse::<EnrolLink>(), Ok(link()));
        assert_eq!(format!(" {text}\n").parse::<EnrolLink>(), Ok(link()));
        let secret = BASE64URL_NOPAD.encode(&[7; 16]);
        assert!(text.contains(&secret) && !format!("{:?}", link()).contains(&secret));
    }

    #[test]
    fn a_damaged_link_is_refused() {
        let text = link().to_string();
        for cut in 1..text.len() {
            assert!(text[..cut].parse::<EnrolLink>().is_err(), "{cut}");
        }
        for (from, to, error) in [
            ("#v1.", "#v2.", LinkError::Version),
            ("#v1.", "#x.", LinkError::Malformed),
            ("/enrol#", "/other#", LinkError::Malformed),
            ("https:", "http:", LinkError::Url(UrlError::Insecure)),
        ] {
            assert_eq!(text.replace(from, to).parse::<EnrolLink>(), Err(error));
        }
    }

    #[test]
    fn addresses_are_https_or_on_this_machine() {
        for (text, stored) in [
            ("https://MFA.example.org/", "https://mfa.example.org"),
            ("https://h:8443/base/", "https://h:8443/base"),
            ("http://127.0.0.1:8470", "http://127.0.0.1:8470"),
            ("HTTP://localhost:1", "http://localhost:1"),
            ("http://[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().map(String::from), Ok(stored.to_owned()));
        }
        for text in ["http://10.0.0.1", "http://localhost.example.org", "http://example.org"] {
            assert_eq!(text.parse::<ServerUrl>(), Err(UrlError::Insecure), "{text}");
        }
        for text in [
            "",
            "https://",
            "https://:1",
            "https://h:x",
            "https://u@h",
            "https://h?q",
            "https://h#f",
            "ftp://h",
            "h",
            "https://h h",
            "https://[::1",
            "http://127.0.0.1@evil.example",
            // which browsers would write otherwise
            "https://127.1",
            "https://2130706433:8470",
            "https://0X7f.1",
            "https://127.0.0.1.",
            "https://mfa%2eexample.org",
            "http://%6cocalhost",
        ] {
            assert_eq!(text.parse::<ServerUrl>(), Err(UrlError::Malformed), "{text}");
        }
    }

    #[test]
    fn the_gateway_is_next_door() {
        let url: ServerUrl = "https://h:8443/base".parse().unwrap();
        assert_eq!(url.websocket("/device"), "wss://h:8443/base/device");
        assert_eq!(url.authority(), "h:8443");
        let url: ServerUrl = "http://[::1]:80".parse().unwrap();
        assert_eq!((url.websocket("/d"), url.authority()), ("ws://[::1]:80/d".into(), "[::1]:80"));
    }
}
