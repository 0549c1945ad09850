//! How an integration speaks to this server, and what it registered for that.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Longest address that can be registered, in bytes.
pub const MAX_URI: usize = 512;
/// Most return addresses of an integration.
pub const MAX_URIS: usize = 16;
/// Most organisations of an Entra integration.
pub const MAX_DIRECTORIES: usize = 16;

/// The protocol of an integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Protocol {
    /// REST, with an API key.
    Api(ApiClient),
    /// OpenID Connect, as a relying party.
    Oidc(OidcClient),
    /// Microsoft Entra External MFA.
    Entra(EntraClient),
    /// OpenID Connect CIBA: a client that asks without a browser.
    Ciba(CibaClient),
    /// The HTTP authentication channel of Keycloak's own CIBA provider.
    KeycloakCiba(KeycloakRealm),
}

impl Default for Protocol {
    fn default() -> Self {
        Self::Api(ApiClient::default())
    }
}

impl Protocol {
    /// Its name in the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Api(_) => "api",
            Self::Oidc(_) => "oidc",
            Self::Entra(_) => "entra",
            Self::Ciba(_) => "ciba",
            Self::KeycloakCiba(_) => "keycloak_ciba",
        }
    }

    /// Whether it proves itself by what somebody else signs: then it has no secret.
    #[must_use]
    pub const fn has_no_secret(&self) -> bool {
        matches!(self, Self::Entra(_) | Self::KeycloakCiba(_))
    }

    /// Whether whoever asks chooses the number. Only where the other side can show nothing else.
    #[must_use]
    pub const fn brings_number(&self) -> bool {
        matches!(self, Self::KeycloakCiba(_))
    }
}

/// A relying party that speaks REST.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiClient {
    /// Where the hosted page may send its browsers back to, compared character by character.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub return_urls: Vec<String>,
}

/// With what a token for a relying party is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// RSA, PKCS #1 v1.5, SHA-256 (RFC 7518 §3.3): what every relying party knows, and the only one that Entra does.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 (RFC 7518 §3.4).
    #[serde(rename = "ES256")]
    Es256,
}

impl TokenAlgorithm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rs256, Self::Es256];

    /// Its name in JOSE headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A relying party of OpenID Connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcClient {
    /// Where browsers may be sent, compared character by character (RFC 9700 §2.1).
    pub redirect_uris: Vec<String>,
    /// The public keys of its assertions and request objects: a JSON Web Key Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// With what its ID tokens are signed.
    #[serde(default)]
    pub id_token: TokenAlgorithm,
}

/// Whose sign-in service an Entra directory belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// login.microsoftonline.com.
    #[default]
    Global,
    /// login.microsoftonline.us.
    UsGov,
    /// login.partner.microsoftonline.cn.
    China,
    /// A stand-in on this machine, for trials and tests: see `countersign entra fake`.
    Fake,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Global, Self::UsGov, Self::China, Self::Fake];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::UsGov => "us_gov",
            Self::China => "china",
            Self::Fake => "fake",
        }
    }

    /// From its name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cloud| cloud.name() == name)
    }

    /// Where its sign-in service is; `None` for a stand-in, which says so itself.
    #[must_use]
    pub const fn authority(self) -> Option<&'static str> {
        match self {
            Self::Global => Some("https://login.microsoftonline.com"),
            Self::UsGov => Some("https://login.microsoftonline.us"),
            Self::China => Some("https://login.partner.microsoftonline.cn"),
            Self::Fake => None,
        }
    }
}

/// An Entra directory, or several, that use this server as an external method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntraClient {
    /// Which cloud.
    pub cloud: Cloud,
    /// The directory (tenant) ids whose users may come, in lower case.
    pub directories: Vec<String>,
    /// The application id that hints are made out to.
    pub app_id: String,
    /// A second audience that is accepted: Microsoft's pages contradict each other on which it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_audience: Option<String>,
    /// Where the stand-in is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fake: Option<String>,
    /// Whether somebody whom the directory proved, and who never had an authenticator, may make one on the way.
    #[serde(default)]
    pub inline_enrolment: bool,
}

impl EntraClient {
    /// Where its sign-in service is.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.cloud.authority().or(self.fake.as_deref()).unwrap_or_default()
    }
}

/// A client of CIBA (OpenID Connect Client-Initiated Backchannel Authentication Core 1.0).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CibaClient {
    /// Where it is told that there is something to fetch (ping mode, §10.2); without it, it polls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_url: Option<String>,
    /// Whether that may be on a private network or, by plain http, on this machine.
    #[serde(default)]
    pub allow_private: bool,
    /// Whether each request must bring the user's code (`backchannel_user_code_parameter`).
    #[serde(default)]
    pub user_code: bool,
    /// The public keys of its assertions, requests and login hint tokens: a JSON Web Key Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// With what its ID tokens are signed.
    #[serde(default)]
    pub id_token: TokenAlgorithm,
}

/// What ends the address at which Keycloak wants to be told an outcome; its keys are beside it.
const KEYCLOAK_CALLBACK: &str = "/ext/ciba/auth/callback";

/// A realm of a Keycloak that asks people through this server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeycloakRealm {
    /// The realm's issuer, as its tokens say it.
    pub issuer: String,
    /// Where outcomes go.
    pub callback_url: String,
    /// Whether that may be on a private network or, by plain http, on this machine.
    #[serde(default)]
    pub allow_private: bool,
}

