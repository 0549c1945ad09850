//! The browser: the cookie that names it, and the one that makes it familiar.

use data_encoding::BASE64URL_NOPAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use rand::CryptoRng;
use statement::{IntegrationId, sha256};

/// The prefix makes browsers refuse the cookie from anywhere but this host, over https (RFC 6265bis §4.1.3.2).
const HOST_PREFIX: &str = "__Host-";
const BROWSER: &str = "countersign";
const DEVICE: &str = "countersign-device";
/// Longest value of a cookie that is looked at: a device cookie has 80 characters.
const MAX_VALUE: usize = 256;

/// What a browser's cookie says: 256 random bits.
#[derive(Clone)]
pub(crate) struct Browser([u8; 32]);

impl Browser {
    /// A browser that has no cookie yet.
    pub(crate) fn draw(rng: &mut dyn CryptoRng) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self(secret)
    }

    /// The browser that sent `headers`, if it has our cookie.
    pub(crate) fn of(headers: &HeaderMap, secure: bool) -> Option<Self> {
        let text = find(headers, &name(secure, BROWSER))?;
        let secret = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        secret.try_into().ok().map(Self)
    }

    /// What a sign-in keeps of it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(&[b"countersign/browser/v1\0", &self.0])
    }

    /// The browser session that challenges are bound to. All tabs of a browser share it, so that they are
    /// shown the same challenge.
    pub(crate) fn session(&self) -> String {
        let session = sha256(&[b"countersign/page-session/v1\0", &self.0]);
        BASE64URL_NOPAD.encode(&session)
    }

    /// Its `Set-Cookie`. It goes when the browser is closed.
    pub(crate) fn set_cookie(&self, secure: bool) -> HeaderValue {
        let value = BASE64URL_NOPAD.encode(&self.0);
        set_cookie(secure, BROWSER, &value, "")
    }
}

/// The device cookie of an integration's last approval in this browser. One per integration, not per user:
/// on a shared machine the cookies of hundreds of users would outgrow what a request's head may have.
pub(crate) fn device_cookie(
    headers: &HeaderMap,
    secure: bool,
    integration: IntegrationId,
) -> Option<String> {
    find(headers, &name(secure, &device_name(integration))).map(str::to_owned)
}

/// The `Set-Cookie` of a device cookie.
pub(crate) fn set_device_cookie(
    secure: bool,
    integration: IntegrationId,
    value: &str,
) -> HeaderValue {
    let age = format!("; Max-Age={}", domain::cookie::LIFE.as_secs());
    set_cookie(secure, &device_name(integration), value, &age)
}

fn device_name(integration: IntegrationId) -> String {
    format!("{DEVICE}-{integration}")
}

fn name(secure: bool, plain: &str) -> String {
    format!("{}{plain}", if secure { HOST_PREFIX } else { "" })
}

fn set_cookie(secure: bool, plain: &str, value: &str, more: &str) -> HeaderValue {
    let name = name(secure, plain);
    let flag = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/{more}{flag}; HttpOnly; SameSite=Lax");
    let mut header =
        HeaderValue::from_str(&text).expect("names and values are base32 or base64url");
    header.set_sensitive(true);
    header
}

/// The first cookie of that name.
fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, value)| *key == name && value.len() <= MAX_VALUE)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        [(COOKIE, HeaderValue::from_str(cookie).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_browser_is_known_by_its_cookie() {
        let browser = Browser::draw(&mut StdRng::seed_from_u64(1));
        for (secure, name) in [(true, "__Host-countersign"), (false, "countersign")] {
            let set = browser.set_cookie(secure);
            let set = set.to_str().unwrap();
            let (pair, flags) = set.split_once("; ").unwrap();
            assert_eq!(pair.split_once('=').unwrap().0, name);
            let expected = if secure {
                "Path=/; Secure; HttpOnly; SameSite=Lax"
            } else {
                "Path=/; HttpOnly; SameSite=Lax"
            };
            assert_eq!(flags, expected);
            let sent = headers(&format!("other=1; {pair};x"));
            assert_eq!(Browser::of(&sent, secure).unwrap().0, browser.0);
            assert!(Browser::of(&sent, !secure).is_none(), "another name");
            assert!(Browser::of(&headers(&pair[..pair.len() - 1]), secure).is_none());
        }
        assert!(Browser::of(&HeaderMap::new(), true).is_none());
    }

    #[test]
    fn the_session_is_one_that_the_contract_allows_and_does_not_tell_the_cookie() {
        let browser = Browser([7; 32]);
        assert_eq!(browser.session().len(), 43);
        assert_ne!(browser.session(), Browser([8; 32]).session());
        assert_ne!(browser.session(), BASE64URL_NOPAD.encode(&browser.hash()));
        assert_ne!(browser.session(), BASE64URL_NOPAD.encode(&browser.0));
    }

    #[test]
    fn a_device_cookie_belongs_to_one_integration() {
        let id = IntegrationId::from_bytes([3; 16]);
        let set = set_device_cookie(true, id, "abc");
        let text = set.to_str().unwrap();
        assert!(text.starts_with("__Host-countersign-device-int_"), "{text}");
        assert!(text.contains("; Path=/; Max-Age=15552000; Secure; HttpOnly; SameSite=Lax"));
        let sent = headers(text.split(';').next().unwrap());
        assert_eq!(device_cookie(&sent, true, id).as_deref(), Some("abc"));
        let other = IntegrationId::from_bytes([4; 16]);
        assert_eq!(device_cookie(&sent, true, other), None);
    }
}