impl KeycloakRealm {
    /// What of a realm's usual addresses wasn't said, from what was: a callback is under its issuer.
    #[must_use]
    pub fn completed(mut self) -> Self {
        const PROTOCOL: &str = "/protocol/openid-connect";
        if self.callback_url.is_empty() && !self.issuer.is_empty() {
            self.callback_url = format!("{}{PROTOCOL}{KEYCLOAK_CALLBACK}", self.issuer);
        }
        if self.issuer.is_empty()
            && let Some(protocol) = self.callback_url.strip_suffix(KEYCLOAK_CALLBACK)
            && let Some(issuer) = protocol.strip_suffix(PROTOCOL)
        {
            self.issuer = issuer.to_owned();
        }
        self
    }

    /// Where the realm publishes its keys: beside the callback, so that both are reached on one way. `None` if
    /// the callback isn't one of Keycloak's.
    #[must_use]
    pub fn keys_url(&self) -> Option<String> {
        self.callback_url.strip_suffix(KEYCLOAK_CALLBACK).map(|base| format!("{base}/certs"))
    }
}

/// Why an address can't be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a whole https address without user, fragment or spaces, at most 512 characters; http only on \
     this machine (127.0.0.1, [::1], localhost)"
)]
pub struct BadUri;

/// Whether browsers can be sent to `uri`: https, or http on loopback (RFC 8252 §7.3). No fragment (RFC 6749
/// §3.1.2), and nothing that would end an HTML attribute or a policy that names its origin.
///
/// # Errors
/// [`BadUri`].
pub fn check_return_uri(uri: &str) -> Result<(), BadUri> {
    let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}#;,".contains(c);
    let (scheme, rest) = uri.split_once("://").ok_or(BadUri)?;
    if uri.len() > MAX_URI || !uri.chars().all(plain) {
        return Err(BadUri);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = split_port(authority).ok_or(BadUri)?;
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(BadUri);
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback(host) => Ok(()),
        _ => Err(BadUri),
    }
}

/// Host and port of `authority`; `None` if it has a user, or no host.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match after {
                "" => (host, None),
                after => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let named = authority.starts_with('[') || host.chars().all(is_name);
    (!host.is_empty() && named).then_some((host, port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether `text` is a GUID in lower case, as directory and application ids are written.
#[must_use]
pub fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_registered() {
        for good in [
            "https://rp.example/cb",
            "https://rp.example:8443/cb?app=1&x=%20",
            "https://rp.example",
            "https://rp.example?x=1",
            "https://[2001:db8::1]:8443/cb",
            "http://127.0.0.1:5000/cb",
            "http://[::1]/cb",
            "http://localhost:5000/cb",
        ] {
            assert_eq!(check_return_uri(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "rp.example/cb",
            "http://rp.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://localhost@evil.example/cb",
            "https://user@rp.example/cb",
            "https://rp.example/cb#f",
            "https://rp.example/c b",
            "https://rp.example/\"",
            "https://rp.example/;x",
            "https:///cb",
            "https://:80/cb",
            "https://rp.example:99999/",
            "https://rp.example:/",
            "https://[::1/",
            "javascript://x/%0aalert(1)",
            "app.example:/cb",
            "HTTPS://rp.example/cb",
            "https://rp.exämple/cb",
        ] {
            assert_eq!(check_return_uri(bad), Err(BadUri), "{bad}");
        }
        assert_eq!(
            check_return_uri(&format!("https://rp.example/{}", "a".repeat(600))),
            Err(BadUri)
        );
    }

    #[test]
    fn a_realm_is_known_by_its_issuer_or_its_callback() {
        let issuer = "https://kc.example/realms/staff".to_owned();
        let callback =
            "https://kc.example/realms/staff/protocol/openid-connect/ext/ciba/auth/callback";
        let by_issuer = KeycloakRealm { issuer: issuer.clone(), ..Default::default() }.completed();
        assert_eq!(by_issuer.callback_url, callback);
        let by_callback =
            KeycloakRealm { callback_url: callback.to_owned(), ..Default::default() }.completed();
        assert_eq!(by_callback, by_issuer);
        let keys = "https://kc.example/realms/staff/protocol/openid-connect/certs";
        assert_eq!(by_issuer.keys_url().as_deref(), Some(keys));
        let inside = KeycloakRealm {
            issuer,
            callback_url: "http://10.0.0.1:8080/realms/staff/x".to_owned(),
            allow_private: true,
        };
        assert_eq!(inside.clone().completed(), inside);
        assert_eq!(inside.keys_url(), None);
    }

    #[test]
    fn what_a_guid_is() {
        assert!(is_guid("9188040d-6c67-4c5b-b112-36a304b66dad"));
        for bad in [
            "",
            "9188040D-6c67-4c5b-b112-36a304b66dad",
            "9188040d-6c67-4c5b-b112-36a304b66da",
            "9188040d-6c67-4c5b-b112-36a304b66dag",
            "9188040d06c67-4c5b-b112-36a304b66dad",
            "{188040d-6c67-4c5b-b112-36a304b66dad",
        ] {
            assert!(!is_guid(bad), "{bad}");
        }
    }
}
